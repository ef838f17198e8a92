//! Reading personal data leaves a trace: who, when, why, what. Each entry carries a hash over itself and the one
//! before, so that an entry altered or taken out later shows (GDPR-2).

use offhook_base::UtcMillis;
use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection};

use crate::{error::StoreError, store::Store};

/// Characters of a reason or a name in the log.
const TEXT_MAX: usize = 500;

/// Who reads personal data, when and why. Without a reason there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    who: Box<str>,
    reason: Box<str>,
    at: UtcMillis,
}

/// Access to personal data needs a name and a reason, at most 500 characters each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access to personal data needs a name and a reason, at most {TEXT_MAX} characters each")]
pub struct NoReason;

/// The access log was altered: the entry of this number does not follow from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access log was altered at or before entry {entry}")]
pub struct AccessLogBroken {
    /// The first entry that does not fit.
    pub entry: i64,
}

impl Access {
    /// `who` (a token's name) reads at `at` because of `reason`.
    pub fn new(who: &str, reason: &str, at: UtcMillis) -> Result<Self, NoReason> {
        let good = |text: &str| !text.trim().is_empty() && text.chars().count() <= TEXT_MAX;
        if good(who) && good(reason) {
            Ok(Self { who: who.into(), reason: reason.into(), at })
        } else {
            Err(NoReason)
        }
    }
}

/// An entry's hash: of the one before and of its own fields, each with its length so that none can flow into the next.
fn chain(before: &[u8], at: i64, texts: [&str; 4], rows: i64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(at.to_be_bytes());
    hash.update(rows.to_be_bytes());
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

impl Store {
    /// Writes an entry and waits until the disk has it: for what is shown in clear but not read from the store, too.
    pub async fn log_access(
        &self,
        access: &Access,
        action: &str,
        filter: &str,
        rows: usize,
    ) -> Result<(), StoreError> {
        let failed = self.record_database().failed();
        let mut writer = self.record_database().writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        append(&mut transaction, access, action, filter, rows).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Checks the whole access log. The number of entries, or the first that does not fit.
    pub async fn verify_access_log(&self) -> Result<Result<u64, AccessLogBroken>, StoreError> {
        type Entry = (i64, i64, String, String, String, String, i64, Vec<u8>);
        let failed = self.record_database().failed();
        let entries: Vec<Entry> = sqlx::query_as(
            "SELECT id, at, who, reason, action, filter, rows, chain FROM access_log ORDER BY id",
        )
        .fetch_all(self.record_database().readers())
        .await
        .map_err(failed)?;
        let mut before = Vec::new();
        for (position, (entry, at, who, reason, action, filter, rows, found)) in (1..).zip(&entries) {
            // Numbers have no gaps: one would be an entry taken out.
            if *entry != position || chain(&before, *at, [who, reason, action, filter], *rows) != found[..] {
                return Ok(Err(AccessLogBroken { entry: *entry }));
            }
            before.clone_from(found);
        }
        Ok(Ok(entries.len() as u64))
    }
}

async fn append(
    connection: &mut SqliteConnection,
    access: &Access,
    action: &str,
    filter: &str,
    rows: i64,
) -> Result<(), sqlx::Error> {
    let before: Option<Vec<u8>> = sqlx::query_scalar("SELECT chain FROM access_log ORDER BY id DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let texts = [&*access.who, &*access.reason, action, filter];
    let chain = chain(before.as_deref().unwrap_or_default(), access.at.0, texts, rows);
    sqlx::query(
        "INSERT INTO access_log (at, who, reason, action, filter, rows, chain) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(access.at.0)
    .bind(&*access.who)
    .bind(&*access.reason)
    .bind(action)
    .bind(filter)
    .bind(rows)
    .bind(chain.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

//! Networks that operators let in or keep out.

use offhook_base::UtcMillis;
use offhook_edge::Prefix;

use crate::{edit::Author, error::StoreError, store::Store};

/// Characters of a note at most: a sentence.
pub const NOTE_CHARS_MAX: usize = 200;

/// Networks at most: what a start reads in a few seconds.
pub const NETWORKS_MAX: u64 = 5_000_000;

/// What becomes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Allow,
    /// It is kept out.
    Deny,
}

impl Verdict {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Deny].into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// One network of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNetwork {
    /// Which.
    pub network: Prefix,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, in the operator's words; may be empty.
    pub note: String,
    /// Since when.
    pub since: UtcMillis,
    /// Who said so: a token's name.
    pub who: String,
}

impl Store {
    /// All networks, in the order of their text.
    pub async fn networks(&self) -> Result<Vec<ListedNetwork>, StoreError> {
        let rows: Vec<(String, String, String, i64, String)> =
            sqlx::query_as("SELECT network, verdict, note, since, who FROM networks ORDER BY network")
                .fetch_all(self.site_database().readers())
                .await
                .map_err(self.site_database().failed())?;
        // A row that a newer version wrote is left out.
        let network = |(network, verdict, note, since, who): (String, String, String, i64, String)| {
            let (network, verdict) = (network.parse().ok()?, Verdict::parse(&verdict)?);
            Some(ListedNetwork { network, verdict, note, since: UtcMillis(since), who })
        };
        Ok(rows.into_iter().filter_map(network).collect())
    }

    /// How many networks there are.
    pub async fn network_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM networks")
            .fetch_one(self.site_database().readers())
            .await
            .map_err(self.site_database().failed())?;
        Ok(count.unsigned_abs())
    }

    /// Puts networks on a list, all or none; one that is on a list already moves. The note is cut to
    /// [`NOTE_CHARS_MAX`].
    pub async fn list_networks(
        &self,
        by: &Author,
        verdict: Verdict,
        note: &str,
        networks: &[Prefix],
    ) -> Result<(), StoreError> {
        let failed = self.site_database().failed();
        let note: String = note.chars().take(NOTE_CHARS_MAX).collect();
        let mut writer = self.site_database().writer().await;
        let mut transaction = sqlx::Connection::begin(&mut *writer).await.map_err(&failed)?;
        for network in networks {
            sqlx::query(
                "INSERT OR REPLACE INTO networks (network, verdict, note, since, who) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(network.to_text())
            .bind(verdict.as_str())
            .bind(&note)
            .bind(by.at.0)
            .bind(&*by.who)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        let what = match networks {
            [one] => one.to_text(),
            many => format!("{} networks", many.len()),
        };
        audit(&mut transaction, by, verdict.as_str(), &what).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    /// Takes a network off its list; whether it was on one.
    pub async fn unlist_network(&self, by: &Author, network: Prefix) -> Result<bool, StoreError> {
        let failed = self.site_database().failed();
        let mut writer = self.site_database().writer().await;
        let mut transaction = sqlx::Connection::begin(&mut *writer).await.map_err(&failed)?;
        let touched = sqlx::query("DELETE FROM networks WHERE network = ?")
            .bind(network.to_text())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        if touched.rows_affected() == 0 {
            return Ok(false);
        }
        audit(&mut transaction, by, "remove", &network.to_text()).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(true)
    }
}

async fn audit(
    connection: &mut sqlx::SqliteConnection,
    by: &Author,
    action: &str,
    what: &str,
) -> Result<(), sqlx::Error> {
    let row = "INSERT INTO audit (at, who, action, kind, tenant, name, fields, generation) \
               VALUES (?, ?, ?, 'network', '', ?, '', (SELECT value FROM node WHERE key = 'generation'))";
    let row = sqlx::query(row).bind(by.at.0).bind(&*by.who).bind(action).bind(what);
    row.execute(connection).await.map(drop)
}

//! Reading call records, and forgetting them in time.

use std::{fmt, str::FromStr, time::Duration};

use offhook_base::UtcMillis;
use offhook_switch::record::{CallId, CallRecord, EndCause};
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::{
    access::Access,
    error::StoreError,
    record_row::{COLUMNS, cause_name, decode},
    store::Store,
};

/// How long call records are kept where nothing else is configured (GDPR-1).
pub const RECORD_RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// Records of one page: a few MB of memory.
pub const RECORDS_PER_PAGE_MAX: usize = 1_000;

/// Records deleted in one transaction: short, so that new ones still become durable in time.
const EXPIRE_STEP: i64 = 500;

/// Which records. Everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Of this tenant.
    pub tenant: Option<Box<str>>,
    /// In which this line took part, by its name.
    pub line: Option<Box<str>>,
    /// From exactly this address or number.
    pub caller: Option<Box<str>>,
    /// To exactly this address or number.
    pub callee: Option<Box<str>>,
    /// Whose caller or callee contains this text. Reads every record of the time range.
    pub party: Option<Box<str>>,
    /// Begun then or later.
    pub from: Option<UtcMillis>,
    /// Begun before then.
    pub until: Option<UtcMillis>,
    /// Ended for this cause.
    pub cause: Option<EndCause>,
    /// Answered for at least so long.
    pub talk_min: Option<Duration>,
    /// 1..=[`RECORDS_PER_PAGE_MAX`]; `None` is 100. More is cut to the maximum.
    pub limit: Option<usize>,
    /// Continue behind this one: [`Page::next`].
    pub after: Option<Cursor>,
}

/// The place behind a record, in the order of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    started: UtcMillis,
    id: CallId,
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor; use the one that came with the page before")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started.0, self.id)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (started, id) = text.split_once('.').ok_or(BadCursor)?;
        let started = UtcMillis(started.parse().map_err(|_| BadCursor)?);
        Ok(Self { started, id: id.parse().map_err(|_| BadCursor)? })
    }
}

/// Some of the answers, and where the rest begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// For [`RecordFilter::after`]; `None` if this was the last page.
    pub next: Option<Cursor>,
}

impl Store {
    /// Reads records, the newest first. The access is in the log before the records are handed out.
    pub async fn records(
        &self,
        access: &Access,
        filter: &RecordFilter,
    ) -> Result<Page<CallRecord>, StoreError> {
        let failed = self.record_database().failed();
        let limit = filter.limit.unwrap_or(100).clamp(1, RECORDS_PER_PAGE_MAX);
        let mut query = select(filter, limit + 1);
        let rows = query.build().fetch_all(self.record_database().readers()).await.map_err(failed)?;
        let mut items = Vec::with_capacity(rows.len().min(limit));
        for row in rows.iter().take(limit) {
            let record = decode(row).map_err(failed)?;
            items.push(record.map_err(|what| damaged(row.try_get(0).unwrap_or_default(), what))?);
        }
        let last = items.last().filter(|_| rows.len() > limit);
        let next = last.map(|record: &CallRecord| Cursor { started: record.started, id: record.id });
        self.log_access(access, "records", &describe(filter), items.len()).await?;
        Ok(Page { items, next })
    }

    /// Reads one record. The access is in the log before it is handed out.
    pub async fn record(&self, access: &Access, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        let failed = self.record_database().failed();
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM records WHERE id = ").push_bind(id.to_string());
        let row = query.build().fetch_optional(self.record_database().readers()).await.map_err(failed)?;
        let record = match &row {
            Some(row) => Some(decode(row).map_err(failed)?.map_err(|what| damaged(id.to_string(), what))?),
            None => None,
        };
        self.log_access(access, "record", &format!("id={id}"), usize::from(record.is_some())).await?;
        Ok(record)
    }

    /// How many records there are. Says nothing of anybody, so it is not logged.
    pub async fn record_count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM records")
            .fetch_one(self.record_database().readers())
            .await
            .map_err(self.record_database().failed())?;
        Ok(count.cast_unsigned())
    }

    /// Deletes the records of calls that began before `older_than`, and overwrites where they were. Returns how many.
    pub async fn expire_records(&self, older_than: UtcMillis) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE started < ? ORDER BY started LIMIT ?)",
            )
            .bind(older_than.0)
            .bind(EXPIRE_STEP)
            .execute(&mut *self.record_database().writer().await)
            .await
            .map_err(self.record_database().failed())?
            .rows_affected();
            total += done;
            if done < EXPIRE_STEP.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

fn damaged(row: String, what: &'static str) -> StoreError {
    StoreError::Damaged { table: "records", row, what }
}

fn select(filter: &RecordFilter, rows: usize) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM records WHERE true");
    if let Some(tenant) = &filter.tenant {
        query.push(" AND tenant = ").push_bind(tenant.to_string());
    }
    if let Some(line) = &filter.line {
        query
            .push(" AND id IN (SELECT record_id FROM record_lines WHERE line = ")
            .push_bind(line.to_string());
        if let Some(tenant) = &filter.tenant {
            query.push(" AND tenant = ").push_bind(tenant.to_string());
        }
        query.push(")");
    }
    for (column, wanted) in [(" AND caller = ", &filter.caller), (" AND callee = ", &filter.callee)] {
        if let Some(wanted) = wanted {
            query.push(column).push_bind(wanted.to_string());
        }
    }
    if let Some(party) = &filter.party {
        query.push(" AND (instr(caller, ").push_bind(party.to_string());
        query.push(") > 0 OR instr(callee, ").push_bind(party.to_string()).push(") > 0)");
    }
    for (column, time) in [(" AND started >= ", filter.from), (" AND started < ", filter.until)] {
        if let Some(time) = time {
            query.push(column).push_bind(time.0);
        }
    }
    if let Some(cause) = filter.cause {
        query.push(" AND cause = ").push_bind(cause_name(cause));
        if cause != EndCause::HungUp {
            // Says what SQLite cannot see in a bound value: the index of the rare causes will do.
            query.push(" AND cause <> 'hung_up'");
        }
    }
    if let Some(talk) = filter.talk_min {
        query.push(" AND talk_ms >= ").push_bind(i64::try_from(talk.as_millis()).unwrap_or(i64::MAX));
    }
    if let Some(after) = filter.after {
        query.push(" AND (started, id) < (").push_bind(after.started.0);
        query.push(", ").push_bind(after.id.to_string()).push(")");
    }
    query.push(" ORDER BY started DESC, id DESC LIMIT ").push_bind(i64::try_from(rows).unwrap_or(i64::MAX));
    query
}

/// The filter for the access log: whose data was looked for belongs there.
fn describe(filter: &RecordFilter) -> String {
    let mut parts = Vec::new();
    let texts = [
        ("tenant", &filter.tenant),
        ("line", &filter.line),
        ("caller", &filter.caller),
        ("callee", &filter.callee),
        ("party", &filter.party),
    ];
    for (name, text) in texts {
        parts.extend(text.as_ref().map(|text| format!("{name}={text}")));
    }
    parts.extend(filter.from.map(|time| format!("from={time}")));
    parts.extend(filter.until.map(|time| format!("until={time}")));
    parts.extend(filter.cause.map(|cause| format!("cause={}", cause_name(cause))));
    parts.extend(filter.talk_min.map(|talk| format!("talk_min_ms={}", talk.as_millis())));
    parts.extend(filter.after.map(|after| format!("after={after}")));
    parts.join(" ")
}

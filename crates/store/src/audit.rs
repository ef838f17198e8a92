//! Who changed what of the configuration, for an operator to read.

use offhook_base::UtcMillis;

use crate::{error::StoreError, store::Store};

/// Entries of one page.
const ENTRIES_MAX: u32 = 1_000;

/// One change that was made.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditEntry {
    /// Its number: 1, 2, 3 …
    pub id: i64,
    /// When, milliseconds of UTC; see [`Self::when`].
    at: i64,
    /// Who.
    pub who: String,
    /// `add`, `set` or `remove`; `allow`, `deny` or `remove` for a network.
    pub action: String,
    /// `tenant`, `user`, `line`, `device`, `peer`, `token`, `network` or `routing`.
    pub kind: String,
    /// The tenant's name; empty for a token or a network.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// The names of the fields that changed, comma-separated; never values.
    pub fields: String,
    /// The generation of the configuration after it.
    pub generation: i64,
}

impl AuditEntry {
    /// When.
    pub const fn when(&self) -> UtcMillis {
        UtcMillis(self.at)
    }
}

impl Store {
    /// The changes before the entry `before` (or all), the newest first, at most `limit` and never more than 1,000.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        sqlx::query_as(
            "SELECT id, at, who, action, kind, tenant, name, fields, generation FROM audit WHERE id < ? \
             ORDER BY id DESC LIMIT ?",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit.min(ENTRIES_MAX))
        .fetch_all(self.site_database().readers())
        .await
        .map_err(self.site_database().failed())
    }
}

//! Where calls go: a document in numbered versions, and tables of prefixes. What holds is made once, and again when it changes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use offhook_base::UtcMillis;
use offhook_switch::routing::{
    Anything, BadTable, Known, PrefixTable, Routing, RoutingDocument, RoutingFault,
};
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    document::{DocumentError, parse_toml},
    edit::Author,
    error::StoreError,
    site::Site,
    store::Store,
};

/// Versions that are kept: years of changes.
pub const ROUTING_VERSIONS_MAX: i64 = 1_000;

/// Characters of a note at most: a sentence.
pub const ROUTING_NOTE_CHARS_MAX: usize = 200;

/// Tables of prefixes at most, of all tenants.
const TABLES_MAX: i64 = 1_000;

/// One version of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingVersion {
    /// 1 is the first.
    pub version: i64,
    /// Since when.
    pub at: UtcMillis,
    /// Who said so: a token's name.
    pub who: String,
    /// Why, in the operator's words; may be empty.
    pub note: String,
    /// TOML. Empty in a list of versions.
    pub document: String,
}

/// A table of prefixes, without its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingTable {
    /// The tenant's name.
    pub tenant: String,
    /// Its name in the tenant.
    pub name: String,
    /// Since when.
    pub at: UtcMillis,
    /// Who sent it: a token's name.
    pub who: String,
    /// Prefixes with peers.
    pub lines: i64,
}

/// Why the routing stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The document is no TOML, or has what is not known.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What it says cannot be; all faults.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<RoutingFault>),
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] BadTable),
    /// A table's name.
    #[error("a table's name has 1 to 63 letters, digits, '.', '-' or '_'")]
    TableName,
    /// No room for another table.
    #[error("more than {TABLES_MAX} tables cannot be kept")]
    TooManyTables,
    /// There is no such version or table.
    #[error("there is no {0}")]
    Missing(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the routing was made of: the newest version, and the newest change of a table.
type Made = (i64, i64);

/// The routing that was made last.
#[derive(Debug, Default)]
pub(crate) struct RoutingCache(Mutex<Option<(Made, Arc<Routing>)>>);

/// What a routing is made of.
struct Parts {
    document: String,
    tables: Vec<(String, String, String)>,
}

/// The peers and lines of a site.
struct Present {
    peers: HashSet<(Box<str>, Box<str>)>,
    lines: HashSet<(Box<str>, Box<str>)>,
}

impl Known for Present {
    fn is_peer(&self, tenant: &str, name: &str) -> bool {
        self.peers.contains(&(tenant.into(), name.into()))
    }

    fn is_line(&self, tenant: &str, name: &str) -> bool {
        self.lines.contains(&(tenant.into(), name.into()))
    }
}

impl Present {
    fn new(site: &Site) -> Self {
        let peers = site.peers.iter().map(|peer| (peer.tenant.clone(), peer.name.clone()));
        let lines = site.lines.iter().map(|line| (line.tenant.clone(), line.name.clone()));
        Self { peers: peers.collect(), lines: lines.collect() }
    }
}

impl Parts {
    /// Makes the routing. Millions of lines take seconds: not for a thread that serves.
    fn make(&self, known: &impl Known) -> Result<Routing, RoutingError> {
        let document: RoutingDocument = parse_toml(&self.document)?;
        let mut tables: BTreeMap<String, BTreeMap<String, PrefixTable>> = BTreeMap::new();
        for (tenant, name, content) in &self.tables {
            let of_tenant = tables.entry(tenant.clone()).or_default();
            of_tenant.insert(name.clone(), PrefixTable::parse(content)?);
        }
        Routing::new(&document, |tenant, name| tables.get(tenant)?.get(name), known)
            .map_err(RoutingError::Faults)
    }
}

/// Work that takes long, beside the threads that serve.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The routing in force, out of the cache if nothing has changed. One that cannot be made any more leaves none: it was checked
/// when it was set, so the database is damaged, and calls then go by the peers' own prefixes.
pub(crate) async fn in_force(
    cache: &RoutingCache,
    connection: &mut SqliteConnection,
) -> Result<Arc<Routing>, sqlx::Error> {
    let made: Made = sqlx::query_as(
        "SELECT (SELECT coalesce(max(version), 0) FROM routing_versions), \
         (SELECT coalesce(max(change), 0) FROM routing_tables)",
    )
    .fetch_one(&mut *connection)
    .await?;
    if let Some((known, routing)) = &*cache.0.lock().unwrap_or_else(PoisonError::into_inner)
        && *known == made
    {
        return Ok(Arc::clone(routing));
    }
    let parts = read_parts(connection).await?;
    let routing = match aside(move || parts.make(&Anything)).await {
        Ok(routing) => Arc::new(routing),
        Err(_) => {
            tracing::error!(
                hint = "set it anew: offhook route set FILE",
                "the routing in the database cannot be read: calls go by the peers' own prefixes"
            );
            Arc::default()
        }
    };
    *cache.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((made, Arc::clone(&routing)));
    Ok(routing)
}

async fn read_parts(connection: &mut SqliteConnection) -> Result<Parts, sqlx::Error> {
    let document: Option<String> =
        sqlx::query_scalar("SELECT document FROM routing_versions ORDER BY version DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
    let tables =
        sqlx::query_as("SELECT tenant, name, content FROM routing_tables").fetch_all(connection).await?;
    Ok(Parts { document: document.unwrap_or_default(), tables })
}

impl Store {
    /// The version of the routing that is in force, or this one; `None`: there is none.
    pub async fn routing_version(&self, version: Option<i64>) -> Result<Option<RoutingVersion>, StoreError> {
        let row: Option<(i64, i64, String, String, String)> = sqlx::query_as(
            "SELECT version, at, who, note, document FROM routing_versions WHERE ?1 IS NULL OR version = ?1 \
             ORDER BY version DESC LIMIT 1",
        )
        .bind(version)
        .fetch_optional(self.site_database().readers())
        .await
        .map_err(self.site_database().failed())?;
        Ok(row.map(version_of_row))
    }

    /// All versions of the routing that are kept, the newest first, without their text.
    pub async fn routing_versions(&self) -> Result<Vec<RoutingVersion>, StoreError> {
        let rows: Vec<(i64, i64, String, String, String)> =
            sqlx::query_as("SELECT version, at, who, note, '' FROM routing_versions ORDER BY version DESC")
                .fetch_all(self.site_database().readers())
                .await
                .map_err(self.site_database().failed())?;
        Ok(rows.into_iter().map(version_of_row).collect())
    }

    /// Checks a document against the peers, lines and tables that there are. Changes nothing.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn check_routing(&self, document: &str) -> Result<(), RoutingError> {
        let mut parts = self.routing_parts().await?;
        parts.document = document.into();
        self.check_parts(parts).await
    }

    /// Sets the routing, as a new version; its number.
    ///
    /// # Errors
    /// All that is wrong with it; then it stays as it was.
    pub async fn set_routing(&self, by: &Author, document: &str, note: &str) -> Result<i64, RoutingError> {
        self.check_routing(document).await?;
        let failed = self.site_database().failed();
        let note: String = note.chars().take(ROUTING_NOTE_CHARS_MAX).collect();
        let mut writer = self.site_database().writer().await;
        let mut transaction = writer.begin().await.map_err(&failed)?;
        let version: i64 = sqlx::query_scalar(
            "INSERT INTO routing_versions (version, at, who, note, document) \
             SELECT coalesce(max(version), 0) + 1, ?, ?, ?, ? FROM routing_versions RETURNING version",
        )
        .bind(by.at.0)
        .bind(&*by.who)
        .bind(note)
        .bind(document)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
        sqlx::query("DELETE FROM routing_versions WHERE version <= ?")
            .bind(version - ROUTING_VERSIONS_MAX)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        note_change(&mut transaction, by, "set", ("", &format!("version {version}")))
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(version)
    }

    /// Goes back to what an earlier version said, as a new version; its number.
    ///
    /// # Errors
    /// There is no such version, or a peer, line or table that it names is gone.
    pub async fn restore_routing(&self, by: &Author, version: i64) -> Result<i64, RoutingError> {
        let earlier = self.routing_version(Some(version)).await?;
        let earlier = earlier.ok_or_else(|| RoutingError::Missing(format!("version {version}")))?;
        self.set_routing(by, &earlier.document, &format!("back to version {version}")).await
    }

    /// All tables of prefixes, without their lines.
    pub async fn routing_tables(&self) -> Result<Vec<RoutingTable>, StoreError> {
        let rows: Vec<(String, String, i64, String, i64)> =
            sqlx::query_as("SELECT tenant, name, at, who, lines FROM routing_tables ORDER BY tenant, name")
                .fetch_all(self.site_database().readers())
                .await
                .map_err(self.site_database().failed())?;
        let table =
            |(tenant, name, at, who, lines)| RoutingTable { tenant, name, at: UtcMillis(at), who, lines };
        Ok(rows.into_iter().map(table).collect())
    }

    /// Puts a table of prefixes in the place of an earlier one of its name; how many lines it has.
    ///
    /// # Errors
    /// A line cannot be read, or the routing in force leads through the table to a peer that there is not.
    pub async fn set_routing_table(
        &self,
        by: &Author,
        tenant: &str,
        name: &str,
        content: &str,
    ) -> Result<usize, RoutingError> {
        let may_be = |symbol: char| symbol.is_ascii_alphanumeric() || ".-_".contains(symbol);
        if name.is_empty() || name.len() > 63 || !name.chars().all(may_be) {
            return Err(RoutingError::TableName);
        }
        let text = content.to_string();
        let lines = aside(move || PrefixTable::parse(&text)).await?.lines.len();
        let mut parts = self.routing_parts().await?;
        parts.tables.retain(|(of, known, _)| of != tenant || known != name);
        if parts.tables.len() >= usize::try_from(TABLES_MAX).unwrap_or_default() {
            return Err(RoutingError::TooManyTables);
        }
        parts.tables.push((tenant.into(), name.into(), content.into()));
        self.check_parts(parts).await?;
        let failed = self.site_database().failed();
        let mut writer = self.site_database().writer().await;
        let mut transaction = writer.begin().await.map_err(&failed)?;
        note_change(&mut transaction, by, "set", (tenant, name)).await.map_err(&failed)?;
        sqlx::query(
            "INSERT OR REPLACE INTO routing_tables (tenant, name, change, at, who, lines, content) \
             VALUES (?, ?, (SELECT value FROM node WHERE key = 'generation'), ?, ?, ?, ?)",
        )
        .bind(tenant)
        .bind(name)
        .bind(by.at.0)
        .bind(&*by.who)
        .bind(i64::try_from(lines).unwrap_or(i64::MAX))
        .bind(content)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(lines)
    }

    /// Removes a table of prefixes.
    ///
    /// # Errors
    /// There is none, or the routing in force needs it.
    pub async fn remove_routing_table(
        &self,
        by: &Author,
        tenant: &str,
        name: &str,
    ) -> Result<(), RoutingError> {
        let mut parts = self.routing_parts().await?;
        let before = parts.tables.len();
        parts.tables.retain(|(of, known, _)| of != tenant || known != name);
        if parts.tables.len() == before {
            return Err(RoutingError::Missing(format!("table {name} of tenant {tenant}")));
        }
        self.check_parts(parts).await?;
        let failed = self.site_database().failed();
        let mut writer = self.site_database().writer().await;
        let mut transaction = writer.begin().await.map_err(&failed)?;
        sqlx::query("DELETE FROM routing_tables WHERE tenant = ? AND name = ?")
            .bind(tenant)
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        note_change(&mut transaction, by, "remove", (tenant, name)).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(())
    }

    async fn routing_parts(&self) -> Result<Parts, StoreError> {
        let failed = self.site_database().failed();
        let mut reader = self.site_database().readers().begin().await.map_err(&failed)?;
        read_parts(&mut reader).await.map_err(&failed)
    }

    async fn check_parts(&self, parts: Parts) -> Result<(), RoutingError> {
        let present = Present::new(&self.load_site().await?);
        aside(move || parts.make(&present)).await.map(drop)
    }
}

fn version_of_row((version, at, who, note, document): (i64, i64, String, String, String)) -> RoutingVersion {
    RoutingVersion { version, at: UtcMillis(at), who, note, document }
}

/// Counts a change of the configuration and says in the audit whose it was.
async fn note_change(
    connection: &mut SqliteConnection,
    by: &Author,
    action: &str,
    (tenant, name): (&str, &str),
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE node SET value = value + 1 WHERE key = 'generation'")
        .execute(&mut *connection)
        .await?;
    let row = "INSERT INTO audit (at, who, action, kind, tenant, name, fields, generation) \
               VALUES (?, ?, ?, 'routing', ?, ?, '', (SELECT value FROM node WHERE key = 'generation'))";
    let row = sqlx::query(row).bind(by.at.0).bind(&*by.who).bind(action).bind(tenant).bind(name);
    row.execute(connection).await.map(drop)
}

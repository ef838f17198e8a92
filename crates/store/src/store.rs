//! The open data directory.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use crate::{
    database::{Database, Migration},
    error::{OpenError, StoreError},
    recording,
    routing::RoutingCache,
    secret_key::SecretKey,
    token::TokenCache,
};

pub(crate) const SITE_FILE: &str = "site.db";
pub(crate) const RECORDS_FILE: &str = "records.db";
const KEY_FILE: &str = "secret.key";
const LOCK_FILE: &str = "lock";

const SITE_MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/site/0001_start.sql") },
    Migration { version: 2, sql: include_str!("../migrations/site/0002_srtp.sql") },
    Migration { version: 3, sql: include_str!("../migrations/site/0003_networks.sql") },
    Migration { version: 4, sql: include_str!("../migrations/site/0004_routing.sql") },
];

const RECORDS_MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/records/0001_start.sql") },
    Migration { version: 2, sql: include_str!("../migrations/records/0002_fewer_indexes.sql") },
];

/// The newest schema of the database of this name that this program knows.
pub(crate) fn schema_of(name: &str) -> Option<i64> {
    let migrations = match name {
        SITE_FILE => SITE_MIGRATIONS,
        RECORDS_FILE => RECORDS_MIGRATIONS,
        _ => return None,
    };
    migrations.last().map(|last| last.version)
}

/// All that outlives the process: configuration, bindings and tokens in `site.db`, records in `records.db`, the key for
/// secrets in `secret.key`. Cloning it is cheap; the directory stays locked until the last clone is gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    site: Database,
    records: Database,
    key: SecretKey,
    tokens: RwLock<TokenCache>,
    routing: RoutingCache,
    /// Held for its lock: the system drops it with the last process that has it, whatever ends that.
    lock: fs::File,
}

impl Store {
    /// Opens `folder`, makes it (mode 0700) if it is missing, locks it against other nodes, and brings the databases
    /// up to date.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let lock = Self::claim(&folder)?;
        Self::open_claimed(folder, lock).await
    }

    /// Makes the directory and takes its lock, and touches no data yet.
    ///
    /// # Errors
    /// The directory cannot be made or belongs to another process.
    pub fn claim(folder: impl AsRef<Path>) -> Result<fs::File, OpenError> {
        make_private_folder(folder.as_ref())?;
        lock_folder(folder.as_ref())
    }

    /// The rest of [`Store::open`], with the lock of [`Store::claim`], or with that of the process that this one takes over
    /// from ([`Store::lock`]). That one must write nothing more, but may still have all open: it closes when it ends.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_claimed(folder: impl AsRef<Path>, lock: fs::File) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let site = Database::open(folder, SITE_FILE, SITE_MIGRATIONS).await?;
        let records = Database::open(folder, RECORDS_FILE, RECORDS_MIGRATIONS).await?;
        let failed = |source| OpenError::Database { path: folder.join(SITE_FILE), source };
        let sealed: i64 = sqlx::query_scalar("SELECT count(*) FROM peers WHERE secret IS NOT NULL")
            .fetch_one(site.readers())
            .await
            .map_err(failed)?;
        // A new key next to old secrets or recordings would hide that the old one is lost.
        let may_create = sealed == 0 && !recording::are_in(folder);
        let key = SecretKey::open(&folder.join(KEY_FILE), may_create)?;
        let tokens = RwLock::new(TokenCache::load(&site).await.map_err(failed)?);
        flush_folder(folder)?;
        let (folder, routing) = (folder.to_path_buf(), RoutingCache::default());
        Ok(Self(Arc::new(Inner { folder, site, records, key, tokens, routing, lock })))
    }

    /// The lock on the data directory, to be handed to a process that takes over.
    pub fn lock(&self) -> &fs::File {
        &self.0.lock
    }

    /// The data directory.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Folds the logs into the databases and closes them. Operations on other clones fail from then on.
    pub async fn close(&self) {
        self.0.records.close().await;
        self.0.site.close().await;
    }

    /// Caps the file of the records at its present size and `more_pages` pages of 4 KiB, or lifts the cap. Past it,
    /// writes fail as on a full disk.
    pub async fn limit_records(&self, more_pages: Option<u32>) -> Result<(), StoreError> {
        let limit = match more_pages {
            Some(more) => Some(self.0.records.pages().await?.saturating_add(more)),
            None => None,
        };
        self.0.records.limit_pages(limit).await
    }

    pub(crate) fn site_database(&self) -> &Database {
        &self.0.site
    }

    pub(crate) fn record_database(&self) -> &Database {
        &self.0.records
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.0.key
    }

    pub(crate) fn routing_cache(&self) -> &RoutingCache {
        &self.0.routing
    }

    pub(crate) fn tokens(&self) -> &RwLock<TokenCache> {
        &self.0.tokens
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.folder.display())
    }
}

pub(crate) fn make_private_folder(folder: &Path) -> Result<(), OpenError> {
    let failed = |doing| move |source| OpenError::File { doing, path: folder.to_path_buf(), source };
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() && found.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed("close to others"))
        }
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failed("use")(io::ErrorKind::NotADirectory.into())),
        Err(_) => fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create")),
    }
}

pub(crate) fn lock_folder(folder: &Path) -> Result<fs::File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let failed = |source| OpenError::File { doing: "lock", path: path.clone(), source };
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: folder.to_path_buf() }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// New files survive power loss only when their folder is flushed too.
fn flush_folder(folder: &Path) -> Result<(), OpenError> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| OpenError::File {
        doing: "flush",
        path: folder.to_path_buf(),
        source,
    })
}

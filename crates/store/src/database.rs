//! One SQLite file: a writer, some readers, and its schema brought up to date.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    bulk::Bulk,
    error::{OpenError, StoreError},
};

/// Connections that read at the same time. Each holds a thread and a page cache of 2 MB; the API is the only reader.
const READERS_MAX: u32 = 4;

/// How long a connection waits for a lock that another one holds. Only a checkpoint or a backup tool can hold it.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows a reader may be ahead of whoever consumes them: large enough that the two threads rarely wait for each other.
const ROW_BUFFER: usize = 4096;

/// How every connection is set.
pub const PRAGMAS: [(&str, &str); 5] = [
    // FULL: in WAL mode only then does a commit survive power loss, not merely a crash of the process.
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    // What is deleted is overwritten: erasure means it (GDPR-5).
    ("secure_delete", "ON"),
    // Pages (4 KiB) in the log before they are folded into the file. The pages that every record touches are then written
    // to the file a quarter as often as with SQLite's 1,000; the log stays at 16 MB.
    ("wal_autocheckpoint", "4000"),
    // What a statement of many rows notes for the case that one fails: else a file, made anew each time.
    ("temp_store", "MEMORY"),
];

/// One step of a schema: its version and its statements. Steps are only ever appended.
#[derive(Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3 …
    pub version: i64,
    /// The statements.
    pub sql: &'static str,
}

/// An open file with one connection that writes and a pool that reads.
pub struct Database {
    name: &'static str,
    writer: Mutex<SqliteConnection>,
    bulk: Bulk,
    readers: SqlitePool,
}

impl Database {
    /// Opens `folder/name`, makes it (mode 0600) if it is missing, and brings its schema up to date.
    pub async fn open(
        folder: &Path,
        name: &'static str,
        migrations: &[Migration],
    ) -> Result<Self, OpenError> {
        let path = folder.join(name);
        create_private_file(&path)?;
        let failed = |source| OpenError::Database { path: path.clone(), source };
        let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
        let options = PRAGMAS
            .iter()
            .fold(options, |options, (name, value)| options.pragma(*name, *value))
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        let mut writer = options.connect().await.map_err(failed)?;
        migrate(&mut writer, &path, migrations).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.read_only(true))
            .await
            .map_err(failed)?;
        let bulk = Bulk::open(&path).map_err(|source| OpenError::Bulk { path: path.clone(), source })?;
        Ok(Self { name, writer: Mutex::new(writer), bulk, readers })
    }

    /// The one connection that writes; waits in turn for whoever has it.
    pub async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }

    /// Writes a group of rows in one transaction, in turn with [`Self::writer`], and returns when the disk has it.
    pub async fn write_group(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        // SQLite would let one of the two poll for the other's lock.
        let _turn = self.writer().await;
        let written = self.bulk.write(work).await;
        written.map_err(|source| StoreError::Group { database: self.name, source })
    }

    /// The connections that read.
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Turns what sqlx says into an error that names this file.
    pub fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + Copy + use<> {
        let database = self.name;
        move |source| StoreError::Database { database, source }
    }

    /// Caps the file at `pages` pages, or lifts the cap.
    pub async fn limit_pages(&self, pages: Option<u32>) -> Result<(), StoreError> {
        // The highest value SQLite accepts means "no limit of ours".
        let pages = pages.unwrap_or(u32::MAX - 1);
        let statement = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(statement).execute(&mut *self.writer().await).await.map_err(self.failed())?;
        let limited = self.bulk.limit_pages(pages);
        limited.map_err(|source| StoreError::Group { database: self.name, source })
    }

    /// How many pages the file has.
    pub async fn pages(&self) -> Result<u32, StoreError> {
        let mut writer = self.writer().await;
        sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *writer).await.map_err(self.failed())
    }

    /// Closes all connections; the last one folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.bulk.close();
        // Closing needs the connection by value; a fresh one in memory takes its place.
        let mut writer = self.writer.lock().await;
        if let Ok(empty) = SqliteConnection::connect("sqlite::memory:").await
            && let Err(error) = std::mem::replace(&mut *writer, empty).close().await
        {
            tracing::warn!(database = self.name, %error, "the database did not close cleanly");
        }
    }
}

/// Makes `path` with mode 0600 if it is missing. SQLite gives its log files the mode of the database.
fn create_private_file(path: &Path) -> Result<(), OpenError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop).map_err(|source| OpenError::File {
        doing: "open",
        path: path.to_path_buf(),
        source,
    })
}

/// Runs the steps that `PRAGMA user_version` says are missing, each in its own transaction.
async fn migrate(
    writer: &mut SqliteConnection,
    path: &Path,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: PathBuf::from(path), source };
    let found: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *writer).await.map_err(failed)?.get(0);
    let known = migrations.last().map_or(0, |last| last.version);
    if found > known {
        return Err(OpenError::Newer { path: path.to_path_buf(), found, known });
    }
    if (1..known).contains(&found) {
        keep_old_form(writer, path, found).await?;
    }
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::raw_sql(migration.sql).execute(&mut *transaction).await.map_err(failed)?;
        let stamp = AssertSqlSafe(format!("PRAGMA user_version = {}", migration.version));
        sqlx::raw_sql(stamp).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(())
}

/// The way back: a copy of the database in its old form, beside it, for the older program. One that is there from an attempt
/// before is as good.
async fn keep_old_form(writer: &mut SqliteConnection, path: &Path, schema: i64) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".schema-{schema}"));
    let copy = PathBuf::from(name);
    if copy.exists() {
        return Ok(());
    }
    // Made under another name, so that what bears this one is whole.
    let partial = copy.with_extension("partial");
    let failed = |source| OpenError::File { doing: "copy", path: copy.clone(), source };
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => create_private_file(&partial)?,
    }
    sqlx::query("VACUUM INTO ?")
        .bind(partial.to_string_lossy().into_owned())
        .execute(writer)
        .await
        .map_err(|source| OpenError::Database { path: path.to_path_buf(), source })?;
    fs::rename(&partial, &copy).map_err(failed)?;
    tracing::info!(schema, file = %copy.display(), "kept the database as it was: the way back to the older program");
    Ok(())
}

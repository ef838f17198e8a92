//! What can go wrong in the store, sorted by who has to act.

use std::{io, path::PathBuf};

/// Why a data directory could not be opened. An operator reads it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder could not be made, read or secured.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried, for example `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node holds the directory.
    #[error("the data directory {} is in use by another node", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The database was written by a newer version of this program.
    #[error("{} has schema version {found}; this program knows up to {known}", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The highest version this program knows.
        known: i64,
    },
    /// The key file is not 32 octets.
    #[error("{} is not a key: it has {length} bytes, not 32", path.display())]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// The key file is gone, but there are secrets or recordings that were encrypted with it.
    #[error("{} is missing, but there are passwords or recordings encrypted with it", path.display())]
    KeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("cannot open the database {}: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
    /// SQLite refused the connection for records and bindings.
    #[error("cannot open the database {}: {source}", path.display())]
    Bulk {
        /// The database file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system's random generator failed.
    #[error("the system gave no random bytes for a new key")]
    NoRandomness,
}

impl OpenError {
    /// What to do about it, in one line.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "make the path writable for this user, or name another directory in storage.data"
            }
            Self::InUse { .. } => "stop the other node, or give this one its own data directory",
            Self::Newer { .. } => {
                "start the newer program; or put the file NAME.schema-N, kept before the upgrade, in the database's place"
            }
            Self::BadKey { .. } | Self::KeyMissing { .. } => {
                "restore the key file from the backup; without it, remove the peers' secrets and the directory recordings"
            }
            Self::Database { .. } | Self::Bulk { .. } => {
                "check disk space and permissions; if the file is damaged, restore a backup"
            }
            Self::NoRandomness => "check that /dev/urandom is available to this process",
        }
    }
}

/// Why a read or write of an open store failed. The call path never sees it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused: disk full, input/output error, damage.
    #[error("the database {database} failed: {source}")]
    Database {
        /// Which of the files.
        database: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// SQLite refused a group of records or bindings, for the same reasons.
    #[error("the database {database} failed: {source}")]
    Group {
        /// Which of the files.
        database: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// A row holds what this program never writes.
    #[error("{table} {row} in the database is damaged: {what}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// Its number or id.
        row: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system's random generator failed.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl StoreError {
    /// What to do about it, in one line.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Database { .. } | Self::Group { .. } => {
                "check free space and health of the disk under the data directory"
            }
            Self::Damaged { .. } => "restore a backup; if the row came from this program, report it as a bug",
            Self::NoRandomness => "check that /dev/urandom is available to this process",
        }
    }
}

//! A backup: the databases as of one moment each, the configuration, and on demand the keys, in one file; and the way back.
//!
//! It is made beside a running node: SQLite copies a database as a reader sees it (`VACUUM INTO`), and nobody waits for it.
//! Keys are left out unless a passphrase is given, for whoever has them and the databases has everything.

mod archive;
mod keys;
mod restore;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use offhook_base::UtcMillis;
use offhook_switch::directory::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

pub use restore::{Restorable, Restored};

use crate::store::{RECORDS_FILE, SITE_FILE};

/// The version of the form that is written. One that is higher is not read.
const FORMAT: u32 = 1;

/// The name of what says what a backup holds: the first file of the archive.
const MANIFEST: &str = "manifest.json";

/// The name of the sealed keys.
const SEALED_KEYS: &str = "keys.sealed";

/// The name of the configuration.
const CONFIGURATION: &str = "offhook.toml";

/// The key files of a data directory: the peers' secrets, nonces and temporary addresses, the self-signed certificate, the
/// token of the local command line.
const KEY_FILES: [&str; 5] = ["secret.key", "exchange.key", "sip.key", "sip.crt", "token"];

/// The databases of a data directory.
const DATABASES: [&str; 2] = [SITE_FILE, RECORDS_FILE];

/// What a backup holds, as its manifest tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its form.
    pub format: u32,
    /// The program that made it.
    pub program: String,
    /// When.
    pub made: UtcMillis,
    /// The files in it, in their order.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Octets.
    pub size: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// The schema of a database.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<i64>,
}

impl Manifest {
    /// Whether it holds the keys, sealed.
    pub fn has_keys(&self) -> bool {
        self.files.iter().any(|file| file.name == SEALED_KEYS)
    }
}

/// What goes into a backup besides the databases.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions<'a> {
    /// The configuration file, if the node has one.
    pub configuration: Option<&'a Path>,
    /// Seals the keys; without it they are left out.
    pub passphrase: Option<&'a Secret>,
    /// Name and version of the program.
    pub program: &'a str,
    /// Now.
    pub now: UtcMillis,
}

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The database file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
    /// There is no database in the data directory.
    #[error("{} holds no node's data", path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// The file is not what a backup is.
    #[error("{} cannot be used: {what}", path.display())]
    Unusable {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Made by a newer program.
    #[error("{} was made by a newer program ({program}): {what}", path.display())]
    Newer {
        /// The backup.
        path: PathBuf,
        /// The program that made it.
        program: String,
        /// What this one does not know.
        what: String,
    },
    /// The keys are sealed.
    #[error("the keys in {} are sealed, and {what}", path.display())]
    Sealed {
        /// The backup.
        path: PathBuf,
        /// The passphrase is missing or wrong.
        what: &'static str,
    },
    /// A node runs on the data directory.
    #[error("a node is running on {}", path.display())]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// The system's random generator failed.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl BackupError {
    /// What to do about it, in one line.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "check space, owner and mode; nothing was changed",
            Self::Database { .. } => "check disk space; if the database is damaged, restore an older backup",
            Self::NoData { .. } => "name the node's configuration with --config",
            Self::Unusable { .. } => "take another backup; nothing was changed",
            Self::Newer { .. } => "use that program, or a newer one; nothing was changed",
            Self::Sealed { .. } => {
                "give the passphrase with --passphrase-file, or leave the keys out with --without-keys"
            }
            Self::Running { .. } => "stop it first: `offhook drain`, or systemctl stop offhook",
            Self::NoRandomness => "check that /dev/urandom is available to this process",
        }
    }

    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { doing, path, source }
    }
}

/// Makes a backup of the data directory `data` in the new file `to` (mode 0600), whether or not a node runs on it.
///
/// # Errors
/// See [`BackupError`]; then there is no file `to`.
pub async fn back_up(data: &Path, to: &Path, options: BackupOptions<'_>) -> Result<Manifest, BackupError> {
    if !data.join(SITE_FILE).exists() {
        return Err(BackupError::NoData { path: data.to_path_buf() });
    }
    if to.exists() {
        let exists = io::ErrorKind::AlreadyExists.into();
        return Err(BackupError::File { doing: "make", path: to.to_path_buf(), source: exists });
    }
    let work = Scratch::beside(to)?;
    let mut files = Vec::new();
    for name in DATABASES {
        let copy = work.path().join(name);
        let schema = copy_database(&data.join(name), &copy).await?;
        files.push(FileEntry { schema: Some(schema), ..entry(name, &copy)? });
    }
    if let Some(configuration) = options.configuration {
        let copy = work.path().join(CONFIGURATION);
        fs::copy(configuration, &copy).map_err(BackupError::file("read", configuration))?;
        files.push(entry(CONFIGURATION, &copy)?);
    }
    if let Some(passphrase) = options.passphrase {
        let copy = work.path().join(SEALED_KEYS);
        let sealed = keys::seal(&read_keys(data)?, passphrase).map_err(|_| BackupError::NoRandomness)?;
        fs::write(&copy, sealed).map_err(BackupError::file("write", &copy))?;
        files.push(entry(SEALED_KEYS, &copy)?);
    }
    let manifest = Manifest { format: FORMAT, program: options.program.into(), made: options.now, files };
    let whole = work.path().join("whole");
    write_archive(&manifest, work.path(), &whole).map_err(BackupError::file("write", to))?;
    fs::rename(&whole, to).map_err(BackupError::file("make", to))?;
    Ok(manifest)
}

/// Copies a database as of now; its schema.
async fn copy_database(from: &Path, to: &Path) -> Result<i64, BackupError> {
    private_file(to).map_err(BackupError::file("make", to))?;
    let failed = |source| BackupError::Database { doing: "copy", path: from.to_path_buf(), source };
    let mut connection = connect(from).await.map_err(failed)?;
    let schema =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(failed)?;
    // An empty file may be there, so that it has the mode that we want.
    let target = to.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(schema)
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(std::time::Duration::from_secs(10))
        .disable_statement_logging()
        .connect()
        .await
}

fn read_keys(data: &Path) -> Result<keys::Keys, BackupError> {
    let mut found = keys::Keys::new();
    for name in KEY_FILES {
        let path = data.join(name);
        match fs::read(&path) {
            Ok(key) => drop(found.insert(name.into(), key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::file("read", &path)(error)),
        }
    }
    Ok(found)
}

fn entry(name: &str, path: &Path) -> Result<FileEntry, BackupError> {
    let failed = || BackupError::file("read", path);
    let mut file = fs::File::open(path).map_err(failed())?;
    let (size, sha256) = digest(&mut file, &mut io::sink()).map_err(failed())?;
    Ok(FileEntry { name: name.into(), size, sha256, schema: None })
}

/// Copies to the end; octets and SHA-256.
fn digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
    let hex = hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok((size, hex))
}

fn write_archive(manifest: &Manifest, from: &Path, to: &Path) -> io::Result<()> {
    let at_secs = u64::try_from(manifest.made.as_secs()).unwrap_or(0);
    let mut archive = archive::Writer::new(io::BufWriter::new(private_file(to)?));
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.add(MANIFEST, text.len() as u64, at_secs, text.as_slice())?;
    for file in &manifest.files {
        archive.add(&file.name, file.size, at_secs, fs::File::open(from.join(&file.name))?)?;
    }
    archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A new file for its owner only.
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A folder for what is not done yet, on the same file system as the result. It goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(target: &Path) -> Result<Self, BackupError> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".partial-{}", std::process::id()));
        let path = target.with_file_name(name);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(BackupError::file("make", &path))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

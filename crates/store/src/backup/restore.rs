//! The way back: everything is unpacked and checked beside the data directory before anything in it is touched.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use offhook_switch::directory::Secret;

use super::{
    BackupError, CONFIGURATION, DATABASES, FORMAT, KEY_FILES, MANIFEST, Manifest, SEALED_KEYS, Scratch,
    archive, connect, digest, keys, private_file,
};
use crate::{
    calls_file,
    store::{self, RECORDS_FILE, SITE_FILE},
};

/// The largest manifest that is read: a handful of files.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// A backup that was unpacked and found good. Nothing has been changed yet.
pub struct Restorable {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Lines in it.
    pub lines: i64,
    /// Call records in it.
    pub records: i64,
    /// Peers whose password cannot be read: the key is neither in the backup nor in the data directory.
    pub lost_secrets: i64,
    data: PathBuf,
    unpacked: Scratch,
    keys: keys::Keys,
}

/// What restoring has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where the files that were replaced are now; `None` if there were none.
    pub before: Option<PathBuf>,
    /// Where the configuration of the backup was put, for a person to compare: it is not put in force.
    pub configuration: Option<PathBuf>,
}

impl Restorable {
    /// Unpacks the backup `from` beside the data directory `data` and checks all of it: form, sums, schemas, integrity, keys.
    ///
    /// # Errors
    /// See [`BackupError`]; nothing was changed.
    pub async fn check(
        from: &Path,
        data: &Path,
        passphrase: Option<&Secret>,
        without_keys: bool,
    ) -> Result<Self, BackupError> {
        let unpacked = Scratch::beside(data)?;
        let manifest = unpack(from, unpacked.path())?;
        check_schemas(from, &manifest)?;
        let keys = open_keys(from, unpacked.path(), &manifest, passphrase, without_keys)?;
        let has_key = keys.contains_key(KEY_FILES[0]) || data.join(KEY_FILES[0]).exists();
        let mut counts = [0; 3];
        let questions = [
            (SITE_FILE, "SELECT count(*) FROM lines"),
            (RECORDS_FILE, "SELECT count(*) FROM records"),
            (SITE_FILE, "SELECT count(*) FROM peers WHERE secret IS NOT NULL"),
        ];
        for (count, (name, question)) in counts.iter_mut().zip(questions) {
            *count = ask(from, &unpacked.path().join(name), question).await?;
        }
        let [lines, records, sealed] = counts;
        let lost_secrets = if has_key { 0 } else { sealed };
        Ok(Self { manifest, lines, records, lost_secrets, data: data.to_path_buf(), unpacked, keys })
    }

    /// Replaces the data directory's files. What was there is kept in a folder in it, named by `label`. So is the file of running
    /// calls, or beside itself if it is elsewhere (`calls`): a node that starts on the backup must not go on with calls that it
    /// knows nothing of, hours later.
    ///
    /// # Errors
    /// A node runs on the directory, or a file cannot be moved; then what was moved before is in that folder.
    pub async fn restore(self, label: &str, calls: Option<&Path>) -> Result<Restored, BackupError> {
        let data = &self.data;
        let failed = |doing: &'static str| BackupError::file(doing, data);
        if self.lost_secrets > 0 {
            forget_secrets(&self.unpacked.path().join(SITE_FILE)).await?;
        }
        store::make_private_folder(data).map_err(|error| failed("make")(io::Error::other(error)))?;
        // Held to the end: no node may start in between.
        let _lock = store::lock_folder(data).map_err(|_| BackupError::Running { path: data.clone() })?;
        let before = data.join(format!("before-restore-{label}"));
        let mut moved = false;
        for name in old_files(&self.keys) {
            let path = data.join(&name);
            if path.exists() {
                if !moved {
                    fs::create_dir(&before).map_err(BackupError::file("make", &before))?;
                    moved = true;
                }
                fs::rename(&path, before.join(&name)).map_err(BackupError::file("move", &path))?;
            }
        }
        if let Some(calls) = calls.filter(|calls| calls.exists()) {
            let mut aside = calls.as_os_str().to_os_string();
            aside.push(format!(".before-restore-{label}"));
            fs::rename(calls, aside).map_err(BackupError::file("move", calls))?;
        }
        for name in DATABASES {
            let (from, to) = (self.unpacked.path().join(name), data.join(name));
            fs::rename(from, &to).map_err(BackupError::file("put", &to))?;
        }
        for (name, key) in &self.keys {
            let to = data.join(name);
            let written = private_file(&to).and_then(|mut file| io::copy(&mut key.as_slice(), &mut file));
            written.map_err(BackupError::file("write", &to))?;
        }
        let configuration = self.unpacked.path().join(CONFIGURATION);
        let configuration = if configuration.exists() {
            let to = data.join(format!("{CONFIGURATION}.restored"));
            fs::rename(configuration, &to).map_err(BackupError::file("put", &to))?;
            Some(to)
        } else {
            None
        };
        fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed("flush"))?;
        Ok(Restored { before: moved.then_some(before), configuration })
    }
}

/// What must make room: databases with their logs, running calls, and the keys that the backup brings.
fn old_files(keys: &keys::Keys) -> Vec<String> {
    let logs = DATABASES.iter().flat_map(|name| ["", "-wal", "-shm"].map(|end| format!("{name}{end}")));
    logs.chain([calls_file::FILE.into()]).chain(keys.keys().cloned()).collect()
}

/// Unpacks all files of an archive and compares each with what the manifest says.
fn unpack(from: &Path, to: &Path) -> Result<Manifest, BackupError> {
    let failed = || BackupError::file("read", from);
    let unusable = |what: &str| BackupError::Unusable { path: from.to_path_buf(), what: what.into() };
    let mut file = io::BufReader::new(fs::File::open(from).map_err(failed())?);
    let form = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => unusable("it is no backup, or damaged"),
        io::ErrorKind::UnexpectedEof => unusable("it is cut short"),
        _ => failed()(error),
    };
    let first = archive::next(&mut file).map_err(form)?;
    let Some((_, size)) = first.filter(|(name, size)| name == MANIFEST && *size <= MANIFEST_BYTES_MAX) else {
        return Err(unusable("it is no backup: it does not say what it holds"));
    };
    let mut text = Vec::new();
    file.by_ref().take(size).read_to_end(&mut text).map_err(form)?;
    archive::skip_padding(&mut file, size).map_err(form)?;
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
        program: String,
    }
    let known: Form = serde_json::from_slice(&text).map_err(|_| unusable("its manifest cannot be read"))?;
    if known.format > FORMAT {
        let what = format!("its form has version {}, this program knows up to {FORMAT}", known.format);
        return Err(BackupError::Newer { path: from.to_path_buf(), program: known.program, what });
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| unusable("its manifest cannot be read"))?;
    let mut missing: Vec<&str> = DATABASES.to_vec();
    for wanted in &manifest.files {
        let name = wanted.name.as_str();
        if !DATABASES.iter().chain(&[SEALED_KEYS, CONFIGURATION]).any(|known| *known == name) {
            return Err(unusable("it holds a file that no backup has"));
        }
        missing.retain(|database| *database != name);
        let found = archive::next(&mut file).map_err(form)?;
        if found.as_ref().is_none_or(|(found, size)| found != name || *size != wanted.size) {
            return Err(unusable("its files are not those of its manifest"));
        }
        let path = to.join(name);
        let mut copy = private_file(&path).map_err(BackupError::file("make", &path))?;
        let (size, sha256) = digest(&mut file.by_ref().take(wanted.size), &mut copy).map_err(form)?;
        if size != wanted.size {
            return Err(unusable("it is cut short"));
        }
        if sha256 != wanted.sha256 {
            return Err(unusable(&format!("{name} in it is damaged")));
        }
        archive::skip_padding(&mut file, size).map_err(form)?;
        copy.sync_all().map_err(BackupError::file("write", &path))?;
    }
    match missing.first() {
        Some(name) => Err(unusable(&format!("{name} is missing in it"))),
        None => Ok(manifest),
    }
}

fn check_schemas(from: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for file in &manifest.files {
        let (Some(found), Some(known)) = (file.schema, store::schema_of(&file.name)) else { continue };
        if found > known {
            let what = format!("{} has schema {found}, this program knows up to {known}", file.name);
            let program = manifest.program.clone();
            return Err(BackupError::Newer { path: from.to_path_buf(), program, what });
        }
    }
    Ok(())
}

fn open_keys(
    from: &Path,
    unpacked: &Path,
    manifest: &Manifest,
    passphrase: Option<&Secret>,
    without_keys: bool,
) -> Result<keys::Keys, BackupError> {
    if without_keys || !manifest.has_keys() {
        return Ok(keys::Keys::new());
    }
    let sealed = |what| BackupError::Sealed { path: from.to_path_buf(), what };
    let passphrase = passphrase.ok_or(sealed("no passphrase was given"))?;
    let path = unpacked.join(SEALED_KEYS);
    let text = fs::read(&path).map_err(BackupError::file("read", &path))?;
    let mut keys = keys::open(&text, passphrase).map_err(|_| sealed("the passphrase does not fit"))?;
    keys.retain(|name, _| KEY_FILES.contains(&name.as_str()));
    Ok(keys)
}

/// Checks a database's integrity and counts something in it.
async fn ask(from: &Path, path: &Path, question: &'static str) -> Result<i64, BackupError> {
    let damaged = |error: sqlx::Error| BackupError::Unusable {
        path: from.to_path_buf(),
        what: format!("{} in it: {error}", path.file_name().unwrap_or_default().to_string_lossy()),
    };
    let mut connection = connect(path).await.map_err(damaged)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await.map_err(damaged)?;
    if verdict != "ok" {
        return Err(damaged(sqlx::Error::Protocol(verdict)));
    }
    sqlx::query_scalar(question).fetch_one(&mut connection).await.map_err(damaged)
}

/// Without the key the peers' passwords are noise. A peer's user name goes with them.
async fn forget_secrets(path: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Database { doing: "change", path: path.to_path_buf(), source };
    let mut connection = connect(path).await.map_err(failed)?;
    sqlx::query("UPDATE peers SET secret = NULL, username = NULL WHERE secret IS NOT NULL")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    sqlx::Connection::close(connection).await.map_err(failed)
}

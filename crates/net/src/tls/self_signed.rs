//! A certificate of our own making, so that TLS works at the first start.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::{CertificateFiles, TlsError};

/// The certificate's file name in the directory.
pub const CERTIFICATE_FILE: &str = "sip.crt";
/// The key's file name in the directory.
pub const KEY_FILE: &str = "sip.key";

/// Mode of the key: only the node's user reads it.
const KEY_MODE: u32 = 0o600;
/// Mode of the certificate: anybody may see it.
const CERTIFICATE_MODE: u32 = 0o644;

/// The files in `directory`; if neither is there, makes a self-signed certificate for `names` (host names and addresses)
/// first. The directory is made if needed. Returns the files and whether they are new.
///
/// # Errors
/// [`TlsError`] naming the file. One file without the other is an error of [`ServerTls::load`](super::ServerTls::load),
/// not a reason to write over the one that is there.
pub fn find_or_make(directory: &Path, names: &[String]) -> Result<(CertificateFiles, bool), TlsError> {
    let files =
        CertificateFiles { certificate: directory.join(CERTIFICATE_FILE), key: directory.join(KEY_FILE) };
    if files.certificate.exists() || files.key.exists() {
        return Ok((files, false));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("offhook", String::as_str));
    let certificate = params.self_signed(&key)?;
    fs::create_dir_all(directory)
        .map_err(|source| TlsError::Write { path: directory.to_path_buf(), source })?;
    // The key first: a certificate without key is refused at the next start, a key without certificate as well, but only
    // the key is secret and must never have been readable by others.
    write_new(&files.key, KEY_MODE, key.serialize_pem().as_bytes())?;
    write_new(&files.certificate, CERTIFICATE_MODE, certificate.pem().as_bytes())?;
    Ok((files, true))
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), TlsError> {
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    written().map_err(|source| TlsError::Write { path: path.to_path_buf(), source })
}

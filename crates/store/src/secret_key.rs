//! The node's key for secrets that must be used in clear, such as a trunk's password: AES-256-GCM.
//!
//! It guards a copy of the database (a backup, a disk sent to repair), not a thief who has the whole directory.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac, rand,
};
use offhook_switch::directory::Secret;

use crate::error::OpenError;

/// Octets of the key.
const KEY_LENGTH: usize = 32;

/// The key, in memory.
pub struct SecretKey {
    sealing: RandomizedNonceKey,
    /// Makes keys for other purposes.
    deriving: hmac::Key,
}

/// The text was not encrypted with this key for this owner, or was altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl SecretKey {
    /// Reads the key file, or makes it (mode 0600, flushed to disk) where there is none and `may_create` says so.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, OpenError> {
        let failed = |doing| move |source| OpenError::File { doing, path: path.to_path_buf(), source };
        let key = match fs::read(path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
                let mut key = vec![0; KEY_LENGTH];
                rand::fill(&mut key).map_err(|_| OpenError::NoRandomness)?;
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed("create"))?;
                file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed("write"))?;
                key
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::KeyMissing { path: path.to_path_buf() });
            }
            Err(error) => return Err(failed("read")(error)),
        };
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| OpenError::BadKey { path: path.to_path_buf(), length: key.len() })?;
        Ok(Self { sealing, deriving: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// A key of its own for `purpose`, which is never used for another one: the same after a restart.
    pub fn derive(&self, purpose: &str) -> [u8; KEY_LENGTH] {
        let mut key = [0; KEY_LENGTH];
        key.copy_from_slice(hmac::sign(&self.deriving, purpose.as_bytes()).as_ref());
        key
    }

    /// Encrypts `secret`, bound to `owner`: moved to another row, it cannot be opened.
    pub fn seal(&self, secret: &Secret, owner: &str) -> Result<Vec<u8>, Unreadable> {
        let mut text = secret.reveal().as_bytes().to_vec();
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut text)
            .map_err(|_| Unreadable)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same `owner`.
    pub fn open_sealed(&self, sealed: &[u8], owner: &str) -> Result<Secret, Unreadable> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable)?;
        let mut text = text.to_vec();
        let opened = self
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(owner.as_bytes()), &mut text)
            .map_err(|_| Unreadable)?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_for_its_owner_only_and_never_looks_the_same_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let key = SecretKey::open(&path, true).unwrap();
        let secret = Secret::new("trunk password");
        let sealed = key.seal(&secret, "default/carrier").unwrap();
        assert_ne!(sealed, key.seal(&secret, "default/carrier").unwrap());
        assert!(!sealed.windows(5).any(|window| window == b"trunk"));

        let again = SecretKey::open(&path, false).unwrap();
        assert_eq!(again.open_sealed(&sealed, "default/carrier"), Ok(secret));
        assert_eq!(again.open_sealed(&sealed, "default/other"), Err(Unreadable));
        assert_eq!(again.open_sealed(&sealed[..8], "default/carrier"), Err(Unreadable));
    }
}

//! The keys of a backup, under a passphrase: PBKDF2 with HMAC-SHA256 makes the key, AES-256-GCM seals.

use std::{collections::BTreeMap, num::NonZeroU32};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    pbkdf2, rand,
};
use offhook_switch::directory::Secret;

/// Rounds of PBKDF2: OWASP's advice of 2023 for HMAC-SHA256, a fifth of a second.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("it is not zero");

const SALT_LENGTH: usize = 16;

/// What the sealed text is bound to.
const PURPOSE: &[u8] = b"offhook backup keys 1";

/// The passphrase is wrong, or the text was altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Key files by name.
pub type Keys = BTreeMap<String, Vec<u8>>;

/// Seals `keys` with `passphrase`: salt, nonce, and the files as JSON with a tag.
pub fn seal(keys: &Keys, passphrase: &Secret) -> Result<Vec<u8>, Unreadable> {
    let mut salt = [0; SALT_LENGTH];
    rand::fill(&mut salt).map_err(|_| Unreadable)?;
    let mut text = serde_json::to_vec(keys).map_err(|_| Unreadable)?;
    let nonce = key(passphrase, &salt)?
        .seal_in_place_append_tag(Aad::from(PURPOSE), &mut text)
        .map_err(|_| Unreadable)?;
    Ok([&salt, nonce.as_ref().as_slice(), &text].concat())
}

/// Opens what [`seal`] made.
pub fn open(sealed: &[u8], passphrase: &Secret) -> Result<Keys, Unreadable> {
    let (salt, rest) = sealed.split_first_chunk::<SALT_LENGTH>().ok_or(Unreadable)?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable)?;
    let mut text = text.to_vec();
    let opened = key(passphrase, salt)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(PURPOSE), &mut text)
        .map_err(|_| Unreadable)?;
    serde_json::from_slice(opened).map_err(|_| Unreadable)
}

fn key(passphrase: &Secret, salt: &[u8]) -> Result<RandomizedNonceKey, Unreadable> {
    let mut key = [0; 32];
    let passphrase = passphrase.reveal().as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, passphrase, &mut key);
    RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_open_with_their_passphrase_only() {
        let keys = Keys::from([("secret.key".to_string(), vec![7; 32])]);
        let passphrase = Secret::new("correct horse");
        let sealed = seal(&keys, &passphrase).unwrap();
        assert_eq!(open(&sealed, &passphrase), Ok(keys));
        assert_eq!(open(&sealed, &Secret::new("correct house")), Err(Unreadable));
        assert_eq!(open(&sealed[..20], &passphrase), Err(Unreadable));
    }
}

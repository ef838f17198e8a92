//! Line passwords: made, hashed for digest authentication, and then forgotten.

use md5::{Digest, Md5};
use offhook_switch::directory::{PasswordHashes, Secret};
use sha2::Sha256;

use crate::error::StoreError;

/// Letters of a made password: no `l`, `o`, `0`, `1`, which people mistake when they type it into a phone. There are
/// 32, so that each carries 5 bits without bias.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Letters of a made password: 80 bits, out of reach for whoever steals the MD5 hashes.
const LETTER_COUNT: usize = 16;

/// Letters between hyphens.
const GROUP: usize = 4;

/// Makes a password that is strong and can be typed: `k7mq-2xht-9bfa-wz4e`.
pub fn generate_password() -> Result<Secret, StoreError> {
    let mut noise = [0; LETTER_COUNT];
    aws_lc_rs::rand::fill(&mut noise).map_err(|_| StoreError::NoRandomness)?;
    let mut text = String::with_capacity(LETTER_COUNT + LETTER_COUNT / GROUP);
    for (position, byte) in noise.iter().enumerate() {
        if position > 0 && position % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte & 31)]));
    }
    Ok(Secret::new(&text))
}

/// `H(name:realm:password)` with MD5 and SHA-256, as RFC 7616 §3.4.2 has it.
pub fn hash_password(name: &str, realm: &str, password: &Secret) -> PasswordHashes {
    let text = format!("{name}:{realm}:{}", password.reveal());
    let mut hashes = PasswordHashes { md5: [0; 32], sha256: [0; 64] };
    write_hex(&Md5::digest(text.as_bytes()), &mut hashes.md5);
    write_hex(&Sha256::digest(text.as_bytes()), &mut hashes.sha256);
    hashes
}

fn write_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_7616_section_3_9_1() {
        // The RFC gives A1 for this name, realm and password; the digests of it were computed with md5sum and sha256sum.
        let hashes = hash_password("Mufasa", "http-auth@example.org", &Secret::new("Circle of Life"));
        assert_eq!(std::str::from_utf8(&hashes.md5).unwrap(), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(
            std::str::from_utf8(&hashes.sha256).unwrap(),
            "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
        );
    }

    #[test]
    fn made_passwords_differ_and_have_sixteen_letters_in_groups() {
        let (first, second) = (generate_password().unwrap(), generate_password().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.reveal().len(), 19);
        assert!(first.reveal().split('-').all(|group| group.len() == 4));
    }
}

//! What SRTP is keyed with: signalling agrees on it (SDES, RFC 4568), the media engine uses it (RFC 3711, RFC 7714).

use std::fmt;

use crate::Random;

/// How packets are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CryptoSuite {
    /// AES counter mode, HMAC-SHA1 with 80-bit tags: the one everybody has. RFC 4568 §6.2.1.
    AesCm128HmacSha1_80,
    /// The same with 32-bit tags for RTP; RTCP keeps 80 bits. RFC 4568 §6.2.2.
    AesCm128HmacSha1_32,
    /// AES-GCM with 128-bit keys and tags. RFC 7714 §14.2.
    AeadAes128Gcm,
    /// AES-GCM with 256-bit keys and 128-bit tags. RFC 7714 §14.2.
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// The name in `a=crypto`. RFC 4568 §6.2, RFC 7714 §14.2.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of that name, in any case: RFC 4568 §9.2 takes it from ABNF, whose strings are case-insensitive
    /// (RFC 4234 §2.3).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of the master key and of the session keys for encryption.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Octets of the master salt and of the session salts.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Octets of key and salt together: what `inline:` holds in base64.
    pub const fn master_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Octets an RTP packet grows by: its tag.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Octets an RTCP packet grows by: a tag and the index.
    pub const fn rtcp_overhead(self) -> usize {
        match self {
            // RFC 4568 §6.2.2: the short tag is for RTP alone.
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 20,
        }
    }
}

/// Longest master key with salt, octets: AEAD_AES_256_GCM.
const MASTER_LEN_MAX: usize = 44;

/// A master key of the wrong size for its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterKeyError {
    /// The suite.
    pub suite: CryptoSuite,
    /// Octets that were given.
    pub given: usize,
}

impl fmt::Display for MasterKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, wanted) = (self.suite.name(), self.suite.master_len());
        write!(f, "{name} takes {wanted} octets of master key and salt, not {}", self.given)
    }
}

impl std::error::Error for MasterKeyError {}

/// A master key and salt with the suite they are for: one direction of one stream. A secret: no `Display`, and
/// `Debug` shows the suite only.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: CryptoSuite,
    octets: [u8; MASTER_LEN_MAX],
}

impl MasterKey {
    /// Takes key and salt one after the other, as `inline:` carries them (RFC 4568 §6.1).
    ///
    /// # Errors
    /// They do not have the length that `suite` asks for.
    pub fn new(suite: CryptoSuite, key_and_salt: &[u8]) -> Result<Self, MasterKeyError> {
        if key_and_salt.len() != suite.master_len() {
            return Err(MasterKeyError { suite, given: key_and_salt.len() });
        }
        let mut octets = [0; MASTER_LEN_MAX];
        octets[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Ok(Self { suite, octets })
    }

    /// A fresh key for our own direction.
    pub fn generate(suite: CryptoSuite, random: &mut Random) -> Self {
        let mut octets = [0; MASTER_LEN_MAX];
        random.fill(&mut octets[..suite.master_len()]);
        Self { suite, octets }
    }

    /// The suite.
    pub const fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// The key. To be used, and shown to nobody.
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.suite.key_len()]
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.octets[self.suite.key_len()..self.suite.master_len()]
    }

    /// Key and salt, to be written to a description and nowhere else.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.octets[..self.suite.master_len()]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, ***)", self.suite.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_has_its_suites_length_and_shows_nothing() {
        for suite in CryptoSuite::ALL {
            assert_eq!(CryptoSuite::from_name(&suite.name().to_lowercase()), Some(suite));
            let key = MasterKey::new(suite, &vec![0xab; suite.master_len()]).unwrap();
            assert_eq!(format!("{key:?}"), format!("MasterKey({}, ***)", suite.name()));
            assert_eq!([key.key(), key.salt()].concat(), key.key_and_salt());
            let error = MasterKey::new(suite, &vec![0; suite.master_len() + 1]).unwrap_err();
            assert!(error.to_string().contains(suite.name()), "{error}");
        }
    }

    #[test]
    fn a_fresh_key_is_full_length() {
        let mut random = Random::from_number(5);
        for suite in CryptoSuite::ALL {
            let (one, other) =
                (MasterKey::generate(suite, &mut random), MasterKey::generate(suite, &mut random));
            assert_ne!(one.key(), other.key());
            assert_ne!(one.salt(), other.salt());
        }
    }
}

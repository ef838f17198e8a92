//! Crypto suites, master keys and the session keys that follow from them. RFC 3711 §4.3, RFC 7714 §11.

use aes::{
    Aes128Enc, Aes256Enc,
    cipher::{KeyInit, KeyIvInit, StreamCipher},
};
use aws_lc_rs::aead;
use hmac::Hmac;
use sha1::Sha1;

use super::cipher::{GcmKey, HmacKey, SessionCipher};

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

    /// The suite of that name, in any case: RFC 4568 §9.1 takes it from ABNF, whose strings are case-insensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key and of the session keys for encryption.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Bytes of the master salt and of the session salts.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of key and salt together: what `inline:` holds in base64.
    pub const fn master_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Bytes an RTP packet grows by.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes an RTCP packet grows by: a tag and the index.
    pub const fn rtcp_overhead(self) -> usize {
        match self {
            // RFC 4568 §6.2.2: the short tag is for RTP alone.
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 20,
        }
    }
}

/// Longest master key with salt, in bytes: AEAD_AES_256_GCM.
const MASTER_LEN_MAX: usize = 44;

/// A master key of the wrong size for its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{suite} takes {expected} bytes of master key and salt, not {actual}", suite = suite.name())]
pub struct MasterKeyError {
    /// The suite.
    pub suite: CryptoSuite,
    /// What it takes.
    pub expected: usize,
    /// What was given.
    pub actual: usize,
}

/// A master key and salt with the suite they are for: one direction of one stream. A secret: no `Display`, and
/// `Debug` shows the suite only.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: CryptoSuite,
    bytes: [u8; MASTER_LEN_MAX],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// Takes key and salt one after the other, as `inline:` carries them (RFC 4568 §6.1).
    pub fn new(suite: CryptoSuite, key_and_salt: &[u8]) -> Result<Self, MasterKeyError> {
        let (expected, actual) = (suite.master_len(), key_and_salt.len());
        if actual != expected {
            return Err(MasterKeyError { suite, expected, actual });
        }
        let mut bytes = [0; MASTER_LEN_MAX];
        bytes[..actual].copy_from_slice(key_and_salt);
        Ok(Self { suite, bytes })
    }

    /// A fresh key for our own direction.
    pub fn generate(suite: CryptoSuite, random: &mut offhook_base::Random) -> Self {
        let mut bytes = [0; MASTER_LEN_MAX];
        random.fill(&mut bytes[..suite.master_len()]);
        Self { suite, bytes }
    }

    /// The suite.
    pub const fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// Key and salt, to be written to an SDP body and nowhere else.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.bytes[..self.suite.master_len()]
    }

    /// The session cipher for RTP.
    pub(super) fn rtp_cipher(&self) -> SessionCipher {
        self.session_cipher(label::RTP, self.suite.rtp_overhead())
    }

    /// The session cipher for RTCP.
    pub(super) fn rtcp_cipher(&self) -> SessionCipher {
        self.session_cipher(label::RTCP, self.suite.rtcp_overhead() - 4)
    }

    fn session_cipher(&self, labels: label::Labels, tag_len: usize) -> SessionCipher {
        let mut key = [0; 32];
        let key = &mut key[..self.suite.key_len()];
        let mut salt = [0; 14];
        let salt = &mut salt[..self.suite.salt_len()];
        self.derive(labels.encryption, key);
        self.derive(labels.salt, salt);
        match self.suite {
            CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => {
                let mut authentication = [0; 20];
                self.derive(labels.authentication, &mut authentication);
                SessionCipher::Hmac(HmacKey::new(key, salt, &authentication, tag_len))
            }
            CryptoSuite::AeadAes128Gcm => SessionCipher::Gcm(GcmKey::new(&aead::AES_128_GCM, key, salt)),
            CryptoSuite::AeadAes256Gcm => SessionCipher::Gcm(GcmKey::new(&aead::AES_256_GCM, key, salt)),
        }
    }

    /// The key derivation function with rate 0: a keystream under the master key, started at salt XOR label.
    /// RFC 3711 §4.3.1, §4.3.3; RFC 7714 §11 fills the shorter salt up with zeros and RFC 6188 §3 takes AES-256.
    fn derive(&self, label: u8, out: &mut [u8]) {
        let (key, salt) = self.key_and_salt().split_at(self.suite.key_len());
        let mut start = [0; 16];
        start[..salt.len()].copy_from_slice(salt);
        start[7] ^= label;
        out.fill(0);
        if key.len() == 32 {
            keystream::<Aes256Enc>(key, &start, out);
        } else {
            keystream::<Aes128Enc>(key, &start, out);
        }
    }
}

fn keystream<Cipher>(key: &[u8], start: &[u8; 16], out: &mut [u8])
where
    ctr::Ctr128BE<Cipher>: KeyIvInit + StreamCipher,
    Cipher:
        aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    let mut stream = ctr::Ctr128BE::<Cipher>::new_from_slices(key, start)
        .expect("a master key has its suite's length and a block has 16 bytes");
    stream.apply_keystream(out);
}

/// Expands an AES-128 key.
pub(super) fn expand_aes_128(key: &[u8]) -> Aes128Enc {
    Aes128Enc::new_from_slice(key).expect("session keys of counter mode have 16 bytes")
}

/// Absorbs an authentication key once, to be cloned for each packet.
pub(super) fn absorb_hmac_key(key: &[u8; 20]) -> Hmac<Sha1> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// What tells session keys apart. RFC 3711 §4.3.2.
mod label {
    #[derive(Clone, Copy)]
    pub struct Labels {
        pub encryption: u8,
        pub authentication: u8,
        pub salt: u8,
    }
    pub const RTP: Labels = Labels { encryption: 0, authentication: 1, salt: 2 };
    pub const RTCP: Labels = Labels { encryption: 3, authentication: 4, salt: 5 };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn derive(master: &MasterKey, label: u8, len: usize) -> Vec<u8> {
        let mut out = vec![0xff; len];
        master.derive(label, &mut out);
        out
    }

    #[test]
    fn session_keys_follow_as_in_rfc_3711_appendix_b_3() {
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &master).unwrap();
        assert_eq!(derive(&master, 0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derive(&master, 2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
        let authentication = "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327a\
                              d175578ef72270986371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e47403576\
                              6b68642c59bbfc2f34db60dbdfb2dc68";
        assert_eq!(derive(&master, 1, 96), hex(authentication));
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_appendix_b_2() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let start: [u8; 16] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap();
        let mut out = vec![0; 16 * 0xff02];
        keystream::<Aes128Enc>(&key, &start, &mut out);
        let expected = "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab";
        assert_eq!(out[..32], hex(expected));
        let expected = "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae";
        assert_eq!(out[16 * 0xfeff..16 * 0xff01], hex(expected));
    }

    #[test]
    fn a_master_key_has_its_suites_length_and_shows_nothing() {
        for suite in CryptoSuite::ALL {
            assert_eq!(CryptoSuite::from_name(&suite.name().to_lowercase()), Some(suite));
            let key = MasterKey::new(suite, &vec![0xab; suite.master_len()]).unwrap();
            assert!(!format!("{key:?}").contains("171") && !format!("{key:?}").contains("ab,"));
            assert!(MasterKey::new(suite, &vec![0; suite.master_len() + 1]).is_err());
        }
    }
}

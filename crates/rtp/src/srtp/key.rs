//! The session keys that follow from a master key. RFC 3711 §4.3, RFC 7714 §11.

use aes::{
    Aes128Enc, Aes256Enc,
    cipher::{KeyInit, KeyIvInit, StreamCipher},
};
use aws_lc_rs::aead;
use hmac::Hmac;
use offhook_base::{CryptoSuite, MasterKey};
use sha1::Sha1;

use super::cipher::{GcmKey, HmacKey, SessionCipher};

/// Octets of the index that every SRTCP packet carries, with the bit that says whether it is encrypted. RFC 3711 §3.4.
const INDEX_LEN: usize = 4;

/// The session cipher for RTP.
pub(super) fn rtp_cipher(master: &MasterKey) -> SessionCipher {
    session_cipher(master, label::RTP, master.suite().rtp_overhead())
}

/// The session cipher for RTCP.
pub(super) fn rtcp_cipher(master: &MasterKey) -> SessionCipher {
    session_cipher(master, label::RTCP, master.suite().rtcp_overhead() - INDEX_LEN)
}

fn session_cipher(master: &MasterKey, labels: label::Labels, tag_len: usize) -> SessionCipher {
    let mut key = [0; 32];
    let key = &mut key[..master.suite().key_len()];
    let mut salt = [0; 14];
    let salt = &mut salt[..master.suite().salt_len()];
    derive(master, labels.encryption, key);
    derive(master, labels.salt, salt);
    match master.suite() {
        CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => {
            let mut authentication = [0; 20];
            derive(master, labels.authentication, &mut authentication);
            SessionCipher::Hmac(HmacKey::new(key, salt, &authentication, tag_len))
        }
        CryptoSuite::AeadAes128Gcm => SessionCipher::Gcm(GcmKey::new(&aead::AES_128_GCM, key, salt)),
        CryptoSuite::AeadAes256Gcm => SessionCipher::Gcm(GcmKey::new(&aead::AES_256_GCM, key, salt)),
    }
}

/// The key derivation function with rate 0: a keystream under the master key, started at salt XOR label.
/// RFC 3711 §4.3.1, §4.3.3; RFC 7714 §11 fills the shorter salt up with zeros and RFC 6188 §3 takes AES-256.
fn derive(master: &MasterKey, label: u8, out: &mut [u8]) {
    let (key, salt) = (master.key(), master.salt());
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

    fn derived(master: &MasterKey, label: u8, len: usize) -> Vec<u8> {
        let mut out = vec![0xff; len];
        derive(master, label, &mut out);
        out
    }

    #[test]
    fn session_keys_follow_as_in_rfc_3711_appendix_b_3() {
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &master).unwrap();
        assert_eq!(derived(&master, 0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derived(&master, 2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
        let authentication = "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327a\
                              d175578ef72270986371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e47403576\
                              6b68642c59bbfc2f34db60dbdfb2dc68";
        assert_eq!(derived(&master, 1, 96), hex(authentication));
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
}

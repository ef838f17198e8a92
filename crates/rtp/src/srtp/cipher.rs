//! One session's keys at work on one packet: encrypt then authenticate, or one AEAD.
//!
//! Both kinds see a packet as three parts: what is authenticated only, what is encrypted too, and the tag.

use aes::{Aes128Enc, cipher::InnerIvInit, cipher::StreamCipher};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::key::{absorb_hmac_key, expand_aes_128};
use crate::rtp::Ssrc;

/// Longest tag, in bytes.
pub(super) const TAG_LEN_MAX: usize = 20;

/// What is left of a packet that failed: nothing usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// Session keys of one direction, for RTP or for RTCP.
#[expect(
    clippy::large_enum_variant,
    reason = "two a direction: a few hundred bytes against a pointer chase a packet"
)]
pub(super) enum SessionCipher {
    Hmac(HmacKey),
    Gcm(GcmKey),
}

/// AES counter mode and HMAC-SHA1, both keys expanded once. RFC 3711 §4.1.1, §4.2.1.
pub(super) struct HmacKey {
    aes: Aes128Enc,
    salt: [u8; 14],
    hmac: Hmac<Sha1>,
    tag_len: usize,
}

impl HmacKey {
    pub(super) fn new(key: &[u8], salt: &[u8], authentication: &[u8; 20], tag_len: usize) -> Self {
        let salt = *salt.first_chunk().expect("session salts of counter mode have 14 bytes");
        Self { aes: expand_aes_128(key), salt, hmac: absorb_hmac_key(authentication), tag_len }
    }

    /// Encrypts or decrypts: the keystream starts at salt·2^16 XOR SSRC·2^64 XOR index·2^16. RFC 3711 §4.1.1.
    pub(super) fn apply_keystream(&self, ssrc: Ssrc, index: u64, payload: &mut [u8]) {
        let mut salt = [0; 16];
        salt[..14].copy_from_slice(&self.salt);
        let start = u128::from_be_bytes(salt) ^ u128::from(ssrc.0) << 64 ^ u128::from(index) << 16;
        let core = ctr::CtrCore::<&Aes128Enc, ctr::flavors::Ctr128BE>::inner_iv_init(
            &self.aes,
            &start.to_be_bytes().into(),
        );
        aes::cipher::StreamCipherCoreWrapper::from_core(core).apply_keystream(payload);
    }

    /// The tag over `message` and `suffix`: the rollover counter for RTP, nothing for RTCP. RFC 3711 §4.2.
    pub(super) fn write_tag(&self, message: &[u8], suffix: &[u8], tag: &mut [u8]) {
        let whole = self.tag(message, suffix);
        tag.copy_from_slice(&whole[..self.tag_len]);
    }

    /// Compares in constant time.
    pub(super) fn verify_tag(&self, message: &[u8], suffix: &[u8], tag: &[u8]) -> Result<(), Forged> {
        let whole = self.tag(message, suffix);
        if bool::from(whole[..self.tag_len].ct_eq(tag)) { Ok(()) } else { Err(Forged) }
    }

    fn tag(&self, message: &[u8], suffix: &[u8]) -> [u8; TAG_LEN_MAX] {
        let mut hmac = self.hmac.clone();
        hmac.update(message);
        hmac.update(suffix);
        hmac.finalize().into_bytes().into()
    }

    pub(super) const fn tag_len(&self) -> usize {
        self.tag_len
    }
}

/// AES-GCM. RFC 7714 §8, §9.
pub(super) struct GcmKey {
    key: LessSafeKey,
    salt: [u8; 12],
}

/// Bytes of a GCM tag. RFC 7714 §13.
pub(super) const GCM_TAG_LEN: usize = 16;

impl GcmKey {
    pub(super) fn new(algorithm: &'static aead::Algorithm, key: &[u8], salt: &[u8]) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("session keys have their algorithm's length");
        let salt = *salt.first_chunk().expect("session salts of GCM have 12 bytes");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// SSRC and index, spread over twelve bytes and salted. For RTP the 48-bit index is rollover counter and sequence
    /// number (RFC 7714 §8.1); for RTCP it has 31 bits, so its upper half is zero (§9.1): one layout serves both.
    fn nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.0.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `payload` in place and returns the tag; none only for payloads beyond GCM's 64 GB.
    pub(super) fn seal(
        &self,
        ssrc: Ssrc,
        index: u64,
        associated: &[u8],
        payload: &mut [u8],
    ) -> Option<[u8; GCM_TAG_LEN]> {
        let nonce = self.nonce(ssrc, index);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(associated), payload).ok()?;
        tag.as_ref().first_chunk().copied()
    }

    /// Decrypts `payload`, which ends with the tag, in place.
    pub(super) fn open(
        &self,
        ssrc: Ssrc,
        index: u64,
        associated: &[u8],
        payload: &mut [u8],
    ) -> Result<(), Forged> {
        let nonce = self.nonce(ssrc, index);
        self.key.open_in_place(nonce, Aad::from(associated), payload).map(drop).map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_is_that_of_rfc_7714_sections_16_and_17() {
        let key = GcmKey::new(&aead::AES_128_GCM, &[0; 16], b"Quid pro quo");
        let rtp = key.nonce(Ssrc(0x5501_a0b2), 0xf17b);
        assert_eq!(rtp.as_ref(), b"\x51\x75\x3c\x65\x80\xc2\x72\x6f\x20\x71\x84\x14");
        let rtcp = key.nonce(Ssrc(0x4d61_7273), 0x5d4);
        assert_eq!(rtcp.as_ref(), b"\x51\x75\x24\x05\x52\x03\x72\x6f\x20\x71\x70\xbb");
    }
}

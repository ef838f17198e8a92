//! Globally routable user agent URIs (RFC 5627): addresses that reach one device of a line.
//!
//! The public one is the address of record with the instance in its `gr` parameter. A temporary one hides both; it is
//! not remembered but made from a key, and carries what is needed to find the binding again: the number of the line and
//! short hashes of the instance and of the registration's Call-ID, encrypted under a tag that also proves that it is
//! ours (a synthetic initialisation vector: RFC 5297's idea, with HMAC-SHA-256 for both halves). Each refresh makes
//! another one that nobody can link with the last; all of them die with the Call-ID, as RFC 5627 §3.3 asks.

use std::fmt;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::stored::StoredBinding;
use crate::directory::LineId;

/// Before the letters of a temporary GRUU, as in RFC 5627's examples.
const TEMP_PREFIX: &str = "tgruu.";

/// Bytes of the tag: a forged one passes with a chance of 2^-80.
const TAG_BYTES: usize = 10;

/// Line (8), instance hash (4), Call-ID hash (4), CSeq (4).
const CLAIM_BYTES: usize = 20;

type Claim = [u8; CLAIM_BYTES];

/// Makes and reads temporary GRUUs.
pub(super) struct Mint {
    tag_key: Hmac<Sha256>,
    stream_key: Hmac<Sha256>,
    hash_key: Hmac<Sha256>,
}

/// What a temporary GRUU says.
pub(super) struct Claimed {
    pub(super) line: LineId,
    instance_hash: [u8; 4],
    call_id_hash: [u8; 4],
}

impl Mint {
    /// All follows from `key`: with the same one, GRUUs outlive a restart as their bindings do.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let root = keyed(key);
        let derive = |purpose: &[u8]| {
            let derived: [u8; 32] = root.clone().chain_update(purpose).finalize().into_bytes().into();
            keyed(&derived)
        };
        Self {
            tag_key: derive(b"gruu tag"),
            stream_key: derive(b"gruu stream"),
            hash_key: derive(b"gruu hash"),
        }
    }

    /// The user part of a fresh temporary GRUU; `None` for a contact without an instance.
    pub(super) fn temporary(&self, line: LineId, binding: &StoredBinding) -> Option<TempUser> {
        let mut claim: Claim = [0; CLAIM_BYTES];
        claim[..8].copy_from_slice(&line.0.to_be_bytes());
        claim[8..12].copy_from_slice(&self.instance_hash(binding.instance()?));
        claim[12..16].copy_from_slice(&self.call_id_hash(binding.call_id()));
        claim[16..].copy_from_slice(&binding.terms().cseq.to_be_bytes());
        let tag = self.tag(&claim);
        self.apply_stream(&tag, &mut claim);
        let mut sealed = [0; TAG_BYTES + CLAIM_BYTES];
        sealed[..TAG_BYTES].copy_from_slice(&tag);
        sealed[TAG_BYTES..].copy_from_slice(&claim);
        Some(TempUser(sealed))
    }

    /// What the user part of a temporary GRUU says, if it is one of ours.
    pub(super) fn open(&self, user: &str) -> Option<Claimed> {
        let letters = user.strip_prefix(TEMP_PREFIX)?;
        let mut sealed = [0; TAG_BYTES + CLAIM_BYTES];
        let length =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(letters, &mut sealed).ok()?;
        if length != sealed.len() {
            return None;
        }
        let (tag, claim) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let mut claim: Claim = claim.try_into().ok()?;
        self.apply_stream(tag, &mut claim);
        if !bool::from(self.tag(&claim).ct_eq(tag)) {
            return None;
        }
        Some(Claimed {
            line: LineId(u64::from_be_bytes(*claim.first_chunk()?)),
            instance_hash: claim.get(8..12)?.try_into().ok()?,
            call_id_hash: claim.get(12..16)?.try_into().ok()?,
        })
    }

    /// Whether `binding` is the one that was meant.
    pub(super) fn means(&self, claimed: &Claimed, binding: &StoredBinding) -> bool {
        binding.instance().is_some_and(|instance| self.instance_hash(instance) == claimed.instance_hash)
            && self.call_id_hash(binding.call_id()) == claimed.call_id_hash
    }

    fn instance_hash(&self, instance: &str) -> [u8; 4] {
        short(self.hash_key.clone().chain_update(b"i").chain_update(instance.to_ascii_lowercase()))
    }

    fn call_id_hash(&self, call_id: &str) -> [u8; 4] {
        short(self.hash_key.clone().chain_update(b"c").chain_update(call_id))
    }

    fn tag(&self, claim: &Claim) -> [u8; TAG_BYTES] {
        short(self.tag_key.clone().chain_update(claim))
    }

    fn apply_stream(&self, tag: &[u8; TAG_BYTES], claim: &mut Claim) {
        let stream: [u8; CLAIM_BYTES] = short(self.stream_key.clone().chain_update(tag));
        for (byte, key) in claim.iter_mut().zip(stream) {
            *byte ^= key;
        }
    }
}

/// The user part of a temporary GRUU.
pub(super) struct TempUser([u8; TAG_BYTES + CLAIM_BYTES]);

impl fmt::Display for TempUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TEMP_PREFIX)?;
        base64::display::Base64Display::new(&self.0, &base64::engine::general_purpose::URL_SAFE_NO_PAD).fmt(f)
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// The first bytes of the hash.
fn short<const N: usize>(hash: Hmac<Sha256>) -> [u8; N] {
    let whole = hash.finalize().into_bytes();
    *whole.first_chunk().expect("a SHA-256 hash has 32 bytes")
}

//! Nonces that carry their own proof, and the table that refuses a replay.
//!
//! A nonce is `expiry | salt | mac`: who holds the key can tell that it is genuine and how old it is without having
//! stored anything, so a flood of challenges costs no memory. Memory is spent only on nonces that were used by someone
//! who knows a password: [`NonceCounts`] holds their last `nc`.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use offhook_base::{Random, UtcMillis};
use sha2::Sha256;

/// How long a nonce may be used. 300 s: a registration refresh often finds it stale, which costs one round trip.
pub const NONCE_LIFETIME_DEFAULT: Duration = Duration::from_secs(300);

/// Used nonces remembered at once, by default. 16 bytes of key and 4 of count each, so about 4 MB when full.
pub const NONCE_COUNTS_MAX_DEFAULT: usize = 131_072;

const EXPIRY_BYTES: usize = 8;
const SALT_BYTES: usize = 8;
/// 128 bits of the HMAC: guessing one is hopeless within a lifetime.
const MAC_BYTES: usize = 16;
const NONCE_BYTES: usize = EXPIRY_BYTES + SALT_BYTES + MAC_BYTES;
/// Base64 without padding.
const NONCE_LETTERS: usize = (NONCE_BYTES * 4).div_ceil(3);

/// A nonce as it stands in a header, on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; NONCE_LETTERS]);

impl Nonce {
    /// The letters; none needs quoting.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which nonce it is: what its uses are counted under. Ordered by expiry, soonest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NonceId {
    expires: i64,
    salt: u64,
}

/// What a nonce in a request turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    /// Ours and in time.
    Fresh(NonceId),
    /// Ours and too old.
    Expired,
    /// Not ours: made up, or from before the key changed.
    Unknown,
}

/// Makes and checks nonces. Workers that share a key accept each other's.
#[derive(Clone)]
pub struct NonceIssuer {
    /// Keyed once; cloned per use, which saves hashing the key again.
    keyed: Hmac<Sha256>,
    /// The same, with the asker's name in it.
    mac: Hmac<Sha256>,
    lifetime: Duration,
}

impl fmt::Debug for NonceIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceIssuer").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl NonceIssuer {
    /// An issuer with a key of its own.
    pub fn new(random: &mut Random, lifetime: Duration) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        Self::with_key(&key, lifetime)
    }

    /// An issuer with a key that others hold too.
    pub fn with_key(key: &[u8; 32], lifetime: Duration) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { keyed: mac.clone(), mac, lifetime }
    }

    /// Makes and believes from now on only nonces for `asker`, who is known by these octets, for example its address:
    /// who shows such a nonce has heard from us there, and did not forge the address. Until the first call nonces are
    /// anybody's.
    pub fn bind(&mut self, asker: &[u8]) {
        self.mac.clone_from(&self.keyed);
        self.mac.update(asker);
    }

    /// A new nonce, for whom the issuer is bound to. A phone that changes its address is told that its nonce is stale,
    /// and goes on with another.
    pub fn issue(&self, random: &mut Random, now: UtcMillis) -> Nonce {
        let mut bytes = [0; NONCE_BYTES];
        let (claim, proof) = bytes.split_at_mut(EXPIRY_BYTES + SALT_BYTES);
        claim[..EXPIRY_BYTES].copy_from_slice(&now.saturating_add(self.lifetime).0.to_be_bytes());
        random.fill(&mut claim[EXPIRY_BYTES..]);
        proof.copy_from_slice(&self.mac_over(claim).finalize().into_bytes()[..MAC_BYTES]);
        let mut letters = [0; NONCE_LETTERS];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut letters).expect("the buffer has the encoded length");
        Nonce(letters)
    }

    /// What `nonce`, unquoted, is worth at `now`.
    pub fn check(&self, nonce: &str, now: UtcMillis) -> NonceState {
        let mut bytes = [0; NONCE_BYTES];
        let genuine = nonce.len() == NONCE_LETTERS
            && URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) == Ok(NONCE_BYTES)
            && {
                let (claim, proof) = bytes.split_at(EXPIRY_BYTES + SALT_BYTES);
                // Compares in constant time.
                self.mac_over(claim).verify_truncated_left(proof).is_ok()
            };
        if !genuine {
            return NonceState::Unknown;
        }
        let number = |from: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&bytes[from..from + 8]);
            part
        };
        let expires = i64::from_be_bytes(number(0));
        // A nonce from further ahead than a lifetime was made before the clock was set back; it shall not live on.
        if expires <= now.0 || expires > now.saturating_add(self.lifetime).0 {
            return NonceState::Expired;
        }
        NonceState::Fresh(NonceId { expires, salt: u64::from_be_bytes(number(EXPIRY_BYTES)) })
    }

    fn mac_over(&self, claim: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim);
        mac
    }
}

/// The highest `nc` seen per nonce (RFC 7616 §3.4: a server refuses one it has seen).
///
/// Bounded: when full, the nonce that expires soonest is forgotten, and with it every nonce that expires no later and
/// is not in the table counts as used up. Forgetting therefore never opens a door: it sends a client back for
/// a new nonce (`stale=true`), one round trip more.
#[derive(Debug)]
pub struct NonceCounts {
    last: BTreeMap<NonceId, u32>,
    nonces_max: usize,
    /// Nonces that expire at or before this and are not in the table are refused.
    forgotten_until: i64,
}

impl NonceCounts {
    /// A table for `nonces_max` used nonces, at least one.
    pub fn new(nonces_max: usize) -> Self {
        Self { last: BTreeMap::new(), nonces_max: nonces_max.max(1), forgotten_until: i64::MIN }
    }

    /// Records a use; false if `count` was used before, came out of order, or the nonce has been forgotten. Call it only
    /// for a fresh nonce and after the response proved right, or strangers fill the table.
    pub fn accept(&mut self, nonce: NonceId, count: u32, now: UtcMillis) -> bool {
        if let Some(last) = self.last.get_mut(&nonce) {
            let newer = count > *last;
            *last = count.max(*last);
            return newer;
        }
        if count == 0 || nonce.expires <= self.forgotten_until {
            return false;
        }
        self.make_room(now);
        if nonce.expires <= self.forgotten_until {
            return false;
        }
        self.last.insert(nonce, count);
        true
    }

    /// Drops what has expired, then, if the table is still full, the soonest to expire.
    fn make_room(&mut self, now: UtcMillis) {
        while let Some(entry) = self.last.first_entry() {
            let expires = entry.key().expires;
            if expires > now.0 && self.last.len() < self.nonces_max {
                break;
            }
            self.last.pop_first();
            self.forgotten_until = self.forgotten_until.max(expires);
        }
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

impl Default for NonceCounts {
    fn default() -> Self {
        Self::new(NONCE_COUNTS_MAX_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_795_363_836_000);

    fn later(secs: u64) -> UtcMillis {
        NOW.saturating_add(Duration::from_secs(secs))
    }

    fn id(state: NonceState) -> NonceId {
        match state {
            NonceState::Fresh(id) => id,
            other => panic!("not fresh: {other:?}"),
        }
    }

    #[test]
    fn a_nonce_is_fresh_for_its_lifetime_and_then_expired() {
        let mut random = Random::from_number(1);
        let issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        let nonce = issuer.issue(&mut random, NOW);
        assert!(matches!(issuer.check(nonce.as_str(), later(299)), NonceState::Fresh(_)));
        assert_eq!(issuer.check(nonce.as_str(), later(300)), NonceState::Expired);
        assert_eq!(issuer.check(nonce.as_str(), UtcMillis(NOW.0 - 1)), NonceState::Expired);
    }

    #[test]
    fn a_nonce_with_any_letter_changed_is_unknown() {
        let mut random = Random::from_number(2);
        let issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        let nonce = issuer.issue(&mut random, NOW);
        for at in 0..NONCE_LETTERS {
            let mut forged = nonce.0;
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = std::str::from_utf8(&forged).unwrap();
            assert_eq!(issuer.check(forged, NOW), NonceState::Unknown, "letter {at}");
        }
        assert_eq!(issuer.check("", NOW), NonceState::Unknown);
        assert_eq!(issuer.check(&"ü".repeat(NONCE_LETTERS / 2), NOW), NonceState::Unknown);
        let stranger = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        assert_eq!(stranger.check(nonce.as_str(), NOW), NonceState::Unknown);
    }

    #[test]
    fn a_count_is_accepted_once_and_only_upwards() {
        let mut random = Random::from_number(3);
        let issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        let nonce = id(issuer.check(issuer.issue(&mut random, NOW).as_str(), NOW));
        let mut counts = NonceCounts::default();
        let uses = [0, 1, 1, 2, 5, 3, 6].map(|count| counts.accept(nonce, count, NOW));
        assert_eq!(uses, [false, true, false, true, true, false, true]);
    }

    #[test]
    fn a_nonce_is_good_only_for_the_asker_it_was_made_for() {
        let mut random = Random::from_number(5);
        let mut issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        issuer.bind(&[192, 0, 2, 1]);
        let nonce = issuer.issue(&mut random, NOW);
        assert!(matches!(issuer.check(nonce.as_str(), NOW), NonceState::Fresh(_)));
        issuer.bind(&[192, 0, 2, 2]);
        assert_eq!(issuer.check(nonce.as_str(), NOW), NonceState::Unknown);
        issuer.bind(&[192, 0, 2, 1]);
        assert!(matches!(issuer.check(nonce.as_str(), NOW), NonceState::Fresh(_)));
    }

    /// Goal: no replay after eviction. Method: a table of two sees three nonces, then the first one's use again.
    #[test]
    fn a_forgotten_nonce_is_used_up() {
        let mut random = Random::from_number(4);
        let issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        let mut counts = NonceCounts::new(2);
        let nonces =
            [0, 1, 2].map(|secs| id(issuer.check(issuer.issue(&mut random, later(secs)).as_str(), later(2))));
        assert_eq!(nonces.map(|nonce| counts.accept(nonce, 1, later(2))), [true; 3]);
        assert_eq!(counts.len(), 2);
        assert!(!counts.accept(nonces[0], 1, later(2)));
        assert!(!counts.accept(nonces[0], 2, later(2)));
        assert!(counts.accept(nonces[1], 2, later(2)));
    }
}

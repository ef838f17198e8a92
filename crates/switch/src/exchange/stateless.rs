//! To tags of answers that leave no state behind.

use std::{fmt, hash::Hasher as _};

use offhook_base::Random;
use siphasher::sip::SipHasher13;

/// Gives every copy of a request the same tag, whatever was forgotten in between (RFC 3261 §8.2.7), and nobody else can tell
/// it beforehand.
pub(super) struct StatelessTags {
    /// SipHash-1-3 under a secret, before the first octet.
    keyed: SipHasher13,
}

/// A tag of 64 bits (RFC 3261 §19.3 wants 32 that cannot be guessed).
pub(super) struct StatelessTag(u64);

impl StatelessTags {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { keyed: SipHasher13::new_with_keys(random.next_u64(), random.next_u64()) }
    }

    /// The tag of the answer to the request that came as `octets`.
    pub(super) fn of(&self, octets: &[u8]) -> StatelessTag {
        let mut hasher = self.keyed;
        hasher.write(octets);
        StatelessTag(hasher.finish())
    }
}

impl fmt::Display for StatelessTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

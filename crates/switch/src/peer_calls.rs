//! How many calls each peer has at once, and how fast new ones come.

use offhook_base::Instant;
use offhook_edge::Bucket;
use rustc_hash::FxHashMap;

use crate::{
    directory::{Directory, Peer, PeerId},
    routing::PeerRules,
};

/// Peers' running calls, both directions together. No entry: none.
#[derive(Debug, Default)]
pub struct PeerCalls {
    running: FxHashMap<PeerId, u32>,
    /// Of the peers whose rate of new calls is limited.
    buckets: FxHashMap<PeerId, Bucket>,
    counters: PeerCounters,
}

/// What was refused for want of room, and given to another peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Calls that found their peer with all the calls it may have.
    pub full: u64,
    /// Calls that came faster than their peer may have them.
    pub too_fast: u64,
    /// Calls that were given to the next peer, as one refused or was silent.
    pub retried: u64,
    /// INVITEs on which rules of their peer worked.
    pub ruled: u64,
    /// INVITEs that the rules of their peer made too long; they were refused.
    pub unwritable: u64,
}

impl PeerCalls {
    /// Counts one more call of `peer`; false, without counting, if it has [`Peer::calls_max`] already, or `rules` have them
    /// come slower.
    pub fn take(&mut self, peer: &Peer, rules: Option<&PeerRules>, now: Instant) -> bool {
        let running = self.running.entry(peer.id).or_default();
        if *running >= peer.calls_max {
            self.counters.full += 1;
            return false;
        }
        if let Some(rate) = rules.and_then(PeerRules::rate)
            && self.buckets.entry(peer.id).or_default().take(rate, now).is_err()
        {
            self.counters.too_fast += 1;
            return false;
        }
        *running += 1;
        true
    }

    /// Counts a call of `peer` that runs already, whatever its limit is now.
    pub fn resume(&mut self, peer: PeerId) {
        *self.running.entry(peer).or_default() += 1;
    }

    /// Counts an INVITE on which rules worked, and whether it became one that can be sent.
    pub const fn note_ruled(&mut self, is_writable: bool) {
        self.counters.ruled += 1;
        if !is_writable {
            self.counters.unwritable += 1;
        }
    }

    /// A call that was counted is over.
    pub fn give_back(&mut self, peer: PeerId) {
        if let Some(running) = self.running.get_mut(&peer) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(&peer);
            }
        }
    }

    /// The part of its calls that `peer` has, in millionths.
    pub fn load_ppm(&self, peer: &Peer) -> u64 {
        let running = self.running.get(&peer.id).copied().unwrap_or(0);
        u64::from(running) * 1_000_000 / u64::from(peer.calls_max.max(1))
    }

    /// A call is given to the next peer.
    pub fn note_retry(&mut self) {
        self.counters.retried += 1;
    }

    /// Forgets what was known of peers that are gone.
    pub fn directory_changed(&mut self, directory: &Directory) {
        if !self.buckets.is_empty() {
            self.buckets.retain(|id, _| directory.peers().iter().any(|peer| peer.id == *id));
        }
    }

    /// What it has counted.
    pub const fn counters(&self) -> PeerCounters {
        self.counters
    }
}

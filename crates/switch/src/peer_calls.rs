//! How many calls each peer has, so that none has more than it may: a stolen or faulty trunk costs a bounded sum.

use std::collections::HashMap;

use crate::directory::{Peer, PeerId};

/// Counts of running calls, both directions together. No entry: none.
#[derive(Debug, Default)]
pub struct PeerCalls {
    running: HashMap<PeerId, u32>,
}

impl PeerCalls {
    /// Counts one more call of `peer`; false, without counting, if it has [`Peer::calls_max`] already.
    pub fn take(&mut self, peer: &Peer) -> bool {
        let running = self.running.entry(peer.id).or_default();
        let has_room = *running < peer.calls_max;
        *running += u32::from(has_room);
        has_room
    }

    /// Counts a call of `peer` that runs already, whatever its limit is now.
    pub fn resume(&mut self, peer: PeerId) {
        *self.running.entry(peer).or_default() += 1;
    }

    /// A call that was counted is over.
    pub fn give_back(&mut self, peer: PeerId) {
        if let Some(running) = self.running.get_mut(&peer) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&peer);
            }
        }
    }
}

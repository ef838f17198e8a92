//! Who must be found at an address before TLS speaks to it.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

/// Addresses with a known name that are remembered. The oldest is forgotten first; it is named again with the next
/// look-up.
const PEERS_MAX: usize = 4096;

/// The name a peer's certificate must carry (RFC 5922 §7.2), and whether it must be proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The domain that was looked up (not the host that SRV named): RFC 5922 §7.2. `None`: the IP address itself.
    pub name: Option<Arc<str>>,
    /// False takes any certificate: for peers the operator marked `insecure`.
    pub verify: bool,
}

impl Default for PeerIdentity {
    /// A certificate for the IP address.
    fn default() -> Self {
        Self { name: None, verify: true }
    }
}

/// The identities told by the driver.
#[derive(Default)]
pub(super) struct Peers {
    identities: HashMap<SocketAddr, PeerIdentity>,
    oldest_first: VecDeque<SocketAddr>,
}

impl Peers {
    pub(super) fn expect(&mut self, remote: SocketAddr, identity: PeerIdentity) {
        if self.identities.insert(remote, identity).is_some() {
            return;
        }
        self.oldest_first.push_back(remote);
        if self.oldest_first.len() > PEERS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.identities.remove(&oldest);
        }
    }

    pub(super) fn identity(&self, remote: &SocketAddr) -> PeerIdentity {
        self.identities.get(remote).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_name_is_forgotten_past_the_bound() {
        let mut peers = Peers::default();
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let named = PeerIdentity { name: Some("example.org".into()), verify: true };
        for port in 0..=PEERS_MAX as u16 {
            peers.expect(address(port), named.clone());
        }
        assert_eq!(peers.identity(&address(0)), PeerIdentity::default());
        assert_eq!(peers.identity(&address(1)), named);
        assert_eq!(peers.identities.len(), PEERS_MAX);
    }
}

//! One contact of a line while the process lives.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::Deref,
    sync::Arc,
};

use offhook_base::{Instant, Moment};
use offhook_sip::{
    transport::{Destination, Flow, Listener, ListenerId, Transport},
    uri::Uri,
};

use super::stored::StoredBinding;
use crate::fact::UnboundReason;

/// What of a User-Agent header is kept. Characters.
pub(super) const USER_AGENT_LETTERS_MAX: usize = 128;

/// Names a binding of this process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub(super) u64);

/// One contact of a line: what is stored of it, and what only this process knows.
#[derive(Clone)]
pub(super) struct Binding {
    pub(super) id: BindingId,
    pub(super) ends: Instant,
    /// When the book looks whether it has ended: then or before, for a refresh does not move the entry.
    pub(super) looked_at: Instant,
    pub(super) refreshed: Instant,
    /// The stream that it registered by has closed.
    pub(super) is_cut: bool,
    stored: Arc<StoredBinding>,
}

impl Deref for Binding {
    type Target = StoredBinding;

    fn deref(&self) -> &StoredBinding {
        &self.stored
    }
}

impl Binding {
    pub(super) fn new(id: BindingId, stored: Arc<StoredBinding>, now: Moment) -> Self {
        let lifetime = stored.terms().expires.saturating_since(now.utc);
        let ends = now.instant + lifetime;
        Self { id, ends, looked_at: ends, refreshed: now.instant, is_cut: false, stored }
    }

    pub(super) const fn stored(&self) -> &Arc<StoredBinding> {
        &self.stored
    }

    /// Where it registered from. A stream without a connection is one that has closed.
    pub(super) fn flow(&self) -> Flow {
        let flow = self.terms().flow;
        Flow { connection: flow.connection.filter(|_| !self.is_cut), ..flow }
    }

    /// Whether `other` leads to the same device by the same way.
    pub(super) fn is_reached_as(&self, other: &StoredBinding) -> bool {
        self.flow() == other.terms().flow && self.contact() == other.contact()
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.ends <= now
    }

    /// Whether there is any way to the device.
    pub(super) fn is_within_reach(&self) -> bool {
        self.destination().is_some() || self.has_another_way()
    }

    /// Whether it is the better of two ways to one device: one that is open, then the one refreshed last (RFC 5626 §7,
    /// RFC 5627 §5.1).
    pub(super) fn is_preferred_to(&self, other: &Self) -> bool {
        let rank = |binding: &Self| (binding.destination().is_some(), binding.refreshed, binding.id);
        rank(self) > rank(other)
    }

    /// Where requests for it go: back over the flow it registered by, since nothing else passes a NAT (RFC 5626 §3.1)
    /// and since with a Path the sender of the REGISTER is the nearest hop. If that was a stream that has closed: the
    /// address that the nearest hop names, or that the contact names if it is where the phone registered from. `None`
    /// if there is no such address; with a Path, DNS may know (RFC 3263).
    pub(super) fn destination(&self) -> Option<Destination> {
        let flow = self.flow();
        let Flow { listener, transport, local, remote, connection } = flow;
        if connection.is_some() || !transport.is_reliable() {
            return Some(Destination::Flow(flow));
        }
        if matches!(transport, Transport::Ws | Transport::Wss) {
            return None; // RFC 7118 §5: nobody can open a connection to a browser.
        }
        let first = match self.path().next() {
            Some(hop) => hop.split_once('<')?.1.split_once('>')?.0,
            None => self.contact(),
        };
        // Only where the REGISTER came from: anything else is the line's mere word, and a call to it would leave with
        // the node's address, which peers believe, for whatever number the contact names.
        let remote = address_of(first, transport).filter(|named| named.ip() == remote.ip())?;
        Some(Destination::Address { listener, transport, local, remote })
    }

    /// What is left of `stored` after a restart. Streams did not survive.
    ///
    /// # Errors
    /// Why nothing is left: it has expired, or there is no listener any more by which it could be reached.
    pub(super) fn restored(
        id: BindingId,
        stored: Arc<StoredBinding>,
        listeners: &[Listener],
        now: Moment,
    ) -> Result<Self, UnboundReason> {
        let terms = *stored.terms();
        if terms.expires.saturating_since(now.utc).is_zero() {
            return Err(UnboundReason::Expired);
        }
        let listener = listener_for(&terms.flow, listeners).ok_or(UnboundReason::FlowFailed)?;
        let stored = match listener == terms.flow.listener {
            true => stored,
            false => Arc::new(stored.over(Flow { listener, ..terms.flow })),
        };
        Ok(Self { is_cut: true, ..Self::new(id, stored, now) })
    }
}

/// The address a SIP URI names without DNS.
fn address_of(uri: &str, transport: Transport) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok()?;
    Some(SocketAddr::new(uri.host_address()?, uri.port.unwrap_or(transport.default_port())))
}

/// The listener that has the flow's own address now, whatever its number; otherwise the first of its transport that
/// can reach its address family.
fn listener_for(flow: &Flow, listeners: &[Listener]) -> Option<ListenerId> {
    let fitting = || {
        listeners.iter().filter(|listener| {
            // A socket bound to `::` serves IPv4 too.
            let serves_both = listener.bound.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let same_family = listener.bound.is_ipv4() == flow.local.is_ipv4();
            listener.transport == flow.transport && (same_family || serves_both)
        })
    };
    let has_its_address = |listener: &&Listener| {
        listener.bound == flow.local
            || (listener.bound.ip().is_unspecified() && listener.bound.port() == flow.local.port())
    };
    fitting().find(has_its_address).or_else(|| fitting().next()).map(|listener| listener.id)
}

//! One contact of a line, packed: all of its text in one allocation.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use offhook_base::{Instant, Moment, UtcMillis};
use offhook_sip::{
    transport::{Destination, Flow, Listener, ListenerId, Transport},
    uri::Uri,
};

use super::target::Push;
use crate::{
    directory::LineId,
    fact::{StoredBinding, UnboundReason},
};

/// The most text one binding may hold: contact, parameters, Call-ID, Path. Bytes. Phones need about 300; with three
/// proxies on the way and a push token about 1,500.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// What of a User-Agent header is kept. Characters.
pub(super) const USER_AGENT_LETTERS_MAX: usize = 128;

/// Names a binding of this process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub(super) u64);

/// One contact of a line. About 200 bytes and its text.
#[derive(Clone)]
pub(super) struct Binding {
    pub(super) id: BindingId,
    /// Where it registered from. A stream without a connection is one that has closed.
    pub(super) flow: Flow,
    pub(super) ends: Instant,
    pub(super) expires: UtcMillis,
    pub(super) registered: UtcMillis,
    pub(super) refreshed: Instant,
    pub(super) cseq: u32,
    /// RFC 5626's flow number where outbound is used, otherwise 0.
    pub(super) reg_id: u32,
    pub(super) q_millis: u16,
    text: Text,
}

/// The parts of a binding's text, for packing.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'a> {
    /// The URI as registered.
    pub(super) contact: &'a str,
    /// `;name=value` as registered, without `q` and `expires`.
    pub(super) params: &'a str,
    pub(super) call_id: &'a str,
    /// Without quotes and angle brackets; empty if none.
    pub(super) instance: &'a str,
    /// Empty if none.
    pub(super) user_agent: &'a str,
    /// Hops with [`HOP_END`] behind each; nearest first.
    pub(super) path: &'a str,
}

/// Ends each hop of a Path. No header value holds it.
pub(super) const HOP_END: char = '\n';

/// Six strings behind one another.
#[derive(Clone)]
struct Text {
    all: Box<str>,
    ends: [u16; 5],
}

impl Text {
    fn pack(parts: &Parts<'_>) -> Option<Self> {
        let Parts { contact, params, call_id, instance, user_agent, path } = *parts;
        let pieces = [contact, params, call_id, instance, user_agent, path];
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > TEXT_BYTES_MAX {
            return None;
        }
        let mut all = String::with_capacity(length);
        let mut ends = [0; 5];
        for (index, piece) in pieces.iter().enumerate() {
            all.push_str(piece);
            if let Some(end) = ends.get_mut(index) {
                *end = u16::try_from(all.len()).ok()?;
            }
        }
        Some(Self { all: all.into_boxed_str(), ends })
    }

    fn piece(&self, index: usize) -> &str {
        let from = if index == 0 { 0 } else { self.ends[index - 1].into() };
        let to = self.ends.get(index).map_or(self.all.len(), |&end| end.into());
        &self.all[from..to]
    }
}

/// How a contact is recognised: by device and flow number (RFC 5626 §6), or by its URI (RFC 3261 §10.3).
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    Outbound { instance: &'a str, reg_id: u32 },
    Uri(Uri<'a>),
}

impl<'a> Identity<'a> {
    /// Whether both mean the same contact.
    pub(super) fn is(&self, other: &Identity<'_>) -> bool {
        match (self, other) {
            (
                Self::Outbound { instance, reg_id },
                Identity::Outbound { instance: other_instance, reg_id: other_reg_id },
            ) => reg_id == other_reg_id && same_instance(instance, other_instance),
            (Self::Uri(uri), Identity::Uri(other)) => uri == other,
            _ => false,
        }
    }
}

/// Instances are URNs; those of phones are UUIDs, whose digits have no case (RFC 9562 §4).
pub(super) fn same_instance(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// All of a binding that is not text.
pub(super) struct Terms {
    pub(super) flow: Flow,
    pub(super) lifetime: Duration,
    pub(super) registered: UtcMillis,
    pub(super) cseq: u32,
    pub(super) reg_id: u32,
    pub(super) q_millis: u16,
}

impl Binding {
    /// Packs a binding; `None` if its text is longer than [`TEXT_BYTES_MAX`].
    pub(super) fn new(id: BindingId, terms: &Terms, parts: &Parts<'_>, now: Moment) -> Option<Self> {
        let Terms { flow, lifetime, registered, cseq, reg_id, q_millis } = *terms;
        Some(Self {
            id,
            flow,
            ends: now.instant + lifetime,
            expires: now.utc.saturating_add(lifetime),
            registered,
            refreshed: now.instant,
            cseq,
            reg_id,
            q_millis,
            text: Text::pack(parts)?,
        })
    }

    pub(super) fn contact(&self) -> &str {
        self.text.piece(0)
    }

    pub(super) fn params(&self) -> &str {
        self.text.piece(1)
    }

    pub(super) fn call_id(&self) -> &str {
        self.text.piece(2)
    }

    pub(super) fn instance(&self) -> Option<&str> {
        Some(self.text.piece(3)).filter(|text| !text.is_empty())
    }

    pub(super) fn user_agent(&self) -> Option<&str> {
        Some(self.text.piece(4)).filter(|text| !text.is_empty())
    }

    /// The hops of its Path, nearest first.
    pub(super) fn path(&self) -> impl Iterator<Item = &str> {
        self.text.piece(5).split_terminator(HOP_END)
    }

    pub(super) fn has_path(&self) -> bool {
        !self.text.piece(5).is_empty()
    }

    pub(super) fn is_outbound(&self) -> bool {
        self.reg_id > 0
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.ends <= now
    }

    /// Whether it is a contact of that device.
    pub(super) fn is_of_device(&self, instance: &str) -> bool {
        self.instance().is_some_and(|own| same_instance(own, instance))
    }

    /// Whether there is any way to the device.
    pub(super) fn is_within_reach(&self) -> bool {
        self.destination().is_some() || self.has_path() || Push::of(self.contact()).is_some()
    }

    /// Whether it is the better of two ways to one device: one that is open, then the one refreshed last (RFC 5626 §7,
    /// RFC 5627 §5.1).
    pub(super) fn is_preferred_to(&self, other: &Self) -> bool {
        let rank = |binding: &Self| (binding.destination().is_some(), binding.refreshed, binding.id);
        rank(self) > rank(other)
    }

    /// Whether it is the contact of that identity.
    pub(super) fn is(&self, identity: &Identity<'_>) -> bool {
        match (identity, self.instance()) {
            (Identity::Outbound { instance, reg_id }, Some(own)) => {
                self.reg_id == *reg_id && same_instance(own, instance)
            }
            (Identity::Uri(uri), _) if !self.is_outbound() => {
                Uri::parse(self.contact()).is_ok_and(|own| own == *uri)
            }
            _ => false,
        }
    }

    /// Unique within the line; the same after a restart.
    pub(super) fn key(&self) -> Cow<'_, str> {
        match self.instance() {
            Some(instance) if self.is_outbound() => Cow::Owned(format!("{instance};reg-id={}", self.reg_id)),
            _ => Cow::Borrowed(self.contact()),
        }
    }

    /// Where requests for it go: back over the flow it registered by, since nothing else passes a NAT (RFC 5626 §3.1)
    /// and since with a Path the sender of the REGISTER is the nearest hop. If that was a stream that has closed: the
    /// address that the nearest hop names, or that the contact names if it is where the phone registered from. `None`
    /// if there is no such address; with a Path, DNS may know (RFC 3263).
    pub(super) fn destination(&self) -> Option<Destination> {
        let Flow { listener, transport, local, remote, connection } = self.flow;
        if connection.is_some() || !transport.is_reliable() {
            return Some(Destination::Flow(self.flow));
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

    /// As it outlives a restart.
    pub(super) fn stored(&self, line: LineId) -> StoredBinding {
        let Flow { listener, transport, local, remote, connection } = self.flow;
        StoredBinding {
            line,
            key: self.key().into(),
            contact: self.contact().into(),
            params: self.params().into(),
            q_millis: self.q_millis,
            expires: self.expires,
            call_id: self.call_id().into(),
            cseq: self.cseq,
            path: self.path().map(Box::from).collect(),
            instance: self.instance().map(Box::from),
            reg_id: self.is_outbound().then_some(self.reg_id),
            transport: transport.to_string().into(),
            listener: listener.0,
            local,
            remote,
            connection: connection.map(|connection| connection.0),
            user_agent: self.user_agent().map(Box::from),
            registered: self.registered,
        }
    }

    /// What is left of `stored` after a restart. Streams did not survive.
    ///
    /// # Errors
    /// Why nothing is left: it has expired, or there is no listener any more by which it could be reached.
    pub(super) fn restored(
        id: BindingId,
        stored: &StoredBinding,
        listeners: &[Listener],
        now: Moment,
    ) -> Result<Self, UnboundReason> {
        let lifetime = stored.expires.saturating_since(now.utc);
        if lifetime.is_zero() {
            return Err(UnboundReason::Expired);
        }
        let path: String = stored.path.iter().flat_map(|hop| [&**hop, "\n"]).collect();
        let parts = Parts {
            contact: &stored.contact,
            params: &stored.params,
            call_id: &stored.call_id,
            instance: stored.instance.as_deref().unwrap_or_default(),
            user_agent: stored.user_agent.as_deref().unwrap_or_default(),
            path: &path,
        };
        let transport = stored.transport.parse().map_err(|_| UnboundReason::FlowFailed)?;
        let flow = Flow {
            listener: listener_for(stored, transport, listeners).ok_or(UnboundReason::FlowFailed)?,
            transport,
            local: stored.local,
            remote: stored.remote,
            connection: None,
        };
        let terms = Terms {
            flow,
            lifetime,
            registered: stored.registered,
            cseq: stored.cseq,
            reg_id: stored.reg_id.unwrap_or(0),
            q_millis: stored.q_millis,
        };
        Self::new(id, &terms, &parts, now).ok_or(UnboundReason::Expired)
    }
}

/// The address a SIP URI names without DNS.
fn address_of(uri: &str, transport: Transport) -> Option<SocketAddr> {
    let uri = Uri::parse(uri).ok()?;
    Some(SocketAddr::new(uri.host_address()?, uri.port.unwrap_or(transport.default_port())))
}

/// The listener that has the binding's own address now, whatever its number; otherwise the first of its transport that
/// can reach its address family.
fn listener_for(stored: &StoredBinding, transport: Transport, listeners: &[Listener]) -> Option<ListenerId> {
    let fitting = || {
        listeners.iter().filter(|listener| {
            // A socket bound to `::` serves IPv4 too.
            let serves_both = listener.bound.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let same_family = listener.bound.is_ipv4() == stored.local.is_ipv4();
            listener.transport == transport && (same_family || serves_both)
        })
    };
    let has_its_address = |listener: &&Listener| {
        listener.bound == stored.local
            || (listener.bound.ip().is_unspecified() && listener.bound.port() == stored.local.port())
    };
    fitting().find(has_its_address).or_else(|| fitting().next()).map(|listener| listener.id)
}

//! What a call may use of the exchange while it handles an input: transactions, tables, randomness, outputs.
//!
//! A call is handed `&mut Services` and never holds it, so a call and the exchange cannot reach into each other.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use offhook_base::{DataSubject, HostPort, Moment, Personal, Random};
use offhook_edge::Restraint;
use offhook_sip::{
    message::{Method, StatusCode},
    overload,
    transaction::{Branch, ClientKey, SendError, ServerKey, TransactionLayer},
    transport::{Destination, Flow, Transport},
    write::{HeaderValue, Line, MessageWriter},
};

use super::{
    event::{Ask, Hop, Output},
    owners::{ClientOwner, Owners},
    sleepers::Sleepers,
};
use crate::{
    call::Pending,
    directory::Directory,
    fact::{Fact, Refusal, What},
    kept::FORM_BYTES_MAX,
    lines::Lines,
    media::MediaCommand,
    peer_calls::PeerCalls,
    record::CallId,
    registrar::Registrar,
    routing::{Probes, Turns},
    settings::Settings,
};

/// The room a message is written in; larger ones grow it. A call's messages are 500 to 1500 octets.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// The largest request sent by UDP where the path's MTU is not known: 200 octets below 1500 (RFC 3261 §18.1.1).
const DATAGRAM_REQUEST_BYTES_MAX: usize = 1300;

/// The exchange's parts that calls share.
pub struct Services {
    /// The operator's settings.
    pub settings: Arc<Settings>,
    /// Who there is.
    pub directory: Arc<Directory>,
    /// All transactions.
    pub layer: TransactionLayer,
    /// All bindings.
    pub registrar: Registrar,
    /// All lines' states.
    pub lines: Lines,
    /// How many calls each peer has.
    pub peer_calls: PeerCalls,
    /// Which peers answer.
    pub probes: Probes,
    /// Whose turn it is in the sets of the routing.
    pub turns: Turns,
    /// What peers have said of their load.
    pub restraint: Restraint,
    /// Tags, Call-IDs, session ids.
    pub random: Random,
    /// Who owns what.
    pub owners: Owners,
    /// Which calls wait for a device to wake up.
    pub sleepers: Sleepers,
    /// Which calls wait for a device to connect again.
    pub adrift: Sleepers,
    /// Messages are written here and split off.
    pub buffer: BytesMut,
    /// Kept forms are written here.
    pub form: Vec<u8>,
    pub(super) outputs: VecDeque<Output>,
    /// Which of the next commands and questions panic: a test wants to see what becomes of the call.
    #[cfg(test)]
    pub(super) traps: VecDeque<bool>,
    /// The next request panics before anything came of it.
    #[cfg(test)]
    pub(super) request_trap: bool,
}

impl Services {
    /// Sends a request for `owner`.
    ///
    /// # Errors
    /// If the layer has no room.
    pub fn send_request(
        &mut self,
        owner: ClientOwner,
        method: &Method,
        branch: &Branch,
        request: Bytes,
        to: Destination,
        now: Moment,
    ) -> Result<ClientKey, SendError> {
        let key = self.layer.send_request(method, branch.as_str(), request, to, now.instant)?;
        self.owners.client_started(key, owner);
        Ok(key)
    }

    /// Answers a request. A transaction that is over needs no answer any more.
    pub fn respond(&mut self, key: ServerKey, response: Bytes, now: Moment) {
        if let Err(error) = self.layer.respond(key, response, now.instant) {
            tracing::debug!(%error, "response not sent");
        }
    }

    /// Answers a request with a bare status.
    pub fn refuse(&mut self, pending: &Pending, status: StatusCode, now: Moment) {
        self.refuse_with(pending, status, |_| {}, now);
    }

    /// Answers a request with a status and what `add` writes.
    pub fn refuse_with(
        &mut self,
        pending: &Pending,
        status: StatusCode,
        add: impl FnOnce(&mut MessageWriter<'_>),
        now: Moment,
    ) {
        let mut writer = pending.request.respond(&mut self.buffer, status, None);
        add(&mut writer);
        let bytes = writer.finish();
        self.respond(pending.key, bytes, now);
    }

    /// Tells the media engine.
    pub fn media(&mut self, command: MediaCommand) {
        #[cfg(test)]
        assert_ne!(self.traps.pop_front(), Some(true), "a test's trap");
        self.outputs.push_back(Output::Media(command));
    }

    /// Hands out the kept form of a call. One that is too long is kept by nobody.
    pub fn keep(&mut self, call: CallId, form: &[u8]) {
        if form.len() > FORM_BYTES_MAX {
            return self.outputs.push_back(Output::Forget { call });
        }
        self.buffer.extend_from_slice(form);
        let form = self.buffer.split().freeze();
        self.outputs.push_back(Output::Keep { call, form });
    }

    /// Nothing of a call need be kept any more.
    pub fn forget(&mut self, call: CallId) {
        self.outputs.push_back(Output::Forget { call });
    }

    /// Asks the outside.
    pub fn ask(&mut self, ask: Ask) {
        #[cfg(test)]
        assert_ne!(self.traps.pop_front(), Some(true), "a test's trap");
        self.outputs.push_back(Output::Ask(ask));
    }

    /// States a fact.
    pub fn fact(&mut self, what: What, now: Moment) {
        self.outputs.push_back(Output::Fact(Fact { at: now.utc, what }));
    }

    /// States that something from outside was refused.
    pub fn note_refused(&mut self, why: Refusal, flow: Flow, now: Moment) {
        let source = Personal::new(flow.remote, DataSubject::RemoteParty);
        self.fact(What::Refused { why, source }, now);
    }

    /// The way by TCP for a request that is too large for a datagram of unknown path (RFC 3261 §18.1.1). Only to an
    /// address: over the flow of a registration the device is behind a NAT, and TCP would not find it.
    pub fn stream_for_large(&self, request: &Bytes, to: &Destination) -> Option<Destination> {
        let Destination::Address { transport: Transport::Udp, local, remote, .. } = *to else { return None };
        if request.len() <= DATAGRAM_REQUEST_BYTES_MAX {
            return None;
        }
        let listener = self.settings.listener_for(Transport::Tcp, remote.ip())?;
        let local = SocketAddr::new(local.ip(), listener.bound.port());
        Some(Destination::Address { listener: listener.id, transport: Transport::Tcp, local, remote })
    }

    /// Where peers reach us over the way to `to`: the advertised address or the local one.
    fn our_address(&self, to: &Destination) -> OwnAddress {
        let advertised =
            self.settings.listener(to.listener()).and_then(|listener| listener.advertised.clone());
        advertised.map_or(OwnAddress::Local(to.local()), OwnAddress::Advertised)
    }

    /// The host that we are called by there, without a port.
    pub fn own_host(&self, to: &Destination) -> OwnHost {
        OwnHost(self.our_address(to))
    }

    /// The way to an address that was found.
    pub fn destination(&self, hop: &Hop) -> Destination {
        let port = self.settings.listener(hop.listener).map_or(0, |listener| listener.bound.port());
        let local = SocketAddr::new(hop.local, port);
        Destination::Address { listener: hop.listener, transport: hop.transport, local, remote: hop.remote }
    }

    /// The Via of a request to `to`.
    pub fn via(&self, to: &Destination, branch: Branch) -> OwnVia {
        OwnVia { transport: to.transport(), sent_by: self.our_address(to), branch, listens: false }
    }

    /// The Contact of a dialog whose other end is at `to`. `user` makes it readable to people; it routes nothing.
    pub fn contact<'a>(&self, to: &Destination, user: Option<&'a str>) -> OwnContact<'a> {
        OwnContact {
            user: user.filter(|user| is_plain_user(user)),
            address: self.our_address(to),
            transport: to.transport(),
        }
    }
}

/// User parts that need no escaping (RFC 3261 §25.1 `unreserved`, and `+`).
fn is_plain_user(user: &str) -> bool {
    !user.is_empty()
        && user.len() <= 63
        && user.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&letter))
}

/// An address of ours as peers may use it.
enum OwnAddress {
    Advertised(HostPort),
    Local(SocketAddr),
}

impl HeaderValue for OwnAddress {
    fn write(&self, line: &mut Line<'_>) {
        match self {
            Self::Advertised(address) => address.write(line),
            Self::Local(address) => address.write(line),
        }
    }
}

/// Writes an address of ours without its port.
pub struct OwnHost(OwnAddress);

impl HeaderValue for OwnHost {
    fn write(&self, line: &mut Line<'_>) {
        match &self.0 {
            OwnAddress::Advertised(address) => line.text(&address.host),
            OwnAddress::Local(address) => line.ip(address.ip()),
        };
    }
}

/// Writes the top Via of a request of ours. `rport` asks the next hop to answer where the request came from (RFC 3581).
pub struct OwnVia {
    transport: Transport,
    sent_by: OwnAddress,
    branch: Branch,
    listens: bool,
}

impl OwnVia {
    /// Says that the next server's word on its load is heeded, if `listens` (RFC 7339 §5.1).
    pub fn listening(self, listens: bool) -> Self {
        Self { listens, ..self }
    }
}

impl HeaderValue for OwnVia {
    fn write(&self, line: &mut Line<'_>) {
        line.text("SIP/2.0/").text(self.transport.via_token()).text(" ");
        self.sent_by.write(line);
        line.text(";branch=").text(self.branch.as_str()).text(";rport");
        if self.listens {
            line.text(overload::LISTENING);
        }
    }
}

/// Writes the Contact of a dialog of ours.
pub struct OwnContact<'a> {
    user: Option<&'a str>,
    address: OwnAddress,
    transport: Transport,
}

impl HeaderValue for OwnContact<'_> {
    fn write(&self, line: &mut Line<'_>) {
        line.text("<sip:");
        if let Some(user) = self.user {
            line.text(user).text("@");
        }
        self.address.write(line);
        if self.transport != Transport::Udp {
            line.text(";transport=").text(self.transport.uri_token());
        }
        line.text(">");
    }
}

//! Where a response goes: RFC 3261 §18.2.2 with RFC 3581.

use std::net::SocketAddr;

use crate::{
    header::Via,
    message::Request,
    transport::{Destination, Flow, Transport},
};

/// The destination of every response to `request`, which came over `flow`.
///
/// A stream answers over its own connection. Over UDP: to the source's address and port if it asks for that with `rport`;
/// else to the source's address and the port of `sent-by` (5060 if it names none). Without a readable Via: to the source.
///
/// `maddr` is not followed, against the letter of RFC 3261 §18.2.2: it is for multicast, which the node does not speak,
/// and it would let anybody have the node's answers sent to a third party.
pub fn response_destination(request: &Request, flow: Flow) -> Destination {
    match request.headers().via() {
        Ok(via) => destination_by_via(&via, flow),
        Err(_) => Destination::Flow(flow),
    }
}

pub(super) fn destination_by_via(via: &Via<'_>, flow: Flow) -> Destination {
    if flow.transport.is_reliable() {
        return Destination::Flow(flow);
    }
    // RFC 3581 §4: from the same socket, to where the request came from.
    if via.rport().is_some() {
        return Destination::Flow(flow);
    }
    let remote = SocketAddr::new(flow.remote.ip(), sent_by_port(via, flow.transport));
    if remote == flow.remote {
        return Destination::Flow(flow);
    }
    Destination::Address { listener: flow.listener, transport: flow.transport, local: flow.local, remote }
}

pub(super) fn sent_by_port(via: &Via<'_>, transport: Transport) -> u16 {
    via.port().unwrap_or(transport.default_port())
}

//! The worker's table of connections: who to hand a message to.

use std::{collections::HashMap, net::SocketAddr};

use bytes::Bytes;
use offhook_sip::transport::{ConnectionId, Destination, Flow, Transport};
use tokio::sync::mpsc;

use super::{PeerIdentity, StreamEvent, Streams, connect::Target, peers::Peers, session::Writer};
use crate::{CloseReason, NetEvent, TransmitError};

/// Most stream events taken in one turn of the worker.
const EVENTS_PER_TURN: usize = 256;

/// Where an own connection leads. The identity is part of it: a connection proved for one name is not used for another
/// (RFC 5923 §5).
#[derive(Clone, PartialEq, Eq, Hash)]
struct Route {
    transport: Transport,
    remote: SocketAddr,
    identity: PeerIdentity,
}

struct Connection {
    writer: Writer,
    /// Set for those we opened.
    route: Option<Route>,
}

pub(crate) struct ConnectionTable {
    streams: Streams,
    events: mpsc::Receiver<StreamEvent>,
    connections: HashMap<ConnectionId, Connection>,
    /// Own connections by where they lead. Accepted ones are not here: whoever connects to us may claim any address in
    /// its Via, so they serve only their own flow.
    routes: HashMap<Route, ConnectionId>,
    peers: Peers,
}

impl ConnectionTable {
    pub(crate) fn new(streams: Streams, events: mpsc::Receiver<StreamEvent>) -> Self {
        Self { streams, events, connections: HashMap::new(), routes: HashMap::new(), peers: Peers::default() }
    }

    pub(crate) fn expect_peer(&mut self, remote: SocketAddr, identity: PeerIdentity) {
        self.peers.expect(remote, identity);
    }

    pub(crate) fn transmit(
        &mut self,
        destination: &Destination,
        bytes: Bytes,
        token: u64,
    ) -> Result<(), TransmitError> {
        let connection = match destination {
            Destination::Flow(flow) => flow.connection.ok_or(TransmitError::ConnectionGone)?,
            Destination::Address { .. } => {
                let connection = self.connection_to(destination)?;
                match self.send(connection, bytes.clone(), token) {
                    Err(TransmitError::ConnectionGone) => {
                        // It has closed and its task has not told yet: a fresh one, for an address asks for no other.
                        self.forget_route_of(connection);
                        self.connection_to(destination)?
                    }
                    sent => return sent,
                }
            }
        };
        self.send(connection, bytes, token)
    }

    fn send(&mut self, connection: ConnectionId, bytes: Bytes, token: u64) -> Result<(), TransmitError> {
        let entry = self.connections.get(&connection).ok_or(TransmitError::ConnectionGone)?;
        let sent = entry.writer.send(bytes, token, self.streams.limits());
        if sent == Err(TransmitError::QueueFull) {
            entry.writer.abort(CloseReason::SlowReader);
            // The next message for that address may try a fresh connection.
            self.forget_route_of(connection);
        }
        sent
    }

    pub(crate) fn close(&mut self, connection: ConnectionId) {
        self.forget_route_of(connection);
        // The task sees the end of its queue, writes what is left, closes, and reports.
        self.connections.remove(&connection);
    }

    /// Turns what the tasks told into events. Returns whether more may wait.
    pub(crate) fn take_events<C>(&mut self, events: &mut Vec<NetEvent<C>>) -> bool {
        for _ in 0..EVENTS_PER_TURN {
            match self.events.try_recv() {
                Ok(event) => self.take_event(event, events),
                Err(_) => return false,
            }
        }
        true
    }

    fn take_event<C>(&mut self, event: StreamEvent, events: &mut Vec<NetEvent<C>>) {
        match event {
            StreamEvent::Received { flow, bytes } => events.push(NetEvent::Received { flow, bytes }),
            StreamEvent::Opened { flow, origin, writer } => {
                if let (Some(connection), Some(writer)) = (flow.connection, writer) {
                    self.connections.insert(connection, Connection { writer, route: None });
                }
                events.push(NetEvent::ConnectionOpened { flow, origin });
            }
            StreamEvent::Failed { tokens, error } => {
                events.extend(tokens.into_iter().map(|token| NetEvent::TransmitFailed { token, error }));
            }
            StreamEvent::NotOpened { connection } => self.close(connection),
            StreamEvent::Closed { flow, reason } => {
                if let Some(connection) = flow.connection {
                    self.close(connection);
                }
                events.push(NetEvent::ConnectionClosed { flow, reason });
            }
        }
    }

    /// The connection that leads to `destination`: one that is open or being opened, else a new one.
    fn connection_to(&mut self, destination: &Destination) -> Result<ConnectionId, TransmitError> {
        let remote = destination.remote();
        let transport = destination.transport();
        let identity =
            if transport.is_secure() { self.peers.identity(&remote) } else { PeerIdentity::default() };
        let route = Route { transport, remote, identity };
        if let Some(connection) = self.routes.get(&route) {
            return Ok(*connection);
        }
        let connection = self.streams.new_connection();
        let flow = Flow {
            listener: destination.listener(),
            transport,
            local: destination.local(),
            remote,
            connection: Some(connection),
        };
        let target = Target { flow, identity: route.identity.clone() };
        let writer = self.streams.connect(target)?;
        self.connections.insert(connection, Connection { writer, route: Some(route.clone()) });
        self.routes.insert(route, connection);
        Ok(connection)
    }

    /// Messages for the address that `connection` leads to shall take another.
    fn forget_route_of(&mut self, connection: ConnectionId) {
        let route = self.connections.get_mut(&connection).and_then(|entry| entry.route.take());
        if let Some(route) = route
            && self.routes.get(&route) == Some(&connection)
        {
            self.routes.remove(&route);
        }
    }
}

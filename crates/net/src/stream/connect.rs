//! Connections that we open because a message has to go somewhere.

use std::io;

use offhook_sip::transport::{Flow, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{PeerIdentity, StreamEvent, Streams, listen, octets, session, websocket};
use crate::{CloseReason, ConnectionOrigin, TransmitError};
use session::{Queue, Writer};

/// Where to connect and whom to find there.
pub(super) struct Target {
    /// The flow as it will be; its local port is known only when it is connected.
    pub(super) flow: Flow,
    pub(super) identity: PeerIdentity,
}

impl Streams {
    /// Begins to open a connection. What is written to the result waits until it is open.
    pub(super) fn connect(&self, target: Target) -> Result<Writer, TransmitError> {
        if target.flow.transport.is_secure() && self.0.settings.client_tls.is_none() {
            return Err(TransmitError::Handshake);
        }
        let permit = self.0.admission.open().ok_or(TransmitError::ConnectionLimit)?;
        let (writer, queue) = session::queue(self.limits(), permit);
        self.0.runtime.spawn(run(self.clone(), target, queue));
        Ok(writer)
    }
}

async fn run(streams: Streams, mut target: Target, mut queue: Queue) {
    let outcome = open(&streams, &mut target, &mut queue).await;
    let flow = target.flow;
    match outcome {
        Ok(reason) => streams.closed(flow, reason, queue).await,
        Err(error) => {
            streams.counters().connect_failures.increment();
            tracing::debug!(?flow, %error, "connection not opened");
            streams.failed(&mut queue, error).await;
            drop(queue);
            if let Some(connection) = flow.connection {
                let _ = streams.tell(StreamEvent::NotOpened { connection }).await;
            }
        }
    }
}

/// Connects, shakes hands and converses. An error means that it never was open.
async fn open(
    streams: &Streams,
    target: &mut Target,
    queue: &mut Queue,
) -> Result<CloseReason, TransmitError> {
    let limits = streams.limits();
    let socket = timeout(limits.connect_timeout, connect_tcp(&target.flow))
        .await
        .map_err(|_| TransmitError::ConnectTimeout)?
        .map_err(|error| connect_error(&error))?;
    target.flow.local = socket.local_addr().map_err(|error| connect_error(&error))?;
    listen::prepare(&socket, streams.0.settings.dscp);
    if !target.flow.transport.is_secure() {
        return speak(streams, target, queue, socket).await;
    }
    let tls = streams.0.settings.client_tls.as_ref().ok_or(TransmitError::Handshake)?;
    let handshake =
        tls.connect(socket, target.identity.name.as_deref(), target.flow.remote.ip(), target.identity.verify);
    let io = timeout(limits.handshake_timeout, handshake)
        .await
        .map_err(|_| TransmitError::ConnectTimeout)?
        .map_err(|error| {
        tracing::debug!(flow = ?target.flow, %error, "TLS handshake failed");
        TransmitError::Handshake
    })?;
    speak(streams, target, queue, io).await
}

async fn connect_tcp(flow: &Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !flow.local.ip().is_unspecified() && flow.local.is_ipv4() == flow.remote.is_ipv4() {
        let mut source = flow.local;
        source.set_port(0);
        socket.bind(source)?;
    }
    socket.connect(flow.remote).await
}

async fn speak(
    streams: &Streams,
    target: &Target,
    queue: &mut Queue,
    io: impl AsyncRead + AsyncWrite + Unpin + Send,
) -> Result<CloseReason, TransmitError> {
    let flow = target.flow;
    if matches!(flow.transport, Transport::Ws | Transport::Wss) {
        let host = target.identity.name.as_deref();
        let handshake = websocket::request(io, host, &flow, streams.limits());
        let socket = timeout(streams.limits().handshake_timeout, handshake)
            .await
            .map_err(|_| TransmitError::ConnectTimeout)?
            .map_err(|_| TransmitError::Handshake)?;
        opened(streams, flow).await;
        Ok(websocket::converse(streams, flow, socket, queue).await)
    } else {
        opened(streams, flow).await;
        Ok(octets::converse(streams, flow, io, queue).await)
    }
}

async fn opened(streams: &Streams, flow: Flow) {
    streams.counters().connections_opened.increment();
    let origin = ConnectionOrigin::Opened;
    let _ = streams.tell(StreamEvent::Opened { flow, origin, writer: None }).await;
}

fn connect_error(error: &io::Error) -> TransmitError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => TransmitError::Refused,
        io::ErrorKind::TimedOut => TransmitError::ConnectTimeout,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => TransmitError::Unreachable,
        kind => TransmitError::System(kind),
    }
}

//! Listeners for streams: accept, admit, shake hands, converse.

use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use offhook_sip::transport::{Flow, Listener, ListenerId, Transport};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{Streams, admission::Permit, octets, websocket};
use crate::{BindError, tls::ServerTls};

/// Connections the kernel holds until we accept them.
const BACKLOG: i32 = 1024;

/// How long to leave a listener alone after the system refused a new connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence after which TCP itself asks whether the peer is still there, and the pause between its questions.
const TCP_KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(30));

/// How to open one stream listener.
#[derive(Clone, Debug)]
pub struct StreamListenerConfig {
    /// Its number.
    pub id: ListenerId,
    /// What it speaks: anything but UDP.
    pub transport: Transport,
    /// Address and port. Port 0 takes a free one. An IPv6 listener never takes IPv4 connections.
    pub bind: SocketAddr,
    /// Certificate and key; needed for TLS and WSS, not used for others.
    pub tls: Option<Arc<ServerTls>>,
    /// A socket that listens there already, such as one of an earlier process; default none.
    pub socket: Option<Arc<OwnedFd>>,
}

impl StreamListenerConfig {
    /// A listener without TLS.
    pub const fn new(id: ListenerId, transport: Transport, bind: SocketAddr) -> Self {
        Self { id, transport, bind, tls: None, socket: None }
    }

    /// Opens the socket, for [`StreamListenerConfig::socket`]: whoever holds it can hand it on.
    ///
    /// # Errors
    /// [`BindError`] with address, cause and a hint.
    pub fn open(&self) -> Result<OwnedFd, BindError> {
        listening_socket(self.bind).map(OwnedFd::from).map_err(|source| BindError {
            address: self.bind,
            transport: self.transport,
            source,
        })
    }
}

impl Streams {
    /// Opens a listener. It accepts until the worker ends.
    ///
    /// # Errors
    /// [`BindError`] with address, cause and a hint; of kind `InvalidInput` for UDP, or a secure transport without
    /// [`StreamListenerConfig::tls`].
    pub fn listen(&self, config: &StreamListenerConfig) -> Result<Listener, BindError> {
        let opened = self.open_listener(config).map_err(|source| BindError {
            address: config.bind,
            transport: config.transport,
            source,
        });
        let (listener, bound) = opened?;
        self.0.runtime.spawn(accept_all(self.clone(), listener, config.clone()));
        Ok(Listener { id: config.id, transport: config.transport, bound, advertised: None })
    }

    fn open_listener(&self, config: &StreamListenerConfig) -> io::Result<(TcpListener, SocketAddr)> {
        if config.transport == Transport::Udp {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "UDP is no stream"));
        }
        if config.transport.is_secure() && config.tls.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a certificate and key are needed"));
        }
        let socket = match &config.socket {
            Some(socket) => Socket::from(socket.try_clone()?),
            None => listening_socket(config.bind)?,
        };
        let _runtime = self.0.runtime.enter();
        let listener = TcpListener::from_std(socket.into())?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    }
}

fn listening_socket(bind: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart shall not wait for connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&bind.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

async fn accept_all(streams: Streams, listener: TcpListener, config: StreamListenerConfig) {
    let mut pausing = streams.0.pausing.subscribe();
    loop {
        let accepted = tokio::select! {
            // Asked before: what the kernel holds is for the process that takes over.
            biased;
            true = paused(&mut pausing) => continue,
            accepted = listener.accept() => accepted,
            () = streams.worker_ended() => return,
        };
        match accepted {
            Ok((socket, remote)) => {
                // Dropped if refused: the peer sees its connection closed before a handshake costs anything.
                if streams.may_connect(remote.ip())
                    && let Some(permit) = streams.0.admission.accept(remote.ip())
                {
                    tokio::spawn(serve(streams.clone(), socket, remote, config.clone(), permit));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                streams.counters().accept_failures.increment();
                tracing::debug!(listener = config.id.0, %error, "cannot accept connections for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for a pause, and for its end. Returns only when there was one.
async fn paused(pausing: &mut watch::Receiver<bool>) -> bool {
    let begun = pausing.wait_for(|pausing| *pausing).await.is_ok();
    begun && pausing.wait_for(|pausing| !*pausing).await.is_ok()
}

/// The peer gave up before we accepted: nothing is wrong with the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn serve(
    streams: Streams,
    socket: TcpStream,
    remote: SocketAddr,
    config: StreamListenerConfig,
    permit: Permit,
) {
    let Ok(local) = socket.local_addr() else { return };
    let connection = streams.new_connection();
    let flow = Flow {
        listener: config.id,
        transport: config.transport,
        local,
        remote,
        connection: Some(connection),
    };
    prepare(&socket, streams.0.settings.dscp);
    if !config.transport.is_secure() {
        return shake_hands_and_converse(&streams, flow, permit, socket).await;
    }
    let Some(tls) = &config.tls else { return };
    let handshake = TlsAcceptor::from(tls.config()).accept(socket);
    match timeout(streams.limits().handshake_timeout, handshake).await {
        Ok(Ok(io)) => shake_hands_and_converse(&streams, flow, permit, io).await,
        Ok(Err(error)) => {
            streams.counters().handshake_failures.increment();
            tracing::debug!(?flow, %error, "TLS handshake failed");
        }
        Err(_) => streams.counters().handshake_timeouts.increment(),
    }
}

async fn shake_hands_and_converse(
    streams: &Streams,
    flow: Flow,
    permit: Permit,
    io: impl AsyncRead + AsyncWrite + Unpin + Send,
) {
    if matches!(flow.transport, Transport::Ws | Transport::Wss) {
        match timeout(streams.limits().handshake_timeout, websocket::accept(io, streams.limits())).await {
            Ok(Ok(socket)) => websocket::serve(streams, flow, permit, socket).await,
            Ok(Err(_)) => streams.counters().handshake_failures.increment(),
            Err(_) => streams.counters().handshake_timeouts.increment(),
        }
    } else if let Some(mut queue) = streams.accepted(flow, permit).await {
        let reason = octets::converse(streams, flow, io, &mut queue).await;
        streams.closed(flow, reason, queue).await;
    }
}

/// Options of every stream; none of them is worth losing the connection for.
pub(super) fn prepare(socket: &TcpStream, dscp: u8) {
    let _ = socket.set_nodelay(true);
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_keepalive(&TCP_KEEPALIVE);
    let class = u32::from(dscp & 63) << 2;
    let is_ipv6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
    let _ = if is_ipv6 { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) };
}

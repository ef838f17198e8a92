//! SIP over WebSocket (RFC 7118): one message per WebSocket message, subprotocol `sip`.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use offhook_sip::{
    message::MESSAGE_BYTES_MAX,
    transport::{Flow, ListenerId, Transport},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        Error, Message, Utf8Bytes,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    StreamLimits, Streams,
    admission::Permit,
    session::{Pong, Queue},
};
use crate::CloseReason;

/// The subprotocol that both sides must name (RFC 7118 §4.1).
pub const SIP_SUBPROTOCOL: &str = "sip";

/// How often we ping a silent peer. Proxies between cut connections that are silent for a minute.
const PING_INTERVAL: Duration = Duration::from_secs(45);

/// A WebSocket message, free of any WebSocket library's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketFrame {
    /// A SIP message or a CRLF keep-alive. Sent as text if it is UTF-8 and as binary if not (RFC 7118 §4.2 allows both).
    Message(Bytes),
    /// A ping; the WebSocket library answers it.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The end.
    Close,
}

impl From<Message> for WebSocketFrame {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Message(text.into()),
            Message::Binary(bytes) => Self::Message(bytes),
            Message::Ping(payload) => Self::Ping(payload),
            Message::Pong(payload) => Self::Pong(payload),
            Message::Close(_) | Message::Frame(_) => Self::Close,
        }
    }
}

impl From<WebSocketFrame> for Message {
    fn from(frame: WebSocketFrame) -> Self {
        match frame {
            WebSocketFrame::Message(bytes) => match Utf8Bytes::try_from(bytes.clone()) {
                Ok(text) => Self::Text(text),
                Err(_) => Self::Binary(bytes),
            },
            WebSocketFrame::Ping(payload) => Self::Ping(payload),
            WebSocketFrame::Pong(payload) => Self::Pong(payload),
            WebSocketFrame::Close => Self::Close(None),
        }
    }
}

/// A WebSocket that an HTTP server has upgraded, with the subprotocol [`SIP_SUBPROTOCOL`] agreed.
#[derive(Clone, Copy, Debug)]
pub struct UpgradedWebSocket {
    /// The number that the HTTP listener has among the SIP listeners.
    pub listener: ListenerId,
    /// True if TLS protects the hop.
    pub secure: bool,
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
}

/// The WebSocket was not taken; close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketRefused {
    /// Too many connections are open, in all or from that source.
    #[error("the connection limit is reached")]
    ConnectionLimit,
    /// The signalling worker has ended.
    #[error("the signalling worker has ended")]
    WorkerEnded,
}

impl Streams {
    /// Carries SIP over a WebSocket that another server accepted. Ends when the connection has; dropping the future
    /// before leaves the worker to find out by a failed send, so run it in a task of its own.
    ///
    /// # Errors
    /// [`WebSocketRefused`] if it was not taken at all.
    pub async fn serve_websocket<E>(
        &self,
        upgraded: UpgradedWebSocket,
        incoming: impl Stream<Item = Result<WebSocketFrame, E>> + Unpin,
        outgoing: impl Sink<WebSocketFrame> + Unpin,
    ) -> Result<(), WebSocketRefused> {
        let incoming = incoming.map(|received| received.map_err(|_| CloseReason::Lost));
        let UpgradedWebSocket { listener, secure, local, remote } = upgraded;
        let permit = self.0.admission.accept(remote.ip());
        let permit = permit.ok_or(WebSocketRefused::ConnectionLimit)?;
        let transport = if secure { Transport::Wss } else { Transport::Ws };
        let connection = Some(self.new_connection());
        let flow = Flow { listener, transport, local, remote, connection };
        let mut queue = self.accepted(flow, permit).await.ok_or(WebSocketRefused::WorkerEnded)?;
        let reason = carry(self, flow, incoming, outgoing, &mut queue).await;
        self.closed(flow, reason, queue).await;
        Ok(())
    }
}

impl Streams {
    /// As [`Streams::serve_websocket`], for a server that hands over the bare octet stream after its handshake: the
    /// frames are read and written here.
    ///
    /// # Errors
    /// [`WebSocketRefused`] if it was not taken at all.
    pub async fn serve_upgraded(
        &self,
        upgraded: UpgradedWebSocket,
        io: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(), WebSocketRefused> {
        let limits = config(&self.0.settings.limits);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
        let (sink, stream) = socket.split();
        let incoming = stream.map(|received| received.map(WebSocketFrame::from));
        let outgoing = sink.with(|frame: WebSocketFrame| async move { Ok::<_, Error>(Message::from(frame)) });
        self.serve_websocket(upgraded, incoming, Box::pin(outgoing)).await
    }
}

/// Answers an upgrade request; refuses it with 400 if the peer does not offer `sip`.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    limits: &StreamLimits,
) -> Result<WebSocketStream<S>, Error> {
    accept_hdr_async_with_config(io, agree_on_sip, Some(config(limits))).await
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn agree_on_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if names.map(str::trim).any(|name| name == SIP_SUBPROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SIP_SUBPROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("The WebSocket subprotocol \"sip\" is required.\n".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

/// Asks for an upgrade, as a client; fails if the server does not agree on `sip`.
pub(super) async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    host: Option<&str>,
    flow: &Flow,
    limits: &StreamLimits,
) -> Result<WebSocketStream<S>, Error> {
    let scheme = if flow.transport.is_secure() { "wss" } else { "ws" };
    let authority = match host {
        Some(name) => format!("{name}:{}", flow.remote.port()),
        None => flow.remote.to_string(),
    };
    let mut request = format!("{scheme}://{authority}/").into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SIP_SUBPROTOCOL));
    // tungstenite refuses an answer that names no or another subprotocol than we offered.
    let (socket, _response) = client_async_with_config(request, io, Some(config(limits))).await?;
    Ok(socket)
}

fn config(limits: &StreamLimits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.queued_bytes_max.max(MESSAGE_BYTES_MAX))
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Announces an accepted WebSocket and carries SIP over it until it closes.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    flow: Flow,
    permit: Permit,
    socket: WebSocketStream<S>,
) {
    if let Some(mut queue) = streams.accepted(flow, permit).await {
        let reason = converse(streams, flow, socket, &mut queue).await;
        streams.closed(flow, reason, queue).await;
    }
}

/// Carries SIP over `socket` until it closes.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    flow: Flow,
    socket: WebSocketStream<S>,
    queue: &mut Queue,
) -> CloseReason {
    let (sink, stream) = socket.split();
    let incoming = stream.map(|received| match received {
        Ok(message) => Ok(WebSocketFrame::from(message)),
        Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(WebSocketFrame::Close),
        Err(Error::Capacity(_)) => Err(CloseReason::TooLarge),
        Err(Error::Io(_) | Error::Protocol(_)) => Err(CloseReason::Lost),
        Err(_) => Err(CloseReason::Malformed),
    });
    let outgoing = sink.with(|frame: WebSocketFrame| async move { Ok::<_, Error>(Message::from(frame)) });
    carry(streams, flow, incoming, Box::pin(outgoing), queue).await
}

async fn carry(
    streams: &Streams,
    flow: Flow,
    incoming: impl Stream<Item = Result<WebSocketFrame, CloseReason>> + Unpin,
    outgoing: impl Sink<WebSocketFrame> + Unpin,
    queue: &mut Queue,
) -> CloseReason {
    let pong = Pong::default();
    let aborted = queue.aborted();
    tokio::select! {
        reason = read(streams, flow, incoming, &pong) => reason,
        reason = write(streams, outgoing, queue, &pong) => reason,
        reason = aborted => reason,
    }
}

async fn read(
    streams: &Streams,
    flow: Flow,
    mut incoming: impl Stream<Item = Result<WebSocketFrame, CloseReason>> + Unpin,
    pong: &Pong,
) -> CloseReason {
    let limits = streams.limits();
    loop {
        let Ok(received) = timeout(limits.idle_timeout, incoming.next()).await else {
            return CloseReason::Idle;
        };
        match received {
            None | Some(Ok(WebSocketFrame::Close)) => return CloseReason::Peer,
            Some(Err(reason)) => return reason,
            Some(Ok(WebSocketFrame::Ping(_) | WebSocketFrame::Pong(_))) => {}
            Some(Ok(WebSocketFrame::Message(bytes))) if bytes.len() > MESSAGE_BYTES_MAX => {
                return CloseReason::TooLarge;
            }
            Some(Ok(WebSocketFrame::Message(bytes))) => match &bytes[..] {
                b"\r\n\r\n" => {
                    streams.counters().stream_keepalives.increment();
                    pong.owe();
                }
                b"" | b"\r\n" => {}
                _ => streams.received(flow, bytes).await,
            },
        }
    }
}

async fn write(
    streams: &Streams,
    mut outgoing: impl Sink<WebSocketFrame> + Unpin,
    queue: &mut Queue,
    pong: &Pong,
) -> CloseReason {
    let limit = streams.limits().write_timeout;
    let mut ping_at = Instant::now() + PING_INTERVAL;
    loop {
        let (frame, is_message) = tokio::select! {
            outbound = queue.next() => match outbound {
                Some(outbound) => (WebSocketFrame::Message(outbound.bytes), true),
                None => break,
            },
            () = pong.owed() => (WebSocketFrame::Message(Bytes::from_static(b"\r\n")), false),
            () = tokio::time::sleep_until(ping_at) => {
                ping_at += PING_INTERVAL;
                (WebSocketFrame::Ping(Bytes::new()), false)
            }
        };
        match timeout(limit, outgoing.send(frame)).await {
            Ok(Ok(())) if is_message => streams.counters().stream_sent.increment(),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Lost,
            Err(_) => return CloseReason::SlowReader,
        }
    }
    let _ = timeout(limit, outgoing.send(WebSocketFrame::Close)).await;
    CloseReason::Local
}

//! What the sockets tell the worker.

use bytes::Bytes;
use offhook_sip::transport::Flow;

/// One thing that happened since the last turn.
#[derive(Debug)]
pub enum NetEvent<C> {
    /// A datagram, or one whole message of a stream. Not parsed; never empty.
    Received {
        /// The way it came, and the way back.
        flow: Flow,
        /// The message as received. Each holds only its own memory: keeping one keeps no other alive.
        bytes: Bytes,
    },
    /// A stream connection is ready: its handshakes are done.
    ConnectionOpened {
        /// The connection with both its ends.
        flow: Flow,
        /// Who opened it.
        origin: ConnectionOrigin,
    },
    /// A stream connection is gone. Said exactly once for each [`NetEvent::ConnectionOpened`], and after the
    /// [`NetEvent::TransmitFailed`] of what it could not deliver.
    ConnectionClosed {
        /// The flow that is gone.
        flow: Flow,
        /// Why.
        reason: CloseReason,
    },
    /// What was handed to `transmit` with this token did not leave. Silence means that the kernel took it, not that the
    /// peer did.
    TransmitFailed {
        /// The token given to `transmit`.
        token: u64,
        /// Why.
        error: TransmitError,
    },
    /// What another thread sent through a [`CommandSender`](crate::CommandSender).
    Command(C),
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOrigin {
    /// The peer; we accepted.
    Accepted,
    /// We did, because a message had to go there.
    Opened,
}

/// Why a message did not leave. Says nothing of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmitError {
    /// No listener has that number, or it speaks another transport.
    #[error("no such listener for this transport")]
    NoSuchListener,
    /// Too much waits for the kernel or for the peer already.
    #[error("the send queue is full")]
    QueueFull,
    /// The message is larger than a datagram can be on this path.
    #[error("the message is too large for a datagram")]
    TooLarge,
    /// No route, or the kernel forbids it.
    #[error("the destination cannot be reached")]
    Unreachable,
    /// The peer refused the connection.
    #[error("the peer refused the connection")]
    Refused,
    /// The connection could not be made in time.
    #[error("the connection could not be made in time")]
    ConnectTimeout,
    /// The TLS or WebSocket handshake failed: certificate, name or protocol.
    #[error("the handshake failed")]
    Handshake,
    /// The flow's connection is closed, or closed before the message was written.
    #[error("the connection is closed")]
    ConnectionGone,
    /// No more connections may be open.
    #[error("the connection limit is reached")]
    ConnectionLimit,
    /// Another answer of the operating system.
    #[error("the operating system refused: {0}")]
    System(std::io::ErrorKind),
}

/// Why a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed it in good order.
    #[error("closed by the peer")]
    Peer,
    /// We closed it: the core asked, or the node ends.
    #[error("closed by us")]
    Local,
    /// The peer reset it, or the network failed.
    #[error("connection lost")]
    Lost,
    /// It was silent for too long.
    #[error("idle for too long")]
    Idle,
    /// A message stayed incomplete for too long.
    #[error("a message stayed incomplete for too long")]
    PartialMessage,
    /// A message was over the size limit.
    #[error("a message was too large")]
    TooLarge,
    /// What came could not be split into messages.
    #[error("the stream could not be split into messages")]
    Malformed,
    /// The peer did not read what we sent.
    #[error("the peer reads too slowly")]
    SlowReader,
}

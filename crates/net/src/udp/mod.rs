//! UDP listeners: bound once, read and written in batches.

mod batch;
mod open;
mod options;
mod sockaddr;
mod socket;

use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use offhook_sip::transport::{ListenerId, Transport};

pub(crate) use batch::{Datagram, ReceiveBatch};
pub use open::{DatagramBatch, DatagramSocket};
pub(crate) use socket::{Flushed, UdpSocket};

/// CS3, which RFC 4594 §4.1 gives to signalling, as a 6-bit code point.
pub const DSCP_SIGNALLING: u8 = 24;

/// How to bind one UDP listener.
#[derive(Clone, Debug)]
pub struct UdpListenerConfig {
    /// Its number.
    pub id: ListenerId,
    /// Address and port. Port 0 takes a free one. An IPv6 listener never takes IPv4 packets (`IPV6_V6ONLY`).
    pub bind: SocketAddr,
    /// Whether other sockets may be bound to the same address, so that workers share its load. Default false: a second
    /// server started by mistake is noticed.
    pub reuse_port: bool,
    /// What the kernel may hold for us, in bytes; default 4 MiB, about 4,000 messages. The kernel may give less.
    pub receive_buffer_bytes: usize,
    /// Differentiated services code point of what we send, 0..=63; default [`DSCP_SIGNALLING`].
    pub dscp: u8,
    /// A socket that is bound there already, such as one of an earlier process; default none.
    pub socket: Option<Arc<OwnedFd>>,
}

impl UdpListenerConfig {
    /// A listener with the defaults.
    pub const fn new(id: ListenerId, bind: SocketAddr) -> Self {
        Self {
            id,
            bind,
            reuse_port: false,
            receive_buffer_bytes: 4 << 20,
            dscp: DSCP_SIGNALLING,
            socket: None,
        }
    }

    /// Opens the socket, for [`UdpListenerConfig::socket`]: whoever holds it can hand it on.
    ///
    /// # Errors
    /// [`BindError`] with address, cause and a hint.
    pub fn open(&self) -> Result<OwnedFd, BindError> {
        UdpSocket::make(self).map(OwnedFd::from).map_err(|source| BindError {
            address: self.bind,
            transport: Transport::Udp,
            source,
        })
    }
}

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}/{transport}: {source}")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// The transport.
    pub transport: Transport,
    /// The answer of the operating system.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => "stop the other server on that port or choose another port",
            io::ErrorKind::AddrNotAvailable => "no interface of this host has that address; see `ip address`",
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
            }
            _ => "check address and port",
        }
    }
}

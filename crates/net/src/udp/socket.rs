//! One bound UDP socket with its queue of what waits to leave.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use offhook_sip::transport::{ListenerId, Transport};
use socket2::{Domain, Protocol, Socket, Type};

use super::{BindError, Datagram, ReceiveBatch, UdpListenerConfig, batch, options};
use crate::{NetCounters, TransmitError};

/// Datagrams that wait while the kernel's send buffer is full. Past it the network is the bottleneck, and SIP's own
/// retransmissions will try again; a longer queue would only send what nobody waits for any more.
const QUEUE_DATAGRAMS_MAX: usize = 4096;

/// Most batches read from one socket in one turn, so that a flood on one listener leaves the others their share.
const BATCHES_PER_TURN: usize = 4;

/// A datagram that waits to leave.
pub(crate) struct Outgoing {
    pub(crate) remote: SocketAddr,
    /// The source address it shall carry; `None` lets the kernel choose.
    pub(crate) source: Option<IpAddr>,
    pub(crate) bytes: Bytes,
    /// Told back if it fails; `None` for what nobody asks after (STUN).
    pub(crate) token: Option<u64>,
}

impl Outgoing {
    fn leaving(&self) -> batch::Leaving<'_> {
        batch::Leaving { bytes: &self.bytes, remote: self.remote, source: self.source }
    }
}

/// What became of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// It is empty.
    Drained,
    /// The kernel takes no more for now.
    Blocked,
}

/// A UDP listener.
pub(crate) struct UdpSocket {
    pub(crate) listener: ListenerId,
    /// With the real port where 0 was asked for.
    pub(crate) bound: SocketAddr,
    socket: Socket,
    queue: VecDeque<Outgoing>,
}

impl UdpSocket {
    pub(crate) fn bind(config: &UdpListenerConfig) -> Result<Self, BindError> {
        Self::open(config).map_err(|source| BindError {
            address: config.bind,
            transport: Transport::Udp,
            source,
        })
    }

    fn open(config: &UdpListenerConfig) -> io::Result<Self> {
        let socket = match &config.socket {
            Some(socket) => Socket::from(socket.try_clone()?),
            None => Self::make(config)?,
        };
        let bound = socket.local_addr()?.as_socket().unwrap_or(config.bind);
        Ok(Self { listener: config.id, bound, socket, queue: VecDeque::new() })
    }

    /// A bound socket with all its options.
    pub(super) fn make(config: &UdpListenerConfig) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(config.bind), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if config.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if config.bind.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(u32::from(config.dscp & 63) << 2)?;
        } else {
            socket.set_tos_v4(u32::from(config.dscp & 63) << 2)?;
        }
        options::receive_local_address(&socket, config.bind)?;
        options::receive_buffer(&socket, config.receive_buffer_bytes)?;
        socket.bind(&config.bind.into())?;
        Ok(socket)
    }

    /// Reads what waits, a bounded number of datagrams. Returns whether more may wait.
    pub(crate) fn receive(
        &self,
        batch: &mut ReceiveBatch,
        counters: &NetCounters,
        deliver: &mut dyn FnMut(Datagram<'_>),
    ) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            match batch.receive(self.as_raw_fd(), deliver) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    // Reading took the pending error off the socket; the next read works again.
                    counters.udp_receive_errors.increment();
                    tracing::debug!(listener = self.listener.0, %error, "a UDP socket reported an error");
                    return false;
                }
            }
        }
        true
    }

    /// How long ago the kernel received the datagram that was read last; `None` if it did not say, or the wall clock was set
    /// meanwhile.
    pub(crate) fn age_of_last(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        now.checked_sub(options::received_last(&self.socket)?)
    }

    /// Our end as a flow shall name it: the address the kernel saw, else the one we are bound to.
    pub(crate) fn local(&self, seen: Option<IpAddr>) -> SocketAddr {
        SocketAddr::new(seen.unwrap_or(self.bound.ip()), self.bound.port())
    }

    /// Queues a datagram that shall leave with the source address `local`.
    pub(crate) fn queue(
        &mut self,
        remote: SocketAddr,
        local: IpAddr,
        bytes: Bytes,
        token: Option<u64>,
    ) -> Result<(), TransmitError> {
        if remote.is_ipv4() != self.bound.is_ipv4() || remote.port() == 0 {
            return Err(TransmitError::Unreachable);
        }
        if self.queue.len() >= QUEUE_DATAGRAMS_MAX {
            return Err(TransmitError::QueueFull);
        }
        // A socket with an address of its own needs no help; one bound to all addresses must be told which one to use,
        // or the answer leaves from wherever the route points and a NAT drops it.
        let choose = self.bound.ip().is_unspecified()
            && !local.is_unspecified()
            && local.is_ipv4() == remote.is_ipv4();
        self.queue.push_back(Outgoing { remote, source: choose.then_some(local), bytes, token });
        Ok(())
    }

    /// Hands the queue to the kernel. What the kernel refuses for good is told to `failed` and dropped.
    pub(crate) fn flush(
        &mut self,
        counters: &NetCounters,
        failed: &mut dyn FnMut(u64, TransmitError),
    ) -> Flushed {
        while !self.queue.is_empty() {
            let leaving = self.queue.iter().take(batch::BATCH).map(Outgoing::leaving);
            match batch::send(self.as_raw_fd(), leaving) {
                Ok(sent) => {
                    counters.udp_sent.add(sent as u64);
                    let bytes: usize = self.queue.drain(..sent).map(|datagram| datagram.bytes.len()).sum();
                    counters.udp_sent_bytes.add(bytes as u64);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Flushed::Blocked,
                    _ => {
                        counters.udp_send_errors.increment();
                        let token = self.queue.pop_front().and_then(|datagram| datagram.token);
                        if let Some(token) = token {
                            failed(token, transmit_error(&error));
                        }
                    }
                },
            }
        }
        Flushed::Drained
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn transmit_error(error: &io::Error) -> TransmitError {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => TransmitError::TooLarge,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EPERM | libc::EACCES | libc::EADDRNOTAVAIL) => {
            TransmitError::Unreachable
        }
        // What the kernel says where the source address is none of ours, or the target can be none at all.
        Some(libc::EINVAL) => TransmitError::Unreachable,
        Some(libc::ECONNREFUSED) => TransmitError::Refused,
        // The device queue overflowed. Waiting would spin: the socket itself stays writable.
        Some(libc::ENOBUFS) => TransmitError::QueueFull,
        _ => TransmitError::System(error.kind()),
    }
}

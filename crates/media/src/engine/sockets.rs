//! Binding port pairs, and connecting to those who turned out to speak from one place.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use offhook_base::Instant;
use offhook_switch::media::OpenError;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::ports::{PortPair, PortPool};

/// Pairs tried before giving up because other programs hold their ports.
const BIND_ATTEMPTS_MAX: usize = 64;
/// Receive buffer asked for, in octets: half a second of video at 4 Mbit/s while the thread is elsewhere. Linux grants
/// up to `net.core.rmem_max`.
const RECEIVE_BUFFER_LEN: usize = 256 * 1024;

/// A pair with its sockets.
pub struct BoundPair {
    pub pair: PortPair,
    pub local: IpAddr,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
}

/// Why no pair could be bound.
pub enum BindError {
    /// The process may open no more files.
    Descriptors,
    /// Anything else.
    Open(OpenError),
}

impl From<BindError> for OpenError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Descriptors => Self::Unbindable,
            BindError::Open(error) => error,
        }
    }
}

/// Draws pairs until one can be bound on `local`. Pairs that others hold go to rest in the pool.
pub fn bind_pair(pool: &mut PortPool, local: IpAddr, dscp: u8, now: Instant) -> Result<BoundPair, BindError> {
    for _ in 0..BIND_ATTEMPTS_MAX {
        let pair = pool.take(now).ok_or(BindError::Open(OpenError::Exhausted))?;
        let sockets = bind(local, pair.rtp, dscp).and_then(|rtp| Ok((rtp, bind(local, pair.rtcp(), dscp)?)));
        match sockets {
            Ok((rtp, rtcp)) => return Ok(BoundPair { pair, local, rtp, rtcp }),
            Err(error) => {
                pool.give_back(pair, now);
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    return Err(BindError::Descriptors);
                }
                if error.kind() != io::ErrorKind::AddrInUse {
                    // Not of this host: another port would fare no better.
                    tracing::debug!(%error, "cannot bind a media port");
                    return Err(BindError::Open(OpenError::Unbindable));
                }
            }
        }
    }
    Err(BindError::Open(OpenError::Exhausted))
}

/// A second socket on the port of `rtp`, connected to `peer`: the kernel finds it before the first for what comes from there,
/// and sends through it without looking for a route. The first goes on to hear everybody else.
pub fn connect_beside(rtp: &UdpSocket, peer: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    let local = rtp.local_addr()?;
    let (first, second) = (SockRef::from(rtp), unbound(local, dscp)?);
    first.set_reuse_address(true)?;
    let result = second
        .set_reuse_address(true)
        .and_then(|()| second.bind(&local.into()))
        .and_then(|()| second.connect(&peer.into()));
    // The port is shared for this moment only: later it would be open to any program of this host.
    first.set_reuse_address(false)?;
    result?;
    second.set_reuse_address(false)?;
    Ok(second.into())
}

/// Binds a pair that another process had before. Its number stands in the phones' minds: no other will do.
pub fn bind_again(
    pool: &mut PortPool,
    local: IpAddr,
    rtp: u16,
    dscp: u8,
    now: Instant,
) -> Result<BoundPair, OpenError> {
    let pair = pool.take_again(rtp).ok_or(OpenError::Exhausted)?;
    let sockets = bind(local, pair.rtp, dscp).and_then(|rtp| Ok((rtp, bind(local, pair.rtcp(), dscp)?)));
    match sockets {
        Ok((rtp, rtcp)) => Ok(BoundPair { pair, local, rtp, rtcp }),
        Err(error) => {
            pool.give_back(pair, now);
            tracing::warn!(%error, "a media port of a call from before the restart cannot be bound again");
            Err(OpenError::Unbindable)
        }
    }
}

fn bind(local: IpAddr, port: u16, dscp: u8) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(local, port);
    let socket = unbound(address, dscp)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn unbound(local: SocketAddr, dscp: u8) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The DSCP stands in the upper six bits (RFC 2474 §3). A host may forbid marking; media goes out all the same.
    let traffic_class = u32::from(dscp) << 2;
    let marked = if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(traffic_class)
    } else {
        socket.set_tos_v4(traffic_class)
    };
    if let Err(error) = marked {
        tracing::debug!(%error, "media packets go unmarked");
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN)?;
    Ok(socket)
}

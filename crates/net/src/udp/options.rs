//! Socket options that `socket2` does not know.
#![expect(unsafe_code, reason = "setsockopt takes a pointer")]

use std::{io, mem, net::SocketAddr, os::fd::AsRawFd, time::Duration};

use socket2::Socket;

/// Has the kernel say with each datagram to which of our addresses it came.
pub(super) fn receive_local_address(socket: &Socket, bound: SocketAddr) -> io::Result<()> {
    if bound.is_ipv4() {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    }
}

/// Has the kernel say with each datagram when it took it in.
pub(super) fn receive_arrival(socket: &Socket) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Asks for a receive buffer of `bytes`: past the system's limit where we may, up to it where not.
pub(super) fn receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let size = i32::try_from(bytes).unwrap_or(i32::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size).or_else(|_| socket.set_recv_buffer_size(bytes))
}

/// When the kernel received the datagram that was read last, since 1970 by the wall clock. From the first question on the
/// kernel notes it for each datagram of the socket; what came before counts as received when it is read.
pub(super) fn received_last(socket: &Socket) -> Option<Duration> {
    /// `SIOCGSTAMPNS` of linux/sockios.h with the machine's own `timespec`; libc does not name it.
    const SIOCGSTAMPNS: libc::Ioctl = 0x8907;
    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: this request writes one timespec, and `stamp` is one that lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut stamp) };
    let (seconds, nanos) = (u64::try_from(stamp.tv_sec).ok()?, u32::try_from(stamp.tv_nsec).ok()?);
    (result == 0 && nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// Asks for a send buffer of `bytes`, as [`receive_buffer`] does for the other direction.
pub(super) fn send_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let size = i32::try_from(bytes).unwrap_or(i32::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size).or_else(|_| socket.set_send_buffer_size(bytes))
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length are those of `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

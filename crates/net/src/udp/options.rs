//! Socket options that `socket2` does not know.
#![expect(unsafe_code, reason = "setsockopt takes a pointer")]

use std::{io, mem, net::SocketAddr, os::fd::AsRawFd};

use socket2::Socket;

/// Has the kernel say with each datagram to which of our addresses it came.
pub(super) fn receive_local_address(socket: &Socket, bound: SocketAddr) -> io::Result<()> {
    if bound.is_ipv4() {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    }
}

/// Asks for a receive buffer of `bytes`: past the system's limit where we may, up to it where not.
pub(super) fn receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let size = i32::try_from(bytes).unwrap_or(i32::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size).or_else(|_| socket.set_recv_buffer_size(bytes))
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

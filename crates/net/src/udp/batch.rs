//! recvmmsg and sendmmsg: many datagrams in one system call.
#![expect(unsafe_code, reason = "message headers point into buffers")]

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::RawFd,
    ptr,
    time::Duration,
};

use super::sockaddr;

/// Datagrams per system call. More would keep what came first waiting for what came last.
pub(super) const BATCH: usize = 32;

/// The largest payload of a datagram, and so the size of a receive buffer, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Room for one pktinfo control message of either family and one time stamp, aligned as `cmsghdr` asks.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 96]);

/// A datagram that leaves.
pub(super) struct Leaving<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) remote: SocketAddr,
    /// The source address it shall carry; `None` lets the kernel choose.
    pub(super) source: Option<IpAddr>,
}

/// One received datagram, in place.
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) remote: SocketAddr,
    /// The address of ours that it came to; `None` if the kernel did not say.
    pub(crate) local: Option<IpAddr>,
    /// When the kernel took it in, since 1970 by the wall clock, if it was asked to say so.
    pub(crate) arrived: Option<Duration>,
    /// The kernel cut it.
    pub(crate) truncated: bool,
}

/// Buffers for one recvmmsg, used again and again. 2 MiB of address space, of which only touched pages are memory.
pub(crate) struct ReceiveBatch {
    buffers: Box<[u8]>,
    names: [libc::sockaddr_storage; BATCH],
    controls: [Control; BATCH],
}

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![0; BATCH * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            names: [sockaddr::empty(); BATCH],
            controls: [Control([0; 96]); BATCH],
        }
    }

    /// Reads what waits at the socket `fd`, at most [`BATCH`] datagrams, without blocking. Returns whether more may wait.
    pub(super) fn receive(&mut self, fd: RawFd, deliver: &mut dyn FnMut(Datagram<'_>)) -> io::Result<bool> {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = empty_headers();
        let buffers = self.buffers.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let rows =
            headers.iter_mut().zip(&mut vectors).zip(buffers).zip(&mut self.names).zip(&mut self.controls);
        for ((((header, vector), buffer), name), control) in rows {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = mem::size_of_val(name) as libc::socklen_t;
            header.msg_hdr.msg_control = (&raw mut control.0).cast();
            header.msg_hdr.msg_controllen = control.0.len();
        }
        // SAFETY: each header points to a vector, buffer, name and control area of its own; all of them live through the
        // call, with the lengths given, and nothing else refers to them meanwhile.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                error if error.kind() == io::ErrorKind::Interrupted => Ok(true),
                error => Err(error),
            };
        };
        let received =
            headers.iter().take(count).zip(self.buffers.chunks_exact(DATAGRAM_BYTES_MAX)).zip(&self.names);
        for ((header, buffer), name) in received {
            let Some(remote) = sockaddr::read(name) else { continue };
            deliver(Datagram {
                bytes: &buffer[..(header.msg_len as usize).min(DATAGRAM_BYTES_MAX)],
                remote,
                local: local_address(&header.msg_hdr),
                arrived: arrival(&header.msg_hdr),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(count == BATCH)
    }
}

/// Sends the first of `outgoing` (at most [`BATCH`]) and returns how many the kernel took; an error is that of the first.
pub(super) fn send<'a>(fd: RawFd, outgoing: impl Iterator<Item = Leaving<'a>>) -> io::Result<usize> {
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut names = [sockaddr::empty(); BATCH];
    let mut controls = [Control([0; 96]); BATCH];
    let mut headers = empty_headers();
    let mut count = 0;
    let rows = headers.iter_mut().zip(&mut vectors).zip(&mut names).zip(&mut controls).zip(outgoing);
    for ((((header, vector), name), control), datagram) in rows {
        // The kernel only reads through iov_base here, so the bytes stay unchanged behind the `*mut`.
        vector.iov_base = datagram.bytes.as_ptr().cast_mut().cast();
        vector.iov_len = datagram.bytes.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_namelen = sockaddr::write(datagram.remote, name);
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        if let Some(source) = datagram.source {
            header.msg_hdr.msg_control = (&raw mut control.0).cast();
            header.msg_hdr.msg_controllen = control.0.len();
            write_source(&mut header.msg_hdr, source, datagram.remote);
        }
        count += 1;
    }
    // SAFETY: the first `count` headers point to a vector, name and control area of their own, and through the vector to
    // bytes that `outgoing` borrows; all live through the call, with the lengths given.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn empty_headers() -> [libc::mmsghdr; BATCH] {
    // SAFETY: an mmsghdr is integers and pointers; all zeros is a value of it, with null pointers and zero lengths.
    unsafe { mem::zeroed() }
}

/// The local address in the control messages that the kernel wrote.
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: `header` was filled by recvmmsg; its control area is still alive and as long as the kernel said.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give a pointer to a whole header within the control area, or null.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        // SAFETY: as above; the data lies behind the header.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: this level and type carry an in_pktinfo; the read makes no claim on alignment.
                let info = unsafe { ptr::read_unaligned(data.cast::<libc::in_pktinfo>()) };
                // The address of ours it was delivered to: unlike ipi_addr, never a multicast one.
                return Some(sockaddr::ipv4(info.ipi_spec_dst));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: this level and type carry an in6_pktinfo; the read makes no claim on alignment.
                let info = unsafe { ptr::read_unaligned(data.cast::<libc::in6_pktinfo>()) };
                return Some(sockaddr::ipv6(info.ipi6_addr));
            }
            // SAFETY: `message` is within the control area of `header`.
            _ => message = unsafe { libc::CMSG_NXTHDR(header, message) },
        }
    }
    None
}

/// The time stamp in the control messages that the kernel wrote.
fn arrival(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: `header` was filled by recvmmsg; its control area is still alive and as long as the kernel said.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give a pointer to a whole header within the control area, or null.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: this level and type carry a timespec behind the header; the read makes no claim on alignment.
            let stamp = unsafe { ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::timespec>()) };
            return Some(Duration::new(stamp.tv_sec.try_into().ok()?, stamp.tv_nsec.try_into().ok()?));
        }
        // SAFETY: `message` is within the control area of `header`.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

/// Writes the pktinfo that makes the datagram leave for `remote` with `source` as its source address.
fn write_source(header: &mut libc::msghdr, source: IpAddr, remote: SocketAddr) {
    match source {
        IpAddr::V4(ip) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: sockaddr::in_addr(ip),
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) => {
            // A link-local source means something on one interface only: the one of the target.
            let ipi6_ifindex = match remote {
                SocketAddr::V6(remote) => remote.scope_id(),
                SocketAddr::V4(_) => 0,
            };
            let info = libc::in6_pktinfo { ipi6_addr: sockaddr::in6_addr(ip), ipi6_ifindex };
            write_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

/// Writes one control message into the control area of `header`, which must have room for it.
fn write_control<T>(header: &mut libc::msghdr, level: i32, kind: i32, value: T) {
    let size = mem::size_of::<T>() as u32;
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
    assert!(header.msg_controllen >= space, "the control area is made for the largest pktinfo");
    // SAFETY: the control area is aligned for a cmsghdr and, as asserted, has room for this header and value, so
    // CMSG_FIRSTHDR is not null and CMSG_DATA lies within.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = length;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast::<T>(), value);
    }
    header.msg_controllen = space;
}

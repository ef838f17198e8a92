//! Packets by the handful: `recvmmsg` into buffers that live as long as the thread, `sendmmsg` out of the same.
#![expect(unsafe_code, reason = "recvmmsg and sendmmsg have no safe interface in std")]

use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
    ptr,
};

use crate::relay::OVERHEAD_MAX;

/// Packets read from one socket at a time: a video frame's worth. Audio comes one by one.
pub const BATCH_PACKETS: usize = 32;
/// Room per packet, in octets: an Ethernet frame's payload and what SRTP adds to it. Longer ones are dropped.
pub const PACKET_LEN_MAX: usize = 1500;

type Buffer = [u8; PACKET_LEN_MAX + OVERHEAD_MAX];

/// The buffers.
pub struct Batch {
    buffers: Box<[Buffer; BATCH_PACKETS]>,
    addresses: Box<[libc::sockaddr_storage; BATCH_PACKETS]>,
    vectors: Box<[libc::iovec; BATCH_PACKETS]>,
    messages: Box<[libc::mmsghdr; BATCH_PACKETS]>,
}

// SAFETY: the pointers within are null or point into the boxes of the same value, which move with it and stay where
// they are on the heap; nothing is shared with another thread.
unsafe impl Send for Batch {}

impl Batch {
    /// Allocates everything that will ever be needed.
    pub fn new() -> Self {
        // SAFETY: sockaddr_storage, iovec and mmsghdr are C structs for which all-zero bytes are a value: null
        // pointers with zero lengths.
        let (address, vector, message) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            buffers: Box::new([[0; PACKET_LEN_MAX + OVERHEAD_MAX]; BATCH_PACKETS]),
            addresses: Box::new([address; BATCH_PACKETS]),
            vectors: Box::new([vector; BATCH_PACKETS]),
            messages: Box::new([message; BATCH_PACKETS]),
        }
    }

    /// The `at`-th packet's buffer.
    pub fn buffer(&mut self, at: usize) -> &mut [u8] {
        &mut self.buffers[at]
    }

    /// Reads what waits on a non-blocking `socket`, at most [`BATCH_PACKETS`]; how many came.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for at in 0..BATCH_PACKETS {
            self.vectors[at] =
                libc::iovec { iov_base: self.buffers[at].as_mut_ptr().cast(), iov_len: PACKET_LEN_MAX };
            self.point(at, at, size_of::<libc::sockaddr_storage>() as libc::socklen_t);
        }
        // SAFETY: each header points to one vector and one address of `self`, whose boxes do not move and are
        // borrowed mutably through the call; lengths are those of what is pointed to.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                BATCH_PACKETS as u32,
                0,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The `at`-th packet read: who sent it and its length. None if it was cut off or came from no IP address.
    pub fn received(&self, at: usize) -> Option<(SocketAddr, usize)> {
        let message = &self.messages[at];
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        Some((read_address(&self.addresses[at])?, message.msg_len as usize))
    }

    /// Queues the first `len` bytes of buffer `at` for `to` as the `place`-th packet to send. `place` may not exceed
    /// `at`: the headers of packets not yet handled stay untouched.
    pub fn queue(&mut self, place: usize, at: usize, to: SocketAddr, len: usize) {
        debug_assert!(place <= at, "a queued packet would overwrite one that waits");
        self.vectors[place] = libc::iovec { iov_base: self.buffers[at].as_mut_ptr().cast(), iov_len: len };
        let address_len = write_address(&mut self.addresses[place], to);
        self.point(place, place, address_len);
    }

    /// Sends the first `count` queued packets; how many the network took. The others are lost, as UDP may.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) -> usize {
        let mut sent = 0;
        while sent < count {
            // SAFETY: the headers from `sent` to `count` were pointed by `queue` to a vector, a buffer and an address
            // of `self`, whose boxes do not move and are borrowed through the call.
            let result = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.messages[sent..count].as_mut_ptr(),
                    (count - sent) as u32,
                    libc::MSG_NOSIGNAL,
                )
            };
            match usize::try_from(result) {
                Ok(taken) if taken > 0 => sent += taken,
                _ => break,
            }
        }
        sent
    }

    fn point(&mut self, message: usize, vector: usize, address_len: libc::socklen_t) {
        let header = &mut self.messages[message].msg_hdr;
        header.msg_name = (&raw mut self.addresses[vector]).cast();
        header.msg_namelen = address_len;
        header.msg_iov = &raw mut self.vectors[vector];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
    }
}

fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in here; storage is large and aligned enough
            // for it, and any bytes are a value of it.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            // Flow label and scope are left out: SDP has neither, so addresses compare equal without them.
            Some(SocketAddrV6::new(ip, u16::from_be(address.sin6_port), 0, 0).into())
        }
        _ => None,
    }
}

fn write_address(storage: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: storage is large and aligned enough for sockaddr_in, of which any bytes are a value.
            let place = unsafe { &mut *ptr::from_mut(storage).cast::<libc::sockaddr_in>() };
            place.sin_family = libc::AF_INET as libc::sa_family_t;
            place.sin_port = address.port().to_be();
            place.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            place.sin_zero = [0; 8];
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above, for sockaddr_in6.
            let place = unsafe { &mut *ptr::from_mut(storage).cast::<libc::sockaddr_in6>() };
            place.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            place.sin6_port = address.port().to_be();
            place.sin6_flowinfo = 0;
            place.sin6_addr.s6_addr = address.ip().octets();
            place.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        let mut batch = Batch::new();
        for text in ["192.0.2.1:65535", "[2001:db8::7]:1", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            write_address(&mut batch.addresses[0], address);
            assert_eq!(read_address(&batch.addresses[0]), Some(address));
        }
    }

    #[test]
    fn a_batch_is_read_and_echoed_in_order() {
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        for byte in 0..5u8 {
            theirs.send_to(&[byte; 3], ours.local_addr().unwrap()).unwrap();
        }
        theirs.send_to(&[9; PACKET_LEN_MAX + 1], ours.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        ours.set_nonblocking(true).unwrap();
        let count = batch.receive(&ours).unwrap();
        assert_eq!(count, 6);
        assert_eq!(batch.received(5), None, "cut off");
        for at in 0..5 {
            let (source, len) = batch.received(at).unwrap();
            batch.queue(at, at, source, len);
        }
        assert_eq!(batch.send(&ours, 5), 5);
        let mut buffer = [0; 16];
        for byte in 0..5u8 {
            assert_eq!(theirs.recv(&mut buffer).unwrap(), 3);
            assert_eq!(buffer[0], byte);
        }
        assert_eq!(batch.receive(&ours).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

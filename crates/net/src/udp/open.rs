//! A UDP socket without a worker around it, for programs with a loop of their own: read and written in batches too.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{batch, batch::Leaving, batch::ReceiveBatch, options};

/// Buffers to receive into; one serves any number of sockets.
pub struct DatagramBatch(ReceiveBatch);

impl DatagramBatch {
    /// 2 MiB of address space, of which only touched pages are memory.
    pub fn new() -> Self {
        Self(ReceiveBatch::new())
    }
}

impl Default for DatagramBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for DatagramBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatagramBatch")
    }
}

/// Takes a datagram, who sent it, and when the kernel took it in.
type Noted<'a> = dyn FnMut(&[u8], SocketAddr, Option<Duration>) + 'a;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    bound: SocketAddr,
}

impl DatagramSocket {
    /// Datagrams that one call of [`DatagramSocket::send`] takes at most.
    pub const BATCH: usize = batch::BATCH;

    /// Binds to `address`; port 0 takes a free one. With `shared` others may bind to it too. The kernel is asked to hold
    /// `buffer_bytes` in each direction and may give less.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr, shared: bool, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        options::receive_buffer(&socket, buffer_bytes)?;
        options::send_buffer(&socket, buffer_bytes)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, bound })
    }

    /// Where it is bound, with the real port.
    pub const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Reads what waits, at most a batch, without blocking. Returns whether more may wait.
    ///
    /// # Errors
    /// What the operating system says; the error is then off the socket.
    pub fn receive(
        &self,
        batch: &mut DatagramBatch,
        deliver: &mut dyn FnMut(&[u8], SocketAddr),
    ) -> io::Result<bool> {
        batch.0.receive(self.as_raw_fd(), &mut |datagram| {
            if !datagram.truncated {
                deliver(datagram.bytes, datagram.remote);
            }
        })
    }

    /// Has the kernel note when datagrams come, for [`DatagramSocket::receive_noted`].
    ///
    /// # Errors
    /// What the operating system says.
    pub fn note_arrivals(&self) -> io::Result<()> {
        options::receive_arrival(&self.socket)
    }

    /// As [`DatagramSocket::receive`], and tells when each datagram came: time since 1970 by the wall clock, `None` unless
    /// [`DatagramSocket::note_arrivals`] was called before it came.
    ///
    /// # Errors
    /// What the operating system says; the error is then off the socket.
    pub fn receive_noted(&self, batch: &mut DatagramBatch, deliver: &mut Noted<'_>) -> io::Result<bool> {
        batch.0.receive(self.as_raw_fd(), &mut |datagram| {
            if !datagram.truncated {
                deliver(datagram.bytes, datagram.remote, datagram.arrived);
            }
        })
    }

    /// Sends the first of `datagrams`, at most [`DatagramSocket::BATCH`], and returns how many the kernel took.
    ///
    /// # Errors
    /// That of the first one; `WouldBlock` if the kernel's buffer is full.
    pub fn send<'a>(&self, datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>) -> io::Result<usize> {
        let leaving = datagrams.map(|(bytes, remote)| Leaving { bytes, remote, source: None });
        batch::send(self.as_raw_fd(), leaving.take(batch::BATCH))
    }

    /// Sends one datagram, which costs less than a batch of one.
    ///
    /// # Errors
    /// `WouldBlock` if the kernel takes no more for now; else what became of it.
    pub fn send_one(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.socket.send_to_with_flags(bytes, &remote.into(), libc::MSG_DONTWAIT).map(drop)
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_when_a_datagram_came() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (one, other) = (
            DatagramSocket::bind(any, false, 1 << 20).expect("it binds"),
            DatagramSocket::bind(any, false, 1 << 20).expect("it binds"),
        );
        other.note_arrivals().expect("the kernel can");
        let wall = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let before = wall();
        one.send([(&b"x"[..], other.bound())].into_iter()).expect("it sends");
        let mut came = None;
        let deliver = &mut |_: &[u8], _, arrived| came = arrived;
        other.receive_noted(&mut DatagramBatch::new(), deliver).expect("it receives");
        assert!(came.is_some_and(|came| (before..=wall()).contains(&came)), "{came:?}");
    }

    #[test]
    fn a_batch_goes_from_one_socket_to_another() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (one, other) = (
            DatagramSocket::bind(any, false, 1 << 20).expect("it binds"),
            DatagramSocket::bind(any, false, 1 << 20).expect("it binds"),
        );
        let texts: Vec<String> = (0..40).map(|number| format!("datagram {number}")).collect();
        let mut left = texts.as_slice();
        while !left.is_empty() {
            let sent = one.send(left.iter().map(|text| (text.as_bytes(), other.bound()))).expect("it sends");
            left = &left[sent..];
        }
        let mut batch = DatagramBatch::new();
        let mut received = Vec::new();
        // Loopback delivers before sendmmsg returns.
        while other
            .receive(&mut batch, &mut |bytes, from| {
                assert_eq!(from, one.bound());
                received.push(String::from_utf8_lossy(bytes).into_owned());
            })
            .expect("it receives")
        {}
        assert_eq!(received, texts);
    }
}

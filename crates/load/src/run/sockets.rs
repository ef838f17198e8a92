//! The sockets and connections of one worker.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use offhook_net::{Bell, DatagramBatch, DatagramSocket, Poll, Readiness};
use socket2::{Domain, Protocol, Socket, Type};

use crate::call::{Outbox, SocketId};

/// Octets that may wait in one direction of one connection. More is a peer that does not read, or no SIP.
const STREAM_BYTES_MAX: usize = 4 << 20;
/// Octets read from a connection at once.
const READ_BYTES: usize = 64 << 10;
/// How long a connection of the whole run may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// What ends a command of another instance.
const COMMAND_END: u8 = 0x1b;

/// Keys of the poll that are no socket.
pub const BELL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const TWIN_LISTENER: u64 = u64::MAX - 2;

/// All sockets of a worker.
pub struct Sockets {
    poll: Poll,
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    listener: Option<TcpListener>,
    twin_listener: Option<TcpListener>,
    twin: Option<SocketId>,
    batch: DatagramBatch,
    /// Messages of the outbox that the kernel has taken.
    sent: usize,
}

enum Link {
    Udp(DatagramSocket),
    Stream(Box<Stream>),
}

struct Stream {
    stream: TcpStream,
    remote: SocketAddr,
    is_connecting: bool,
    framing: Framing,
    input: Vec<u8>,
    output: Vec<u8>,
    watches_write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Content-Length tells where a message ends (RFC 3261 §18.3).
    Sip,
    /// An escape does.
    Command,
}

/// What comes in.
pub enum Input<'a> {
    /// A message.
    Message(SocketId, SocketAddr, &'a [u8]),
    /// A command of the twin.
    Command(&'a [u8]),
    /// A connection is gone; `true`: it never was.
    Gone(SocketId, bool),
}

impl Sockets {
    /// None yet; `bell` wakes [`Sockets::wait`].
    pub fn new(bell: &Bell) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.add(bell.as_raw_fd(), BELL)?;
        Ok(Self {
            poll,
            links: Vec::new(),
            free: Vec::new(),
            listener: None,
            twin_listener: None,
            twin: None,
            batch: DatagramBatch::new(),
            sent: 0,
        })
    }

    fn put(&mut self, fd: i32, link: Link) -> io::Result<SocketId> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() as u32 - 1
        });
        self.poll.add(fd, u64::from(id))?;
        self.links[id as usize] = Some(link);
        Ok(SocketId(id))
    }

    /// Takes over a UDP socket.
    pub fn add_udp(&mut self, socket: DatagramSocket) -> io::Result<SocketId> {
        self.put(socket.as_raw_fd(), Link::Udp(socket))
    }

    /// Takes connections here.
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.poll.add(listener.as_raw_fd(), LISTENER)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Takes the twin's connection here.
    pub fn listen_twin(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.poll.add(listener.as_raw_fd(), TWIN_LISTENER)?;
        self.twin_listener = Some(listener);
        Ok(())
    }

    /// Connects to the twin, and waits until it is done.
    pub fn connect_twin(&mut self, remote: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&remote, CONNECT_PATIENCE)?;
        self.twin = Some(self.add_stream(stream, remote, false, Framing::Command)?);
        Ok(())
    }

    /// Connects from `local` to `remote`, and waits until it is done.
    pub fn connect_now(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<(SocketId, u16)> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.connect_timeout(&remote.into(), CONNECT_PATIENCE)?;
        let stream = TcpStream::from(socket);
        let port = stream.local_addr()?.port();
        Ok((self.add_stream(stream, remote, false, Framing::Sip)?, port))
    }

    /// Begins a connection of one call.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<(SocketId, u16)> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(local.ip(), 0).into())?;
        match socket.connect(&remote.into()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // EINPROGRESS has no kind of its own.
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from(socket);
        let port = stream.local_addr()?.port();
        Ok((self.add_stream(stream, remote, true, Framing::Sip)?, port))
    }

    fn add_stream(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        is_connecting: bool,
        framing: Framing,
    ) -> io::Result<SocketId> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let link = Stream {
            stream,
            remote,
            is_connecting,
            framing,
            input: Vec::new(),
            output: Vec::new(),
            watches_write: is_connecting,
        };
        let id = self.put(fd, Link::Stream(Box::new(link)))?;
        if is_connecting {
            self.poll.watch_writable(fd, u64::from(id.0), true)?;
        }
        Ok(id)
    }

    /// Closes a socket. What it had left to send over a connection goes out first, if it can at once.
    pub fn close(&mut self, id: SocketId) {
        if let Some(link) = self.links.get_mut(id.0 as usize).and_then(Option::take) {
            if let Link::Stream(mut stream) = link {
                let _ = stream.stream.write(&stream.output);
            }
            self.free.push(id.0);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// Waits until something is ready or the time is over.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.poll.wait(timeout, ready)
    }

    /// Sends the messages of `out`. `false`: the kernel takes no more for now; call again. Slots of calls whose message
    /// cannot be sent at all go to `failed`.
    pub fn flush(&mut self, out: &mut Outbox, failed: &mut Vec<u32>) -> bool {
        while let Some(first) = out.messages.get(self.sent) {
            let (socket, slot) = (first.socket, first.slot);
            match self.links.get_mut(socket.0 as usize).and_then(Option::as_mut) {
                None => {
                    failed.push(slot);
                    self.sent += 1;
                }
                Some(Link::Udp(udp)) => {
                    let same =
                        out.messages[self.sent..].iter().take_while(|message| message.socket == socket);
                    let datagrams = same.map(|message| (&out.bytes[message.range.clone()], message.to));
                    match udp.send(datagrams) {
                        Ok(count) => self.sent += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                        // ENOBUFS: the device's queue is full; the message is lost as on any network.
                        Err(error) if error.raw_os_error() == Some(ENOBUFS) => self.sent += 1,
                        Err(_) => {
                            failed.push(slot);
                            self.sent += 1;
                        }
                    }
                }
                Some(Link::Stream(stream)) => {
                    if stream.output.len() > STREAM_BYTES_MAX {
                        failed.push(slot);
                    } else {
                        stream.output.extend_from_slice(&out.bytes[first.range.clone()]);
                    }
                    self.sent += 1;
                    let is_last = out.messages.get(self.sent).is_none_or(|next| next.socket != socket);
                    if is_last && !stream.is_connecting {
                        let _ = stream.write_out(&self.poll, socket);
                    }
                }
            }
        }
        self.sent = 0;
        out.clear_messages();
        true
    }

    /// Sends a command to the twin. `false`: there is none.
    pub fn send_command(&mut self, text: &[u8]) -> bool {
        let Some(id) = self.twin else { return false };
        let Some(Some(Link::Stream(stream))) = self.links.get_mut(id.0 as usize) else { return false };
        stream.output.extend_from_slice(text);
        stream.output.push(COMMAND_END);
        stream.write_out(&self.poll, id).is_ok()
    }

    /// Reads what is ready.
    pub fn receive(&mut self, ready: Readiness, deliver: &mut dyn FnMut(Input<'_>)) {
        match ready.key {
            BELL => {}
            LISTENER => self.accept(false),
            TWIN_LISTENER => self.accept(true),
            key => {
                let id = SocketId(key as u32);
                match self.links.get_mut(id.0 as usize).and_then(Option::as_mut) {
                    None => {}
                    Some(Link::Udp(udp)) => {
                        // Errors that a peer's ICMP left behind are off the socket once read.
                        let _ = udp.receive(&mut self.batch, &mut |bytes, from| {
                            deliver(Input::Message(id, from, bytes));
                        });
                    }
                    Some(Link::Stream(stream)) => {
                        let was_connecting = stream.is_connecting;
                        if stream.turn(ready, &self.poll, id, deliver).is_err() {
                            self.close(id);
                            if self.twin == Some(id) {
                                self.twin = None;
                            } else {
                                deliver(Input::Gone(id, was_connecting));
                            }
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self, is_twin: bool) {
        let listener = if is_twin { &self.twin_listener } else { &self.listener };
        let Some(Ok((stream, remote))) = listener.as_ref().map(TcpListener::accept) else { return };
        let framing = if is_twin { Framing::Command } else { Framing::Sip };
        if let Ok(id) = self.add_stream(stream, remote, false, framing)
            && is_twin
        {
            self.twin = Some(id);
        }
    }
}

/// Linux' number for a connection that is under way.
const EINPROGRESS: i32 = 115;
/// Linux' number for a full device queue.
const ENOBUFS: i32 = 105;

impl Stream {
    fn turn(
        &mut self,
        ready: Readiness,
        poll: &Poll,
        id: SocketId,
        deliver: &mut dyn FnMut(Input<'_>),
    ) -> io::Result<()> {
        if self.is_connecting && (ready.writable || ready.readable) {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.is_connecting = false;
        }
        if ready.writable {
            self.write_out(poll, id)?;
        }
        if ready.readable {
            let length = self.input.len();
            self.input.resize(length + READ_BYTES, 0);
            let read = self.stream.read(&mut self.input[length..]);
            self.input.truncate(length + *read.as_ref().unwrap_or(&0));
            self.take_frames(id, deliver);
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
            if self.input.len() > STREAM_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    fn take_frames(&mut self, id: SocketId, deliver: &mut dyn FnMut(Input<'_>)) {
        let mut at = 0;
        while let Some((skip, length)) = frame(self.framing, &self.input[at..]) {
            let message = &self.input[at + skip..at + length];
            match self.framing {
                Framing::Sip => deliver(Input::Message(id, self.remote, message)),
                Framing::Command => {
                    deliver(Input::Command(message.strip_suffix(&[COMMAND_END]).unwrap_or(message)))
                }
            }
            at += length;
        }
        self.input.drain(..at);
    }

    fn write_out(&mut self, poll: &Poll, id: SocketId) -> io::Result<()> {
        while !self.output.is_empty() && !self.is_connecting {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let waits = !self.output.is_empty();
        if waits != self.watches_write {
            self.watches_write = waits;
            poll.watch_writable(self.stream.as_raw_fd(), u64::from(id.0), waits)?;
        }
        Ok(())
    }
}

/// The first whole message of `input`: how many octets before it are keep-alives, and where it ends.
fn frame(framing: Framing, input: &[u8]) -> Option<(usize, usize)> {
    match framing {
        Framing::Command => memchr::memchr(COMMAND_END, input).map(|at| (0, at + 1)),
        Framing::Sip => {
            let skip = input.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
            let message = &input[skip..];
            let head = memchr::memmem::find(message, b"\r\n\r\n")? + 4;
            let body = message[..head].split(|octet| *octet == b'\n').find_map(content_length).unwrap_or(0);
            let length = head + body.min(STREAM_BYTES_MAX);
            (message.len() >= length).then_some((skip, skip + length))
        }
    }
}

fn content_length(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii();
    if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
        return None;
    }
    std::str::from_utf8(line[colon + 1..].trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_a_stream() {
        let text = b"\r\n\r\nBYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabcSIP";
        let (skip, length) = frame(Framing::Sip, text).expect("one is whole");
        assert_eq!(&text[skip..length], b"BYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc");
        assert_eq!(frame(Framing::Sip, &text[length..]), None);
        assert_eq!(frame(Framing::Sip, &text[..length - 1]), None);
        assert_eq!(frame(Framing::Command, b"Call-ID: 1\r\n\x1bx"), Some((0, 13)));
    }
}

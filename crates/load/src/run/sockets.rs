//! The sockets and connections of one worker.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use offhook_net::{Bell, DatagramBatch, DatagramSocket, Poll, Readiness};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    security::Security,
    stream::{Framing, Stream},
};
use crate::call::{Outbox, SocketId};

/// How long a connection of the whole run may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Most batches that one turn reads from a UDP socket, so that calls that are due have theirs.
const BATCHES_PER_TURN: usize = 8;

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
    /// Where other instances listen, and our connections to them.
    peers: BTreeMap<String, (SocketAddr, Option<SocketId>)>,
    batch: DatagramBatch,
    security: Security,
    /// Messages of the outbox that the kernel has taken.
    sent: usize,
}

enum Link {
    Udp(DatagramSocket),
    Stream(Box<Stream>),
}

/// What comes in.
pub enum Input<'a> {
    /// A message, and when the kernel took it in (since 1970), if it says so.
    Message(SocketId, SocketAddr, &'a [u8], Option<Duration>),
    /// A command of the twin.
    Command(&'a [u8]),
    /// A connection is gone; `true`: it never was.
    Gone(SocketId, bool),
    /// What came over a connection makes no sense, or its other side is not believed.
    Fault(&'a io::Error),
}

impl Sockets {
    /// None yet; `bell` wakes [`Sockets::wait`], connections are dressed as `security` says.
    pub fn new(bell: &Bell, security: Security) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.add(bell.as_raw_fd(), BELL)?;
        Ok(Self {
            poll,
            links: Vec::new(),
            free: Vec::new(),
            listener: None,
            twin_listener: None,
            twin: None,
            peers: BTreeMap::new(),
            batch: DatagramBatch::new(),
            security,
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
        // Without it messages count as received when they are read.
        let _ = socket.note_arrivals();
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
        self.twin = Some(self.add_stream(Stream::plain(stream, remote, Framing::Command)?)?);
        Ok(())
    }

    /// Where other instances listen. Connections to them are opened when they are needed.
    pub fn know_peers(&mut self, peers: &BTreeMap<String, SocketAddr>) {
        self.peers = peers.iter().map(|(name, address)| (name.clone(), (*address, None))).collect();
    }

    /// The connection to another instance, opened now if there is none; waits until it is done.
    pub fn connect_peer(&mut self, name: &str) -> io::Result<SocketId> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("-slave_cfg does not name {name}"));
        let (address, link) = *self.peers.get(name).ok_or_else(unknown)?;
        if let Some(id) = link {
            return Ok(id);
        }
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
        let id = self.add_stream(Stream::plain(stream, address, Framing::Command)?)?;
        self.peers.insert(name.into(), (address, Some(id)));
        Ok(id)
    }

    /// Connects from `local` to `remote`, and waits until it is done.
    pub fn connect_now(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<(SocketId, u16)> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.connect_timeout(&remote.into(), CONNECT_PATIENCE)?;
        let stream = TcpStream::from(socket);
        let port = stream.local_addr()?.port();
        let stream = Stream::plain(stream, remote, Framing::Sip)?;
        let dressed = self.security.dress(stream, true)?;
        Ok((self.add_stream(dressed)?, port))
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
        let dressed = self.security.dress(Stream::connecting(stream, remote)?, true)?;
        Ok((self.add_stream(dressed)?, port))
    }

    fn add_stream(&mut self, stream: Stream) -> io::Result<SocketId> {
        let fd = stream.as_raw_fd();
        let id = self.put(fd, Link::Stream(Box::new(stream)))?;
        if let Some(Some(Link::Stream(stream))) = self.links.get_mut(id.0 as usize) {
            stream.begin(&self.poll, id)?;
        }
        Ok(id)
    }

    /// Closes a socket. What it had left to send over a connection goes out first, if it can at once.
    pub fn close(&mut self, id: SocketId) {
        if let Some(link) = self.links.get_mut(id.0 as usize).and_then(Option::take) {
            if let Link::Stream(mut stream) = link {
                stream.finish(&self.poll, id);
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
                    if !stream.queue(&out.bytes[first.range.clone()]) {
                        failed.push(slot);
                    }
                    self.sent += 1;
                    let is_last = out.messages.get(self.sent).is_none_or(|next| next.socket != socket);
                    if is_last {
                        // A connection that is gone is told by the next read.
                        let _ = stream.write_out(&self.poll, socket);
                    }
                }
            }
        }
        self.sent = 0;
        out.clear_messages();
        true
    }

    /// Sends a command to the twin, or to the instance of that name. `false`: there is none.
    pub fn send_command(&mut self, dest: Option<&str>, text: &[u8]) -> bool {
        let link = match dest.filter(|_| !self.peers.is_empty()) {
            Some(name) => self.connect_peer(name).ok(),
            None => self.twin,
        };
        let Some(id) = link else { return false };
        let Some(Some(Link::Stream(stream))) = self.links.get_mut(id.0 as usize) else { return false };
        stream.queue(text) && stream.write_out(&self.poll, id).is_ok()
    }

    /// Reads what is ready. Returns whether more may wait.
    pub fn receive(&mut self, ready: Readiness, deliver: &mut dyn FnMut(Input<'_>)) -> bool {
        let mut more = false;
        match ready.key {
            BELL => {}
            LISTENER => self.accept(false),
            TWIN_LISTENER => self.accept(true),
            key => {
                let id = SocketId(key as u32);
                match self.links.get_mut(id.0 as usize).and_then(Option::as_mut) {
                    None => {}
                    Some(Link::Udp(udp)) => {
                        for _ in 0..BATCHES_PER_TURN {
                            // Errors that a peer's ICMP left behind are off the socket once read.
                            more = udp
                                .receive_noted(&mut self.batch, &mut |bytes, from, arrived| {
                                    deliver(Input::Message(id, from, bytes, arrived));
                                })
                                .unwrap_or(false);
                            if !more {
                                break;
                            }
                        }
                    }
                    Some(Link::Stream(stream)) => {
                        let was_connecting = !stream.is_open();
                        if let Err(error) = stream.turn(ready, &self.poll, id, deliver) {
                            if error.kind() == io::ErrorKind::InvalidData {
                                deliver(Input::Fault(&error));
                            }
                            self.close(id);
                            let peer = self.peers.values_mut().find(|(_, link)| *link == Some(id));
                            if let Some((_, link)) = peer {
                                *link = None;
                            } else if self.twin == Some(id) {
                                self.twin = None;
                            } else {
                                deliver(Input::Gone(id, was_connecting));
                            }
                        }
                    }
                }
            }
        }
        more
    }

    fn accept(&mut self, is_twin: bool) {
        let listener = if is_twin { &self.twin_listener } else { &self.listener };
        let Some(Ok((stream, remote))) = listener.as_ref().map(TcpListener::accept) else { return };
        let framing = if is_twin { Framing::Command } else { Framing::Sip };
        let plain = Stream::plain(stream, remote, framing);
        let dressed = if is_twin { plain } else { plain.and_then(|plain| self.security.dress(plain, false)) };
        if let Ok(id) = dressed.and_then(|dressed| self.add_stream(dressed))
            && is_twin
            && self.peers.is_empty()
        {
            self.twin = Some(id);
        }
    }
}

/// Linux' number for a connection that is under way.
const EINPROGRESS: i32 = 115;
/// Linux' number for a full device queue.
const ENOBUFS: i32 = 105;

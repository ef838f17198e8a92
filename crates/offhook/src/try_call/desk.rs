//! Two phones on a desk: their sockets, their clock, and the ladder of what they say.
//!
//! This is the driver of the two cores, [`Phone`] and [`Voice`]: the only place of the trial that knows sockets and
//! the time.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Random};
use offhook_sip::{
    message::{
        Message,
        stream::{Framer, Framing},
    },
    transport::Transport,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Interval, interval, sleep_until, timeout},
};

use super::{
    ladder::{Ladder, Side, Way},
    phone::{Account, Event, Link, Output, Phone, Sound},
    target::Target,
    voice::{PACKET_INTERVAL, Voice},
};
use crate::failure::Failure;

/// Bytes of a datagram: more than UDP carries on any link.
const DATAGRAM_MAX: usize = 65_535;

/// Bytes of sound in a datagram that are looked at; a packet of ours has 172.
const SOUND_MAX: usize = 2048;

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Ports to try for one whose number is even, as RFC 3550 §11 asks for RTP.
const PORT_ATTEMPTS: usize = 16;

/// The desk.
pub struct Desk {
    began: std::time::Instant,
    /// The caller's phone.
    pub a: Handset,
    /// The called one's.
    pub b: Handset,
    /// What they said so far.
    pub ladder: Ladder,
    /// When the next packets of sound are due.
    ticks: Interval,
    /// Where sound is received.
    sound_a: Box<[u8]>,
    sound_b: Box<[u8]>,
}

/// A phone with its sockets.
pub struct Handset {
    /// The user agent.
    pub phone: Phone,
    /// What it says and hears.
    pub voice: Voice,
    /// How its sound flows, once that is agreed on.
    pub sound: Option<Sound>,
    wire: Wire,
    rtp: UdpSocket,
    deadline: Option<Instant>,
}

/// What messages go over.
enum Wire {
    Udp { socket: UdpSocket, datagram: Box<[u8]> },
    Tcp { stream: TcpStream, inbox: BytesMut, framer: Framer },
}

/// What the desk waited for.
enum Input {
    Message(Side, io::Result<Bytes>),
    Sound(Side, io::Result<usize>),
    Tick,
    Timeout,
}

impl Desk {
    /// A desk with these phones.
    pub fn new(a: Handset, b: Handset) -> Self {
        let buffer = || vec![0; SOUND_MAX].into_boxed_slice();
        Self {
            began: std::time::Instant::now(),
            a,
            b,
            ladder: Ladder::default(),
            ticks: interval(PACKET_INTERVAL),
            sound_a: buffer(),
            sound_b: buffer(),
        }
    }

    /// Time since the desk was set up.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same for the cores.
    pub fn now(&self) -> Instant {
        Instant::default() + self.elapsed()
    }

    /// A phone.
    pub fn handset(&mut self, side: Side) -> &mut Handset {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Runs both phones until one of them has something to tell, or `until` has come.
    pub async fn next_event(&mut self, until: Instant) -> Result<Option<(Side, Event)>, Failure> {
        loop {
            for side in [Side::A, Side::B] {
                if let Some(event) = self.drain(side).await? {
                    return Ok(Some((side, event)));
                }
            }
            if self.now() >= until {
                return Ok(None);
            }
            let wake = [self.a.deadline, self.b.deadline].into_iter().flatten().fold(until, Instant::min);
            let wake = tokio::time::Instant::from_std(self.began + (wake - Instant::default()));
            let input = tokio::select! {
                message = self.a.wire.receive() => Input::Message(Side::A, message),
                message = self.b.wire.receive() => Input::Message(Side::B, message),
                sound = self.a.rtp.recv(&mut self.sound_a) => Input::Sound(Side::A, sound),
                sound = self.b.rtp.recv(&mut self.sound_b) => Input::Sound(Side::B, sound),
                _ = self.ticks.tick() => Input::Tick,
                () = sleep_until(wake) => Input::Timeout,
            };
            self.handle_input(input)?;
        }
    }

    fn handle_input(&mut self, input: Input) -> Result<(), Failure> {
        let now = self.now();
        match input {
            Input::Message(side, Ok(bytes)) => {
                self.ladder.message(self.elapsed(), side, Way::FromNode, &bytes);
                // What cannot be read stands in the ladder as such, and is answered by the silence it deserves.
                if let Ok(message) = Message::parse(bytes) {
                    self.handset(side).phone.receive(message, now);
                }
            }
            Input::Message(side, Err(error)) => return Err(self.handset(side).lost(&error)),
            Input::Sound(Side::A, Ok(length)) => self.a.voice.handle_datagram(&self.sound_a[..length], now),
            Input::Sound(Side::B, Ok(length)) => self.b.voice.handle_datagram(&self.sound_b[..length], now),
            // ICMP errors of packets sent before: what is lost shows in the counts.
            Input::Sound(_, Err(_)) => {}
            Input::Tick => {
                self.a.say();
                self.b.say();
            }
            Input::Timeout => {
                self.a.phone.handle_timeout(now);
                self.b.phone.handle_timeout(now);
            }
        }
        Ok(())
    }

    /// Sends all that a phone has to send, up to the next event.
    async fn drain(&mut self, side: Side) -> Result<Option<Event>, Failure> {
        loop {
            let at = self.elapsed();
            let handset = match side {
                Side::A => &mut self.a,
                Side::B => &mut self.b,
            };
            match handset.phone.poll_output() {
                Output::Send(bytes) => {
                    self.ladder.message(at, side, Way::ToNode, &bytes);
                    if let Err(error) = handset.wire.send(&bytes).await {
                        return Err(handset.lost(&error));
                    }
                }
                Output::Event(Event::Sound(sound)) => {
                    handset.voice.speak(sound.direction.sends().then_some(sound.law));
                    handset.sound = Some(sound);
                }
                Output::Event(event) => {
                    if event == Event::Ended {
                        handset.voice.speak(None);
                    }
                    return Ok(Some(event));
                }
                Output::Timeout(at) => {
                    handset.deadline = at;
                    return Ok(None);
                }
            }
        }
    }
}

impl Handset {
    /// Plugs a phone in: opens its sockets towards the node.
    pub async fn connect(
        target: &Target,
        account: Account,
        (says, hears): (f64, f64),
        random: &mut Random,
    ) -> Result<Self, Failure> {
        let Target { address: node, transport, .. } = *target;
        let opened = timeout(CONNECT_TIMEOUT, open(node, transport)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let (wire, local, rtp) = opened.map_err(|error| unreachable(node, transport, &error))?;
        let heard_at = rtp.local_addr().map_err(|error| unreachable(node, transport, &error))?;
        let link = Link { transport, local, node, rtp: heard_at };
        let voice = Voice::new(says, hears, random)
            .ok_or_else(|| Failure::new("the tones are out of range", "report this as a bug"))?;
        let phone = Phone::new(account, link, random.fork());
        Ok(Self { phone, voice, sound: None, wire, rtp, deadline: None })
    }

    /// Says the next 20 ms.
    fn say(&mut self) {
        if let Some(packet) = self.voice.next_packet()
            && let Some(sound) = self.sound
        {
            // A full buffer loses the packet, as a network would.
            let _ = self.rtp.try_send_to(&packet, sound.remote);
        }
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let (transport, node) = match &self.wire {
            Wire::Udp { socket, .. } => (Transport::Udp, socket.peer_addr()),
            Wire::Tcp { stream, .. } => (Transport::Tcp, stream.peer_addr()),
        };
        match node {
            Ok(node) => unreachable(node, transport, error),
            Err(_) => Failure::new("the node closed the connection", "see the node's log, and try again"),
        }
    }
}

impl Wire {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp { socket, .. } => socket.send(bytes).await.map(drop),
            Self::Tcp { stream, .. } => stream.write_all(bytes).await,
        }
    }

    /// The next message. May be dropped while it waits: nothing is lost.
    async fn receive(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Udp { socket, datagram } => {
                let length = socket.recv(datagram).await?;
                Ok(Bytes::copy_from_slice(&datagram[..length]))
            }
            Self::Tcp { stream, inbox, framer } => loop {
                match framer.poll(inbox) {
                    Framing::Frame(length) => return Ok(inbox.split_to(length).freeze()),
                    // The node's keep-alives want no answer but our presence.
                    Framing::Ping(length) | Framing::Pong(length) => drop(inbox.split_to(length)),
                    Framing::Incomplete => {
                        if stream.read_buf(inbox).await? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    Framing::Error(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            },
        }
    }
}

/// A way to the node, the address of its near end, and a socket for sound on the same address.
async fn open(node: SocketAddr, transport: Transport) -> io::Result<(Wire, SocketAddr, UdpSocket)> {
    let (wire, local) = if transport == Transport::Udp {
        let any: SocketAddr = if node.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(node).await?;
        let local = socket.local_addr()?;
        (Wire::Udp { socket, datagram: vec![0; DATAGRAM_MAX].into() }, local)
    } else {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        (Wire::Tcp { stream, inbox: BytesMut::new(), framer: Framer::new() }, local)
    };
    let mut rtp = UdpSocket::bind((local.ip(), 0)).await?;
    for _ in 0..PORT_ATTEMPTS {
        if rtp.local_addr()?.port().is_multiple_of(2) {
            break;
        }
        rtp = UdpSocket::bind((local.ip(), 0)).await?;
    }
    Ok((wire, local, rtp))
}

fn unreachable(node: SocketAddr, transport: Transport, error: &io::Error) -> Failure {
    let text = error.to_string().to_lowercase();
    let why = text.split(" (os error").next().unwrap_or_default();
    Failure::new(
        format!("cannot reach the node at {node} over {transport}: {why}"),
        "is that its SIP address? name another with --to; see sip.listen in `offhook config show`",
    )
}

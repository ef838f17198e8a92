//! All I/O of one signalling worker: its UDP sockets, its bell, and its ends of the channels to the streams.

use std::{
    collections::VecDeque,
    io, mem,
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sip::transport::{ConnectionId, Destination, Flow, Listener, ListenerId, Transport};

use crate::{
    BindError, Clock, CommandSender, NetCounters, NetEvent, TransmitError, UdpListenerConfig,
    pace::Pace,
    poll::{Alarm, Poll, Readiness},
    stream::{ConnectionTable, PeerIdentity, StreamSettings, Streams},
    udp::{Datagram, Flushed, ReceiveBatch, UdpSocket},
    wake::Bell,
};

/// Most commands taken in one turn; the rest waits for the next, so that packets are not starved.
const COMMANDS_PER_TURN: usize = 256;

/// The key of the bell in the poll; the sockets have their index.
const BELL_KEY: u64 = u64::MAX;

/// The key of the alarm.
const ALARM_KEY: u64 = u64::MAX - 1;

/// Deadlines are kept late by up to so much, so that those of many transactions share one wake-up. RFC 3261's shortest
/// timer is 500 ms.
const DEADLINE_GRAIN: Duration = Duration::from_millis(10);

/// A wait of so much was sleep: nothing was there. Anything shorter may be the system call itself.
const ASLEEP: Duration = Duration::from_micros(50);

/// From such a wait on the kernel is asked how long a datagram really waited. It costs a system call per turn.
const LOOK_CLOSER: Duration = Duration::from_millis(10);

/// How to set up a [`WorkerIo`].
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The process's clock: deadlines given to [`WorkerIo::turn`] are instants of it.
    pub clock: Clock,
    /// Where the sockets count.
    pub counters: Arc<NetCounters>,
    /// How many commands may wait; default 4096. Past it senders are told that the queue is full.
    pub command_capacity: usize,
}

impl WorkerConfig {
    /// The defaults.
    pub const fn new(clock: Clock, counters: Arc<NetCounters>) -> Self {
        Self { clock, counters, command_capacity: 4096 }
    }
}

/// The sockets of one signalling worker. `C` is what other threads may send it.
///
/// It is `Send`: set it up where errors can be told, then move it into the worker's thread.
pub struct WorkerIo<C> {
    clock: Clock,
    counters: Arc<NetCounters>,
    poll: Poll,
    readiness: Vec<Readiness>,
    alarm: Alarm,
    /// When the alarm goes off next, or went off last.
    alarm_at: Instant,
    sockets: Vec<UdpListener>,
    batch: ReceiveBatch,
    bell: Bell,
    commands: Receiver<C>,
    command_sender: CommandSender<C>,
    connections: Option<ConnectionTable>,
    /// What `transmit` found out at once; told by the next turn.
    failures: VecDeque<(u64, TransmitError)>,
    /// A channel was left with something in it: do not sleep.
    backlog: bool,
    pace: Pace,
    /// When everything that waits was seen last to be empty.
    empty_at: Instant,
    /// What [`WorkerIo::waited`] says.
    waited: Duration,
}

struct UdpListener {
    socket: UdpSocket,
    /// The poll watches for room in the kernel's send buffer.
    blocked: bool,
}

impl<C: Send> WorkerIo<C> {
    /// A worker without any socket yet.
    ///
    /// # Errors
    /// If the system gives no more file descriptors.
    pub fn new(config: WorkerConfig) -> io::Result<Self> {
        let WorkerConfig { clock, counters, command_capacity } = config;
        let poll = Poll::new()?;
        let bell = Bell::new()?;
        poll.add(bell.as_raw_fd(), BELL_KEY)?;
        let alarm = Alarm::new()?;
        poll.add_edge(alarm.as_raw_fd(), ALARM_KEY)?;
        let (sender, commands) = sync_channel(command_capacity);
        Ok(Self {
            clock,
            counters,
            poll,
            readiness: Vec::new(),
            alarm,
            alarm_at: clock.instant(),
            sockets: Vec::new(),
            batch: ReceiveBatch::new(),
            command_sender: CommandSender::new(sender, bell.clone()),
            bell,
            commands,
            connections: None,
            failures: VecDeque::new(),
            backlog: false,
            pace: Pace::default(),
            empty_at: clock.instant(),
            waited: Duration::ZERO,
        })
    }

    /// Binds a UDP listener. The result tells the real port where 0 was asked for.
    ///
    /// # Errors
    /// [`BindError`] with address, cause and a hint.
    pub fn bind_udp(&mut self, config: &UdpListenerConfig) -> Result<Listener, BindError> {
        let socket = UdpSocket::bind(config)?;
        let bound = socket.bound;
        self.poll.add(socket.as_raw_fd(), self.sockets.len() as u64).map_err(|source| BindError {
            address: config.bind,
            transport: Transport::Udp,
            source,
        })?;
        self.sockets.push(UdpListener { socket, blocked: false });
        Ok(Listener { id: config.id, transport: Transport::Udp, bound, advertised: None })
    }

    /// Lets this worker have streams, whose tasks run on `runtime`. Call it once; use the result to open listeners and
    /// to hand over WebSockets from an HTTP server.
    pub fn serve_streams(&mut self, runtime: &tokio::runtime::Handle, settings: StreamSettings) -> Streams {
        let (streams, events) =
            Streams::new(runtime.clone(), settings, Arc::clone(&self.counters), self.bell.clone());
        self.connections = Some(ConnectionTable::new(streams.clone(), events));
        streams
    }

    /// The end that other threads send commands by.
    pub fn command_sender(&self) -> CommandSender<C> {
        self.command_sender.clone()
    }

    /// The clock that deadlines are measured by.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Sends what is queued, then waits until something happens or `deadline` has come (`None`: for ever; up to 10 ms
    /// late), and appends what happened to `events`. A signal, a keep-alive or a deadline of an earlier turn may end the
    /// wait with nothing appended. A turn that follows one with events begins up to a millisecond later, so that what comes
    /// meanwhile shares it. The work of one turn is bounded; what is left over makes the next turn return at once.
    ///
    /// # Errors
    /// Only if the system refuses to wait at all; the worker cannot go on then.
    pub fn turn(&mut self, deadline: Option<Instant>, events: &mut Vec<NetEvent<C>>) -> io::Result<()> {
        self.flush();
        let must_not_sleep = self.backlog || !self.failures.is_empty();
        if !must_not_sleep {
            std::thread::sleep(self.pace.rest(self.clock.instant()));
        }
        let timeout = if must_not_sleep { Some(Duration::ZERO) } else { self.set_alarm(deadline) };
        let mut readiness = mem::take(&mut self.readiness);
        let began_to_wait = self.clock.instant();
        let waited = self.poll.wait(timeout, &mut readiness);
        let woke = self.clock.instant();
        if woke - began_to_wait > ASLEEP {
            self.empty_at = woke;
        }
        // Channels that lag say nothing of how long.
        let mut newest = self.backlog.then_some(Duration::MAX);
        self.waited = woke - self.empty_at;
        let mut rung = mem::take(&mut self.backlog);
        let mut more_waits = false;
        for ready in &readiness {
            match ready.key {
                BELL_KEY => {
                    self.bell.hear();
                    rung = true;
                }
                // It only had to end the sleep.
                ALARM_KEY => {}
                key => {
                    more_waits |= self.serve_socket(*ready, events);
                    if self.waited > LOOK_CLOSER {
                        newest =
                            newest.max(self.sockets.get(key as usize).and_then(|it| it.socket.age_of_last()));
                    }
                }
            }
        }
        // The kernel's word, where it makes sense: what was empty a while ago need not have filled at once.
        self.waited = newest.map_or(self.waited, |newest| newest.min(self.waited));
        self.readiness = readiness;
        waited?;
        if !events.is_empty() {
            self.pace.found_work(self.clock.instant());
        }
        if rung {
            self.take_commands(events);
            if let Some(connections) = &mut self.connections {
                self.backlog |= connections.take_events(events);
            }
        }
        if !more_waits && !self.backlog {
            self.empty_at = woke;
        }
        events
            .extend(self.failures.drain(..).map(|(token, error)| NetEvent::TransmitFailed { token, error }));
        Ok(())
    }

    /// How long the messages of the last turn had waited for it: at most since all sockets and channels were last seen to be
    /// empty, and where that is long, as long as the kernel says. A measure of load: it grows only while more comes than is
    /// worked on.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// Sees that the alarm goes off soon after `deadline`, and gives how long the poll may sleep by itself. A time-out of
    /// its own would be set and taken back by the kernel at every message.
    fn set_alarm(&mut self, deadline: Option<Instant>) -> Option<Duration> {
        let deadline = deadline?;
        let now = self.clock.instant();
        if deadline <= now {
            return Some(Duration::ZERO);
        }
        if now < self.alarm_at && self.alarm_at <= deadline + DEADLINE_GRAIN {
            return None; // set already; if it is too early, the next turn sets it anew
        }
        let at = deadline + DEADLINE_GRAIN;
        match self.alarm.set(at - now) {
            Ok(()) => {
                self.alarm_at = at;
                None
            }
            Err(_) => Some(deadline - now),
        }
    }

    /// Queues `bytes` for `destination`. If it cannot leave, a later turn says [`NetEvent::TransmitFailed`] with `token`;
    /// this call never blocks and never fails by itself. UDP leaves at the next [`turn`](Self::turn) or
    /// [`flush`](Self::flush); a stream connection is opened if none is there.
    pub fn transmit(&mut self, destination: &Destination, bytes: Bytes, token: u64) {
        let queued = if destination.transport() == Transport::Udp {
            self.transmit_udp(destination, bytes, token)
        } else if let Some(connections) = &mut self.connections {
            connections.transmit(destination, bytes, token)
        } else {
            Err(TransmitError::NoSuchListener)
        };
        if let Err(error) = queued {
            match (destination.transport(), error) {
                (Transport::Udp, TransmitError::QueueFull) => self.counters.udp_queue_full.increment(),
                (Transport::Udp, _) => self.counters.udp_send_errors.increment(),
                _ => self.counters.stream_send_errors.increment(),
            }
            self.failures.push_back((token, error));
        }
    }

    /// Says who must be found at `remote` before messages may go there over TLS or WSS: to be called when a name was
    /// resolved to that address. Without it, the peer's certificate must be for the IP address itself.
    pub fn expect_peer(&mut self, remote: SocketAddr, identity: PeerIdentity) {
        if let Some(connections) = &mut self.connections {
            connections.expect_peer(remote, identity);
        }
    }

    /// Closes a stream connection after what is queued for it was written. Unknown ones are ignored: they have closed.
    pub fn close(&mut self, connection: ConnectionId) {
        if let Some(connections) = &mut self.connections {
            connections.close(connection);
        }
    }

    /// Hands queued datagrams to the kernel now. [`turn`](Self::turn) does it before it sleeps; an own call is for a turn
    /// with much work between receiving and sleeping, and before the worker ends.
    pub fn flush(&mut self) {
        let Self { sockets, counters, failures, poll, .. } = self;
        for (index, listener) in sockets.iter_mut().enumerate() {
            let flushed =
                listener.socket.flush(counters, &mut |token, error| failures.push_back((token, error)));
            let blocked = flushed == Flushed::Blocked;
            if blocked != listener.blocked {
                let watched = poll.watch_writable(listener.socket.as_raw_fd(), index as u64, blocked);
                // Fails only for a descriptor that is not watched. Left as it was, the next flush tries again.
                if watched.is_ok() {
                    listener.blocked = blocked;
                }
            }
        }
    }

    fn transmit_udp(
        &mut self,
        destination: &Destination,
        bytes: Bytes,
        token: u64,
    ) -> Result<(), TransmitError> {
        let listener = destination.listener();
        let socket = self.socket_mut(listener).ok_or(TransmitError::NoSuchListener)?;
        socket.queue(destination.remote(), destination.local().ip(), bytes, Some(token))
    }

    /// A handful of listeners: walking them beats hashing.
    fn socket_mut(&mut self, listener: ListenerId) -> Option<&mut UdpSocket> {
        let found = self.sockets.iter_mut().find(|each| each.socket.listener == listener);
        found.map(|each| &mut each.socket)
    }

    /// Reads what a socket has; whether more may wait in it.
    fn serve_socket(&mut self, ready: Readiness, events: &mut Vec<NetEvent<C>>) -> bool {
        let Self { sockets, batch, counters, .. } = self;
        let Some(UdpListener { socket, .. }) = sockets.get_mut(ready.key as usize) else { return false };
        if ready.writable {
            // The flush at the next turn sends; readiness only had to end the sleep.
            tracing::trace!(listener = socket.listener.0, "the kernel takes datagrams again");
        }
        if !ready.readable {
            return false;
        }
        let mut answers = Vec::new();
        // Level-triggered: what is left over is reported by the next wait.
        let more_waits = socket.receive(batch, counters, &mut |datagram| {
            counters.udp_received.increment();
            counters.udp_received_bytes.add(datagram.bytes.len() as u64);
            match Kind::of(&datagram) {
                Kind::Truncated => counters.udp_truncated.increment(),
                Kind::KeepAlive => counters.udp_keepalives.increment(),
                Kind::Stun => match offhook_rtp::stun::answer_binding(datagram.bytes, datagram.remote) {
                    Some(answer) => {
                        let answer = Bytes::copy_from_slice(answer.as_bytes());
                        answers.push((datagram.remote, socket.local(datagram.local), answer));
                    }
                    None => counters.stun_dropped.increment(),
                },
                Kind::Message => events.push(NetEvent::Received {
                    flow: Flow {
                        listener: socket.listener,
                        transport: Transport::Udp,
                        local: socket.local(datagram.local),
                        remote: datagram.remote,
                        connection: None,
                    },
                    bytes: Bytes::copy_from_slice(datagram.bytes),
                }),
            }
        });
        for (remote, local, answer) in answers {
            if socket.queue(remote, local.ip(), answer, None).is_ok() {
                counters.stun_answered.increment();
            }
        }
        more_waits
    }

    fn take_commands(&mut self, events: &mut Vec<NetEvent<C>>) {
        let before = events.len();
        events.extend(self.commands.try_iter().take(COMMANDS_PER_TURN).map(NetEvent::Command));
        self.backlog |= events.len() - before == COMMANDS_PER_TURN;
    }
}

/// What a datagram on a SIP port can be.
enum Kind {
    Message,
    Stun,
    KeepAlive,
    Truncated,
}

impl Kind {
    fn of(datagram: &Datagram<'_>) -> Self {
        match datagram.bytes {
            _ if datagram.truncated => Self::Truncated,
            // RFC 5626 §8: a SIP message never begins with an octet below 4; STUN's first two bits are zero.
            [0..=3, ..] => Self::Stun,
            // Blanks too: some phones send them. Nothing in it, and nothing to answer.
            bytes if bytes.iter().all(|octet| matches!(octet, b'\r' | b'\n' | b' ' | b'\t')) => {
                Self::KeepAlive
            }
            _ => Self::Message,
        }
    }
}

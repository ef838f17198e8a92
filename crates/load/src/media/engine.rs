//! The threads that own media sockets: packets leave when they are due, echoes at once, received streams are judged.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use offhook_base::Random;
use offhook_net::{Bell, Clock, DatagramBatch, DatagramSocket, Poll};
use offhook_rtp::{
    demux::{DatagramClass, classify},
    rtp::Packet,
    srtp::{OVERHEAD_MAX, Protector, SrtcpMode, Unprotector},
};

use super::{
    Command, MediaTotals, Secrets,
    ear::{Ear, Hearing},
    mouth::{Mouth, Route},
    ports::{BUFFER_BYTES, Pool},
};
use crate::call::wheel::{Entry, Wheel};

/// Streams of one socket that are followed at once. Packets of more are counted as received and not judged.
const EARS_MAX: usize = 16_384;
/// A stream that is silent for so long is over, ms.
const SILENCE_MS: u64 = 10_000;
/// Batches that are read and forgotten when a port is taken up: what its buffer holds of a stream.
const STALE_BATCHES_MAX: usize = 64;
/// How often totals are shown and silent streams looked for, ms.
const PUBLISH_EVERY_MS: u64 = 200;
/// How long a turn waits at most.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// The key of the bell in the poll.
const BELL: u64 = u64::MAX;

/// The threads.
#[derive(Debug)]
pub struct Engine {
    threads: Vec<Running>,
    ports: Ports,
}

/// Where calls have their ports from.
#[derive(Clone, Debug)]
pub struct Ports {
    /// `[rtpstream_audio_port]`.
    pub streams: Arc<Pool>,
    /// `[auto_media_port]`.
    pub auto: Arc<Pool>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    /// Until it is waited for.
    handle: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    commands: Mutex<Vec<(u64, Command)>>,
    totals: Mutex<MediaTotals>,
    /// What no run can go on with.
    fault: Mutex<Option<String>>,
    is_over: AtomicBool,
    bell: Bell,
}

/// As for windows of workers: what is in there is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// So many threads; sockets are bound to `ip`. Those of `ports` are bound already when a call asks for them.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(count: usize, ip: IpAddr, ports: Ports, clock: Clock, seed: [u8; 32]) -> io::Result<Self> {
        let mut random = Random::from_seed(seed);
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let shared = Arc::new(Shared {
                commands: Mutex::default(),
                totals: Mutex::default(),
                fault: Mutex::default(),
                is_over: AtomicBool::new(false),
                bell: Bell::new()?,
            });
            let thread = Thread::new(Arc::clone(&shared), ip, ports.clone(), clock, random.fork())?;
            let name = format!("media-{index}");
            let handle = std::thread::Builder::new().name(name).spawn(move || thread.run())?;
            threads.push(Running { shared, handle: Mutex::new(Some(handle)) });
        }
        Ok(Self { threads, ports })
    }

    /// The ports of calls.
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Hands over what the call `call` wants.
    pub fn command(&self, call: u64, command: Command) {
        let port = match &command {
            Command::Play(_, _, route) | Command::Stream(_, _, route) | Command::Press(_, _, route) => {
                route.from
            }
            Command::Listen { port, .. } | Command::Secure { port, .. } => *port,
            Command::Pause(_) | Command::End => {
                if command == Command::End {
                    self.ports.streams.release(call);
                    self.ports.auto.release(call);
                }
                // It is not remembered which threads the call has something with.
                for Running { shared, .. } in &self.threads {
                    lock(&shared.commands).push((call, command.clone()));
                    shared.bell.ring();
                }
                return;
            }
        };
        let Running { shared, .. } = &self.threads[usize::from(port / 2) % self.threads.len()];
        lock(&shared.commands).push((call, command));
        shared.bell.ring();
    }

    /// What was counted, a moment ago.
    pub fn totals(&self) -> MediaTotals {
        let mut totals = MediaTotals::default();
        self.threads.iter().for_each(|one| totals.merge(&lock(&one.shared.totals)));
        totals
    }

    /// What no run can go on with, if there is such a thing.
    pub fn fault(&self) -> Option<String> {
        self.threads.iter().find_map(|one| lock(&one.shared.fault).clone())
    }

    /// Ends the threads and returns what was counted in all.
    pub fn finish(&self) -> MediaTotals {
        for Running { shared, .. } in &self.threads {
            shared.is_over.store(true, Ordering::SeqCst);
            shared.bell.ring();
        }
        for Running { handle, .. } in &self.threads {
            // One that failed has shown its last totals before.
            let _ = lock(handle).take().map(JoinHandle::join);
        }
        self.totals()
    }
}

/// A socket with the streams that come to it.
struct Port {
    socket: DatagramSocket,
    echo: bool,
    /// Calls that use it; without one it is closed.
    users: u32,
    ears: BTreeMap<(SocketAddr, u32), Ear>,
    hearing: Hearing,
    lock: Option<Box<Lock>>,
}

/// What encrypts and decrypts the packets of a port.
struct Lock {
    protector: Protector,
    unprotector: Unprotector,
    /// A packet that is being decrypted.
    scratch: Vec<u8>,
}

impl Lock {
    fn new(secrets: &Secrets) -> Self {
        Self {
            protector: Protector::new(&secrets.outgoing, SrtcpMode::Encrypted),
            unprotector: Unprotector::new(&secrets.incoming, SrtcpMode::Encrypted),
            scratch: Vec::new(),
        }
    }
}

/// The packet in clear, in `scratch`; `None` if it cannot be decrypted.
fn open<'a>(unprotector: &mut Unprotector, scratch: &'a mut Vec<u8>, packet: &[u8]) -> Option<&'a [u8]> {
    scratch.clear();
    scratch.extend_from_slice(packet);
    let length = match classify(packet) {
        DatagramClass::Rtp => unprotector.unprotect_rtp(scratch),
        _ => unprotector.unprotect_rtcp(scratch),
    };
    length.ok().and_then(|length| scratch.get(..length))
}

/// What a call has here.
#[derive(Default)]
struct Talker {
    mouth: Mouth,
    ports: Vec<u16>,
    /// When the wheel will look at it.
    wheel_at: Option<u64>,
}

struct Thread {
    shared: Arc<Shared>,
    ip: IpAddr,
    pools: Ports,
    clock: Clock,
    random: Random,
    poll: Poll,
    ports: BTreeMap<u16, Port>,
    talkers: HashMap<u64, (u32, Talker)>,
    /// The call at each place of the wheel.
    places: Vec<Option<u64>>,
    free: Vec<u32>,
    generations: Vec<u32>,
    wheel: Wheel,
    outgoing: Outgoing,
    totals: MediaTotals,
    /// Samples of the packet that is being listened to.
    sound: Vec<i16>,
}

/// Packets of one turn.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    packets: Vec<(Route, std::ops::Range<usize>)>,
}

impl Outgoing {
    /// Takes a packet in clear. One that cannot be encrypted, which only a broken one cannot, does not leave.
    fn push(&mut self, route: Route, packet: &[u8], protector: Option<&mut Protector>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        let Some(protector) = protector else {
            self.packets.push((route, start..self.bytes.len()));
            return;
        };
        self.bytes.resize(start + packet.len() + OVERHEAD_MAX, 0);
        let buffer = &mut self.bytes[start..];
        let length = match classify(packet) {
            DatagramClass::Rtp => protector.protect_rtp(buffer, packet.len()),
            _ => protector.protect_rtcp(buffer, packet.len()),
        };
        let length = length.unwrap_or(0);
        self.bytes.truncate(start + length);
        if length > 0 {
            self.packets.push((route, start..start + length));
        }
    }
}

impl Thread {
    fn new(shared: Arc<Shared>, ip: IpAddr, pools: Ports, clock: Clock, random: Random) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.add(shared.bell.as_raw_fd(), BELL)?;
        let wheel = Wheel::new(clock.instant().as_nanos() / 1_000_000);
        Ok(Self {
            shared,
            ip,
            pools,
            clock,
            random,
            poll,
            ports: BTreeMap::new(),
            talkers: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            generations: Vec::new(),
            wheel,
            outgoing: Outgoing::default(),
            totals: MediaTotals::default(),
            sound: Vec::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        self.clock.instant().as_nanos() / 1_000_000
    }

    fn run(mut self) {
        let mut ready = Vec::new();
        let mut batch = DatagramBatch::new();
        let mut published = 0;
        while !self.shared.is_over.load(Ordering::SeqCst) {
            self.shared.bell.hear();
            let commands = std::mem::take(&mut *lock(&self.shared.commands));
            for (call, command) in commands {
                self.take(call, command);
            }
            self.speak();
            for entry in &ready {
                self.listen(entry, &mut batch);
            }
            self.send();
            let now = self.now_ms();
            if now >= published + PUBLISH_EVERY_MS {
                published = now;
                self.forget(now.saturating_sub(SILENCE_MS));
                self.publish();
            }
            let wait = self.wheel.next().map_or(WAIT_MAX, |at| {
                let nanos = (at * 1_000_000).saturating_sub(self.clock.instant().as_nanos());
                Duration::from_nanos(nanos).min(WAIT_MAX)
            });
            if self.poll.wait(Some(wait), &mut ready).is_err() {
                ready.clear();
            }
        }
        self.forget(u64::MAX);
        self.publish();
    }

    fn publish(&self) {
        let mut totals = self.totals;
        for ear in self.ports.values().flat_map(|port| port.ears.values()) {
            ear.add_to(&mut totals);
        }
        *lock(&self.shared.totals) = totals;
    }

    /// Judges the streams that have been silent since `since_ms`.
    fn forget(&mut self, since_ms: u64) {
        for port in self.ports.values_mut() {
            port.ears.retain(|_, ear| {
                let is_live = ear.last_ms() >= since_ms;
                if !is_live {
                    ear.add_to(&mut self.totals);
                }
                is_live
            });
        }
    }

    fn take(&mut self, call: u64, command: Command) {
        let now = self.now_ms();
        let random = self.random.next_u64();
        match command {
            Command::Play(kind, clip, route) => {
                if let Some(talker) = self.talker(call, route.from) {
                    talker.mouth.play(now, kind, route, clip);
                }
            }
            Command::Stream(audio, rounds, route) => {
                let pattern = audio.pattern;
                if let Some(talker) = self.talker(call, route.from) {
                    talker.mouth.stream(now, route, audio, rounds, random);
                }
                if let Some(port) = self.ports.get_mut(&route.from) {
                    port.hearing.pattern = pattern;
                }
            }
            Command::Press(keys, event_type, route) => {
                if let Some(talker) = self.talker(call, route.from) {
                    talker.mouth.press(now, route, &keys, event_type, random);
                }
            }
            Command::Pause(paused) => {
                if let Some((_, talker)) = self.talkers.get_mut(&call) {
                    talker.mouth.pause(now, paused);
                }
            }
            Command::Listen { port, echo, opus } => {
                if self.talker(call, port).is_some()
                    && let Some(port) = self.ports.get_mut(&port)
                {
                    port.echo = echo;
                    port.hearing.opus = opus;
                }
            }
            Command::Secure { port, secrets } => {
                if self.talker(call, port).is_some()
                    && let Some(port) = self.ports.get_mut(&port)
                {
                    port.lock = Some(Box::new(Lock::new(&secrets)));
                }
            }
            Command::End => return self.end(call),
        }
        self.schedule(call);
    }

    /// The call's place, with `port` bound for it. `None`: it cannot be bound, which ends the run.
    fn talker(&mut self, call: u64, port: u16) -> Option<&mut Talker> {
        if !self.talkers.contains_key(&call) {
            let place = self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.generations.push(0);
                self.places.len() as u32 - 1
            });
            self.places[place as usize] = Some(call);
            self.talkers.insert(call, (place, Talker::default()));
        }
        let is_new = self.talkers.get(&call).is_some_and(|(_, talker)| !talker.ports.contains(&port));
        if is_new {
            if !self.ports.contains_key(&port) {
                match self.bind(port) {
                    Ok(bound) => self.ports.insert(port, bound),
                    Err(error) => {
                        let what = format!(
                            "cannot bind media port {port}: {error}\nhint: choose another with -mp, or raise `ulimit -n`"
                        );
                        lock(&self.shared.fault).get_or_insert(what);
                        return None;
                    }
                };
            }
            if let Some(port) = self.ports.get_mut(&port) {
                port.users += 1;
            }
        }
        let (_, talker) = self.talkers.get_mut(&call)?;
        if is_new {
            talker.ports.push(port);
        }
        Some(talker)
    }

    fn bind(&self, port: u16) -> io::Result<Port> {
        let socket = match self.pools.streams.claim(port).or_else(|| self.pools.auto.claim(port)) {
            Some(socket) => {
                // What came before anybody listened is of nobody.
                let mut batch = DatagramBatch::new();
                let mut turns = 0..STALE_BATCHES_MAX;
                while turns.next().is_some() && socket.receive(&mut batch, &mut |_, _| {}).unwrap_or(false) {}
                socket
            }
            None => DatagramSocket::bind(SocketAddr::new(self.ip, port), false, BUFFER_BYTES)?,
        };
        self.poll.add(socket.as_raw_fd(), u64::from(port))?;
        Ok(Port {
            socket,
            echo: false,
            users: 0,
            ears: BTreeMap::new(),
            hearing: Hearing::default(),
            lock: None,
        })
    }

    fn end(&mut self, call: u64) {
        let Some((place, talker)) = self.talkers.remove(&call) else { return };
        self.places[place as usize] = None;
        self.generations[place as usize] = self.generations[place as usize].wrapping_add(1);
        self.free.push(place);
        for number in talker.ports {
            let Some(port) = self.ports.get_mut(&number) else { continue };
            port.users = port.users.saturating_sub(1);
            if port.users == 0
                && let Some(closed) = self.ports.remove(&number)
            {
                closed.ears.values().for_each(|ear| ear.add_to(&mut self.totals));
            }
        }
    }

    fn schedule(&mut self, call: u64) {
        let Some((place, talker)) = self.talkers.get_mut(&call) else { return };
        if let Some(due) = talker.mouth.due()
            && talker.wheel_at.is_none_or(|at| at > due)
        {
            let entry = Entry { slot: *place, generation: self.generations[*place as usize] };
            talker.wheel_at = Some(self.wheel.insert(due, entry));
        }
    }

    /// Everything that is due.
    fn speak(&mut self) {
        let now = self.now_ms();
        while let Some(due) = self.wheel.take_due(now) {
            for entry in &due {
                if self.generations[entry.slot as usize] != entry.generation {
                    continue;
                }
                let Some(call) = self.places[entry.slot as usize] else { continue };
                if let Some((_, talker)) = self.talkers.get_mut(&call) {
                    talker.wheel_at = None;
                    let (outgoing, ports) = (&mut self.outgoing, &mut self.ports);
                    talker.mouth.turn(now, &mut |route, packet| {
                        let lock = ports.get_mut(&route.from).and_then(|port| port.lock.as_mut());
                        outgoing.push(route, packet, lock.map(|lock| &mut lock.protector));
                    });
                }
                self.schedule(call);
            }
            self.wheel.recycle(due);
        }
        let sent = &self.outgoing;
        self.totals.sent += sent.packets.len() as u64;
        self.totals.sent_octets += sent.bytes.len() as u64;
    }

    /// What came to a port.
    fn listen(&mut self, ready: &offhook_net::Readiness, batch: &mut DatagramBatch) {
        if ready.key == BELL {
            return;
        }
        let number = ready.key as u16;
        let Some(Port { socket, echo, ears, hearing, lock, .. }) = self.ports.get_mut(&number) else {
            return;
        };
        let now = self.clock.instant();
        let (outgoing, totals, sound) = (&mut self.outgoing, &mut self.totals, &mut self.sound);
        // Errors that a peer's ICMP left behind are off the socket once read.
        let _ = socket.receive(batch, &mut |bytes, from| {
            let (bytes, protector) = match lock.as_deref_mut() {
                None => (bytes, None),
                Some(lock) => match open(&mut lock.unprotector, &mut lock.scratch, bytes) {
                    Some(clear) => (clear, Some(&mut lock.protector)),
                    None => return totals.undecrypted += 1,
                },
            };
            if *echo {
                outgoing.push(Route { from: number, to: from }, bytes, protector);
                totals.echoed += 1;
            }
            if classify(bytes) != DatagramClass::Rtp {
                return;
            }
            let Ok(packet) = Packet::parse(bytes) else { return };
            totals.received += 1;
            let key = (from, packet.header().ssrc().0);
            if ears.len() < EARS_MAX || ears.contains_key(&key) {
                ears.entry(key).or_default().hear(&packet, now, *hearing, sound);
            }
        });
    }

    /// Sends what gathered, a batch for each run of packets from one port.
    fn send(&mut self) {
        let Outgoing { bytes, packets } = &self.outgoing;
        let mut rest = packets.as_slice();
        while let Some((first, _)) = rest.first() {
            let same = rest.iter().take_while(|(route, _)| route.from == first.from).count();
            let Some(port) = self.ports.get(&first.from) else {
                rest = &rest[same..];
                continue;
            };
            if let [(route, range)] = &rest[..same] {
                // Late sound is no sound: it is lost, as on any network.
                if port.socket.send_one(&bytes[range.clone()], route.to).is_err() {
                    self.totals.unsent += 1;
                }
                rest = &rest[1..];
                continue;
            }
            let datagrams = rest[..same].iter().map(|(route, range)| (&bytes[range.clone()], route.to));
            match port.socket.send(datagrams) {
                Ok(count) => rest = &rest[count.max(1)..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.totals.unsent += 1;
                    rest = &rest[1..];
                }
            }
        }
        self.outgoing.bytes.clear();
        self.outgoing.packets.clear();
    }
}

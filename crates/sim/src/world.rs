//! The world: its clock, its events, and everything in it.

mod driver;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use offhook_base::{Instant, Moment, Random, UtcMillis};
use offhook_sip::{
    transaction::TransmitToken,
    transport::{ConnectionId, Flow, ListenerId, Transport},
};
use offhook_switch::{
    directory::{Directory, Line},
    exchange::{Answer, Exchange, Gauges, Input},
    media::MediaEvent,
};

use crate::{
    ladder::label,
    media::{PORT_FIRST, SoundPacket},
    network::{Faults, Loss, PhoneId},
    node::{Node, NodeState},
    phone::{Habits, Phone, Sent, Setup},
    setup::{DOMAIN, NODE, WorldConfig, address_of},
};

/// 2026-11-22T16:10:36Z.
const START: UtcMillis = UtcMillis(1_795_363_836_000);

/// How long the media engine and DNS take to answer.
const HELPER_DELAY: Duration = Duration::from_millis(1);

/// How long a push takes to wake a phone.
const PUSH_DELAY: Duration = Duration::from_millis(800);

/// How long the record writer gathers and writes at most, microseconds.
const WRITE_DELAY_MICROS_MAX: u64 = 50_000;

/// How often the media engine looks for silence.
const SILENCE_CHECK: Duration = Duration::from_secs(5);

/// Wake-ups of one participant at one instant before the world says that it spins.
const SPIN_MAX: usize = 1000;

#[derive(Debug)]
enum Event {
    ToNode { from: SocketAddr, connection: Option<ConnectionId>, bytes: Bytes },
    ToPhone { at: SocketAddr, connection: Option<ConnectionId>, bytes: Bytes },
    Closed(ConnectionId),
    NotSent { life: u32, token: TransmitToken },
    PushedAwake(PhoneId),
    Sound { from: SocketAddr, to: SocketAddr, sound: SoundPacket },
    Media { life: u32, event: MediaEvent },
    Answer { life: u32, answer: Answer },
    WriteRecords { life: u32 },
    StartNode,
    TurnOfNode { life: u32 },
    WakeNode,
    WakePhone(PhoneId),
    LookForSilence,
}

struct Scheduled {
    at: Instant,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A TCP connection between a phone and the node: keeps order, loses nothing until it breaks.
#[derive(Clone, Copy, Debug)]
struct Stream {
    id: ConnectionId,
    to_node: Instant,
    to_phone: Instant,
}

/// The world.
pub struct World {
    /// What the network does to packets now.
    pub faults: Faults,
    config: WorldConfig,
    now: Instant,
    random: Random,
    events: BinaryHeap<Reverse<Scheduled>>,
    next_number: u64,
    node: Node,
    /// Counts the node's lives: answers meant for an earlier one are lost.
    life: u32,
    node_wakes_at: Option<Instant>,
    /// How long messages gather at most before the node takes them all in one turn, as its driver does under load. Zero: each
    /// has a turn of its own.
    pub turn_max: Duration,
    /// When the node died so far.
    pub node_died_at: Vec<Instant>,
    /// What was read for the next turn: it dies with the process.
    inbox: Vec<Input>,
    /// After how many more steps of its driver the node dies, and how long it is down then.
    dies: Option<(usize, Duration)>,
    phones: Vec<Phone>,
    /// What a NAT shows of each phone.
    outside: Vec<SocketAddr>,
    by_ip: BTreeMap<IpAddr, PhoneId>,
    phone_wakes_at: Vec<Option<Instant>>,
    /// The stream of each phone that speaks TCP, and when its last message arrives in each direction.
    streams: Vec<Stream>,
    last_connection: u64,
    losses: Vec<Loss>,
    spins: (Instant, usize),
    /// What DNS knows: the addresses of names, best first. Address literals need no entry.
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    /// Whether what the media engine, DNS and the push service say gets lost.
    pub helpers_mute: bool,
    /// Ports that the next life of the node will find taken.
    refuse_at_start: usize,
    /// What the node sent to addresses where nobody is.
    pub sent_nowhere: Vec<(SocketAddr, Bytes)>,
}

impl World {
    /// A world with a running node and no phones.
    pub fn new(config: WorldConfig) -> Self {
        let mut world = Self {
            faults: Faults::NONE,
            random: Random::from_number(config.seed),
            config,
            now: Instant::from_driver_nanos(1_000_000_000),
            events: BinaryHeap::new(),
            next_number: 0,
            node: Node {
                running: None,
                state: NodeState::default(),
                last_alive: START,
                next_port: PORT_FIRST,
            },
            life: 0,
            node_wakes_at: None,
            turn_max: Duration::ZERO,
            node_died_at: Vec::new(),
            inbox: Vec::new(),
            dies: None,
            phones: Vec::new(),
            outside: Vec::new(),
            by_ip: BTreeMap::new(),
            phone_wakes_at: Vec::new(),
            streams: Vec::new(),
            last_connection: 0,
            losses: Vec::new(),
            spins: (Instant::default(), 0),
            names: BTreeMap::new(),
            helpers_mute: false,
            refuse_at_start: 0,
            sent_nowhere: Vec::new(),
        };
        world.start_node();
        world.schedule(world.now + SILENCE_CHECK, Event::LookForSilence);
        world
    }

    /// A phone of `line` is switched on.
    pub fn add_phone(&mut self, line: &str, habits: Habits) -> PhoneId {
        let id = PhoneId(self.phones.len());
        let number = u32::try_from(id.0 + 1).expect("few phones");
        let address = address_of(id.0, 0);
        let (domain, password) = (DOMAIN.into(), format!("pw-{line}"));
        let setup = Setup { number, line: line.into(), domain, password, address, node: NODE };
        let random = self.random.fork();
        self.phones.push(Phone::new(setup, habits, random, self.now));
        self.outside.push(address);
        self.phone_wakes_at.push(None);
        let id_of_stream = self.next_connection();
        self.streams.push(Stream { id: id_of_stream, to_node: self.now, to_phone: self.now });
        self.by_ip.insert(address.ip(), id);
        self.settle_phone(id);
        id
    }

    /// A phone.
    pub fn phone(&self, id: PhoneId) -> &Phone {
        &self.phones[id.0]
    }

    /// All phones.
    pub fn phones(&self) -> impl Iterator<Item = (PhoneId, &Phone)> {
        self.phones.iter().enumerate().map(|(index, phone)| (PhoneId(index), phone))
    }

    /// The user does something with a phone.
    pub fn act<T>(&mut self, id: PhoneId, act: impl FnOnce(&mut Phone, Instant) -> T) -> T {
        let now = self.now;
        let result = act(&mut self.phones[id.0], now);
        self.settle_phone(id);
        result
    }

    /// A NAT shows another address of the phone from now on; the phone knows nothing of it.
    pub fn rebind(&mut self, id: PhoneId, generation: u8) {
        self.break_stream(id);
        let outside = address_of(id.0, generation);
        self.by_ip.remove(&self.outside[id.0].ip());
        self.by_ip.insert(outside.ip(), id);
        self.outside[id.0] = outside;
    }

    /// The TCP connection of a phone breaks: what is under way is lost, the node hears of it, and the phone opens a new
    /// one with its next message.
    pub fn break_stream(&mut self, id: PhoneId) {
        let broken = self.streams[id.0].id;
        self.streams[id.0].id = self.next_connection();
        if self.phones[id.0].habits.tcp {
            self.schedule(self.now + self.faults.delay_max, Event::Closed(broken));
        }
    }

    const fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        ConnectionId(self.last_connection)
    }

    /// A phone moves to another network in the middle of its call number `call`, knows it, and tells the node.
    pub fn move_phone(&mut self, id: PhoneId, generation: u8, call: usize) {
        self.rebind(id, generation);
        let address = self.outside[id.0];
        self.act(id, |phone, now| phone.move_to(call, address, now));
    }

    /// A phone that was off comes back at another address and registers.
    pub fn come_back(&mut self, id: PhoneId, generation: u8) {
        self.rebind(id, generation);
        let address = self.outside[id.0];
        self.act(id, |phone, now| phone.come_back(address, now));
    }

    /// Loses certain messages between a phone and the node: after `spare` of them, `times` of them.
    pub fn lose(&mut self, phone: PhoneId, to_node: bool, label: &str, spare: usize, times: usize) {
        self.losses.push(Loss { phone, to_node, label: label.into(), spare, times });
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The time, with the date.
    pub fn moment(&self) -> Moment {
        let passed = self.now.saturating_since(Instant::from_driver_nanos(1_000_000_000));
        Moment { instant: self.now, utc: START.saturating_add(passed) }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.events.peek().is_some_and(|Reverse(next)| next.at <= end) {
            let Some(Reverse(Scheduled { at, event, .. })) = self.events.pop() else { break };
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    /// Lets seconds pass.
    pub fn run_secs(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    /// Lets time pass until `done`, at most `limit`; whether it came to be.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(100));
        }
        true
    }

    /// A datagram reaches the node from anywhere.
    pub fn inject(&mut self, from: SocketAddr, bytes: Bytes) {
        self.schedule(self.now, Event::ToNode { from, connection: None, bytes });
    }

    /// The directory is replaced.
    pub fn set_directory(&mut self, directory: Directory) {
        self.config.directory = directory.clone();
        self.tell_node(Input::Directory(Arc::new(directory)));
    }

    /// The lines are replaced; tenants and peers stay.
    pub fn set_lines(&mut self, lines: Vec<Line>) {
        let old = &self.config.directory;
        let tenants = old.tenants().iter().map(|tenant| (**tenant).clone()).collect();
        let peers = old.peers().iter().map(|peer| (**peer).clone()).collect();
        self.set_directory(Directory::new(tenants, Vec::new(), Vec::new(), lines, peers));
    }

    /// What the node has written down.
    pub const fn state(&self) -> &NodeState {
        &self.node.state
    }

    /// The node's exchange, if it runs.
    pub fn exchange(&self) -> Option<&Exchange> {
        self.node.running.as_ref().map(|running| &running.exchange)
    }

    /// How much of everything the node has.
    pub fn gauges(&self) -> Gauges {
        self.exchange().map(Exchange::gauges).unwrap_or_default()
    }

    /// Media endpoints and ports that are open.
    pub fn media_sizes(&self) -> (usize, usize) {
        self.node.running.as_ref().map_or((0, 0), |running| running.engine.sizes())
    }

    /// The next requests for ports will fail.
    pub fn refuse_ports(&mut self, times: usize) {
        if let Some(node) = &mut self.node.running {
            node.engine.refuse_opens = times;
        }
    }

    /// The next life of the node will find so many of its ports taken.
    pub fn refuse_ports_of_next_life(&mut self, times: usize) {
        self.refuse_at_start = times;
    }

    /// Whatever rule was broken, anywhere.
    pub fn violations(&self) -> Vec<String> {
        let of_phones = self.phones().flat_map(|(id, phone)| {
            phone.violations.iter().map(move |text| format!("phone {}: {text}", id.0))
        });
        self.node.state.violations.iter().cloned().chain(of_phones).collect()
    }

    /// What is still open although all calls should be over; empty: nothing.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let gauges = self.gauges();
        if gauges.calls > 0 || gauges.transactions > 0 || gauges.tables != [0; 5] {
            found.push(format!(
                "calls {}, transactions {}, clients/INVITEs/tags/endpoints/questions {:?}",
                gauges.calls, gauges.transactions, gauges.tables
            ));
        }
        if self.media_sizes() != (0, 0) {
            found.push(format!("media endpoints and ports {:?}", self.media_sizes()));
        }
        if !self.node.state.kept.is_empty() {
            found.push(format!("kept forms: {:?}", self.node.state.kept.keys()));
        }
        if !self.node.state.open.is_empty() {
            found.push(format!("calls without record: {}", self.node.state.open.len()));
        }
        if !self.node.state.lines.is_empty() {
            found.push(format!("lines not idle: {:?}", self.node.state.lines));
        }
        found
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.next_number += 1;
        self.events.push(Reverse(Scheduled { at, number: self.next_number, event }));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToNode { from, connection, bytes } => {
                if connection.is_some_and(|id| self.streams.iter().all(|stream| stream.id != id)) {
                    return;
                }
                let (listener, transport) = listener_of(connection.is_some());
                let flow = Flow { listener, transport, local: NODE, remote: from, connection };
                self.reach_node(Input::Received { flow, bytes });
            }
            Event::ToPhone { at, connection, bytes } => self.deliver(at, connection, bytes),
            Event::Closed(connection) => self.reach_node(Input::ConnectionClosed(connection)),
            Event::PushedAwake(id) => {
                if !self.phones[id.0].is_alive() {
                    let address = self.outside[id.0];
                    self.act(id, |phone, now| phone.come_back(address, now));
                }
            }
            Event::NotSent { life, token } => {
                if life == self.life {
                    self.reach_node(Input::TransmitFailed(token));
                }
            }
            Event::Sound { from, to, sound } => self.carry_sound(from, to, sound),
            Event::Media { life, event } if life == self.life => self.reach_node(Input::Media(event)),
            Event::Answer { life, answer } if life == self.life => self.reach_node(Input::Answer(answer)),
            Event::Media { .. } | Event::Answer { .. } => {}
            Event::WriteRecords { life } => {
                if life == self.life {
                    self.node.state.write_records();
                }
            }
            Event::StartNode => {
                if !self.is_node_up() {
                    self.start_node();
                }
            }
            Event::TurnOfNode { life } => {
                if life == self.life {
                    self.take_turn();
                }
            }
            Event::WakeNode => {
                if self.node_wakes_at.take_if(|at| *at <= self.now).is_some() {
                    self.note_spin();
                    self.tell_node(Input::Timeout);
                }
            }
            Event::WakePhone(id) => {
                let now = self.now;
                if self.phone_wakes_at[id.0].take_if(|at| *at <= now).is_some() {
                    self.phones[id.0].handle_timeout(now);
                    self.settle_phone(id);
                }
            }
            Event::LookForSilence => {
                let now = self.now;
                let events =
                    self.node.running.as_mut().map_or(Vec::new(), |node| node.engine.find_silence(now));
                for event in events {
                    self.reach_node(Input::Media(event));
                }
                self.schedule(now + SILENCE_CHECK, Event::LookForSilence);
            }
        }
    }

    /// After its deadline a core's next one lies ahead; otherwise its driver would spin.
    fn note_spin(&mut self) {
        if self.spins.0 == self.now {
            self.spins.1 += 1;
            assert!(self.spins.1 < SPIN_MAX, "seed {}: the node spins", self.config.seed);
        } else {
            self.spins = (self.now, 0);
        }
    }

    fn deliver(&mut self, at: SocketAddr, connection: Option<ConnectionId>, bytes: Bytes) {
        match self.by_ip.get(&at.ip()).copied().filter(|id| self.outside[id.0] == at) {
            Some(id) if connection.is_some_and(|connection| connection != self.streams[id.0].id) => {}
            Some(id) => {
                let now = self.now;
                self.phones[id.0].receive(bytes, now);
                self.settle_phone(id);
            }
            None => self.sent_nowhere.push((at, bytes)),
        }
    }

    fn carry_sound(&mut self, from: SocketAddr, to: SocketAddr, sound: SoundPacket) {
        if to.ip() != NODE.ip() {
            if let Some(id) = self.by_ip.get(&to.ip()).copied() {
                self.phones[id.0].hear(to.port(), &sound);
            }
            return;
        }
        let now = self.now;
        let Some(node) = &mut self.node.running else { return };
        if let Some((from, to, sound)) = node.engine.relay(to, from, sound, now) {
            self.send_sound(from, to, sound);
        }
    }

    fn send_sound(&mut self, from: SocketAddr, to: SocketAddr, sound: SoundPacket) {
        for delay in self.faults.arrivals(&mut self.random) {
            self.schedule(self.now + delay, Event::Sound { from, to, sound });
        }
    }

    /// Takes from a phone what it sends, and plans its next look.
    fn settle_phone(&mut self, id: PhoneId) {
        self.phones[id.0].pump(self.now);
        let outside = self.outside[id.0];
        while let Some(sent) = self.phones[id.0].poll_sent() {
            match sent {
                Sent::Signal(bytes) => {
                    if self.is_lost(id, true, &bytes) {
                        continue;
                    }
                    if self.phones[id.0].habits.tcp {
                        let stream = &mut self.streams[id.0];
                        stream.to_node = stream.to_node.max(self.now + self.faults.delay(&mut self.random));
                        let (at, connection) = (stream.to_node, Some(stream.id));
                        self.schedule(at, Event::ToNode { from: outside, connection, bytes });
                        continue;
                    }
                    for delay in self.faults.arrivals(&mut self.random) {
                        let event = Event::ToNode { from: outside, connection: None, bytes: bytes.clone() };
                        self.schedule(self.now + delay, event);
                    }
                }
                Sent::Sound { from_port, to, sound } => {
                    self.send_sound(SocketAddr::new(outside.ip(), from_port), to, sound);
                }
            }
        }
        if let Some(at) = self.phones[id.0].deadline()
            && self.phone_wakes_at[id.0].is_none_or(|wakes_at| at < wakes_at)
        {
            let at = at.max(self.now);
            self.phone_wakes_at[id.0] = Some(at);
            self.schedule(at, Event::WakePhone(id));
        }
    }

    fn is_lost(&mut self, phone: PhoneId, to_node: bool, bytes: &Bytes) -> bool {
        if self.losses.is_empty() {
            return false;
        }
        let label = label(bytes);
        self.losses.iter_mut().any(|loss| loss.takes(phone, to_node, &label))
    }
}

/// The node's listener for UDP or TCP.
const fn listener_of(tcp: bool) -> (ListenerId, Transport) {
    if tcp { (ListenerId(1), Transport::Tcp) } else { (ListenerId(0), Transport::Udp) }
}

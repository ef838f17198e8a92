//! The world: its clock, its events, and everything in it.

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
    transport::{ConnectionId, Destination, Flow, Listener, ListenerId, Transport},
};
use offhook_switch::{
    directory::{Directory, Line},
    exchange::{Answer, Ask, Exchange, ExchangeConfig, Gauges, Hop, Input, Output, Resumed},
    media::{MediaCommand, MediaEvent},
    settings::Settings,
};

use crate::{
    ladder::label,
    media::{Engine, PORT_FIRST, SoundPacket},
    network::{Faults, Loss, PhoneId},
    node::{Node, NodeState, Running},
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

    /// Starts the node, with the registrations, records and calls of its earlier life.
    pub fn start_node(&mut self) -> Resumed {
        let WorldConfig { directory, settings, registrar, limits, .. } = self.config.clone();
        let listeners = [false, true].map(|tcp| {
            let (id, transport) = listener_of(tcp);
            Listener { id, transport, bound: NODE, advertised: None }
        });
        let silence = settings.silence;
        let settings = Settings { listeners: listeners.to_vec(), ..settings };
        let config = ExchangeConfig {
            settings,
            registrar,
            limits,
            directory: Arc::new(directory),
            secret: [7; 32],
            random: self.random.fork(),
        };
        self.life += 1;
        let now = self.moment();
        let mut engine = Engine::new(NODE.ip(), silence, self.node.next_port);
        engine.refuse_opens = std::mem::take(&mut self.refuse_at_start);
        let resumed = self.node.start(config, engine, now);
        self.drain_node();
        resumed
    }

    /// The node dies: calls, transactions and ports are gone, facts stay.
    pub fn crash_node(&mut self) {
        self.node.crash(self.moment());
        for index in 0..self.streams.len() {
            self.streams[index].id = self.next_connection();
        }
        self.node_wakes_at = None;
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

    /// Something happens to the node from outside.
    pub fn tell_node(&mut self, input: Input) {
        let now = self.moment();
        if let Some(node) = &mut self.node.running {
            node.exchange.handle(input, now);
        }
        self.drain_node();
    }

    /// The node's driver finds that messages waited for so long, in every turn of the next `secs` seconds.
    pub fn be_late(&mut self, waited: std::time::Duration, secs: u64) {
        for _ in 0..secs * 10 {
            let now = self.now;
            if let Some(node) = &mut self.node.running {
                node.exchange.observe_load(waited, now);
            }
            self.run_for(std::time::Duration::from_millis(100));
        }
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
                self.tell_node(Input::Received { flow, bytes });
            }
            Event::ToPhone { at, connection, bytes } => self.deliver(at, connection, bytes),
            Event::Closed(connection) => self.tell_node(Input::ConnectionClosed(connection)),
            Event::PushedAwake(id) => {
                if !self.phones[id.0].is_alive() {
                    let address = self.outside[id.0];
                    self.act(id, |phone, now| phone.come_back(address, now));
                }
            }
            Event::NotSent { life, token } => {
                if life == self.life {
                    self.tell_node(Input::TransmitFailed(token));
                }
            }
            Event::Sound { from, to, sound } => self.carry_sound(from, to, sound),
            Event::Media { life, event } if life == self.life => self.tell_node(Input::Media(event)),
            Event::Answer { life, answer } if life == self.life => self.tell_node(Input::Answer(answer)),
            Event::Media { .. } | Event::Answer { .. } => {}
            Event::WriteRecords { life } => {
                if life == self.life {
                    self.node.state.write_records();
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
                    self.tell_node(Input::Media(event));
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

    /// Does what the node wants done, until it wants nothing more.
    fn drain_node(&mut self) {
        loop {
            let Some(Running { exchange, .. }) = &mut self.node.running else { return };
            match exchange.poll_output() {
                Output::Transmit { to, bytes, token } => self.transmit(to, bytes, token),
                Output::Media(command) => self.command_engine(command),
                Output::Ask(ask) => self.answer(ask),
                Output::Fact(fact) => {
                    let waits = !self.node.state.waiting.is_empty();
                    self.node.state.take(fact);
                    if !waits && !self.node.state.waiting.is_empty() {
                        let delay = Duration::from_micros(self.random.below(WRITE_DELAY_MICROS_MAX));
                        self.schedule(self.now + delay, Event::WriteRecords { life: self.life });
                    }
                }
                Output::Keep { call, form } => self.node.state.keep(call, form),
                Output::Forget { call } => self.node.state.forget(call),
                Output::Timeout(at) => {
                    if let Some(at) = at
                        && self.node_wakes_at.is_none_or(|wakes_at| at < wakes_at)
                    {
                        let at = at.max(self.now);
                        self.node_wakes_at = Some(at);
                        self.schedule(at, Event::WakeNode);
                    }
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, to: Destination, bytes: Bytes, token: TransmitToken) {
        let at = to.remote();
        let phone = self.by_ip.get(&at.ip()).copied();
        if phone.is_some_and(|phone| self.is_lost(phone, false, &bytes)) {
            return;
        }
        if to.transport() == Transport::Udp {
            for delay in self.faults.arrivals(&mut self.random) {
                let event = Event::ToPhone { at, connection: None, bytes: bytes.clone() };
                self.schedule(self.now + delay, event);
            }
            return;
        }
        // A phone takes no connections: there is the one it has opened, or none.
        let open = phone.filter(|phone| match to {
            Destination::Flow(flow) => flow.connection == Some(self.streams[phone.0].id),
            Destination::Address { remote, .. } => remote == self.outside[phone.0],
        });
        let Some(phone) = open.filter(|phone| self.phones[phone.0].habits.tcp) else {
            return self.schedule(self.now + HELPER_DELAY, Event::NotSent { life: self.life, token });
        };
        let delay = self.faults.delay(&mut self.random);
        let stream = &mut self.streams[phone.0];
        stream.to_phone = stream.to_phone.max(self.now + delay);
        let (arrives, connection) = (stream.to_phone, Some(stream.id));
        self.schedule(arrives, Event::ToPhone { at, connection, bytes });
    }

    fn command_engine(&mut self, command: MediaCommand) {
        let now = self.now;
        let Some(node) = &mut self.node.running else { return };
        let event = node.engine.command(command, now);
        if let Some(event) = event.filter(|_| !self.helpers_mute) {
            self.schedule(now + HELPER_DELAY, Event::Media { life: self.life, event });
        }
    }

    fn answer(&mut self, ask: Ask) {
        if self.helpers_mute {
            return;
        }
        let answer = match ask {
            Ask::Locate { id, host, port, .. } => {
                let (listener, transport) = listener_of(false);
                let literal = host.parse().ok().map(|ip| vec![SocketAddr::new(ip, port.unwrap_or(5060))]);
                let addresses = literal.or_else(|| self.names.get(&*host).cloned()).unwrap_or_default();
                let hop = |remote: SocketAddr| Hop { transport, remote, local: NODE.ip(), listener };
                Answer::Located { id, hops: addresses.into_iter().map(hop).collect() }
            }
            Ask::Wake { id, prid, .. } => {
                // The phone's number stands for the token of its push service.
                let phone = prid.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let phone = phone.filter(|index| *index < self.phones.len()).map(PhoneId);
                if let Some(phone) = phone {
                    self.schedule(self.now + PUSH_DELAY, Event::PushedAwake(phone));
                }
                Answer::Woken { id, accepted: phone.is_some() }
            }
        };
        self.schedule(self.now + HELPER_DELAY, Event::Answer { life: self.life, answer });
    }
}

/// The node's listener for UDP or TCP.
const fn listener_of(tcp: bool) -> (ListenerId, Transport) {
    if tcp { (ListenerId(1), Transport::Tcp) } else { (ListenerId(0), Transport::Udp) }
}

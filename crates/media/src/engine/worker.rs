//! The media thread: waits for packets and commands, lets the relay decide, sends.

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use offhook_base::Instant;
use offhook_switch::media::{EndpointId, MediaCommand, MediaEvent, OpenError, STREAMS_MAX, StreamNote};

use super::{
    MediaConfig, Order,
    epoll::{Epoll, metronome, set_period},
    offload::{Offload, open_plane},
    sockets::{BindError, BoundPair, bind_again, bind_pair},
    stopwatch::Stopwatch,
    table::{PortTable, Token},
};
use crate::{
    DropReason,
    counters::Counters,
    ports::PortPool,
    relay::{BEAT_MS, OVERHEAD_MAX, PortId, Relay, Verdict},
};

/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(1);
/// Names the bell of commands in the epoll set; no port has it, since port numbers end far below.
const BELL: u64 = u64::MAX;
/// Names the beat of seconds.
const METRONOME: u64 = u64::MAX - 1;
/// How often packets are looked after that wait for others before them, while there are any.
const PATIENCE_TICK: Duration = Duration::from_millis(5);
/// Names that beat.
const PATIENCE: u64 = u64::MAX - 2;
/// Names the beat of what the node says itself, while there is any.
const BEAT: u64 = u64::MAX - 3;
/// Beats that are made up for when the thread comes late; what is left out beyond is heard as a gap.
const BEATS_LATE_MAX: u64 = 5;
/// Packets read from one port in a turn: a video frame's worth. More wait for the next turn, so that a flooded port does
/// not starve the others.
const BURST_MAX: usize = 32;
/// Longest packet that is relayed, in octets: an Ethernet frame's payload. Longer ones are dropped.
const PACKET_LEN_MAX: usize = 1500;
/// Times that a packet may pass through us on its way. A call that a proxy sends back to us passes twice.
const PASSES_MAX: usize = 8;

/// Everything the thread owns.
pub struct Worker {
    config: MediaConfig,
    relay: Relay,
    pool: PortPool,
    table: PortTable,
    epoll: Epoll,
    /// The packet at hand, and what SRTP may add to it.
    buffer: Box<[u8; PACKET_LEN_MAX + OVERHEAD_MAX]>,
    bell: Arc<File>,
    metronome: File,
    /// Beats only while packets wait.
    patience: File,
    is_patient: bool,
    /// Beats only while the node talks with somebody.
    beat: File,
    is_beating: bool,
    stopwatch: Stopwatch,
    orders: Receiver<Order>,
    counters: Arc<Counters>,
    tell: Box<dyn Fn(MediaEvent) + Send>,
    origin: std::time::Instant,
    turn: u32,
    offload: Option<Offload>,
}

impl Worker {
    /// Prepares the thread; its sockets come with commands.
    pub fn new(
        config: MediaConfig,
        pool: PortPool,
        bell: Arc<File>,
        orders: Receiver<Order>,
        counters: Arc<Counters>,
        tell: Box<dyn Fn(MediaEvent) + Send>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&*bell, BELL)?;
        let origin = std::time::Instant::now();
        let beat = metronome(Duration::ZERO)?;
        let (metronome, patience) = (metronome(TICK)?, metronome(Duration::ZERO)?);
        epoll.add(&metronome, METRONOME)?;
        epoll.add(&patience, PATIENCE)?;
        epoll.add(&beat, BEAT)?;
        Ok(Self {
            relay: Relay::new(config.silence)
                .with_sounds(config.sounds.clone())
                .with_keeper(config.keeper.clone()),
            config,
            pool,
            table: PortTable::new(),
            epoll,
            buffer: Box::new([0; PACKET_LEN_MAX + OVERHEAD_MAX]),
            bell,
            metronome,
            patience,
            is_patient: false,
            beat,
            is_beating: false,
            stopwatch: Stopwatch::default(),
            orders,
            counters,
            tell,
            origin,
            turn: 0,
            offload: None,
        })
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        // Here and not before the thread: what loads for a tenth of a second and more keeps only media waiting, which nobody sends
        // yet or which the kernel still carries.
        let kernel = self.config.kernel.as_ref();
        self.offload =
            kernel.and_then(|kernel| open_plane(kernel, self.config.dscp, self.origin, &self.counters));
        loop {
            if let Err(error) = self.epoll.wait() {
                // Only a bug of ours brings this about: the set and its events are valid for the thread's life.
                tracing::error!(%error, "the media thread cannot wait for packets and ends");
                return;
            }
            self.turn = self.turn.wrapping_add(1);
            // The packets of a turn came together as far as statistics can tell: one look at the clock serves them all.
            let now = self.now();
            let mut has_orders = false;
            for at in 0..self.epoll.ready() {
                match self.epoll.token(at) {
                    BELL => has_orders = true,
                    METRONOME => self.tick(now),
                    PATIENCE => self.go_on(now),
                    BEAT => self.beat(now),
                    token => self.read_port(Token(token), now),
                }
            }
            self.set_patience();
            self.relay.tell_notes(&self.tell);
            self.relay.tell_events(&self.tell);
            // Commands after packets: what came before a command was sent under what held before it.
            if has_orders && self.carry_out_orders().is_err() {
                return;
            }
        }
    }

    fn now(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_driver_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn tick(&mut self, now: Instant) {
        let _ = (&self.metronome).read(&mut [0; 8]);
        let effort = self.relay.note_busy(self.stopwatch.busy_since(now));
        self.counters.effort.set(u64::from(effort));
        if let Some(offload) = &mut self.offload {
            offload.tick(&mut self.relay, &self.table, self.config.silence, now);
        }
        self.relay.check_silence(now, &self.tell);
    }

    /// Says what has waited long enough.
    fn go_on(&mut self, now: Instant) {
        let _ = (&self.patience).read(&mut [0; 8]);
        let mut ports = Vec::new();
        self.relay.go_on(now, |port| ports.push(port));
        ports.into_iter().for_each(|port| self.say(port, now));
    }

    /// Says what is due to the legs that the node talks with.
    fn beat(&mut self, now: Instant) {
        let mut beats = [0; 8];
        let due = match (&self.beat).read(&mut beats) {
            Ok(_) => u64::from_ne_bytes(beats),
            Err(_) => return,
        };
        for _ in 0..due.min(BEATS_LATE_MAX) {
            self.relay.beat(now);
        }
        self.counters.recorded_lost.set(self.relay.tape_counts()[1]);
        for at in 0..self.relay.served_count() {
            if let Some(port) = self.relay.served_port(at) {
                self.say(port, now);
            }
        }
    }

    fn set_beat(&mut self) {
        let served = self.relay.served_count();
        self.counters.served.set(served as u64);
        self.counters.members.set(self.relay.member_count() as u64);
        let [recorded, _] = self.relay.tape_counts();
        self.counters.recorded_rooms.set(recorded);
        if (served > 0) != self.is_beating {
            self.is_beating = served > 0;
            let period = if self.is_beating { Duration::from_millis(BEAT_MS) } else { Duration::ZERO };
            // Only a descriptor that is none could be refused.
            let _ = set_period(&self.beat, period);
        }
    }

    fn set_patience(&mut self) {
        if self.relay.waits() != self.is_patient {
            self.is_patient = self.relay.waits();
            let period = if self.is_patient { PATIENCE_TICK } else { Duration::ZERO };
            // Only a descriptor that is none could be refused.
            let _ = set_period(&self.patience, period);
        }
    }

    fn read_port(&mut self, token: Token, now: Instant) {
        let place = token.place();
        self.relay.prefetch_endpoint(place);
        self.table.prefetch(place);
        if let Some(through) = self.relay.prefetch_streams(place) {
            self.table.prefetch(through);
        }
        let Some(socket) = self.table.ready(token) else { return };
        let packets_max = socket.reads(self.turn, BURST_MAX);
        let (read, forwarded) = self.relay_packets(token, packets_max, now);
        if read < packets_max
            && let Some(socket) = self.table.ready(token)
        {
            socket.found(read);
        }
        if forwarded && self.table.hears_everybody(token) {
            self.shorten_the_way(place, now);
        }
    }

    /// Relays what waits at a socket: how many packets there were, and whether one went on to the other leg.
    fn relay_packets(&mut self, token: Token, packets_max: usize, now: Instant) -> (usize, bool) {
        let mut forwarded = false;
        for at in 0..packets_max {
            let Some(socket) = self.table.ready(token) else { return (at, forwarded) };
            // One octet more than is relayed shows that a packet is too long.
            let Ok((len, source)) = socket.socket.recv_from(&mut self.buffer[..=PACKET_LEN_MAX]) else {
                return (at, forwarded);
            };
            forwarded |= self.relay_packet(token.place(), without_scope(source), len, now);
        }
        (packets_max, forwarded)
    }

    /// Gives a leg that keeps to one address a socket connected to it.
    fn shorten_the_way(&mut self, place: PortId, now: Instant) {
        let Some(holder) = self.relay.source(place) else { return };
        if self.table.note_source(place, holder)
            && let Some([everybody, direct]) = self.table.open_direct(place, self.config.dscp)
        {
            // What came before it was connected waits at the first socket, and must not be overtaken.
            self.relay_packets(everybody, BURST_MAX, now);
            self.table.watch_direct(direct, &self.epoll);
        }
    }

    /// True if the packet went on to the other leg.
    fn relay_packet(&mut self, place: PortId, source: SocketAddr, len: usize, now: Instant) -> bool {
        if len > PACKET_LEN_MAX {
            self.counters.count_drop(DropReason::Malformed);
            return false;
        }
        if let Some(offload) = &mut self.offload {
            offload.before_packet(&mut self.relay, place, source, &self.buffer[..len], now);
        }
        match self.relay.handle_packet(place, source, &mut self.buffer[..], len, now) {
            Verdict::Forward { to, .. } if self.circles(to) => self.counters.count_drop(DropReason::Circling),
            Verdict::Forward { through, to, len } => {
                let sent = self.send(through, to, len);
                if sent {
                    self.counters.packets_forwarded.add(1);
                    self.counters.octets_forwarded.add(len as u64);
                }
                return sent;
            }
            Verdict::Answer { len } => {
                self.send(place, source, len);
                self.counters.stun_answered.add(1);
            }
            Verdict::Say { through } => self.say(through, now),
            Verdict::Taken => {}
            Verdict::Drop(reason) => self.counters.count_drop(reason),
        }
        false
    }

    /// Sends what a transcoded stream has for the leg at `through`.
    fn say(&mut self, through: PortId, now: Instant) {
        while let Some(packet) = self.relay.next_voice_packet(through, &mut self.buffer[..], now) {
            match packet {
                Ok((to, _)) if self.circles(to) => self.counters.count_drop(DropReason::Circling),
                Ok((to, len)) => {
                    if self.send(through, to, len) {
                        self.counters.packets_forwarded.add(1);
                        self.counters.octets_forwarded.add(len as u64);
                    }
                }
                Err(reason) => self.counters.count_drop(reason),
            }
        }
    }

    /// Whether the network took it.
    fn send(&self, through: PortId, to: SocketAddr, len: usize) -> bool {
        let sent = self.table.send(through, to, &self.buffer[..len]);
        if !sent {
            self.counters.count_drop(DropReason::SendFailed);
        }
        sent
    }

    /// Whether a packet to `to` would pass through ports of ours without end. RTP has no hop count: two calls whose legs
    /// announce each other's ports would turn one packet round for ever.
    fn circles(&self, to: SocketAddr) -> bool {
        let onward = |to: &SocketAddr| self.relay.onward(self.table.place_of(*to)?);
        std::iter::successors(Some(to), onward).nth(PASSES_MAX).is_some()
    }

    fn carry_out_orders(&mut self) -> Result<(), Stopped> {
        // Emptied before the orders are: a ring between the two costs one idle turn, never an order.
        // An eventfd that has been read already has nothing to say, which is as good.
        let _ = (&*self.bell).read(&mut [0; 8]);
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Command(command) => self.carry_out(command),
                Order::Stop => return Err(Stopped),
            }
        }
        Ok(())
    }

    /// Before the event that tells of it, so that whoever saw the event sees the counters agree.
    fn publish(&self) {
        self.counters.endpoints.set(self.relay.endpoint_count() as u64);
        self.counters.ports_in_use.set(2 * self.pool.taken() as u64);
    }

    fn carry_out(&mut self, command: MediaCommand) {
        let now = self.now();
        match command {
            MediaCommand::Open { endpoint, local, streams } => {
                let event = match self.open(endpoint, local, streams.clamp(1, STREAMS_MAX), now) {
                    Ok(rtp_ports) => MediaEvent::Opened { endpoint, rtp_ports },
                    Err(error) => {
                        self.counters.opens_failed.add(1);
                        MediaEvent::OpenFailed { endpoint, error }
                    }
                };
                self.publish();
                (self.tell)(event);
            }
            MediaCommand::Reopen { endpoint, local, rtp_ports, notes } => {
                let event = match self.reopen(endpoint, local, &rtp_ports, &notes, now) {
                    Ok(()) => MediaEvent::Opened { endpoint, rtp_ports },
                    Err(error) => {
                        self.counters.opens_failed.add(1);
                        MediaEvent::OpenFailed { endpoint, error }
                    }
                };
                self.publish();
                (self.tell)(event);
            }
            MediaCommand::Configure { endpoint, streams } => {
                self.before_change(endpoint, now);
                self.relay.configure(endpoint, streams, now);
            }
            MediaCommand::Bridge { left, right } => {
                self.before_change(left, now);
                self.before_change(right, now);
                self.relay.bridge(left, right, now);
                self.set_beat();
            }
            MediaCommand::Serve { endpoint, source, act } => {
                self.before_change(endpoint, now);
                self.relay.serve(endpoint, source, &act);
                self.set_beat();
            }
            MediaCommand::Press { endpoint, key, ms } => self.relay.press(endpoint, key, ms),
            MediaCommand::Close { endpoint } => self.close(endpoint, now),
        }
    }

    fn before_change(&mut self, endpoint: EndpointId, now: Instant) {
        if let Some(offload) = &mut self.offload {
            offload.before_change(&mut self.relay, endpoint, now);
        }
    }

    /// Binds what is missing, all or nothing; an endpoint that is open already keeps its ports.
    fn open(
        &mut self,
        endpoint: EndpointId,
        local: IpAddr,
        streams: usize,
        now: Instant,
    ) -> Result<Vec<u16>, OpenError> {
        let has = self.relay.stream_count(endpoint);
        let mut bound: Vec<BoundPair> = Vec::new();
        for _ in has..streams {
            match self.bind(local, now) {
                Ok(pair) => bound.push(pair),
                Err(error) => {
                    bound.iter().for_each(|bound| self.pool.give_back(bound.pair, now));
                    return Err(error);
                }
            }
        }
        let places = self.relay.open(endpoint, streams, now);
        for (places, bound) in places.iter().skip(has).zip(bound) {
            if let Some(offload) = &mut self.offload {
                offload.opened(SocketAddr::new(local, bound.pair.rtp));
            }
            self.table.install(*places, bound, &self.epoll);
        }
        Ok(places.first().map(|[first, _]| self.table.rtp_ports(*first)).unwrap_or_default())
    }

    /// Takes up an endpoint of another process on the same ports, all or nothing.
    fn reopen(
        &mut self,
        endpoint: EndpointId,
        local: IpAddr,
        rtp_ports: &[u16],
        notes: &[StreamNote],
        now: Instant,
    ) -> Result<(), OpenError> {
        let mut bound: Vec<BoundPair> = Vec::new();
        for &rtp in rtp_ports.iter().take(STREAMS_MAX) {
            match bind_again(&mut self.pool, local, rtp, self.config.dscp, now) {
                Ok(pair) => bound.push(pair),
                Err(error) => {
                    bound.iter().for_each(|bound| self.pool.give_back(bound.pair, now));
                    return Err(error);
                }
            }
        }
        let places = self.relay.open(endpoint, bound.len(), now);
        self.relay.recall(endpoint, notes);
        for (places, bound) in places.into_iter().zip(bound) {
            self.table.install(places, bound, &self.epoll);
        }
        Ok(())
    }

    /// Connected sockets are a comfort: they go where they stand in the way of a call.
    fn bind(&mut self, local: IpAddr, now: Instant) -> Result<BoundPair, OpenError> {
        let dscp = self.config.dscp;
        let mut bound = bind_pair(&mut self.pool, local, dscp, now);
        if matches!(bound, Err(BindError::Descriptors)) && self.table.close_direct_ways() {
            bound = bind_pair(&mut self.pool, local, dscp, now);
        }
        Ok(bound?)
    }

    fn close(&mut self, endpoint: EndpointId, now: Instant) {
        self.before_change(endpoint, now);
        let first = self.relay.first_port(endpoint);
        let Some(streams) = self.relay.close(endpoint) else { return };
        let pairs = first.map(|first| self.table.remove(first));
        for pair in pairs.into_iter().flatten() {
            self.pool.give_back(pair, now);
        }
        self.set_beat();
        self.publish();
        (self.tell)(MediaEvent::Closed { endpoint, streams });
    }
}

/// The handle asked to end.
struct Stopped;

/// SDP has neither flow label nor scope, so addresses are compared without them.
fn without_scope(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(address) => SocketAddrV6::new(*address.ip(), address.port(), 0, 0).into(),
    }
}

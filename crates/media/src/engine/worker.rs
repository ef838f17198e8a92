//! The media thread: waits for packets and commands, lets the relay decide, sends.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::{SocketAddr, UdpSocket},
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use offhook_base::Instant;
use offhook_switch::media::{EndpointId, MediaCommand, MediaEvent, OpenError, STREAMS_MAX};

use super::{
    MediaConfig, Order,
    batch::{BATCH_PACKETS, Batch},
    epoll::Epoll,
    sockets::{BoundPair, bind_pair},
};
use crate::{
    DropReason,
    counters::Counters,
    ports::{PortPair, PortPool},
    relay::{PortId, Relay, Verdict},
};

/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(1);
/// Names the bell of commands in the epoll set; no port has it, since port numbers end far below.
const BELL: u64 = u64::MAX;

/// Times that a packet may pass through us on its way. A call that a proxy sends back to us passes twice.
const PASSES_MAX: usize = 8;

/// A bound port.
struct MediaSocket {
    socket: UdpSocket,
    /// Tells events of this socket from late ones of a predecessor at the same place.
    generation: u32,
}

/// Everything the thread owns.
pub struct Worker {
    config: MediaConfig,
    relay: Relay,
    pool: PortPool,
    /// By [`PortId::index`].
    sockets: Vec<Option<MediaSocket>>,
    /// Our own ports by their addresses.
    places: BTreeMap<SocketAddr, PortId>,
    /// By the index of a pair's RTP port, halved.
    pairs: Vec<Option<PortPair>>,
    generation: u32,
    epoll: Epoll,
    batch: Batch,
    bell: Arc<File>,
    orders: Receiver<Order>,
    counters: Arc<Counters>,
    tell: Box<dyn Fn(MediaEvent) + Send>,
    origin: std::time::Instant,
    next_tick: Instant,
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
        Ok(Self {
            relay: Relay::new(config.silence),
            config,
            pool,
            sockets: Vec::new(),
            places: BTreeMap::new(),
            pairs: Vec::new(),
            generation: 0,
            epoll,
            batch: Batch::new(),
            bell,
            orders,
            counters,
            tell,
            origin: std::time::Instant::now(),
            next_tick: Instant::default() + TICK,
        })
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        loop {
            let timeout = self.next_tick - self.now();
            if let Err(error) = self.epoll.wait(timeout + Duration::from_millis(1)) {
                // Only a bug of ours brings this about: the set and its events are valid for the thread's life.
                tracing::error!(%error, "the media thread cannot wait for packets and ends");
                return;
            }
            let mut has_orders = false;
            for at in 0..self.epoll.ready() {
                match self.epoll.token(at) {
                    BELL => has_orders = true,
                    token => self.read_port(token),
                }
            }
            // Commands after packets: what came before a command was sent under what held before it.
            if has_orders && self.carry_out_orders().is_err() {
                return;
            }
            self.tick();
        }
    }

    fn now(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_driver_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn tick(&mut self) {
        let now = self.now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.relay.check_silence(now, &self.tell);
        }
    }

    /// One batch from one port; more waits for the next turn, so that a flooded port does not starve the others.
    fn read_port(&mut self, token: u64) {
        let port = PortId::from_index(token as u32);
        let generation = (token >> 32) as u32;
        let socket = self.sockets.get(port.index()).and_then(Option::as_ref);
        let Some(socket) = socket.filter(|socket| socket.generation == generation) else { return };
        let Ok(count) = self.batch.receive(&socket.socket) else { return };
        let now = self.now();
        let mut run = Run::default();
        for at in 0..count.min(BATCH_PACKETS) {
            let Some((source, len)) = self.batch.received(at) else {
                self.counters.count_drop(DropReason::Malformed);
                continue;
            };
            match self.relay.handle_packet(port, source, self.batch.buffer(at), len, now) {
                Verdict::Forward { to, .. } if self.circles(to) => {
                    self.counters.count_drop(DropReason::Circling);
                }
                Verdict::Forward { through, to, len } => self.queue(&mut run, at, through, to, len),
                Verdict::Answer { len } => {
                    self.queue(&mut run, at, port, source, len);
                    self.counters.stun_answered.add(1);
                    run.answers += 1;
                }
                Verdict::Drop(reason) => self.counters.count_drop(reason),
            }
        }
        self.send(run);
    }

    /// Whether a packet to `to` would pass through ports of ours without end. RTP has no hop count: two calls whose legs
    /// announce each other's ports would turn one packet round for ever.
    fn circles(&self, to: SocketAddr) -> bool {
        let onward = |to: &SocketAddr| self.relay.onward(*self.places.get(to)?);
        std::iter::successors(Some(to), onward).nth(PASSES_MAX).is_some()
    }

    /// Packets that leave through the same port leave together.
    fn queue(&mut self, run: &mut Run, at: usize, through: PortId, to: SocketAddr, len: usize) {
        if run.through != Some(through) {
            self.send(std::mem::take(run));
            run.through = Some(through);
        }
        self.batch.queue(run.packets, at, to, len);
        run.packets += 1;
        run.octets += len as u64;
    }

    fn send(&mut self, run: Run) {
        let Some(through) = run.through else { return };
        let Some(Some(socket)) = self.sockets.get(through.index()) else { return };
        let sent = self.batch.send(&socket.socket, run.packets);
        let failed = (run.packets - sent) as u64;
        if failed > 0 {
            self.counters.dropped[DropReason::SendFailed as usize].add(failed);
        }
        self.counters.packets_forwarded.add((sent as u64).saturating_sub(run.answers));
        self.counters.octets_forwarded.add(run.octets);
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
            MediaCommand::Configure { endpoint, streams } => self.relay.configure(endpoint, streams, now),
            MediaCommand::Bridge { left, right } => self.relay.bridge(left, right, now),
            MediaCommand::Close { endpoint } => self.close(endpoint, now),
        }
    }

    /// Binds what is missing, all or nothing; an endpoint that is open already keeps its ports.
    fn open(
        &mut self,
        endpoint: EndpointId,
        local: std::net::IpAddr,
        streams: usize,
        now: Instant,
    ) -> Result<Vec<u16>, OpenError> {
        let has = self.relay.stream_count(endpoint);
        let mut bound: Vec<BoundPair> = Vec::new();
        for _ in has..streams {
            match bind_pair(&mut self.pool, local, self.config.dscp, now) {
                Ok(pair) => bound.push(pair),
                Err(error) => {
                    bound.iter().for_each(|bound| self.pool.give_back(bound.pair, now));
                    return Err(error);
                }
            }
        }
        let ports = self.relay.open(endpoint, streams, now);
        for (places, bound) in ports.iter().skip(has).zip(bound) {
            self.install(*places, bound);
        }
        Ok(ports
            .iter()
            .filter_map(|[rtp, _]| self.pairs.get(rtp.index() / 2)?.map(|pair| pair.rtp))
            .collect())
    }

    fn install(&mut self, [rtp, rtcp]: [PortId; 2], bound: BoundPair) {
        let needed = rtcp.index() + 1;
        if self.sockets.len() < needed {
            self.sockets.resize_with(needed, || None);
            self.pairs.resize_with(needed.div_ceil(2), || None);
        }
        self.pairs[rtp.index() / 2] = Some(bound.pair);
        for (place, socket) in [(rtp, bound.rtp), (rtcp, bound.rtcp)] {
            // BELL cannot be mistaken: no index has all its 32 bits set.
            self.generation = self.generation.wrapping_add(1);
            let generation = self.generation;
            let token = u64::from(generation) << 32 | place.index() as u64;
            if let Err(error) = self.epoll.add(&socket, token) {
                // The kernel is out of memory or watches: the port stays deaf, and the call ends by silence.
                tracing::error!(%error, "cannot watch a media port");
            }
            if let Ok(address) = socket.local_addr() {
                self.places.insert(address, place);
            }
            self.sockets[place.index()] = Some(MediaSocket { socket, generation });
        }
    }

    fn close(&mut self, endpoint: EndpointId, now: Instant) {
        let open = self.relay.stream_count(endpoint);
        let ports = if open > 0 { self.relay.open(endpoint, open, now) } else { Vec::new() };
        let Some(streams) = self.relay.close(endpoint) else { return };
        for [rtp, rtcp] in ports {
            for place in [rtp, rtcp] {
                let closed = self.sockets[place.index()].take();
                if let Some(address) = closed.and_then(|closed| closed.socket.local_addr().ok()) {
                    self.places.remove(&address);
                }
            }
            if let Some(pair) = self.pairs[rtp.index() / 2].take() {
                self.pool.give_back(pair, now);
            }
        }
        self.publish();
        (self.tell)(MediaEvent::Closed { endpoint, streams });
    }
}

/// The handle asked to end.
struct Stopped;

/// Packets queued for one port.
#[derive(Default)]
struct Run {
    through: Option<PortId>,
    packets: usize,
    octets: u64,
    answers: u64,
}

//! A worker on loopback for tests: every wait has a deadline, none has a sleep.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use offhook_net::{
    Clock, Counter, NetCounters, NetEvent, TransmitError, UdpListenerConfig, WorkerConfig, WorkerIo,
    stream::{StreamListenerConfig, StreamSettings, Streams},
};
use offhook_sip::transport::{Destination, Flow, ListenerId, Transport};

/// Longest wait for anything that must happen. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub io: WorkerIo<u32>,
    pub counters: Arc<NetCounters>,
    seen: VecDeque<NetEvent<u32>>,
    fresh: Vec<NetEvent<u32>>,
}

impl Node {
    pub fn new() -> Self {
        let counters = Arc::new(NetCounters::default());
        let io = WorkerIo::new(WorkerConfig::new(Clock::new(), Arc::clone(&counters))).unwrap();
        Self { io, counters, seen: VecDeque::new(), fresh: Vec::new() }
    }

    /// Binds UDP listener `id` to a free port of `ip`.
    pub fn udp(&mut self, id: u16, ip: &str) -> SocketAddr {
        let config = UdpListenerConfig::new(ListenerId(id), SocketAddr::new(ip.parse().unwrap(), 0));
        self.io.bind_udp(&config).unwrap().bound
    }

    pub fn streams(&mut self, settings: StreamSettings) -> Streams {
        self.io.serve_streams(&tokio::runtime::Handle::current(), settings)
    }

    /// The first event for which `pick` gives something, within [`PATIENCE`]. Others are kept for later calls.
    pub fn wait<T>(&mut self, mut pick: impl FnMut(&NetEvent<u32>) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut looked_at = 0;
        loop {
            if let Some((at, found)) =
                self.seen.iter().enumerate().skip(looked_at).find_map(|(at, event)| Some((at, pick(event)?)))
            {
                self.seen.remove(at);
                return found;
            }
            looked_at = self.seen.len();
            assert!(Instant::now() < give_up, "what was waited for did not happen; seen: {:?}", self.seen);
            let soon = self.io.clock().instant() + Duration::from_millis(200);
            self.io.turn(Some(soon), &mut self.fresh).unwrap();
            self.seen.extend(self.fresh.drain(..));
        }
    }

    pub fn received(&mut self) -> (Flow, Bytes) {
        self.wait(|event| match event {
            NetEvent::Received { flow, bytes } => Some((*flow, bytes.clone())),
            _ => None,
        })
    }

    pub fn failed(&mut self, wanted: u64) -> TransmitError {
        self.wait(|event| match event {
            NetEvent::TransmitFailed { token, error } if *token == wanted => Some(*error),
            _ => None,
        })
    }

    /// Turns until the sockets have counted `wanted`.
    pub fn until_counted(&mut self, counter: impl Fn(&NetCounters) -> &Counter, wanted: u64) {
        let give_up = Instant::now() + PATIENCE;
        while counter(&self.counters).value() != wanted {
            assert!(Instant::now() < give_up, "counted {:?}", counter(&self.counters));
            let soon = self.io.clock().instant() + Duration::from_millis(1);
            self.io.turn(Some(soon), &mut self.fresh).unwrap();
            self.seen.extend(self.fresh.drain(..));
        }
    }

    /// Events waiting to be picked.
    pub fn seen(&self) -> usize {
        self.seen.len()
    }
}

/// A listener on a free loopback port.
pub fn listener(id: u16, transport: Transport) -> StreamListenerConfig {
    StreamListenerConfig::new(ListenerId(id), transport, "127.0.0.1:0".parse().unwrap())
}

pub fn to(listener: u16, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Destination {
    Destination::Address { listener: ListenerId(listener), transport, local, remote }
}

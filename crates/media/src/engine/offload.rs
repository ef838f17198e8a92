//! When streams go to the in-kernel plane and when they come back: the media thread's side of [`crate::kernel`].

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use offhook_base::Instant;
use offhook_switch::media::EndpointId;

use super::{epoll::monotonic_nanos, table::PortTable};
use crate::{
    counters::Counters,
    kernel::{KernelConfig, Plane, Way},
    relay::{Course, PortId, Relay},
};

/// How long flows that a dead process left wait for their calls to be resumed.
const INHERITED_FOR: Duration = Duration::from_secs(10);

/// The plane, and what it carries for this engine.
pub struct Offload {
    plane: Plane,
    /// By [`PortId::index`] of the RTP port that packets come to.
    carried: BTreeMap<usize, SocketAddr>,
    /// Flows of a process before, by the address that packets come to.
    inherited: BTreeMap<SocketAddr, Way>,
    inherited_until: Instant,
    counters: Arc<Counters>,
}

impl Offload {
    /// Takes charge of a plane.
    pub fn new(plane: Plane, counters: Arc<Counters>, now: Instant) -> Self {
        counters.kernel.set(1);
        let inherited = plane.flows().into_iter().map(|(key, way)| (key.local(), way)).collect();
        let (carried, inherited_until) = (BTreeMap::new(), now + INHERITED_FOR);
        Self { plane, carried, inherited, inherited_until, counters }
    }

    /// Once a second: hands streams over, looks after those that seem silent, counts.
    pub fn tick(&mut self, relay: &mut Relay, ports: &PortTable, silence: Option<Duration>, now: Instant) {
        self.adopt(relay, ports, now);
        for courses in relay.carriable(now) {
            // To ourselves: whether such packets circle only user space can tell.
            if courses.iter().all(|course| ports.place_of(course.to).is_none()) {
                self.hand_over(relay, ports, courses);
            }
        }
        if let Some(silence) = silence {
            for port in relay.unheard(silence / 2, now) {
                self.sync(relay, port);
            }
        }
        let (packets, octets) = self.plane.totals();
        self.counters.kernel_packets.set(packets);
        self.counters.kernel_octets.set(octets);
        self.publish();
    }

    fn publish(&self) {
        self.counters.kernel_streams.set(self.carried.len() as u64 / 2);
    }

    fn hand_over(&mut self, relay: &mut Relay, ports: &PortTable, courses: [Course; 2]) {
        let [Some(left), Some(right)] = courses.map(|course| ports.local_of(course.port)) else { return };
        let ends = [(left, right), (right, left)];
        for (course, (local, from)) in courses.iter().zip(ends) {
            let way = Way { source: course.source, from, to: course.to };
            if !self.plane.carry(local, way, &course.tally) {
                // Both directions or none.
                let _ = self.plane.release(left);
                return;
            }
        }
        for (course, (local, _)) in courses.iter().zip(ends) {
            self.carried.insert(course.port.index(), local);
            relay.carry(course.port, course.source, &course.tally);
        }
    }

    /// Before the engine takes a packet from a port: where it belongs to a carried stream, both must agree on what came before.
    pub fn before_packet(
        &mut self,
        relay: &mut Relay,
        port: PortId,
        source: SocketAddr,
        packet: &[u8],
        now: Instant,
    ) {
        if !relay.is_carried(port) {
            return;
        }
        for port in relay.both_ways(port).into_iter().flatten() {
            self.sync(relay, port);
        }
        if relay.disturbs(port, source, packet, now) {
            self.take_back(relay, port, true, now);
        }
    }

    fn sync(&self, relay: &mut Relay, port: PortId) {
        let local = self.carried.get(&port.index());
        if let Some(tally) = local.and_then(|local| self.plane.read(*local)) {
            relay.merge(port, &tally);
        }
    }

    /// Before what holds of an endpoint changes: its streams come back to user space.
    pub fn before_change(&mut self, relay: &mut Relay, endpoint: EndpointId, now: Instant) {
        for port in relay.carried_ports(endpoint) {
            self.take_back(relay, port, false, now);
        }
    }

    fn take_back(&mut self, relay: &mut Relay, port: PortId, disturbed: bool, now: Instant) {
        for port in relay.both_ways(port).into_iter().flatten() {
            if let Some(local) = self.carried.remove(&port.index())
                && let Some(tally) = self.plane.release(local)
            {
                relay.merge(port, &tally);
            }
            relay.take_back(port, disturbed, now);
        }
        self.publish();
    }

    /// A port was bound for a new stream: nothing of an earlier one may flow through it.
    pub fn opened(&mut self, local: SocketAddr) {
        if self.inherited.remove(&local).is_some() {
            let _ = self.plane.release(local);
        }
    }

    /// Goes on with flows of a process before, as soon as their calls are joined again as they were, and ends the others.
    fn adopt(&mut self, relay: &mut Relay, ports: &PortTable, now: Instant) {
        let is_over = now >= self.inherited_until;
        for local in self.inherited.keys().copied().collect::<Vec<_>>() {
            let port = ports.place_of(local);
            let joined = port.and_then(|port| relay.both_ways(port));
            let legs = port.and_then(|port| relay.bridged(port));
            match (joined, legs) {
                (Some(_), Some(legs)) if self.agrees(ports, legs) => self.go_on(relay, ports, legs),
                // The call goes on in another way, or not at all.
                (Some(_), _) => self.opened(local),
                (None, _) if is_over => self.opened(local),
                (None, _) => {}
            }
        }
    }

    /// Whether both flows run as the bridge says that they should.
    fn agrees(&self, ports: &PortTable, legs: [(PortId, SocketAddr); 2]) -> bool {
        let [(left, left_leg), (right, right_leg)] = legs;
        let [Some(left), Some(right)] = [left, right].map(|port| ports.local_of(port)) else { return false };
        let is = |local, source, from, to| self.inherited.get(&local) == Some(&Way { source, from, to });
        is(left, left_leg, right, right_leg) && is(right, right_leg, left, left_leg)
    }

    fn go_on(&mut self, relay: &mut Relay, ports: &PortTable, legs: [(PortId, SocketAddr); 2]) {
        for (port, source) in legs {
            let Some(local) = ports.local_of(port) else { continue };
            self.inherited.remove(&local);
            let Some(tally) = self.plane.read(local) else { continue };
            self.carried.insert(port.index(), local);
            relay.merge(port, &tally);
            relay.carry(port, source, &tally);
        }
    }
}

/// Loads the in-kernel plane, or says once why not.
pub fn open_plane(
    config: &KernelConfig,
    dscp: u8,
    origin: std::time::Instant,
    counters: &Arc<Counters>,
) -> Option<Offload> {
    let elapsed = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let epoch = monotonic_nanos().saturating_sub(elapsed);
    match Plane::open(config, dscp, epoch) {
        Ok(plane) => {
            tracing::info!("the in-kernel media plane is loaded");
            Some(Offload::new(plane, counters.clone(), Instant::default()))
        }
        Err(why) => {
            tracing::info!(%why, hint = why.hint(), "media goes through user space, not through the kernel");
            None
        }
    }
}

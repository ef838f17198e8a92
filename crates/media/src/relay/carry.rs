//! Which streams somebody else may carry, and what was counted meanwhile: the seam to the in-kernel plane.
//!
//! A stream is carried in both directions or not at all. While it is, its packets do not come here; what does come is what
//! the carrier did not know, and [`Relay::disturbs`] says whether the stream must be taken back for it.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_rtp::statistics::Progress;

use super::{Component, PortId, Relay, Stream};

/// Payload types that a carrier knows of one stream.
pub const CARRIED_PAYLOAD_TYPES: usize = 4;
/// Stream pairs handed over per second at most: the media thread's other work waits meanwhile, some 10 µs each.
const HANDED_OVER_MAX: usize = 2_000;

/// Packets of one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedPayload {
    /// 0..=127.
    pub payload_type: u8,
    /// Its timestamps tell nothing of jitter (RFC 4733 §2.2).
    pub is_held: bool,
    /// Since the stream began.
    pub packets: u64,
}

/// What was counted of one direction since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By RFC 3550.
    pub progress: Progress,
    /// By payload type. Packets of others are not carried.
    pub payloads: [Option<CarriedPayload>; CARRIED_PAYLOAD_TYPES],
}

/// One direction that may be carried: packets from `source` that come to `port` go to `to` through `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Where they come to.
    pub port: PortId,
    /// Whom the port listens to.
    pub source: SocketAddr,
    /// The partner's port.
    pub through: PortId,
    /// The partner.
    pub to: SocketAddr,
    /// Where counting stands.
    pub tally: Tally,
}

impl Relay {
    /// Stream pairs that flow both ways, undisturbed and in clear or closed from end to end, and are not carried yet.
    /// Linear in the endpoints: for a tick per second.
    pub fn carriable(&self, now: Instant) -> Vec<[Course; 2]> {
        let pairs = (0..self.slots.len()).flat_map(|slot| {
            let endpoint = self.slots[slot].as_ref();
            let partner = endpoint.and_then(|endpoint| endpoint.partner).filter(|partner| slot < *partner);
            let streams = endpoint.map_or(0, |endpoint| endpoint.streams.len());
            (0..streams).filter_map(move |stream| self.courses(slot, partner?, stream, now))
        });
        pairs.take(HANDED_OVER_MAX).collect()
    }

    fn courses(&self, left: usize, right: usize, stream: usize, now: Instant) -> Option<[Course; 2]> {
        let ports = [left, right].map(|slot| PortId::new(slot, stream, Component::Rtp));
        let streams = [self.stream(ports[0])?, self.stream(ports[1])?];
        let tallies = [streams[0].tally(now)?, streams[1].tally(now)?];
        let course = |at: usize| {
            let (port, through) = (ports[at], ports[1 - at]);
            let to = streams[1 - at].destination(Component::Rtp)?;
            Some(Course { port, through, to, source: streams[at].source()?, tally: tallies[at] })
        };
        Some([course(0)?, course(1)?])
    }

    /// A pair whose packets somebody carried for a process before this one: the ports, and their two legs as described now.
    pub fn bridged(&self, port: PortId) -> Option<[(PortId, SocketAddr); 2]> {
        let partner = self.slots.get(port.slot())?.as_ref()?.partner?;
        let pair = [port.slot(), partner].map(|slot| PortId::new(slot, port.stream(), Component::Rtp));
        let to =
            |port: PortId| self.stream(port).filter(|stream| stream.is_plain())?.destination(Component::Rtp);
        Some([(pair[0], to(pair[0])?), (pair[1], to(pair[1])?)])
    }

    /// Notes that the stream of this port is carried, from here to whom it is joined with. `source` is whom it listens to.
    pub fn carry(&mut self, port: PortId, source: SocketAddr, tally: &Tally) {
        if let Some(stream) = self.stream_mut(port) {
            stream.carry(source, tally);
        }
    }

    /// True if packets to this port, or to RTCP's port beside it, belong to a stream that is carried.
    pub fn is_carried(&self, port: PortId) -> bool {
        self.stream(port).is_some_and(|stream| stream.is_carried())
    }

    /// The RTP ports of both directions of the stream that this port belongs to, its own first.
    pub fn both_ways(&self, port: PortId) -> Option<[PortId; 2]> {
        let partner = self.slots.get(port.slot())?.as_ref()?.partner?;
        Some([port.slot(), partner].map(|slot| PortId::new(slot, port.stream(), Component::Rtp)))
    }

    /// Takes what a carrier has counted of packets to `port` until now.
    pub fn merge(&mut self, port: PortId, tally: &Tally) {
        let Some([_, partner]) = self.both_ways(port) else { return };
        let Some(stream) = self.stream_mut(port) else { return };
        let carried = stream.merge(tally);
        if let Some(partner) = self.stream_mut(partner) {
            partner.note_sent(carried, tally.progress.ssrc);
        }
    }

    /// Notes that the stream of this port is not carried any more. `disturbed`: for something that may come again, so that it
    /// is not carried again at once.
    pub fn take_back(&mut self, port: PortId, disturbed: bool, now: Instant) {
        if let Some(stream) = self.stream_mut(port) {
            stream.take_back(disturbed, now);
        }
    }

    /// Whether a packet to a carried stream is one that the stream would take, which its carrier did not: then the two must
    /// not count past each other.
    pub fn disturbs(&self, port: PortId, source: SocketAddr, packet: &[u8], now: Instant) -> bool {
        port.component() == Component::Rtp
            && self.stream(port).is_some_and(|stream| stream.would_take(source, packet, now))
    }

    /// RTP ports of carried streams that were not heard for `age`, as far as is known here.
    pub fn unheard(&self, age: Duration, now: Instant) -> Vec<PortId> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(slot, endpoint)| Some((slot, endpoint.as_ref()?)))
            .flat_map(|(slot, endpoint)| {
                let streams = endpoint.streams.iter().enumerate();
                let old = streams.filter(move |(_, stream)| {
                    stream.is_carried() && stream.heard_at().is_none_or(|heard| now - heard >= age)
                });
                old.map(move |(stream, _)| PortId::new(slot, stream, Component::Rtp))
            })
            .collect()
    }

    /// The RTP ports of an endpoint's carried streams.
    pub fn carried_ports(&self, id: super::EndpointId) -> Vec<PortId> {
        let Some(&slot) = self.by_id.get(&id) else { return Vec::new() };
        let streams = (0..self.stream_count(id)).map(|stream| PortId::new(slot, stream, Component::Rtp));
        streams.filter(|port| self.is_carried(*port)).collect()
    }

    fn stream(&self, port: PortId) -> Option<&Stream> {
        self.slots.get(port.slot())?.as_ref()?.streams.get(port.stream())
    }

    fn stream_mut(&mut self, port: PortId) -> Option<&mut Stream> {
        self.slots.get_mut(port.slot())?.as_mut()?.streams.get_mut(port.stream())
    }
}

//! What the relay did, for metrics: written by the media thread, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// From an address that is not the leg's: an attack, or a leg that moved without telling.
    Stranger,
    /// SRTP that is forged, replayed, in clear, or under keys we could not use.
    NotAuthentic,
    /// Neither RTP nor RTCP nor anything else that belongs on the port; or longer than any path's MTU.
    Malformed,
    /// DTLS: keys come from signalling here (SDES), so nobody answers a handshake.
    Dtls,
    /// STUN that asks nothing we answer, or asks too often.
    Stun,
    /// The media section is on hold in this direction, or rejected.
    Held,
    /// Nothing is joined to the endpoint, or the partner has no such stream.
    Unbridged,
    /// The partner's address is not known yet.
    NoDestination,
    /// SRTP would not take the packet outwards: a repeated sequence number or too many sources.
    Unprotectable,
    /// The host's network refused to send.
    SendFailed,
    /// It would come back to us again and again: legs announced our own ports as theirs.
    Circling,
    /// Of a transcoded stream: too late to be played, a repeat, or none of its codec.
    Unplayable,
}

impl DropReason {
    /// All of them, in the order of [`Snapshot::dropped`].
    pub const ALL: [Self; 12] = [
        Self::Stranger,
        Self::NotAuthentic,
        Self::Malformed,
        Self::Dtls,
        Self::Stun,
        Self::Held,
        Self::Unbridged,
        Self::NoDestination,
        Self::Unprotectable,
        Self::SendFailed,
        Self::Circling,
        Self::Unplayable,
    ];

    /// A label for metrics: lower case with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::NotAuthentic => "not_authentic",
            Self::Malformed => "malformed",
            Self::Dtls => "dtls",
            Self::Stun => "stun",
            Self::Held => "held",
            Self::Unbridged => "unbridged",
            Self::NoDestination => "no_destination",
            Self::Unprotectable => "unprotectable",
            Self::SendFailed => "send_failed",
            Self::Circling => "circling",
            Self::Unplayable => "unplayable",
        }
    }
}

/// The counters at one moment. Each is exact; together they may be some packets apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Datagrams that went on to the other leg.
    pub packets_forwarded: u64,
    /// Their octets as sent, without IP and UDP headers.
    pub octets_forwarded: u64,
    /// STUN Binding requests answered.
    pub stun_answered: u64,
    /// Datagrams that went no further, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Endpoints open now.
    pub endpoints: u64,
    /// Ports bound now: four for a leg of two streams.
    pub ports_in_use: u64,
    /// Opens refused since the start because the range had no free pair or the address could not be bound.
    pub opens_failed: u64,
    /// How hard the Opus encoders try now, 0 to 5.
    pub effort: u64,
    /// Legs that the node itself talks with now.
    pub served: u64,
    /// Legs in rooms now.
    pub members: u64,
    /// Rooms that are recorded now.
    pub recorded_rooms: u64,
    /// Events of recordings, mostly seconds of sound, that were lost because who keeps them was too slow or is not there.
    pub recorded_lost: u64,
    /// What the in-kernel plane did; none where there is no such plane.
    pub kernel: Option<KernelSnapshot>,
}

/// The in-kernel plane's counters, a second old at most. They are not contained in the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelSnapshot {
    /// Streams carried now, both directions as one.
    pub streams: u64,
    /// Datagrams that went on to the other leg.
    pub packets: u64,
    /// Their octets as sent, without IP and UDP headers.
    pub octets: u64,
}

impl Snapshot {
    /// Datagrams that went no further for this reason.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

/// A number with one writer, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// All counters of one media thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub packets_forwarded: Counter,
    pub octets_forwarded: Counter,
    pub stun_answered: Counter,
    pub dropped: [Counter; DropReason::ALL.len()],
    pub endpoints: Counter,
    pub ports_in_use: Counter,
    pub opens_failed: Counter,
    pub effort: Counter,
    pub served: Counter,
    pub members: Counter,
    pub recorded_rooms: Counter,
    pub recorded_lost: Counter,
    /// 1 where there is a plane.
    pub kernel: Counter,
    pub kernel_streams: Counter,
    pub kernel_packets: Counter,
    pub kernel_octets: Counter,
}

impl Counters {
    pub fn count_drop(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            packets_forwarded: self.packets_forwarded.value(),
            octets_forwarded: self.octets_forwarded.value(),
            stun_answered: self.stun_answered.value(),
            dropped: std::array::from_fn(|at| self.dropped[at].value()),
            endpoints: self.endpoints.value(),
            ports_in_use: self.ports_in_use.value(),
            opens_failed: self.opens_failed.value(),
            effort: self.effort.value(),
            served: self.served.value(),
            members: self.members.value(),
            recorded_rooms: self.recorded_rooms.value(),
            recorded_lost: self.recorded_lost.value(),
            kernel: (self.kernel.value() > 0).then(|| KernelSnapshot {
                streams: self.kernel_streams.value(),
                packets: self.kernel_packets.value(),
                octets: self.kernel_octets.value(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_place() {
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{}", reason.name());
        }
    }
}

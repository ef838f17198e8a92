//! What the maps hold: `bpf/flow.h`, octet for octet.
#![expect(unsafe_code, reason = "plain octets are shared with the kernel")]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use offhook_base::Instant;
use offhook_rtp::{rtp::Ssrc, statistics::Progress};

use crate::relay::{CARRIED_PAYLOAD_TYPES, Tally};

/// Counted up with every change of `bpf/flow.h`: a plane that another version of the program left behind is not taken over.
pub const LAYOUT: u32 = 1;
/// No payload type.
pub const NO_PAYLOAD_TYPE: u8 = u8::MAX;

/// Where packets come to: an address and port of ours.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    address: [u8; 16],
    port: [u8; 2],
    family: u16,
}

impl Key {
    /// Of a bound port.
    pub fn new(local: SocketAddr) -> Self {
        Self {
            address: octets(local.ip()),
            port: local.port().to_be_bytes(),
            family: family(local.ip()).into(),
        }
    }

    /// The port's address.
    pub fn local(&self) -> SocketAddr {
        address(self.family as u8, self.address, self.port)
    }
}

/// What RFC 3550 wants counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    packets: u64,
    octets: u64,
    payload_packets: [u64; CARRIED_PAYLOAD_TYPES],
    newest: u64,
    first: u64,
    seen: u64,
    received: u64,
    settled: [u64; 5],
    reordered: u64,
    late: u64,
    duplicates: u64,
    last_arrival: u64,
    gap_max: u64,
    jitter: u64,
    jitter_max: u64,
    transit: u32,
    has_transit: u32,
}

/// One direction of a stream.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    lock: u32,
    pub interface: u32,
    source: [u8; 16],
    from: [u8; 16],
    to: [u8; 16],
    source_port: [u8; 2],
    from_port: [u8; 2],
    to_port: [u8; 2],
    family: u8,
    traffic_class: u8,
    ssrc: [u8; 4],
    clock_rate: u32,
    payload_types: [u8; CARRIED_PAYLOAD_TYPES],
    held: u8,
    reserved: [u8; 3],
    epoch: u64,
    counted: Counted,
}

/// Of all streams, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub packets: u64,
    pub octets: u64,
}

// SAFETY: all of them are `repr(C)`, hold numbers only, and have no padding: their sizes are asserted below.
unsafe impl aya::Pod for Key {}
// SAFETY: as above.
unsafe impl aya::Pod for Flow {}
// SAFETY: as above.
unsafe impl aya::Pod for Total {}

const _: () = {
    assert!(size_of::<Key>() == 20);
    assert!(size_of::<Counted>() == 8 * (2 + CARRIED_PAYLOAD_TYPES + 4 + 5 + 3 + 2 + 2 + 1));
    assert!(size_of::<Flow>() == 88 + size_of::<Counted>());
};

/// The way of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Who may send.
    pub source: SocketAddr,
    /// Our address towards the other leg.
    pub from: SocketAddr,
    /// The other leg.
    pub to: SocketAddr,
}

impl Flow {
    /// `traffic_class`: the whole octet. `epoch`: CLOCK_MONOTONIC at time zero of the tally, in nanoseconds.
    pub fn new(way: Way, interface: u32, traffic_class: u8, tally: &Tally, epoch: u64) -> Self {
        let mut flow = Self {
            lock: 0,
            interface,
            source: octets(way.source.ip()),
            from: octets(way.from.ip()),
            to: octets(way.to.ip()),
            source_port: way.source.port().to_be_bytes(),
            from_port: way.from.port().to_be_bytes(),
            to_port: way.to.port().to_be_bytes(),
            family: family(way.to.ip()),
            traffic_class,
            ssrc: tally.progress.ssrc.0.to_be_bytes(),
            clock_rate: tally.progress.clock_rate,
            payload_types: [NO_PAYLOAD_TYPE; CARRIED_PAYLOAD_TYPES],
            held: 0,
            reserved: [0; 3],
            epoch,
            counted: Counted::new(&tally.progress),
        };
        for (slot, payload) in tally.payloads.iter().enumerate() {
            if let Some(payload) = payload {
                flow.payload_types[slot] = payload.payload_type;
                flow.held |= u8::from(payload.is_held) << slot;
                flow.counted.payload_packets[slot] = payload.packets;
            }
        }
        flow
    }

    pub fn way(&self) -> Way {
        Way {
            source: address(self.family, self.source, self.source_port),
            from: address(self.family, self.from, self.from_port),
            to: address(self.family, self.to, self.to_port),
        }
    }

    /// What was counted, in the time that has its zero at `epoch`.
    pub fn tally(&self, epoch: u64) -> Tally {
        let mut tally = Tally { progress: self.counted.progress(self), ..Tally::default() };
        for (slot, payload) in tally.payloads.iter_mut().enumerate() {
            if self.payload_types[slot] != NO_PAYLOAD_TYPE {
                *payload = Some(crate::relay::CarriedPayload {
                    payload_type: self.payload_types[slot],
                    is_held: self.held >> slot & 1 == 1,
                    packets: self.counted.payload_packets[slot],
                });
            }
        }
        if epoch != self.epoch {
            // Counted for a process that is gone. Arrivals of before this one's start are its start.
            let arrival = (self.epoch + self.counted.last_arrival).saturating_sub(epoch);
            tally.progress.last_arrival = Instant::from_driver_nanos(arrival);
            tally.progress.transit = None;
        }
        tally
    }
}

impl Counted {
    fn new(progress: &Progress) -> Self {
        Self {
            packets: progress.packets,
            octets: progress.octets,
            payload_packets: [0; CARRIED_PAYLOAD_TYPES],
            newest: progress.newest,
            first: progress.first,
            seen: progress.seen,
            received: progress.received,
            settled: progress.settled,
            reordered: progress.reordered,
            late: progress.late,
            duplicates: progress.duplicates,
            last_arrival: progress.last_arrival.as_nanos(),
            gap_max: 0,
            jitter: progress.jitter,
            jitter_max: 0,
            transit: progress.transit.unwrap_or_default(),
            has_transit: progress.transit.is_some().into(),
        }
    }

    fn progress(&self, flow: &Flow) -> Progress {
        Progress {
            ssrc: Ssrc(u32::from_be_bytes(flow.ssrc)),
            clock_rate: flow.clock_rate,
            packets: self.packets,
            octets: self.octets,
            newest: self.newest,
            first: self.first,
            seen: self.seen,
            received: self.received,
            settled: self.settled,
            reordered: self.reordered,
            late: self.late,
            duplicates: self.duplicates,
            last_arrival: Instant::from_driver_nanos(self.last_arrival),
            gap_max: Duration::from_nanos(self.gap_max),
            jitter: self.jitter,
            jitter_max: self.jitter_max,
            transit: (self.has_transit != 0).then_some(self.transit),
        }
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
    }
}

fn address(family: u8, octets: [u8; 16], port: [u8; 2]) -> SocketAddr {
    let [a, b, c, d, ..] = octets;
    let ip = match family {
        4 => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(octets).into(),
    };
    SocketAddr::new(ip, u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::CarriedPayload;

    fn tally() -> Tally {
        let progress = Progress {
            ssrc: Ssrc(0x0102_0304),
            clock_rate: 8000,
            packets: 100,
            last_arrival: Instant::from_driver_nanos(5_000),
            transit: Some(9),
            settled: [1, 2, 3, 4, 5],
            ..Progress::default()
        };
        let mut tally = Tally { progress, ..Tally::default() };
        tally.payloads[0] = Some(CarriedPayload { payload_type: 8, is_held: false, packets: 90 });
        tally.payloads[2] = Some(CarriedPayload { payload_type: 101, is_held: true, packets: 10 });
        tally
    }

    #[test]
    fn what_goes_in_comes_out_in_either_family() {
        for [source, from, to] in [
            ["192.0.2.1:4000", "198.51.100.1:20000", "203.0.113.1:6000"],
            ["[2001:db8::1]:4000", "[2001:db8::2]:20000", "[2001:db8::3]:6000"],
        ] {
            let [source, from, to] = [source, from, to].map(|text| text.parse().unwrap());
            let way = Way { source, from, to };
            let flow = Flow::new(way, 7, 184, &tally(), 1_000);
            assert_eq!((flow.way(), flow.tally(1_000)), (way, tally()));
            assert_eq!(Key::new(from).local(), from);
        }
    }

    #[test]
    fn arrivals_counted_for_another_process_are_told_in_this_ones_time() {
        let [source, from, to] =
            ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"].map(|text| text.parse().unwrap());
        let flow = Flow::new(Way { source, from, to }, 7, 184, &tally(), 1_000);
        let later = flow.tally(4_000).progress;
        assert_eq!((later.last_arrival.as_nanos(), later.transit), (2_000, None));
        assert_eq!(flow.tally(9_000).progress.last_arrival, Instant::default());
    }
}

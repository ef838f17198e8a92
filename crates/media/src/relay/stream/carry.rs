//! What a stream tells its carrier, and takes from it.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_rtp::{
    demux::{DatagramClass, classify},
    rtp::{Header, SequenceNumber, Ssrc},
};

use super::Stream;
use crate::relay::carry::Tally;

/// Packets after which a stream counts as established: half a second of audio.
const STEADY_PACKETS: u64 = 25;
/// A stream that was not heard for so long is not undisturbed.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a stream that was disturbed stays in user space; doubled each time, up to the highest, since a phone that sends
/// what no carrier knows would be handed to and fro. The first time it goes back at once: that was mostly a packet which
/// waited at our socket when the stream was handed over.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(64);

/// Whether somebody else carries the stream.
#[derive(Debug, Default)]
pub struct Carriage {
    is_carried: bool,
    since: Instant,
    /// Not before this time.
    rests_until: Instant,
    /// For the next time that it is disturbed.
    rest: Duration,
}

impl Stream {
    /// True if packets of its sections cross unchanged, both ways.
    pub fn is_plain(&self) -> bool {
        !self.is_opaque
            && self.receives()
            && self.config.sends
            && self.crypto.is_through()
            && !self.is_transcoded()
    }

    /// Where counting stands, if the stream may be carried.
    pub fn tally(&self, now: Instant) -> Option<Tally> {
        let may = self.is_plain() && !self.carriage.is_carried && now >= self.carriage.rests_until;
        let progress = self.statistics.progress().filter(|_| may)?;
        let is_steady = progress.packets >= STEADY_PACKETS
            && now - progress.last_arrival < PAUSE_MAX
            && self.media.ssrc() == Some(progress.ssrc);
        is_steady.then(|| Tally { progress, payloads: self.payloads.carriable(progress.clock_rate) })
    }

    pub fn is_carried(&self) -> bool {
        self.carriage.is_carried
    }

    pub fn carry(&mut self, source: SocketAddr, tally: &Tally) {
        self.carriage.is_carried = true;
        self.carriage.since = tally.progress.last_arrival;
        self.hold(source, tally);
    }

    /// Its latch stays with whom the carrier listens to, as if each packet had come here.
    fn hold(&mut self, source: SocketAddr, tally: &Tally) {
        let progress = &tally.progress;
        let newest = SequenceNumber(progress.newest as u16);
        self.media.go_on(source, (progress.ssrc, newest), progress.last_arrival);
        self.heard_at = Some(progress.last_arrival);
    }

    /// Takes what was counted; how many packets are new.
    pub fn merge(&mut self, tally: &Tally) -> u64 {
        let before = self.statistics.report().packets;
        self.statistics.go_on_from(&tally.progress);
        self.payloads.go_on_from(&tally.payloads);
        if let Some(source) = self.media.source() {
            self.hold(source, tally);
        }
        tally.progress.packets.saturating_sub(before)
    }

    /// Counts packets that somebody else sent to the leg.
    pub fn note_sent(&mut self, packets: u64, ssrc: Ssrc) {
        if packets > 0 {
            self.sent += packets;
            self.sent_ssrc = Some(ssrc);
        }
    }

    pub fn take_back(&mut self, disturbed: bool, now: Instant) {
        self.carriage.is_carried = false;
        if disturbed {
            let was_long = now - self.carriage.since >= REST_MAX;
            let rest = if was_long { Duration::ZERO } else { self.carriage.rest };
            self.carriage.rests_until = now + rest;
            self.carriage.rest = (2 * rest).clamp(REST, REST_MAX);
        }
    }

    /// Whether it would take this packet for media.
    pub fn would_take(&self, source: SocketAddr, packet: &[u8], now: Instant) -> bool {
        let Ok(header) = Header::parse(packet) else { return false };
        let trace = Some((header.ssrc(), header.sequence_number()));
        let plausible = self.payloads.contains(header.payload_type());
        classify(packet) == DatagramClass::Rtp && self.media.admit(source, trace, plausible, now).is_some()
    }
}

//! What a receiver can say of a stream: counts, loss, order, jitter (RFC 3550 appendix A) and round trip (§6.4.1).
//!
//! [`StreamStatistics`] follows one direction of a call across changes of SSRC and restarts of the sequence number,
//! and adds them up; where several sources share a port for good (video with retransmission), keep one for each.
//! Losses are settled only when a packet is [`SETTLE_PACKETS`] behind the newest: until then
//! it may still be merely late, so reordering within that window never counts as loss, nor breaks a burst in two.

mod jitter;
mod loss;
mod progress;
mod round_trip;

pub use loss::SETTLE_PACKETS;
pub use progress::Progress;
pub use round_trip::RoundTripMeter;

use std::time::Duration;

use offhook_base::Instant;

use crate::{
    rtcp::ReportBlock,
    rtp::{Header, SequenceNumber, Ssrc},
};
use jitter::Jitter;
use loss::{Arrival, LossTally, SequenceWindow};

/// Whether a packet's timestamp follows its sampling, and so tells of jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Audio and video in the stream's clock.
    Sampled,
    /// Telephone events repeat their start, and may run on another clock: left out of the jitter.
    Held,
}

/// A snapshot of [`StreamStatistics`]. Counts are sums over all sources of the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceptionReport {
    /// The newest source; none before the first packet.
    pub ssrc: Option<Ssrc>,
    /// Packets received, duplicates included.
    pub packets: u64,
    /// Payload bytes received, duplicates included.
    pub octets: u64,
    /// Packets that the sequence numbers say were sent.
    pub expected: u64,
    /// Of those, never received. Gaps at the newest end count as soon as a later packet shows them.
    pub lost: u64,
    /// Received a second time.
    pub duplicates: u64,
    /// Received after a later one.
    pub reordered: u64,
    /// Received so late that they were already counted as lost.
    pub late: u64,
    /// Runs of consecutive losses.
    pub loss_bursts: u64,
    /// Longest of them, in packets.
    pub loss_burst_packets_max: u64,
    /// Mean length of a run over that of random loss: 1.0 is random or none. ITU-T G.107's BurstR.
    pub burst_ratio: f64,
    /// Times the sequence number leapt without a change of SSRC.
    pub restarts: u64,
    /// Times another source took the stream over.
    pub ssrc_changes: u64,
    /// Interarrival jitter now, in milliseconds. RFC 3550 §A.8.
    pub jitter_ms: f64,
    /// The highest it has been.
    pub jitter_ms_max: f64,
    /// Longest time between two packets, in milliseconds; silence suppression shows here too.
    pub gap_ms_max: f64,
}

impl ReceptionReport {
    /// Share of packets lost: 0.0–1.0.
    pub fn loss(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { self.lost as f64 / self.expected as f64 }
    }
}

/// Follows one received direction. Constant memory; constant time per packet.
#[derive(Clone, Debug)]
pub struct StreamStatistics {
    clock_rate: u32,
    source: Option<Source>,
    /// Settled losses of all sources.
    tally: LossTally,
    /// A packet of another source; a second one after it, in order, proves that it took over.
    candidate: Option<(Ssrc, SequenceNumber)>,
    /// Sums that grow by one.
    report: ReceptionReport,
    jitter_max_ms: f64,
    last_arrival: Option<Instant>,
}

/// What starts afresh with each source and each restart.
#[derive(Clone, Debug)]
struct Source {
    ssrc: Ssrc,
    window: SequenceWindow,
    jitter: Jitter,
    /// At the report before: expected and received. RFC 3550 §A.3.
    reported: (u64, u64),
}

impl StreamStatistics {
    /// For a stream whose codec has this clock, in Hz as `a=rtpmap` says; 8000 if it says 0, which no clock can be.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: valid_rate(clock_rate),
            source: None,
            tally: LossTally::default(),
            candidate: None,
            report: ReceptionReport::default(),
            jitter_max_ms: 0.0,
            last_arrival: None,
        }
    }

    /// Takes another codec's clock: the jitter begins afresh, since timestamps of two clocks cannot be compared
    /// (RFC 7160 §4).
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        if valid_rate(clock_rate) != self.clock_rate {
            self.clock_rate = valid_rate(clock_rate);
            if let Some(source) = &mut self.source {
                source.jitter = Jitter::default();
            }
        }
    }

    /// Takes a packet that arrived `now` with this many bytes of payload.
    pub fn handle_packet(&mut self, header: &Header<'_>, payload_len: usize, timing: Timing, now: Instant) {
        self.report.packets += 1;
        self.report.octets += payload_len as u64;
        if let Some(last) = self.last_arrival.replace(now) {
            self.report.gap_ms_max = self.report.gap_ms_max.max(millis(now - last));
        }
        let (ssrc, sequence_number) = (header.ssrc(), header.sequence_number());
        let counts = match &mut self.source {
            None => {
                self.begin(ssrc, sequence_number);
                true
            }
            Some(source) if source.ssrc == ssrc => {
                self.candidate = None;
                let arrival = source.window.insert(sequence_number, &mut self.tally);
                self.handle_arrival(arrival, ssrc, sequence_number)
            }
            Some(_) => self.handle_other_source(ssrc, sequence_number),
        };
        if !counts {
            return;
        }
        if timing == Timing::Sampled
            && let Some(source) = &mut self.source
        {
            source.jitter.handle_packet(header.timestamp(), now, self.clock_rate);
            self.jitter_max_ms = self.jitter_max_ms.max(source.jitter.millis(self.clock_rate));
        }
    }

    /// False for packets that tell nothing of the stream's timing.
    fn handle_arrival(&mut self, arrival: Arrival, ssrc: Ssrc, sequence_number: SequenceNumber) -> bool {
        match arrival {
            Arrival::InOrder => {}
            Arrival::Reordered => self.report.reordered += 1,
            Arrival::Late => self.report.late += 1,
            Arrival::Duplicate => self.report.duplicates += 1,
            Arrival::Suspect => {}
            Arrival::Restart => {
                self.report.restarts += 1;
                self.begin_with_two(ssrc, sequence_number);
            }
        }
        !matches!(arrival, Arrival::Duplicate | Arrival::Suspect)
    }

    /// A packet of a source that is not the current one: it takes over with its second packet in order, so that a
    /// stray or an interleaved second source does not tear the statistics apart (RFC 3550 §A.1's probation).
    fn handle_other_source(&mut self, ssrc: Ssrc, sequence_number: SequenceNumber) -> bool {
        let took_over = self.candidate == Some((ssrc, sequence_number.previous()));
        if took_over {
            self.candidate = None;
            self.report.ssrc_changes += 1;
            self.begin_with_two(ssrc, sequence_number);
        } else {
            self.candidate = Some((ssrc, sequence_number));
        }
        took_over
    }

    /// Begins with the packet that raised the suspicion and the one that confirmed it.
    fn begin_with_two(&mut self, ssrc: Ssrc, second: SequenceNumber) {
        self.begin(ssrc, second.previous());
        if let Some(source) = &mut self.source {
            source.window.insert(second, &mut self.tally);
        }
    }

    fn begin(&mut self, ssrc: Ssrc, sequence_number: SequenceNumber) {
        if let Some(source) = self.source.take() {
            source.window.settle_all(&mut self.tally);
        }
        let window = SequenceWindow::starting_at(sequence_number);
        self.source = Some(Source { ssrc, window, jitter: Jitter::default(), reported: (0, 0) });
    }

    /// When the last packet came; none before the first. For silence detection.
    pub const fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    /// The whole picture. Some hundred steps: for reports, not for every packet.
    pub fn report(&self) -> ReceptionReport {
        let mut tally = self.tally;
        if let Some(source) = &self.source {
            source.window.settle_all(&mut tally);
        }
        ReceptionReport {
            ssrc: self.source.as_ref().map(|source| source.ssrc),
            expected: tally.expected,
            lost: tally.lost,
            loss_bursts: tally.bursts,
            loss_burst_packets_max: tally.burst_max,
            burst_ratio: tally.burst_ratio(),
            jitter_ms: self.source.as_ref().map_or(0.0, |source| source.jitter.millis(self.clock_rate)),
            jitter_ms_max: self.jitter_max_ms,
            ..self.report
        }
    }

    /// The report block on the newest source for our own RTCP, and the start of the next interval (RFC 3550 §A.3).
    /// LSR and DLSR are left zero: [`RoundTripMeter`]'s owner knows the sender reports.
    pub fn report_block(&mut self) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        let (expected, received) = (source.window.expected(), source.window.received());
        let (expected_before, received_before) =
            std::mem::replace(&mut source.reported, (expected, received));
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        let lost = i64::try_from(expected).unwrap_or(i64::MAX) - i64::try_from(received).unwrap_or(i64::MAX);
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest_sequence: source.window.extended_highest(),
            jitter: source.jitter.units(),
            ..ReportBlock::default()
        })
    }
}

const fn valid_rate(clock_rate: u32) -> u32 {
    if clock_rate == 0 { 8000 } else { clock_rate }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{FixedHeader, PacketWriter, PayloadType, Timestamp};

    /// Feeds packets of 20 ms audio: SSRC, sequence number, arrival in ms.
    fn feed(statistics: &mut StreamStatistics, packets: impl IntoIterator<Item = (u32, u16, u64)>) {
        for (ssrc, sequence_number, millis) in packets {
            let header = FixedHeader {
                marker: false,
                payload_type: PayloadType::PCMA,
                sequence_number: SequenceNumber(sequence_number),
                timestamp: Timestamp(160 * u32::from(sequence_number)),
                ssrc: Ssrc(ssrc),
            };
            let mut buffer = [0; 172];
            PacketWriter::new(header, &[0; 160]).write(&mut buffer).unwrap();
            let now = Instant::from_driver_nanos(millis * 1_000_000);
            statistics.handle_packet(&Header::parse(&buffer).unwrap(), 160, Timing::Sampled, now);
        }
    }

    #[test]
    fn a_clean_stream_reports_clean() {
        let mut statistics = StreamStatistics::new(8000);
        feed(&mut statistics, (0..500).map(|n| (1, n, 20 * u64::from(n))));
        let report = statistics.report();
        let expected = ReceptionReport {
            ssrc: Some(Ssrc(1)),
            packets: 500,
            octets: 80_000,
            expected: 500,
            burst_ratio: 1.0,
            gap_ms_max: 20.0,
            ..ReceptionReport::default()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn another_source_takes_over_with_its_second_packet_and_losses_add_up() {
        let mut statistics = StreamStatistics::new(8000);
        feed(&mut statistics, (0..100).filter(|n| n % 10 != 5).map(|n| (1, n, 20 * u64::from(n))));
        feed(
            &mut statistics,
            (0..100).filter(|n| *n != 50).map(|n| (2, 40_000 + n, 2000 + 20 * u64::from(n))),
        );
        let report = statistics.report();
        assert_eq!((report.ssrc, report.ssrc_changes, report.restarts), (Some(Ssrc(2)), 1, 0));
        assert_eq!((report.expected, report.lost, report.loss_bursts), (200, 11, 11));
    }

    #[test]
    fn an_interleaved_second_source_does_not_tear_the_statistics_apart() {
        let mut statistics = StreamStatistics::new(8000);
        feed(
            &mut statistics,
            (0..200).map(|n| (1 + u32::from(n % 2), 500 * (n % 2) + n / 2, 10 * u64::from(n))),
        );
        let report = statistics.report();
        assert_eq!((report.packets, report.expected, report.lost), (200, 100, 0));
        assert_eq!((report.ssrc_changes, report.ssrc), (0, Some(Ssrc(1))));
    }

    #[test]
    fn a_restart_of_the_sequence_is_not_a_loss_of_thousands() {
        let mut statistics = StreamStatistics::new(8000);
        feed(&mut statistics, (0..100).map(|n| (1, n, 20 * u64::from(n))));
        feed(&mut statistics, (0..100).map(|n| (1, 20_000 + n, 2000 + 20 * u64::from(n))));
        let report = statistics.report();
        assert_eq!((report.expected, report.lost, report.restarts), (200, 0, 1));
        assert!(
            report.jitter_ms_max < 0.01,
            "a leap of the timestamp is not jitter: {}",
            report.jitter_ms_max
        );
    }

    #[test]
    fn each_report_block_tells_of_its_own_interval() {
        let mut statistics = StreamStatistics::new(8000);
        assert_eq!(statistics.report_block(), None);
        feed(&mut statistics, (0..100).filter(|n| n % 4 != 1).map(|n| (1, n, 20 * u64::from(n))));
        let block = statistics.report_block().unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (64, 25));
        assert_eq!((block.ssrc, block.extended_highest_sequence), (Ssrc(1), 99));
        feed(&mut statistics, (100..200).map(|n| (1, n, 20 * u64::from(n))));
        let block = statistics.report_block().unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 25));
    }
}

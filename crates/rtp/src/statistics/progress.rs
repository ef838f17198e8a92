//! Statistics in a plain form, so that somebody else can go on counting: the in-kernel relay plane, or the next process.

use std::time::Duration;

use offhook_base::Instant;

use super::{
    Source, StreamStatistics,
    jitter::Jitter,
    loss::{LossTally, SequenceWindow},
    millis,
};
use crate::rtp::Ssrc;

/// Where the statistics of an undisturbed stream stand. The two highest values are those since it was handed over: what was
/// before stays with whom it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The one source.
    pub ssrc: Ssrc,
    /// Of the codec, Hz.
    pub clock_rate: u32,
    /// Received, duplicates included.
    pub packets: u64,
    /// Octets of payload received.
    pub octets: u64,
    /// Newest sequence number, counted with its turns from one turn before the first packet's.
    pub newest: u64,
    /// That of the first packet.
    pub first: u64,
    /// Bit n: the packet `newest - n` came.
    pub seen: u64,
    /// Received from this source, copies and very late ones left out.
    pub received: u64,
    /// Settled: expected, lost, bursts of losses, the longest, and the run at the newest settled packet.
    pub settled: [u64; 5],
    /// Received after a later one.
    pub reordered: u64,
    /// Received after they counted as lost.
    pub late: u64,
    /// Received a second time.
    pub duplicates: u64,
    /// When the last packet came.
    pub last_arrival: Instant,
    /// Longest time between two packets since the handing over.
    pub gap_max: Duration,
    /// Sixteen times the jitter, in units of the clock.
    pub jitter: u64,
    /// Its highest since the handing over.
    pub jitter_max: u64,
    /// Arrival less timestamp of the packet before, modulo 2^32, in units of the clock.
    pub transit: Option<u32>,
}

impl StreamStatistics {
    /// Where it stands; none before the first packet, and while a second source or a leap of the sequence number is
    /// suspected.
    pub fn progress(&self) -> Option<Progress> {
        let source = self.source.as_ref().filter(|source| source.window.is_undisturbed())?;
        let window = &source.window;
        if self.candidate.is_some() {
            return None;
        }
        Some(Progress {
            ssrc: source.ssrc,
            clock_rate: self.clock_rate,
            packets: self.report.packets,
            octets: self.report.octets,
            newest: window.newest,
            first: window.first,
            seen: window.seen,
            received: window.received,
            settled: self.tally.to_numbers(),
            reordered: self.report.reordered,
            late: self.report.late,
            duplicates: self.report.duplicates,
            last_arrival: self.last_arrival?,
            gap_max: Duration::ZERO,
            jitter: source.jitter.scaled,
            jitter_max: 0,
            transit: source.jitter.transit,
        })
    }

    /// Goes on from where somebody else has got to.
    pub fn go_on_from(&mut self, progress: &Progress) {
        self.clock_rate = super::valid_rate(progress.clock_rate);
        self.candidate = None;
        self.report.packets = progress.packets;
        self.report.octets = progress.octets;
        self.report.reordered = progress.reordered;
        self.report.late = progress.late;
        self.report.duplicates = progress.duplicates;
        self.report.gap_ms_max = self.report.gap_ms_max.max(millis(progress.gap_max));
        self.last_arrival = Some(progress.last_arrival);
        self.tally = LossTally::from_numbers(progress.settled);
        let jitter_of = |scaled, transit| Jitter { transit, scaled };
        let highest = jitter_of(progress.jitter_max, None).millis(self.clock_rate);
        self.jitter_max_ms = self.jitter_max_ms.max(highest);
        let reported = self.source.as_ref().filter(|source| source.ssrc == progress.ssrc);
        self.source = Some(Source {
            ssrc: progress.ssrc,
            window: SequenceWindow::from_progress(progress),
            jitter: jitter_of(progress.jitter, progress.transit),
            reported: reported.map_or((0, 0), |source| source.reported),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        rtp::{FixedHeader, Header, PacketWriter, PayloadType, SequenceNumber, Timestamp},
        statistics::Timing,
    };

    fn feed(statistics: &mut StreamStatistics, sequence_number: u16, nanos: u64) {
        let header = FixedHeader {
            marker: false,
            payload_type: PayloadType::PCMA,
            sequence_number: SequenceNumber(sequence_number),
            timestamp: Timestamp(160 * u32::from(sequence_number)),
            ssrc: Ssrc(7),
        };
        let mut buffer = [0; 172];
        PacketWriter::new(header, &[0; 160]).write(&mut buffer).unwrap();
        let now = Instant::from_driver_nanos(nanos);
        statistics.handle_packet(&Header::parse(&buffer).unwrap(), 160, Timing::Sampled, now);
    }

    proptest! {
        /// Goal: whoever takes over loses nothing. Method: one counts throughout, the other is handed over at every
        /// undisturbed moment, to itself or to a fresh one.
        #[test]
        fn handing_over_changes_no_report(
            steps in prop::collection::vec((-70i32..80, 0u64..60_000_000), 1..200),
            to_fresh in any::<bool>(),
        ) {
            let (mut whole, mut handed) = (StreamStatistics::new(8000), StreamStatistics::new(8000));
            let (mut number, mut nanos) = (1000i32, 0);
            for (step, wait) in steps {
                number += step.clamp(-60, 79);
                nanos += wait;
                feed(&mut whole, number as u16, nanos);
                feed(&mut handed, number as u16, nanos);
                if let Some(progress) = handed.progress() {
                    let mut next = if to_fresh { StreamStatistics::new(8000) } else { handed.clone() };
                    next.jitter_max_ms = handed.jitter_max_ms;
                    next.report = handed.report;
                    next.go_on_from(&progress);
                    handed = next;
                }
            }
            prop_assert_eq!(whole.report(), handed.report());
            prop_assert_eq!(whole.report_block(), handed.report_block());
        }
    }
}

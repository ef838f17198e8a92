//! One received stream, and what is to be said of it.

use offhook_base::Instant;
use offhook_codec::{G711, LevelMeter};
use offhook_rtp::{
    emodel::{self, CodecImpairment, Transmission},
    rtp::Packet,
    statistics::{StreamStatistics, Timing},
};

use super::MediaTotals;

/// Packets that a stream must have before it is judged: a few stray ones are no conversation.
const PACKETS_MIN: u64 = 10;
/// The clock of the payload types that are judged, Hz.
const CLOCK_RATE: u32 = 8000;
/// Samples that are looked at of one packet: 100 ms.
const SAMPLES_MAX: usize = 800;

/// A stream from one source.
#[derive(Debug)]
pub struct Ear {
    statistics: StreamStatistics,
    /// How much its codec costs, once a packet has told which it is.
    codec: Option<CodecImpairment>,
    level: LevelMeter,
    last_ms: u64,
}

impl Default for Ear {
    fn default() -> Self {
        let statistics = StreamStatistics::new(CLOCK_RATE);
        Self { statistics, codec: None, level: LevelMeter::new(), last_ms: 0 }
    }
}

impl Ear {
    /// Takes a packet.
    pub fn hear(&mut self, packet: &Packet<'_>, now: Instant) {
        self.last_ms = now.as_nanos() / 1_000_000;
        let header = packet.header();
        let (codec, law) = match header.payload_type().as_u8() {
            0 => (Some(CodecImpairment::G711), Some(G711::MuLaw)),
            8 => (Some(CodecImpairment::G711), Some(G711::ALaw)),
            9 => (Some(CodecImpairment::G722), None),
            18 => (Some(CodecImpairment::G729), None),
            _ => (None, None),
        };
        // Keys, and codecs whose clock nobody has told us, say nothing of the jitter.
        let timing = if codec.is_some() { Timing::Sampled } else { Timing::Held };
        self.codec = self.codec.or(codec);
        self.statistics.handle_packet(header, packet.payload().len(), timing, now);
        if let Some(law) = law {
            let mut samples = [0; SAMPLES_MAX];
            let count = law.decode(packet.payload(), &mut samples);
            self.level.feed(&samples[..count]);
        }
    }

    /// When its last packet came, ms.
    pub const fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Adds what is to be said of it.
    pub fn add_to(&self, totals: &mut MediaTotals) {
        let report = self.statistics.report();
        totals.expected += report.expected;
        totals.lost += report.lost;
        totals.late += report.late;
        totals.duplicates += report.duplicates;
        if report.packets < PACKETS_MIN {
            return;
        }
        totals.streams += 1;
        let Some(codec) = self.codec else { return };
        totals.jitter_ms.take(report.jitter_ms_max);
        let transmission =
            Transmission { loss: report.loss(), burst_ratio: report.burst_ratio, ..Transmission::default() };
        totals.mos.take(emodel::rate(codec, transmission).mos);
        if self.level.samples() > 0 {
            totals.level_dbm0.take(self.level.level().0);
        }
    }
}

#[cfg(test)]
mod tests {
    use offhook_rtp::rtp::{FixedHeader, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp};

    use super::*;

    fn hear(lost: impl Fn(u16) -> bool) -> MediaTotals {
        let mut ear = Ear::default();
        for number in (0..500_u16).filter(|number| !lost(*number)) {
            let header = FixedHeader {
                marker: false,
                payload_type: PayloadType::PCMA,
                sequence_number: SequenceNumber(number),
                timestamp: Timestamp(u32::from(number) * 160),
                ssrc: Ssrc(1),
            };
            let mut bytes = [0; 172];
            PacketWriter::new(header, &[0x2a; 160]).write(&mut bytes).expect("there is room");
            let packet = Packet::parse(&bytes).expect("it is RTP");
            ear.hear(&packet, Instant::from_driver_nanos(u64::from(number) * 20_000_000));
        }
        let mut totals = MediaTotals::default();
        ear.add_to(&mut totals);
        totals
    }

    #[test]
    fn a_whole_stream_is_good_and_one_with_holes_is_not() {
        let good = hear(|_| false);
        assert_eq!((good.streams, good.expected, good.lost), (1, 500, 0));
        assert!(good.mos.min() > 4.3 && good.jitter_ms.max() < 0.1, "{good:?}");
        let bad = hear(|number| number % 10 == 5);
        assert_eq!((bad.lost, bad.expected), (50, 500));
        assert!(bad.mos.min() < 3.0, "{bad:?}");
    }
}

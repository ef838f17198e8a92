//! One received stream, and what is to be said of it.

use offhook_base::Instant;
use offhook_codec::{Decoder, G711, LevelMeter, VoiceCodec};
use offhook_rtp::{
    emodel::{self, CodecImpairment, Transmission},
    rtp::Packet,
    statistics::{StreamStatistics, Timing},
};

use super::{
    MediaTotals,
    pattern::{Check, Pattern},
};

/// Packets that a stream must have before it is judged: a few stray ones are no conversation.
const PACKETS_MIN: u64 = 10;
/// The clock of streams whose codec is not known yet, Hz.
const CLOCK_RATE: u32 = 8000;
/// Samples that are looked at of one packet: 100 ms.
const SAMPLES_MAX: usize = 800;

/// What is known of streams before they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hearing {
    /// The payload type of Opus.
    pub opus: Option<u8>,
    /// What they should say.
    pub pattern: Option<Pattern>,
}

/// A stream from one source.
#[derive(Debug)]
pub struct Ear {
    statistics: StreamStatistics,
    /// How much its codec costs, once a packet has told which it is.
    codec: Option<CodecImpairment>,
    level: LevelMeter,
    decoder: Option<Box<Decoder>>,
    check: Option<Box<Check>>,
    last_ms: u64,
}

impl Default for Ear {
    fn default() -> Self {
        let statistics = StreamStatistics::new(CLOCK_RATE);
        Self { statistics, codec: None, level: LevelMeter::new(), decoder: None, check: None, last_ms: 0 }
    }
}

impl Ear {
    /// Takes a packet; `sound` is room for its samples.
    pub fn hear(&mut self, packet: &Packet<'_>, now: Instant, hearing: Hearing, sound: &mut Vec<i16>) {
        self.last_ms = now.as_nanos() / 1_000_000;
        let header = packet.header();
        let payload_type = header.payload_type().as_u8();
        let (impairment, codec) = match payload_type {
            0 => (Some(CodecImpairment::G711), Some(VoiceCodec::Pcmu)),
            8 => (Some(CodecImpairment::G711), Some(VoiceCodec::Pcma)),
            9 => (Some(CodecImpairment::G722), Some(VoiceCodec::G722)),
            18 => (Some(CodecImpairment::G729), None),
            other if hearing.opus == Some(other) => (Some(CodecImpairment::OPUS), Some(VoiceCodec::Opus)),
            _ => (None, None),
        };
        // Keys, and codecs whose clock nobody has told us, say nothing of the jitter.
        let timing = if impairment.is_some() { Timing::Sampled } else { Timing::Held };
        if let Some(codec) = codec {
            self.statistics.set_clock_rate(codec.clock_rate());
        }
        self.codec = self.codec.or(impairment);
        self.statistics.handle_packet(header, packet.payload().len(), timing, now);
        let Some(codec) = codec else { return };
        sound.clear();
        let rate = self.decode(codec, packet.payload(), sound);
        self.level.feed(sound);
        if let Some(pattern) = hearing.pattern {
            let check = self.check.take().filter(|check| check.pattern() == pattern);
            let check = check.unwrap_or_else(|| Box::new(Check::new(pattern, rate)));
            self.check.insert(check).hear(packet.payload(), sound);
        }
    }

    /// What is unreadable has no samples. Returns how many a second there are.
    fn decode(&mut self, codec: VoiceCodec, payload: &[u8], sound: &mut Vec<i16>) -> u32 {
        let law = match codec {
            VoiceCodec::Pcmu => Some(G711::MuLaw),
            VoiceCodec::Pcma => Some(G711::ALaw),
            _ => None,
        };
        // What a listener at a telephone could hear is enough.
        let rate = codec.rate_beside(VoiceCodec::Pcmu);
        match law {
            Some(law) => {
                sound.resize(payload.len().min(SAMPLES_MAX), 0);
                law.decode(payload, sound);
            }
            None => {
                if self.decoder.as_ref().is_none_or(|decoder| decoder.rate() != rate) {
                    self.decoder = Decoder::new(codec, rate).ok().map(Box::new);
                }
                if let Some(decoder) = &mut self.decoder {
                    let _ = decoder.decode(payload, sound);
                }
            }
        }
        rate
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
        if let Some(check) = &self.check {
            totals.pattern_percent.take(check.percent());
        }
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
            let now = Instant::from_driver_nanos(u64::from(number) * 20_000_000);
            ear.hear(&packet, now, Hearing::default(), &mut Vec::new());
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

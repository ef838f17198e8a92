//! A voice and an ear: says one tone in G.711 over RTP, and judges how well the other's tone arrives.
//!
//! Each phone has a tone of its own, so that a call which connects somebody to himself, or to nobody, is found out.

use std::time::Duration;

use offhook_base::{Instant, Random};
use offhook_codec::{Dbm0, G711, ToneDetector, ToneGenerator};
use offhook_rtp::{
    emodel::{self, CodecImpairment, Transmission},
    rtp::{FixedHeader, Packet, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp},
    statistics::{ReceptionReport, StreamStatistics, Timing},
};

/// Samples a second.
const SAMPLE_RATE: u32 = 8000;

/// Time between packets.
pub const PACKET_INTERVAL: Duration = Duration::from_millis(20);

/// Samples in a packet of 20 ms.
const PACKET_SAMPLES: usize = 160;

/// Bytes of a packet: a fixed header and a byte per sample.
const PACKET_BYTES: usize = 12 + PACKET_SAMPLES;

/// Samples that are judged at once: 50 ms tell tones apart that differ by 20 Hz.
const BLOCK_SAMPLES: usize = 400;

/// How loud the tones are. Well below full scale, well above the noise of the coding.
pub const LEVEL: Dbm0 = Dbm0(-10.0);

/// How far the level may be off. G.711 itself moves it by some hundredths.
const LEVEL_TOLERANCE_DB: f64 = 1.0;

/// How much louder than all the rest a tone must be. G.711 leaves some 35 dB.
const SNR_DB_MIN: f64 = 20.0;

/// Share of the heard time that must hold the tone: one lost packet spoils one or two blocks.
const SHARE_MIN: f64 = 0.9;

/// Packets that must come of those that were sent, as a share.
const ARRIVED_MIN: f64 = 0.9;

/// Milliseconds that a real phone's jitter buffer adds; counted into the MOS as the node counts it.
const JITTER_BUFFER: Duration = Duration::from_millis(40);

/// One end of the sound.
pub struct Voice {
    tone: ToneGenerator,
    sequence_number: SequenceNumber,
    timestamp: Timestamp,
    ssrc: Ssrc,
    /// The law to speak in, while the phone may send.
    speaks: Option<G711>,
    /// The next packet is the first after silence.
    begins: bool,
    packets_sent: u64,
    hears: f64,
    ear: ToneDetector,
    statistics: StreamStatistics,
    heard: Heard,
    listens: bool,
}

/// What the ear made of the sound since it was last asked to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// Whole blocks of 50 ms.
    pub blocks: u32,
    /// Those that held the tone.
    pub blocks_with_tone: u32,
    /// Sum of the tone's levels in them, dBm0.
    level_sum: f64,
}

impl Heard {
    /// Mean level of the tone where it was heard, dBm0.
    pub fn level(&self) -> Option<f64> {
        (self.blocks_with_tone > 0).then(|| self.level_sum / f64::from(self.blocks_with_tone))
    }

    /// Share of the heard time that held the tone, 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.blocks_with_tone) / f64::from(self.blocks.max(1))
    }
}

impl Voice {
    /// A voice of `says` Hz, an ear for `hears` Hz. Both lie between 20 and 4000, exclusive.
    pub fn new(says: f64, hears: f64, random: &mut Random) -> Option<Self> {
        Some(Self {
            tone: ToneGenerator::new(SAMPLE_RATE, &[(says, LEVEL)])?,
            // RFC 3550 §5.1: all three begin at random. The upper half of the numbers stays free of a wrap-around.
            sequence_number: SequenceNumber(random.next_u32() as u16 & 0x7fff),
            timestamp: Timestamp(random.next_u32()),
            ssrc: Ssrc(random.next_u32()),
            speaks: None,
            begins: true,
            packets_sent: 0,
            hears,
            ear: ToneDetector::new(SAMPLE_RATE, hears, BLOCK_SAMPLES)?,
            statistics: StreamStatistics::new(SAMPLE_RATE),
            heard: Heard::default(),
            listens: false,
        })
    }

    /// Speaks in this law, or is silent.
    pub fn speak(&mut self, law: Option<G711>) {
        self.begins |= self.speaks.is_none();
        self.speaks = law;
    }

    /// Begins to judge what comes, from nothing; or stops.
    pub fn listen(&mut self, listens: bool) {
        self.listens = listens;
        if listens {
            self.heard = Heard::default();
            self.ear.reset();
        }
    }

    /// The next 20 ms. Time passes in silence, too (RFC 3550 §5.1).
    pub fn next_packet(&mut self) -> Option<[u8; PACKET_BYTES]> {
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(PACKET_SAMPLES as u32);
        let law = self.speaks?;
        let (mut samples, mut payload) = ([0; PACKET_SAMPLES], [0; PACKET_SAMPLES]);
        self.tone.fill(&mut samples);
        law.encode(&samples, &mut payload);
        let header = FixedHeader {
            marker: std::mem::take(&mut self.begins),
            payload_type: payload_type(law),
            sequence_number: self.sequence_number,
            timestamp,
            ssrc: self.ssrc,
        };
        let mut packet = [0; PACKET_BYTES];
        PacketWriter::new(header, &payload).write(&mut packet).ok()?;
        self.sequence_number = self.sequence_number.next();
        self.packets_sent += 1;
        Some(packet)
    }

    /// Takes a datagram from the RTP socket. What is no G.711 is not counted.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        let Ok(packet) = Packet::parse(datagram) else { return };
        let Some(law) = law(packet.header().payload_type()) else { return };
        let payload = packet.payload();
        self.statistics.handle_packet(packet.header(), payload.len(), Timing::Sampled, now);
        if !self.listens {
            return;
        }
        // Packets no longer than a block, as the detector wants them.
        for piece in payload.chunks(BLOCK_SAMPLES) {
            let mut samples = [0; BLOCK_SAMPLES];
            let samples = &mut samples[..piece.len()];
            law.decode(piece, samples);
            let Some(reading) = self.ear.feed(samples) else { continue };
            self.heard.blocks += 1;
            if reading.is_tone(Dbm0(LEVEL.0 - LEVEL_TOLERANCE_DB), SNR_DB_MIN)
                && reading.level.0 <= LEVEL.0 + LEVEL_TOLERANCE_DB
            {
                self.heard.blocks_with_tone += 1;
                self.heard.level_sum += reading.level.0;
            }
        }
    }

    /// Packets sent since the beginning.
    pub const fn packets_sent(&self) -> u64 {
        self.packets_sent
    }

    /// What came since the beginning.
    pub fn reception(&self) -> ReceptionReport {
        self.statistics.report()
    }

    /// What the ear made of it since [`Voice::listen`].
    pub const fn heard(&self) -> Heard {
        self.heard
    }

    /// Mean opinion score of what came since the beginning, where `sent` packets were sent (ITU-T G.107); `None` if
    /// nothing came.
    pub fn mos(&self, sent: u64) -> Option<f64> {
        let report = self.reception();
        let transmission = Transmission {
            loss: lost(sent, &report) as f64 / sent.max(1) as f64,
            burst_ratio: report.burst_ratio.max(1.0),
            one_way_delay: PACKET_INTERVAL + JITTER_BUFFER,
        };
        (report.packets > 0).then(|| emodel::rate(CodecImpairment::G711_CONCEALED, transmission).mos)
    }

    /// Whether the other's tone came for `listened`, and if not, what is wrong.
    ///
    /// # Errors
    /// What was heard instead, for people.
    pub fn judge(&self, listened: Duration) -> Result<(), String> {
        let Heard { blocks, blocks_with_tone, .. } = self.heard;
        let hears = self.hears;
        let blocks_sent = listened.as_secs_f64() * f64::from(SAMPLE_RATE) / BLOCK_SAMPLES as f64;
        match self.heard {
            _ if blocks == 0 => Err("heard nothing".into()),
            _ if blocks_with_tone == 0 => Err(format!("heard something, but not the tone of {hears} Hz")),
            heard if heard.share() < SHARE_MIN => {
                let share = heard.share() * 100.0;
                Err(format!("heard the tone of {hears} Hz for only {share:.0} % of the time"))
            }
            _ if f64::from(blocks) < blocks_sent * ARRIVED_MIN => {
                let part = f64::from(blocks) / blocks_sent * 100.0;
                Err(format!("heard only {part:.0} % of the sound"))
            }
            _ => Ok(()),
        }
    }
}

/// Packets that did not come, of `sent`: what is missing at the end only the sender knows.
pub fn lost(sent: u64, report: &ReceptionReport) -> u64 {
    sent.saturating_sub(report.packets).max(report.lost)
}

fn payload_type(law: G711) -> PayloadType {
    match law {
        G711::ALaw => PayloadType::PCMA,
        G711::MuLaw => PayloadType::PCMU,
    }
}

fn law(payload_type: PayloadType) -> Option<G711> {
    match payload_type {
        PayloadType::PCMA => Some(G711::ALaw),
        PayloadType::PCMU => Some(G711::MuLaw),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two seconds from a voice of `says` Hz to an ear for `hears` Hz; `keeps` tells which packets arrive.
    fn heard(says: f64, hears: f64, keeps: impl Fn(u64) -> bool) -> Result<(), String> {
        let mut random = Random::from_number(1);
        let mut mouth = Voice::new(says, 1000.0, &mut random).unwrap();
        let mut ear = Voice::new(1000.0, hears, &mut random).unwrap();
        mouth.speak(Some(G711::MuLaw));
        ear.listen(true);
        let mut now = Instant::default();
        for number in 0..100 {
            let packet = mouth.next_packet().unwrap();
            if keeps(number) {
                ear.handle_datagram(&packet, now);
            }
            now += PACKET_INTERVAL;
        }
        ear.judge(Duration::from_secs(2))
    }

    #[test]
    fn the_others_tone_is_recognised_and_nothing_else_is() {
        assert_eq!(heard(440.0, 440.0, |_| true), Ok(()));
        assert_eq!(heard(620.0, 440.0, |_| true), Err("heard something, but not the tone of 440 Hz".into()));
        assert_eq!(heard(440.0, 440.0, |_| false), Err("heard nothing".into()));
    }

    #[test]
    fn a_lost_packet_is_forgiven_and_lost_halves_are_not() {
        assert_eq!(heard(440.0, 440.0, |number| number != 50), Ok(()));
        assert_eq!(heard(440.0, 440.0, |number| number < 50), Err("heard only 50 % of the sound".into()));
        assert!(heard(440.0, 440.0, |number| number % 4 != 0).is_err());
    }

    #[test]
    fn what_is_missing_at_the_end_spoils_the_score_too() {
        let mut random = Random::from_number(1);
        let mut mouth = Voice::new(440.0, 620.0, &mut random).unwrap();
        let mut ear = Voice::new(620.0, 440.0, &mut random).unwrap();
        assert_eq!(ear.mos(0), None);
        mouth.speak(Some(G711::ALaw));
        for number in 0..50 {
            ear.handle_datagram(&mouth.next_packet().unwrap(), Instant::default() + PACKET_INTERVAL * number);
        }
        let (whole, half) = (ear.mos(50).unwrap(), ear.mos(100).unwrap());
        assert!(whole > 4.3 && half < 2.5, "{whole} {half}");
    }

    #[test]
    fn silence_takes_time_but_no_sequence_numbers() {
        let mut voice = Voice::new(440.0, 620.0, &mut Random::from_number(1)).unwrap();
        voice.speak(Some(G711::ALaw));
        let first = voice.next_packet().unwrap();
        voice.speak(None);
        assert_eq!(voice.next_packet(), None);
        voice.speak(Some(G711::ALaw));
        let second = voice.next_packet().unwrap();
        let (first, second) = (Packet::parse(&first).unwrap(), Packet::parse(&second).unwrap());
        let (first, second) = (*first.header(), *second.header());
        assert_eq!(second.sequence_number(), first.sequence_number().next());
        assert_eq!(second.timestamp().units_since(first.timestamp()), 320);
        assert!(first.marker() && second.marker());
    }
}

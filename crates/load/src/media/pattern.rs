//! Sound that can be known again: whether what arrived is what should have.

use offhook_codec::{Dbm0, ToneDetector};

/// How loud tones are: as loud as speech may get.
pub const LEVEL: Dbm0 = Dbm0(-12.0);
/// How loud a tone must still be, and how far above the rest, to be taken for the one that was sent: 20 dB of loss on the
/// way, and what Opus makes of a steady tone. Another tone is 13 dB below the rest.
const LEVEL_MIN: Dbm0 = Dbm0(-32.0);
const ABOVE_NOISE_DB: f64 = 3.0;
/// Packets at the start of a stream that are not looked at: a codec needs some to swing in.
const PACKETS_PASSED_OVER: u64 = 5;
/// What is looked at at once, ms: then tones 150 Hz apart are told apart.
const BLOCK_MS: usize = 20;

/// What a stream is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The same octet in every place: SIPp's, 1 to 6. It comes through unchanged or not at all.
    Octet(u8),
    /// A tone of so many Hz: ours, 7 to 16. It comes through other codecs, too.
    Tone(u16),
}

impl Pattern {
    /// That of a number.
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            1..=6 => Some(Self::Octet(0xaa + (number - 1) * 0x11)),
            7..=16 => Some(Self::Tone(450 + (number - 7) as u16 * 150)),
            _ => None,
        }
    }
}

/// Looks whether a stream says its pattern.
#[derive(Debug)]
pub struct Check {
    pattern: Pattern,
    tone: Option<Box<ToneDetector>>,
    packets: u64,
    right: u64,
    wrong: u64,
}

impl Check {
    /// For sound of so many samples a second.
    pub fn new(pattern: Pattern, rate: u32) -> Self {
        let tone = match pattern {
            Pattern::Octet(_) => None,
            Pattern::Tone(hz) => ToneDetector::new(rate, f64::from(hz), rate as usize / 1000 * BLOCK_MS),
        };
        Self { pattern, tone: tone.map(Box::new), packets: 0, right: 0, wrong: 0 }
    }

    /// Which pattern.
    pub const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Takes a packet of sound, as it came and decoded.
    pub fn hear(&mut self, payload: &[u8], samples: &[i16]) {
        self.packets += 1;
        match (self.pattern, &mut self.tone) {
            (Pattern::Octet(octet), _) => self.count(payload.iter().all(|one| *one == octet)),
            (Pattern::Tone(_), None) => self.wrong += 1,
            (Pattern::Tone(_), Some(tone)) => {
                let reading = tone.feed(samples);
                if let Some(reading) = reading.filter(|_| self.packets > PACKETS_PASSED_OVER) {
                    self.count(reading.is_tone(LEVEL_MIN, ABOVE_NOISE_DB));
                }
            }
        }
    }

    const fn count(&mut self, is_right: bool) {
        if is_right {
            self.right += 1;
        } else {
            self.wrong += 1;
        }
    }

    /// How much of it was right, percent.
    pub fn percent(&self) -> f64 {
        100.0 * self.right as f64 / (self.right + self.wrong).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use offhook_codec::{Decoder, VoiceCodec};

    use super::*;
    use crate::media::audio::{Audio, Packing};

    /// What `heard` thinks of a second of `said`, sent as that codec.
    fn percent(said: u8, heard: u8, payload_type: u8, name: &str) -> f64 {
        let packing = Packing::of(payload_type, Some(name)).expect("it is known");
        let audio = Audio::pattern(Pattern::of(said).expect("a pattern"), packing).expect("it is made");
        let codec = packing.codec.expect("it is spoken");
        let rate = codec.rate_beside(VoiceCodec::Pcmu);
        let mut decoder = Decoder::new(codec, rate).expect("it is made");
        let mut check = Check::new(Pattern::of(heard).expect("a pattern"), rate);
        let mut samples = Vec::new();
        for round in 0..2 {
            for index in 0..audio.packets() {
                samples.clear();
                decoder.decode(audio.packet(index), &mut samples).expect("it decodes");
                assert!(round > 0 || !audio.packet(index).is_empty());
                check.hear(audio.packet(index), &samples);
            }
        }
        check.percent()
    }

    #[test]
    fn a_pattern_is_known_again_in_every_codec_and_not_taken_for_another() {
        let codecs = [(0, "PCMU/8000"), (8, "PCMA/8000"), (9, "G722/8000"), (111, "opus/48000/2")];
        for (payload_type, name) in codecs {
            for said in 7..=16 {
                let own = percent(said, said, payload_type, name);
                let least = if name.starts_with("opus") { 85.0 } else { 95.0 };
                assert!(own > least, "{said} in {name}: {own} %");
                let other = if said == 16 { 7 } else { said + 1 };
                let foreign = percent(said, other, payload_type, name);
                assert!(foreign < 5.0, "{said} as {other} in {name}: {foreign} %");
            }
        }
        assert_eq!((percent(1, 1, 0, "PCMU/8000"), percent(1, 2, 0, "PCMU/8000")), (100.0, 0.0));
        assert_eq!(
            (Pattern::of(6), Pattern::of(0), Pattern::of(17)),
            (Some(Pattern::Octet(0xff)), None, None)
        );
    }
}

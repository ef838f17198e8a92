//! Automatic gain: who speaks softly is made louder, who speaks loudly softer, slowly enough that nobody notices.

use crate::{Dbm0, LevelMeter};

/// The level that speech is brought to: what the network was planned for (ITU-T P.800.2 has -26 dBov of active speech).
const WANTED: Dbm0 = Dbm0(-20.0);
/// What is softer is taken for the room behind the speaker, and not made louder.
const SPEECH_MIN: Dbm0 = Dbm0(-42.0);
/// Most that is made louder or softer, dB.
const GAIN_DB_MAX: f64 = 12.0;
/// The gain moves by at most so much per frame, dB: 12 dB take some 2 s of speech in frames of 20 ms.
const STEP_DB: f64 = 0.12;
/// Sound is turned to the wanted level only from so far beside it, dB: speech goes up and down by itself.
const TOLERANCE_DB: f64 = 3.0;

/// The gain of one speaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leveller {
    gain_db: f64,
}

impl Leveller {
    /// The gain now, dB.
    pub const fn gain_db(&self) -> f64 {
        self.gain_db
    }

    /// Takes the next frame, 10 to 60 ms; the level that it had.
    pub fn process(&mut self, frame: &mut [i16]) -> Dbm0 {
        let mut meter = LevelMeter::new();
        meter.feed(frame);
        let level = meter.level();
        if level >= SPEECH_MIN {
            let beside = WANTED.0 - (level.0 + self.gain_db);
            if beside.abs() > TOLERANCE_DB {
                let moved = self.gain_db + beside.clamp(-STEP_DB, STEP_DB);
                self.gain_db = moved.clamp(-GAIN_DB_MAX, GAIN_DB_MAX);
            }
        }
        if self.gain_db.abs() > 0.05 {
            let factor = (self.gain_db / 20.0 * std::f64::consts::LN_10).exp() as f32;
            for sample in frame {
                // A float cast saturates.
                *sample = (f32::from(*sample) * factor) as i16;
            }
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ToneGenerator;

    fn levelled(level: f64, frames: usize) -> (f64, f64) {
        let mut generator = ToneGenerator::new(8000, &[(300.0, Dbm0(level))]).unwrap();
        let mut leveller = Leveller::default();
        let mut last = 0.0;
        for _ in 0..frames {
            let mut frame = [0; 160];
            generator.fill(&mut frame);
            leveller.process(&mut frame);
            let mut meter = LevelMeter::new();
            meter.feed(&frame);
            last = meter.level().0;
        }
        (last, leveller.gain_db())
    }

    #[test]
    fn soft_and_loud_come_to_the_same_level_within_seconds() {
        for level in [-30.0, -10.0] {
            let (reached, _) = levelled(level, 150);
            assert!((reached - WANTED.0).abs() <= TOLERANCE_DB + 0.2, "{level}: {reached}");
        }
        assert!(levelled(-21.0, 500).1.abs() < 0.01, "what is right stays");
    }

    #[test]
    fn noise_is_not_made_louder_and_the_gain_has_an_end() {
        assert!(levelled(-60.0, 500).1.abs() < 0.01);
        assert!((levelled(-40.0, 1000).1 - GAIN_DB_MAX).abs() < 0.01);
    }

    #[test]
    fn a_moment_changes_hardly_anything() {
        assert!(levelled(-35.0, 5).1 <= 5.0 * STEP_DB + 0.001);
    }
}

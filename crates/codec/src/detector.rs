//! Is that tone there? One frequency, looked for block by block.
//!
//! Goertzel's recurrence is a swing that is pushed by every sample and tuned to one frequency: after a block, its motion
//! tells how much of that frequency the block held. A block need not be a whole number of periods: the sine that fits
//! best is solved for exactly, and what it does not explain is noise.

use std::f64::consts::TAU;

use crate::Dbm0;

/// What one block held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToneReading {
    /// Level of the tone.
    pub level: Dbm0,
    /// Level of all the rest.
    pub noise: Dbm0,
}

impl ToneReading {
    /// Tone to noise, dB.
    pub fn snr_db(&self) -> f64 {
        self.level.0 - self.noise.0
    }

    /// Whether the tone is there: at least `level_min` loud, and `snr_db_min` above the rest. 8-bit G.711 keeps a sine about
    /// 35 dB above its own noise; 15 dB is a tone that people hear clearly.
    pub fn is_tone(&self, level_min: Dbm0, snr_db_min: f64) -> bool {
        self.level >= level_min && self.snr_db() >= snr_db_min
    }
}

/// Looks for one frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct ToneDetector {
    /// Radians per sample.
    omega: f64,
    block_samples: usize,
    /// Inner products of the cosine and sine over a block: the least-squares matrix.
    fit: Fit,
    block: Block,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Fit {
    cos_cos: f64,
    sin_sin: f64,
    cos_sin: f64,
}

/// The block under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Block {
    samples: usize,
    /// The last two values of the recurrence.
    last: f64,
    before: f64,
    energy: f64,
}

impl ToneDetector {
    /// Longest block, samples: ten seconds at 8 kHz.
    pub const MAX_BLOCK_SAMPLES: usize = 80_000;

    /// Looks for `hz` at `sample_rate` Hz in blocks of `block_samples`. The longer the block, the narrower the ear: two
    /// tones are told apart if they differ by about `sample_rate / block_samples` Hz. 400 samples (50 ms at 8 kHz) suit
    /// call-progress tones.
    ///
    /// `None` if `hz` is not between 0 and half the sample rate, or the block holds less than one period or more than
    /// [`MAX_BLOCK_SAMPLES`](Self::MAX_BLOCK_SAMPLES).
    pub fn new(sample_rate: u32, hz: f64, block_samples: usize) -> Option<Self> {
        let rate = f64::from(sample_rate);
        let in_range = hz > 0.0 && hz < rate / 2.0 && block_samples <= Self::MAX_BLOCK_SAMPLES;
        if !in_range || (block_samples as f64) < rate / hz {
            return None;
        }
        let omega = TAU * hz / rate;
        let mut fit = Fit { cos_cos: 0.0, sin_sin: 0.0, cos_sin: 0.0 };
        for index in 0..block_samples {
            let (sin, cos) = (omega * index as f64).sin_cos();
            fit.cos_cos += cos * cos;
            fit.sin_sin += sin * sin;
            fit.cos_sin += cos * sin;
        }
        Some(Self { omega, block_samples, fit, block: Block::default() })
    }

    /// Takes samples in; returns the reading of the last block they completed, if any. Feed packets no longer than a block
    /// to see every reading.
    pub fn feed(&mut self, samples: &[i16]) -> Option<ToneReading> {
        let coefficient = 2.0 * self.omega.cos();
        let mut reading = None;
        for sample in samples {
            let sample = f64::from(*sample);
            let next = sample + coefficient * self.block.last - self.block.before;
            self.block.before = std::mem::replace(&mut self.block.last, next);
            self.block.energy += sample * sample;
            self.block.samples += 1;
            if self.block.samples == self.block_samples {
                let block = std::mem::take(&mut self.block);
                reading = Some(self.read(block));
            }
        }
        reading
    }

    /// Forgets the block under way.
    pub fn reset(&mut self) {
        self.block = Block::default();
    }

    fn read(&self, block: Block) -> ToneReading {
        let count = self.block_samples as f64;
        // Goertzel's end: y = Σ x[n]·e^(jω(N-1-n)), turned back to n = 0, splits into the products with cosine and sine.
        let (sin, cos) = self.omega.sin_cos();
        let (re, im) = (block.last - block.before * cos, block.before * sin);
        let (turn_sin, turn_cos) = (self.omega * (count - 1.0)).sin_cos();
        let with_cos = re * turn_cos + im * turn_sin;
        let with_sin = re * turn_sin - im * turn_cos;
        let Fit { cos_cos, sin_sin, cos_sin } = self.fit;
        let determinant = cos_cos * sin_sin - cos_sin * cos_sin;
        let a = (with_cos * sin_sin - with_sin * cos_sin) / determinant;
        let b = (with_sin * cos_cos - with_cos * cos_sin) / determinant;
        let explained = a * with_cos + b * with_sin;
        ToneReading {
            level: Dbm0::of_peak(a.hypot(b)),
            noise: Dbm0::of_mean_square((block.energy - explained).max(0.0) / count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G711, ToneGenerator};

    fn tone(sines: &[(f64, Dbm0)], samples: usize) -> Vec<i16> {
        let mut out = vec![0; samples];
        ToneGenerator::new(8000, sines).unwrap().fill(&mut out);
        out
    }

    #[test]
    fn a_tone_is_measured_whatever_its_phase_and_the_block() {
        for (hz, block) in [(440.0, 400), (440.0, 397), (425.0, 160), (1004.0, 205), (3400.0, 333)] {
            let samples = tone(&[(hz, Dbm0(-12.0))], 1000);
            for start in [0, 1, 7, 50] {
                let reading =
                    ToneDetector::new(8000, hz, block).unwrap().feed(&samples[start..start + block]).unwrap();
                assert!((reading.level.0 + 12.0).abs() < 0.02, "{hz} {block} {start}: {reading:?}");
                assert!(reading.snr_db() > 60.0, "{hz} {block} {start}: {reading:?}");
            }
        }
    }

    #[test]
    fn g711_leaves_a_tone_about_35_db_above_its_noise() {
        for law in [G711::ALaw, G711::MuLaw] {
            let coded: Vec<i16> = tone(&[(440.0, Dbm0(-10.0))], 400)
                .into_iter()
                .map(|sample| law.decode_sample(law.encode_sample(sample)))
                .collect();
            let reading = ToneDetector::new(8000, 440.0, 400).unwrap().feed(&coded).unwrap();
            assert!((reading.level.0 + 10.0).abs() < 0.1 && reading.snr_db() > 33.0, "{law:?} {reading:?}");
        }
    }

    #[test]
    fn another_tone_and_silence_are_not_taken_for_it() {
        for samples in [tone(&[(480.0, Dbm0(-10.0))], 400), vec![0; 400], vec![5000; 400]] {
            let reading = ToneDetector::new(8000, 440.0, 400).unwrap().feed(&samples).unwrap();
            assert!(!reading.is_tone(Dbm0(-40.0), 6.0), "{reading:?}");
        }
    }

    #[test]
    fn noise_is_what_the_tone_does_not_explain() {
        let samples = tone(&[(440.0, Dbm0(-10.0)), (1000.0, Dbm0(-20.0))], 400);
        let reading = ToneDetector::new(8000, 440.0, 400).unwrap().feed(&samples).unwrap();
        assert!((reading.noise.0 + 20.0).abs() < 0.1 && (reading.snr_db() - 10.0).abs() < 0.1, "{reading:?}");
    }

    #[test]
    fn packets_add_up_to_blocks() {
        let samples = tone(&[(440.0, Dbm0(-10.0))], 800);
        let mut detector = ToneDetector::new(8000, 440.0, 400).unwrap();
        let readings: Vec<ToneReading> =
            samples.chunks(160).filter_map(|packet| detector.feed(packet)).collect();
        assert_eq!(readings.len(), 2);
        assert!(readings.iter().all(|reading| reading.is_tone(Dbm0(-10.1), 40.0)));
        detector.feed(&samples[..100]);
        detector.reset();
        assert!(detector.feed(&samples[..399]).is_none() && detector.feed(&samples[..1]).is_some());
    }

    #[test]
    fn what_cannot_be_heard_is_refused() {
        for (hz, block) in [(0.0, 400), (4000.0, 400), (f64::NAN, 400), (440.0, 18), (440.0, 80_001)] {
            assert_eq!(ToneDetector::new(8000, hz, block), None, "{hz} {block}");
        }
        assert_eq!(ToneDetector::new(0, 440.0, 400), None);
    }
}

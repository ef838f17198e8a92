//! Tones: sums of sines.

use std::f64::consts::TAU;

use crate::Dbm0;

/// A mix of up to [`MAX_SINES`](Self::MAX_SINES) steady sines, without clicks between calls to [`fill`](Self::fill).
#[derive(Clone, Debug, PartialEq)]
pub struct ToneGenerator {
    sines: Vec<Sine>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sine {
    peak: f64,
    /// Turns per sample.
    step: f64,
    /// Turns, 0 to 1.
    phase: f64,
}

impl ToneGenerator {
    /// Most sines in a mix: signalling tones have one to four.
    pub const MAX_SINES: usize = 8;

    /// A mix of `(frequency in Hz, level)` at `sample_rate` Hz. `None` if a frequency is not between 0 and half the sample
    /// rate, a level is above full scale or not a number, or there are too many sines.
    pub fn new(sample_rate: u32, sines: &[(f64, Dbm0)]) -> Option<Self> {
        let rate = f64::from(sample_rate);
        let valid = |(hz, level): &(f64, Dbm0)| *hz > 0.0 && *hz < rate / 2.0 && level.peak() <= 32_768.0;
        if sines.len() > Self::MAX_SINES || !sines.iter().all(valid) {
            return None;
        }
        let sines = sines.iter().map(|(hz, level)| Sine { peak: level.peak(), step: hz / rate, phase: 0.0 });
        Some(Self { sines: sines.collect() })
    }

    /// The next samples; a mix that is too loud is clipped.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let mut sum = 0.0;
            for sine in &mut self.sines {
                sum += sine.peak * (sine.phase * TAU).sin();
                sine.phase = (sine.phase + sine.step).fract();
            }
            // A float cast saturates: that is the clipping.
            *sample = sum.round() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LevelMeter;

    #[test]
    fn levels_add_up_as_powers() {
        let level_of = |sines: &[(f64, Dbm0)]| {
            let (mut generator, mut samples) = (ToneGenerator::new(8000, sines).unwrap(), [0; 8000]);
            generator.fill(&mut samples);
            let mut meter = LevelMeter::new();
            meter.feed(&samples);
            meter.level().0
        };
        assert!((level_of(&[(440.0, Dbm0(-10.0))]) + 10.0).abs() < 0.01);
        assert!((level_of(&[(350.0, Dbm0(-13.0)), (440.0, Dbm0(-13.0))]) + 9.99).abs() < 0.02);
        assert_eq!(level_of(&[]), Dbm0::FLOOR.0);
    }

    #[test]
    fn packets_join_without_a_step() {
        let mut generator = ToneGenerator::new(8000, &[(425.0, Dbm0(-6.0))]).unwrap();
        let (mut whole, mut parts) = ([0; 480], [0; 480]);
        generator.clone().fill(&mut whole);
        parts.chunks_mut(160).for_each(|packet| generator.fill(packet));
        assert_eq!(whole, parts);
    }

    #[test]
    fn what_cannot_be_sounded_is_refused_and_what_is_too_loud_is_clipped() {
        for (hz, level) in
            [(0.0, 0.0), (4000.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0), (440.0, 3.2), (440.0, f64::NAN)]
        {
            assert_eq!(ToneGenerator::new(8000, &[(hz, Dbm0(level))]), None, "{hz} {level}");
        }
        assert_eq!(ToneGenerator::new(8000, &[(440.0, Dbm0(-40.0)); 9]), None);
        let mut samples = [0; 800];
        ToneGenerator::new(8000, &[(440.0, Dbm0(3.0)); 2]).unwrap().fill(&mut samples);
        assert!(samples.contains(&i16::MAX) && samples.contains(&i16::MIN));
    }
}

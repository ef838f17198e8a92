//! How loud: dBm0.

use std::fmt;

/// Level of a sine whose peaks reach full scale, dBm0. By the digital milliwatt of G.711 §5 it is +3.14 for A-law, whose
/// scale ends at 32 768, and +3.17 for µ-law, whose scale ends at 32 636: +3.20 on a scale to 32 768. The middle is
/// within 0.04 dB of both.
const FULL_SCALE: f64 = 3.17;
/// Full scale.
const FULL_SCALE_PEAK: f64 = 32_768.0;

/// A level, dB relative to one milliwatt at the point of zero relative level. Speech is about -15 to -30.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Dbm0(pub f64);

impl Dbm0 {
    /// Reported for silence: below half a bit of 16.
    pub const FLOOR: Self = Self(-96.0);

    /// Level of a sine with this peak (0 to 32 768).
    pub fn of_peak(peak: f64) -> Self {
        Self::of_mean_square(peak * peak / 2.0)
    }

    /// Level of a signal with this mean of squared samples.
    pub fn of_mean_square(mean_square: f64) -> Self {
        let full_scale = FULL_SCALE_PEAK * FULL_SCALE_PEAK / 2.0;
        // `max` also takes the NaN and the infinity of silence.
        Self((FULL_SCALE + 10.0 * (mean_square / full_scale).log10()).max(Self::FLOOR.0))
    }

    /// Peak of a sine of this level.
    pub fn peak(self) -> f64 {
        FULL_SCALE_PEAK * 10f64.powf((self.0 - FULL_SCALE) / 20.0)
    }
}

impl fmt::Display for Dbm0 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} dBm0", self.0)
    }
}

/// Mean level of all samples seen since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelMeter {
    sum_of_squares: f64,
    samples: u64,
}

impl LevelMeter {
    /// An empty meter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes samples in.
    pub fn feed(&mut self, samples: &[i16]) {
        self.sum_of_squares += samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        self.samples += samples.len() as u64;
    }

    /// Level so far; [`Dbm0::FLOOR`] without samples.
    pub fn level(&self) -> Dbm0 {
        Dbm0::of_mean_square(self.sum_of_squares / self.samples.max(1) as f64)
    }

    /// Samples so far.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Starts again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::G711;

    /// The digital milliwatt, a 1 kHz sine of 0 dBm0: G.711 tables 5 and 6.
    const MILLIWATT: [(G711, [u8; 8]); 2] = [
        (G711::ALaw, [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4]),
        (G711::MuLaw, [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e]),
    ];

    #[test]
    fn the_digital_milliwatt_measures_0_dbm0() {
        for (law, sequence) in MILLIWATT {
            let mut samples = [0; 8];
            law.decode(&sequence, &mut samples);
            let mut meter = LevelMeter::new();
            (0..100).for_each(|_| meter.feed(&samples));
            assert!(meter.level().0.abs() < 0.05, "{law:?} {}", meter.level());
            assert_eq!(meter.samples(), 800);
        }
    }

    #[test]
    fn silence_and_nothing_read_the_floor() {
        let mut meter = LevelMeter::new();
        assert_eq!(meter.level(), Dbm0::FLOOR);
        meter.feed(&[0; 160]);
        assert_eq!(meter.level(), Dbm0::FLOOR);
        meter.feed(&[1000; 160]);
        assert!(meter.level() > Dbm0(-40.0));
        meter.reset();
        assert_eq!(meter, LevelMeter::new());
    }

    #[test]
    fn peak_and_level_are_inverse() {
        for level in [-60.0, -10.0, 0.0, 3.17] {
            assert!((Dbm0::of_peak(Dbm0(level).peak()).0 - level).abs() < 1e-9);
        }
        assert_eq!(Dbm0(-10.04).to_string(), "-10.0 dBm0");
    }
}

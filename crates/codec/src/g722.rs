//! G.722: 7 kHz of speech in 64 kbit/s (ITU-T G.722, 09/2012, mode 1).
//!
//! Two samples at 16 kHz become one octet. A pair of mirror filters splits the sound into a lower and a higher half band;
//! each is coded as the difference to what an adaptive predictor expected: six bits for the lower, two for the higher
//! band. Encoder and decoder run the same predictor on the same quantised differences, so they stay in step. The names
//! of blocks (`QUANTL`, `UPPOL2`, ...) are the Recommendation's, clause 6.2.

/// Samples per octet.
pub const SAMPLES_PER_OCTET: usize = 2;
/// Taps of the mirror filters, clause 6.2.1.1.
const TAPS: usize = 24;
/// Every second coefficient of the mirror filter, which is symmetric. Table 4.
const MIRROR: [i32; TAPS / 2] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's quantiser. Table 6, `Q6`.
const LOW_DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Output of the six-bit inverse quantiser. Table 10, `QM6`.
const LOW_SIX_BITS: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// Output of the four-bit inverse quantiser, by which the predictor goes. Table 8, `QM4`.
const LOW_FOUR_BITS: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
/// By the four-bit code: how the step of the lower band grows. `WL` of `RL42`, tables 7 and 9.
const LOW_GROWTH: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// The one decision level of the higher band. Table 11, `Q2`.
const HIGH_DECISION: i32 = 564;
/// Output of the two-bit inverse quantiser. Table 13, `QM2`.
const HIGH_TWO_BITS: [i32; 4] = [-7408, -1616, 7408, 1616];
/// By the two-bit code: how the step of the higher band grows. `WH` of `RH2`, tables 12 and 14.
const HIGH_GROWTH: [i32; 4] = [798, -214, 798, -214];
/// Powers of two by thirty-seconds of an octave. Table 15, `ILB`.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

fn saturated(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// A product of two 16-bit fractions. The Recommendation's `>> 15`.
fn scaled(left: i32, right: i32) -> i32 {
    (left * right) >> 15
}

/// What differs between the bands: how the quantiser's step follows the signal.
#[derive(Clone, Copy, Debug)]
struct Adaptation {
    /// Highest logarithm of the step.
    log_max: i32,
    /// Places that the power is shifted by at logarithm 0.
    shift: i32,
    /// The step at the start.
    step: i32,
}

const LOW: Adaptation = Adaptation { log_max: 18_432, shift: 8, step: 32 };
const HIGH: Adaptation = Adaptation { log_max: 22_528, shift: 10, step: 8 };

/// One half band: its quantiser's step and its predictor with two poles and six zeros.
#[derive(Clone, Debug)]
struct Band {
    adaptation: Adaptation,
    /// Logarithm of the step, `NB`.
    log: i32,
    /// The step, `DET`.
    step: i32,
    /// What is expected next, `S`, and the zeros' part of it, `SZ`.
    expected: i32,
    zeros_part: i32,
    /// The last two reconstructed samples, `R`, and partial ones, `P`.
    samples: [i32; 2],
    partials: [i32; 2],
    /// Coefficients of the poles, `A`, and of the zeros, `B`.
    poles: [i32; 2],
    zeros: [i32; 6],
    /// The last six differences, `D`.
    differences: [i32; 6],
}

impl Band {
    const fn new(adaptation: Adaptation) -> Self {
        Self {
            adaptation,
            log: 0,
            step: adaptation.step,
            expected: 0,
            zeros_part: 0,
            samples: [0; 2],
            partials: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
        }
    }

    /// Takes the quantised difference and how the step shall grow. Blocks 3 and 4.
    fn adapt(&mut self, difference: i32, growth: i32) {
        // LOGSCL, LOGSCH: the old logarithm leaks, so that a transmission error is forgotten.
        self.log = (((self.log * 127) >> 7) + growth).clamp(0, self.adaptation.log_max);
        // SCALEL, SCALEH
        let power = POWERS[(self.log >> 6 & 31) as usize];
        let places = self.adaptation.shift - (self.log >> 11);
        self.step = if places < 0 { power << -places } else { power >> places } << 2;
        self.predict(difference);
    }

    fn predict(&mut self, difference: i32) {
        let sample = saturated(self.expected + difference); // RECONS
        let partial = saturated(self.zeros_part + difference); // PARREC
        let is_negative = |value: i32| value < 0;
        let sign = is_negative(partial);
        let [same_as_last, same_as_before] = self.partials.map(|earlier| is_negative(earlier) == sign);
        // UPPOL2
        let quadruple = saturated(self.poles[0] << 2);
        let turned = if same_as_last { -quadruple } else { quadruple }.min(i32::from(i16::MAX));
        let nudge = if same_as_before { 128 } else { -128 };
        let second = (nudge + (turned >> 7) + scaled(self.poles[1], 32_512)).clamp(-12_288, 12_288);
        // UPPOL1
        let nudge = if same_as_last { 192 } else { -192 };
        let limit = saturated(15_360 - second);
        let first = saturated(nudge + scaled(self.poles[0], 32_640)).clamp(-limit, limit);
        self.poles = [first, second];
        // UPZERO
        let nudge = if difference == 0 { 0 } else { 128 };
        for (zero, earlier) in self.zeros.iter_mut().zip(self.differences) {
            let same = is_negative(earlier) == is_negative(difference);
            *zero = saturated(if same { nudge } else { -nudge } + scaled(*zero, 32_640));
        }
        // DELAYA
        self.differences.rotate_right(1);
        self.differences[0] = difference;
        self.samples = [sample, self.samples[0]];
        self.partials = [partial, self.partials[0]];
        // FILTEP, FILTEZ, PREDIC
        let part = |coefficient: i32, value: i32| scaled(coefficient, saturated(value + value));
        let poles_part =
            saturated(part(self.poles[0], self.samples[0]) + part(self.poles[1], self.samples[1]));
        let zeros = self.zeros.iter().zip(self.differences);
        self.zeros_part = saturated(zeros.map(|(zero, difference)| part(*zero, difference)).sum());
        self.expected = saturated(poles_part + self.zeros_part);
    }

    fn adapt_low(&mut self, code: usize) {
        let four_bits = code >> 2;
        self.adapt(scaled(self.step, LOW_FOUR_BITS[four_bits]), LOW_GROWTH[four_bits]);
    }

    fn adapt_high(&mut self, code: usize) {
        self.adapt(scaled(self.step, HIGH_TWO_BITS[code]), HIGH_GROWTH[code]);
    }
}

/// The last samples of a mirror filter, as even and odd ones.
#[derive(Clone, Debug, Default)]
struct Mirror {
    even: [i32; TAPS / 2],
    odd: [i32; TAPS / 2],
}

impl Mirror {
    /// Takes a pair and gives the two half filters' sums.
    fn pass(&mut self, even: i32, odd: i32) -> (i32, i32) {
        self.even.copy_within(1.., 0);
        self.odd.copy_within(1.., 0);
        self.even[TAPS / 2 - 1] = even;
        self.odd[TAPS / 2 - 1] = odd;
        let sum = |values: &[i32; TAPS / 2], mirrored: bool| -> i32 {
            let at = |tap: usize| if mirrored { MIRROR[TAPS / 2 - 1 - tap] } else { MIRROR[tap] };
            values.iter().enumerate().map(|(tap, value)| value * at(tap)).sum()
        };
        (sum(&self.even, false), sum(&self.odd, true))
    }
}

/// One direction's encoder.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    mirror: Mirror,
    low: Band,
    high: Band,
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self { mirror: Mirror::default(), low: Band::new(LOW), high: Band::new(HIGH) }
    }
}

impl G722Encoder {
    /// Encodes pairs of samples at 16 kHz, as many as both slices hold; returns how many octets. An odd last sample is
    /// left out.
    pub fn encode(&mut self, samples: &[i16], octets: &mut [u8]) -> usize {
        for (octet, pair) in octets.iter_mut().zip(samples.chunks_exact(SAMPLES_PER_OCTET)) {
            *octet = self.encode_pair(i32::from(pair[0]), i32::from(pair[1]));
        }
        octets.len().min(samples.len() / SAMPLES_PER_OCTET)
    }

    fn encode_pair(&mut self, first: i32, second: i32) -> u8 {
        let (even, odd) = self.mirror.pass(first, second);
        let low = (odd + even) >> 14;
        let high = (odd - even) >> 14;
        let low_code = quantise_low(saturated(low - self.low.expected), self.low.step);
        self.low.adapt_low(low_code);
        let high_code = quantise_high(saturated(high - self.high.expected), self.high.step);
        self.high.adapt_high(high_code);
        (high_code << 6 | low_code) as u8
    }
}

/// A magnitude that is symmetric about minus one half.
const fn magnitude(difference: i32) -> i32 {
    if difference < 0 { -(difference + 1) } else { difference }
}

/// `QUANTL`: six bits.
fn quantise_low(difference: i32, step: i32) -> usize {
    let magnitude = magnitude(difference);
    let level = LOW_DECISIONS.partition_point(|decision| magnitude >= (decision * step) >> 12);
    match (difference < 0, level) {
        // Table 5: codes count down with the magnitude; 0 to 3 are never sent.
        (false, level) => 61 - level,
        (true, level @ 0..=1) => 63 - level,
        (true, level) => 33 - level,
    }
}

/// `QUANTH`: two bits.
const fn quantise_high(difference: i32, step: i32) -> usize {
    let is_large = magnitude(difference) >= (HIGH_DECISION * step) >> 12;
    match (difference < 0, is_large) {
        (true, false) => 1,
        (true, true) => 0,
        (false, false) => 3,
        (false, true) => 2,
    }
}

/// One direction's decoder.
#[derive(Clone, Debug)]
pub struct G722Decoder {
    mirror: Mirror,
    low: Band,
    high: Band,
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self { mirror: Mirror::default(), low: Band::new(LOW), high: Band::new(HIGH) }
    }
}

impl G722Decoder {
    /// Decodes octets to pairs of samples at 16 kHz, as many as both slices hold; returns how many samples.
    pub fn decode(&mut self, octets: &[u8], samples: &mut [i16]) -> usize {
        for (pair, octet) in samples.chunks_exact_mut(SAMPLES_PER_OCTET).zip(octets) {
            let (first, second) = self.decode_octet(*octet);
            pair[0] = first;
            pair[1] = second;
        }
        octets.len().min(samples.len() / SAMPLES_PER_OCTET) * SAMPLES_PER_OCTET
    }

    fn decode_octet(&mut self, octet: u8) -> (i16, i16) {
        let (low_code, high_code) = (usize::from(octet & 0x3f), usize::from(octet >> 6));
        let low = self.low.expected + scaled(self.low.step, LOW_SIX_BITS[low_code]);
        self.low.adapt_low(low_code);
        let high = self.high.expected + scaled(self.high.step, HIGH_TWO_BITS[high_code]);
        self.high.adapt_high(high_code);
        // LIMIT
        let (low, high) = (low.clamp(-16_384, 16_383), high.clamp(-16_384, 16_383));
        let (even, odd) = self.mirror.pass(low + high, low - high);
        // The shift is by 11 and the result saturates, so the casts lose nothing.
        (saturated(odd >> 11) as i16, saturated(even >> 11) as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dbm0, ToneDetector, ToneGenerator};

    #[test]
    fn tones_of_both_bands_come_back_clear() {
        for hz in [300.0, 1000.0, 3300.0, 5000.0, 6500.0] {
            let (mut samples, mut octets) = ([0; 3200], [0; 1600]);
            ToneGenerator::new(16_000, &[(hz, Dbm0(-10.0))]).unwrap().fill(&mut samples);
            assert_eq!(G722Encoder::default().encode(&samples, &mut octets), 1600);
            assert_eq!(G722Decoder::default().decode(&octets, &mut samples), 3200);
            let reading = ToneDetector::new(16_000, hz, 1600).unwrap().feed(&samples[1600..]).unwrap();
            assert!((reading.level.0 + 10.0).abs() < 1.0 && reading.snr_db() > 15.0, "{hz} {reading:?}");
        }
    }

    #[test]
    fn silence_stays_silent_and_any_octets_decode() {
        let (mut samples, mut octets) = ([0; 320], [0; 160]);
        G722Encoder::default().encode(&samples, &mut octets);
        G722Decoder::default().decode(&octets, &mut samples);
        assert!(samples.iter().all(|sample| sample.abs() < 40), "{samples:?}");
        let mut decoder = G722Decoder::default();
        for octet in 0..=255 {
            decoder.decode(&[octet; 400], &mut [0; 800]);
        }
    }

    #[test]
    fn codes_are_those_of_the_tables_ends() {
        assert_eq!((quantise_low(0, 4096), quantise_low(-1, 4096)), (61, 63));
        assert_eq!((quantise_low(32_767, 4096), quantise_low(-32_768, 4096)), (32, 4));
    }
}

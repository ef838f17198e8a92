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
const MIRROR: [i16; TAPS / 2] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's quantiser. Table 6, `Q6`.
const LOW_DECISIONS: [u16; 29] = [
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

/// Zeros of the predictor, and lanes of a vector that they lie in; the last two stay empty.
const ZEROS: usize = 6;
const LANES: usize = 8;

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
    zeros: [i16; LANES],
    /// The last six differences, `D`, doubled, as they are only ever used; zero beyond them.
    doubled: [i16; LANES],
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
            zeros: [0; LANES],
            doubled: [0; LANES],
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
        self.move_poles(partial);
        self.move_zeros(difference);
        // DELAYA
        self.samples = [sample, self.samples[0]];
        self.partials = [partial, self.partials[0]];
        // FILTEP, FILTEZ, PREDIC
        let part = |coefficient: i32, value: i32| scaled(coefficient, saturated(value + value));
        let poles_part =
            saturated(part(self.poles[0], self.samples[0]) + part(self.poles[1], self.samples[1]));
        let zeros = self.zeros.iter().zip(&self.doubled);
        let zeros_part = zeros.map(|(zero, doubled)| scaled(i32::from(*zero), i32::from(*doubled))).sum();
        self.zeros_part = saturated(zeros_part);
        self.expected = saturated(poles_part + self.zeros_part);
    }

    /// `UPPOL2`, `UPPOL1`.
    fn move_poles(&mut self, partial: i32) {
        let is_negative = |value: i32| value < 0;
        let [same_as_last, same_as_before] =
            self.partials.map(|earlier| is_negative(earlier) == is_negative(partial));
        let quadruple = saturated(self.poles[0] << 2);
        let turned = if same_as_last { -quadruple } else { quadruple }.min(i32::from(i16::MAX));
        let nudge = if same_as_before { 128 } else { -128 };
        let second = (nudge + (turned >> 7) + scaled(self.poles[1], 32_512)).clamp(-12_288, 12_288);
        let nudge = if same_as_last { 192 } else { -192 };
        let limit = saturated(15_360 - second);
        let first = saturated(nudge + scaled(self.poles[0], 32_640)).clamp(-limit, limit);
        self.poles = [first, second];
    }

    /// `UPZERO`, and the new difference takes its place. Without a branch and in lanes, for the compiler's vectors.
    fn move_zeros(&mut self, difference: i32) {
        let nudge = if difference == 0 { 0i16 } else { 128 };
        let sign = (difference >> 31) as i16;
        for (zero, earlier) in self.zeros.iter_mut().zip(&self.doubled) {
            let differs = (earlier >> 15) ^ sign;
            let decayed = scaled(i32::from(*zero), 32_640) as i16;
            *zero = decayed.saturating_add((nudge ^ differs) - differs);
        }
        self.doubled.copy_within(..ZEROS - 1, 1);
        self.doubled[0] = saturated(difference + difference) as i16;
    }

    fn adapt_low(&mut self, code: usize) {
        let four_bits = code >> 2;
        self.adapt(scaled(self.step, LOW_FOUR_BITS[four_bits]), LOW_GROWTH[four_bits]);
    }

    fn adapt_high(&mut self, code: usize) {
        self.adapt(scaled(self.step, HIGH_TWO_BITS[code]), HIGH_GROWTH[code]);
    }
}

/// The mirror filter's two halves over pairs of samples as they lie, even and odd in turn.
const EVEN_HALF: [i16; TAPS] = half(1, 0);
const ODD_HALF: [i16; TAPS] = half(0, 1);
/// The same for the lower band, their sum, and for the higher, their difference.
const LOW_BAND: [i16; TAPS] = half(1, 1);
const HIGH_BAND: [i16; TAPS] = half(-1, 1);

const fn half(even: i16, odd: i16) -> [i16; TAPS] {
    let mut taps = [0; TAPS];
    let mut pair = 0;
    while pair < TAPS / 2 {
        taps[2 * pair] = even * MIRROR[pair];
        taps[2 * pair + 1] = odd * MIRROR[TAPS / 2 - 1 - pair];
        pair += 1;
    }
    taps
}

/// Pairs that are filtered at a time: 10 ms.
const BLOCK: usize = 80;
/// Samples before a block that its filter reaches back to.
const HISTORY: usize = TAPS - SAMPLES_PER_OCTET;

/// A block of pairs with what came before it.
type Window = [i16; HISTORY + SAMPLES_PER_OCTET * BLOCK];

/// What a filter sees of the pair with this number.
fn seen(window: &Window, pair: usize) -> &[i16] {
    &window[SAMPLES_PER_OCTET * pair..][..TAPS]
}

/// The sum of products. It stays below 2^30: the taps add up to less than 2^14.
fn filtered(samples: &[i16], taps: &[i16; TAPS]) -> i32 {
    samples.iter().zip(taps).map(|(sample, tap)| i32::from(*sample) * i32::from(*tap)).sum()
}

/// One direction's encoder.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    history: [i16; HISTORY],
    low: Band,
    high: Band,
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self { history: [0; HISTORY], low: Band::new(LOW), high: Band::new(HIGH) }
    }
}

impl G722Encoder {
    /// Encodes pairs of samples at 16 kHz, as many as both slices hold; returns how many octets. An odd last sample is
    /// left out.
    pub fn encode(&mut self, samples: &[i16], octets: &mut [u8]) -> usize {
        let pairs = octets.len().min(samples.len() / SAMPLES_PER_OCTET);
        let samples = &samples[..pairs * SAMPLES_PER_OCTET];
        let blocks = samples.chunks(BLOCK * SAMPLES_PER_OCTET);
        for (octets, samples) in octets[..pairs].chunks_mut(BLOCK).zip(blocks) {
            let mut window: Window = [0; _];
            window[..HISTORY].copy_from_slice(&self.history);
            window[HISTORY..][..samples.len()].copy_from_slice(samples);
            for (pair, octet) in octets.iter_mut().enumerate() {
                let seen = seen(&window, pair);
                *octet = self.encode_bands(filtered(seen, &LOW_BAND) >> 14, filtered(seen, &HIGH_BAND) >> 14);
            }
            self.history.copy_from_slice(&window[samples.len()..][..HISTORY]);
        }
        pairs
    }

    fn encode_bands(&mut self, low: i32, high: i32) -> u8 {
        let low_code = quantise_low(saturated(low - self.low.expected), self.low.step);
        self.low.adapt_low(usize::from(low_code));
        let high_code = quantise_high(saturated(high - self.high.expected), self.high.step);
        self.high.adapt_high(usize::from(high_code));
        high_code << 6 | low_code
    }
}

/// A magnitude that is symmetric about minus one half.
const fn magnitude(difference: i32) -> i32 {
    difference ^ (difference >> 31)
}

/// `QUANTL`: six bits. All levels are compared, in lanes, which is quicker than a search whose turns nobody can foresee.
fn quantise_low(difference: i32, step: i32) -> u8 {
    let (magnitude, step) = (magnitude(difference) as u16, step as u32);
    let is_reached = |level: &u16| u16::from(magnitude >= ((u32::from(*level) * step) >> 16) as u16);
    let levels: u16 = LOW_LEVELS.iter().map(is_reached).sum();
    // What fills the lanes up is reached last, beyond the last level.
    let level = (levels as u8).min(LOW_DECISIONS.len() as u8);
    match (difference < 0, level) {
        // Table 5: codes count down with the magnitude; 0 to 3 are never sent.
        (false, level) => 61 - level,
        (true, level @ 0..=1) => 63 - level,
        (true, level) => 33 - level,
    }
}

/// [`LOW_DECISIONS`] such that a product with the step is shifted by a whole word, in whole vectors.
const LOW_LEVELS: [u16; 32] = {
    let mut levels = [u16::MAX; 32];
    let mut at = 0;
    while at < LOW_DECISIONS.len() {
        levels[at] = LOW_DECISIONS[at] << 4;
        at += 1;
    }
    levels
};

/// `QUANTH`: two bits.
const fn quantise_high(difference: i32, step: i32) -> u8 {
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
    history: [i16; HISTORY],
    low: Band,
    high: Band,
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self { history: [0; HISTORY], low: Band::new(LOW), high: Band::new(HIGH) }
    }
}

impl G722Decoder {
    /// Decodes octets to pairs of samples at 16 kHz, as many as both slices hold; returns how many samples.
    pub fn decode(&mut self, octets: &[u8], samples: &mut [i16]) -> usize {
        let pairs = octets.len().min(samples.len() / SAMPLES_PER_OCTET);
        let samples = &mut samples[..pairs * SAMPLES_PER_OCTET];
        let blocks = samples.chunks_mut(BLOCK * SAMPLES_PER_OCTET);
        for (octets, samples) in octets[..pairs].chunks(BLOCK).zip(blocks) {
            let mut window: Window = [0; _];
            window[..HISTORY].copy_from_slice(&self.history);
            for (pair, octet) in window[HISTORY..].chunks_exact_mut(SAMPLES_PER_OCTET).zip(octets) {
                let (low, high) = self.decode_bands(*octet);
                // Both are within 15 bits, so sum and difference lose nothing.
                pair.copy_from_slice(&[(low + high) as i16, (low - high) as i16]);
            }
            for (number, pair) in samples.chunks_exact_mut(SAMPLES_PER_OCTET).enumerate() {
                let seen = seen(&window, number);
                let sums = [filtered(seen, &ODD_HALF), filtered(seen, &EVEN_HALF)];
                pair.copy_from_slice(&sums.map(|sum| saturated(sum >> 11) as i16));
            }
            self.history.copy_from_slice(&window[samples.len()..][..HISTORY]);
        }
        pairs * SAMPLES_PER_OCTET
    }

    fn decode_bands(&mut self, octet: u8) -> (i32, i32) {
        let (low_code, high_code) = (usize::from(octet & 0x3f), usize::from(octet >> 6));
        let low = self.low.expected + scaled(self.low.step, LOW_SIX_BITS[low_code]);
        self.low.adapt_low(low_code);
        let high = self.high.expected + scaled(self.high.step, HIGH_TWO_BITS[high_code]);
        self.high.adapt_high(high_code);
        // LIMIT
        (low.clamp(-16_384, 16_383), high.clamp(-16_384, 16_383))
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

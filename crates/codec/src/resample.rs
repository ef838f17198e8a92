//! Sample rates changed by a whole or broken factor, with a polyphase filter.
//!
//! To go from rate A to rate B = A·L/M one would put L−1 zeros between samples, cut off with a low-pass at half of the
//! lower rate, and keep every M-th sample. Most products would be with zeros, so each output takes only the taps of its
//! phase. The low-pass is a sinc under a Kaiser window: flat to 85 % of the usable band, 70 dB down where aliases begin.

use std::{f64::consts::PI, sync::OnceLock};

/// Rates in use, Hz.
pub const RATES_HZ: [u32; 4] = [8000, 16_000, 32_000, 48_000];
/// Pass-band edge, as a share of half the lower rate: 3400 of 4000 Hz.
const PASS_SHARE: f64 = 0.85;
/// Stop-band attenuation, dB. G.711 itself has 38 dB of signal over noise, G.722 about 60.
const STOP_DB: f64 = 72.0;
/// Products in flight at once: as many as a 256-bit register holds.
const LANES: usize = 8;
/// Longest block that one call takes, ms: the longest packet of Opus.
const BLOCK_MS_MAX: u32 = 120;

/// The filter between two rates, phase by phase.
#[derive(Debug)]
struct Kernel {
    /// Taps of each phase, oldest sample first; a multiple of [`LANES`].
    phase_taps: usize,
    taps: Vec<f32>,
}

impl Kernel {
    fn new(up: u32, down: u32) -> Self {
        let widest = f64::from(up.max(down));
        // In units of the filter's own rate: half the lower rate, and the middle of the band left to fall off.
        let nyquist = 0.5 / widest;
        let (cutoff, transition) = (nyquist * (1.0 + PASS_SHARE) / 2.0, nyquist * (1.0 - PASS_SHARE));
        let order = (STOP_DB - 7.95) / (2.285 * 2.0 * PI * transition);
        let phase_taps = ((order / f64::from(up)).ceil() as usize + 1).next_multiple_of(LANES);
        let length = phase_taps * up as usize;
        let beta = 0.1102 * (STOP_DB - 8.7);
        let middle = (length - 1) as f64 / 2.0;
        let prototype: Vec<f64> = (0..length)
            .map(|tap| {
                let at = tap as f64 - middle;
                let sinc = if at == 0.0 { 2.0 * cutoff } else { (2.0 * PI * cutoff * at).sin() / (PI * at) };
                let window = bessel(beta * (1.0 - (at / middle).powi(2)).max(0.0).sqrt()) / bessel(beta);
                sinc * window * f64::from(up)
            })
            .collect();
        let mut taps = Vec::with_capacity(length);
        for phase in 0..up as usize {
            taps.extend((0..phase_taps).rev().map(|tap| prototype[tap * up as usize + phase] as f32));
        }
        Self { phase_taps, taps }
    }

    /// The kernel for `up`/`down`, computed once for the process: it is a constant that takes too long to write down.
    fn shared(up: u32, down: u32) -> &'static Self {
        static KERNELS: [OnceLock<Kernel>; 64] = [const { OnceLock::new() }; 64];
        // Both factors are 1 to 6: ratios of the four rates in lowest terms.
        let place = (up * 8 + down) as usize % KERNELS.len();
        KERNELS[place].get_or_init(|| Self::new(up, down))
    }
}

/// Modified Bessel function of the first kind and order zero.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for step in 1..64 {
        term *= (x / (2.0 * f64::from(step))).powi(2);
        sum += term;
    }
    sum
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Changes the rate of one stream. Allocates nothing after [`new`](Self::new).
#[derive(Clone, Debug)]
pub struct Resampler {
    up: u32,
    down: u32,
    kernel: &'static Kernel,
    /// The last samples before the block, then the block.
    window: Vec<f32>,
    /// Phase of the next output, 0..`up`, counted from the first sample of the next block.
    phase: u32,
}

impl Resampler {
    /// From one of [`RATES_HZ`] to another, or to the same; `None` for others.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Self> {
        if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
            return None;
        }
        let common = gcd(from_hz, to_hz);
        let (up, down) = (to_hz / common, from_hz / common);
        let kernel = Kernel::shared(up, down);
        let room = kernel.phase_taps - 1 + (from_hz / 1000 * BLOCK_MS_MAX) as usize;
        let mut window = Vec::with_capacity(room);
        window.resize(kernel.phase_taps - 1, 0.0);
        Some(Self { up, down, kernel, window, phase: 0 })
    }

    /// Most samples that come of a block of `len`.
    pub const fn output_len_max(&self, len: usize) -> usize {
        (len * self.up as usize).div_ceil(self.down as usize) + 1
    }

    /// Takes a block, at most 120 ms, and appends what comes of it to `output`, which should have room for
    /// [`output_len_max`](Self::output_len_max) more.
    pub fn process(&mut self, block: &[i16], output: &mut Vec<i16>) {
        if self.up == self.down {
            return output.extend_from_slice(block);
        }
        let taps = self.kernel.phase_taps;
        self.window.extend(block.iter().map(|sample| f32::from(*sample)));
        let end = block.len() as u32 * self.up;
        while self.phase < end {
            let (start, phase) = ((self.phase / self.up) as usize, (self.phase % self.up) as usize);
            let phase_taps = &self.kernel.taps[phase * taps..][..taps];
            let sum = dot(&self.window[start..][..taps], phase_taps);
            // A float cast saturates: that is the clipping.
            output.push(sum.round() as i16);
            self.phase += self.down;
        }
        self.phase -= end;
        let done = self.window.len() - (taps - 1);
        self.window.copy_within(done.., 0);
        self.window.truncate(taps - 1);
    }
}

/// The sum of products, in lanes that the compiler turns into vector instructions.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (left, right) in left.chunks_exact(LANES).zip(right.chunks_exact(LANES)) {
        for (lane, (left, right)) in lanes.iter_mut().zip(left.iter().zip(right)) {
            *lane += left * right;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dbm0, LevelMeter, ToneDetector, ToneGenerator};

    fn through(from_hz: u32, to_hz: u32, hz: f64) -> Vec<i16> {
        let mut samples = vec![0; from_hz as usize / 2];
        ToneGenerator::new(from_hz, &[(hz, Dbm0(-6.0))]).unwrap().fill(&mut samples);
        let (mut resampler, mut output) = (Resampler::new(from_hz, to_hz).unwrap(), Vec::new());
        for block in samples.chunks(from_hz as usize / 50) {
            resampler.process(block, &mut output);
        }
        output.split_off(to_hz as usize / 10)
    }

    fn pairs() -> impl Iterator<Item = (u32, u32)> {
        RATES_HZ.into_iter().flat_map(|from| RATES_HZ.map(|to| (from, to)))
    }

    #[test]
    fn the_pass_band_is_flat_within_a_tenth_of_a_db() {
        for (from, to) in pairs() {
            let edge = f64::from(from.min(to)) / 2.0 * PASS_SHARE;
            for share in [0.02, 0.25, 0.5, 0.8, 1.0] {
                let output = through(from, to, edge * share);
                let block = to as usize / 10;
                let reading = ToneDetector::new(to, edge * share, block).unwrap().feed(&output[..block]);
                let reading = reading.unwrap();
                assert!((reading.level.0 + 6.0).abs() < 0.1, "{from} {to} {share} {reading:?}");
                assert!(reading.snr_db() > 60.0, "{from} {to} {share} {reading:?}");
            }
        }
    }

    #[test]
    fn what_would_fold_back_is_60_db_down() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            for share in [1.02, 1.2, 1.45] {
                let hz = f64::from(to) / 2.0 * share;
                let mut meter = LevelMeter::new();
                meter.feed(&through(from, to, hz));
                assert!(meter.level().0 < -66.0, "{from} {to} {hz} {}", meter.level());
            }
        }
    }

    #[test]
    fn blocks_of_any_length_give_the_same_samples() {
        let samples: Vec<i16> = (0..3000).map(|at| (at * 7919 % 20_000 - 10_000) as i16).collect();
        for (from, to) in pairs() {
            let run = |block: usize| {
                let (mut resampler, mut output) = (Resampler::new(from, to).unwrap(), Vec::new());
                samples.chunks(block).for_each(|block| resampler.process(block, &mut output));
                output
            };
            let whole = run(600);
            assert_eq!(whole.len(), (3000 * to as usize).div_ceil(from as usize), "{from} {to}");
            assert_eq!(run(7), whole, "{from} {to}");
        }
    }

    #[test]
    fn other_rates_are_refused() {
        assert!(Resampler::new(44_100, 8000).is_none() && Resampler::new(8000, 0).is_none());
    }
}

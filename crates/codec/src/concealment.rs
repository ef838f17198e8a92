//! What to play for a packet that never came: the sound before it, gone on with.
//!
//! The idea is that of ITU-T G.711 Appendix I. Speech nearly repeats itself from one pitch period to the next, so the last
//! period is repeated, later the last two and three, since one alone would buzz. After 10 ms it fades, and after 60 ms there
//! is silence: nobody can guess that far. When packets come again, their first milliseconds are blended with the
//! repetition. Unlike the Appendix, nothing is delayed: the seam at the loss is inside the repeated period.

/// Pitch that is looked for: 66 to 200 Hz, as periods in 1/10000 s.
const PERIOD_MIN: usize = 50;
const PERIOD_MAX: usize = 150;
/// Sound by which periods are compared, ms.
const COMPARED_MS: usize = 20;
/// Most periods repeated.
const PERIODS_MAX: usize = 3;
/// Repeated as it is for so long, ms; then more periods are taken, and it fades.
const STEADY_MS: usize = 10;
/// Silence after so long, ms.
const FADED_MS: usize = 60;
/// How long returning packets are blended in, ms.
const BLEND_MS: usize = 5;

/// Conceals the gaps of one stream. Allocates nothing after [`new`](Self::new).
#[derive(Clone, Debug)]
pub struct Concealment {
    /// Samples per ms.
    per_ms: usize,
    /// The last sound heard: the longest repetition and the periods before it that are compared.
    heard: Vec<i16>,
    /// What is repeated: the last periods, whose end leads over to their beginning.
    cycle: Vec<i16>,
    /// One period, samples.
    period: usize,
    /// The next sample of the cycle.
    at: usize,
    /// Samples made since the last packet; 0: nothing is missing.
    made: usize,
}

impl Concealment {
    /// For sound at `rate` Hz, a multiple of 1000.
    pub fn new(rate: u32) -> Self {
        let per_ms = (rate / 1000) as usize;
        let longest = PERIOD_MAX * per_ms / 10;
        let history = (PERIODS_MAX * longest + longest / 4).max(COMPARED_MS * per_ms + longest);
        Self {
            per_ms,
            heard: vec![0; history],
            cycle: Vec::with_capacity(PERIODS_MAX * longest),
            period: longest,
            at: 0,
            made: 0,
        }
    }

    /// Takes sound that came. If some was missing before it, its beginning is blended with what was made up.
    pub fn hear(&mut self, samples: &mut [i16]) {
        if self.made > 0 {
            let blend = (BLEND_MS * self.per_ms).min(samples.len());
            for (done, sample) in samples[..blend].iter_mut().enumerate() {
                *sample = mixed(self.next_sample(), *sample, done, blend);
            }
            self.made = 0;
        }
        let kept = samples.len().min(self.heard.len());
        self.heard.copy_within(kept.., 0);
        let start = self.heard.len() - kept;
        self.heard[start..].copy_from_slice(&samples[samples.len() - kept..]);
    }

    /// Makes up sound for what is missing.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if self.made == 0 {
            self.period = self.find_period();
            self.at = 0;
            self.repeat(1);
        }
        for sample in samples {
            *sample = self.next_sample();
        }
    }

    fn next_sample(&mut self) -> i16 {
        let steady = STEADY_MS * self.per_ms;
        if self.made > 0 && self.made.is_multiple_of(steady) && self.made / steady < PERIODS_MAX {
            self.repeat(self.made / steady + 1);
        }
        let faded = FADED_MS * self.per_ms;
        let left = faded.saturating_sub(self.made).min(faded - steady) as i32;
        let sample = i32::from(self.cycle[self.at]) * left / (faded - steady) as i32;
        self.at = (self.at + 1) % self.cycle.len();
        // Beyond the fading nothing changes any more, so the count may rest there.
        self.made = (self.made + 1).min(faded);
        sample as i16
    }

    /// Repeats the last `periods` from now on. The reading place keeps its phase.
    fn repeat(&mut self, periods: usize) {
        let length = periods * self.period;
        let start = self.heard.len() - length;
        self.cycle.clear();
        self.cycle.extend_from_slice(&self.heard[start..]);
        // The last quarter of a period leads over to what came before the first.
        let seam = self.period / 4;
        for done in 0..seam {
            let at = length - seam + done;
            self.cycle[at] = mixed(self.cycle[at], self.heard[start - seam + done], done, seam);
        }
        self.at %= self.period;
    }

    /// The shift, in samples, by which the sound is most like itself.
    fn find_period(&self) -> usize {
        let compared = COMPARED_MS * self.per_ms;
        let (min, max) = (PERIOD_MIN * self.per_ms / 10, PERIOD_MAX * self.per_ms / 10);
        // Looked for in every second sample at 16 kHz and so on, then around the best: pitch is below 1 kHz.
        let stride = (self.per_ms / 8).max(1);
        let rough = best_of((min..=max).step_by(stride), |shift| self.likeness(shift, compared, stride));
        let around = rough.saturating_sub(stride).max(min)..=(rough + stride).min(max);
        best_of(around, |shift| self.likeness(shift, compared, 1))
    }

    /// Normalised correlation with the sound `shift` samples earlier, sign kept, squared.
    fn likeness(&self, shift: usize, compared: usize, stride: usize) -> f64 {
        let end = self.heard.len();
        let now = &self.heard[end - compared..];
        let then = &self.heard[end - compared - shift..end - shift];
        let (mut product, mut energy) = (0i64, 1i64);
        for (now, then) in now.iter().zip(then).step_by(stride) {
            product += i64::from(*now) * i64::from(*then);
            energy += i64::from(*then) * i64::from(*then);
        }
        product as f64 * product.abs() as f64 / energy as f64
    }
}

fn best_of(shifts: impl Iterator<Item = usize>, likeness: impl Fn(usize) -> f64) -> usize {
    let scored = shifts.map(|shift| (shift, likeness(shift)));
    scored.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(PERIOD_MAX, |(shift, _)| shift)
}

/// From one sample to another: `done` of `all` steps made.
fn mixed(from: i16, to: i16, done: usize, all: usize) -> i16 {
    let (from, to, done, all) = (i32::from(from), i32::from(to), done as i32, all.max(1) as i32);
    ((from * (all - done) + to * done) / all) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dbm0, LevelMeter, ToneDetector, ToneGenerator};

    #[test]
    fn a_voice_goes_on_over_a_lost_packet_without_a_click() {
        for rate in [8000, 16_000] {
            let packet = rate as usize / 50;
            let sines = [(150.0, Dbm0(-16.0)), (450.0, Dbm0(-20.0)), (1200.0, Dbm0(-26.0))];
            let mut voice = ToneGenerator::new(rate, &sines).unwrap();
            let mut concealment = Concealment::new(rate);
            let mut sound = Vec::new();
            for number in 0..20 {
                let mut samples = vec![0; packet];
                voice.fill(&mut samples);
                if number == 10 {
                    concealment.conceal(&mut samples)
                } else {
                    concealment.hear(&mut samples)
                }
                sound.extend(samples);
            }
            let mut original = vec![0; sound.len()];
            ToneGenerator::new(rate, &sines).unwrap().fill(&mut original);
            let step = |sound: &[i16]| {
                sound.windows(2).map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs()).max().unwrap()
            };
            let (ours, theirs) = (step(&sound), step(&original));
            assert!(ours <= theirs * 3 / 2, "{rate}: a step of {ours}, the voice has {theirs}");
            let gap = &sound[10 * packet..11 * packet];
            let error: Vec<i16> =
                gap.iter().zip(&original[10 * packet..]).map(|(ours, theirs)| ours - theirs).collect();
            let level = |sound: &[i16]| {
                let mut meter = LevelMeter::new();
                meter.feed(sound);
                meter.level().0
            };
            assert!(level(&error) < level(gap) - 8.0, "{rate}: {} {}", level(&error), level(gap));
        }
    }

    #[test]
    fn a_long_gap_falls_silent_and_sound_returns_unharmed() {
        let mut voice = ToneGenerator::new(8000, &[(200.0, Dbm0(-10.0))]).unwrap();
        let (mut concealment, mut samples) = (Concealment::new(8000), [0; 800]);
        voice.fill(&mut samples);
        concealment.hear(&mut samples);
        concealment.conceal(&mut samples);
        assert!(samples[480..].iter().all(|sample| *sample == 0), "silent after 60 ms");
        voice.fill(&mut samples);
        concealment.hear(&mut samples);
        let reading = ToneDetector::new(8000, 200.0, 400).unwrap().feed(&samples[400..]).unwrap();
        assert!((reading.level.0 + 10.0).abs() < 0.1 && reading.snr_db() > 60.0);
    }

    #[test]
    fn nothing_heard_conceals_as_silence() {
        let mut samples = [1; 320];
        Concealment::new(16_000).conceal(&mut samples);
        assert_eq!(samples, [0; 320]);
    }
}

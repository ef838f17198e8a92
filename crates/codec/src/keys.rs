//! Keys heard as sound: two tones at once, one of a row and one of a column (ITU-T Q.23, Q.24).
//!
//! Every 6.4 ms the last 12.75 ms are looked at through eight narrow ears. A look counts if one row and one column hold
//! nearly all of the energy there is: speech has tones in these places too, but never alone. Four looks in a row that agree
//! make a key. So a tone of 40 ms is always found and one of 24 ms never; four looks without it end the key, so that a gap of
//! 10 ms in the middle does not make two of one, and a pause of 40 ms does.

use std::f32::consts::TAU;

use crate::Dbm0;

/// Frequencies of the rows, Hz. Q.23.
const ROWS: [u16; 4] = [697, 770, 852, 941];
/// Frequencies of the columns, Hz. Q.23.
const COLUMNS: [u16; 4] = [1209, 1336, 1477, 1633];
const LETTERS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Samples of a look at 8000 Hz. 102 samples are 78 Hz wide, which tells neighbours apart that are 73 Hz from each other.
const LOOK_SAMPLES_AT_8000: u32 = 102;
/// Looks that must agree.
const HITS: u8 = 4;
/// Looks without a key that end it.
const MISSES: u8 = 4;
/// The quieter of two tones must be at least so loud. Q.24 wants -25 to -29 dBm to be found, and -55 not to be.
const LEVEL_MIN: Dbm0 = Dbm0(-35.0);
/// The column may be so much louder than the row, as a power: 4 dB (Q.24), and what a look measures beside the truth.
const COLUMN_OVER_ROW: f32 = 3.2;
/// The row may be so much louder than the column: 8 dB (Q.24), and what a strong row takes from the column beside it.
const ROW_OVER_COLUMN: f32 = 10.0;
/// A tone stands out from the others of its group by so much: 6 dB.
const OVER_OTHERS: f32 = 4.0;
/// Share of all energy that the two tones hold. With noise 10 dB below them they hold 0.91; a tone 1.5 % beside its place,
/// which must be found, seems to hold 0.87, one 3.5 % beside it, which must not, 0.5.
const SHARE: f32 = 0.72;

/// The two tones of a key, Hz; `None` if the letter is none of `0` to `9`, `*`, `#`, `A` to `D`.
pub fn tones_of_key(letter: char) -> Option<[u16; 2]> {
    LETTERS.iter().zip(ROWS).find_map(|(letters, row)| {
        let column = letters.iter().position(|known| *known == letter)?;
        Some([row, COLUMNS[column]])
    })
}

/// Listens for keys in one sound.
#[derive(Clone, Debug)]
pub struct KeyDetector {
    /// For each row and column: twice the cosine of its step.
    coefficients: [f32; 8],
    /// The last samples, as many as a look takes.
    window: Vec<f32>,
    /// Where the next sample goes.
    at: usize,
    /// Samples until the next look.
    until_look: usize,
    level_min: f32,
    candidate: Option<char>,
    hits: u8,
    /// The key that is down.
    down: Option<char>,
    misses: u8,
}

impl KeyDetector {
    /// For sound of `rate` Hz, 8000 or more; `None` below, where the columns cannot be heard.
    pub fn new(rate: u32) -> Option<Self> {
        if !(8000..=48_000).contains(&rate) {
            return None;
        }
        let samples = (LOOK_SAMPLES_AT_8000 * rate / 8000) as usize;
        let mut coefficients = [0.0; 8];
        for (coefficient, hz) in coefficients.iter_mut().zip(ROWS.iter().chain(&COLUMNS)) {
            *coefficient = 2.0 * (TAU * f32::from(*hz) / rate as f32).cos();
        }
        // The energy that a look finds of a sine of this peak: (peak * samples / 2)².
        let level_min = (LEVEL_MIN.peak() as f32 * samples as f32 / 2.0).powi(2);
        let window = vec![0.0; samples];
        let until_look = samples / 2;
        Some(Self {
            coefficients,
            window,
            at: 0,
            until_look,
            level_min,
            candidate: None,
            hits: 0,
            down: None,
            misses: 0,
        })
    }

    /// Takes samples in; tells each key once, when it is known to be down. At most one in some 25 ms of sound: feed packets.
    pub fn feed(&mut self, samples: &[i16]) -> Option<char> {
        let mut found = None;
        for sample in samples {
            self.window[self.at] = f32::from(*sample);
            self.at = (self.at + 1) % self.window.len();
            self.until_look -= 1;
            if self.until_look == 0 {
                self.until_look = self.window.len() / 2;
                let seen = self.look();
                found = found.or(self.count(seen));
            }
        }
        found
    }

    /// Whether a key is down.
    pub const fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// The key that the window holds.
    fn look(&self) -> Option<char> {
        let (late, early) = self.window.split_at(self.at);
        let total: f32 = self.window.iter().map(|sample| sample * sample).sum();
        let mut energies = [0.0_f32; 8];
        for (energy, coefficient) in energies.iter_mut().zip(self.coefficients) {
            let (mut last, mut before) = (0.0_f32, 0.0_f32);
            for sample in early.iter().chain(late) {
                let next = sample + coefficient * last - before;
                before = std::mem::replace(&mut last, next);
            }
            *energy = last * last + before * before - coefficient * last * before;
        }
        let (rows, columns) = energies.split_at(4);
        let ((row, row_energy), (column, column_energy)) = (loudest(rows)?, loudest(columns)?);
        let share = 2.0 * (row_energy + column_energy) / (self.window.len() as f32 * total);
        let is_key = row_energy.min(column_energy) >= self.level_min
            && column_energy <= row_energy * COLUMN_OVER_ROW
            && row_energy <= column_energy * ROW_OVER_COLUMN
            && share >= SHARE;
        is_key.then(|| LETTERS[row][column])
    }

    fn count(&mut self, seen: Option<char>) -> Option<char> {
        match seen {
            Some(_) if seen == self.candidate => self.hits = self.hits.saturating_add(1),
            _ => (self.candidate, self.hits) = (seen, 1),
        }
        if seen.is_some() && seen == self.down {
            self.misses = 0;
            return None;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES {
            self.down = None;
        }
        let pressed = self.candidate.filter(|_| self.hits >= HITS)?;
        (self.down, self.misses) = (Some(pressed), 0);
        Some(pressed)
    }
}

/// The one of a group that stands out from the others.
fn loudest(energies: &[f32]) -> Option<(usize, f32)> {
    let (at, &energy) = energies.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let stands_out =
        energies.iter().enumerate().all(|(other, &less)| other == at || less * OVER_OTHERS <= energy);
    stands_out.then_some((at, energy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{G711, ToneGenerator};

    const KEYS: &str = "1234567890*#ABCD";

    /// A key's tones: levels of row and column, both frequencies by the factor `off` beside their place, so many ms, at a rate.
    fn tone(letter: char, [row, column]: [f64; 2], off: f64, ms: u32, rate: u32) -> Vec<i16> {
        let [row_hz, column_hz] = tones_of_key(letter).unwrap().map(|hz| f64::from(hz) * off);
        let mut out = vec![0; (ms * rate / 1000) as usize];
        ToneGenerator::new(rate, &[(row_hz, Dbm0(row)), (column_hz, Dbm0(column))]).unwrap().fill(&mut out);
        out
    }

    fn silence(ms: u32, rate: u32) -> Vec<i16> {
        vec![0; (ms * rate / 1000) as usize]
    }

    fn heard(sound: &[i16], rate: u32) -> String {
        let mut detector = KeyDetector::new(rate).unwrap();
        sound.chunks((rate / 100) as usize).filter_map(|packet| detector.feed(packet)).collect()
    }

    /// Reproducible noise of about this level.
    fn noise(sound: &mut [i16], level: Dbm0, seed: u32) {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        // Uniform noise of this peak has a third of its square as power; a sine has half.
        let peak = level.peak() * (1.5_f64).sqrt();
        for sample in sound {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let part = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
            *sample = sample.saturating_add((part * peak) as i16);
        }
    }

    fn all_keys(ms: u32, pause: u32, levels: [f64; 2], off: f64, rate: u32) -> Vec<i16> {
        let mut sound = silence(37, rate);
        for letter in KEYS.chars() {
            sound.extend(tone(letter, levels, off, ms, rate));
            sound.extend(silence(pause, rate));
        }
        sound
    }

    #[test]
    fn forty_ms_with_pauses_of_forty_are_found_at_every_rate_and_level() {
        for rate in [8000, 16_000, 32_000, 48_000] {
            for level in [-3.0, -10.0, -25.0, -29.0] {
                assert_eq!(heard(&all_keys(40, 40, [level; 2], 1.0, rate), rate), KEYS, "{rate} {level}");
            }
        }
    }

    #[test]
    fn twenty_three_ms_are_never_a_key_wherever_they_begin() {
        for lead in 0..60 {
            let mut sound = vec![0; 100 + lead];
            for letter in KEYS.chars() {
                sound.extend(tone(letter, [-10.0; 2], 1.0, 23, 8000));
                sound.extend(silence(60, 8000));
            }
            assert_eq!(heard(&sound, 8000), "", "{lead}");
        }
    }

    #[test]
    fn forty_ms_are_a_key_wherever_they_begin() {
        for lead in 0..60 {
            let mut sound = vec![0; 100 + lead];
            sound.extend(all_keys(40, 40, [-10.0; 2], 1.0, 8000));
            assert_eq!(heard(&sound, 8000), KEYS, "{lead}");
        }
    }

    #[test]
    fn one_and_a_half_percent_beside_is_found_and_three_and_a_half_is_not() {
        for off in [0.985, 1.015] {
            assert_eq!(heard(&all_keys(50, 50, [-10.0; 2], off, 8000), 8000), KEYS, "{off}");
        }
        for off in [0.965, 1.035] {
            assert_eq!(heard(&all_keys(50, 50, [-10.0; 2], off, 8000), 8000), "", "{off}");
        }
    }

    #[test]
    fn twist_is_taken_within_q24_and_not_far_beyond() {
        for levels in [[-10.0, -6.0], [-6.0, -14.0]] {
            assert_eq!(heard(&all_keys(50, 50, levels, 1.0, 8000), 8000), KEYS, "{levels:?}");
        }
        for levels in [[-16.0, -6.0], [-6.0, -19.0]] {
            assert_eq!(heard(&all_keys(50, 50, levels, 1.0, 8000), 8000), "", "{levels:?}");
        }
    }

    #[test]
    fn noise_fifteen_db_below_costs_no_key() {
        for seed in 0..20 {
            let mut sound = all_keys(50, 50, [-10.0; 2], 1.0, 8000);
            noise(&mut sound, Dbm0(-22.0), seed);
            assert_eq!(heard(&sound, 8000), KEYS, "{seed}");
        }
    }

    #[test]
    fn clipped_and_coded_keys_are_found() {
        let mut sound = all_keys(50, 50, [-3.0; 2], 1.0, 8000);
        sound.iter_mut().for_each(|sample| *sample = (*sample).clamp(-14_000, 14_000));
        for law in [G711::ALaw, G711::MuLaw] {
            let coded: Vec<i16> =
                sound.iter().map(|sample| law.decode_sample(law.encode_sample(*sample))).collect();
            assert_eq!(heard(&coded, 8000), KEYS);
        }
    }

    #[test]
    fn a_gap_of_ten_ms_does_not_make_two_of_one() {
        for at in [20, 33, 41, 50] {
            let mut sound = tone('5', [-10.0; 2], 1.0, 120, 8000);
            sound[at * 8..(at + 10) * 8].fill(0);
            sound.extend(silence(60, 8000));
            assert_eq!(heard(&sound, 8000), "5", "{at}");
        }
    }

    #[test]
    fn the_same_key_twice_is_two() {
        let mut sound = tone('7', [-10.0; 2], 1.0, 60, 8000);
        sound.extend(silence(40, 8000));
        sound.extend(tone('7', [-10.0; 2], 1.0, 60, 8000));
        assert_eq!(heard(&sound, 8000), "77");
    }

    #[test]
    fn signals_of_the_network_and_noise_are_no_keys() {
        let mut sound = Vec::new();
        for sines in [&[425][..], &[350, 440], &[480, 620], &[440, 480], &[950], &[1400], &[697], &[1209]] {
            let sines: Vec<_> = sines.iter().map(|hz| (f64::from(*hz), Dbm0(-10.0))).collect();
            let mut out = vec![0; 2000];
            ToneGenerator::new(8000, &sines).unwrap().fill(&mut out);
            sound.extend(out);
        }
        let mut hiss = silence(30_000, 8000);
        noise(&mut hiss, Dbm0(-10.0), 7);
        sound.extend(hiss);
        assert_eq!(heard(&sound, 8000), "");
    }

    #[test]
    fn rates_that_cannot_carry_keys_are_refused() {
        assert!(KeyDetector::new(7999).is_none() && KeyDetector::new(96_000).is_none());
        assert_eq!(tones_of_key('5'), Some([770, 1336]));
        assert_eq!(tones_of_key('x'), None);
    }
}

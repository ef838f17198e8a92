//! A jitter buffer of samples: packets go in when they come, frames come out by the clock.
//!
//! What matters is the cushion: the samples that are left when a frame was taken, at the worst moment of the last second. Too
//! few, and a packet that is a little late leaves a hole; more than are wanted, and the listener hears everything later than
//! needed. So the cushion is steered, and with it everything else: jitter makes it dip, which widens it; a sender whose clock
//! is fast makes it grow, one whose clock is slow makes it shrink, and both are corrected a few milliseconds at a time, where
//! the two sides of the cut sound alike.

use crate::Concealment;

/// Longest sound that waits, ms. Whatever is more is a sender that does not keep to real time, and its oldest sound goes.
const WAITING_MS_MAX: usize = 400;
/// The cushion that is wanted at first and at least, ms.
const CUSHION_MS_MIN: usize = 5;
/// The widest cushion, ms: beyond it people talk across each other more than they would mind a hole.
const CUSHION_MS_MAX: usize = 120;
/// By so much the cushion widens where it was too small, ms.
const WIDEN_MS: usize = 10;
/// It narrows by a millisecond after so many frames without a hole: 2 s of 20 ms.
const CALM_FRAMES: u32 = 100;
/// Frames over which the worst moment is looked for: 1 s of 20 ms.
const WATCHED_FRAMES: u32 = 50;
/// A cushion wider than wanted by this is cut, ms.
const EXCESS_MS: usize = 4;
/// Most that is cut out of one frame, ms.
const CUT_MS_MAX: usize = 5;
/// The two sides of a cut are blended over so long, ms.
const BLEND_MS: usize = 2;
/// A sender that was not heard for so many frames has paused: what comes then begins anew.
const PAUSED_AFTER_FRAMES: u32 = 10;

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Played {
    /// Sound that came.
    Sound,
    /// At least in part made up, for what has not come yet.
    Concealed,
    /// Nothing: the sender pauses.
    Silence,
}

/// The buffer of one sender. Allocates nothing after [`new`](Self::new).
#[derive(Clone, Debug)]
pub struct Playout {
    per_ms: usize,
    waiting: Vec<i16>,
    /// Samples of `waiting` that were played already; the rest is moved down when room is needed.
    start: usize,
    concealment: Concealment,
    cushion: usize,
    is_playing: bool,
    /// Frames in a row that had nothing of their own.
    empty_frames: u32,
    /// Frames since the last hole.
    calm_frames: u32,
    watched_frames: u32,
    /// The smallest cushion of the frames that are watched.
    smallest: usize,
}

impl Playout {
    /// For sound of `rate` Hz, a multiple of 1000.
    pub fn new(rate: u32) -> Self {
        let per_ms = (rate / 1000) as usize;
        Self {
            per_ms,
            waiting: Vec::with_capacity(2 * WAITING_MS_MAX * per_ms),
            start: 0,
            concealment: Concealment::new(rate),
            cushion: CUSHION_MS_MIN * per_ms,
            is_playing: false,
            empty_frames: 0,
            calm_frames: 0,
            watched_frames: 0,
            smallest: usize::MAX,
        }
    }

    /// Samples that wait.
    pub const fn waiting(&self) -> usize {
        self.waiting.len() - self.start
    }

    /// The cushion that is wanted now, ms.
    pub const fn cushion_ms(&self) -> usize {
        self.cushion / self.per_ms
    }

    /// Takes the sound of a packet.
    pub fn push(&mut self, sound: &[i16]) {
        let most = WAITING_MS_MAX * self.per_ms;
        let sound = &sound[sound.len().saturating_sub(most)..];
        let over = (self.waiting() + sound.len()).saturating_sub(most);
        self.start += over;
        if self.waiting.len() + sound.len() > self.waiting.capacity() {
            self.waiting.drain(..self.start);
            self.start = 0;
        }
        self.waiting.extend_from_slice(sound);
    }

    /// Fills the next frame, 10 to 60 ms.
    pub fn pull(&mut self, frame: &mut [i16]) -> Played {
        if !self.is_playing {
            if self.waiting() < frame.len() + self.cushion {
                frame.fill(0);
                return Played::Silence;
            }
            self.begin();
        }
        self.cut_excess(frame.len());
        let there = self.waiting().min(frame.len());
        let (sound, hole) = frame.split_at_mut(there);
        if there > 0 {
            sound.copy_from_slice(&self.waiting[self.start..self.start + there]);
            self.start += there;
            self.concealment.hear(sound);
        }
        if hole.is_empty() {
            self.empty_frames = 0;
            self.note_calm();
            return Played::Sound;
        }
        self.concealment.conceal(hole);
        self.note_hole(there)
    }

    fn begin(&mut self) {
        (self.is_playing, self.empty_frames) = (true, 0);
        (self.watched_frames, self.smallest) = (0, usize::MAX);
    }

    fn note_calm(&mut self) {
        self.smallest = self.smallest.min(self.waiting());
        self.watched_frames += 1;
        self.calm_frames += 1;
        if self.calm_frames.is_multiple_of(CALM_FRAMES) {
            self.cushion = self.cushion.saturating_sub(self.per_ms).max(CUSHION_MS_MIN * self.per_ms);
        }
    }

    fn note_hole(&mut self, there: usize) -> Played {
        self.empty_frames += 1;
        if self.empty_frames == 1 {
            // The packet was late, or the sender pauses: where it is a pause, nothing is lost by a wider cushion either.
            self.cushion = (self.cushion + WIDEN_MS * self.per_ms).min(CUSHION_MS_MAX * self.per_ms);
            self.calm_frames = 0;
        }
        (self.watched_frames, self.smallest) = (0, usize::MAX);
        if self.empty_frames >= PAUSED_AFTER_FRAMES {
            // It was a pause, and no fault of the cushion.
            self.cushion =
                self.cushion.saturating_sub(WIDEN_MS * self.per_ms).max(CUSHION_MS_MIN * self.per_ms);
            self.is_playing = false;
        }
        if there == 0 && self.empty_frames > 3 { Played::Silence } else { Played::Concealed }
    }

    /// Where more has waited all the time than is wanted, some of it is left out.
    fn cut_excess(&mut self, frame: usize) {
        if self.watched_frames < WATCHED_FRAMES {
            return;
        }
        let excess = self.smallest.saturating_sub(self.cushion);
        if excess < EXCESS_MS * self.per_ms {
            (self.watched_frames, self.smallest) = (0, usize::MAX);
            return;
        }
        let cut = self.best_cut(excess.min(CUT_MS_MAX * self.per_ms), frame);
        if cut == 0 {
            return;
        }
        // What follows the cut is blended into what precedes it.
        let blend = BLEND_MS * self.per_ms;
        for at in 0..blend {
            let (before, after) = (self.waiting[self.start + at], self.waiting[self.start + cut + at]);
            let (at, all) = (at as i32, blend as i32);
            let mixed = (i32::from(before) * (all - at) + i32::from(after) * at) / all;
            self.waiting[self.start + cut + at as usize] = mixed as i16;
        }
        self.start += cut;
        self.smallest -= cut;
    }

    /// How much is cut best, at most `most` samples: where the sound after the cut is most like that before it.
    fn best_cut(&self, most: usize, frame: usize) -> usize {
        let compared = BLEND_MS * self.per_ms;
        let sound = &self.waiting[self.start..];
        if sound.len() < frame + most + compared {
            return 0;
        }
        let difference = |cut: usize| -> i64 {
            let pairs = sound[..compared].iter().zip(&sound[cut..cut + compared]);
            pairs.map(|(a, b)| i64::from((i32::from(*a) - i32::from(*b)).abs())).sum()
        };
        let least = self.per_ms.min(most);
        (least..=most).min_by_key(|cut| difference(*cut)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dbm0, ToneDetector, ToneGenerator};

    const FRAME: usize = 160;

    /// A sender and a listener whose clocks differ, in simulated time, with packets that come later than they should by what
    /// `late_ms` says.
    struct Line {
        playout: Playout,
        generator: ToneGenerator,
        heard: Vec<i16>,
        concealed: usize,
        most_waiting: usize,
    }

    impl Line {
        fn new() -> Self {
            Self {
                playout: Playout::new(8000),
                generator: ToneGenerator::new(8000, &[(440.0, Dbm0(-10.0))]).unwrap(),
                heard: Vec::new(),
                concealed: 0,
                most_waiting: 0,
            }
        }

        /// Lets `frames` pass. A packet is sent every 20 ms of a clock that is fast by `ppm`.
        fn run(&mut self, frames: u64, ppm: i64, late_us: impl Fn(u64) -> u64) {
            let interval = |packet: u64| (packet as i64 * (20_000 - ppm / 50)) as u64;
            let mut arrivals: Vec<u64> =
                (0..frames + 2).map(|packet| interval(packet) + late_us(packet)).collect();
            // What comes late holds up what was sent after it.
            for at in 1..arrivals.len() {
                arrivals[at] = arrivals[at].max(arrivals[at - 1]);
            }
            let mut next = 0;
            for frame in 0..frames {
                let now = frame * 20_000 + 3000;
                while arrivals.get(next).is_some_and(|at| *at <= now) {
                    let mut packet = [0; FRAME];
                    self.generator.fill(&mut packet);
                    self.playout.push(&packet);
                    next += 1;
                }
                let mut out = [0; FRAME];
                self.concealed += usize::from(self.playout.pull(&mut out) == Played::Concealed);
                self.heard.extend(out);
                self.most_waiting = self.most_waiting.max(self.playout.waiting());
            }
        }

        /// Share of blocks of 50 ms in which the tone is clear.
        fn clear(&self) -> f64 {
            let mut detector = ToneDetector::new(8000, 440.0, 400).unwrap();
            let readings: Vec<_> =
                self.heard.chunks_exact(400).filter_map(|block| detector.feed(block)).collect();
            let clear = readings.iter().filter(|reading| reading.is_tone(Dbm0(-12.0), 15.0)).count();
            clear as f64 / readings.len() as f64
        }
    }

    #[test]
    fn a_steady_sender_is_heard_soon_and_whole() {
        let mut line = Line::new();
        line.run(500, 0, |_| 0);
        assert_eq!(line.concealed, 0);
        assert!(line.clear() > 0.99, "{}", line.clear());
        assert!(line.playout.waiting() <= 25 * 8, "{} ms wait", line.playout.waiting() / 8);
    }

    #[test]
    fn jitter_widens_the_cushion_until_nothing_is_missing_and_calm_narrows_it() {
        let mut line = Line::new();
        // Up to 40 ms late, irregularly.
        line.run(500, 0, |packet| (packet * 7919 % 41) * 1000);
        let concealed = line.concealed;
        line.run(1000, 0, |packet| (packet * 7919 % 41) * 1000);
        assert!(
            line.concealed - concealed <= 5,
            "{} of 1000 once it is used to it",
            line.concealed - concealed
        );
        assert!((15..=80).contains(&line.playout.cushion_ms()), "{}", line.playout.cushion_ms());
        line.run(20_000, 0, |_| 0);
        assert_eq!(line.playout.cushion_ms(), CUSHION_MS_MIN);
        assert!(line.playout.waiting() <= 30 * 8, "{} ms wait", line.playout.waiting() / 8);
    }

    /// Ten minutes with a clock 200 ppm beside: 120 ms would pile up, or be missing.
    #[test]
    fn drift_is_corrected_for_ten_minutes() {
        for ppm in [-200, 200] {
            let mut line = Line::new();
            line.run(30_000, ppm, |_| 0);
            assert!(line.most_waiting <= 60 * 8, "{ppm}: {} ms waited", line.most_waiting / 8);
            assert!(line.concealed <= 30, "{ppm}: {} concealed", line.concealed);
            assert!(line.clear() > 0.99, "{ppm}: {}", line.clear());
        }
    }

    #[test]
    fn a_pause_is_silent_and_what_follows_begins_whole() {
        let mut line = Line::new();
        line.run(100, 0, |_| 0);
        let mut out = [1; FRAME];
        for _ in 0..30 {
            line.playout.pull(&mut out);
        }
        assert_eq!((line.playout.pull(&mut out), out), (Played::Silence, [0; FRAME]));
        assert_eq!(line.playout.cushion_ms(), CUSHION_MS_MIN);
        line.heard.clear();
        line.concealed = 0;
        line.run(100, 0, |_| 0);
        assert_eq!(line.concealed, 0);
        assert!(line.clear() > 0.9, "{}", line.clear());
    }

    #[test]
    fn a_flood_keeps_its_newest_sound_and_no_more() {
        let mut playout = Playout::new(16_000);
        for _ in 0..1000 {
            playout.push(&[1; 1920]);
        }
        assert_eq!(playout.waiting(), WAITING_MS_MAX * 16);
        playout.push(&[2; 100_000]);
        let mut out = [0; 320];
        assert_eq!((playout.pull(&mut out), out), (Played::Sound, [2; 320]));
    }
}

//! What a leg is played: pieces one after the other, at the rate of all sounds, in frames of one beat.
//!
//! Everything is made ready when the command comes; filling a frame copies and computes, and allocates nothing.

use std::sync::Arc;

use offhook_codec::{Dbm0, ToneGenerator};
use offhook_switch::media::{PIECES_MAX, Piece};

use crate::sounds::{SOUND_RATE, Sounds};

/// Level of each sine of a tone. E.180 leaves it to the country; this is what an exchange gives.
const TONE_LEVEL: Dbm0 = Dbm0(-13.0);

#[derive(Debug)]
struct Loaded {
    what: What,
    /// Its length, samples.
    samples: usize,
}

#[derive(Debug)]
enum What {
    Silence,
    Tone(ToneGenerator),
    Sound(Arc<[i16]>),
}

/// Plays pieces.
#[derive(Debug)]
pub struct Player {
    /// Told at the end.
    pub number: u32,
    repeats: bool,
    pieces: Vec<Loaded>,
    /// The piece that is heard, and how much of it was.
    at: usize,
    done: usize,
}

impl Player {
    /// Makes `pieces` ready; unknown sounds are left out.
    pub fn new(number: u32, repeats: bool, pieces: &[Piece], sounds: &Sounds) -> Self {
        let pieces: Vec<Loaded> =
            pieces.iter().take(PIECES_MAX).filter_map(|piece| load(piece, sounds)).collect();
        Self { number, repeats, pieces, at: 0, done: 0 }
    }

    /// Fills `frame`; what is left of it after the end is silent. False: this was the end.
    pub fn fill(&mut self, mut frame: &mut [i16]) -> bool {
        while !frame.is_empty() {
            let Some(piece) = self.pieces.get_mut(self.at) else {
                frame.fill(0);
                return false;
            };
            let now = frame.len().min(piece.samples - self.done);
            let (part, rest) = frame.split_at_mut(now);
            match &mut piece.what {
                What::Silence => part.fill(0),
                What::Tone(generator) => generator.fill(part),
                What::Sound(samples) => part.copy_from_slice(&samples[self.done..self.done + now]),
            }
            frame = rest;
            self.done += now;
            if self.done == piece.samples {
                (self.at, self.done) = (self.at + 1, 0);
                if self.repeats && self.at == self.pieces.len() {
                    self.at = 0;
                }
            }
        }
        self.at < self.pieces.len()
    }
}

fn load(piece: &Piece, sounds: &Sounds) -> Option<Loaded> {
    let of_ms = |ms: u32| (u64::from(ms) * u64::from(SOUND_RATE) / 1000) as usize;
    let (what, samples) = match piece {
        Piece::Silence(ms) => (What::Silence, of_ms(*ms)),
        Piece::Tone { sines, ms } => {
            let mut levels = [(0.0, TONE_LEVEL); ToneGenerator::MAX_SINES];
            let count = sines.len().min(levels.len());
            levels.iter_mut().zip(*sines).for_each(|(place, hz)| place.0 = f64::from(*hz));
            (What::Tone(ToneGenerator::new(SOUND_RATE, &levels[..count])?), of_ms(*ms))
        }
        Piece::Sound(name) => {
            let samples = sounds.get(name)?;
            (What::Sound(Arc::clone(samples)), samples.len())
        }
    };
    // Nothing of nothing: it could be repeated for ever within one frame.
    (samples > 0).then_some(Loaded { what, samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(repeats: bool, pieces: &[Piece]) -> Player {
        Player::new(1, repeats, pieces, &Sounds::built_in())
    }

    #[test]
    fn pieces_follow_each_other_without_a_gap_and_then_there_is_silence() {
        let sound = Sounds::built_in().get("5").unwrap().to_vec();
        let mut player = player(false, &[Piece::Sound("5"), Piece::Sound("none"), Piece::Sound("5")]);
        let mut heard = Vec::new();
        let mut frame = [1; 320];
        while player.fill(&mut frame) {
            heard.extend(frame);
        }
        heard.extend(frame);
        let twice: Vec<i16> = sound.iter().chain(&sound).copied().collect();
        assert_eq!(heard[..twice.len()], twice);
        assert!(heard[twice.len()..].iter().all(|sample| *sample == 0));
        assert!(!player.fill(&mut frame) && frame == [0; 320]);
    }

    #[test]
    fn a_steady_tone_repeats_without_a_seam() {
        let mut repeated = player(true, &[Piece::Tone { sines: &[425], ms: 30 }]);
        let mut whole = player(false, &[Piece::Tone { sines: &[425], ms: 1000 }]);
        for _ in 0..40 {
            let (mut a, mut b) = ([0; 320], [0; 320]);
            assert!(repeated.fill(&mut a) && whole.fill(&mut b));
            assert_eq!(a, b);
        }
    }

    #[test]
    fn nothing_to_repeat_ends_at_once() {
        let mut frame = [1; 320];
        assert!(!player(true, &[Piece::Silence(0), Piece::Sound("none")]).fill(&mut frame));
        assert_eq!(frame, [0; 320]);
    }
}

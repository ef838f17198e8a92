//! Rooms: everybody hears everybody else, and nobody itself.
//!
//! At each beat one frame is taken of every member, the loudest few that speak are added up, and each member is said the sum,
//! those few the sum without themselves. So a beat costs one addition per speaker and one subtraction per speaker, however
//! many listen; what grows with the listeners is only their coding and sending.
//!
//! Members come and go by commands; a beat allocates nothing, unless the room has changed its rate since the last one.

use offhook_codec::{Dbm0, Leveller, Played, Playout, Resampler, voice::PACKET_MS_MAX};
use offhook_switch::{media::RoomId, tape::Consent};

use super::{
    BEAT_MS, FRAME,
    tape::{Tape, Tapes},
};
use crate::{relay::voice::Voice, sounds::SOUND_RATE};

/// Members of one room. A thread can serve some more, and an assembly that large wants a stage and listeners, not a room.
pub const MEMBERS_MAX: usize = 2000;
/// Speakers that are heard at once: of more voices nobody understands any.
const SPEAKERS_MAX: usize = 8;
/// What is softer is not heard by the others: the rooms of many people add up to a loud one.
const HEARD_FROM: Dbm0 = Dbm0(-48.0);
/// Who has spoken is heard for so many frames more: 400 ms, so that no word loses its end.
const HANGOVER_FRAMES: u8 = 20;
/// Who is heard already stays before somebody as loud, dB: speakers must not take turns by the syllable.
const STAYS_DB: f64 = 3.0;
/// Narrow-band rooms need only half of the samples.
const NARROW_RATE: u32 = 8000;

/// A room and who is in it, by the slots of their endpoints.
#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    pub members: Vec<usize>,
    /// Hz: that of the member who needs the most.
    rate: u32,
    sum: Vec<i32>,
    /// Who is heard in this beat: level and slot.
    speakers: Vec<(f64, usize)>,
    /// What those say who have agreed to it.
    tape: Option<Tape>,
}

/// A member's place.
#[derive(Debug)]
pub struct Seat {
    /// The room's number in the table of rooms.
    pub room: usize,
    /// The others hear it.
    pub talks: bool,
    /// It hears the others.
    pub hears: bool,
    ear: Playout,
    leveller: Leveller,
    /// From the rate of its voice to that of the room.
    resampler: Option<(u32, u32, Resampler)>,
    /// Its frame of this beat, at the room's rate.
    frame: Vec<i16>,
    /// At the rate of its voice.
    raw: Vec<i16>,
    level: f64,
    /// Frames that it is still heard for.
    hangover: u8,
    is_speaking: bool,
    /// It has agreed to be recorded.
    is_recorded: bool,
}

impl Seat {
    /// For a member whose voice has this rate, Hz.
    pub fn new(room: usize, talks: bool, hears: bool, voice_rate: u32) -> Self {
        Self {
            room,
            talks,
            hears,
            ear: Playout::new(voice_rate),
            leveller: Leveller::default(),
            resampler: None,
            frame: Vec::with_capacity(FRAME + 1 + (PACKET_MS_MAX * SOUND_RATE / 1000) as usize),
            raw: vec![0; (voice_rate / 50) as usize],
            level: Dbm0::FLOOR.0,
            hangover: 0,
            is_speaking: false,
            is_recorded: false,
        }
    }

    /// The same for a member who has agreed to be recorded, or not.
    pub fn recorded(self, is_recorded: bool) -> Self {
        Self { is_recorded, ..self }
    }

    /// Takes what the member says.
    pub fn hear(&mut self, sound: &[i16]) {
        self.ear.push(sound);
    }

    /// Its voice has this rate from now on.
    pub fn follow(&mut self, voice_rate: u32) {
        if self.raw.len() != (voice_rate / 50) as usize {
            let is_recorded = self.is_recorded;
            *self = Self::new(self.room, self.talks, self.hears, voice_rate).recorded(is_recorded);
        }
    }

    /// Takes its next frame at `rate`. `is_there`: it does not hold.
    fn next_frame(&mut self, rate: u32, is_there: bool) {
        let voice_rate = (self.raw.len() * 50) as u32;
        let played = self.ear.pull(&mut self.raw);
        self.frame.clear();
        if played == Played::Silence || !self.talks || !is_there {
            (self.level, self.hangover) = (Dbm0::FLOOR.0, self.hangover.saturating_sub(1));
            return;
        }
        self.level = self.leveller.process(&mut self.raw).0;
        let is_loud = self.level >= HEARD_FROM.0;
        self.hangover = if is_loud { HANGOVER_FRAMES } else { self.hangover.saturating_sub(1) };
        if self.hangover == 0 {
            return;
        }
        if voice_rate == rate {
            return self.frame.extend_from_slice(&self.raw);
        }
        if !matches!(self.resampler, Some((from, to, _)) if (from, to) == (voice_rate, rate)) {
            self.resampler = Resampler::new(voice_rate, rate).map(|resampler| (voice_rate, rate, resampler));
        }
        if let Some((_, _, resampler)) = &mut self.resampler {
            resampler.process(&self.raw, &mut self.frame);
        }
    }

    fn standing(&self) -> f64 {
        self.level + if self.is_speaking { STAYS_DB } else { 0.0 }
    }
}

/// A member as a room works with it.
pub trait Member {
    /// Its place and its voice, and whether it may be sent to: one that holds hears nothing, and is not heard, since the
    /// music that its exchange plays meanwhile is not for the others.
    fn seat(&mut self) -> Option<(&mut Seat, &mut Voice, bool)>;
}

impl Room {
    /// An empty one.
    pub fn new(id: RoomId) -> Self {
        Self {
            id,
            members: Vec::new(),
            rate: NARROW_RATE,
            sum: Vec::with_capacity(FRAME),
            speakers: Vec::with_capacity(SPEAKERS_MAX + 1),
            tape: None,
        }
    }

    /// Has a member recorded who has agreed to it. False: nobody keeps it.
    pub fn record(&mut self, tapes: &mut Tapes, consent: Consent) -> bool {
        if self.tape.is_none() {
            self.tape = tapes.begin(&self.id);
            // A tape has one rate, that of the best.
            self.rate = SOUND_RATE;
        }
        self.tape.as_ref().is_some_and(|tape| tape.agree(tapes, consent))
    }

    /// Whether it is recorded.
    pub const fn is_recorded(&self) -> bool {
        self.tape.is_some()
    }

    /// Nobody is left.
    pub fn end_tape(&mut self, tapes: &mut Tapes) {
        if let Some(tape) = self.tape.take() {
            tape.end(tapes);
        }
    }

    /// Lets each member hear the others. `member` finds it by its slot.
    pub fn beat<M: Member>(&mut self, slots: &mut [Option<M>], tapes: &mut Tapes) {
        let samples = (self.rate / 50) as usize;
        let mut rate = if self.is_recorded() { SOUND_RATE } else { NARROW_RATE };
        let mut agreed = [0; FRAME];
        self.speakers.clear();
        for &slot in &self.members {
            let Some((seat, voice, is_there)) = slots[slot].as_mut().and_then(M::seat) else { continue };
            rate = rate.max(voice.rate().min(SOUND_RATE));
            seat.next_frame(self.rate, is_there);
            if !seat.frame.is_empty() {
                self.speakers.push((seat.standing(), slot));
                keep_loudest(&mut self.speakers);
            }
            seat.is_speaking = false;
        }
        self.sum.clear();
        self.sum.resize(samples, 0);
        for &(_, slot) in &self.speakers {
            let Some((seat, ..)) = slots[slot].as_mut().and_then(M::seat) else { continue };
            seat.is_speaking = true;
            seat.frame.resize(samples, 0);
            self.sum.iter_mut().zip(&seat.frame).for_each(|(sum, sample)| *sum += i32::from(*sample));
            if seat.is_recorded {
                agreed.iter_mut().zip(&seat.frame).for_each(|(sum, sample)| *sum += i32::from(*sample));
            }
        }
        if let Some(tape) = &mut self.tape {
            tape.write(tapes, agreed[..samples].iter().map(|sum| clipped(*sum)));
        }
        let mut all = [0; FRAME];
        all.iter_mut().zip(&self.sum).for_each(|(sample, sum)| *sample = clipped(*sum));
        for &slot in &self.members {
            let Some((seat, voice, is_there)) = slots[slot].as_mut().and_then(M::seat) else { continue };
            if !is_there {
                voice.rest(BEAT_MS as u32);
            } else if !seat.hears {
                voice.say(&[0; FRAME][..samples], self.rate);
            } else if seat.is_speaking {
                let mut others = [0; FRAME];
                let without =
                    self.sum.iter().zip(&seat.frame).map(|(sum, own)| clipped(sum - i32::from(*own)));
                others.iter_mut().zip(without).for_each(|(sample, other)| *sample = other);
                voice.say(&others[..samples], self.rate);
            } else {
                voice.say(&all[..samples], self.rate);
            }
        }
        // From the next beat on: frames of one beat have one length.
        self.rate = rate;
    }
}

/// Of one speaker more than are heard the softest goes.
fn keep_loudest(speakers: &mut Vec<(f64, usize)>) {
    if speakers.len() <= SPEAKERS_MAX {
        return;
    }
    let softest = speakers.iter().enumerate().min_by(|a, b| a.1.0.total_cmp(&b.1.0));
    if let Some((at, _)) = softest {
        speakers.swap_remove(at);
    }
}

/// A sum that is too loud is clipped: with levelled speakers that is a shout in a quarrel.
fn clipped(sum: i32) -> i16 {
    sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

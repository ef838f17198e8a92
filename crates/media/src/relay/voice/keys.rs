//! Keys that one leg says as telephone events (RFC 4733) and the other wants to hear as sound (ITU-T Q.23).
//!
//! An event becomes its two tones, as long as its packets say. A phone may go on sending sound meanwhile or not; so what was
//! said of tones is owed, and paid by the sound or the pause that follows: time neither jumps nor stretches.

use std::time::Duration;

use offhook_base::Instant;
use offhook_codec::{Dbm0, ToneGenerator, tones_of_key};
use offhook_rtp::{
    rtp::{Ssrc, Timestamp},
    telephone_event::TelephoneEvent,
};

/// Levels of row and column: what phones give, the column a little louder, since lines are harder on it.
const LEVELS: [Dbm0; 2] = [Dbm0(-10.0), Dbm0(-8.0)];
/// A shorter press is made so long, ms: Q.24 wants 40 to be found.
const TONE_MS_MIN: u64 = 60;
/// Most that one packet makes, ms: updates come every 20 to 50 ms, and whatever claims more has lost some, or lies.
const PACKET_TONE_MS_MAX: u64 = 120;
/// No packet of a press for so long: it is over, and its end was lost.
const SILENCE: Duration = Duration::from_millis(250);

/// The tones of a key at `rate` Hz.
pub fn tones(letter: char, rate: u32) -> Option<ToneGenerator> {
    let [row, column] = tones_of_key(letter)?.map(f64::from);
    ToneGenerator::new(rate, &[(row, LEVELS[0]), (column, LEVELS[1])])
}

/// A press that is being said.
#[derive(Debug)]
struct Press {
    source: Ssrc,
    start: Timestamp,
    tones: ToneGenerator,
    /// Samples.
    said: u64,
    is_down: bool,
    heard_at: Instant,
}

/// Makes tones of the events of one stream.
#[derive(Debug, Default)]
pub struct KeyTones {
    press: Option<Press>,
    /// Samples of tones that were said and that time has not caught up with.
    owed: u64,
    sound: Vec<i16>,
}

impl KeyTones {
    /// Takes an event that began at `start` and counts in `clock_rate` Hz; the tones to be said now, at `rate` Hz.
    pub fn event(
        &mut self,
        (source, start): (Ssrc, Timestamp),
        (event, clock_rate): (TelephoneEvent, u32),
        rate: u32,
        now: Instant,
    ) -> &[i16] {
        self.sound.clear();
        let is_known = match &self.press {
            Some(press) if press.source == source && press.start == start => true,
            // A straggler of the press before.
            Some(press) if press.source == source && press.start.is_newer_than(start) => return &[],
            _ => false,
        };
        if !is_known {
            let Some(tones) = event.code.digit().and_then(|letter| tones(letter, rate)) else { return &[] };
            self.press = Some(Press { source, start, tones, said: 0, is_down: true, heard_at: now });
        }
        let Some(press) = self.press.as_mut().filter(|press| press.is_down) else { return &[] };
        let of_ms = |ms: u64| ms * u64::from(rate) / 1000;
        let lasted = u64::from(event.duration) * u64::from(rate) / u64::from(clock_rate.max(1));
        let wanted = if event.end { lasted.max(of_ms(TONE_MS_MIN)) } else { lasted };
        let count = wanted.saturating_sub(press.said).min(of_ms(PACKET_TONE_MS_MAX));
        press.said = press.said.max(wanted);
        (press.is_down, press.heard_at) = (!event.end, now);
        self.sound.resize(count as usize, 0);
        press.tones.fill(&mut self.sound);
        self.owed += count;
        &self.sound
    }

    /// Pays with a pause of so many samples; what is left of it.
    pub fn pause(&mut self, samples: u64) -> u64 {
        let paid = samples.min(self.owed);
        self.owed -= paid;
        samples - paid
    }

    /// Whether [`pause`](Self::pause) and [`sound`](Self::sound) change anything.
    pub fn is_idle(&self) -> bool {
        self.owed == 0 && self.press.as_ref().is_none_or(|press| !press.is_down)
    }

    /// What is to be said in place of `sound`: less of it where tones are owed for, and more tones while the key is down.
    pub fn sound<'a>(&'a mut self, sound: &'a [i16], now: Instant) -> &'a [i16] {
        let paid = self.owed.min(sound.len() as u64);
        self.owed -= paid;
        let rest = &sound[paid as usize..];
        let Some(press) = self.press.as_mut().filter(|press| press.is_down) else { return rest };
        if now - press.heard_at >= SILENCE {
            press.is_down = false;
            return rest;
        }
        press.said += rest.len() as u64;
        self.sound.clear();
        self.sound.resize(rest.len(), 0);
        press.tones.fill(&mut self.sound);
        &self.sound
    }
}

#[cfg(test)]
mod tests {
    use offhook_codec::KeyDetector;
    use offhook_rtp::telephone_event::EventCode;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_driver_nanos(ms * 1_000_000 + 1)
    }

    fn event(letter: char, ms: u16, end: bool) -> (TelephoneEvent, u32) {
        let code = EventCode::from_digit(letter).unwrap();
        (TelephoneEvent { code, end, volume: 10, duration: ms * 8 }, 8000)
    }

    const START: (Ssrc, Timestamp) = (Ssrc(7), Timestamp(u32::MAX - 100));

    fn keys(sound: &[i16]) -> String {
        let mut detector = KeyDetector::new(8000).unwrap();
        sound.chunks(80).filter_map(|chunk| detector.feed(chunk)).collect()
    }

    #[test]
    fn a_press_lasts_as_long_as_its_packets_say_and_its_repeats_add_nothing() {
        let (mut made, mut said) = (KeyTones::default(), Vec::new());
        for (ms, end) in [(20, false), (40, false), (40, false), (100, true), (100, true), (100, true)] {
            said.extend_from_slice(made.event(START, event('5', ms, end), 8000, at(0)));
        }
        assert_eq!(said.len(), 800);
        assert_eq!(keys(&said), "5");
        // The sound that the phone sent meanwhile, and the pause if it sent none, pay for it.
        assert_eq!(made.pause(300), 0);
        assert_eq!(made.sound(&[1; 160], at(0)), []);
        assert_eq!(made.sound(&[1; 400], at(0)).len(), 60);
        assert!(made.is_idle());
    }

    #[test]
    fn a_press_of_which_only_the_end_came_is_long_enough_to_be_found() {
        let mut made = KeyTones::default();
        assert_eq!(keys(made.event(START, event('#', 20, true), 8000, at(0))), "#");
    }

    #[test]
    fn sound_between_the_packets_of_a_press_does_not_cut_it_in_two() {
        let (mut made, mut said) = (KeyTones::default(), Vec::new());
        said.extend_from_slice(made.event(START, event('9', 20, false), 8000, at(0)));
        for packet in 1..6 {
            said.extend_from_slice(made.sound(&[9000; 160], at(20 * packet)));
        }
        said.extend_from_slice(made.event(START, event('9', 120, true), 8000, at(120)));
        assert_eq!(said.len(), 960);
        assert_eq!(keys(&said), "9");
    }

    #[test]
    fn what_never_ends_ends_with_its_packets_and_lies_are_cut_short() {
        let mut made = KeyTones::default();
        let long = (TelephoneEvent { duration: u16::MAX, ..event('1', 0, false).0 }, 8000);
        assert_eq!(made.event(START, long, 8000, at(0)).len(), 960);
        made.pause(960);
        assert_ne!(made.sound(&[0; 160], at(200)), [0; 160]);
        assert_eq!(made.sound(&[0; 160], at(260)), [0; 160]);
        let older = (START.0, Timestamp(START.1.0 - 1600));
        assert_eq!(made.event(older, event('2', 20, false), 8000, at(300)), []);
        assert_eq!(
            made.event(START, (TelephoneEvent { code: EventCode::FLASH, ..long.0 }, 0), 8000, at(300)),
            []
        );
    }
}

//! Keys pressed during a call, as RTP payloads (RFC 4733): one press is many packets, and this module makes one fact
//! of them again.
//!
//! A press keeps one RTP timestamp, its start. Packets every 20–50 ms repeat it with a growing duration; the last has
//! the E bit and is sent three times (§2.5.1.4). Any of them may be lost, so a [`Tracker`] takes the press from
//! whichever packet comes first, and its end from the E bit, from the next press, or from silence.

use std::time::Duration;

use offhook_base::Instant;

use crate::rtp::{Ssrc, Timestamp};

/// Length of one event in a payload, in bytes. RFC 4733 §2.3.
pub const EVENT_LEN: usize = 4;
/// Quietest volume that can be said: −63 dBm0. RFC 4733 §2.3.4.
const VOLUME_MAX: u8 = 63;
/// No packet of a press for this long: its end was lost. Three times the longest update interval in use (50 ms), and
/// room for jitter; the RFC leaves the value to the receiver.
const SILENCE: Duration = Duration::from_millis(250);
/// A press longer than the duration field can say continues under a new timestamp. RFC 4733 §2.5.1.3.
const SEGMENT_UNITS_MAX: u16 = u16::MAX;

/// What was pressed or heard. RFC 4733 §3.2 and its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventCode(pub u8);

impl EventCode {
    /// The hook flash, as RFC 2833 §3.10 numbers it.
    pub const FLASH: Self = Self(16);

    /// The DTMF letter: `0`–`9`, `*`, `#`, `A`–`D`; none for other events.
    pub const fn digit(self) -> Option<char> {
        match self.0 {
            code @ 0..=9 => Some((b'0' + code) as char),
            10 => Some('*'),
            11 => Some('#'),
            code @ 12..=15 => Some((b'A' + code - 12) as char),
            _ => None,
        }
    }

    /// The event of a DTMF letter, in either case.
    pub const fn from_digit(digit: char) -> Option<Self> {
        match digit {
            '0'..='9' => Some(Self(digit as u8 - b'0')),
            '*' => Some(Self(10)),
            '#' => Some(Self(11)),
            'A'..='D' => Some(Self(digit as u8 - b'A' + 12)),
            'a'..='d' => Some(Self(digit as u8 - b'a' + 12)),
            _ => None,
        }
    }
}

/// One payload. RFC 4733 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// What.
    pub code: EventCode,
    /// The E bit: it is over.
    pub end: bool,
    /// Power in −dBm0, 0–63; 10 is usual.
    pub volume: u8,
    /// How long so far, in units of the payload's clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads the first event of a payload; none if it is shorter than an event. Further events packed
    /// into the same payload are not looked at: phones do not pack DTMF.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[code, flags, high, low] = payload.first_chunk()?;
        Some(Self {
            code: EventCode(code),
            end: flags & 0x80 != 0,
            volume: flags & VOLUME_MAX,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The bytes on the wire; a volume above 63 is written as 63.
    pub fn to_bytes(&self) -> [u8; EVENT_LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code.0, u8::from(self.end) << 7 | self.volume.min(VOLUME_MAX), high, low]
    }
}

/// How an event came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A packet with the E bit arrived.
    Signalled,
    /// The packets with the E bit were lost: the next event, or silence, ended it.
    Inferred,
}

/// What a [`Tracker`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFact {
    /// A press begins.
    Started {
        /// What.
        code: EventCode,
        /// When, in the stream's clock.
        start: Timestamp,
    },
    /// It is over: exactly one of these follows each [`EventFact::Started`].
    Ended {
        /// What.
        code: EventCode,
        /// When it began, in the stream's clock.
        start: Timestamp,
        /// How long it was.
        duration: Duration,
        /// How its end was known.
        ending: Ending,
    },
}

/// Up to three facts of one input: an end inferred, a start, an end.
pub type EventFacts = std::iter::Flatten<std::array::IntoIter<Option<EventFact>, 3>>;

/// A press that is not over.
#[derive(Clone, Copy, Debug)]
struct Press {
    code: EventCode,
    start: Timestamp,
    /// Start of the current segment: `start` until the duration field has run full.
    segment_start: Timestamp,
    segment_units: u16,
    last_heard: Instant,
}

impl Press {
    fn ended(&self, ending: Ending, clock_rate: u32) -> EventFact {
        let before = self.segment_start.units_since(self.start);
        let units = u64::from(before) + u64::from(self.segment_units);
        let duration = Duration::from_nanos(units * 1_000_000_000 / u64::from(clock_rate));
        EventFact::Ended { code: self.code, start: self.start, duration, ending }
    }
}

/// Makes facts of the event packets of one received stream. Constant time and memory.
#[derive(Clone, Debug)]
pub struct Tracker {
    clock_rate: u32,
    ssrc: Option<Ssrc>,
    press: Option<Press>,
    /// Segment start of the newest event seen: what is not newer is a copy or a straggler.
    newest: Option<Timestamp>,
}

impl Tracker {
    /// For a payload type with this clock, in Hz as `a=rtpmap` says (8000 if it says 0, which no clock can be):
    /// 8000 is usual, 48000 goes with Opus.
    pub const fn new(clock_rate: u32) -> Self {
        let clock_rate = if clock_rate == 0 { 8000 } else { clock_rate };
        Self { clock_rate, ssrc: None, press: None, newest: None }
    }

    /// Takes one event packet: its header's SSRC, marker and timestamp, and its payload.
    pub fn handle_packet(
        &mut self,
        ssrc: Ssrc,
        marker: bool,
        timestamp: Timestamp,
        event: TelephoneEvent,
        now: Instant,
    ) -> EventFacts {
        let mut facts = [None; 3];
        if self.ssrc != Some(ssrc) {
            // Another source has another clock: nothing of the old one can be compared with it.
            facts[0] = self.end(Ending::Inferred);
            *self = Self { ssrc: Some(ssrc), ..Self::new(self.clock_rate) };
        }
        match (&mut self.press, self.newest) {
            (Some(press), _) if timestamp == press.segment_start => {
                // Another code under the same timestamp is a broken sender; the first one stands.
                press.segment_units = press.segment_units.max(event.duration);
                press.last_heard = now;
            }
            (Some(press), _) if !marker && press.continues_at(timestamp, event.code) => {
                press.segment_start = timestamp;
                press.segment_units = event.duration;
                press.last_heard = now;
                self.newest = Some(timestamp);
            }
            (_, Some(newest)) if !timestamp.is_newer_than(newest) => return facts.into_iter().flatten(),
            _ => {
                facts[0] = facts[0].or_else(|| self.end(Ending::Inferred));
                facts[1] = Some(EventFact::Started { code: event.code, start: timestamp });
                self.newest = Some(timestamp);
                self.press = Some(Press {
                    code: event.code,
                    start: timestamp,
                    segment_start: timestamp,
                    segment_units: event.duration,
                    last_heard: now,
                });
            }
        }
        if event.end {
            facts[2] = self.end(Ending::Signalled);
        }
        facts.into_iter().flatten()
    }

    /// Ends a press whose packets have stopped; call it at [`Tracker::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Option<EventFact> {
        self.poll_timeout().filter(|&deadline| now >= deadline).and_then(|_| self.end(Ending::Inferred))
    }

    /// When a press will be taken as over; none while nothing is pressed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.press.as_ref().map(|press| press.last_heard + SILENCE)
    }

    fn end(&mut self, ending: Ending) -> Option<EventFact> {
        self.press.take().map(|press| press.ended(ending, self.clock_rate))
    }
}

impl Press {
    /// True for the next segment of a long event: it begins where a full one ended. RFC 4733 §2.5.1.3.
    fn continues_at(&self, timestamp: Timestamp, code: EventCode) -> bool {
        code == self.code && timestamp == self.segment_start.wrapping_add(u32::from(SEGMENT_UNITS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: EventCode = EventCode(5);

    fn at(millis: u64) -> Instant {
        Instant::from_driver_nanos(millis * 1_000_000)
    }

    fn event(code: EventCode, duration: u16, end: bool) -> TelephoneEvent {
        TelephoneEvent { code, end, volume: 10, duration }
    }

    fn feed(tracker: &mut Tracker, start: u32, event: TelephoneEvent, millis: u64) -> Vec<EventFact> {
        tracker.handle_packet(Ssrc(1), false, Timestamp(start), event, at(millis)).collect()
    }

    fn started(code: EventCode, start: u32) -> EventFact {
        EventFact::Started { code, start: Timestamp(start) }
    }

    fn ended(code: EventCode, start: u32, millis: u64, ending: Ending) -> EventFact {
        let duration = Duration::from_millis(millis);
        EventFact::Ended { code, start: Timestamp(start), duration, ending }
    }

    #[test]
    fn a_press_of_many_packets_is_one_start_and_one_end() {
        let mut tracker = Tracker::new(8000);
        assert_eq!(feed(&mut tracker, 1000, event(FIVE, 160, false), 0), [started(FIVE, 1000)]);
        assert_eq!(feed(&mut tracker, 1000, event(FIVE, 320, false), 20), []);
        let end = event(FIVE, 800, true);
        assert_eq!(feed(&mut tracker, 1000, end, 80), [ended(FIVE, 1000, 100, Ending::Signalled)]);
        assert_eq!(feed(&mut tracker, 1000, end, 80), [], "first copy of the end");
        assert_eq!(feed(&mut tracker, 1000, event(FIVE, 480, false), 80), [], "a straggler");
        assert_eq!(tracker.poll_timeout(), None);
        assert_eq!(feed(&mut tracker, 2000, event(FIVE, 160, false), 200), [started(FIVE, 2000)]);
    }

    #[test]
    fn the_last_packet_alone_tells_the_whole_press() {
        let mut tracker = Tracker::new(48_000);
        let facts = feed(&mut tracker, 7, event(FIVE, 4800, true), 0);
        assert_eq!(facts, [started(FIVE, 7), ended(FIVE, 7, 100, Ending::Signalled)]);
    }

    #[test]
    fn a_lost_end_is_inferred_from_the_next_press_or_from_silence() {
        let mut tracker = Tracker::new(8000);
        feed(&mut tracker, 1000, event(FIVE, 400, false), 0);
        let facts = feed(&mut tracker, 3000, event(EventCode(11), 160, false), 100);
        assert_eq!(facts, [ended(FIVE, 1000, 50, Ending::Inferred), started(EventCode(11), 3000)]);
        assert_eq!(tracker.poll_timeout(), Some(at(350)));
        assert_eq!(tracker.handle_timeout(at(349)), None);
        let end = ended(EventCode(11), 3000, 20, Ending::Inferred);
        assert_eq!(tracker.handle_timeout(at(350)), Some(end));
        assert_eq!(
            feed(&mut tracker, 3000, event(EventCode(11), 800, true), 400),
            [],
            "too late to count twice"
        );
    }

    #[test]
    fn a_press_longer_than_the_field_is_still_one_press() {
        let mut tracker = Tracker::new(8000);
        feed(&mut tracker, 100, event(FIVE, u16::MAX, false), 0);
        assert_eq!(feed(&mut tracker, 100 + 65_535, event(FIVE, 160, false), 20), []);
        let facts = feed(&mut tracker, 100 + 65_535, event(FIVE, 465, true), 80);
        assert_eq!(facts, [ended(FIVE, 100, 8250, Ending::Signalled)]);
    }

    #[test]
    fn a_new_source_starts_afresh_whatever_its_timestamps() {
        let mut tracker = Tracker::new(8000);
        feed(&mut tracker, 1_000_000, event(FIVE, 160, false), 0);
        let facts: Vec<_> =
            tracker.handle_packet(Ssrc(2), true, Timestamp(5), event(FIVE, 160, false), at(20)).collect();
        assert_eq!(facts, [ended(FIVE, 1_000_000, 20, Ending::Inferred), started(FIVE, 5)]);
    }

    #[test]
    fn digits_and_events_are_two_names_of_one_thing() {
        for digit in "0123456789*#ABCD".chars() {
            assert_eq!(EventCode::from_digit(digit).unwrap().digit(), Some(digit));
        }
        assert_eq!(EventCode::FLASH.digit(), None);
        assert_eq!(EventCode::from_digit('E'), None);
    }
}

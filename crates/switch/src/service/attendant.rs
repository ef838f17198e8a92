//! Who answers: the called side of a call that the node takes itself.

use std::time::Duration;

use offhook_base::{Instant, Moment};
use offhook_codec::{Country, Signal};

use super::{Collect, Collected, Rules, Service, ServiceNumbers, clock::time_of_day};
use crate::{
    media::{Act, Key, Piece, RoomId},
    record::CallId,
    tape::Consent,
};

/// Times that the clock says the time before it hangs up.
const TIMES_SAID: u8 = 3;
/// Times that a menu is said to somebody who chooses nothing that there is.
const MENU_TRIES: u8 = 3;
/// How long somebody may think about a menu.
const MENU_PATIENCE: Duration = Duration::from_secs(5);
/// Digits that a PIN has at most.
const PIN_DIGITS_MAX: usize = 16;
/// How often a PIN may be wrong.
const PIN_TRIES: u8 = 3;
/// What says that one agrees to be recorded. Silence does not, nor any other key.
const AGREE_KEY: &str = "1";
/// How often somebody is asked who presses something else.
const AGREE_TRIES: u8 = 3;
/// What turns one's voice off and on in a room.
const MUTE_KEY: char = '6';
/// What ends everything.
const END_KEY: char = '#';

/// One key is a choice, also while the choices are still being said.
const ONE_KEY: Rules = Rules {
    most: 1,
    terminator: None,
    first: MENU_PATIENCE,
    between: MENU_PATIENCE,
    total: MENU_PATIENCE,
    barge_in: true,
};

/// What happens on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The caller is there.
    Begun,
    /// It has heard what was played under this number.
    Played(u32),
    /// It has pressed a key.
    Key(Key),
    /// There is no place in the room.
    Crowded,
    /// The deadline may have come.
    TimedOut,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The caller hears this.
    Do(Act),
    /// The call ends.
    HangUp,
}

#[derive(Clone, Debug)]
enum State {
    /// Before the caller is there.
    Waiting,
    /// Something is said; this service begins after it.
    Introducing(Service),
    Echo,
    /// The signal that is heard.
    Tones,
    /// The time was begun to be said so often.
    Clock {
        said: u8,
    },
    /// The menu is heard, or a choice is awaited.
    Menu {
        collect: Collect,
        tries: u8,
    },
    /// The PIN of a room is asked for.
    AtDoor {
        collect: Collect,
        tries: u8,
    },
    /// Asked whether it agrees to be recorded.
    AskedToAgree {
        collect: Collect,
        tries: u8,
        is_moderator: bool,
    },
    /// In a room, or told something on the way there.
    InRoom {
        is_moderator: bool,
        is_muted: bool,
        recorded: Option<Consent>,
    },
    /// The last word is being said.
    Leaving,
}

/// The called side.
#[derive(Clone, Debug)]
pub struct Attendant {
    service: Service,
    call: CallId,
    /// Where the call went.
    room: RoomId,
    country: Country,
    utc_offset_minutes: i16,
    state: State,
    /// Number of the latest play.
    plays: u32,
}

impl Attendant {
    /// Will do `service` for `call`, as the settings of `services` have it, once [`Event::Begun`] comes.
    pub const fn new(service: Service, call: CallId, room: RoomId, services: &ServiceNumbers) -> Self {
        let ServiceNumbers { country, utc_offset_minutes, .. } = *services;
        Self { service, call, room, country, utc_offset_minutes, state: State::Waiting, plays: 0 }
    }

    /// When [`Event::TimedOut`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Menu { collect, .. }
            | State::AtDoor { collect, .. }
            | State::AskedToAgree { collect, .. } => collect.deadline(),
            _ => None,
        }
    }

    /// Takes what happens; what comes next, if anything changes.
    pub fn handle(&mut self, event: &Event, now: Moment) -> Option<Step> {
        match event {
            Event::Begun => Some(self.begin(self.service.clone(), now)),
            Event::Played(number) if *number == self.plays => self.heard_out(now),
            Event::Played(_) => None,
            Event::Key(key) => self.pressed(*key, now),
            Event::TimedOut => match &mut self.state {
                State::Menu { collect, .. } => {
                    let collected = collect.timeout(now.instant)?;
                    Some(self.chosen(&collected, now))
                }
                State::AtDoor { collect, .. } => {
                    let collected = collect.timeout(now.instant)?;
                    Some(self.knocked(&collected))
                }
                State::AskedToAgree { collect, .. } => {
                    let collected = collect.timeout(now.instant)?;
                    Some(self.replied(&collected, now))
                }
                _ => None,
            },
            Event::Crowded => {
                self.state = State::Leaving;
                Some(self.say(&["room-full", "goodbye"]))
            }
        }
    }

    fn begin(&mut self, service: Service, now: Moment) -> Step {
        match service {
            Service::Echo => {
                self.state = State::Introducing(service);
                self.say(&["echo-test"])
            }
            Service::Tones => {
                self.state = State::Introducing(service);
                self.say(&["tones"])
            }
            Service::Clock => self.tell_time(1, now),
            Service::Menu => self.offer_menu(1, &["welcome", "menu"]),
            Service::Room(room) if room.asks() => self.ask_for_pin(1, &["room-pin"]),
            Service::Room(_) => self.enter(false),
        }
    }

    /// All that was to be heard was heard.
    fn heard_out(&mut self, now: Moment) -> Option<Step> {
        match &mut self.state {
            State::Introducing(Service::Echo) => {
                self.state = State::Echo;
                Some(Step::Do(Act::Echo))
            }
            State::Introducing(_) => Some(self.sound(Signal::Dial)),
            State::Clock { said } if *said < TIMES_SAID => {
                let said = *said + 1;
                Some(self.tell_time(said, now))
            }
            State::Clock { .. } => Some(self.leave()),
            State::Menu { collect, .. }
            | State::AtDoor { collect, .. }
            | State::AskedToAgree { collect, .. } => {
                collect.prompt_ended(now.instant);
                None
            }
            State::InRoom { .. } => self.take_place(),
            State::Leaving => Some(Step::HangUp),
            State::Waiting | State::Echo | State::Tones => None,
        }
    }

    fn pressed(&mut self, key: Key, now: Moment) -> Option<Step> {
        let may_talk = self.may_talk();
        match &mut self.state {
            State::Menu { collect, .. } => {
                let collected = collect.key(key, now.instant)?;
                Some(self.chosen(&collected, now))
            }
            State::AtDoor { collect, .. } => {
                let collected = collect.key(key, now.instant)?;
                Some(self.knocked(&collected))
            }
            State::AskedToAgree { collect, .. } => {
                let collected = collect.key(key, now.instant)?;
                Some(self.replied(&collected, now))
            }
            State::InRoom { .. } if key.letter() == MUTE_KEY && !may_talk => None,
            State::InRoom { is_muted, .. } if key.letter() == MUTE_KEY => {
                *is_muted = !*is_muted;
                let sound = if *is_muted { "now-muted" } else { "now-unmuted" };
                Some(self.say(&[sound]))
            }
            State::Waiting | State::Leaving => None,
            _ if key.letter() == END_KEY => Some(self.leave()),
            State::Tones | State::Introducing(Service::Tones) => {
                let signal =
                    key.letter().to_digit(10).and_then(|at| Signal::ALL.get(at.checked_sub(1)? as usize));
                signal.map(|signal| self.sound(*signal))
            }
            State::Introducing(Service::Echo) => {
                self.state = State::Echo;
                Some(Step::Do(Act::Echo))
            }
            State::Introducing(_) | State::Echo | State::Clock { .. } | State::InRoom { .. } => None,
        }
    }

    fn ask_for_pin(&mut self, tries: u8, sounds: &[&'static str]) -> Step {
        let rules = Rules {
            most: PIN_DIGITS_MAX,
            terminator: Key::new(END_KEY),
            first: MENU_PATIENCE,
            between: MENU_PATIENCE,
            total: 4 * MENU_PATIENCE,
            barge_in: true,
        };
        self.state = State::AtDoor { collect: Collect::new(rules), tries };
        self.say(sounds)
    }

    fn knocked(&mut self, collected: &Collected) -> Step {
        let (State::AtDoor { tries, .. }, Service::Room(room)) = (&self.state, &self.service) else {
            return self.leave();
        };
        let tries = *tries;
        let digits = match collected {
            Collected::Digits(digits) => digits.letters(),
            Collected::Nothing => "",
        };
        match room.opens_to(digits) {
            Some(is_moderator) => self.enter(is_moderator),
            None if tries < PIN_TRIES => self.ask_for_pin(tries + 1, &["wrong-pin", "room-pin"]),
            None => {
                self.state = State::Leaving;
                self.say(&["wrong-pin", "goodbye"])
            }
        }
    }

    fn enter(&mut self, is_moderator: bool) -> Step {
        if matches!(&self.service, Service::Room(room) if room.recorded) {
            return self.ask_to_agree(1, is_moderator);
        }
        self.be_in(is_moderator, None)
    }

    fn ask_to_agree(&mut self, tries: u8, is_moderator: bool) -> Step {
        let collect = Collect::new(ONE_KEY);
        self.state = State::AskedToAgree { collect, tries, is_moderator };
        self.say(&["room-recorded"])
    }

    fn replied(&mut self, collected: &Collected, now: Moment) -> Step {
        let State::AskedToAgree { tries, is_moderator, .. } = self.state else { return self.leave() };
        match collected {
            Collected::Digits(digits) if digits.letters() == AGREE_KEY => {
                self.be_in(is_moderator, Some(Consent { call: self.call, at: now.utc }))
            }
            Collected::Digits(digits) if digits.letters().contains(END_KEY) => self.leave(),
            _ if tries < AGREE_TRIES => self.ask_to_agree(tries + 1, is_moderator),
            _ => self.leave(),
        }
    }

    fn be_in(&mut self, is_moderator: bool, recorded: Option<Consent>) -> Step {
        self.state = State::InRoom { is_moderator, is_muted: false, recorded };
        self.say(&["you-are-in"])
    }

    /// Whether the room takes its voice at all.
    fn may_talk(&self) -> bool {
        match (&self.state, &self.service) {
            (State::InRoom { is_moderator, .. }, Service::Room(room)) => {
                *is_moderator || !room.only_moderators_talk
            }
            _ => false,
        }
    }

    fn take_place(&self) -> Option<Step> {
        let State::InRoom { is_muted, recorded, .. } = self.state else { return None };
        let talks = self.may_talk() && !is_muted;
        Some(Step::Do(Act::Join { room: self.room.clone(), talks, hears: true, recorded }))
    }

    fn offer_menu(&mut self, tries: u8, sounds: &[&'static str]) -> Step {
        self.state = State::Menu { collect: Collect::new(ONE_KEY), tries };
        self.say(sounds)
    }

    fn chosen(&mut self, collected: &Collected, now: Moment) -> Step {
        let State::Menu { tries, .. } = self.state else { return self.leave() };
        let choice = match collected {
            Collected::Digits(digits) => digits.letters(),
            Collected::Nothing => "",
        };
        match choice {
            "1" => self.begin(Service::Echo, now),
            "2" => self.begin(Service::Clock, now),
            "3" => self.begin(Service::Tones, now),
            "#" => self.leave(),
            _ if tries >= MENU_TRIES => self.leave(),
            "" => self.offer_menu(tries + 1, &["menu"]),
            _ => self.offer_menu(tries + 1, &["no-such-choice", "menu"]),
        }
    }

    fn tell_time(&mut self, said: u8, now: Moment) -> Step {
        self.state = State::Clock { said };
        let mut pieces = time_of_day(now.utc, self.utc_offset_minutes);
        pieces.push(Piece::Silence(1000));
        self.play(pieces, false)
    }

    fn sound(&mut self, signal: Signal) -> Step {
        self.state = State::Tones;
        let beats = self.country.signal(signal).iter();
        let pieces = beats.map(|beat| match beat.sines {
            [] => Piece::Silence(beat.ms),
            sines => Piece::Tone { sines, ms: beat.ms },
        });
        let pieces = pieces.collect();
        self.play(pieces, true)
    }

    fn leave(&mut self) -> Step {
        self.state = State::Leaving;
        self.say(&["goodbye"])
    }

    fn say(&mut self, sounds: &[&'static str]) -> Step {
        // A phone that has just answered may lose the first syllable.
        let pieces = sounds.iter().flat_map(|&sound| [Piece::Silence(200), Piece::Sound(sound)]);
        self.play(pieces.collect(), false)
    }

    fn play(&mut self, pieces: Vec<Piece>, repeats: bool) -> Step {
        self.plays = self.plays.wrapping_add(1);
        Step::Do(Act::Play { number: self.plays, repeats, pieces })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use offhook_base::UtcMillis;

    use super::*;
    use crate::service::Room;

    fn at(secs: u64) -> Moment {
        Moment { instant: Instant::from_driver_nanos(secs * 1_000_000_000), utc: UtcMillis(0) }
    }

    /// A caller of a service, who hears everything out at once.
    struct Caller(Attendant);

    impl Caller {
        fn of(service: Service) -> (Self, Option<Step>) {
            let mut caller = Self(Attendant::new(service, call(), room(), &ServiceNumbers::default()));
            let step = caller.0.handle(&Event::Begun, at(0));
            (caller, step)
        }

        fn hears_out(&mut self) -> Option<Step> {
            let number = self.0.plays;
            self.0.handle(&Event::Played(number), at(1))
        }

        fn presses(&mut self, letter: char) -> Option<Step> {
            self.0.handle(&Event::Key(Key::new(letter).unwrap()), at(2))
        }
    }

    fn room() -> RoomId {
        RoomId { tenant: "default".into(), number: "700".into() }
    }

    fn call() -> CallId {
        CallId::new(UtcMillis(0), &mut offhook_base::Random::from_seed([1; 32]))
    }

    fn place(talks: bool) -> Option<Step> {
        Some(Step::Do(Act::Join { room: room(), talks, hears: true, recorded: None }))
    }

    fn sounds(step: Option<Step>) -> Vec<&'static str> {
        let Some(Step::Do(Act::Play { pieces, .. })) = step else { return Vec::new() };
        let names = pieces.into_iter().filter_map(|piece| match piece {
            Piece::Sound(name) => Some(name),
            _ => None,
        });
        names.collect()
    }

    #[test]
    fn the_echo_follows_its_introduction_and_ends_with_a_key() {
        let (mut caller, step) = Caller::of(Service::Echo);
        assert_eq!(sounds(step), ["echo-test"]);
        assert_eq!(caller.hears_out(), Some(Step::Do(Act::Echo)));
        assert_eq!(caller.presses('5'), None);
        assert_eq!(sounds(caller.presses('#')), ["goodbye"]);
        assert_eq!(caller.hears_out(), Some(Step::HangUp));
    }

    #[test]
    fn the_time_is_said_three_times() {
        let (mut caller, step) = Caller::of(Service::Clock);
        assert_eq!(sounds(step), ["the-time-is", "0", "hours"]);
        assert_eq!(sounds(caller.hears_out()).len(), 3);
        assert_eq!(sounds(caller.hears_out()).len(), 3);
        assert_eq!(sounds(caller.hears_out()), ["goodbye"]);
    }

    #[test]
    fn a_menu_leads_on_and_gives_up_in_the_end() {
        let (mut caller, step) = Caller::of(Service::Menu);
        assert_eq!(sounds(step), ["welcome", "menu"]);
        assert_eq!(sounds(caller.presses('1')), ["echo-test"], "before the menu was heard out");
        let (mut caller, _) = Caller::of(Service::Menu);
        assert_eq!(sounds(caller.presses('8')), ["no-such-choice", "menu"]);
        assert_eq!(caller.hears_out(), None);
        assert_eq!(sounds(caller.0.handle(&Event::TimedOut, at(100))), ["menu"]);
        assert_eq!(sounds(caller.presses('8')), ["goodbye"]);
    }

    fn closed(only_moderators_talk: bool) -> Service {
        let room = Room {
            pin: Some("1234".into()),
            moderator_pin: Some("9".into()),
            only_moderators_talk,
            recorded: false,
        };
        Service::Room(Arc::new(room))
    }

    #[test]
    fn a_room_without_pin_is_open_and_one_may_be_silent_in_it() {
        let (mut caller, step) = Caller::of(Service::Room(Arc::default()));
        assert_eq!(sounds(step), ["you-are-in"]);
        assert_eq!(caller.hears_out(), place(true));
        assert_eq!(sounds(caller.presses('6')), ["now-muted"]);
        assert_eq!(caller.hears_out(), place(false));
        assert_eq!(sounds(caller.presses('6')), ["now-unmuted"]);
        assert_eq!(caller.hears_out(), place(true));
        assert_eq!(sounds(caller.presses('#')), ["goodbye"]);
    }

    fn recorded_room() -> Service {
        Service::Room(Arc::new(Room { recorded: true, ..Room::default() }))
    }

    #[test]
    fn who_agrees_is_let_into_a_recorded_room_with_the_proof_of_it() {
        let (mut caller, step) = Caller::of(recorded_room());
        assert_eq!(sounds(step), ["room-recorded"]);
        assert_eq!(sounds(caller.presses('1')), ["you-are-in"]);
        let recorded = Some(Consent { call: call(), at: UtcMillis(0) });
        let inside = |talks| Some(Step::Do(Act::Join { room: room(), talks, hears: true, recorded }));
        assert_eq!(caller.hears_out(), inside(true));
        caller.presses('6');
        assert_eq!(caller.hears_out(), inside(false), "who is mute has still agreed");
    }

    #[test]
    fn who_does_not_agree_does_not_come_into_a_recorded_room() {
        let (mut caller, _) = Caller::of(recorded_room());
        assert_eq!(sounds(caller.presses('#')), ["goodbye"]);
        let (mut caller, _) = Caller::of(recorded_room());
        for _ in 1..AGREE_TRIES {
            caller.hears_out();
            assert_eq!(sounds(caller.0.handle(&Event::TimedOut, at(100))), ["room-recorded"]);
            assert_eq!(caller.0.handle(&Event::TimedOut, at(101)), None);
        }
        assert_eq!(sounds(caller.presses('5')), ["goodbye"]);
        assert_eq!(caller.hears_out(), Some(Step::HangUp));
    }

    #[test]
    fn a_pin_opens_a_room_and_three_wrong_ones_do_not() {
        let (mut caller, step) = Caller::of(closed(false));
        assert_eq!(sounds(step), ["room-pin"]);
        assert!("123".chars().all(|digit| caller.presses(digit).is_none()));
        assert_eq!(sounds(caller.presses('#')), ["wrong-pin", "room-pin"]);
        assert!("1234".chars().all(|digit| caller.presses(digit).is_none()));
        assert_eq!(sounds(caller.presses('#')), ["you-are-in"]);
        let (mut caller, _) = Caller::of(closed(false));
        assert_eq!(sounds(caller.presses('#')), ["wrong-pin", "room-pin"]);
        caller.hears_out();
        assert_eq!(sounds(caller.0.handle(&Event::TimedOut, at(100))), ["wrong-pin", "room-pin"]);
        assert_eq!(sounds(caller.presses('#')), ["wrong-pin", "goodbye"]);
    }

    #[test]
    fn where_only_moderators_talk_others_listen() {
        for (pin, talks) in [("9", true), ("1234", false)] {
            let (mut caller, _) = Caller::of(closed(true));
            pin.chars().for_each(|digit| drop(caller.presses(digit)));
            caller.presses('#');
            assert_eq!(caller.hears_out(), place(talks), "{pin}");
            assert_eq!(caller.presses('6').is_some(), talks, "{pin}");
        }
    }

    #[test]
    fn a_room_without_a_place_says_so() {
        let (mut caller, _) = Caller::of(Service::Room(Arc::default()));
        caller.hears_out();
        assert_eq!(sounds(caller.0.handle(&Event::Crowded, at(1))), ["room-full", "goodbye"]);
    }

    #[test]
    fn signals_are_chosen_by_keys_and_repeat() {
        let (mut caller, step) = Caller::of(Service::Tones);
        assert_eq!(sounds(step), ["tones"]);
        let Some(Step::Do(Act::Play { repeats: true, pieces, .. })) = caller.presses('3') else {
            panic!("busy")
        };
        assert_eq!(pieces.len(), 2);
        assert_eq!(caller.presses('9'), None);
    }

    #[test]
    fn the_end_of_something_that_was_broken_off_is_not_heeded() {
        let (mut caller, _) = Caller::of(Service::Echo);
        let number = caller.0.plays;
        caller.presses('#');
        assert_eq!(caller.0.handle(&Event::Played(number), at(1)), None);
    }
}

//! What the node does for a caller itself: services that are reached by a number and answer at once.
//!
//! An [`Attendant`] stands for the called side of such a call. It is told what happens on the line, and says what the
//! caller hears next; it knows neither SIP nor RTP.

mod attendant;
mod clock;
mod collect;

use std::sync::Arc;

pub use attendant::{Attendant, Event, Step};
pub use collect::{Collect, Collected, Digits, Rules};
use offhook_codec::Country;
use subtle::ConstantTimeEq as _;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// The caller hears itself, and so how it sounds to others.
    Echo,
    /// The signals of the telephone network, chosen by keys.
    Tones,
    /// The time of day is said.
    Clock,
    /// A menu that leads to the others by keys.
    Menu,
    /// Whoever calls it hears all others that do. Each tenant has a room of its own behind a number.
    Room(Arc<Room>),
}

/// A room for conferences.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Who knows these digits comes in; without them everybody does.
    pub pin: Option<Box<str>>,
    /// Who knows these comes in as a moderator.
    pub moderator_pin: Option<Box<str>>,
    /// Whoever is no moderator listens only.
    pub only_moderators_talk: bool,
    /// What is said is recorded; whoever does not agree does not come in.
    pub recorded: bool,
}

/// A PIN is a secret.
impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("only_moderators_talk", &self.only_moderators_talk)
            .finish_non_exhaustive()
    }
}

impl Room {
    /// Whether digits are asked for.
    const fn asks(&self) -> bool {
        self.pin.is_some() || self.moderator_pin.is_some()
    }

    /// What these digits open: nothing, or a place, as a moderator or not. The time it takes tells nothing of the PIN.
    fn opens_to(&self, digits: &str) -> Option<bool> {
        let is = |pin: &Option<Box<str>>| {
            pin.as_deref().is_some_and(|pin| bool::from(pin.as_bytes().ct_eq(digits.as_bytes())))
        };
        match (is(&self.moderator_pin), is(&self.pin)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            // The moderator's PIN alone keeps nobody out.
            (false, false) => (self.pin.is_none() && digits.is_empty()).then_some(false),
        }
    }
}

/// Longest number of a service, characters.
pub const NUMBER_CHARS_MAX: usize = 32;

/// The numbers by which services are reached. A line of the same name goes before a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNumbers {
    numbers: Vec<(Box<str>, Service)>,
    /// Whose signals are played.
    pub country: Country,
    /// What the clock is ahead of UTC, minutes; -840..=840.
    pub utc_offset_minutes: i16,
}

impl ServiceNumbers {
    /// No numbers yet.
    pub const fn new(country: Country, utc_offset_minutes: i16) -> Self {
        Self { numbers: Vec::new(), country, utc_offset_minutes }
    }

    /// Has `service` reached by `number`; the first of two with one number is reached.
    pub fn add(&mut self, number: &str, service: Service) {
        self.numbers.push((number.into(), service));
    }

    /// The service of a number.
    pub fn of_number(&self, number: &str) -> Option<Service> {
        self.numbers.iter().find(|(known, _)| **known == *number).map(|(_, service)| service.clone())
    }
}

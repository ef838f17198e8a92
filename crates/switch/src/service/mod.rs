//! What the node does for a caller itself: services that are reached by a number and answer at once.
//!
//! An [`Attendant`] stands for the called side of such a call. It is told what happens on the line, and says what the
//! caller hears next; it knows neither SIP nor RTP.

mod attendant;
mod clock;
mod collect;

pub use attendant::{Attendant, Event, Step};
pub use collect::{Collect, Collected, Digits, Rules};
use offhook_codec::Country;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The caller hears itself, and so how it sounds to others.
    Echo,
    /// The signals of the telephone network, chosen by keys.
    Tones,
    /// The time of day is said.
    Clock,
    /// A menu that leads to the others by keys.
    Menu,
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
        self.numbers.iter().find(|(known, _)| **known == *number).map(|(_, service)| *service)
    }
}

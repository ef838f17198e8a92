//! Which keys of `[services]` stand for what the node does, and the rooms in it.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use offhook_switch::service::{Room, Service};
use serde::{Deserialize, Serialize};

use super::{Services, section::Describe, value::serde_as_text};

/// A room for conferences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomConfig {
    /// Who knows it comes in.
    pub pin: Option<Pin>,
    /// Who knows it comes in as a moderator.
    pub moderator_pin: Option<Pin>,
    /// Whoever is no moderator listens only.
    pub only_moderators_talk: bool,
    /// What is said is recorded, encrypted. Whoever comes in is told so and must agree.
    pub record: bool,
}

/// Digits that open a room.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(Box<str>);

/// Digits of a PIN: fewer are guessed.
const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=16;

impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        let fits = PIN_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.into())) } else { Err(BadPin) }
    }
}

/// The text is no PIN. It is not repeated: it may be one that only has a slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PIN: allowed are 4 to 16 digits, as a text")]
pub struct BadPin;

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(***)")
    }
}

serde_as_text!(Pin);

impl Describe for BTreeMap<String, RoomConfig> {
    fn allowed() -> String {
        "a table of rooms by their numbers, as in `\"700\" = { pin = \"2468\" }`".into()
    }
}

impl Services {
    /// All numbers, with the services behind them.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, Service)> {
        let fixed = self.by_service().into_iter();
        let fixed = fixed.flat_map(|(service, numbers)| {
            numbers.iter().map(move |number| (number.as_str(), service.clone()))
        });
        fixed.chain(self.rooms.iter().map(|(number, room)| {
            let digits = |pin: &Option<Pin>| pin.as_ref().map(|pin| pin.0.clone());
            let room = Room {
                pin: digits(&room.pin),
                moderator_pin: digits(&room.moderator_pin),
                only_moderators_talk: room.only_moderators_talk,
                recorded: room.record,
            };
            (number.as_str(), Service::Room(Arc::new(room)))
        }))
    }

    fn by_service(&self) -> [(Service, &[String]); 4] {
        [
            (Service::Echo, &self.echo),
            (Service::Clock, &self.clock),
            (Service::Tones, &self.tones),
            (Service::Menu, &self.menu),
        ]
    }

    /// The keys of all numbers, as a complaint names them, with the numbers.
    pub(super) fn keys(&self) -> impl Iterator<Item = (String, &String)> {
        let lists =
            [("echo", &self.echo), ("clock", &self.clock), ("tones", &self.tones), ("menu", &self.menu)];
        let lists = lists.into_iter().flat_map(|(name, numbers)| {
            numbers
                .iter()
                .enumerate()
                .map(move |(index, number)| (format!("services.{name}.{index}"), number))
        });
        lists.chain(self.rooms.keys().map(|number| (format!("services.rooms.{number}"), number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_digits_and_prints_masked() {
        assert!(!format!("{:?}", "2468".parse::<Pin>().unwrap()).contains('2'));
        for bad in ["", "123", "12345678901234567", "12a4", "12 34"] {
            assert_eq!(bad.parse::<Pin>(), Err(BadPin), "{bad}");
        }
    }
}

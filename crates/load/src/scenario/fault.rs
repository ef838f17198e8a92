//! What is wrong with a scenario: where, what, and the nearest thing that would be right.

use std::fmt;

/// A place in a scenario file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// In octets, from 1.
    pub column: u32,
}

impl Place {
    /// The place of the octet at `offset` of `text`.
    pub fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line = 1 + before.iter().filter(|&&octet| octet == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&octet| octet != b'\n').count();
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }
}

/// A scenario cannot be used. Nothing that is unknown is passed over in silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
}

impl Fault {
    /// A fault without advice.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: String::new() }
    }

    /// `what` of the name `name` is none of `known`: names the nearest, or all if they are few.
    pub fn unknown(place: Place, what: &str, name: &str, known: &[&str]) -> Self {
        let fault = Self::new(place, format!("unknown {what} `{name}`"));
        match nearest(name, known) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None if known.len() <= FEW => fault.hint(format!("known are: {}", known.join(", "))),
            None => fault,
        }
    }

    /// With advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\nhint: {}", self.hint) }
    }
}

/// So many names are still told one by one.
const FEW: usize = 12;

/// The name of `known` that `name` was most likely meant to be: at most a third of its letters differ.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len().max(name.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop or replace to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, against) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *against);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_stranger_has_none() {
        let known = ["send", "recv", "pause", "recvCmd"];
        assert_eq!(nearest("recvcmd", &known), Some("recvCmd"));
        assert_eq!(nearest("snd", &known), Some("send"));
        assert_eq!(nearest("whatever", &known), None);
    }

    #[test]
    fn a_place_counts_lines_and_columns_from_one() {
        assert_eq!(Place::of(b"ab\ncd", 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(b"ab\ncd", 4), Place { line: 2, column: 2 });
    }
}

//! Personal data is a type: it knows whose it is, prints masked, and is opened only for a named purpose.
//!
//! ```
//! use offhook_base::{DataSubject, Personal, Purpose};
//! let caller = Personal::new("sip:+4930123456@example.org".to_string(), DataSubject::Caller);
//! assert_eq!(caller.to_string(), "***");
//! assert_eq!(caller.disclose(Purpose::Signalling), "sip:+4930123456@example.org");
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose data a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSubject {
    /// The party that places a call.
    Caller,
    /// The party that is called.
    Callee,
    /// The person who holds a line of ours.
    Subscriber,
    /// Whoever stands behind a network address: not known yet.
    RemoteParty,
}

/// Why personal data is opened. Every use names one, so that a search for [`Personal::disclose`] is the data map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To carry the call: routing, headers, media addresses.
    Signalling,
    /// To account for the call: the call record.
    Record,
    /// To guard the platform: rates and bans by source.
    Protection,
    /// An operator asked to see it, with a reason that is logged.
    Operation,
}

/// A type of data that belongs to a person and has a masked form.
pub trait PersonalData {
    /// Writes a form that identifies nobody.
    fn fmt_masked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl PersonalData for String {
    fn fmt_masked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PersonalData for std::net::SocketAddr {
    fn fmt_masked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ipv4() { "***(ipv4)" } else { "***(ipv6)" })
    }
}

impl PersonalData for std::net::IpAddr {
    fn fmt_masked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ipv4() { "***(ipv4)" } else { "***(ipv6)" })
    }
}

/// A value that belongs to a [`DataSubject`]. `Debug` and `Display` print its masked form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Personal<T> {
    value: T,
    subject: DataSubject,
}

impl<T> Personal<T> {
    /// Tags `value` as data of `subject`.
    pub const fn new(value: T, subject: DataSubject) -> Self {
        Self { value, subject }
    }

    /// Whose data it is.
    pub const fn subject(&self) -> DataSubject {
        self.subject
    }

    /// Opens the value for `purpose`. The purpose stands at the call for readers and audits; it is not checked.
    pub const fn disclose(&self, _purpose: Purpose) -> &T {
        &self.value
    }
}

impl<T: PersonalData> fmt::Display for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt_masked(f)
    }
}

impl<T: PersonalData> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt_masked(f)
    }
}

/// Masks a piece of free text that a peer wrote: only its length class survives.
///
/// For error messages that must say what was wrong without repeating a number or an address.
pub fn mask_text(text: &str) -> &'static str {
    match text.len() {
        0 => "(empty)",
        1..=32 => "***",
        33..=256 => "***(long)",
        _ => "***(very long)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_display_nor_debug_shows_the_value() {
        let number = Personal::new("+4930123456".to_string(), DataSubject::Caller);
        let address = Personal::new(
            "192.0.2.7:5060".parse::<std::net::SocketAddr>().unwrap(),
            DataSubject::RemoteParty,
        );
        let shown = format!("{number} {number:?} {address} {address:?}");
        assert!(!shown.contains("4930") && !shown.contains("192.0.2"), "{shown}");
    }
}

//! The call record: one per call, exact, made by call control at the call's end.

use offhook_base::{Personal, UtcMillis};
use serde::{Deserialize, Serialize};

use crate::media::StreamQuality;

/// A call's own id, on every log line, fact and record: 26 letters, sortable by time. It says nothing of the parties.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; 26]);

/// Crockford's alphabet, whose order is that of ASCII.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Letters of an id that are its time; what follows is random.
const TIME_LETTERS: usize = 10;

impl CallId {
    /// An id that sorts by `started` and is unique by its 80 random bits.
    pub fn new(started: UtcMillis, random: &mut offhook_base::Random) -> Self {
        let millis = u128::from(u64::try_from(started.0).unwrap_or(0) & ((1 << 48) - 1));
        let noise = (u128::from(random.next_u64()) << 16) | u128::from(random.next_u32() & 0xffff);
        let mut rest = (millis << 80) | noise;
        let mut letters = [0; 26];
        for letter in letters.iter_mut().rev() {
            *letter = LETTERS[(rest & 31) as usize];
            rest >>= 5;
        }
        Self(letters)
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The time that it was made with.
    pub fn started(&self) -> UtcMillis {
        let value = |letter: &u8| LETTERS.iter().position(|known| known == letter).unwrap_or(0) as i64;
        UtcMillis(self.0[..TIME_LETTERS].iter().fold(0, |millis, letter| millis << 5 | value(letter)))
    }
}

impl std::str::FromStr for CallId {
    type Err = BadCallId;

    fn from_str(text: &str) -> Result<Self, BadCallId> {
        let letters: [u8; 26] = text.as_bytes().try_into().map_err(|_| BadCallId)?;
        if letters.iter().all(|letter| LETTERS.contains(letter)) { Ok(Self(letters)) } else { Err(BadCallId) }
    }
}

/// The text is not 26 letters of a call id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a call id; it has 26 digits and capital letters")]
pub struct BadCallId;

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The party that placed it: BYE or CANCEL.
    Caller,
    /// The party that was called: BYE or a refusal.
    Callee,
    /// The node itself.
    Node,
}

/// Why the call ended, in one word for people and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Answered, and a party hung up.
    HungUp,
    /// The caller gave up before the answer.
    Cancelled,
    /// The callee was busy (486, 600).
    Busy,
    /// The callee declined (603, 403 and the like).
    Declined,
    /// Nobody answered in time.
    NoAnswer,
    /// The address of record has no contact now.
    NotRegistered,
    /// No such line or number.
    NotFound,
    /// The caller may not call this.
    NotPermitted,
    /// The sides share no media (488, 415, 606).
    Incompatible,
    /// A side failed: 5xx, or a broken dialog.
    Failed,
    /// A phone vanished: no answer to a request, or no refresh (RFC 4028).
    Vanished,
    /// Both directions silent for too long.
    MediaSilence,
    /// The maximum call duration was reached.
    TooLong,
    /// An operator ended it, or the node was drained.
    Shutdown,
    /// The node had no room: calls, ports.
    Overloaded,
    /// The node was down, and the call could not be gone on with: too much time had passed, a phone did not connect again,
    /// or it was still being placed.
    Outage,
}

/// What part a leg plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegRole {
    /// The leg that placed the call.
    Caller,
    /// A leg that was rung: one per device tried.
    Callee,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct LegRecord {
    /// What part it plays.
    pub role: LegRole,
    /// The line, `name` in the call's tenant, or none.
    pub line: Option<Box<str>>,
    /// The peer, by name, or none.
    pub peer: Option<Box<str>>,
    /// Address and port of its signalling.
    pub remote: Personal<String>,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    pub transport: Box<str>,
    /// Its User-Agent or Server header, at most 128 characters.
    pub user_agent: Option<Box<str>>,
    /// Its Call-ID header.
    pub sip_call_id: Personal<String>,
    /// When its INVITE came or went.
    pub started: UtcMillis,
    /// When it first rang (180 or 183).
    pub ringing: Option<UtcMillis>,
    /// When it answered.
    pub answered: Option<UtcMillis>,
    /// When it ended.
    pub ended: UtcMillis,
    /// The final status of its INVITE; `None` if there was none.
    pub status: Option<u16>,
    /// Quality per media section.
    pub streams: Vec<StreamQuality>,
}

/// The account of one call. Retention: 90 days by default (GDPR-1). Purpose: [`offhook_base::Purpose::Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Its id.
    pub id: CallId,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The caller's address of record or number.
    pub caller: Personal<String>,
    /// The name it showed.
    pub caller_name: Option<Personal<String>>,
    /// The address that was called.
    pub callee: Personal<String>,
    /// When the INVITE came.
    pub started: UtcMillis,
    /// When the first device rang.
    pub ringing: Option<UtcMillis>,
    /// When it was answered.
    pub answered: Option<UtcMillis>,
    /// When it ended.
    pub ended: UtcMillis,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Why.
    pub cause: EndCause,
    /// The SIP status that ended it: the final response to the caller, or 200 where a BYE ended an answered call.
    pub sip_status: u16,
    /// The cause of ITU-T Q.850, 1..=127 (16: normal clearing).
    pub q850: u8,
    /// The legs, the caller's first.
    pub legs: Vec<LegRecord>,
}

impl CallRecord {
    /// Answered time, milliseconds; 0 if it was never answered.
    pub fn talk_millis(&self) -> i64 {
        self.answered.map_or(0, |answered| self.ended.0 - answered.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_sort_by_time_and_survive_a_round_trip() {
        let mut random = offhook_base::Random::from_number(1);
        let first = CallId::new(UtcMillis(1_795_363_836_123), &mut random);
        let second = CallId::new(UtcMillis(1_795_363_836_124), &mut random);
        assert!(first < second);
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!("lower-case-is-not-allowed".parse::<CallId>(), Err(BadCallId));
    }
}

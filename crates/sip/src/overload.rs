//! What a server tells the server before it about its load: parameters of the Via (RFC 7339). Both halves: ours to whoever asks, and
//! theirs to us.

use std::time::Duration;

use offhook_base::UtcMillis;

use crate::{header::Via, write::Line};

/// How long an answer's word holds, in milliseconds: the default of RFC 7339 §4.3, said aloud.
const VALIDITY_MS: u64 = 500;

/// The word to give a client that asks for it, with every response to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadFeedback {
    /// How many of a hundred requests that it would send now it shall keep to itself; 0..=100 (§4.1, §6.2: the loss-based
    /// algorithm).
    pub percent: u8,
    /// When this was so: a later word has a greater sequence number (§4.4).
    pub at: UtcMillis,
}

impl OverloadFeedback {
    /// Whether the client before us wants to hear of our load: `oc` in its Via (§4.1, §5.1).
    pub fn is_asked_for(via: &Via<'_>) -> bool {
        via.params().contains("oc")
    }

    /// Whether a parameter of the client's Via is replaced by this word.
    pub(crate) fn replaces(name: &str) -> bool {
        ["oc", "oc-algo", "oc-validity", "oc-seq"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    }

    /// As parameters of a Via. Without load the validity is zero, which ends an earlier word at once (§4.3).
    pub(crate) fn write(&self, line: &mut Line<'_>) {
        let validity = if self.percent == 0 { 0 } else { VALIDITY_MS };
        line.text(";oc=").number(self.percent.into()).text(";oc-algo=\"loss\";oc-validity=").number(validity);
        let millis = u64::try_from(self.at.0).unwrap_or(0);
        let (seconds, rest) = (millis / 1000, millis % 1000);
        line.text(";oc-seq=").number(seconds).text(if rest < 10 {
            ".00"
        } else if rest < 100 {
            ".0"
        } else {
            "."
        });
        line.number(rest);
    }
}

/// What a Via of ours ends with where we listen to the next server's load, and by which algorithm (§4.1, §4.2).
pub const LISTENING: &str = ";oc;oc-algo=\"loss\"";

/// What a server says of its load in a response to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadWord {
    /// How many of a hundred requests we shall keep to ourselves; 0..=100.
    pub percent: u8,
    /// How long that holds.
    pub validity: Duration,
    /// `oc-seq` in units of 10 microseconds: a later word has more (§4.4).
    pub sequence: u64,
}

impl OverloadWord {
    /// Reads it from the Via of a response that is ours. `None` if it says nothing, nothing sensible, or speaks of another
    /// algorithm than the one that we listen to.
    pub fn read(via: &Via<'_>) -> Option<Self> {
        let params = via.params();
        let percent = params.value("oc")?.parse().ok().filter(|percent| *percent <= 100)?;
        if params.text("oc-algo").is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case("loss")) {
            return None;
        }
        let validity = params.value("oc-validity").map_or(Some(VALIDITY_MS), |millis| millis.parse().ok())?;
        let sequence = params.value("oc-seq").map_or(Some(0), sequence)?;
        Some(Self { percent, validity: Duration::from_millis(validity), sequence })
    }
}

/// `oc-seq = 1*12DIGIT "." 1*5DIGIT`: seconds, in most cases of a clock.
fn sequence(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let is_number = |digits: &str, most: usize| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    if !is_number(seconds, 12) || !is_number(fraction, 5) {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<5}").parse().ok()?;
    Some(seconds * 100_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(params: &str) -> Option<OverloadWord> {
        let text = format!("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport=5060{params}");
        OverloadWord::read(&Via::parse(&text).unwrap())
    }

    /// The example of RFC 7339 §4.4, and what is left out by default.
    #[test]
    fn a_word_is_read_with_its_defaults() {
        let full = word(";oc=20;oc-algo=\"loss\";oc-validity=500;oc-seq=1282321615.782").unwrap();
        let validity = Duration::from_millis(500);
        assert_eq!(full, OverloadWord { percent: 20, validity, sequence: 128_232_161_578_200 });
        assert_eq!(word(";oc=7"), Some(OverloadWord { percent: 7, validity, sequence: 0 }));
        let earlier = word(";oc=20;oc-seq=1282321615.7").unwrap();
        assert!(earlier.sequence < full.sequence);
    }

    #[test]
    fn what_is_no_word_or_of_another_algorithm_says_nothing() {
        let none = [
            "",
            ";oc",
            ";oc=101",
            ";oc=-1",
            ";oc=20;oc-algo=\"rate\"",
            ";oc=20;oc-validity=soon",
            ";oc=20;oc-seq=1",
            ";oc=20;oc-seq=1.123456",
            ";oc=20;oc-seq=1234567890123.1",
            ";oc=20;oc-seq=+1.2",
        ];
        for params in none {
            assert_eq!(word(params), None, "{params}");
        }
    }
}

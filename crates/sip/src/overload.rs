//! What a server tells the server before it about its load: parameters of the Via (RFC 7339).

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

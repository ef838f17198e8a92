//! Why a REGISTER is refused, and how it is told.

use std::time::Duration;

use offhook_sip::message::StatusCode;

use crate::fact::Refusal;

/// Why a REGISTER is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// RFC 3261 §21.4.1. The text goes into a Warning.
    #[error("{0}")]
    Malformed(&'static str),
    /// RFC 3261 §8.2.2.3, RFC 3327 §5.3. The option tags.
    #[error("an extension is not supported: {0}")]
    Unsupported(Box<str>),
    /// RFC 3261 §10.3 step 7.
    #[error("the lifetime is less than {} s", min.as_secs())]
    TooBrief {
        /// The shortest lifetime.
        min: Duration,
    },
    /// RFC 3261 §10.3 steps 6 and 7: a repeated or overtaken request. The RFC names no status: 500 as for a dialog's
    /// overtaken request (§12.2.2), since the device is not at fault and may try again.
    #[error("a later request of this Call-ID was carried out before")]
    OutOfOrder,
    /// The line has its number of contacts. The RFC names no status: 403, since trying again does not help, with a
    /// Warning that says what would.
    #[error("the line has its {max} contacts already; remove one or wait until one expires")]
    LineFull {
        /// The line's limit.
        max: u16,
    },
    /// RFC 5626 §6.
    #[error("the first hop lacks outbound")]
    FirstHopLacksOutbound,
}

impl Fault {
    /// The status that answers it.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unsupported(_) => StatusCode::BAD_EXTENSION,
            Self::TooBrief { .. } => StatusCode::INTERVAL_TOO_BRIEF,
            Self::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
            Self::LineFull { .. } => StatusCode::FORBIDDEN,
            Self::FirstHopLacksOutbound => StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT,
        }
    }

    /// The counter it belongs to.
    pub(super) const fn refusal(&self) -> Refusal {
        match self {
            Self::Malformed(_) | Self::TooBrief { .. } => Refusal::Malformed,
            Self::Unsupported(_) | Self::FirstHopLacksOutbound => Refusal::Unsupported,
            Self::OutOfOrder => Refusal::Stray,
            Self::LineFull { .. } => Refusal::NotPermitted,
        }
    }
}

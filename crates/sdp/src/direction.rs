//! Which way media flows, seen from the writer of the description.

use crate::Attribute;

/// Direction attribute of a stream or a session. RFC 8866 §6.7; absent means [`SendRecv`](Self::SendRecv).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The writer sends and receives.
    #[default]
    SendRecv,
    /// The writer sends only: the other end is on hold.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither; RTCP still flows.
    Inactive,
}

impl Direction {
    /// From the two halves.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen from the other end.
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What flows once `self` was offered and `answer` came back, seen from the offerer: media flows only where
    /// one end sends and the other receives.
    ///
    /// DEVIATION RFC 3264 §6.1: an answer of `sendrecv` to an offer of `sendonly` is forbidden but common; it is
    /// read as the `recvonly` it must mean instead of failing the call.
    pub const fn answered_by(self, answer: Self) -> Self {
        Self::new(self.sends() && answer.receives(), self.receives() && answer.sends())
    }

    pub(crate) fn of(attribute: &Attribute<'_>) -> Option<Self> {
        if attribute.value.is_some() {
            return None;
        }
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| attribute.is(direction.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    #[test]
    fn media_flows_only_where_one_end_sends_and_the_other_receives() {
        for (offer, answer, flow) in [
            (SendRecv, SendRecv, SendRecv),
            (SendRecv, RecvOnly, SendOnly),
            (SendOnly, SendRecv, SendOnly),
            (RecvOnly, SendOnly, RecvOnly),
            (RecvOnly, RecvOnly, Inactive),
            (Inactive, SendRecv, Inactive),
        ] {
            assert_eq!(offer.answered_by(answer), flow, "{offer:?} answered {answer:?}");
        }
    }
}

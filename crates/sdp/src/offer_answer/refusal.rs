//! Why a description that came is refused, and what the refusal says on the wire.

use thiserror::Error;

use super::AnswerFault;

/// Why an arrival is refused. None of these changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Both ends offer at once: the other end must wait and try again. RFC 3261 §14.2, RFC 3311 §5.2.
    #[error("offer while an offer of ours is pending (glare)")]
    Glare,
    /// The other end offers again before we answered its first offer. RFC 3261 §14.2, RFC 3311 §5.2.
    #[error("second offer before the first was answered")]
    OfferPending,
    /// A request carries an offer where none may stand.
    #[error("an offer may not stand in this request")]
    NotHere,
    /// An offer with fewer media sections than the session has. RFC 3264 §8.
    #[error("an offer may not drop media sections")]
    FewerMedia,
    /// A message that must carry the answer does not. RFC 3261 §13.2.1.
    #[error("the answer is missing")]
    MissingAnswer,
    /// A late-offer INVITE is answered without an offer.
    #[error("the offer is missing")]
    MissingOffer,
    /// An answer that does not fit its offer.
    #[error("the answer does not fit the offer: {0}")]
    BadAnswer(AnswerFault),
}

impl Refusal {
    /// Status of the response that refuses a request. The bad outcome of a response or an ACK cannot be refused; its
    /// dialog is ended instead (BYE, with the status in a Reason header), see [`ends_dialog`](Self::ends_dialog).
    pub const fn status(self) -> u16 {
        match self {
            Self::Glare => 491,
            Self::OfferPending => 500,
            Self::NotHere | Self::MissingAnswer | Self::MissingOffer => 400,
            Self::FewerMedia | Self::BadAnswer(_) => 488,
        }
    }

    /// Whether the response carries `Retry-After`, a random 0 to 10 seconds. RFC 3261 §14.2, RFC 3311 §5.2.
    pub const fn wants_retry_after(self) -> bool {
        matches!(self, Self::OfferPending)
    }

    /// Whether the exchange cannot complete and an INVITE's dialog must end. RFC 3261 §13.2.2.4.
    pub const fn ends_dialog(self) -> bool {
        matches!(self, Self::MissingAnswer | Self::MissingOffer | Self::BadAnswer(_))
    }
}

/// We are about to send what we must not: our bug, or a command that came at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// An offer is pending: wait for its outcome.
    #[error("an offer is pending")]
    OfferPending,
    /// Nothing was offered that this could answer.
    #[error("there is no offer to answer")]
    NothingToAnswer,
    /// This message may not carry that now.
    #[error("this message may not carry it now")]
    NotHere,
    /// Our answer does not fit the offer.
    #[error("our answer does not fit the offer: {0}")]
    BadAnswer(AnswerFault),
    /// Our offer drops media sections. RFC 3264 §8.
    #[error("our offer drops media sections")]
    FewerMedia,
}

//! The offer/answer state of one dialog (RFC 3264), and which SIP message may carry what (RFC 6337).
//!
//! Think of a pair of scales: it is level ([`State::Stable`]) or one side has put something on it (an offer) and
//! waits for the other to match it (an answer). While it is tilted, nobody may put on more.
//!
//! | Offer in | Answer in | Source |
//! |---|---|---|
//! | INVITE | 2xx, or a reliable 1xx | RFC 3261 §13.2.1, RFC 3262 §5 |
//! | 2xx to an INVITE without offer | ACK | RFC 3261 §13.2.1 |
//! | reliable 1xx to an INVITE without offer | PRACK | RFC 3262 §5 |
//! | PRACK, once the INVITE's exchange is done | 2xx to PRACK | RFC 3262 §5 |
//! | UPDATE | 2xx to UPDATE | RFC 3311 §5 |
//!
//! The owner tells the machine what it sent and asks it what an arrival means. A fork is a clone: each early dialog
//! has its own copy of the state after the INVITE's offer.

mod check;
mod machine;
mod refusal;

pub use check::AnswerFault;
pub use machine::{OfferAnswer, Received, Session, State};
pub use refusal::{Misuse, Refusal};

/// The SIP message that carries a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// INVITE or re-INVITE.
    Invite,
    /// 101 to 199 to an INVITE without `100rel`: shows an early answer, decides nothing (RFC 3261 §13.2.1).
    UnreliableProvisional,
    /// 101 to 199 with `100rel`.
    ReliableProvisional,
    /// 2xx to an INVITE.
    Success,
    /// ACK to a 2xx.
    Ack,
    /// PRACK.
    Prack,
    /// 2xx to a PRACK.
    PrackSuccess,
    /// UPDATE.
    Update,
    /// 2xx to an UPDATE.
    UpdateSuccess,
}

impl Carrier {
    /// Whether an answer in `self` can belong to an offer in `offer`.
    const fn answers(self, offer: Self) -> bool {
        matches!(
            (offer, self),
            (Self::Invite, Self::ReliableProvisional | Self::Success)
                | (Self::ReliableProvisional, Self::Prack)
                | (Self::Success, Self::Ack)
                | (Self::Prack, Self::PrackSuccess)
                | (Self::Update, Self::UpdateSuccess)
        )
    }
}

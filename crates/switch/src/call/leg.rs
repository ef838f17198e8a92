//! A leg: one dialog with one endpoint, and all that belongs to that dialog alone.

use std::fmt;

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog},
    message::Request,
    reliable::{ReliableOrder, ReliableProvisionals},
    session_timer::{RequestOffer, SessionTimer},
    transaction::{ClientKey, ServerKey},
    transport::Destination,
};

use super::{keys::Told, patience::PORTS_PATIENCE, session::LegSession, way::Way};
use crate::{
    exchange::owners::{LegIndex, LocalTag},
    media::EndpointId,
};

/// Where a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegState {
    /// No ports yet, or no provisional response.
    Starting,
    /// It rings.
    Ringing,
    /// It has a confirmed dialog with us.
    Up,
    /// Given up: a CANCEL waits or is on its way, and the final response is still to come.
    Cancelling,
    /// The caller's, while the ACK of its 2xx is awaited: the BYE follows (RFC 3261 §15).
    Leaving,
    /// Over.
    Ended,
}

/// A request of a leg that waits for our answer.
#[derive(Debug)]
pub struct Pending {
    /// Its transaction.
    pub key: ServerKey,
    /// The request.
    pub request: Request,
}

/// One leg.
pub struct Leg {
    /// Its position in the call and in the record.
    pub index: LegIndex,
    /// Where it stands.
    pub state: LegState,
    /// Its media.
    pub session: LegSession,
    /// Where its signalling goes: the flow of its latest request, or where its INVITE went.
    pub destination: Destination,
    /// The dialog with it. A callee's exists from its first provisional response with a tag.
    pub dialog: Option<Dialog>,
    /// Our tag in that dialog.
    pub tag: LocalTag,
    /// Keeps the session alive (RFC 4028), once it is up.
    pub timer: Option<SessionTimer>,
    /// The refresh that is under way.
    pub refresh: Option<ClientKey>,
    /// When it is given up, as the other side has said no more than that it works on it.
    pub refresh_until: Option<Instant>,
    /// Its connection was lost with the process before this one: when it must have connected again.
    pub adrift_until: Option<Instant>,
    /// When its ports must be there; `None` once they are, or if none are needed.
    pub ports_until: Option<Instant>,
    /// Its media endpoint, even after it was closed.
    pub endpoint: Option<EndpointId>,
    /// Our 2xx that its ACK is awaited for.
    pub accepted: Option<AcceptedResponse>,
    /// CSeq of its INVITE that `accepted` answers: its ACK repeats it (RFC 3261 §13.2.2.4).
    pub accepted_cseq: u32,
    /// The latest ACK of a 2xx of it, for repeats.
    pub ack: Option<Ack>,
    /// CSeq of our latest INVITE to it.
    pub invite_cseq: u32,
    /// It said that it takes UPDATE (RFC 3311).
    pub allows_update: bool,
    /// It holds the other side.
    pub holds: bool,
    /// The codec that its sound is recoded to, as was told last.
    pub recoded_to: Option<&'static str>,
    /// It has acknowledged a 2xx of ours.
    pub acknowledged: bool,
    /// The Reason of the BYE that waits for its ACK.
    pub farewell: Option<Box<str>>,
    /// A BYE of ours is on its way to it.
    pub hanging_up: bool,
    /// What only a callee has.
    pub branch: Option<Box<Branch>>,
}

/// An ACK of ours.
pub struct Ack {
    /// CSeq of the INVITE whose 2xx it acknowledges.
    pub cseq: u32,
    /// It carries an answer: what the leg was told last.
    pub answers: bool,
    /// The message.
    pub bytes: Bytes,
}

/// Addresses and messages are personal data: only the shape shows.
impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").field("index", &self.index).field("state", &self.state).finish_non_exhaustive()
    }
}

/// A leg that was rung, as a branch of the hunt.
pub struct Branch {
    /// How it is reached.
    pub way: Way,
    /// The INVITE's transaction, once it was sent and until it ends.
    pub invite: Option<ClientKey>,
    /// CSeq of the INVITE: 1, or 2 after a challenge or a longer session interval.
    pub cseq: u32,
    /// Times the INVITE was sent again with another header: bounded.
    pub attempts: u8,
    /// The Call-ID of its dialog.
    pub call_id: Box<str>,
    /// Where it would go over UDP: its INVITE is too large for a datagram and went by TCP.
    pub udp: Option<Destination>,
    /// TCP was tried and failed: large or not, it goes by UDP.
    pub keeps_udp: bool,
    /// Credentials to send, after a challenge.
    pub credentials: Option<(bool, Box<str>)>,
    /// What the INVITE says of session timers: raised by a 422.
    pub session_offer: RequestOffer,
    /// Which of its reliable provisionals come next.
    pub order: ReliableOrder,
    /// The early dialog that the caller sees for this branch.
    pub facing: Option<Facing>,
    /// Its answer waits for the caller's PRACK (RFC 3262 §3).
    pub answer_waits: Option<offhook_sip::message::Response>,
    /// An early answer was heard from it.
    pub early_answer: bool,
}

/// What the caller sees of one branch: an early dialog with a tag of its own, as if a proxy had forked.
#[derive(Debug)]
pub struct Facing {
    /// The dialog towards the caller.
    pub dialog: Dialog,
    /// Our tag in it.
    pub tag: LocalTag,
    /// Reliable provisionals on their way to the caller.
    pub reliable: ReliableProvisionals,
    /// This branch's answer, as the caller has had it for good in this dialog.
    pub described: Option<Told>,
}

impl Branch {
    /// A branch that is about to be rung.
    pub fn new(way: Way, call_id: Box<str>, session_offer: RequestOffer) -> Self {
        Self {
            way,
            invite: None,
            cseq: 1,
            attempts: 0,
            call_id,
            udp: None,
            keeps_udp: false,
            credentials: None,
            session_offer,
            order: ReliableOrder::default(),
            facing: None,
            answer_waits: None,
            early_answer: false,
        }
    }
}

impl Leg {
    /// A leg that begins.
    pub const fn new(index: LegIndex, session: LegSession, destination: Destination, tag: LocalTag) -> Self {
        Self {
            index,
            state: LegState::Starting,
            endpoint: session.endpoint(),
            session,
            destination,
            dialog: None,
            tag,
            timer: None,
            refresh: None,
            refresh_until: None,
            adrift_until: None,
            ports_until: None,
            accepted: None,
            accepted_cseq: 0,
            ack: None,
            invite_cseq: 1,
            allows_update: false,
            holds: false,
            recoded_to: None,
            acknowledged: false,
            farewell: None,
            hanging_up: false,
            branch: None,
        }
    }

    /// Its ports were asked for, unless it needs none.
    pub fn await_ports(&mut self, now: Instant) {
        self.ports_until = (!self.session.is_open()).then(|| now + PORTS_PATIENCE);
    }

    /// Whether it still takes part in the hunt.
    pub const fn is_hunted(&self) -> bool {
        self.branch.is_some() && matches!(self.state, LegState::Starting | LegState::Ringing)
    }

    /// Whether something is still to come that the call must answer: a 2xx that overtook our CANCEL, an ACK that our BYE
    /// waits for, or a BYE that crossed ours.
    pub const fn is_settling(&self) -> bool {
        self.hanging_up || matches!(self.state, LegState::Cancelling | LegState::Leaving)
    }

    /// The soonest of its machines' deadlines.
    pub fn deadline(&self) -> Option<Instant> {
        let facing = self.branch.as_ref().and_then(|branch| branch.facing.as_ref());
        [
            self.accepted.as_ref().and_then(AcceptedResponse::deadline),
            self.timer.as_ref().and_then(SessionTimer::deadline),
            facing.and_then(|facing| facing.reliable.deadline()),
            self.refresh_until,
            self.ports_until,
            self.adrift_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

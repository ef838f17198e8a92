//! One call as a phone sees it.

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog},
    message::Request,
    reliable::{ReliableOrder, ReliableProvisionals},
    session_timer::SessionTimer,
    transaction::{ClientKey, ServerKey},
};

use super::description::Media;

/// Which end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who called.
    Caller,
    /// Who was called.
    Callee,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// We call.
    Calling,
    /// We are called.
    Incoming,
    /// Answered.
    Up,
    /// Over, by this status; 0: by a BYE or because the phone died.
    Over(u16),
}

/// What the user has planned for an incoming call.
#[derive(Clone, Debug)]
pub enum Plan {
    /// 180.
    Ring,
    /// 183 with our description.
    EarlyMedia,
    /// 200.
    Answer,
    /// A final response; with a Contact for a 3xx.
    Refuse(u16, Option<String>),
}

/// An offer of ours that is under way.
#[derive(Debug)]
pub struct Reoffer {
    /// Its transaction.
    pub client: ClientKey,
    /// By re-INVITE, with this CSeq.
    pub invite_cseq: Option<u32>,
    /// What to do again if it meets an offer of the other side.
    pub holding: bool,
    /// The session before it.
    pub before: (bool, Vec<u8>),
    /// It only keeps the session alive.
    pub refresh: bool,
}

/// An early dialog that our INVITE has made.
#[derive(Debug)]
pub struct EarlyDialog {
    /// The dialog.
    pub dialog: Dialog,
    /// Which reliable response comes next.
    pub order: ReliableOrder,
    /// The answer that was heard in it: each dialog of a forked INVITE has its own.
    pub answer: Option<Bytes>,
}

/// One call.
#[derive(Debug)]
pub struct PhoneCall {
    /// Which end we are.
    pub side: Side,
    /// Which conversation: travels with the call in its Subject.
    pub conversation: u64,
    /// Where it stands.
    pub state: State,
    /// Its Call-ID.
    pub call_id: String,
    /// Our tag.
    pub tag: String,
    /// Whom we called.
    pub target: String,
    /// CSeq of our INVITE.
    pub cseq: u32,
    /// Our INVITE that waits for its final response.
    pub invite: Option<ClientKey>,
    /// Credentials were sent once.
    pub authorized: bool,
    /// We have given it up.
    pub cancelled: bool,
    /// Early dialogs of our INVITE.
    pub early: Vec<EarlyDialog>,
    /// Their INVITE that waits for our final response.
    pub incoming: Option<(ServerKey, Request)>,
    /// What comes next, and when.
    pub plans: Vec<(Instant, Plan)>,
    /// Our reliable provisional responses.
    pub reliable: Option<ReliableProvisionals>,
    /// Our answer went out in a reliable provisional response.
    pub answered_early: bool,
    /// Our answer waits for a PRACK.
    pub answer_waits: bool,
    /// The dialog, once there is one.
    pub dialog: Option<Dialog>,
    /// Our 2xx that waits for its ACK.
    pub accepted: Option<AcceptedResponse>,
    /// What the ACK should bring: the answer to our offer in a 2xx.
    pub awaits_answer: bool,
    /// The ACK of the last 2xx.
    pub ack: Option<(u32, Bytes)>,
    /// Our offer under way.
    pub reoffer: Option<Reoffer>,
    /// A hold or resume to try again.
    pub reoffer_at: Option<(Instant, bool)>,
    /// Keeps the session alive.
    pub timer: Option<SessionTimer>,
    /// The session.
    pub media: Media,
    /// Pieces of sound heard.
    pub heard: u64,
    /// Pieces that could not be understood: closed with a key that was not told, or not closed at all.
    pub garbled: u64,
    /// The other side said that it takes UPDATE.
    pub other_updates: bool,
    /// When it was answered.
    pub up_at: Option<Instant>,
    /// When its BYE was sent or came.
    pub gone_at: Option<Instant>,
}

impl PhoneCall {
    /// A call that begins.
    pub fn new(side: Side, state: State, conversation: u64, media: Media) -> Self {
        Self {
            side,
            conversation,
            state,
            call_id: String::new(),
            tag: String::new(),
            target: String::new(),
            cseq: 0,
            invite: None,
            authorized: false,
            cancelled: false,
            early: Vec::new(),
            incoming: None,
            plans: Vec::new(),
            reliable: None,
            answered_early: false,
            answer_waits: false,
            dialog: None,
            accepted: None,
            awaits_answer: false,
            ack: None,
            reoffer: None,
            reoffer_at: None,
            timer: None,
            media,
            heard: 0,
            garbled: 0,
            other_updates: false,
            up_at: None,
            gone_at: None,
        }
    }

    /// Whether it still takes part in anything.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// The soonest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        let machines = [
            self.accepted.as_ref().and_then(AcceptedResponse::deadline),
            self.reliable.as_ref().and_then(ReliableProvisionals::deadline),
            self.timer.as_ref().and_then(SessionTimer::deadline),
            self.reoffer_at.map(|(at, _)| at),
            self.media.speak_at,
        ];
        machines.into_iter().flatten().chain(self.plans.iter().map(|(at, _)| *at)).min()
    }

    /// Over, with everything put away.
    pub fn end(&mut self, status: u16) {
        self.state = State::Over(status);
        self.plans.clear();
        self.incoming = None;
        self.reliable = None;
        self.accepted = None;
        self.timer = None;
        self.reoffer = None;
        self.reoffer_at = None;
        self.media.speak_at = None;
        self.answer_waits = false;
    }
}

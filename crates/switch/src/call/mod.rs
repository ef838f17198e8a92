//! A call: from the INVITE that asks for it to the record that accounts for it.
//!
//! A call composes owners: the [`Account`] knows what the record will say, the [`Hunt`] whom to ring next, each [`Leg`]
//! its dialog and its half of the media session. The files beside this one are the phases of its life:
//!
//! | file | what happens there |
//! | --- | --- |
//! | `start` | the caller's INVITE becomes a call; ways are found, ports opened |
//! | `branch` | INVITEs go to devices; their responses come |
//! | `answered` | a device answers: one wins, the others are let go |
//! | `unanswered` | a device does not answer; the hunt goes on or ends |
//! | `caller` | what the caller is told: provisional responses, PRACK, the answer, ACK |
//! | `modify` | offers after the first one: re-INVITE, UPDATE, hold |
//! | `refresh` | the session is kept alive |
//! | `patience` | how long a question of the call may stay unanswered |
//! | `again` | requests within a dialog, and what has one sent twice |
//! | `transcode` | where two sides share no codec |
//! | `relay` | INFO and MESSAGE within the call |
//! | `keys_by_info` | INFO that says keys |
//! | `trunk` | from peer to peer, as a route says |
//! | `served` | the node itself answers |
//! | `end` | CANCEL, BYE, time-outs, and the record |
//! | `keep` | what another process needs to go on with it |
//! | `resume` | going on with what another process has begun |
//! | `reconnect` | a phone comes back whose connection was lost with that process |

mod again;
mod answered;
pub(crate) mod body;
mod branch;
mod caller;
mod end;
mod house;
mod keep;
mod keys;
mod keys_by_info;
mod leg;
mod modify;
mod own_device;
mod patience;
mod print;
mod reconnect;
mod refresh;
mod relay;
mod restored;
mod resume;
mod served;
mod session;
mod start;
mod transcode;
mod trunk;
mod unanswered;
mod way;

use std::{fmt, sync::Arc, time::Duration};

use offhook_base::{Instant, Moment};
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::DialogId,
    message::{Method, Request, Response, StatusCode},
    transaction::{ClientKey, ServerKey},
    transport::Flow,
};

use self::{again::Repeatable, modify::Modify, print::Print, relay::Relay, served::Served, trunk::TrunkHunt};
pub use self::{
    leg::{Leg, LegState, Pending},
    start::Start,
    way::{Way, WayEnd},
};
use crate::{
    account::{Account, Verdict},
    crossing::Party,
    directory::{Line, Peer, PeerId},
    exchange::{
        event::AskId,
        owners::{CallKey, ClientUse, LegIndex},
        services::Services,
    },
    hunt::Hunt,
    identity::Identity,
    record::{CallId, CallRecord},
    registrar::{BindingId, Target},
    route::Caller,
    service,
    summary::{CallPhase, CallSummary},
};

/// The caller's leg.
const CALLER: LegIndex = 0;

/// How long a call that is over waits for its last transactions and media reports. More than 64*T1, so that only a bug
/// or a dead media engine ever reaches it.
const LINGER_MAX: Duration = Duration::from_secs(40);

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Ways and ports are being found.
    Preparing { give_up_at: Instant },
    /// Devices ring. The group that rings now gives way at `ring_until`.
    Hunting { ring_until: Instant, give_up_at: Instant },
    /// Answered by this leg.
    Established { callee: LegIndex, end_at: Instant },
    /// Answered by the node itself: the caller's leg is the only one.
    Served { end_at: Instant },
    /// Over; last transactions and reports come in.
    Over { forget_at: Instant },
}

/// What a call waits for from outside.
#[derive(Clone, Debug)]
enum Awaited {
    /// The addresses of this peer.
    Peer(Arc<Peer>),
    /// A device of this line that was woken.
    Device(Arc<Line>),
}

/// A call.
pub struct Call {
    key: CallKey,
    id: CallId,
    account: Option<Account>,
    /// The record, once it was made.
    record: Option<Arc<CallRecord>>,
    who: Caller,
    identity: Identity,
    /// The caller's INVITE until it is answered for good.
    invite: Option<Pending>,
    /// The INVITE as received: what crosses is read from it for each branch. `None` once its 2xx is acknowledged.
    request: Option<Request>,
    /// The caller's offer; `None`: a late offer, the callee makes it.
    offer: Option<SessionDescription>,
    /// The address that was called, as it is written into To.
    callee_uri: Box<str>,
    /// The number or name that was called.
    callee_user: Box<str>,
    /// Media goes through the node.
    anchored: bool,
    stage: Stage,
    /// The peers that a route leads to, while the call is not answered.
    trunk: Option<Box<TrunkHunt>>,
    hunt: Hunt<Way>,
    /// The ways to the one device that was called by its GRUU.
    device: Option<Vec<Target>>,
    /// What the call waits for besides its legs.
    awaited: Option<Awaited>,
    /// The questions it has put to the outside.
    asks: Vec<AskId>,
    /// Bindings it has rung.
    tried: Vec<BindingId>,
    legs: Vec<Leg>,
    /// Who answers where the node itself does.
    served: Option<Box<Served>>,
    modify: Option<Modify>,
    relays: Vec<Relay>,
    /// Requests within a dialog that a challenge, or the failure of TCP, may have sent once more.
    repeatables: Vec<Repeatable>,
    /// Peers whose count of calls it is in: the caller's, the called one's.
    peers: Vec<PeerId>,
    /// The media engine's reports still to come.
    reports_due: usize,
    /// A bug of ours has hit it once, and it was ended for it.
    is_broken: bool,
    /// The print of its kept form as handed out last.
    kept: Option<Print>,
    /// It waits for its kept form to be looked at.
    pub(crate) is_touched: bool,
    /// The soonest look the exchange's timer queue has promised.
    pub(crate) wakes_at: Option<Instant>,
}

/// Parties and messages are personal data: only the shape shows.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.key)
            .field("stage", &self.stage)
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Its id; `None` once its record was made.
    pub fn id(&self) -> Option<CallId> {
        self.account.as_ref().map(Account::id)
    }

    /// What its record would say now; `None` once it was made.
    pub fn account_so_far(&self) -> Option<&CallRecord> {
        self.account.as_ref().map(Account::so_far)
    }

    /// Whether it can be forgotten: the record is made and nothing is to come that needs an answer.
    pub fn is_finished(&self) -> bool {
        self.account.is_none() && !self.is_running() && !self.legs.iter().any(Leg::is_settling)
    }

    /// Whether it counts as running.
    pub const fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Over { .. })
    }

    /// The soonest deadline of the call and its legs.
    pub fn deadline(&self) -> Option<Instant> {
        let own = match self.stage {
            Stage::Preparing { give_up_at } => give_up_at,
            Stage::Hunting { ring_until, give_up_at } => ring_until.min(give_up_at),
            Stage::Established { end_at, .. } | Stage::Served { end_at } => end_at,
            Stage::Over { forget_at } => forget_at,
        };
        let modify = self.modify.as_ref().and_then(Modify::deadline);
        let served = self.served.as_ref().and_then(|served| served.deadline());
        self.legs.iter().filter_map(Leg::deadline).chain(modify).chain(served).chain([own]).min()
    }

    /// What a live screen shows of it.
    pub fn summary(&self) -> Option<CallSummary> {
        let record = self.account.as_ref()?.so_far();
        let phase = match self.stage {
            Stage::Preparing { .. } => CallPhase::Starting,
            Stage::Hunting { .. } if record.ringing.is_some() => CallPhase::Ringing,
            Stage::Hunting { .. } => CallPhase::Starting,
            Stage::Established { .. } | Stage::Served { .. } if self.legs.iter().any(|leg| leg.holds) => {
                CallPhase::Held
            }
            Stage::Established { .. } | Stage::Served { .. } => CallPhase::Established,
            Stage::Over { .. } => CallPhase::Ending,
        };
        Some(CallSummary {
            id: record.id,
            tenant: record.tenant.clone(),
            caller: record.caller.clone(),
            callee: record.callee.clone(),
            phase,
            started: record.started,
            answered: record.answered,
            legs: u16::try_from(self.legs.iter().filter(|leg| leg.state != LegState::Ended).count())
                .unwrap_or(u16::MAX),
        })
    }

    /// Checks a request against its dialog's count (RFC 3261 §12.2.2). `None`: the dialog is over; an error: the status to
    /// answer with.
    pub fn take_request(
        &mut self,
        leg: LegIndex,
        faces_caller: bool,
        request: &Request,
    ) -> Option<Result<(), StatusCode>> {
        let leg = &mut self.legs[usize::from(leg)];
        let dialog = match leg.branch.as_mut() {
            Some(branch) if faces_caller => &mut branch.facing.as_mut()?.dialog,
            _ => leg.dialog.as_mut()?,
        };
        let id = DialogId::of_request(request).ok().flatten()?;
        if id != dialog.id() {
            return None;
        }
        Some(dialog.take_request(request).map_err(|_| StatusCode::SERVER_INTERNAL_ERROR))
    }

    /// A request of a leg within its dialog, other than ACK; `take_request` has passed it.
    pub fn handle_request(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        faces_caller: bool,
        (key, request): (ServerKey, Request),
        flow: Flow,
        now: Moment,
    ) {
        if !faces_caller {
            self.is_heard_by(services, leg, flow);
        }
        let pending = Pending { key, request };
        match pending.request.method() {
            Method::Bye if faces_caller => self.handle_early_bye(services, leg, &pending, now),
            Method::Bye => self.handle_bye(services, leg, &pending, now),
            _ if !self.is_running() => {
                services.refuse(&pending, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now);
            }
            Method::Prack if faces_caller => self.handle_prack(services, leg, &pending, now),
            // RFC 3262 §3: a PRACK may come after the final response.
            Method::Prack => match self.other(leg).filter(|_| leg == CALLER) {
                Some(callee) => self.handle_prack(services, callee, &pending, now),
                None => services.refuse(&pending, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now),
            },
            _ if matches!(self.stage, Stage::Served { .. }) => {
                self.handle_served(services, pending, flow, now)
            }
            _ if faces_caller || self.other(leg).is_none() => {
                self.handle_early_request(services, leg, faces_caller, &pending, now);
            }
            Method::Invite | Method::Update => self.handle_offer(services, leg, pending, flow, now),
            _ => self.handle_relay(services, leg, pending, now),
        }
    }

    /// A response to a request that was sent to `leg`.
    pub fn handle_response(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        purpose: ClientUse,
        key: ClientKey,
        response: &Response,
        now: Moment,
    ) {
        let status = response.status();
        if self.prove_within(services, leg, purpose, key, response, now) {
            return;
        }
        if status.is_final() {
            self.request_answered(key);
        }
        match purpose {
            ClientUse::Invite => self.handle_invite_response(services, leg, response, now),
            ClientUse::Modify => self.modify_answered(services, leg, key, response, now),
            ClientUse::Refresh => self.refresh_answered(services, leg, status, Some(response), now),
            ClientUse::Relay => self.relay_answered(services, key, status, Some(response), now),
            ClientUse::Bye if status.is_final() => self.bye_ended(leg),
            ClientUse::Prack | ClientUse::Bye | ClientUse::Release => {}
        }
    }

    /// No response to a request that was sent to `leg`; `status` stands for it (RFC 3261 §8.1.3.1).
    pub fn handle_silence(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        purpose: ClientUse,
        key: ClientKey,
        status: StatusCode,
        now: Moment,
    ) {
        if self.fall_back_to_udp(services, leg, purpose, key, now) {
            return;
        }
        self.request_answered(key);
        match purpose {
            ClientUse::Invite => self.invite_unanswered(services, leg, status, now),
            ClientUse::Modify => self.modify_unanswered(services, leg, key, now),
            ClientUse::Refresh => {
                self.refresh_answered(services, leg, StatusCode::REQUEST_TIMEOUT, None, now);
            }
            ClientUse::Relay => self.relay_answered(services, key, status, None, now),
            ClientUse::Bye => self.bye_ended(leg),
            ClientUse::Prack | ClientUse::Release => {}
        }
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, services: &mut Services, now: Moment) {
        self.run_leg_machines(services, now);
        self.run_modify(services, now);
        match self.stage {
            Stage::Hunting { ring_until, give_up_at }
                if now.instant >= ring_until.min(give_up_at) && self.has_winner() =>
            {
                let later = now.instant + services.settings.timers.patience();
                self.stage = Stage::Hunting { ring_until: later, give_up_at: later };
            }
            Stage::Preparing { give_up_at }
                if now.instant >= give_up_at && matches!(self.awaited, Some(Awaited::Peer(_))) =>
            {
                self.peer_not_found(services, StatusCode::SERVER_TIMEOUT, now);
            }
            Stage::Preparing { give_up_at } | Stage::Hunting { give_up_at, .. }
                if now.instant >= give_up_at =>
            {
                self.nobody_answered(services, now);
            }
            Stage::Hunting { ring_until, .. } if now.instant >= ring_until => {
                self.group_rang_out(services, now)
            }
            Stage::Established { end_at, .. } | Stage::Served { end_at } if now.instant >= end_at => {
                self.lasted_too_long(services, now);
            }
            Stage::Served { .. } => self.attend(services, &service::Event::TimedOut, now),
            Stage::Over { forget_at } if now.instant >= forget_at => self.abandon(services, now),
            _ => {}
        }
    }

    /// Whether it was answered, by whomever.
    const fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Established { .. } | Stage::Served { .. })
    }

    /// The leg at the other end of an established call.
    fn other(&self, leg: LegIndex) -> Option<LegIndex> {
        match self.stage {
            Stage::Established { callee, .. } if leg == CALLER => Some(callee),
            Stage::Established { callee, .. } if leg == callee => Some(CALLER),
            _ => None,
        }
    }

    fn leg(&mut self, index: LegIndex) -> &mut Leg {
        &mut self.legs[usize::from(index)]
    }

    /// What a leg is, for the table of what crosses.
    fn party_of(&self, index: LegIndex) -> Party {
        let peer = match &self.legs[usize::from(index)].branch {
            Some(branch) => branch.way.peer(),
            None => self.who.peer(),
        };
        if peer.is_some() { Party::Peer } else { Party::Line }
    }

    fn decide(&mut self, verdict: Verdict, now: Moment) {
        if let Some(account) = &mut self.account {
            account.decide(verdict, now.utc);
        }
    }
}

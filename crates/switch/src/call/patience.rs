//! How long a question of the call may stay unanswered: ports of the media engine, addresses of a peer, offers to the
//! other leg. Whatever gets lost on the way, the call goes on or ends within these times.

use std::time::Duration;

use offhook_base::{Instant, Moment};
use offhook_sip::{
    message::{Method, Response, StatusCode},
    transaction::ClientKey,
};

use super::{
    Call,
    modify::{Modify, Step},
};
use crate::{
    exchange::{owners::LegIndex, services::Services},
    record::{EndCause, EndedBy},
};

/// How long the media engine may take to open ports. It takes less than a millisecond where it lives.
pub(super) const PORTS_PATIENCE: Duration = Duration::from_secs(5);

/// How long the addresses of a peer may take. Several name servers are asked, several times; a caller that has heard
/// nothing but 100 for so long hangs up.
pub(super) const LOCATE_PATIENCE: Duration = Duration::from_secs(32);

/// How long a leg that has said 1xx may take to decide on a re-INVITE: a person may be asked whether to add video.
const REINVITE_PATIENCE: Duration = Duration::from_secs(60);

/// The same where the other leg asked by UPDATE: it gives up after 64*T1 = 32 s and must have its answer before, and no
/// person may be asked (RFC 3311 §5.2).
const UPDATE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the end of a re-INVITE that was withdrawn is awaited before an UPDATE is answered all the same.
const WITHDRAWAL_PATIENCE: Duration = Duration::from_secs(8);

/// The time that an offer has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    began: Instant,
    /// `None`: a transaction has a limit of its own.
    ends: Option<Instant>,
    /// What the asker is told, as the offer was taken back: by itself, or by us.
    pub withdrawn: Option<StatusCode>,
}

impl Patience {
    /// For the ports that an offer needs.
    pub fn for_ports(now: Instant) -> Self {
        Self { began: now, ends: Some(now + PORTS_PATIENCE), withdrawn: None }
    }

    /// For the other leg's answer. Without any response the transaction itself ends after 64*T1.
    pub const fn for_answer(now: Instant) -> Self {
        Self { began: now, ends: None, withdrawn: None }
    }
}

impl Modify {
    /// When its time is over.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.patience.ends
    }
}

impl Call {
    /// The other leg works on an offer: from now on its transaction alone would never end.
    pub(super) fn modify_progresses(&mut self, client: ClientKey) {
        if !self.asks_by(client) {
            return;
        }
        let Some(modify) = &mut self.modify else { return };
        let limit = match modify.method() {
            Method::Update => UPDATE_PATIENCE,
            _ => REINVITE_PATIENCE,
        };
        if modify.patience.ends.is_none() && modify.patience.withdrawn.is_none() {
            modify.patience.ends = Some(modify.patience.began + limit);
        }
    }

    /// Gives up an offer whose time is over; the session stays as it was (RFC 3261 §14.2).
    pub(super) fn run_modify(&mut self, services: &mut Services, now: Moment) {
        let Some(modify) = &mut self.modify else { return };
        if modify.patience.ends.is_none_or(|ends| now.instant < ends) {
            return;
        }
        let withdrawn = modify.patience.withdrawn;
        match modify.step {
            Step::AwaitingAck => modify.patience.ends = None,
            // The end of the re-INVITE decides: a 2xx may cross the CANCEL.
            Step::Asked(client)
                if withdrawn.is_none() && services.layer.cancel(client, None, now.instant) =>
            {
                modify.patience.withdrawn = Some(StatusCode::SERVER_TIMEOUT);
                let answers_soon = *modify.method() == Method::Update;
                modify.patience.ends = answers_soon.then(|| now.instant + WITHDRAWAL_PATIENCE);
            }
            Step::Asked(_) | Step::Opening => self.finish_modify(services, StatusCode::SERVER_TIMEOUT, now),
        }
    }

    /// A 2xx to an offer that was given up, and refused to its asker: the two sides would go on with different sessions.
    pub(super) fn accepted_too_late(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let latest = self.legs[usize::from(index)].invite_cseq;
        if response.headers().cseq().is_ok_and(|cseq| cseq.number == latest) {
            self.send_ack(services, index, None);
            let (by, cause) = (EndedBy::Node, EndCause::Incompatible);
            self.hang_up_both(services, by, cause, StatusCode::SERVER_TIMEOUT, now);
        }
    }

    /// The other side works on a refresh.
    pub(super) fn refresh_progresses(&mut self, index: LegIndex, now: Moment) {
        self.leg(index).refresh_until.get_or_insert(now.instant + REINVITE_PATIENCE);
    }

    /// Gives up what a leg waits for, if its time is over.
    pub(super) fn run_patience(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let leg = self.leg(index);
        if leg.refresh_until.take_if(|until| now.instant >= *until).is_some()
            && let Some(refresh) = leg.refresh
        {
            services.layer.cancel(refresh, None, now.instant);
        }
        let leg = self.leg(index);
        let overdue = leg.ports_until.take_if(|until| now.instant >= *until).is_some();
        // Of an established call it is a branch that lost.
        if overdue && !self.is_answered() && self.is_running() {
            let (status, cause) = (StatusCode::SERVICE_UNAVAILABLE, EndCause::Overloaded);
            self.fail(services, EndedBy::Node, status, cause, now);
        }
    }
}

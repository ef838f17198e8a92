//! The end of a call: CANCEL, BYE, time-outs, and the record.

use std::sync::Arc;

use offhook_base::Moment;
use offhook_sip::{
    dialog::AcceptedEvent,
    header::HeaderName,
    message::{Method, Request, StatusCode},
    reliable::ProvisionalEvent,
    session_timer::SessionEvent,
    transaction::ClientKey,
};

use super::{CALLER, Call, LINGER_MAX, LegState, Stage, leg::Pending};
use crate::{
    account::Verdict,
    exchange::{
        owners::{ClientUse, LegIndex},
        services::Services,
    },
    fact::What,
    media::MediaCommand,
    record::{EndCause, EndedBy},
};

impl Call {
    /// The caller gave up before the answer. The CANCEL was answered.
    pub fn handle_cancel(&mut self, services: &mut Services, cancel: &Request, now: Moment) {
        if self.invite.is_some() {
            self.cancel_branches_because(services, None, cancel.headers().first(&HeaderName::Reason), now);
            self.fail(services, EndedBy::Caller, StatusCode::REQUEST_TERMINATED, EndCause::Cancelled, now);
        } else {
            self.modify_cancelled(services, now);
        }
    }

    /// A BYE of `leg`: answered at once, whatever else happens.
    pub(super) fn handle_bye(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        pending: &Pending,
        now: Moment,
    ) {
        services.refuse(pending, StatusCode::OK, now);
        if !self.is_running() {
            // Both sides hung up at once.
            return self.end_leg(services, leg, None, now);
        }
        let reason = pending.request.headers().first(&HeaderName::Reason);
        let by = self.party(leg);
        self.end_leg(services, leg, None, now);
        let cause = if self.is_answered() { EndCause::HungUp } else { EndCause::Cancelled };
        self.hang_up_because(services, Verdict { by, cause, status: StatusCode::OK }, reason, now);
    }

    /// The caller ends the early dialog of one branch (RFC 3261 §15): that device is given up, others ring on.
    pub(super) fn handle_early_bye(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        bye: &Pending,
        now: Moment,
    ) {
        services.refuse(bye, StatusCode::OK, now);
        let leg = &mut self.legs[usize::from(index)];
        if leg.is_hunted()
            && let Some(invite) = leg.branch.as_ref().and_then(|branch| branch.invite)
        {
            leg.state = LegState::Cancelling;
            services.layer.cancel(invite, None, now.instant);
            self.set_line_state(services, index, None, now);
        }
        if self.invite.is_none() {
            return;
        }
        let won = self.legs[usize::from(index)].state == LegState::Up;
        if won {
            // The PRACK that its answer waits for will not come any more.
            self.leave(services, index, None, now);
        }
        if !self.hunt.has_more() && !self.legs.iter().any(super::Leg::is_hunted) {
            // RFC 3261 §15.1.2: the INVITE that waits is answered with 487.
            self.fail(services, EndedBy::Caller, StatusCode::REQUEST_TERMINATED, EndCause::Cancelled, now);
        } else if won {
            self.ring_on(services, now);
        }
    }

    /// Who a leg is, for the record.
    pub(super) const fn party(&self, leg: LegIndex) -> EndedBy {
        if leg == CALLER { EndedBy::Caller } else { EndedBy::Callee }
    }

    /// Ends every leg that is up, and the call.
    pub(super) fn hang_up_both(
        &mut self,
        services: &mut Services,
        by: EndedBy,
        cause: EndCause,
        status: StatusCode,
        now: Moment,
    ) {
        self.hang_up_because(services, Verdict { by, cause, status }, reason_of(cause), now);
    }

    /// As `hang_up_both`, with the Reason that the parties are told.
    fn hang_up_because(
        &mut self,
        services: &mut Services,
        verdict: Verdict,
        reason: Option<&str>,
        now: Moment,
    ) {
        if !self.is_running() {
            return;
        }
        self.decide(verdict, now);
        self.decline_late_offer(services);
        self.finish_modify(services, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now);
        self.answer_failure(services, StatusCode::REQUEST_TERMINATED, now);
        self.cancel_branches(services, None, now);
        for index in 0..self.legs.len() {
            if self.legs[index].state == LegState::Up {
                let number = self.legs[index].index;
                self.leave(services, number, reason, now);
            }
        }
        self.close(services, now);
    }

    /// Ends a leg that has answered: by ACK, if its 2xx had none yet (RFC 3261 §13.2.2.4), and BYE.
    pub(super) fn leave(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        reason: Option<&str>,
        now: Moment,
    ) {
        let leg = &mut self.legs[usize::from(index)];
        if leg.branch.is_some() && leg.ack.is_none() {
            let late_offer = leg.session.theirs().cloned().filter(|_| self.offer.is_none());
            let answer = late_offer.map(|offer| leg.session.decline(&offer, &mut services.random));
            self.send_ack(services, index, answer.as_deref());
        }
        let leg = &mut self.legs[usize::from(index)];
        if index == CALLER && leg.accepted.is_some() && !leg.acknowledged {
            // RFC 3261 §15: no BYE before the ACK, or before it is known that none comes.
            leg.state = LegState::Leaving;
            leg.timer = None;
            leg.farewell = reason.map(Box::from);
            return self.set_line_state(services, index, None, now);
        }
        self.send_bye(services, index, reason, now);
        self.end_leg(services, index, None, now);
    }

    /// The BYE that waited for the ACK.
    pub(super) fn say_goodbye(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let reason = self.leg(index).farewell.take();
        self.send_bye(services, index, reason.as_deref(), now);
        self.end_leg(services, index, None, now);
    }

    /// An operator, or the node's shutdown, ends the call.
    pub fn end_by_node(&mut self, services: &mut Services, now: Moment) {
        self.hang_up_both(services, EndedBy::Node, EndCause::Shutdown, StatusCode::SERVICE_UNAVAILABLE, now);
    }

    pub(super) fn lasted_too_long(&mut self, services: &mut Services, now: Moment) {
        self.hang_up_both(services, EndedBy::Node, EndCause::TooLong, StatusCode::OK, now);
    }

    pub(super) fn media_fell_silent(&mut self, services: &mut Services, now: Moment) {
        if self.is_answered() {
            self.hang_up_both(services, EndedBy::Node, EndCause::MediaSilence, StatusCode::OK, now);
        }
    }

    pub(super) fn send_bye(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        reason: Option<&str>,
        now: Moment,
    ) {
        let leg = &mut self.legs[usize::from(index)];
        let Some(dialog) = leg.dialog.as_mut() else { return };
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let mut writer = dialog.request(&Method::Bye, via, &mut services.buffer);
        if let Some(reason) = reason {
            writer.header(&HeaderName::Reason, reason);
        }
        let bytes = writer.finish();
        let sent = self.send_within(services, index, ClientUse::Bye, &transaction, bytes, now);
        self.leg(index).hanging_up |= sent.is_some();
    }

    /// A leg is over: its media is closed. Its tags stay until the call is forgotten, so that a late request in its dialog
    /// is answered as what it is.
    pub(super) fn end_leg(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        status: Option<u16>,
        now: Moment,
    ) {
        let leg = &mut self.legs[usize::from(index)];
        if leg.state == LegState::Ended {
            return;
        }
        leg.state = LegState::Ended;
        leg.timer = None;
        leg.refresh_until = None;
        leg.ports_until = None;
        leg.adrift_until = None;
        leg.accepted = None;
        if let Some(endpoint) = leg.session.take_endpoint() {
            services.media(MediaCommand::Close { endpoint });
        }
        if let Some(facing) = leg.branch.as_mut().and_then(|branch| branch.facing.as_mut()) {
            facing.reliable.stop();
        }
        self.set_line_state(services, index, None, now);
        if let Some(account) = &mut self.account {
            account.leg_ended(index, status, now.utc);
            let call = account.id();
            services.fact(What::LegEnded { call, leg: index, status }, now);
        }
    }

    /// Nothing new happens in this call: what is open ends, then the record is made.
    pub(super) fn close(&mut self, services: &mut Services, now: Moment) {
        if !self.is_running() {
            return;
        }
        self.stage = Stage::Over { forget_at: now.instant + LINGER_MAX };
        self.stop_waiting(services);
        self.give_back_room(services);
        self.drop_relays(services, now);
        let status = self.account.as_ref().and_then(|account| account.verdict_status());
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            let number = leg.index;
            // What a leg that is still settling waits for: the end of its INVITE, as a 2xx may have overtaken the CANCEL,
            // or the ACK before its BYE. Its media and the record do not wait.
            let status = match leg.state {
                LegState::Cancelling => Some(StatusCode::REQUEST_TERMINATED.as_u16()),
                LegState::Leaving => None,
                _ => {
                    let status = if number == CALLER { status } else { None };
                    self.end_leg(services, number, status, now);
                    continue;
                }
            };
            if let Some(endpoint) = leg.session.take_endpoint() {
                services.media(MediaCommand::Close { endpoint });
            }
            if let Some(account) = &mut self.account {
                account.leg_ended(number, status, now.utc);
            }
        }
        self.conclude(services, now);
    }

    /// Makes the record once every report is in.
    pub(super) fn conclude(&mut self, services: &mut Services, now: Moment) {
        if self.is_running() || self.reports_due > 0 {
            return;
        }
        if let Some(account) = self.account.take() {
            let record = Arc::new(account.close(now.utc));
            self.record = Some(Arc::clone(&record));
            // Before anybody hears of it: a crash in between must find the record, and not the call.
            self.keep(services, now);
            services.fact(What::CallEnded(record), now);
        }
    }

    /// The last transactions never ended, or the media engine never reported: make the record without them.
    pub(super) fn abandon(&mut self, services: &mut Services, now: Moment) {
        self.reports_due = 0;
        for index in 0..self.legs.len() {
            let number = self.legs[index].index;
            self.end_leg(services, number, None, now);
            self.legs[index].hanging_up = false;
        }
        self.conclude(services, now);
    }

    fn give_back_room(&mut self, services: &mut Services) {
        for peer in self.peers.drain(..) {
            services.peer_calls.give_back(peer);
        }
    }

    /// A bug of ours hit this call: it ends, and both sides hear of it. False if that has happened before: then nothing of
    /// its state can be trusted any more, and [`Call::give_up`] is all that is left.
    pub fn end_by_bug(&mut self, services: &mut Services, now: Moment) -> bool {
        if std::mem::replace(&mut self.is_broken, true) {
            return false;
        }
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        self.answer_failure(services, status, now);
        self.hang_up_both(services, EndedBy::Node, EndCause::Failed, status, now);
        true
    }

    /// Puts in order what other calls share with this one, and makes the record, without a word to anybody.
    pub fn give_up(&mut self, services: &mut Services, now: Moment) {
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        self.decide(Verdict { by: EndedBy::Node, cause: EndCause::Failed, status }, now);
        if let Some(account) = self.account.take() {
            let lines = self.legs.iter().filter_map(|leg| leg.branch.as_ref()?.way.line());
            for line in lines.chain(self.who.line()) {
                services.lines.call_ended(line.id, account.id(), now.utc);
            }
            services.fact(What::CallEnded(Arc::new(account.close(now.utc))), now);
        }
        self.give_back_room(services);
        self.forget(services);
        for leg in &mut self.legs {
            if let Some(endpoint) = leg.session.take_endpoint() {
                services.media(MediaCommand::Close { endpoint });
            }
        }
    }

    /// An INVITE of ours has ended for good.
    pub fn invite_ended(&mut self, services: &mut Services, index: LegIndex, key: ClientKey, now: Moment) {
        let leg = self.leg(index);
        match &mut leg.branch {
            // The INVITE may have been sent again in the meantime, with credentials.
            Some(branch) if branch.invite == Some(key) => branch.invite = None,
            _ => return,
        }
        if leg.state == LegState::Cancelling {
            self.end_leg(services, index, Some(StatusCode::REQUEST_TERMINATED.as_u16()), now);
        }
    }

    /// A BYE of ours was answered, or never will be.
    pub(super) fn bye_ended(&mut self, index: LegIndex) {
        self.leg(index).hanging_up = false;
    }

    /// The last thing a finished call does: nothing leads to it any more, not even an answer that never came.
    pub fn forget(&self, services: &mut Services) {
        self.stop_waiting(services);
        self.stop_drifting(services);
        if self.kept.is_some() {
            services.forget(self.id);
        }
        for &ask in &self.asks {
            services.owners.answered(ask);
        }
        for leg in &self.legs {
            services.owners.tag_ended(leg.tag);
            if let Some(endpoint) = leg.endpoint {
                services.owners.endpoint_ended(endpoint);
            }
            if let Some(facing) = leg.branch.as_ref().and_then(|branch| branch.facing.as_ref()) {
                services.owners.tag_ended(facing.tag);
            }
        }
    }

    /// Runs the deadlines of the legs' own machines.
    pub(super) fn run_leg_machines(&mut self, services: &mut Services, now: Moment) {
        for index in 0..self.legs.len() {
            let number = self.legs[index].index;
            let timers = services.settings.timers;
            let leg = &mut self.legs[index];
            match leg.accepted.as_mut().and_then(|accepted| accepted.handle_timeout(&timers, now.instant)) {
                Some(AcceptedEvent::Resend(bytes)) => services.layer.send_stateless(bytes, leg.destination),
                Some(AcceptedEvent::GiveUp) if leg.state == LegState::Leaving => {
                    self.say_goodbye(services, number, now);
                }
                Some(AcceptedEvent::GiveUp) => {
                    leg.accepted = None;
                    let by = self.party(number);
                    self.hang_up_both(services, by, EndCause::Vanished, StatusCode::REQUEST_TIMEOUT, now);
                }
                None => {}
            }
            self.run_reliable(services, index, now);
            self.run_patience(services, number, now);
            self.run_drift(services, number, now);
            let leg = &mut self.legs[index];
            match leg.timer.as_mut().and_then(|timer| timer.handle_timeout(now.instant)) {
                Some(SessionEvent::Refresh) => self.refresh(services, number, now),
                Some(SessionEvent::Expired) => {
                    let by = self.party(number);
                    self.hang_up_both(services, by, EndCause::Vanished, StatusCode::REQUEST_TIMEOUT, now);
                }
                None => {}
            }
        }
    }

    fn run_reliable(&mut self, services: &mut Services, index: usize, now: Moment) {
        let facing = self.legs[index].branch.as_mut().and_then(|branch| branch.facing.as_mut());
        match facing.and_then(|facing| facing.reliable.handle_timeout(now.instant)) {
            Some(ProvisionalEvent::Resend(bytes)) => {
                if let Some(Pending { key, .. }) = &self.invite {
                    services.respond(*key, bytes, now);
                }
            }
            // The early dialog of a branch that lost.
            Some(ProvisionalEvent::GiveUp) if self.invite.is_none() => {}
            Some(ProvisionalEvent::GiveUp) => {
                // RFC 3262 §3: without PRACK the INVITE is rejected.
                self.fail(services, EndedBy::Caller, StatusCode::SERVER_TIMEOUT, EndCause::Vanished, now);
            }
            None => {}
        }
    }
}

/// The Reason header of a BYE that the node sends on its own behalf (RFC 3326).
const fn reason_of(cause: EndCause) -> Option<&'static str> {
    match cause {
        EndCause::MediaSilence => Some("Q.850;cause=102;text=\"No media\""),
        EndCause::TooLong => Some("Q.850;cause=102;text=\"Maximum duration\""),
        EndCause::Vanished => Some("Q.850;cause=102;text=\"Other side vanished\""),
        EndCause::Failed => Some("Q.850;cause=41;text=\"Failure of the exchange\""),
        EndCause::Shutdown => Some("Q.850;cause=41;text=\"Ended by the operator\""),
        EndCause::Incompatible => Some("Q.850;cause=88;text=\"No answer to the offer\""),
        _ => None,
    }
}

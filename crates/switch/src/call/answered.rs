//! A device answers: the first wins, the others are told so; forks and losers are let go.

use offhook_base::Moment;
use offhook_sip::{
    dialog::Dialog,
    header::HeaderName,
    message::{Method, Response, StatusCode},
};

use super::{
    CALLER, Call, LegState, Stage,
    body::{self, Description},
    leg::Ack,
    start::allows_update,
};
use crate::exchange::{
    owners::{ClientOwner, ClientUse, LegIndex},
    services::Services,
};

/// What the losing devices are told (RFC 3326 §3.1).
pub(super) const ANSWERED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// What a device is told whose answer has no description, or keys that were not offered (Q.850: incompatible destination).
const ANSWER_UNUSABLE: &str = "Q.850;cause=88;text=\"Answer does not fit the offer\"";

impl Call {
    /// A 2xx: the first to come wins. A later one, or a repeat, is acknowledged all the same.
    pub(super) fn branch_answered(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        if self.is_another_fork(index, response) {
            return self.release_fork(services, index, response, now);
        }
        let has_winner = self.has_winner();
        let leg = &mut self.legs[usize::from(index)];
        if let Some(ack) = &leg.ack {
            services.layer.send_stateless(ack.bytes.clone(), leg.destination);
            return;
        }
        if leg.state == LegState::Up {
            return; // its ACK waits for the caller's answer to a late offer
        }
        // Another device may have won already, and wait with us for the caller's PRACK.
        let won = leg.is_hunted() && !has_winner;
        let Some(branch) = leg.branch.as_mut() else { return };
        let Ok(dialog) = Dialog::uac(response, &branch.call_id, leg.tag.as_str(), false) else {
            tracing::debug!(leg = index, "2xx without tag or Contact");
            return;
        };
        match &mut leg.dialog {
            // The early dialog has counted on, with every PRACK.
            Some(early) if early.id() == dialog.id() => {
                if let Err(error) = early.confirm_by(response) {
                    tracing::debug!(%error, "Contact of a 2xx left aside");
                }
            }
            known => *known = Some(dialog),
        }
        leg.invite_cseq = branch.cseq;
        leg.allows_update |= allows_update(response.headers());
        if !won {
            if let (None, Description::Sdp(offer)) =
                (&self.offer, body::description(response.headers(), response.body()))
            {
                leg.session.accept(offer);
            }
            return self.release_loser(services, index, now);
        }
        leg.state = LegState::Up;
        if let Some(account) = &mut self.account {
            account.leg_answered(index, now.utc);
        }
        let description = body::description(response.headers(), response.body());
        let sdp = match (description, &self.offer) {
            (Description::Sdp(sdp), _) => sdp,
            // The answer may have come in a provisional already (RFC 3261 §13.2.1).
            (_, Some(_)) if self.legs[usize::from(index)].session.theirs().is_some() => {
                return self.answer_caller(services, index, response, now);
            }
            _ => return self.answer_is_unusable(services, index, now),
        };
        if self.offer.is_some() {
            if !self.answers_offer(index, &sdp) {
                return self.answer_is_unusable(services, index, now);
            }
            self.hear_branch(index, sdp);
        } else {
            let writer = self.legs[usize::from(index)].session.as_writer();
            let is_usable = self.legs[usize::from(CALLER)].session.takes_offer(&sdp, &writer);
            self.legs[usize::from(index)].session.accept(sdp);
            if !is_usable {
                return self.answer_is_unusable(services, index, now);
            }
        }
        self.answer_caller(services, index, response, now);
    }

    /// Whether a 2xx comes from another device than the one that has answered this branch: a proxy on the way has forked
    /// our INVITE, and both took the call.
    fn is_another_fork(&self, index: LegIndex, response: &Response) -> bool {
        let leg = &self.legs[usize::from(index)];
        let answered = leg.ack.is_some() || leg.state == LegState::Up;
        let tag = response.headers().to().ok().and_then(|to| to.tag());
        let known = leg.dialog.as_ref().map(|dialog| &*dialog.state().remote_tag);
        answered && known.is_some() && tag != known
    }

    /// RFC 3261 §13.2.2.4: every fork's 2xx is acknowledged, and a call that is not wanted is ended with a BYE.
    fn release_fork(&mut self, services: &mut Services, index: LegIndex, response: &Response, now: Moment) {
        let leg = &self.legs[usize::from(index)];
        let Some(branch) = &leg.branch else { return };
        let Ok(mut dialog) = Dialog::uac(response, &branch.call_id, leg.tag.as_str(), false) else { return };
        let destination = leg.destination;
        let transaction = services.layer.new_branch();
        let via = services.via(&destination, transaction);
        let ack = dialog.ack(branch.cseq, via, &mut services.buffer).finish();
        services.layer.send_stateless(ack, destination);
        let transaction = services.layer.new_branch();
        let via = services.via(&destination, transaction);
        let mut writer = dialog.request(&Method::Bye, via, &mut services.buffer);
        writer.header(&HeaderName::Reason, ANSWERED_ELSEWHERE);
        let bye = writer.finish();
        let owner = ClientOwner { call: self.key, leg: index, purpose: ClientUse::Release };
        if let Err(error) = services.send_request(owner, &Method::Bye, &transaction, bye, destination, now) {
            tracing::warn!(%error, "BYE to a fork not sent");
        }
    }

    /// A device answered without a usable description: it is let go, the call fails.
    pub(super) fn answer_is_unusable(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        self.leave(services, index, Some(ANSWER_UNUSABLE), now);
        self.hunt.refused(StatusCode::NOT_ACCEPTABLE_HERE);
        if matches!(self.stage, Stage::Hunting { .. }) && !self.legs.iter().any(super::Leg::is_hunted) {
            self.next_group(services, now);
        }
    }

    /// A device answered too late: thank it and hang up.
    fn release_loser(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let reason = matches!(self.stage, Stage::Established { .. }).then_some(ANSWERED_ELSEWHERE);
        self.leave(services, index, reason, now);
    }

    /// Acknowledges the leg's latest 2xx to an INVITE of ours, with an answer where it brought the offer.
    pub(super) fn send_ack(&mut self, services: &mut Services, index: LegIndex, answer: Option<&[u8]>) {
        let cseq = self.legs[usize::from(index)].invite_cseq;
        self.write_ack(services, index, cseq, answer);
        let leg = &self.legs[usize::from(index)];
        if let Some(ack) = &leg.ack {
            services.layer.send_stateless(ack.bytes.clone(), leg.destination);
        }
    }

    /// Writes that acknowledgement, to be sent now or when the 2xx comes again.
    pub(super) fn write_ack(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        cseq: u32,
        answer: Option<&[u8]>,
    ) {
        let leg = &mut self.legs[usize::from(index)];
        let Some(dialog) = leg.dialog.as_ref() else { return };
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let mut writer = dialog.ack(cseq, via, &mut services.buffer);
        if let Some(answer) = answer {
            writer.body(body::SDP, answer);
        }
        leg.ack = Some(Ack { cseq, answers: answer.is_some(), bytes: writer.finish() });
    }
}

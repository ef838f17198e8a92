//! A device does not answer: it refuses, redirects, stays silent or is given up, and the hunt goes on or ends.

use offhook_base::Moment;
use offhook_sip::message::{Method, Response, StatusCode};

use super::{Call, LegState, Stage, Way, WayEnd, answered::ANSWERED_ELSEWHERE};
use crate::{
    account::Verdict,
    exchange::{owners::LegIndex, services::Services},
    lines::LegLineState,
    record::{EndCause, EndedBy},
    trunk_login::answer_challenge,
};

/// Times one device's INVITE is sent again because it asked for credentials, a longer session interval, or other media
/// protection.
const ATTEMPTS_MAX: u8 = 3;

impl Call {
    /// A final response other than 2xx. The transaction has acknowledged it.
    pub(super) fn branch_failed(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        if self.try_again(services, index, response, now) {
            return;
        }
        let status = response.status();
        let hunted = self.leg(index).is_hunted();
        if hunted && status.is_redirection() {
            let ways = self.redirected_ways(services, index, response, now);
            if self.hunt.redirect(ways) == 0 {
                // Where it points the node does not go, and the caller cannot: its 3xx would name no contact.
                return self.branch_refused(services, index, StatusCode::TEMPORARILY_UNAVAILABLE, now);
            }
        }
        self.branch_refused(services, index, status, now);
    }

    /// Sends the INVITE again if the response asks for something we have: credentials, a longer session interval, or plain
    /// RTP in place of SRTP and the other way round, more codecs.
    fn try_again(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) -> bool {
        let leg = &mut self.legs[usize::from(index)];
        if !leg.is_hunted() {
            return false;
        }
        let Some(branch) = leg.branch.as_mut() else { return false };
        if branch.attempts >= ATTEMPTS_MAX {
            return false;
        }
        match response.status().as_u16() {
            401 | 407 => {
                let Some(peer) = branch.way.peer() else { return false };
                if branch.credentials.is_some() {
                    return false; // refused once, refused for good
                }
                let login = answer_challenge(
                    peer,
                    response,
                    &Method::Invite,
                    &branch.way.request_uri,
                    &[],
                    &mut services.random,
                );
                let Some(login) = login else { return false };
                branch.credentials = Some(login);
            }
            422 => match services.settings.session_timers.retry(branch.session_offer, response.headers()) {
                Some(offer) => branch.session_offer = offer,
                None => return false,
            },
            488 => {
                // A 488 does not say what it is about: the keys are tried first, then the codecs.
                let session = &mut leg.session;
                let otherwise = self
                    .offer
                    .as_ref()
                    .is_some_and(|offer| session.ask_otherwise(offer) || session.ask_in_other_codecs(offer));
                if !otherwise {
                    return false;
                }
            }
            _ => return false,
        }
        branch.attempts += 1;
        branch.cseq += 1;
        leg.dialog = None;
        self.send_invite(services, index, now);
        true
    }

    /// The contacts of a 3xx as ways, best first. Only lines of the tenant and what the redirecting line itself may call
    /// are followed; otherwise a phone could send its callers anywhere.
    fn redirected_ways(
        &mut self,
        services: &Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) -> Vec<Way> {
        let leg = &self.legs[usize::from(index)];
        let Ok(contacts) = response.headers().contacts() else { return Vec::new() };
        let mut targets: Vec<_> = contacts.as_slice().iter().collect();
        targets.sort_by_key(|contact| std::cmp::Reverse(contact.q().unwrap_or(1000)));
        let mut ways = Vec::new();
        for contact in targets {
            let Ok(uri) = contact.name_addr.parsed_uri() else { continue };
            let Some(user) = uri.user_unescaped() else { continue };
            let ours = services.serves(&uri, leg.destination.local().ip(), self.who.tenant());
            let line = services.directory.line(self.who.tenant(), &user).filter(|line| line.enabled && ours);
            let Some(line) = line else { continue };
            for target in services.registrar.contacts(line.id, now.instant).into_iter().flatten() {
                let Some(destination) = target.destination else { continue };
                if self.tried.contains(&target.binding) || self.is_calling_device(line, &target) {
                    continue;
                }
                self.tried.push(target.binding);
                let end = WayEnd::Line(line.clone());
                ways.push(Way { request_uri: target.request_uri, destination, route: target.path, end });
            }
        }
        ways
    }

    /// A branch is out of the hunt. When all of its group are, the next group rings.
    pub(super) fn branch_refused(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        status: StatusCode,
        now: Moment,
    ) {
        let hunted = self.leg(index).is_hunted() || self.leg(index).state == LegState::Up;
        let gave_up = self.leg(index).state == LegState::Cancelling;
        self.end_leg(services, index, Some(status.as_u16()), now);
        if !matches!(self.stage, Stage::Hunting { .. }) {
            return;
        }
        if hunted && !gave_up {
            self.hunt.refused(status);
            // RFC 3263 §4.3: a peer's next address is tried when this one is out of order, not when it refuses the call.
            let is_peer = self.leg(index).branch.as_ref().is_some_and(|branch| branch.way.peer().is_some());
            if is_peer && !matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504) {
                self.hunt.give_up();
            }
            if status.as_u16() >= 600 {
                self.cancel_branches(services, None, now);
            }
        }
        self.ring_on(services, now);
    }

    /// Rings the next group, unless a device still rings or has won.
    pub(super) fn ring_on(&mut self, services: &mut Services, now: Moment) {
        if !self.has_winner() && !self.legs.iter().any(super::Leg::is_hunted) {
            self.next_group(services, now);
        }
    }

    /// Whether a device has answered. Before the caller hears of it, its PRACK of an earlier response may be awaited
    /// (RFC 3262 §5): that has a limit of its own, and no other device is rung meanwhile.
    pub(super) fn has_winner(&self) -> bool {
        self.legs.iter().any(|leg| leg.branch.is_some() && leg.state == LegState::Up)
    }

    /// Gives up all branches that still ring.
    pub(super) fn cancel_branches(&mut self, services: &mut Services, winner: Option<LegIndex>, now: Moment) {
        self.cancel_branches_because(services, winner, winner.map(|_| ANSWERED_ELSEWHERE), now);
    }

    /// As `cancel_branches`, with the Reason that the devices are told.
    pub(super) fn cancel_branches_because(
        &mut self,
        services: &mut Services,
        winner: Option<LegIndex>,
        reason: Option<&str>,
        now: Moment,
    ) {
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            if !leg.is_hunted() || Some(leg.index) == winner {
                continue;
            }
            let number = leg.index;
            match leg.branch.as_ref().and_then(|branch| branch.invite) {
                Some(invite) => {
                    leg.state = LegState::Cancelling;
                    services.layer.cancel(invite, reason, now.instant);
                    self.set_line_state(services, number, None, now);
                }
                None => self.end_leg(services, number, None, now),
            }
        }
    }

    /// The group that rings has had its time.
    pub(super) fn group_rang_out(&mut self, services: &mut Services, now: Moment) {
        if self.rings_on_at_trunk(services, now) {
            return;
        }
        if self.hunt.has_more() || self.has_more_trunks() {
            self.hunt.refused(StatusCode::REQUEST_TIMEOUT);
            self.cancel_branches(services, None, now);
            self.next_group(services, now);
        } else {
            self.nobody_answered(services, now);
        }
    }

    /// The call was not answered in time.
    pub(super) fn nobody_answered(&mut self, services: &mut Services, now: Moment) {
        self.fail(services, EndedBy::Node, StatusCode::TEMPORARILY_UNAVAILABLE, EndCause::NoAnswer, now);
    }

    /// An INVITE of ours had no answer at all, or could not be sent.
    pub(super) fn invite_unanswered(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        status: StatusCode,
        now: Moment,
    ) {
        let leg = self.leg(index);
        if leg.state == LegState::Up {
            return;
        }
        let hunted = leg.is_hunted();
        if let Some(branch) = leg.branch.as_mut()
            && let Some(udp) = branch.udp.take().filter(|_| hunted)
        {
            // RFC 3261 §18.1.1: what does not speak TCP gets the large request over UDP after all.
            branch.keeps_udp = true;
            branch.cseq += 1;
            leg.destination = udp;
            return self.send_invite(services, index, now);
        }
        self.branch_refused(services, index, status, now);
    }

    /// The caller is told that nobody takes the call, and all that rings is stopped.
    pub(super) fn fail(
        &mut self,
        services: &mut Services,
        by: EndedBy,
        status: StatusCode,
        cause: EndCause,
        now: Moment,
    ) {
        self.decide(Verdict { by, cause, status }, now);
        self.answer_failure(services, status, now);
        self.cancel_branches(services, None, now);
        // A device may have answered already, and wait for the caller's PRACK with us.
        for index in 0..self.legs.len() {
            if self.legs[index].branch.is_some() && self.legs[index].state == LegState::Up {
                let number = self.legs[index].index;
                self.leave(services, number, None, now);
            }
        }
        self.close(services, now);
    }

    /// The branch's line state in the lines' table.
    pub(super) fn set_line_state(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        state: Option<LegLineState>,
        now: Moment,
    ) {
        let Some(id) = self.account.as_ref().map(crate::account::Account::id) else { return };
        let line = match &self.legs[usize::from(index)].branch {
            Some(branch) => branch.way.line().map(|line| line.id),
            None => self.who.line().map(|line| line.id),
        };
        if let Some(line) = line {
            services.lines.call_state_changed(line, id, index, state, now.utc);
        }
    }
}

//! INVITEs go out to devices, and their responses come back.

use offhook_base::Moment;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::Dialog,
    header::HeaderName,
    message::{Method, Response, StatusCode},
    reliable::{Arrival, ReliableOrder},
    write::{HeaderValue, MessageWriter},
};

use super::{
    CALLER, Call, LegState, Stage, Way, WayEnd,
    body::{self, Description},
    start::allows_update,
};
use crate::{
    account::Verdict,
    capabilities::{ALLOW, SUPPORTED},
    crossing::crossing_headers,
    exchange::{
        owners::{ClientOwner, ClientUse, LegIndex},
        services::Services,
    },
    fact::What,
    lines::LegLineState,
    media::MediaCommand,
    record::{EndCause, EndedBy},
    trunk_login::answer_challenge,
};

/// Times one device's INVITE is sent again because it asked for credentials, a longer session interval, or other media
/// protection.
const ATTEMPTS_MAX: u8 = 3;

/// What an INVITE without offer supports.
const SUPPORTED_BY_LATE_OFFER: &str = "timer";

/// What the losing devices are told (RFC 3326 §3.1).
const ANSWERED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// What a device is told whose answer has no description, or keys that were not offered (Q.850: incompatible destination).
const ANSWER_UNUSABLE: &str = "Q.850;cause=88;text=\"Answer does not fit the offer\"";

impl Call {
    /// Writes and sends the INVITE of a branch: the first, or one more after a challenge.
    pub(super) fn send_invite(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let (from, to) = (self.party_of(CALLER), self.party_of(index));
        let writer = self.legs[usize::from(CALLER)].session.as_writer();
        let leg = &mut self.legs[usize::from(index)];
        if self.offer.as_ref().is_some_and(|offer| !leg.session.takes_offer(offer, &writer)) {
            tracing::debug!(leg = index, "the offer's SRTP keys do not do for both legs");
            return self.branch_refused(services, index, StatusCode::NOT_ACCEPTABLE_HERE, now);
        }
        let Some(branch) = leg.branch.as_mut() else { return };
        let description =
            self.offer.as_ref().map(|offer| leg.session.describe_offer(offer, &writer, &mut services.random));
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let contact = services.contact(&leg.destination, None);
        let headers = self.request.headers();
        let mut writer =
            MessageWriter::request(&mut services.buffer, &Method::Invite, &branch.way.request_uri);
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, headers.max_forwards().unwrap_or(70).saturating_sub(1));
        for route in &branch.way.route {
            writer.header(&HeaderName::Route, route);
        }
        writer.header_with(&HeaderName::From, |line| {
            self.identity.shown().write(line);
            line.text(";tag=").text(leg.tag.as_str());
        });
        writer.header_with(&HeaderName::To, |line| {
            line.text("<").text(&self.callee_uri).text(">");
        });
        writer.header(&HeaderName::CallId, &branch.call_id);
        writer.header_with(&HeaderName::CSeq, |line| {
            line.number(branch.cseq.into()).text(" INVITE");
        });
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        // RFC 3262 §5: a reliable response would have to bring the late offer, and its PRACK the answer. The answer comes
        // from the caller, who does not make it before its ACK.
        let supported = if self.offer.is_some() { SUPPORTED } else { SUPPORTED_BY_LATE_OFFER };
        writer.header(&HeaderName::Supported, supported);
        branch.session_offer.write(&mut writer);
        writer.header(&HeaderName::UserAgent, &services.settings.product);
        if branch.way.peer().is_some() {
            // A peer is within the trust domain of RFC 3325: it may know even a hidden caller.
            writer.header(&HeaderName::PAssertedIdentity, self.identity.asserted());
        }
        if let Some((proxy, credentials)) = &branch.credentials {
            let name = if *proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
            writer.header(&name, credentials);
        }
        for name in crossing_headers(from, to) {
            writer.copy_from(headers, &name);
        }
        if let Some(description) = &description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        if let Some(stream) = services.stream_for_large(&bytes, &leg.destination)
            && !branch.keeps_udp
        {
            branch.udp = Some(std::mem::replace(&mut leg.destination, stream));
            return self.send_invite(services, index, now);
        }
        let owner = ClientOwner { call: self.key, leg: index, purpose: ClientUse::Invite };
        match services.send_request(owner, &Method::Invite, &transaction, bytes, leg.destination, now) {
            Ok(key) => branch.invite = Some(key),
            Err(error) => {
                tracing::warn!(%error, "INVITE not sent");
                self.branch_refused(services, index, StatusCode::SERVICE_UNAVAILABLE, now);
            }
        }
    }

    /// A response to the INVITE of a branch.
    pub(super) fn handle_invite_response(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let status = response.status();
        if status == StatusCode::TRYING {
            return;
        }
        self.note_software(index, response);
        if status.is_provisional() {
            self.branch_progressed(services, index, response, now);
        } else if status.is_success() {
            self.branch_answered(services, index, response, now);
        } else {
            self.branch_failed(services, index, response, now);
        }
    }

    fn note_software(&mut self, index: LegIndex, response: &Response) {
        let headers = response.headers();
        let software = headers.first(&HeaderName::Server).or_else(|| headers.first(&HeaderName::UserAgent));
        if let (Some(account), Some(software)) = (self.account.as_mut(), software) {
            account.leg_is(index, software);
        }
    }

    /// A provisional response other than 100: the device rings, or plays early media.
    fn branch_progressed(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let leg = &mut self.legs[usize::from(index)];
        if !leg.is_hunted() {
            return;
        }
        let Some(branch) = leg.branch.as_mut() else { return };
        // Each To tag is another early dialog downstream: the latest one speaks for the branch.
        if let Ok(dialog) = Dialog::uac(response, &branch.call_id, leg.tag.as_str(), false) {
            let known = leg.dialog.as_ref().map(|dialog| &dialog.state().remote_tag);
            if known != Some(&dialog.state().remote_tag) {
                branch.order = ReliableOrder::default();
                leg.dialog = Some(dialog);
            }
        }
        leg.allows_update |= allows_update(response.headers());
        let reliable = response.headers().require().any(|option| option == "100rel");
        if let (true, Some(rseq)) = (reliable, response.headers().rseq()) {
            // RFC 3262 §4: repeats and what comes out of order are neither acknowledged nor acted upon.
            if branch.order.take(rseq) != Arrival::New {
                return;
            }
            self.send_prack(services, index, rseq, now);
        }
        let leg = &mut self.legs[usize::from(index)];
        leg.state = LegState::Ringing;
        if let Some(account) = &mut self.account
            && account.leg_rings(index, now.utc)
        {
            services.fact(What::LegRinging { call: account.id(), leg: index }, now);
        }
        let description = match body::description(response.headers(), response.body()) {
            // A late offer in an unreliable provisional cannot be answered: RFC 3261 §13.2.1 allows none there. And an
            // answer with keys that nobody offered is none.
            Description::Sdp(sdp) if self.answers_offer(index, &sdp) => Some(sdp),
            _ => None,
        };
        let is_heard = description.is_some();
        if let Some(answer) = description {
            self.hear_branch(index, answer);
        }
        self.tell_progress(services, index, response, now);
        if is_heard {
            self.join_media(services, CALLER, index);
        }
    }

    /// Whether `answer` can be one to the caller's offer, as branch `index` was told of it.
    fn answers_offer(&self, index: LegIndex, answer: &SessionDescription) -> bool {
        let session = &self.legs[usize::from(index)].session;
        self.offer.as_ref().is_some_and(|offer| session.takes_answer(answer, offer))
    }

    /// The caller hears this branch from now on: the one heard last wins until the answer.
    fn hear_branch(&mut self, index: LegIndex, answer: SessionDescription) {
        let leg = &mut self.legs[usize::from(index)];
        leg.session.accept(answer);
        if let Some(branch) = leg.branch.as_mut() {
            branch.early_answer = true;
        }
        if self.legs[usize::from(CALLER)].session.theirs().is_none()
            && let Some(offer) = self.offer.clone()
        {
            self.legs[usize::from(CALLER)].session.accept(offer);
        }
    }

    /// Tells the engine what both legs have agreed on and joins them.
    pub(super) fn join_media(&mut self, services: &mut Services, left: LegIndex, right: LegIndex) {
        let (a, b) = (&self.legs[usize::from(left)].session, &self.legs[usize::from(right)].session);
        let (Some(a_endpoint), Some(b_endpoint)) = (a.endpoint(), b.endpoint()) else { return };
        services.media(MediaCommand::Configure { endpoint: a_endpoint, streams: a.stream_configs(b) });
        services.media(MediaCommand::Configure { endpoint: b_endpoint, streams: b.stream_configs(a) });
        services.media(MediaCommand::Bridge { left: a_endpoint, right: b_endpoint });
    }

    fn send_prack(&mut self, services: &mut Services, index: LegIndex, rseq: u32, now: Moment) {
        let leg = &mut self.legs[usize::from(index)];
        let (Some(branch), Some(dialog)) = (leg.branch.as_ref(), leg.dialog.as_mut()) else { return };
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let mut writer = dialog.request(&Method::Prack, via, &mut services.buffer);
        writer.header(&HeaderName::RAck, format_args!("{rseq} {} INVITE", branch.cseq));
        let bytes = writer.finish();
        self.send_within(services, index, ClientUse::Prack, &transaction, bytes, now);
    }

    /// A 2xx: the first to come wins. A later one, or a repeat, is acknowledged all the same.
    fn branch_answered(
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
            services.layer.send_stateless(ack.clone(), leg.destination);
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
        let leg = &mut self.legs[usize::from(index)];
        let Some(dialog) = leg.dialog.as_ref() else { return };
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let mut writer = dialog.ack(leg.invite_cseq, via, &mut services.buffer);
        if let Some(answer) = answer {
            writer.body(body::SDP, answer);
        }
        let bytes = writer.finish();
        leg.ack = Some(bytes.clone());
        services.layer.send_stateless(bytes, leg.destination);
    }

    /// A final response other than 2xx. The transaction has acknowledged it.
    fn branch_failed(&mut self, services: &mut Services, index: LegIndex, response: &Response, now: Moment) {
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
    /// RTP in place of SRTP and the other way round.
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
                let otherwise = self.offer.as_ref().is_some_and(|offer| leg.session.ask_otherwise(offer));
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
        if self.hunt.has_more() {
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

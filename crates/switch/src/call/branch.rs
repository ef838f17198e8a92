//! INVITEs go out to devices, and their responses come back.

use offhook_base::Moment;
use offhook_edge::Plea;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::Dialog,
    header::HeaderName,
    message::{Method, Response, StatusCode},
    overload::OverloadWord,
    reliable::{Arrival, ReliableOrder},
    write::{HeaderValue, MessageWriter},
};

use super::{
    CALLER, Call, LegState,
    body::{self, Description},
    start::allows_update,
    transcode,
};
use crate::{
    border::Border,
    capabilities::{ALLOW, SUPPORTED},
    exchange::{
        owners::{ClientOwner, ClientUse, LegIndex},
        services::Services,
    },
    fact::What,
    media::MediaCommand,
};

/// What an INVITE without offer supports.
const SUPPORTED_BY_LATE_OFFER: &str = "timer";

impl Call {
    /// Writes and sends the INVITE of a branch: the first, or one more after a challenge.
    pub(super) fn send_invite(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let (from, to) = (self.party_of(CALLER), self.party_of(index));
        let writer = self.legs[usize::from(CALLER)].session.as_writer();
        if self.is_withheld(services, index, now) {
            return self.branch_refused(services, index, StatusCode::SERVICE_UNAVAILABLE, now);
        }
        let leg = &mut self.legs[usize::from(index)];
        if self.offer.as_ref().is_some_and(|offer| !leg.session.takes_offer(offer, &writer)) {
            tracing::debug!(leg = index, "the offer's SRTP keys do not do for both legs");
            return self.branch_refused(services, index, StatusCode::NOT_ACCEPTABLE_HERE, now);
        }
        let (Some(branch), Some(request)) = (leg.branch.as_mut(), self.request.as_ref()) else { return };
        let description =
            self.offer.as_ref().map(|offer| leg.session.describe_offer(offer, &writer, &mut services.random));
        let transaction = services.layer.new_branch();
        let is_peer = branch.way.peer().is_some();
        let via = services.via(&leg.destination, transaction).listening(is_peer);
        let contact = services.contact(&leg.destination, None);
        let headers = request.headers();
        let border = Border::new(from, to, || services.own_host(&leg.destination));
        let mut writer =
            MessageWriter::request(&mut services.buffer, &Method::Invite, &branch.way.request_uri);
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, headers.max_forwards().unwrap_or(70).saturating_sub(1));
        for route in &branch.way.route {
            writer.header(&HeaderName::Route, route);
        }
        writer.header_with(&HeaderName::From, |line| {
            self.identity.shown().at(border.shown_at()).write(line);
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
        if is_peer {
            // A peer is within the trust domain of RFC 3325: it may know even a hidden caller.
            writer.header(&HeaderName::PAssertedIdentity, self.identity.asserted().at(border.shown_at()));
        }
        if let Some((proxy, credentials)) = &branch.credentials {
            let name = if *proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
            writer.header(&name, credentials);
        }
        border.copy(headers, &mut writer);
        if let Some(description) = &description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        let Ok(bytes) = services.as_ruled_for(branch.way.peer(), bytes) else {
            return self.branch_refused(services, index, StatusCode::MESSAGE_TOO_LARGE, now);
        };
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
        self.note_load(services, index, response, now);
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

    /// Whether the peer has asked not to get this call now (RFC 7339 §5.4). One that it has begun to look at, by a challenge, goes
    /// on; a call for help is never withheld (§5.10.1).
    fn is_withheld(&self, services: &mut Services, index: LegIndex, now: Moment) -> bool {
        let leg = &self.legs[usize::from(index)];
        leg.branch.as_ref().is_some_and(|branch| {
            branch.way.peer().is_some()
                && branch.attempts == 0
                && !self.is_for_help(services)
                && services.restraint.withholds(
                    leg.destination.remote(),
                    branch.call_id.as_bytes(),
                    now.instant,
                )
        })
    }

    /// What a peer says of its load with the response.
    fn note_load(&self, services: &mut Services, index: LegIndex, response: &Response, now: Moment) {
        let leg = &self.legs[usize::from(index)];
        if leg.branch.as_ref().is_none_or(|branch| branch.way.peer().is_none()) {
            return;
        }
        let word = response.headers().via().ok().and_then(|via| OverloadWord::read(&via));
        if let Some(OverloadWord { percent, validity, sequence }) = word {
            let plea = Plea { percent, validity, sequence };
            services.restraint.hear(leg.destination.remote(), plea, now.instant);
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
            self.join_media(services, [CALLER, index], now);
        }
    }

    /// Whether `answer` can be one to the caller's offer, as branch `index` was told of it.
    pub(super) fn answers_offer(&self, index: LegIndex, answer: &SessionDescription) -> bool {
        let session = &self.legs[usize::from(index)].session;
        self.offer.as_ref().is_some_and(|offer| session.takes_answer(answer, offer))
    }

    /// The caller hears this branch from now on: the one heard last wins until the answer.
    pub(super) fn hear_branch(&mut self, index: LegIndex, answer: SessionDescription) {
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
    pub(super) fn join_media(&mut self, services: &mut Services, [left, right]: [LegIndex; 2], now: Moment) {
        let (a, b) = (&self.legs[usize::from(left)].session, &self.legs[usize::from(right)].session);
        let (Some(a_endpoint), Some(b_endpoint)) = (a.endpoint(), b.endpoint()) else { return };
        let (a, b) = (a.stream_configs(b), b.stream_configs(a));
        let codecs = transcode::recoded(&a, &b);
        services.media(MediaCommand::Configure { endpoint: a_endpoint, streams: a });
        services.media(MediaCommand::Configure { endpoint: b_endpoint, streams: b });
        services.media(MediaCommand::Bridge { left: a_endpoint, right: b_endpoint });
        self.note_transcoding(services, [left, right], codecs, now);
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
}

//! Offers after the first one: re-INVITE and UPDATE pass from leg to leg, one at a time; session refreshes end here.
//!
//! A description that did not change is a refresh (RFC 4028 §7.4): the node answers it itself and leaves the other side
//! alone. Everything else is offered to the other leg, and its answer is the answer.

use bytes::Bytes;
use offhook_base::Moment;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::AcceptedResponse,
    header::HeaderName,
    message::{Method, Request, Response, StatusCode},
    session_timer::{SessionTimer, UasAnswer},
    transaction::ClientKey,
    transport::{Destination, Flow},
};

use super::{
    Call,
    body::{self, Description},
    keys::Told,
    leg::Pending,
    patience::Patience,
};
use crate::{
    capabilities::{ALLOW, SUPPORTED},
    exchange::{
        owners::{ClientUse, LegIndex},
        services::Services,
    },
    fact::What,
    lines::LegLineState,
    media::{MediaCommand, STREAMS_MAX},
    record::{EndCause, EndedBy},
};

/// An offer on its way through the node.
#[derive(Debug)]
pub struct Modify {
    /// The leg that asked.
    from: LegIndex,
    /// Its request.
    pending: Pending,
    /// How that came: where the leg is reached once it is accepted.
    flow: Flow,
    /// What it offers; `None`: the other side shall (a re-INVITE without description).
    offer: Option<SessionDescription>,
    /// What the other leg had been told before.
    before: Option<Told>,
    pub(super) step: Step,
    pub(super) patience: Patience,
}

impl Modify {
    /// The request, while its asker waits for the final response, and who asks.
    pub(super) const fn unanswered(&self) -> Option<(LegIndex, &Request)> {
        match self.step {
            Step::Opening | Step::Asked(_) => Some((self.from, &self.pending.request)),
            Step::AwaitingAck => None,
        }
    }

    /// Whether a late offer was passed back, whose answer its asker has not given yet.
    pub(super) const fn awaits_answer(&self) -> bool {
        matches!(self.step, Step::AwaitingAck)
    }

    /// INVITE or UPDATE.
    pub(super) const fn method(&self) -> &Method {
        self.pending.request.method()
    }
}

/// How far an offer has come.
#[derive(Debug)]
pub(super) enum Step {
    /// More ports are being opened.
    Opening,
    /// The other leg was asked, in this transaction.
    Asked(ClientKey),
    /// A late offer was passed back; its answer comes with the ACK.
    AwaitingAck,
}

impl Call {
    /// A re-INVITE or UPDATE of `leg`.
    pub(super) fn handle_offer(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        pending: Pending,
        flow: Flow,
        now: Moment,
    ) {
        let Some(other) = self.other(leg) else {
            // RFC 3311 §5.2: the INVITE's own exchange is not done yet.
            return services.refuse(&pending, StatusCode::REQUEST_PENDING, now);
        };
        match services.settings.session_timers.uas_answer(pending.request.headers()) {
            Ok(answer) if answer.refusal().is_none() => {}
            Ok(answer) => {
                return services.refuse_with(
                    &pending,
                    StatusCode::SESSION_INTERVAL_TOO_SMALL,
                    |writer| answer.write(writer),
                    now,
                );
            }
            Err(_) => return services.refuse(&pending, StatusCode::BAD_REQUEST, now),
        }
        let description = body::description(pending.request.headers(), pending.request.body());
        if matches!(description, Description::Malformed) {
            return services.refuse(&pending, StatusCode::NOT_ACCEPTABLE_HERE, now);
        }
        // RFC 3261 §14.1, RFC 3311 §5.2: one offer at a time, on either side of the node.
        let busy = self.modify.is_some()
            || [leg, other].iter().any(|&index| {
                let leg = &self.legs[usize::from(index)];
                leg.refresh.is_some() || leg.accepted.is_some()
            });
        let bare = *pending.request.method() == Method::Update && matches!(description, Description::None);
        if busy && !bare {
            return services.refuse(&pending, StatusCode::REQUEST_PENDING, now);
        }
        if self.is_refresh(leg, pending.request.method(), &description) {
            return self.answer_refresh(services, leg, &pending, flow, now);
        }
        let offer = match description {
            Description::Sdp(offer) if offer.needs_dtls() => {
                return services.refuse(&pending, StatusCode::NOT_ACCEPTABLE_HERE, now);
            }
            Description::Sdp(offer) if !self.passes_to(leg, other, &offer) => {
                return services.refuse(&pending, StatusCode::NOT_ACCEPTABLE_HERE, now);
            }
            Description::Sdp(offer) => Some(offer),
            Description::None | Description::Malformed => None,
        };
        if *pending.request.method() == Method::Invite {
            services.owners.invite_received(pending.key, self.key);
        }
        let streams = offer.as_ref().map_or(0, |offer| offer.media().len()).min(STREAMS_MAX);
        let before = self.legs[usize::from(other)].session.told().cloned();
        let patience = Patience::for_ports(now.instant);
        self.modify = Some(Modify { from: leg, pending, flow, offer, before, step: Step::Opening, patience });
        let mut opening = false;
        for index in [leg, other] {
            let session = &self.legs[usize::from(index)].session;
            if let (Some(endpoint), false) = (session.endpoint(), session.has_ports_for(streams)) {
                let local = self.legs[usize::from(index)].destination.local().ip();
                services.media(MediaCommand::Open { endpoint, local, streams });
                opening = true;
            }
        }
        if !opening {
            self.pass_offer(services, now);
        }
    }

    /// Whether an offer of `leg` can be told to `other`, with the keys that it has.
    fn passes_to(&self, leg: LegIndex, other: LegIndex, offer: &SessionDescription) -> bool {
        let writer = self.legs[usize::from(leg)].session.as_writer();
        self.legs[usize::from(other)].session.takes_offer(offer, &writer)
    }

    /// The engine has opened more ports.
    pub(super) fn ports_grew(&mut self, services: &mut Services, now: Moment) {
        let Some(Modify { offer: Some(offer), step: Step::Opening, from, .. }) = &self.modify else { return };
        let (streams, from) = (offer.media().len().min(STREAMS_MAX), *from);
        let Some(other) = self.other(from) else { return };
        let enough = |index: LegIndex| self.legs[usize::from(index)].session.has_ports_for(streams);
        if enough(from) && enough(other) {
            self.pass_offer(services, now);
        }
    }

    /// Whether a request changes nothing: an UPDATE without description, or the description in force once more.
    pub(super) fn is_refresh(&self, leg: LegIndex, method: &Method, description: &Description) -> bool {
        match description {
            Description::None => *method == Method::Update,
            Description::Sdp(sdp) => {
                self.legs[usize::from(leg)].session.theirs().is_some_and(|theirs| theirs == sdp)
            }
            Description::Malformed => false,
        }
    }

    pub(super) fn answer_refresh(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        pending: &Pending,
        flow: Flow,
        now: Moment,
    ) {
        if *pending.request.method() == Method::Invite {
            services.owners.invite_received(pending.key, self.key);
        }
        let description = if pending.request.body().is_empty() {
            None
        } else {
            self.legs[usize::from(leg)].session.ours().cloned()
        };
        self.accept_offer(services, leg, pending, flow, description.as_ref(), now);
    }

    /// Asks the other leg, by re-INVITE, or by UPDATE where that is what came and it is understood.
    fn pass_offer(&mut self, services: &mut Services, now: Moment) {
        let Some(Modify { from, pending, offer, .. }) = &self.modify else { return };
        let Some(other) = self.other(*from) else { return };
        let writer = self.legs[usize::from(*from)].session.as_writer();
        let target = &mut self.legs[usize::from(other)];
        let method = match pending.request.method() {
            Method::Update if target.allows_update => Method::Update,
            _ => Method::Invite,
        };
        let description =
            offer.as_ref().map(|offer| target.session.describe_offer(offer, &writer, &mut services.random));
        let client = self.send_offer(services, other, &method, description.as_ref(), ClientUse::Modify, now);
        match (client, &mut self.modify) {
            (Some(client), Some(modify)) => {
                modify.step = Step::Asked(client);
                modify.patience = Patience::for_answer(now.instant);
            }
            _ => self.finish_modify(services, StatusCode::SERVER_INTERNAL_ERROR, now),
        }
    }

    /// Sends a re-INVITE or UPDATE to `index`.
    pub(super) fn send_offer(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        method: &Method,
        description: Option<&Bytes>,
        purpose: ClientUse,
        now: Moment,
    ) -> Option<ClientKey> {
        let leg = &mut self.legs[usize::from(index)];
        let dialog = leg.dialog.as_mut()?;
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let contact = services.contact(&leg.destination, None);
        let policy = services.settings.session_timers;
        let timers =
            leg.timer.map_or_else(|| policy.offer(), |timer| policy.refresh_offer(timer.agreement()));
        let mut writer = dialog.request(method, via, &mut services.buffer);
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        writer.header(&HeaderName::Supported, SUPPORTED);
        timers.write(&mut writer);
        if let Some(description) = description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        if *method == Method::Invite {
            leg.invite_cseq = dialog.state().local_cseq;
        }
        self.send_within(services, index, purpose, &transaction, bytes, now)
    }

    /// The other leg's response to an offer that was passed on.
    pub(super) fn modify_answered(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        key: ClientKey,
        response: &Response,
        now: Moment,
    ) {
        let status = response.status();
        let is_invite = response.headers().cseq().is_ok_and(|cseq| cseq.method == "INVITE");
        if status.is_provisional() {
            return self.modify_progresses(key);
        }
        if !self.asks_by(key) {
            // The call ended meanwhile, or the 2xx came again; that of a late offer waits for the answer.
            let waits = matches!(&self.modify, Some(Modify { step: Step::AwaitingAck, .. }));
            if !waits && status.is_success() && is_invite && !self.repeat_ack(services, index) {
                self.accepted_too_late(services, index, response, now);
            }
            return;
        }
        if !status.is_success() {
            return self.modify_failed(services, index, status, now);
        }
        self.took_response(services, index, response, now);
        let late = self.modify.as_ref().is_some_and(|modify| modify.offer.is_none());
        if is_invite && !late {
            self.send_ack(services, index, None);
        }
        let Some(Modify { from, flow, .. }) = &self.modify else { return };
        let (from, flow) = (*from, *flow);
        let Description::Sdp(sdp) = body::description(response.headers(), response.body()) else {
            if is_invite && late {
                self.send_ack(services, index, None);
            }
            return self.finish_modify(services, StatusCode::NOT_ACCEPTABLE_HERE, now);
        };
        let Some(text) = self.describe_modified(services, from, index, &sdp) else {
            return self.keys_do_not_fit(services, index, late.then_some(&sdp), now);
        };
        self.leg(index).session.accept(sdp);
        let Some(modify) = &mut self.modify else { return };
        let pending = Pending { key: modify.pending.key, request: modify.pending.request.clone() };
        if late {
            modify.step = Step::AwaitingAck;
        } else if let Some(Modify { offer: Some(offer), .. }) = self.modify.take() {
            self.leg(from).session.accept(offer);
            self.join_media(services, [from, index], now);
            self.note_hold(services, now);
        }
        self.accept_offer(services, from, &pending, flow, Some(&text), now);
    }

    /// What `from`, whose request it was, is told of the other leg's answer or late offer; `None` if its keys do not fit.
    fn describe_modified(
        &mut self,
        services: &mut Services,
        from: LegIndex,
        index: LegIndex,
        sdp: &SessionDescription,
    ) -> Option<Bytes> {
        let offer = self.modify.as_ref()?.offer.as_ref();
        let answering = &self.legs[usize::from(index)].session;
        let writer = answering.as_writer();
        let fits = offer.is_none_or(|offer| answering.takes_answer(sdp, offer));
        let asking = &mut self.legs[usize::from(from)].session;
        match offer {
            _ if !fits => None,
            Some(offer) => Some(asking.describe_answer(sdp, offer, &writer, &mut services.random)),
            None if asking.takes_offer(sdp, &writer) => {
                Some(asking.describe_offer(sdp, &writer, &mut services.random))
            }
            None => None,
        }
    }

    /// A leg has answered an offer with keys that nobody offered, or offers some that lead nowhere. It believes in them, so
    /// that the session before cannot be gone back to: the call ends.
    fn keys_do_not_fit(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        late: Option<&SessionDescription>,
        now: Moment,
    ) {
        if let Some(offer) = late {
            let answer = self.leg(index).session.decline(offer, &mut services.random);
            self.send_ack(services, index, Some(&answer));
        }
        self.finish_modify(services, StatusCode::NOT_ACCEPTABLE_HERE, now);
        let status = StatusCode::NOT_ACCEPTABLE_HERE;
        self.hang_up_both(services, EndedBy::Node, EndCause::Incompatible, status, now);
    }

    /// Sends the ACK again if the leg's latest 2xx was acknowledged already.
    pub(super) fn repeat_ack(&self, services: &mut Services, index: LegIndex) -> bool {
        let leg = &self.legs[usize::from(index)];
        leg.ack.as_ref().filter(|ack| ack.cseq == leg.invite_cseq).is_some_and(|ack| {
            services.layer.send_stateless(ack.bytes.clone(), leg.destination);
            true
        })
    }

    /// What a 2xx within the dialog changes: the remote target and the session timer.
    pub(super) fn took_response(
        &mut self,
        services: &Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let policy = services.settings.session_timers;
        let leg = self.leg(index);
        if let Some(dialog) = &mut leg.dialog
            && let Err(error) = dialog.confirm_by(response)
        {
            tracing::debug!(%error, "Contact of a 2xx left aside");
        }
        let offer = leg.timer.map_or_else(|| policy.offer(), |timer| policy.refresh_offer(timer.agreement()));
        let agreed = policy.uac_outcome(offer, response.headers()).ok().flatten();
        leg.timer = agreed.map(|agreement| SessionTimer::new(agreement, now.instant));
    }

    /// Whether `key` is the transaction by which the other leg was asked.
    pub(super) fn asks_by(&self, key: ClientKey) -> bool {
        matches!(&self.modify, Some(Modify { step: Step::Asked(client), .. }) if *client == key)
    }

    /// The other leg never answered the offer.
    pub(super) fn modify_unanswered(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        key: ClientKey,
        now: Moment,
    ) {
        if self.asks_by(key) {
            self.modify_failed(services, index, StatusCode::REQUEST_TIMEOUT, now);
        }
    }

    /// A re-INVITE was cancelled: so is the one that passed it on, and its final response decides. Where nothing was
    /// asked yet it is refused at once, and the session stays.
    pub(super) fn modify_cancelled(&mut self, services: &mut Services, now: Moment) {
        match &mut self.modify {
            Some(Modify { step: Step::Asked(client), patience, .. }) => {
                services.layer.cancel(*client, None, now.instant);
                patience.withdrawn = Some(StatusCode::REQUEST_TERMINATED);
            }
            Some(_) => self.finish_modify(services, StatusCode::REQUEST_TERMINATED, now),
            None => {}
        }
    }

    fn modify_failed(&mut self, services: &mut Services, index: LegIndex, status: StatusCode, now: Moment) {
        let withdrawn = self.modify.as_ref().and_then(|modify| modify.patience.withdrawn);
        if let Some(refusal) = withdrawn.filter(|_| status != StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)
        {
            return self.finish_modify(services, refusal, now);
        }
        // RFC 5057 §5.1: these end the dialog, the others only the request.
        if matches!(status.as_u16(), 408 | 481) {
            let by = self.party(index);
            self.finish_modify(services, status, now);
            return self.hang_up_both(services, by, EndCause::Vanished, status, now);
        }
        self.finish_modify(services, status, now);
    }

    /// The call ends while a leg's late offer waits for its answer: it gets one that takes nothing.
    pub(super) fn decline_late_offer(&mut self, services: &mut Services) {
        let Some(Modify { step: Step::AwaitingAck, from, .. }) = self.modify else { return };
        let Some(other) = self.other(from) else { return };
        let session = &mut self.leg(other).session;
        let answer = session.theirs().cloned().map(|offer| session.decline(&offer, &mut services.random));
        self.send_ack(services, other, answer.as_deref());
    }

    /// Refuses the offer that is under way; the session stays as it was (RFC 3261 §14.2).
    pub(super) fn finish_modify(&mut self, services: &mut Services, status: StatusCode, now: Moment) {
        let Some(modify) = self.modify.take() else { return };
        if let Some(other) = self.other(modify.from) {
            self.leg(other).session.take_back(modify.before);
        }
        if !matches!(modify.step, Step::AwaitingAck) {
            services.refuse(&modify.pending, status, now);
        }
    }

    /// 200 to a re-INVITE or UPDATE of `leg`.
    pub(super) fn accept_offer(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        pending: &Pending,
        flow: Flow,
        description: Option<&Bytes>,
        now: Moment,
    ) {
        // Only now: a request that is refused moves nothing (RFC 3261 §12.2.2, RFC 6141).
        self.leg(leg).destination = Destination::Flow(flow);
        if let Some(dialog) = &mut self.leg(leg).dialog {
            dialog.refresh_target(&pending.request);
        }
        let contact = services.contact(&self.legs[usize::from(leg)].destination, None);
        let timers =
            services.settings.session_timers.uas_answer(pending.request.headers()).unwrap_or(UasAnswer::None);
        let mut writer = pending.request.respond(&mut services.buffer, StatusCode::OK, None);
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        writer.header(&HeaderName::Supported, SUPPORTED);
        timers.write(&mut writer);
        if let Some(description) = description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        let leg = self.leg(leg);
        if *pending.request.method() == Method::Invite {
            leg.accepted_cseq = pending.request.headers().cseq().map_or(0, |cseq| cseq.number);
            leg.accepted = Some(AcceptedResponse::new(bytes.clone(), &services.settings.timers, now.instant));
        }
        if let UasAnswer::Accept { agreement, .. } = timers {
            leg.timer = Some(SessionTimer::new(agreement, now.instant));
        }
        services.respond(pending.key, bytes, now);
    }

    /// The ACK of a 2xx that passed on a late offer brings the answer.
    pub(super) fn modify_acknowledged(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        ack: &Request,
        now: Moment,
    ) {
        let awaited =
            matches!(&self.modify, Some(Modify { from, step: Step::AwaitingAck, .. }) if *from == leg);
        let Some(other) = self.other(leg).filter(|_| awaited) else { return };
        self.modify = None;
        let answer = match body::description(ack.headers(), ack.body()) {
            Description::Sdp(answer) if self.takes_late_answer(leg, other, &answer) => Some(answer),
            _ => None,
        };
        let Some(answer) = answer else {
            self.send_ack(services, other, None);
            return self.hang_up_both(
                services,
                EndedBy::Node,
                EndCause::Incompatible,
                StatusCode::NOT_ACCEPTABLE_HERE,
                now,
            );
        };
        let text = self.describe_late_answer(services, leg, other, &answer);
        self.leg(leg).session.accept(answer);
        self.send_ack(services, other, Some(&text));
        self.join_media(services, [leg, other], now);
        self.note_hold(services, now);
    }

    /// Compares what the legs say of hold with what was known.
    pub(super) fn note_hold(&mut self, services: &mut Services, now: Moment) {
        let Some(id) = self.id() else { return };
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            if leg.state != super::LegState::Up {
                continue;
            }
            let holds = leg.session.theirs().is_some_and(SessionDescription::is_hold);
            if holds == leg.holds {
                continue;
            }
            leg.holds = holds;
            let number = leg.index;
            let what = if holds {
                What::LegHeld { call: id, leg: number }
            } else {
                What::LegResumed { call: id, leg: number }
            };
            services.fact(what, now);
            let state = if holds { LegLineState::Held } else { LegLineState::Busy };
            self.set_line_state(services, number, Some(state), now);
        }
    }
}

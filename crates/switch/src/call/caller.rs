//! What the caller is told: provisional responses, the answer, a failure; and what it says of them: PRACK, ACK.

use bytes::Bytes;
use offhook_base::Moment;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog, DialogId, Phase},
    header::HeaderName,
    message::{Method, Request, Response, StatusCode},
    reliable::ReliableProvisionals,
    session_timer::{SessionTimer, UasAnswer},
    write::MessageWriter,
};

use super::{
    CALLER, Call, LegState, Stage,
    body::{self, Description},
    leg::{Facing, Pending},
    modify::Modify,
};
use crate::{
    border::Border,
    capabilities::{ALLOW, SUPPORTED},
    exchange::{
        owners::{DialogEnd, LegIndex, LocalTag},
        services::Services,
    },
    fact::What,
    lines::LegLineState,
    record::{EndCause, EndedBy},
};

impl Call {
    /// Passes a provisional response of a branch on to the caller, in the branch's early dialog.
    pub(super) fn tell_progress(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let Some(Pending { key, .. }) = self.invite else { return };
        if !self.face(services, index) {
            return;
        }
        let Some(request) = &self.request else { return };
        let (from, to) = (self.party_of(index), self.party_of(CALLER));
        let (caller, branches) = self.legs.split_at_mut(usize::from(index));
        let (caller, leg) = (&mut caller[usize::from(CALLER)], &mut branches[0]);
        let Some(branch) = leg.branch.as_mut() else { return };
        let (early_answer, Some(facing)) = (branch.early_answer, branch.facing.as_mut()) else { return };
        let answer = leg.session.theirs().filter(|_| early_answer && facing.described.is_none());
        let description = answer.zip(self.offer.as_ref()).map(|(answer, offer)| {
            let writer = leg.session.as_writer();
            caller.session.describe_answer(answer, offer, &writer, &mut services.random)
        });
        if let Some(described) = facing.described.as_ref().filter(|_| early_answer) {
            // Another branch may have been described since: this one is heard again, with its own keys.
            caller.session.take_back(Some(described.clone()));
        }
        let requires = request.headers().require().any(|option| option == "100rel");
        if requires && self.offer.is_none() {
            // RFC 3262 §5: the first reliable response to a late offer has to make the offer, and the branches of a hunt
            // would make several. The 200 will.
            return;
        }
        // A description decides something only in a reliable response; a bare 180 does not deserve a PRACK.
        let reliable = requires || (description.is_some() && request.headers().supports("100rel"));
        let contact = services.contact(&caller.destination, Some(&self.callee_user));
        let border = Border::new(from, to, || services.own_host(&caller.destination));
        let mut writer = request.respond(&mut services.buffer, response.status(), Some(facing.tag.as_str()));
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        writer.header(&HeaderName::Supported, SUPPORTED);
        if reliable {
            writer.header(&HeaderName::Require, "100rel");
            writer.header(&HeaderName::RSeq, facing.reliable.next_rseq());
        }
        border.copy(response.headers(), &mut writer);
        if let Some(description) = &description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        if !reliable {
            return services.respond(key, bytes, now);
        }
        if description.is_some() {
            facing.described = caller.session.told().cloned();
        }
        match facing.reliable.send(bytes, &services.settings.timers, now.instant) {
            Ok(Some(bytes)) => services.respond(key, bytes, now),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "provisional response left out"),
        }
    }

    /// Makes the early dialog that the caller sees for a branch; false if the INVITE makes none.
    fn face(&mut self, services: &mut Services, index: LegIndex) -> bool {
        let Some(request) = &self.request else { return false };
        let secure = self.legs[usize::from(CALLER)].destination.transport().is_secure()
            && request.uri().starts_with("sips:");
        let Some(branch) = self.legs[usize::from(index)].branch.as_mut() else { return false };
        if branch.facing.is_some() {
            return true;
        }
        let tag = LocalTag::new(&mut services.random);
        let Ok(dialog) = Dialog::uas(request, tag.as_str(), secure, Phase::Early) else { return false };
        let cseq = request.headers().cseq().map_or(0, |cseq| cseq.number);
        let reliable = ReliableProvisionals::new(cseq, &mut services.random);
        services.owners.tag_used(tag, DialogEnd { call: self.key, leg: index, faces_caller: true });
        branch.facing = Some(Facing { dialog, tag, reliable, described: None });
        true
    }

    /// A PRACK of the caller, in the early dialog of one branch.
    pub(super) fn handle_prack(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        prack: &Pending,
        now: Moment,
    ) {
        let timers = services.settings.timers;
        let rack = prack.request.headers().rack().ok().flatten();
        let facing = self.legs[usize::from(index)].branch.as_mut().and_then(|branch| branch.facing.as_mut());
        let taken = match (facing, &rack) {
            (Some(facing), Some(rack)) => facing.reliable.handle_prack(rack, &timers, now.instant).ok(),
            _ => None,
        };
        let Some(next) = taken else {
            return services.refuse(prack, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now);
        };
        if !prack.request.body().is_empty() {
            // RFC 3262 §5 lets a PRACK make a new offer. None of the phones we know does; it is refused, which leaves
            // the session as it was (RFC 6337 §2.2, pattern 4).
            services.refuse(prack, StatusCode::NOT_ACCEPTABLE_HERE, now);
        } else {
            services.refuse(prack, StatusCode::OK, now);
        }
        if let (Some(next), Some(Pending { key, .. })) = (next, &self.invite) {
            services.respond(*key, next, now);
        }
        let branch = self.legs[usize::from(index)].branch.as_mut();
        if let Some(response) = branch.and_then(|branch| branch.answer_waits.take()) {
            self.answer_caller(services, index, &response, now);
        }
    }

    /// A device has answered: so is the caller.
    pub(super) fn answer_caller(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) {
        let Some(Pending { key, .. }) = self.invite else { return };
        if !self.face(services, index) {
            return self.answer_is_unusable(services, index, now);
        }
        self.cancel_branches(services, Some(index), now);
        let Some(branch) = self.legs[usize::from(index)].branch.as_mut() else { return };
        if branch
            .facing
            .as_ref()
            .is_some_and(|facing| facing.described.is_some() && facing.reliable.awaits_prack())
        {
            // RFC 3262 §5: no 2xx before the PRACK of the response that carried the answer.
            branch.answer_waits = Some(response.clone());
            return;
        }
        let late = self.offer.is_none();
        let bytes = self.write_answer(services, index, response, now);
        let Some(bytes) = bytes else { return };
        self.invite = None;
        let cseq = self.request.as_ref().and_then(|request| request.headers().cseq().ok());
        let cseq = cseq.map_or(0, |cseq| cseq.number);
        let caller = self.leg(CALLER);
        caller.state = LegState::Up;
        caller.accepted_cseq = cseq;
        caller.accepted = Some(AcceptedResponse::new(bytes.clone(), &services.settings.timers, now.instant));
        services.respond(key, bytes, now);
        if !late {
            self.send_ack(services, index, None);
        }
        self.establish(services, index, late, now);
    }

    /// The 200 to the caller's INVITE, in the winner's dialog.
    fn write_answer(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        response: &Response,
        now: Moment,
    ) -> Option<Bytes> {
        let (from, to) = (self.party_of(index), self.party_of(CALLER));
        let (caller, branches) = self.legs.split_at_mut(usize::from(index));
        let (caller, leg) = (&mut caller[usize::from(CALLER)], &mut branches[0]);
        let (branch, request) = (leg.branch.as_mut()?, self.request.as_ref()?);
        let session_offer = branch.session_offer;
        let facing = branch.facing.as_mut()?;
        facing.reliable.stop();
        facing.dialog.confirm();
        let mut dialog = facing.dialog.clone();
        let description = leg.session.theirs().filter(|_| facing.described.is_none());
        let writer = leg.session.as_writer();
        let description = description.map(|sdp| match &self.offer {
            Some(offer) => caller.session.describe_answer(sdp, offer, &writer, &mut services.random),
            None => caller.session.describe_offer(sdp, &writer, &mut services.random),
        });
        if let Some(described) = &facing.described {
            // Another branch may have been described since, in an early dialog that ends now.
            caller.session.take_back(Some(described.clone()));
        }
        caller.tag = facing.tag;
        services.owners.tag_used(facing.tag, DialogEnd { call: self.key, leg: CALLER, faces_caller: false });
        let contact = services.contact(&caller.destination, Some(&self.callee_user));
        let border = Border::new(from, to, || services.own_host(&caller.destination));
        let policy = services.settings.session_timers;
        let interval = policy.uas_answer(request.headers()).unwrap_or(UasAnswer::None);
        let mut writer = request.respond(&mut services.buffer, StatusCode::OK, Some(facing.tag.as_str()));
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        writer.header(&HeaderName::Supported, SUPPORTED);
        interval.write(&mut writer);
        writer.header(&HeaderName::Server, &services.settings.product);
        border.copy(response.headers(), &mut writer);
        if let Some(description) = &description {
            writer.body(body::SDP, description);
        }
        let bytes = writer.finish();
        dialog.confirm();
        caller.dialog = Some(dialog);
        if let UasAnswer::Accept { agreement, .. } = interval {
            caller.timer = Some(SessionTimer::new(agreement, now.instant));
        }
        let agreed = policy.uac_outcome(session_offer, response.headers()).ok().flatten();
        leg.timer = agreed.map(|agreement| SessionTimer::new(agreement, now.instant));
        Some(bytes)
    }

    fn establish(&mut self, services: &mut Services, callee: LegIndex, late: bool, now: Moment) {
        self.stage = Stage::Established { callee, end_at: now.instant + services.settings.call_duration };
        if let Some(account) = &mut self.account {
            account.answered(now.utc);
            account.leg_answered(CALLER, now.utc);
            services.fact(What::CallAnswered { call: account.id(), leg: callee }, now);
        }
        self.set_line_state(services, callee, Some(LegLineState::Busy), now);
        if !late {
            if self.legs[usize::from(CALLER)].session.theirs().is_none()
                && let Some(offer) = self.offer.clone()
            {
                self.leg(CALLER).session.accept(offer);
            }
            self.join_media(services, [CALLER, callee], now);
        }
    }

    /// An ACK of a 2xx of ours, within a dialog of this call.
    pub fn handle_ack(&mut self, services: &mut Services, leg: LegIndex, ack: &Request, now: Moment) {
        // The ACK of an earlier INVITE that came twice or late, or one of another dialog, says nothing of this 2xx.
        let acknowledges = {
            let leg = &self.legs[usize::from(leg)];
            let same_dialog = leg
                .dialog
                .as_ref()
                .is_some_and(|dialog| DialogId::of_request(ack).ok().flatten() == Some(dialog.id()));
            same_dialog && ack.headers().cseq().is_ok_and(|cseq| cseq.number == leg.accepted_cseq)
        };
        if !acknowledges {
            return;
        }
        let first = self.leg(leg).accepted.as_mut().is_some_and(AcceptedResponse::handle_ack);
        if !first {
            return;
        }
        self.leg(leg).accepted = None;
        self.leg(leg).acknowledged = true;
        if leg == CALLER {
            // Nothing is read from it any more, and a call may last for hours.
            self.request = None;
        }
        if self.leg(leg).state == LegState::Leaving {
            return self.say_goodbye(services, leg, now);
        }
        if self.served.is_some() {
            return self.served_acknowledged(services, ack, now);
        }
        let Some(other) = self.other(leg) else { return };
        if self.modify.is_some() {
            return self.modify_acknowledged(services, leg, ack, now);
        }
        let late = leg == CALLER && self.offer.is_none() && self.legs[usize::from(other)].ack.is_none();
        if !late {
            return;
        }
        // A late offer: the answer comes with the ACK and goes on with ours.
        match body::description(ack.headers(), ack.body()) {
            Description::Sdp(answer) if self.takes_late_answer(leg, other, &answer) => {
                let text = self.describe_late_answer(services, leg, other, &answer);
                self.leg(leg).session.accept(answer);
                self.send_ack(services, other, Some(&text));
                self.join_media(services, [leg, other], now);
            }
            _ => {
                self.send_ack(services, other, None);
                self.hang_up_both(
                    services,
                    EndedBy::Node,
                    EndCause::Incompatible,
                    StatusCode::NOT_ACCEPTABLE_HERE,
                    now,
                );
            }
        }
    }

    /// Whether the answer that `leg` gives to the offer of `other` fits what it was told of it.
    pub(super) fn takes_late_answer(
        &self,
        leg: LegIndex,
        other: LegIndex,
        answer: &SessionDescription,
    ) -> bool {
        let offer = self.legs[usize::from(other)].session.theirs();
        offer.is_none_or(|offer| self.legs[usize::from(leg)].session.takes_answer(answer, offer))
    }

    /// What `other`, who made the offer, is told of the answer of `leg`.
    pub(super) fn describe_late_answer(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        other: LegIndex,
        answer: &SessionDescription,
    ) -> Bytes {
        let writer = self.legs[usize::from(leg)].session.as_writer();
        let session = &mut self.legs[usize::from(other)].session;
        let offer = session.theirs().cloned();
        session.describe_answer(answer, offer.as_ref().unwrap_or(answer), &writer, &mut services.random)
    }

    /// A 2xx whose transaction is over: our ACK got lost and is sent again. One that answers an INVITE of the process before
    /// this one has had none: its answer is no longer waited for, but it must not be repeated for ever.
    pub fn acknowledge_again(&mut self, services: &mut Services, index: LegIndex, response: &Response) {
        let Ok(number) = response.headers().cseq().map(|cseq| cseq.number) else { return };
        // RFC 3261 §13.2.2.4: the answer to a late offer is in the ACK, and who asked for it has not given it yet.
        let awaits_answer = self.modify.as_ref().is_some_and(Modify::awaits_answer)
            || (self.offer.is_none() && !self.legs[usize::from(CALLER)].acknowledged);
        let leg = self.leg(index);
        match &leg.ack {
            Some(ack) if number == ack.cseq => {
                services.layer.send_stateless(ack.bytes.clone(), leg.destination);
            }
            _ if leg.state != LegState::Up || awaits_answer => {}
            _ if number == leg.invite_cseq => self.send_ack(services, index, None),
            // Of a re-INVITE that an earlier process has sent and not lived to acknowledge. Without, the other side hangs up.
            _ => self.acknowledge_unknown(services, index, number),
        }
    }

    /// Acknowledges a 2xx to an INVITE in the leg's dialog of which nothing is known any more.
    fn acknowledge_unknown(&self, services: &mut Services, index: LegIndex, cseq: u32) {
        let leg = &self.legs[usize::from(index)];
        let Some(dialog) = leg.dialog.as_ref() else { return };
        let transaction = services.layer.new_branch();
        let via = services.via(&leg.destination, transaction);
        let ack = dialog.ack(cseq, via, &mut services.buffer).finish();
        services.layer.send_stateless(ack, leg.destination);
    }

    /// A request in an early dialog. RFC 3311 §5.2 lets an UPDATE offer something there; as the branches of a hunt
    /// share the caller's session, it has to wait for the answer.
    pub(super) fn handle_early_request(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        faces_caller: bool,
        pending: &Pending,
        now: Moment,
    ) {
        let bare_update = *pending.request.method() == Method::Update && pending.request.body().is_empty();
        if !bare_update {
            return services.refuse(pending, StatusCode::REQUEST_PENDING, now);
        }
        let asker = if faces_caller { CALLER } else { leg };
        let contact = services.contact(&self.legs[usize::from(asker)].destination, None);
        let leg = self.leg(leg);
        let dialog = match leg.branch.as_mut().and_then(|branch| branch.facing.as_mut()) {
            Some(facing) if faces_caller => Some(&mut facing.dialog),
            _ => leg.dialog.as_mut(),
        };
        if let Some(dialog) = dialog {
            dialog.refresh_target(&pending.request);
        }
        let add_contact = |writer: &mut MessageWriter<'_>| {
            writer.header(&HeaderName::Contact, contact);
        };
        services.refuse_with(pending, StatusCode::OK, add_contact, now);
    }

    /// Answers the caller's INVITE with a failure.
    pub(super) fn answer_failure(&mut self, services: &mut Services, status: StatusCode, now: Moment) {
        let Some(Pending { key, request }) = self.invite.take() else { return };
        let tag = self.legs.first().map(|leg| leg.tag);
        let mut writer = request.respond(&mut services.buffer, status, tag.as_ref().map(LocalTag::as_str));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            writer.header(&HeaderName::RetryAfter, RETRY_AFTER_SECS);
        }
        writer.header(&HeaderName::Server, &services.settings.product);
        let bytes = writer.finish();
        services.respond(key, bytes, now);
    }
}

/// What a 503 asks the caller to wait, seconds.
const RETRY_AFTER_SECS: u32 = 5;

//! The phone talks: holds and resumes, keeps the session alive, hangs up.

use std::time::Duration;

use offhook_base::Instant;
use offhook_sip::{
    dialog::{AcceptedEvent, AcceptedResponse},
    header::HeaderName,
    message::{Method, Request, Response, StatusCode},
    session_timer::{SessionEvent, SessionTimer, UasAnswer},
    transaction::{ClientKey, ServerKey},
};

use super::{
    Phone, SPEAK_EVERY, Sent, TIMERS, Use,
    call::{Reoffer, Side, State},
    keys::Keys,
};
use crate::media::SoundPacket;

impl Phone {
    /// Hangs up, or gives up, or refuses: whatever ends the call now.
    pub fn hang_up(&mut self, index: usize, now: Instant) {
        match self.calls[index].state {
            State::Calling => self.cancel(index, now),
            State::Incoming => {
                self.carry_out(index, super::call::Plan::Refuse(486, None), now);
                self.pump(now);
            }
            State::Up => {
                // RFC 3261 §15: a callee hangs up only once its 2xx was acknowledged, or never was.
                self.send_bye(index, now);
                self.calls[index].gone_at = Some(now);
                self.calls[index].end(0);
                self.pump(now);
            }
            State::Over(_) => {}
        }
    }

    pub(super) fn send_bye(&mut self, index: usize, now: Instant) {
        let branch = self.new_branch();
        let via = self.via(&branch);
        let Some(dialog) = &mut self.calls[index].dialog else { return };
        let bytes = dialog.request(&Method::Bye, via, &mut self.buffer).finish();
        self.send(&Method::Bye, &branch, bytes, Use::Other, now);
    }

    /// Holds the other side, or takes it back.
    pub fn hold(&mut self, index: usize, holding: bool, now: Instant) {
        self.offer_again(index, holding, now);
        self.pump(now);
    }

    /// Sends a digit by INFO.
    pub fn send_info(&mut self, index: usize, now: Instant) {
        let branch = self.new_branch();
        let via = self.via(&branch);
        if self.calls[index].state != State::Up {
            return;
        }
        let Some(dialog) = &mut self.calls[index].dialog else { return };
        let mut writer = dialog.request(&Method::Info, via, &mut self.buffer);
        writer.body("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n");
        let bytes = writer.finish();
        self.send(&Method::Info, &branch, bytes, Use::Other, now);
        self.pump(now);
    }

    /// Takes an offer back that was not answered yet, by CANCEL; an UPDATE cannot be taken back.
    pub fn withdraw(&mut self, index: usize, now: Instant) {
        if let Some(Reoffer { client, invite_cseq: Some(_), .. }) = self.calls[index].reoffer {
            self.layer.cancel(client, None, now);
            self.pump(now);
        }
    }

    /// Offers other codecs from now on.
    pub fn change_codecs(&mut self, index: usize, codecs: &[u8], now: Instant) {
        let call = &mut self.calls[index];
        call.media.codecs = codecs.to_vec();
        let holding = call.media.holding;
        self.offer_again(index, holding, now);
        self.pump(now);
    }

    /// Moves to another address in the middle of a call, and says so (RFC 3665 §3.7).
    pub fn move_to(&mut self, index: usize, address: std::net::SocketAddr, now: Instant) {
        self.address = address;
        let call = &mut self.calls[index];
        call.media.local.set_ip(address.ip());
        let holding = call.media.holding;
        self.offer_again(index, holding, now);
        self.pump(now);
    }

    pub(super) fn offer_again(&mut self, index: usize, holding: bool, now: Instant) {
        let call = &mut self.calls[index];
        if call.state != State::Up {
            return;
        }
        if call.reoffer.is_some() || call.accepted.is_some() || call.media.remote.is_none() {
            call.reoffer_at = Some((now + Duration::from_secs(1), holding));
            return;
        }
        let before = (call.media.holding, call.media.codecs.clone());
        call.media.holding = holding;
        call.media.change();
        self.send_offer(index, before, false, now);
    }

    fn send_offer(&mut self, index: usize, before: (bool, Vec<u8>), refresh: bool, now: Instant) {
        let branch = self.new_branch();
        let (via, contact, policy) = (self.via(&branch), self.contact(), self.policy());
        let call = &mut self.calls[index];
        let method = if self.habits.updates && call.other_updates { Method::Update } else { Method::Invite };
        let description = call.media.offer();
        let Some(dialog) = &mut call.dialog else { return };
        let mut writer = dialog.request(&method, via, &mut self.buffer);
        writer.header(&HeaderName::Contact, contact);
        Self::write_capabilities(&self.habits, &mut writer);
        if let (Some(policy), Some(timer)) = (policy, &call.timer) {
            policy.refresh_offer(timer.agreement()).write(&mut writer);
        }
        if !(refresh && method == Method::Update) {
            writer.body("application/sdp", &description);
        }
        let bytes = writer.finish();
        let invite_cseq = (method == Method::Invite).then_some(dialog.state().local_cseq);
        let holding = call.media.holding;
        let client = self.send(&method, &branch, bytes, Use::Reoffer(index), now);
        self.calls[index].reoffer = Some(Reoffer { client, invite_cseq, holding, before, refresh });
    }

    pub(super) fn reoffer_answered(
        &mut self,
        index: usize,
        key: ClientKey,
        response: &Response,
        now: Instant,
    ) {
        let status = response.status();
        if status.is_provisional() {
            return;
        }
        let policy = self.policy();
        let call = &mut self.calls[index];
        let Some(reoffer) = call.reoffer.take_if(|reoffer| reoffer.client == key) else {
            return self.repeat_ack(response);
        };
        if status.is_success() {
            if let Some(dialog) = &mut call.dialog {
                let _ = dialog.confirm_by(response);
            }
            if !response.body().is_empty() {
                call.media.take(response.body());
            }
            if let (Some(policy), Some(timer)) = (policy, &call.timer) {
                let offer = policy.refresh_offer(timer.agreement());
                if let Ok(agreed) = policy.uac_outcome(offer, response.headers()) {
                    call.timer = agreed.map(|agreement| SessionTimer::new(agreement, now));
                }
            }
            if let Some(cseq) = reoffer.invite_cseq {
                call.cseq = cseq;
                self.acknowledge(index, None, now);
            }
            return;
        }
        (call.media.holding, call.media.codecs) = reoffer.before;
        match status.as_u16() {
            408 | 481 => self.hang_up(index, now),
            491 | 500 => {
                // RFC 3261 §14.1: who made the Call-ID waits longer, in steps of 10 ms.
                let base = if call.side == Side::Caller { 2100 } else { 0 };
                let wait = Duration::from_millis(base + 10 * self.random.below(191));
                self.calls[index].reoffer_at = Some((now + wait, reoffer.holding));
            }
            _ => {}
        }
    }

    pub(super) fn requested_in_call(&mut self, index: usize, key: ServerKey, request: Request, now: Instant) {
        let call = &mut self.calls[index];
        let in_order = call.dialog.as_mut().map(|dialog| dialog.take_request(&request));
        if matches!(in_order, Some(Err(_))) {
            self.violations.push(format!("{} with an old CSeq", request.method().as_str()));
            return self.respond(key, &request, 500, now);
        }
        match request.method() {
            Method::Bye => {
                if call.side == Side::Caller && call.state == State::Calling {
                    self.violations.push("a BYE before our ACK".into());
                }
                self.calls[index].gone_at = Some(now);
                self.calls[index].end(0);
                self.respond(key, &request, 200, now);
            }
            Method::Prack => self.pracked(index, key, &request, now),
            Method::Invite | Method::Update => self.offered(index, key, &request, now),
            Method::Info | Method::Options => self.respond(key, &request, 200, now),
            _ => self.respond(key, &request, 405, now),
        }
    }

    /// A re-INVITE or UPDATE.
    fn offered(&mut self, index: usize, key: ServerKey, request: &Request, now: Instant) {
        let (contact, policy) = (self.contact(), self.policy());
        let is_invite = *request.method() == Method::Invite;
        let call = &mut self.calls[index];
        let offers = is_invite || !request.body().is_empty();
        if offers && (call.reoffer.is_some() || call.accepted.is_some() || call.state != State::Up) {
            return self.respond(key, request, 491, now);
        }
        let description = match (is_invite, request.body().is_empty()) {
            (_, false) => match call.media.answer(request.body()) {
                Some(answer) => Some(answer),
                None => return self.respond(key, request, 488, now),
            },
            (true, true) => {
                call.media.change();
                call.awaits_answer = true;
                Some(call.media.offer())
            }
            (false, true) => None,
        };
        if let Some(dialog) = &mut call.dialog {
            dialog.refresh_target(request);
        }
        let mut writer = request.respond(&mut self.buffer, StatusCode::OK, None);
        writer.header(&HeaderName::Contact, contact);
        Self::write_capabilities(&self.habits, &mut writer);
        if let Some(Ok(answer)) = policy.map(|policy| policy.uas_answer(request.headers())) {
            answer.write(&mut writer);
            if let UasAnswer::Accept { agreement, .. } = answer {
                call.timer = Some(SessionTimer::new(agreement, now));
            }
        }
        if let Some(description) = &description {
            writer.body("application/sdp", description);
        }
        let bytes = writer.finish();
        if is_invite {
            call.accepted = Some(AcceptedResponse::new(bytes.clone(), &TIMERS, now));
        }
        self.reply(key, bytes, now);
    }

    /// An ACK of a 2xx of ours.
    pub(super) fn acknowledged(&mut self, ack: &Request) {
        let Some(index) = self.call_of(ack) else { return };
        let call = &mut self.calls[index];
        if !call.accepted.as_mut().is_some_and(AcceptedResponse::handle_ack) {
            return;
        }
        call.accepted = None;
        if std::mem::take(&mut call.awaits_answer) {
            if offhook_sdp::SessionDescription::parse_slice(ack.body()).is_err() {
                self.violations.push("an ACK without the answer to our offer".into());
            } else if call.media.take(ack.body()).is_some() && self.habits.speaks {
                call.media.speak_at.get_or_insert(call.up_at.unwrap_or_default() + SPEAK_EVERY);
            }
        }
    }

    /// Whatever is due in a call.
    pub(super) fn run_call(&mut self, index: usize, now: Instant) {
        while let Some(position) = self.calls[index].plans.iter().position(|(at, _)| *at <= now) {
            let (_, plan) = self.calls[index].plans.remove(position);
            self.carry_out(index, plan, now);
        }
        self.run_reliable(index, now);
        let call = &mut self.calls[index];
        match call.accepted.as_mut().and_then(|accepted| accepted.handle_timeout(&TIMERS, now)) {
            Some(AcceptedEvent::Resend(bytes)) => {
                let to = self.destination();
                self.layer.send_stateless(bytes, to);
            }
            Some(AcceptedEvent::GiveUp) => self.hang_up(index, now),
            None => {}
        }
        let call = &mut self.calls[index];
        match call.timer.as_mut().and_then(|timer| timer.handle_timeout(now)) {
            Some(SessionEvent::Refresh) if !self.habits.leaves_refresh && call.reoffer.is_none() => {
                let before = (call.media.holding, call.media.codecs.clone());
                self.send_offer(index, before, true, now);
            }
            Some(SessionEvent::Expired) => self.hang_up(index, now),
            _ => {}
        }
        let call = &mut self.calls[index];
        if let Some((_, holding)) = call.reoffer_at.take_if(|(at, _)| *at <= now) {
            self.offer_again(index, holding, now);
        }
        self.speak(index, now);
    }

    fn speak(&mut self, index: usize, now: Instant) {
        let call = &mut self.calls[index];
        if call.media.speak_at.is_none_or(|at| at > now) {
            return;
        }
        call.media.speak_at = Some(now + SPEAK_EVERY);
        let Some(to) = call.media.remote.filter(|_| call.media.heard && !call.media.holding) else { return };
        let sound = SoundPacket {
            conversation: call.conversation,
            said_by: call.side,
            ssrc: call.media.ssrc,
            key: call.media.keys.as_ref().and_then(Keys::closes),
        };
        self.sent.push_back(Sent::Sound { from_port: call.media.local.port(), to, sound });
    }
}

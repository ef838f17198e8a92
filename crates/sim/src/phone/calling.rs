//! The phone calls somebody.

use offhook_base::Instant;
use offhook_sip::{
    dialog::Dialog,
    header::HeaderName,
    message::{Method, Response},
    reliable::{Arrival, ReliableOrder},
    session_timer::SessionTimer,
    write::MessageWriter,
};

use super::{
    Phone, SPEAK_EVERY, Use,
    call::{EarlyDialog, PhoneCall, Side, State},
};

impl Phone {
    /// Calls a number or name of its own domain; returns the call's position in [`Phone::calls`].
    pub fn call(&mut self, target: &str, now: Instant) -> usize {
        self.next_conversation += 1;
        let mut call = PhoneCall::new(Side::Caller, State::Calling, self.next_conversation, self.new_media());
        call.call_id = self.random.token::<20>().to_string();
        call.tag = self.random.token::<8>().to_string();
        call.target = format!("sip:{target}@{}", self.domain);
        self.calls.push(call);
        let index = self.calls.len() - 1;
        self.send_invite(index, None, now);
        self.pump(now);
        index
    }

    fn send_invite(&mut self, index: usize, credentials: Option<(HeaderName, String)>, now: Instant) {
        let branch = self.new_branch();
        let (via, contact) = (self.via(&branch), self.contact());
        let policy = self.policy();
        let call = &mut self.calls[index];
        call.cseq += 1;
        let offer = call.media.offer();
        let mut writer = MessageWriter::request(&mut self.buffer, &Method::Invite, &call.target);
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, 70_u8);
        writer
            .header(&HeaderName::From, format_args!("<sip:{}@{}>;tag={}", self.line, self.domain, call.tag));
        writer.header(&HeaderName::To, format_args!("<{}>", call.target));
        writer.header(&HeaderName::CallId, &call.call_id);
        writer.header(&HeaderName::CSeq, format_args!("{} INVITE", call.cseq));
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Subject, call.conversation);
        if self.habits.padding > 0 {
            writer.header(&HeaderName::Organization, "x".repeat(self.habits.padding));
        }
        Self::write_capabilities(&self.habits, &mut writer);
        if self.habits.requires_reliable {
            writer.header(&HeaderName::Require, "100rel");
        }
        if let Some(policy) = policy {
            policy.offer().write(&mut writer);
        }
        if let Some((name, value)) = credentials {
            writer.header(&name, value);
        }
        if !self.habits.late_offer {
            writer.body("application/sdp", &offer);
        }
        let bytes = writer.finish();
        let key = self.send(&Method::Invite, &branch, bytes, Use::Invite(index), now);
        self.calls[index].invite = Some(key);
        if self.calls[index].cancelled {
            self.layer.cancel(key, None, now);
        }
    }

    /// Gives up a call that is not answered yet.
    pub fn cancel(&mut self, index: usize, now: Instant) {
        let call = &mut self.calls[index];
        if call.state != State::Calling {
            return;
        }
        call.cancelled = true;
        if let Some(invite) = call.invite {
            self.layer.cancel(invite, None, now);
            self.pump(now);
        }
    }

    /// Ends the latest early dialog of a call by BYE, as RFC 3261 §15 allows a caller.
    pub fn bye_early(&mut self, index: usize, now: Instant) {
        let branch = self.new_branch();
        let via = self.via(&branch);
        let Some(early) = self.calls[index].early.last_mut() else { return };
        let bytes = early.dialog.request(&Method::Bye, via, &mut self.buffer).finish();
        self.send(&Method::Bye, &branch, bytes, Use::Other, now);
        self.pump(now);
    }

    pub(super) fn invite_answered(&mut self, index: usize, response: &Response, now: Instant) {
        let status = response.status().as_u16();
        match status {
            100 => {}
            101..=199 => self.progressed(index, response, now),
            200..=299 => self.accepted(index, response, now),
            401 | 407 if !self.calls[index].authorized && !self.calls[index].is_over() => {
                self.calls[index].authorized = true;
                let Some(mut session) = self.answer_to(response) else {
                    return self.calls[index].end(status);
                };
                let target = self.calls[index].target.clone();
                let value = session.authorize(&Method::Invite, &target, &[], &mut self.random);
                let name =
                    if status == 401 { HeaderName::Authorization } else { HeaderName::ProxyAuthorization };
                self.send_invite(index, Some((name, value)), now);
            }
            _ => self.calls[index].end(status),
        }
    }

    /// A provisional response: an early dialog, maybe a PRACK, maybe something to hear.
    fn progressed(&mut self, index: usize, response: &Response, now: Instant) {
        let call = &mut self.calls[index];
        if call.is_over() {
            return;
        }
        let Ok(dialog) = Dialog::uac(response, &call.call_id, &call.tag, false) else { return };
        let position = call.early.iter().position(|early| early.dialog.id() == dialog.id());
        let position = position.unwrap_or_else(|| {
            call.early.push(EarlyDialog { dialog, order: ReliableOrder::default(), answer: None });
            call.early.len() - 1
        });
        let reliable = response.headers().require().any(|option| option == "100rel");
        let rseq = response.headers().rseq().filter(|_| reliable);
        if let Some(rseq) = rseq
            && call.early[position].order.take(rseq) != Arrival::New
        {
            return;
        }
        if !response.body().is_empty() && !self.habits.late_offer {
            call.media.take(response.body());
            call.early[position].answer = Some(response.body_bytes());
            if self.habits.speaks {
                call.media.speak_at.get_or_insert(now + SPEAK_EVERY);
            }
        }
        let Some(rseq) = rseq else { return };
        let cseq = call.cseq;
        let branch = self.new_branch();
        let via = self.via(&branch);
        let dialog = &mut self.calls[index].early[position].dialog;
        let mut writer = dialog.request(&Method::Prack, via, &mut self.buffer);
        writer.header(&HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
        let bytes = writer.finish();
        self.send(&Method::Prack, &branch, bytes, Use::Other, now);
    }

    /// A 2xx to our first INVITE.
    fn accepted(&mut self, index: usize, response: &Response, now: Instant) {
        let policy = self.policy();
        let call = &mut self.calls[index];
        if call.ack.is_some() {
            return self.repeat_ack(response);
        }
        let Ok(fresh) = Dialog::uac(response, &call.call_id, &call.tag, false) else {
            self.violations.push("a 2xx made no dialog".into());
            return;
        };
        let early = call.early.iter().position(|early| early.dialog.id() == fresh.id());
        let early = early.map(|position| call.early.swap_remove(position));
        let (mut dialog, early_answer) = early.map_or((fresh, None), |early| (early.dialog, early.answer));
        let _ = dialog.confirm_by(response);
        call.dialog = Some(dialog);
        call.other_updates = response.headers().allow().any(|method| method == "UPDATE");
        call.invite = None;
        if call.is_over() {
            // Answered after all: acknowledge and hang up.
            self.acknowledge(index, None, now);
            return self.send_bye(index, now);
        }
        let call = &mut self.calls[index];
        call.state = State::Up;
        call.up_at = Some(now);
        if let Some(policy) = policy
            && let Ok(Some(agreement)) = policy.uac_outcome(policy.offer(), response.headers())
        {
            call.timer = Some(SessionTimer::new(agreement, now));
        }
        let mut is_content = true;
        let answer = if self.habits.late_offer {
            let answer = call.media.answer(response.body());
            is_content = answer.is_some();
            answer.or_else(|| call.media.decline(response.body()))
        } else {
            let answer = if response.body().is_empty() { early_answer } else { Some(response.body_bytes()) };
            if let Some(answer) = answer {
                call.media.take(&answer);
            }
            None
        };
        if is_content && call.media.remote.is_none() {
            self.violations.push("a 2xx left the session open".into());
        }
        if self.habits.speaks && is_content {
            self.calls[index].media.speak_at = Some(now + SPEAK_EVERY);
        }
        self.acknowledge(index, answer.as_deref(), now);
        if self.calls[index].cancelled || !is_content {
            self.hang_up(index, now);
        }
    }

    /// Acknowledges the 2xx of our latest INVITE.
    pub(super) fn acknowledge(&mut self, index: usize, answer: Option<&[u8]>, _now: Instant) {
        if self.habits.never_acks {
            return;
        }
        let branch = self.new_branch();
        let via = self.via(&branch);
        let call = &mut self.calls[index];
        let Some(dialog) = &call.dialog else { return };
        let mut writer = dialog.ack(call.cseq, via, &mut self.buffer);
        if let Some(answer) = answer {
            writer.body("application/sdp", answer);
        }
        let bytes = writer.finish();
        call.ack = Some((call.cseq, bytes.clone()));
        let to = self.destination();
        self.layer.send_stateless(bytes, to);
    }

    /// A 2xx came again: our ACK got lost.
    pub(super) fn repeat_ack(&mut self, response: &Response) {
        let headers = response.headers();
        let (Ok(call_id), Ok(cseq), Ok(to)) = (headers.call_id(), headers.cseq(), headers.to()) else {
            return;
        };
        let known = self.calls.iter().find(|call| {
            call.call_id == call_id
                && call.dialog.as_ref().is_some_and(|dialog| Some(dialog.id().remote_tag) == to.tag())
        });
        if let Some((number, ack)) = known.and_then(|call| call.ack.as_ref())
            && *number == cseq.number
        {
            let (ack, to) = (ack.clone(), self.destination());
            self.layer.send_stateless(ack, to);
        }
    }
}

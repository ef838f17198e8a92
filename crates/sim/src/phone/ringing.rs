//! The phone is called.

use std::time::Duration;

use offhook_base::Instant;
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog, Phase},
    header::HeaderName,
    message::{Request, StatusCode},
    reliable::{ProvisionalEvent, ReliableProvisionals},
    session_timer::{SessionTimer, UasAnswer},
    transaction::ServerKey,
};

use super::{
    Phone, Reaction, SPEAK_EVERY, TIMERS,
    call::{PhoneCall, Plan, Side, State},
    status_of,
};

/// A phone that nobody answers stops ringing by itself after this time (Timer C, RFC 3261 §16.6).
const RINGS_MAX: Duration = Duration::from_secs(180);

impl Phone {
    /// An INVITE that opens a call.
    pub(super) fn ring(&mut self, key: ServerKey, request: Request, now: Instant) {
        if self.habits.reaction == Reaction::Mute {
            return;
        }
        let headers = request.headers();
        let conversation = headers.first(&HeaderName::Subject).and_then(|text| text.trim().parse().ok());
        let mut call =
            PhoneCall::new(Side::Callee, State::Incoming, conversation.unwrap_or(0), self.new_media());
        call.call_id = headers.call_id().unwrap_or_default().into();
        call.tag = self.random.token::<8>().to_string();
        call.other_updates = headers.allow().any(|method| method == "UPDATE");
        let Ok(dialog) = Dialog::uas(&request, &call.tag, false, Phase::Early) else {
            self.violations.push("an INVITE makes no dialog".into());
            return self.respond(key, &request, 400, now);
        };
        call.dialog = Some(dialog);
        if !request.body().is_empty() && call.media.take_offer(request.body()).is_none() {
            return self.respond(key, &request, 488, now);
        }
        let cseq = headers.cseq().map_or(0, |cseq| cseq.number);
        if headers.supports("100rel") && self.habits.reliable {
            call.reliable = Some(ReliableProvisionals::new(cseq, &mut self.random));
        }
        let habits = &self.habits;
        call.plans.extend(habits.rings_after.map(|after| (now + after, Plan::Ring)));
        call.plans.extend(habits.early_media_after.map(|after| (now + after, Plan::EarlyMedia)));
        call.plans.extend(match &habits.reaction {
            Reaction::Answer(after) => Some((now + *after, Plan::Answer)),
            Reaction::Refuse(status, after) => Some((now + *after, Plan::Refuse(*status, None))),
            Reaction::Redirect(to, after) => Some((now + *after, Plan::Refuse(302, Some(to.clone())))),
            // The CANCEL may never come: the node knows of no phone whose every provisional response was lost.
            Reaction::Never => Some((now + RINGS_MAX, Plan::Refuse(480, None))),
            Reaction::Mute => None,
        });
        call.incoming = Some((key, request));
        self.calls.push(call);
    }

    /// Takes the call that rings, now.
    pub fn answer(&mut self, index: usize, now: Instant) {
        self.carry_out(index, Plan::Answer, now);
        self.pump(now);
    }

    pub(super) fn carry_out(&mut self, index: usize, plan: Plan, now: Instant) {
        match plan {
            Plan::Ring => self.send_provisional(index, 180, false, now),
            Plan::EarlyMedia => self.send_provisional(index, 183, true, now),
            Plan::Answer => self.send_answer(index, now),
            Plan::Refuse(status, contact) => {
                let Some((key, request)) = self.calls[index].incoming.take() else { return };
                let tag = self.calls[index].tag.clone();
                let mut writer = request.respond(&mut self.buffer, status_of(status), Some(&tag));
                if let Some(contact) = contact {
                    writer.header(&HeaderName::Contact, format_args!("<{contact}>"));
                }
                let bytes = writer.finish();
                self.reply(key, bytes, now);
                self.calls[index].end(status);
            }
        }
    }

    fn send_provisional(&mut self, index: usize, status: u16, with_media: bool, now: Instant) {
        let contact = self.contact();
        let call = &mut self.calls[index];
        let Some((key, request)) = &call.incoming else { return };
        let key = *key;
        // A late offer in a provisional response would have to be answered in the PRACK: left to the 200.
        let with_media = with_media && !request.body().is_empty() && !call.answered_early;
        let description = if with_media { call.media.answer(request.body()) } else { None };
        let mut writer = request.respond(&mut self.buffer, status_of(status), Some(&call.tag));
        writer.header(&HeaderName::Contact, contact);
        Self::write_capabilities(&self.habits, &mut writer);
        if let Some(reliable) = &call.reliable {
            writer.header(&HeaderName::Require, "100rel");
            writer.header(&HeaderName::RSeq, reliable.next_rseq());
        }
        if let Some(description) = &description {
            writer.body("application/sdp", description);
        }
        let bytes = writer.finish();
        if description.is_some() && self.habits.speaks {
            call.media.speak_at.get_or_insert(now + SPEAK_EVERY);
        }
        let bytes = match &mut call.reliable {
            None => Some(bytes),
            Some(reliable) => {
                call.answered_early |= description.is_some();
                reliable.send(bytes, &TIMERS, now).ok().flatten()
            }
        };
        if let Some(bytes) = bytes {
            self.reply(key, bytes, now);
        }
    }

    /// 200. RFC 3262 §5: not before the PRACK of a response that carried the answer.
    fn send_answer(&mut self, index: usize, now: Instant) {
        let (contact, policy) = (self.contact(), self.policy());
        let call = &mut self.calls[index];
        let unacknowledged =
            call.reliable.as_ref().is_some_and(offhook_sip::reliable::ReliableProvisionals::awaits_prack);
        if call.answered_early && unacknowledged {
            call.answer_waits = true;
            return;
        }
        let Some((key, request)) = call.incoming.take() else { return };
        if let Some(reliable) = &mut call.reliable {
            reliable.stop();
        }
        call.plans.clear();
        call.awaits_answer = request.body().is_empty();
        let description = match (call.awaits_answer, call.answered_early) {
            (true, _) => Some(call.media.offer()),
            (false, true) => None,
            (false, false) => call.media.answer(request.body()),
        };
        let mut writer = request.respond(&mut self.buffer, StatusCode::OK, Some(&call.tag));
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
        call.state = State::Up;
        call.up_at = Some(now);
        if let Some(dialog) = &mut call.dialog {
            dialog.confirm();
        }
        call.accepted = Some(AcceptedResponse::new(bytes.clone(), &TIMERS, now));
        if self.habits.speaks && !call.awaits_answer {
            call.media.speak_at.get_or_insert(now + SPEAK_EVERY);
        }
        self.reply(key, bytes, now);
    }

    /// The caller has given up.
    pub(super) fn was_cancelled(&mut self, invite: ServerKey, now: Instant) {
        let known = |call: &PhoneCall| call.incoming.as_ref().is_some_and(|(key, _)| *key == invite);
        if let Some(index) = self.calls.iter().position(known) {
            self.carry_out(index, Plan::Refuse(487, None), now);
        }
    }

    /// A PRACK in a call that rings.
    pub(super) fn pracked(&mut self, index: usize, key: ServerKey, prack: &Request, now: Instant) {
        let rack = prack.headers().rack().ok().flatten();
        let reliable = self.calls[index].reliable.as_mut();
        let next = match (reliable, rack) {
            (Some(reliable), Some(rack)) => reliable.handle_prack(&rack, &TIMERS, now).ok(),
            _ => None,
        };
        let Some(next) = next else { return self.respond(key, prack, 481, now) };
        self.respond(key, prack, 200, now);
        if let (Some(next), Some((invite, _))) = (next, &self.calls[index].incoming) {
            let invite = *invite;
            self.reply(invite, next, now);
        }
        if std::mem::take(&mut self.calls[index].answer_waits) {
            self.send_answer(index, now);
        }
    }

    pub(super) fn run_reliable(&mut self, index: usize, now: Instant) {
        let Some(reliable) = &mut self.calls[index].reliable else { return };
        match reliable.handle_timeout(now) {
            Some(ProvisionalEvent::Resend(bytes)) => {
                if let Some((key, _)) = &self.calls[index].incoming {
                    let key = *key;
                    self.reply(key, bytes, now);
                }
            }
            Some(ProvisionalEvent::GiveUp) => self.carry_out(index, Plan::Refuse(504, None), now),
            None => {}
        }
    }
}

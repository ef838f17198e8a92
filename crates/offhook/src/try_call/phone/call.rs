//! The one call of a phone, from either end.

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sdp::Direction;
use offhook_sip::{
    dialog::{AcceptedEvent, AcceptedResponse, Dialog, OutgoingVia, Phase},
    header::HeaderName,
    message::{Method, Request, Response, StatusCode},
    transaction::ServerKey,
};

use super::{
    Event, Phone, Why,
    request::{ALLOWED, Attempt, Task},
    session::CONTENT_TYPE,
};

/// The call of a phone.
pub(super) struct Call {
    /// Names our INVITE; of a call that came, only the tag counts.
    pub(super) attempt: Attempt,
    /// Whom we called; empty if we were called.
    pub(super) target: String,
    pub(super) dialog: Option<Dialog>,
    state: State,
    /// Our 200 to an INVITE, until its ACK comes.
    accepted: Option<Accepted>,
    /// The CSeq number of our last ACK, and the ACK: a repeated 200 is answered with it.
    ack: Option<(u32, Bytes)>,
}

enum State {
    /// Our INVITE is on its way.
    Calling,
    /// An INVITE waits for a person.
    Alerting { key: ServerKey, invite: Request },
    /// Answered, and not yet hung up by us.
    Up,
    /// Our BYE is on its way.
    Ending,
}

/// A 200 of ours that is repeated until it is acknowledged.
struct Accepted {
    key: ServerKey,
    clock: AcceptedResponse,
    /// It is the one that begins the call.
    first: bool,
}

impl Call {
    fn new(attempt: Attempt, target: String, state: State) -> Self {
        Self { attempt, target, dialog: None, state, accepted: None, ack: None }
    }

    /// When a 200 has to be repeated.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.accepted.as_ref().and_then(|accepted| accepted.clock.deadline())
    }

    fn has_call_id(&self, request: &Request) -> bool {
        self.dialog
            .as_ref()
            .is_some_and(|dialog| request.headers().call_id() == Ok(dialog.state().call_id.as_ref()))
    }
}

/// What a person does.
impl Phone {
    /// Calls `target`, a SIP URI: [`Event::RingsThere`], [`Event::Connected`]. Only while there is no call.
    pub fn call(&mut self, target: String, now: Instant) {
        self.call = Some(Call::new(Attempt::new(&mut self.random), target, State::Calling));
        self.start(Task::Invite, false, now);
        self.drain(now);
    }

    /// Rings: the caller hears that.
    pub fn ring(&mut self, now: Instant) {
        let Some(Call { attempt, state: State::Alerting { key, invite }, .. }) = &self.call else { return };
        let contact = self.contact();
        let mut writer = invite.respond(&mut self.buffer, StatusCode::RINGING, Some(&attempt.local_tag));
        let response = writer.header(&HeaderName::Contact, contact).finish();
        let key = *key;
        // If the caller has given up meanwhile, its CANCEL is on its way to us.
        let _ = self.layer.respond(key, response, now);
        self.drain(now);
    }

    /// Answers the call: [`Event::Sound`], [`Event::Connected`].
    pub fn answer(&mut self, now: Instant) {
        let Some(call) = &mut self.call else { return };
        let State::Alerting { key, invite } = std::mem::replace(&mut call.state, State::Up) else { return };
        match Dialog::uas(&invite, &call.attempt.local_tag, false, Phase::Confirmed) {
            Ok(dialog) => call.dialog = Some(dialog),
            Err(_) => return self.fail("answering", Why::Unusable("the INVITE makes no dialog")),
        }
        self.accept(key, &invite, true, now);
        self.drain(now);
    }

    /// Puts the other side on hold: [`Event::Changed`].
    pub fn hold(&mut self, now: Instant) {
        self.start(Task::Reinvite(Direction::SendOnly), false, now);
        self.drain(now);
    }

    /// Takes it back: [`Event::Changed`].
    pub fn resume(&mut self, now: Instant) {
        self.start(Task::Reinvite(Direction::SendRecv), false, now);
        self.drain(now);
    }

    /// Hangs up: [`Event::Ended`].
    pub fn hang_up(&mut self, now: Instant) {
        if let Some(call) = &mut self.call {
            call.state = State::Ending;
        }
        self.start(Task::Bye, false, now);
        self.drain(now);
    }

    /// Gets out of the call in whatever way its state asks for. Nothing if there is none.
    pub fn abandon(&mut self, now: Instant) {
        match self.call.as_ref().map(|call| &call.state) {
            Some(State::Calling) => {
                let invite = self.requests.iter().find(|(_, pending)| pending.task == Task::Invite);
                if let Some(key) = invite.map(|(key, _)| *key) {
                    self.layer.cancel(key, None, now);
                }
                self.drain(now);
            }
            Some(State::Up) => self.hang_up(now),
            // The caller cancels, or our BYE is on its way.
            Some(State::Alerting { .. } | State::Ending) | None => {}
        }
    }
}

/// What the other side does.
impl Phone {
    pub(super) fn handle_request(&mut self, key: ServerKey, request: Request, now: Instant) {
        let in_our_call = self.call.as_ref().is_some_and(|call| call.has_call_id(&request));
        match request.method() {
            Method::Invite if in_our_call => {
                if let Some(dialog) = self.call.as_mut().and_then(|call| call.dialog.as_mut()) {
                    if dialog.take_request(&request).is_err() {
                        return self.reply(key, &request, StatusCode::SERVER_INTERNAL_ERROR, now);
                    }
                    dialog.refresh_target(&request);
                }
                self.accept(key, &request, false, now);
            }
            Method::Invite if self.call.is_some() => self.reply(key, &request, StatusCode::BUSY_HERE, now),
            Method::Invite => {
                let attempt = Attempt::new(&mut self.random);
                let state = State::Alerting { key, invite: request };
                self.call = Some(Call::new(attempt, String::new(), state));
                self.tell(Event::Called);
            }
            Method::Bye if in_our_call => {
                self.reply(key, &request, StatusCode::OK, now);
                // A BYE that crosses ours: the answer to ours ends the call.
                if !matches!(self.call, Some(Call { state: State::Ending, .. })) {
                    self.call = None;
                    self.tell(Event::Ended);
                }
            }
            Method::Bye => self.reply(key, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now),
            Method::Options => self.reply(key, &request, StatusCode::OK, now),
            _ => self.reply(key, &request, StatusCode::METHOD_NOT_ALLOWED, now),
        }
    }

    pub(super) fn handle_cancel(&mut self, invite: ServerKey, now: Instant) {
        match self.call.take() {
            Some(Call { state: State::Alerting { key, invite: request }, .. }) if key == invite => {
                self.reply(key, &request, StatusCode::REQUEST_TERMINATED, now);
                self.tell(Event::Ended);
            }
            other => self.call = other,
        }
    }

    pub(super) fn handle_ack(&mut self, ack: &Request) {
        let Some(call) = self.call.as_mut().filter(|call| call.has_call_id(ack)) else { return };
        if let Some(accepted) = &mut call.accepted
            && accepted.clock.handle_ack()
            && accepted.first
        {
            self.tell(Event::Connected);
        }
    }

    /// A provisional response.
    pub(super) fn handle_progress(&mut self, task: Task, status: StatusCode) {
        if task == Task::Invite && status == StatusCode::RINGING {
            self.tell(Event::RingsThere);
        }
    }

    /// A 2xx to an INVITE of ours, or its repeat.
    pub(super) fn handle_accepted(&mut self, task: Task, response: &Response) {
        let Some(call) = &mut self.call else { return };
        let cseq = response.headers().cseq().map_or(0, |cseq| cseq.number);
        if call.ack.as_ref().is_some_and(|(acknowledged, _)| *acknowledged >= cseq) {
            return self.acknowledge_again();
        }
        match &mut call.dialog {
            // Its Contact may be new; where it is unusable the old one serves on.
            Some(dialog) => drop(dialog.confirm_by(response)),
            None => {
                let Attempt { call_id, local_tag, .. } = &call.attempt;
                match Dialog::uac(response, call_id, local_tag, false) {
                    Ok(dialog) => call.dialog = Some(dialog),
                    Err(_) => return self.fail(task.name(), Why::Unusable("the 200 makes no dialog")),
                }
                call.state = State::Up;
            }
        }
        self.acknowledge(cseq);
        let Some(sound) = self.session.take_answer(response.body()) else {
            return self.fail(task.name(), Why::Unusable("the answer has no G.711 sound"));
        };
        self.tell(Event::Sound(sound));
        self.tell(if task == Task::Invite { Event::Connected } else { Event::Changed });
    }

    /// Sends the last ACK again: the node repeats its 200 until it has it.
    pub(super) fn acknowledge_again(&mut self) {
        let to = self.destination();
        if let Some((_, ack)) = self.call.as_ref().and_then(|call| call.ack.clone()) {
            self.layer.send_stateless(ack, to);
        }
    }

    fn acknowledge(&mut self, cseq: u32) {
        let branch = self.layer.new_branch();
        let to = self.destination();
        let via =
            OutgoingVia { transport: self.link.transport, sent_by: &self.sent_by, branch: branch.as_str() };
        let Some(call) = &mut self.call else { return };
        let Some(dialog) = &call.dialog else { return };
        let ack = dialog.ack(cseq, via, &mut self.buffer).finish();
        call.ack = Some((cseq, ack.clone()));
        self.layer.send_stateless(ack, to);
    }

    /// Sends a 200 with the answer to an INVITE's offer.
    fn accept(&mut self, key: ServerKey, invite: &Request, first: bool, now: Instant) {
        let Some((body, sound)) = self.session.answer(invite.body()) else {
            self.fail("answering", Why::Unusable("the offer has no G.711 sound"));
            return self.reply(key, invite, StatusCode::NOT_ACCEPTABLE_HERE, now);
        };
        let contact = self.contact();
        let Some(call) = &mut self.call else { return };
        let mut writer = invite.respond(&mut self.buffer, StatusCode::OK, Some(&call.attempt.local_tag));
        writer.header(&HeaderName::Contact, contact).header(&HeaderName::Allow, ALLOWED);
        let response = writer.body(CONTENT_TYPE, &body).finish();
        let clock = AcceptedResponse::new(response.clone(), &self.timers, now);
        call.accepted = Some(Accepted { key, clock, first });
        if self.layer.respond(key, response, now).is_err() {
            return self.fail("answering", Why::Unusable("the caller has gone"));
        }
        self.tell(Event::Sound(sound));
    }

    /// Answers without a body.
    fn reply(&mut self, key: ServerKey, request: &Request, status: StatusCode, now: Instant) {
        let tag = self.call.as_ref().map(|call| call.attempt.local_tag.as_str());
        let tag = tag.unwrap_or(&self.registration.local_tag);
        let mut writer = request.respond(&mut self.buffer, status, Some(tag));
        if matches!(request.method(), Method::Options) || status == StatusCode::METHOD_NOT_ALLOWED {
            writer.header(&HeaderName::Allow, ALLOWED);
        }
        let response = writer.finish();
        // Gone or answered: nobody waits for it any more.
        let _ = self.layer.respond(key, response, now);
    }

    /// Repeats a 200 that is not acknowledged, if it is time.
    pub(super) fn repeat_answer(&mut self, now: Instant) {
        let Some(accepted) = self.call.as_mut().and_then(|call| call.accepted.as_mut()) else { return };
        match accepted.clock.handle_timeout(&self.timers, now) {
            Some(AcceptedEvent::Resend(response)) => {
                let key = accepted.key;
                let _ = self.layer.respond(key, response, now);
            }
            Some(AcceptedEvent::GiveUp) => self.fail("answering", Why::Unusable("no ACK came")),
            None => {}
        }
    }
}

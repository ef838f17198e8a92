//! What comes back: responses, time-outs, ends of transactions; answers from the media engine and from outside.

use offhook_base::Moment;
use offhook_sip::{
    message::{Request, Response, StatusCode},
    transaction::{ClientKey, ServerKey, TransactionKey},
};

use super::{
    Exchange,
    event::Answer,
    owners::{ClientOwner, ClientUse},
};
use crate::media::MediaEvent;

impl Exchange {
    pub(super) fn response(&mut self, key: ClientKey, response: &Response, now: Moment) {
        let Some(ClientOwner { call, leg, purpose }) = self.services.owners.client(key) else {
            let status = response.status();
            if !self.couriers.answered(&mut self.services, key, status, Some(response), now) {
                self.probe_answered(key, Some(status), now);
            }
            return;
        };
        self.with_call(call, |call, services| {
            call.handle_response(services, leg, purpose, key, response, now);
        });
    }

    /// A 2xx whose transaction is over: our ACK got lost (RFC 3261 §13.2.2.4).
    pub(super) fn stray_response(&mut self, response: &Response) {
        let tag = response.headers().from().ok().and_then(|from| from.tag());
        let end = tag.and_then(|tag| self.services.owners.dialog(tag));
        if let Some(end) = end {
            self.with_call(end.call, |call, services| call.acknowledge_again(services, end.leg, response));
        }
    }

    /// No answer to a request of ours, or no way to send it; or an ACK that never came.
    pub(super) fn no_answer(&mut self, key: TransactionKey, status: StatusCode, now: Moment) {
        let TransactionKey::Client(key) = key else { return };
        let Some(ClientOwner { call, leg, purpose }) = self.services.owners.client(key) else {
            if !self.couriers.answered(&mut self.services, key, status, None, now) {
                self.probe_answered(key, None, now);
            }
            return;
        };
        self.with_call(call, |call, services| call.handle_silence(services, leg, purpose, key, status, now));
    }

    pub(super) fn terminated(&mut self, key: TransactionKey, now: Moment) {
        match key {
            TransactionKey::Client(key) => {
                let Some(ClientOwner { call, leg, purpose }) = self.services.owners.client_ended(key) else {
                    return;
                };
                if purpose == ClientUse::Invite {
                    self.with_call(call, |call, services| call.invite_ended(services, leg, key, now));
                }
            }
            TransactionKey::Server(key) => self.services.owners.invite_ended(key),
        }
    }

    /// An ACK of a 2xx of ours.
    pub(super) fn ack(&mut self, ack: &Request, now: Moment) {
        let tag = ack.headers().to().ok().and_then(|to| to.tag());
        let end = tag.and_then(|tag| self.services.owners.dialog(tag));
        if let Some(end) = end.filter(|end| !end.faces_caller) {
            self.with_call(end.call, |call, services| call.handle_ack(services, end.leg, ack, now));
        }
    }

    /// The CANCEL of an INVITE; it was answered.
    pub(super) fn cancelled(&mut self, invite: ServerKey, cancel: &Request, now: Moment) {
        if let Some(call) = self.services.owners.invite(invite) {
            self.with_call(call, |call, services| call.handle_cancel(services, cancel, now));
        }
    }

    pub(super) fn media_spoke(&mut self, event: MediaEvent, now: Moment) {
        let owners = &mut self.services.owners;
        let owner = match &event {
            MediaEvent::Closed { endpoint, .. } => owners.endpoint_ended(*endpoint),
            MediaEvent::Opened { endpoint, .. }
            | MediaEvent::OpenFailed { endpoint, .. }
            | MediaEvent::Noted { endpoint, .. }
            | MediaEvent::Silent { endpoint, .. }
            | MediaEvent::Played { endpoint, .. }
            | MediaEvent::Crowded { endpoint }
            | MediaEvent::Key { endpoint, .. } => owners.endpoint(*endpoint),
        };
        if let Some((call, leg)) = owner {
            self.with_call(call, |call, services| call.handle_media(services, leg, event, now));
        }
    }

    pub(super) fn answered(&mut self, answer: Answer, now: Moment) {
        let (Answer::Located { id, .. } | Answer::Woken { id, .. }) = &answer;
        if let Some(call) = self.services.owners.answered(*id) {
            self.with_call(call, |call, services| call.handle_answer(services, answer, now));
        } else if let Answer::Located { id, hops } = answer {
            self.probe_located(id, &hops, now);
        }
    }
}

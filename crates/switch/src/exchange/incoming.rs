//! From octets to the transaction layer: admission, parsing, validation.

use bytes::Bytes;
use offhook_base::Moment;
use offhook_edge::{Reason, Standing, Stray, Verdict};
use offhook_sip::{
    header::HeaderName,
    message::{Message, Method, ParseError, Rejection, Request, StatusCode, validate, validate_response},
    transaction::response_destination,
    transport::{Destination, Flow},
};

use super::Exchange;
use crate::fact::Refusal;

impl Exchange {
    /// A datagram or framed message.
    pub(super) fn receive(&mut self, flow: Flow, bytes: Bytes, now: Moment) {
        if self.is_ack_of_refusal(&bytes) {
            return;
        }
        let directory = &self.services.directory;
        let is_peer = || directory.peer_at(flow.remote.ip()).is_some();
        let verdict = self.edge.admit(&bytes, flow.remote, is_peer, now.instant);
        let refused = match verdict {
            Verdict::Pass(standing) => {
                self.standing = standing;
                None
            }
            Verdict::Drop(_) => return,
            Verdict::Refuse { reason, status, retry_after } => Some((reason, status, retry_after)),
        };
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(mut request)) => {
                request.set_source(flow.remote);
                if let Some((reason, status, retry_after)) = refused {
                    self.refused(refusal_of(reason), flow, now);
                    let Some(status) = StatusCode::new(status) else { return };
                    let tag = self.stateless_tags.of(&bytes).to_string();
                    return self.refuse_for_now(&request, flow, status, retry_after.as_secs(), &tag);
                }
                if self.standing == Standing::Stranger && !self.is_welcome(&request, flow, now) {
                    return;
                }
                self.note_feedback(&mut request, now);
                if self.gives_up_request(&request, flow, now) {
                    return;
                }
                match validate(&request) {
                    Ok(()) => self.services.layer.receive(Message::Request(request), flow, now.instant),
                    Err(rejection) => self.reject_request(&request, &rejection, flow, now),
                }
            }
            Ok(Message::Response(response)) => {
                if refused.is_some() || validate_response(&response).is_err() {
                    return self.refused(Refusal::Malformed, flow, now);
                }
                if !self.gives_up_response(now) {
                    self.services.layer.receive(Message::Response(response), flow, now.instant);
                }
            }
            Err(ParseError::Rejected(rejection)) => self.reject_unparsed(&rejection, &bytes, flow, now),
            Err(ParseError::Dropped(_)) => {
                self.refused(Refusal::Unparsable, flow, now);
                let _ = self.hears_nothing(flow, now);
            }
        }
    }

    /// Whether who sent something malformed is a stranger who hears nothing of it; it is held against him then.
    fn hears_nothing(&mut self, flow: Flow, now: Moment) -> bool {
        let is_silent = self.standing == Standing::Stranger && !self.edge.answers_strangers();
        if is_silent {
            self.strayed(flow, Stray::Unwelcome, now);
        }
        is_silent
    }

    /// Answers a request that parses but is wrong, without a transaction: nothing of it may take memory.
    fn reject_request(&mut self, request: &Request, rejection: &Rejection, flow: Flow, now: Moment) {
        self.refused(Refusal::Malformed, flow, now);
        if *request.method() == Method::Ack || self.hears_nothing(flow, now) {
            return;
        }
        let to = response_destination(request, flow);
        let tag = self.stateless_tags.of(request.bytes()).to_string();
        let buffer = &mut self.services.buffer;
        let mut writer = request.respond_because(buffer, rejection.status, rejection.reason(), Some(&tag));
        let bytes = writer.finish();
        self.services.layer.send_stateless(bytes, to);
    }

    /// Answers what could be read of a request. Over UDP only to where it came from: its Via cannot be trusted.
    fn reject_unparsed(&mut self, rejection: &Rejection, octets: &[u8], flow: Flow, now: Moment) {
        self.refused(Refusal::Malformed, flow, now);
        if self.hears_nothing(flow, now) {
            return;
        }
        let Some(mut request) = rejection.request.clone() else { return };
        request.set_source(flow.remote);
        let tag = self.stateless_tags.of(octets).to_string();
        let bytes = request.respond(&mut self.services.buffer, rejection, Some(&tag)).finish();
        self.services.layer.send_stateless(bytes, Destination::Flow(flow));
    }

    /// 503 to a request that comes at the wrong time, without a transaction.
    pub(super) fn refuse_for_now(
        &mut self,
        request: &Request,
        flow: Flow,
        status: StatusCode,
        retry_after_secs: u64,
        tag: &str,
    ) {
        let to = response_destination(request, flow);
        if *request.method() == Method::Ack {
            return;
        }
        let mut writer = request.respond(&mut self.services.buffer, status, Some(tag));
        writer.header(&HeaderName::RetryAfter, retry_after_secs.max(1));
        let bytes = writer.finish();
        self.services.layer.send_stateless(bytes, to);
    }

    pub(super) fn refused(&mut self, why: Refusal, flow: Flow, now: Moment) {
        self.services.note_refused(why, flow, now);
    }
}

const fn refusal_of(reason: Reason) -> Refusal {
    match reason {
        Reason::AuthenticationRate => Refusal::AuthenticationRate,
        _ => Refusal::Rate,
    }
}

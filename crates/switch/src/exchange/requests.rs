//! New requests: within a dialog to its call, otherwise by method, to the registrar, a new call, or a refusal.

use offhook_base::Moment;
use offhook_sip::{
    header::HeaderName,
    message::{
        Method, Request, StatusCode,
        validate::{has_known_scheme, unsupported_extensions},
    },
    transaction::ServerKey,
    transport::Flow,
};

use super::{Exchange, owners::DialogEnd};
use crate::{
    capabilities::{ACCEPT, ALLOW, REQUIRABLE, SUPPORTED},
    fact::Refusal,
};

/// A request to be answered.
pub(super) struct Incoming {
    pub(super) key: ServerKey,
    pub(super) request: Request,
    pub(super) flow: Flow,
}

impl Exchange {
    pub(super) fn request(&mut self, key: ServerKey, request: Request, flow: Flow, now: Moment) {
        #[cfg(test)]
        assert!(!std::mem::take(&mut self.services.request_trap), "a test's trap");
        let incoming = Incoming { key, request, flow };
        let unsupported: Vec<String> =
            unsupported_extensions(&incoming.request, REQUIRABLE).map(str::to_string).collect();
        if !unsupported.is_empty() {
            self.refused(Refusal::Unsupported, flow, now);
            let tags = unsupported.join(", ");
            return self.answer(
                &incoming,
                StatusCode::BAD_EXTENSION,
                &[(HeaderName::Unsupported, &tags)],
                now,
            );
        }
        let end = incoming.request.headers().to().ok().and_then(|to| to.tag());
        match end.map(|tag| self.services.owners.dialog(tag)) {
            Some(end) => self.request_in_dialog(incoming, end, now),
            None => self.request_outside(incoming, now),
        }
    }

    /// RFC 3261 §12.2.2. `end` is the end of ours that its To tag names, if it names one.
    fn request_in_dialog(&mut self, incoming: Incoming, end: Option<DialogEnd>, now: Moment) {
        use Method::{Bye, Info, Invite, Message, Options, Prack, Update};
        let Some(DialogEnd { call, leg, faces_caller }) = end else {
            self.refused(Refusal::Stray, incoming.flow, now);
            return self.answer(&incoming, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, &[], now);
        };
        let known =
            self.calls.get_mut(call).and_then(|call| call.take_request(leg, faces_caller, &incoming.request));
        if let Some(status) = known.map_or(Some(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST), Result::err)
        {
            self.refused(Refusal::Stray, incoming.flow, now);
            return self.answer(&incoming, status, &[], now);
        }
        let Incoming { key, request, flow } = incoming;
        match request.method() {
            Options => self.answer_options(&Incoming { key, request, flow }, now),
            Bye | Prack | Invite | Update | Info | Message => self.with_call(call, |call, services| {
                call.handle_request(services, leg, faces_caller, (key, request), flow, now);
            }),
            _ => self.refuse_method(&Incoming { key, request, flow }, now),
        }
    }

    fn request_outside(&mut self, incoming: Incoming, now: Moment) {
        if !has_known_scheme(&incoming.request) {
            self.refused(Refusal::Unsupported, incoming.flow, now);
            return self.answer(&incoming, StatusCode::UNSUPPORTED_URI_SCHEME, &[], now);
        }
        match incoming.request.method() {
            Method::Register => self.register(&incoming, now),
            Method::Invite => self.invite(incoming, now),
            Method::Options => self.answer_options(&incoming, now),
            Method::Message => self.message(incoming, now),
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                self.refused(Refusal::Stray, incoming.flow, now);
                self.answer(&incoming, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, &[], now);
            }
            _ => self.refuse_method(&incoming, now),
        }
    }

    /// What is not built: 489 for events (RFC 6665 §4.1.3), 405 for the methods we know, 501 for others.
    fn refuse_method(&mut self, incoming: &Incoming, now: Moment) {
        self.refused(Refusal::Unsupported, incoming.flow, now);
        match incoming.request.method() {
            Method::Subscribe | Method::Publish | Method::Notify => {
                self.answer(incoming, StatusCode::BAD_EVENT, &[(HeaderName::AllowEvents, "")], now);
            }
            Method::Extension(_) => {
                self.answer(incoming, StatusCode::NOT_IMPLEMENTED, &[(HeaderName::Allow, ALLOW)], now)
            }
            _ => self.answer(incoming, StatusCode::METHOD_NOT_ALLOWED, &[(HeaderName::Allow, ALLOW)], now),
        }
    }

    fn answer_options(&mut self, incoming: &Incoming, now: Moment) {
        let capabilities =
            [(HeaderName::Allow, ALLOW), (HeaderName::Accept, ACCEPT), (HeaderName::Supported, SUPPORTED)];
        self.answer(incoming, StatusCode::OK, &capabilities, now);
    }

    /// Answers with a status and a few headers.
    pub(super) fn answer(
        &mut self,
        incoming: &Incoming,
        status: StatusCode,
        headers: &[(HeaderName, &str)],
        now: Moment,
    ) {
        let tag = self.services.random.token::<12>();
        let mut writer = incoming.request.respond(&mut self.services.buffer, status, Some(tag.as_str()));
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            writer.header(name, value);
        }
        let bytes = writer.finish();
        self.services.respond(incoming.key, bytes, now);
    }
}

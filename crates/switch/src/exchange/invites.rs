//! INVITE and MESSAGE outside of dialogs: what begins a call or sends a message.

use std::borrow::Cow;

use offhook_base::Moment;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    header::HeaderName,
    message::{Request, StatusCode, validate::body_refusal},
    session_timer::UasAnswer,
    uri::Uri,
};

use super::{Exchange, courier::Letter, requests::Incoming, ruled::Ruled, services::Services};
use crate::{
    call::{
        Call, Start,
        body::{self, Description},
    },
    capabilities::{ACCEPT, INVITE_BODIES},
    fact::Refusal,
    registrar::Target,
    route::{Caller, NoRoute, Route},
};

/// Calls to emergency numbers that are taken although there are as many calls as there may be.
const EMERGENCY_CALLS_MAX: usize = 100;

/// Why an INVITE cannot become a call, and the answer to it.
struct Unacceptable {
    status: StatusCode,
    /// What is counted; `None` for what belongs to the normal course of things.
    why: Option<Refusal>,
    header: Option<(HeaderName, Cow<'static, str>)>,
}

impl Unacceptable {
    const fn new(status: StatusCode, why: Refusal) -> Self {
        Self { status, why: Some(why), header: None }
    }

    const fn quietly(status: StatusCode) -> Self {
        Self { status, why: None, header: None }
    }

    fn with(self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }
}

impl Exchange {
    pub(super) fn invite(&mut self, incoming: Incoming, now: Moment) {
        let Some(who) = self.caller(&incoming, now) else { return };
        let is_emergency = self.is_emergency(&incoming.request);
        let reserve = if is_emergency { EMERGENCY_CALLS_MAX } else { 0 };
        let holding = self.holding && !is_emergency;
        if self.draining || holding || self.calls.len() >= self.services.settings.calls + reserve {
            self.refused(Refusal::Overloaded, incoming.flow, now);
            return self.answer(
                &incoming,
                StatusCode::SERVICE_UNAVAILABLE,
                &[(HeaderName::RetryAfter, "5")],
                now,
            );
        }
        match self.readable_offer(&incoming.request) {
            Ok(offer) => self.start_call(incoming, who, offer, now),
            Err(Unacceptable { status, why, header }) => {
                if let Some(why) = why {
                    self.refused(why, incoming.flow, now);
                }
                let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_ref())).collect();
                self.answer(&incoming, status, &headers, now);
            }
        }
    }

    /// What an INVITE offers (`None`: a late offer), if all of it is as a call needs it.
    fn readable_offer(&self, request: &Request) -> Result<Option<SessionDescription>, Unacceptable> {
        let headers = request.headers();
        if headers.max_forwards() == Some(0) {
            return Err(Unacceptable::quietly(StatusCode::TOO_MANY_HOPS));
        }
        if let Some(status) = body_refusal(request, INVITE_BODIES) {
            return Err(Unacceptable::new(status, Refusal::Unsupported).with(HeaderName::Accept, ACCEPT));
        }
        if headers.contacts().map_or(true, |contacts| contacts.as_slice().len() != 1) {
            return Err(Unacceptable::new(StatusCode::BAD_REQUEST, Refusal::Malformed));
        }
        // RFC 3891 §3: replacing a dialog comes with transfers; until then none of ours can be meant.
        if headers.contains(&HeaderName::Replaces) {
            return Err(Unacceptable::quietly(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST));
        }
        match self.services.settings.session_timers.uas_answer(headers) {
            Ok(UasAnswer::IntervalTooSmall { min_se_secs }) => {
                let refused = Unacceptable::quietly(StatusCode::SESSION_INTERVAL_TOO_SMALL);
                return Err(refused.with(HeaderName::MinSe, min_se_secs.to_string()));
            }
            Ok(UasAnswer::None | UasAnswer::Accept { .. }) => {}
            Err(_) => return Err(Unacceptable::new(StatusCode::BAD_REQUEST, Refusal::Malformed)),
        }
        match body::description(headers, request.body()) {
            Description::Sdp(offer) if offer.needs_dtls() => {
                let refused = Unacceptable::new(StatusCode::NOT_ACCEPTABLE_HERE, Refusal::Unsupported);
                Err(refused.with(HeaderName::Warning, "399 offhook \"DTLS-SRTP is not supported yet\""))
            }
            Description::Sdp(offer) => Ok(Some(offer)),
            Description::None => Ok(None),
            Description::Malformed => {
                let refused = Unacceptable::new(StatusCode::NOT_ACCEPTABLE_HERE, Refusal::Malformed);
                Err(refused
                    .with(HeaderName::Warning, "399 offhook \"The session description cannot be read\""))
            }
        }
    }

    fn start_call(
        &mut self,
        incoming: Incoming,
        who: Caller,
        offer: Option<offhook_sdp::SessionDescription>,
        now: Moment,
    ) {
        let (ruled, incoming) = match self.as_ruled(&who, &incoming.request, now) {
            Ok(Some(Ruled { read, kept })) => (Some(read), Incoming { request: kept, ..incoming }),
            Ok(None) => (None, incoming),
            Err(_) => return self.answer(&incoming, StatusCode::MESSAGE_TOO_LARGE, &[], now),
        };
        let read = ruled.as_ref().unwrap_or(&incoming.request);
        let Ok(uri) = read.parsed_uri() else {
            return self.answer(&incoming, StatusCode::BAD_REQUEST, &[], now);
        };
        let flow = incoming.flow;
        let mut callee_user: Box<str> = uri.user_unescaped().unwrap_or_default().into();
        let device = self.device(&uri, &who, &mut callee_user, now);
        let identity = self.services.identity(&who, read.headers(), flow);
        let route = self.route(&who, &identity, &uri, &callee_user, (flow, now));
        if matches!(route, Err(NoRoute::ForeignDomain | NoRoute::NotPermitted)) {
            self.refused(Refusal::NotPermitted, flow, now);
        }
        let host = self.services.tenant_host(who.tenant(), &uri, flow.local.ip());
        let callee_uri: Box<str> = match uri.user {
            Some(user) => format!("sip:{user}@{host}").into(),
            None => format!("sip:{host}").into(),
        };
        let call_key = self.calls.reserve();
        let Incoming { key: invite, request, .. } = incoming;
        let start = Start {
            key: call_key,
            invite,
            request,
            flow,
            who,
            identity,
            callee_uri,
            callee_user,
            offer,
            route,
            device,
        };
        let (call, beginning) = Call::new(&mut self.services, start, now);
        self.calls.insert(call_key, call);
        self.with_call(call_key, |call, services| call.begin(services, beginning, now));
    }

    /// A MESSAGE outside of calls goes to a line's devices. To peers none are sent: SMS gateways come later.
    pub(super) fn message(&mut self, incoming: Incoming, now: Moment) {
        let Some(who) = self.caller(&incoming, now) else { return };
        let Ok(uri) = incoming.request.parsed_uri() else {
            return self.answer(&incoming, StatusCode::BAD_REQUEST, &[], now);
        };
        let user = uri.user_unescaped().unwrap_or_default().into_owned();
        let identity = self.services.identity(&who, incoming.request.headers(), incoming.flow);
        let line = match self.route(&who, &identity, &uri, &user, (incoming.flow, now)) {
            Ok(Route::Line(line)) => line,
            Ok(Route::Peer(_) | Route::Trunks(_) | Route::Service(_)) => {
                return self.answer(&incoming, StatusCode::NOT_FOUND, &[], now);
            }
            Err(reason) => return self.answer(&incoming, reason.answer().0, &[], now),
        };
        let host = self.services.tenant_host(who.tenant(), &uri, incoming.flow.local.ip());
        let to = format!("sip:{}@{host}", line.name).into();
        let Incoming { key, request, .. } = incoming;
        let letter = Letter { key, request: request.clone(), identity, to };
        self.couriers.deliver(&mut self.services, letter, &who, &line, now);
    }

    /// The one device that a GRUU means (RFC 5627 §5.1); a temporary one also tells the line's name.
    fn device(&self, uri: &Uri<'_>, who: &Caller, user: &mut Box<str>, now: Moment) -> Option<Vec<Target>> {
        let Services { registrar, directory, .. } = &self.services;
        match uri.param("gr")? {
            Some(gr) => {
                let line = directory.line(who.tenant(), user)?;
                Some(registrar.public_gruu(line.id, gr, now.instant))
            }
            None => {
                let (line, targets) = registrar.temporary_gruu(user, now.instant)?;
                let line = directory.line_by_id(line).filter(|line| &*line.tenant == who.tenant())?;
                *user = line.name.clone();
                Some(targets)
            }
        }
    }
}

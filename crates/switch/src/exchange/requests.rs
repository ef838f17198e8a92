//! New requests: within a dialog to its call, otherwise by method, to the registrar, a new call, or a refusal.

use std::sync::Arc;

use offhook_base::{DataSubject, Moment, Personal};
use offhook_sip::{
    header::{HeaderName, Headers, NameAddr},
    message::{
        Method, Request, StatusCode,
        validate::{body_refusal, has_known_scheme, unsupported_extensions},
    },
    transaction::ServerKey,
    transport::Flow,
    uri::Uri,
};

use super::{Exchange, courier::Letter, owners::DialogEnd, services::Services};
use crate::{
    call::{
        Call, Start,
        body::{self, Description},
    },
    capabilities::{ACCEPT, ALLOW, INVITE_BODIES, REQUIRABLE, SUPPORTED},
    directory::{DEFAULT_TENANT, Tenant},
    fact::{Refusal, What},
    gate::{Authenticated, Surroundings},
    identity::Identity,
    registrar::Target,
    route::{self, Caller, NoRoute, Route},
};

/// A request to be answered.
struct Incoming {
    key: ServerKey,
    request: Request,
    flow: Flow,
}

impl Exchange {
    pub(super) fn request(&mut self, key: ServerKey, request: Request, flow: Flow, now: Moment) {
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
        let tag = incoming.request.headers().to().ok().and_then(|to| to.tag().map(str::to_string));
        match tag {
            Some(tag) => self.request_in_dialog(incoming, &tag, now),
            None => self.request_outside(incoming, now),
        }
    }

    /// RFC 3261 §12.2.2.
    fn request_in_dialog(&mut self, incoming: Incoming, tag: &str, now: Moment) {
        use Method::{Bye, Info, Invite, Message, Options, Prack, Update};
        let end = self.services.owners.dialog(tag);
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
    fn answer(
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

    /// Lets the request through the gate, or answers it.
    fn authenticate(&mut self, incoming: &Incoming, now: Moment) -> Option<Authenticated> {
        let tag = self.services.random.token::<12>();
        let settings = Arc::clone(&self.services.settings);
        let local = incoming.flow.local.ip();
        let is_our_host = |host: &str| settings.is_our_host(host, local);
        let around = Surroundings {
            source: incoming.flow.remote,
            directory: &self.services.directory,
            is_our_host: &is_our_host,
            now,
        };
        let gate = &mut self.gate;
        match gate.authenticate(
            &incoming.request,
            &around,
            &mut self.edge,
            tag.as_str(),
            &mut self.services.buffer,
        ) {
            Ok(authenticated) => Some(authenticated),
            Err(denied) => {
                if let Some(why) = denied.refusal {
                    self.refused(why, incoming.flow, now);
                }
                self.services.respond(incoming.key, denied.response, now);
                None
            }
        }
    }

    fn register(&mut self, incoming: &Incoming, now: Moment) {
        let Some(who) = self.authenticate(incoming, now) else { return };
        let is_full = self.services.registrar.len() >= self.services.settings.bindings;
        if is_full && self.services.registrar.binding_count(who.line().id, now.instant) == 0 {
            self.refused(Refusal::Overloaded, incoming.flow, now);
            return self.answer(
                incoming,
                StatusCode::SERVICE_UNAVAILABLE,
                &[(HeaderName::RetryAfter, "60")],
                now,
            );
        }
        let tag = self.services.random.token::<12>();
        let Self { services, edge, .. } = self;
        let mut response = bytes::BytesMut::with_capacity(RESPONSE_BYTES);
        let answered = services.registrar.register(
            &incoming.request,
            &who,
            &incoming.flow,
            now,
            tag.as_str(),
            &mut response,
        );
        services.respond(incoming.key, response.freeze(), now);
        if let Some(until) = answered.registered_until {
            edge.registered(incoming.flow.remote, until);
            self.wake_calls(who.line().id, now);
        }
        if let Some(why) = answered.refusal {
            self.refused(why, incoming.flow, now);
        }
    }

    /// Calls that wait for a device of this line go on.
    fn wake_calls(&mut self, line: crate::directory::LineId, now: Moment) {
        let keys: Vec<_> = self
            .calls
            .sleepers()
            .filter(|(_, call)| call.awaits_device_of(line))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.with_call(key, |call, services| call.device_registered(services, now));
        }
    }

    /// Who sends the request: a peer by its address, or a line by its credentials. `None`: it was answered.
    fn caller(&mut self, incoming: &Incoming, now: Moment) -> Option<Caller> {
        match self.services.directory.peer_at(incoming.flow.remote.ip()).cloned() {
            Some(peer) => Some(Caller::Peer(peer)),
            None => self.authenticate(incoming, now).map(|proof| Caller::Line(Arc::clone(proof.line()))),
        }
    }

    fn invite(&mut self, incoming: Incoming, now: Moment) {
        let Some(who) = self.caller(&incoming, now) else { return };
        if self.draining || self.calls.len() >= self.services.settings.calls {
            self.refused(Refusal::Overloaded, incoming.flow, now);
            return self.answer(
                &incoming,
                StatusCode::SERVICE_UNAVAILABLE,
                &[(HeaderName::RetryAfter, "5")],
                now,
            );
        }
        let headers = incoming.request.headers();
        if headers.max_forwards() == Some(0) {
            return self.answer(&incoming, StatusCode::TOO_MANY_HOPS, &[], now);
        }
        if let Some(status) = body_refusal(&incoming.request, INVITE_BODIES) {
            self.refused(Refusal::Unsupported, incoming.flow, now);
            return self.answer(&incoming, status, &[(HeaderName::Accept, ACCEPT)], now);
        }
        if headers.contacts().map_or(true, |contacts| contacts.as_slice().len() != 1) {
            self.refused(Refusal::Malformed, incoming.flow, now);
            return self.answer(&incoming, StatusCode::BAD_REQUEST, &[], now);
        }
        // RFC 3891 §3: replacing a dialog comes with transfers; until then none of ours can be meant.
        if headers.contains(&HeaderName::Replaces) {
            return self.answer(&incoming, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, &[], now);
        }
        match self.services.settings.session_timers.uas_answer(headers) {
            Ok(answer) if answer.refusal().is_none() => {}
            Ok(answer) => {
                let tag = self.services.random.token::<12>();
                let status = StatusCode::SESSION_INTERVAL_TOO_SMALL;
                let mut writer =
                    incoming.request.respond(&mut self.services.buffer, status, Some(tag.as_str()));
                answer.write(&mut writer);
                let bytes = writer.finish();
                return self.services.respond(incoming.key, bytes, now);
            }
            Err(_) => return self.answer(&incoming, StatusCode::BAD_REQUEST, &[], now),
        }
        let offer = match body::description(headers, incoming.request.body()) {
            Description::Sdp(offer) if offer.needs_dtls() => {
                self.refused(Refusal::Unsupported, incoming.flow, now);
                let warning = "399 offhook \"DTLS-SRTP is not supported yet\"";
                return self.answer(
                    &incoming,
                    StatusCode::NOT_ACCEPTABLE_HERE,
                    &[(HeaderName::Warning, warning)],
                    now,
                );
            }
            Description::Sdp(offer) => Some(offer),
            Description::None => None,
            Description::Malformed => {
                self.refused(Refusal::Malformed, incoming.flow, now);
                let warning = "399 offhook \"The session description cannot be read\"";
                return self.answer(
                    &incoming,
                    StatusCode::NOT_ACCEPTABLE_HERE,
                    &[(HeaderName::Warning, warning)],
                    now,
                );
            }
        };
        self.start_call(incoming, who, offer, now);
    }

    /// A MESSAGE outside of calls goes to a line's devices. To peers none are sent: SMS gateways come later.
    fn message(&mut self, incoming: Incoming, now: Moment) {
        let Some(who) = self.caller(&incoming, now) else { return };
        let Ok(uri) = incoming.request.parsed_uri() else {
            return self.answer(&incoming, StatusCode::BAD_REQUEST, &[], now);
        };
        let user = uri.user_unescaped().unwrap_or_default().into_owned();
        let line = match self.route(&who, &uri, &user, incoming.flow) {
            Ok(Route::Line(line)) => line,
            Ok(Route::Peer(_)) => return self.answer(&incoming, StatusCode::NOT_FOUND, &[], now),
            Err(reason) => return self.answer(&incoming, reason.answer().0, &[], now),
        };
        let identity = self.identity(&who, incoming.request.headers(), incoming.flow);
        let host = self.services.tenant_host(who.tenant(), &uri, incoming.flow.local.ip());
        let to = format!("sip:{}@{host}", line.name).into();
        let Incoming { key, request, .. } = incoming;
        let letter = Letter { key, request: request.clone(), identity, to };
        self.couriers.deliver(&mut self.services, letter, &who, &line, now);
    }

    fn start_call(
        &mut self,
        incoming: Incoming,
        who: Caller,
        offer: Option<offhook_sdp::SessionDescription>,
        now: Moment,
    ) {
        let Incoming { key: invite, request, flow } = incoming;
        let Ok(uri) = request.parsed_uri() else {
            return self.answer(&Incoming { key: invite, request, flow }, StatusCode::BAD_REQUEST, &[], now);
        };
        let mut callee_user: Box<str> = uri.user_unescaped().unwrap_or_default().into();
        let device = self.device(&uri, &who, &mut callee_user, now);
        let route = self.route(&who, &uri, &callee_user, flow);
        if matches!(route, Err(NoRoute::ForeignDomain | NoRoute::NotPermitted)) {
            self.refused(Refusal::NotPermitted, flow, now);
        }
        let identity = self.identity(&who, request.headers(), flow);
        let host = self.services.tenant_host(who.tenant(), &uri, flow.local.ip());
        let callee_uri: Box<str> = match uri.user {
            Some(user) => format!("sip:{user}@{host}").into(),
            None => format!("sip:{host}").into(),
        };
        let call_key = self.calls.reserve();
        let start = Start {
            key: call_key,
            invite,
            request: request.clone(),
            flow,
            who,
            identity,
            callee_uri,
            callee_user,
            offer,
            route,
            device,
        };
        let call = Call::start(&mut self.services, start, now);
        self.calls.insert(call_key, call);
        self.calls.settle(call_key, &mut self.services);
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

    fn route(&self, who: &Caller, uri: &Uri<'_>, user: &str, flow: Flow) -> Result<Route, NoRoute> {
        let services = &self.services;
        let ours = services.serves(uri, flow.local.ip(), who.tenant());
        route::decide(&services.directory, &services.settings.emergency_numbers, who, user, ours)
    }

    /// Who the caller is: of a line what the directory says, of a peer what it asserts (RFC 3325) or says.
    fn identity(&self, who: &Caller, headers: &Headers, flow: Flow) -> Identity {
        let from = headers.from().ok();
        let anonymous = from.as_ref().is_some_and(|from| from.uri.contains("anonymous.invalid"));
        let hidden = anonymous || headers.privacy().any(|value| matches!(value, "id" | "user" | "header"));
        let shown_name = |address: &NameAddr<'_>| address.display_name().map(|name| name.into_owned());
        match who {
            Caller::Line(line) => {
                let own_uri = Uri::parse("sip:x").ok();
                let host = match &from {
                    Some(from) if !anonymous => from.parsed_uri().ok().map(|uri| uri.host.to_string()),
                    _ => own_uri.map(|_| offhook_base::HostPort::from(flow.local).host),
                };
                let host =
                    self.services.domain_of(&line.tenant).map(str::to_string).or(host).unwrap_or_default();
                let name = from.as_ref().filter(|_| !anonymous).and_then(shown_name).or_else(|| {
                    line.display_name
                        .as_ref()
                        .map(|name| name.disclose(offhook_base::Purpose::Signalling).clone())
                });
                Identity::new(format!("sip:{}@{host}", line.name), name, hidden)
            }
            Caller::Peer(_) => {
                let asserted = headers.p_asserted_identity().filter_map(Result::ok).next();
                match asserted.or(from) {
                    Some(address) => Identity::new(address.uri.to_string(), shown_name(&address), hidden),
                    None => Identity::new(String::from("sip:unknown@unknown.invalid"), None, true),
                }
            }
        }
    }
}

/// Room for the response to a REGISTER of a line with several contacts.
const RESPONSE_BYTES: usize = 1024;

impl super::services::Services {
    /// Whether a URI means this node in the name of `tenant`: one of the tenant's domains, or for the default tenant an
    /// address of the node.
    pub fn serves(&self, uri: &Uri<'_>, local: std::net::IpAddr, tenant: &str) -> bool {
        let host = uri.host_without_brackets();
        host.is_empty()
            || self
                .directory
                .tenant_of_domain(host, || self.settings.is_our_host(host, local))
                .is_some_and(|owner: &Arc<Tenant>| &*owner.name == tenant)
            // A peer reaches its tenant's lines by the node's address: that is all a carrier knows.
            || self.settings.is_our_host(host, local)
    }

    /// The domain that addresses of record of `tenant` are written with; `None` for the default tenant without one.
    pub fn domain_of(&self, tenant: &str) -> Option<&str> {
        self.directory.tenant(tenant)?.domains.first().map(|domain| &**domain)
    }

    /// The host to write into an address of this tenant: its domain, or as it was dialled.
    pub fn tenant_host(&self, tenant: &str, uri: &Uri<'_>, local: std::net::IpAddr) -> String {
        match self.domain_of(tenant) {
            Some(domain) => domain.to_string(),
            None if tenant == DEFAULT_TENANT && !uri.host.is_empty() => uri.host.to_string(),
            None => offhook_base::HostPort::from(std::net::SocketAddr::new(local, 0)).host,
        }
    }

    /// States that something from outside was refused.
    pub fn note_refused(&mut self, why: Refusal, flow: Flow, now: Moment) {
        let source = Personal::new(flow.remote, DataSubject::RemoteParty);
        self.fact(What::Refused { why, source }, now);
    }
}

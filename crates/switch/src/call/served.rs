//! The node itself answers: a call with one leg. An [`Attendant`] says what the caller hears; here it gets its answer, its
//! hold, its keys by INFO, and its end.

use bytes::Bytes;
use offhook_base::{Instant, Moment};
use offhook_sdp::SessionDescription;
use offhook_sip::{
    dialog::{AcceptedResponse, Dialog, Phase},
    header::HeaderName,
    message::{Method, Request, StatusCode},
    session_timer::{SessionTimer, UasAnswer},
    transport::Flow,
};

use super::{
    CALLER, Call, LegState, Stage,
    body::{self, Description},
    house,
    keys::{Side, Writer},
    keys_by_info::{self, Body},
    leg::Pending,
    resume::Implausible,
};
use crate::{
    capabilities::{ALLOW, SUPPORTED},
    exchange::{owners::DialogEnd, services::Services},
    fact::What,
    media::{Act, MediaCommand, RoomId, STREAMS_MAX},
    record::{CallId, EndCause, EndedBy},
    service::{Attendant, Event, Service, Step},
};

/// The node as the writer of a description: it has no keys of its own to pass.
const NODE: Writer = Writer { needs_keys: false, streams: [Side::Passed; STREAMS_MAX] };

/// Who answers, and what stands between it and the caller.
#[derive(Debug)]
pub(super) struct Served {
    attendant: Attendant,
    /// The RTP source that the caller hears.
    source: u32,
    /// What we offered, until its answer comes with the ACK.
    offered: Option<SessionDescription>,
}

impl Served {
    fn new(services: &mut Services, service: Service, call: CallId, room: RoomId) -> Box<Self> {
        let attendant = Attendant::new(service, call, room, &services.settings.services);
        Box::new(Self { attendant, source: services.random.next_u32(), offered: None })
    }

    /// The soonest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.attendant.deadline()
    }
}

impl Call {
    /// The call goes to a service. It is answered as soon as there are ports.
    pub(super) fn serve(&mut self, services: &mut Services, service: Service, now: Moment) {
        if self.offer.as_ref().is_some_and(|offer| house::answer(offer).is_none()) {
            return self.fail(
                services,
                EndedBy::Node,
                StatusCode::NOT_ACCEPTABLE_HERE,
                EndCause::Incompatible,
                now,
            );
        }
        self.served = Some(Served::new(services, service, self.id, self.room()));
    }

    /// The room that its number leads to, if it leads to one.
    fn room(&self) -> RoomId {
        RoomId { tenant: self.who.tenant().into(), number: self.callee_user.clone() }
    }

    /// The ports are there: those of the call, or more of them.
    pub(super) fn serve_with_ports(&mut self, services: &mut Services, first: bool, now: Moment) {
        if !first || self.invite.is_none() {
            return;
        }
        let Some(answer) = self.write_own_answer(services, now) else {
            let (status, cause) = (StatusCode::NOT_ACCEPTABLE_HERE, EndCause::Incompatible);
            return self.fail(services, EndedBy::Node, status, cause, now);
        };
        let Some(Pending { key, request }) = self.invite.take() else { return };
        let caller = self.leg(CALLER);
        caller.state = LegState::Up;
        caller.accepted_cseq = request.headers().cseq().map_or(0, |cseq| cseq.number);
        caller.accepted = Some(AcceptedResponse::new(answer.clone(), &services.settings.timers, now.instant));
        services.respond(key, answer, now);
        self.stage = Stage::Served { end_at: now.instant + services.settings.call_duration };
        if let Some(account) = &mut self.account {
            account.answered(now.utc);
            account.leg_answered(CALLER, now.utc);
            services.fact(What::CallAnswered { call: account.id(), leg: CALLER }, now);
        }
        if self.offer.is_some() {
            self.begin_service(services, now);
        }
    }

    /// The 200 to the caller's INVITE.
    fn write_own_answer(&mut self, services: &mut Services, now: Moment) -> Option<Bytes> {
        let request = self.request.as_ref()?;
        let caller = &mut self.legs[usize::from(CALLER)];
        let secure = caller.destination.transport().is_secure() && request.uri().starts_with("sips:");
        let mut dialog = Dialog::uas(request, caller.tag.as_str(), secure, Phase::Early).ok()?;
        dialog.confirm();
        let description = match &self.offer {
            Some(offer) => {
                let answer = house::answer(offer)?;
                let text = caller.session.describe_answer(&answer, offer, &NODE, &mut services.random);
                caller.session.accept(offer.clone());
                text
            }
            None => {
                let offer = house::offer()?;
                let text = caller.session.describe_offer(&offer, &NODE, &mut services.random);
                self.served.as_mut()?.offered = Some(offer);
                text
            }
        };
        let end = DialogEnd { call: self.key, leg: CALLER, faces_caller: false };
        services.owners.tag_used(caller.tag, end);
        let contact = services.contact(&caller.destination, Some(&self.callee_user));
        let interval =
            services.settings.session_timers.uas_answer(request.headers()).unwrap_or(UasAnswer::None);
        let mut writer = request.respond(&mut services.buffer, StatusCode::OK, Some(caller.tag.as_str()));
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::Allow, ALLOW);
        writer.header(&HeaderName::Supported, SUPPORTED);
        interval.write(&mut writer);
        writer.header(&HeaderName::Server, &services.settings.product);
        writer.body(body::SDP, &description);
        let bytes = writer.finish();
        caller.dialog = Some(dialog);
        if let UasAnswer::Accept { agreement, .. } = interval {
            caller.timer = Some(SessionTimer::new(agreement, now.instant));
        }
        Some(bytes)
    }

    fn begin_service(&mut self, services: &mut Services, now: Moment) {
        self.configure_served(services);
        self.act(services, Act::Listen);
        self.attend(services, &Event::Begun, now);
    }

    /// Tells the engine what is agreed on.
    pub(super) fn configure_served(&self, services: &mut Services) {
        let session = &self.legs[usize::from(CALLER)].session;
        if let (Some(endpoint), true) = (session.endpoint(), self.served.is_some()) {
            services.media(MediaCommand::Configure { endpoint, streams: session.stream_configs_alone() });
        }
    }

    fn act(&self, services: &mut Services, act: Act) {
        let endpoint = self.legs[usize::from(CALLER)].session.endpoint();
        if let (Some(endpoint), Some(served)) = (endpoint, &self.served) {
            services.media(MediaCommand::Serve { endpoint, source: served.source, act });
        }
    }

    /// Tells the attendant what happens, and does what it says.
    pub(super) fn attend(&mut self, services: &mut Services, event: &Event, now: Moment) {
        let Some(served) = self.served.as_mut().filter(|_| matches!(self.stage, Stage::Served { .. })) else {
            return;
        };
        match served.attendant.handle(event, now) {
            Some(Step::Do(act)) => self.act(services, act),
            Some(Step::HangUp) => {
                self.hang_up_both(services, EndedBy::Callee, EndCause::HungUp, StatusCode::OK, now);
            }
            None => {}
        }
    }

    /// A request of the caller within the dialog.
    pub(super) fn handle_served(
        &mut self,
        services: &mut Services,
        pending: Pending,
        flow: Flow,
        now: Moment,
    ) {
        match pending.request.method() {
            Method::Invite | Method::Update => self.handle_served_offer(services, &pending, flow, now),
            Method::Info => self.handle_served_info(services, &pending, now),
            Method::Options => services.refuse(&pending, StatusCode::OK, now),
            _ => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                services.refuse_with(
                    &pending,
                    status,
                    |writer| {
                        writer.header(&HeaderName::Allow, ALLOW);
                    },
                    now,
                );
            }
        }
    }

    /// A re-INVITE or UPDATE: a hold, another address, a refresh.
    fn handle_served_offer(&mut self, services: &mut Services, pending: &Pending, flow: Flow, now: Moment) {
        match services.settings.session_timers.uas_answer(pending.request.headers()) {
            Ok(answer) if answer.refusal().is_none() => {}
            Ok(answer) => {
                let status = StatusCode::SESSION_INTERVAL_TOO_SMALL;
                return services.refuse_with(pending, status, |writer| answer.write(writer), now);
            }
            Err(_) => return services.refuse(pending, StatusCode::BAD_REQUEST, now),
        }
        let description = body::description(pending.request.headers(), pending.request.body());
        let method = pending.request.method().clone();
        let bare = method == Method::Update && matches!(description, Description::None);
        let caller = &self.legs[usize::from(CALLER)];
        // RFC 3261 §14.1, RFC 3311 §5.2: one offer at a time.
        if (caller.refresh.is_some() || caller.accepted.is_some()) && !bare {
            return services.refuse(pending, StatusCode::REQUEST_PENDING, now);
        }
        if self.is_refresh(CALLER, &method, &description) {
            return self.answer_refresh(services, CALLER, pending, flow, now);
        }
        let offer = match description {
            Description::Sdp(offer) => Some(offer),
            Description::None => None,
            Description::Malformed => {
                return services.refuse(pending, StatusCode::NOT_ACCEPTABLE_HERE, now);
            }
        };
        let Some(text) = self.answer_served(services, offer) else {
            return services.refuse(pending, StatusCode::NOT_ACCEPTABLE_HERE, now);
        };
        if method == Method::Invite {
            services.owners.invite_received(pending.key, self.key);
        }
        self.accept_offer(services, CALLER, pending, flow, Some(&text), now);
        self.configure_served(services);
        self.note_hold(services, now);
    }

    /// The answer to an offer of the caller, or an offer of ours where it makes none. `None`: it cannot be taken.
    fn answer_served(&mut self, services: &mut Services, offer: Option<SessionDescription>) -> Option<Bytes> {
        let session = &mut self.legs[usize::from(CALLER)].session;
        let served = self.served.as_mut()?;
        let Some(offer) = offer else {
            let offer = house::offer()?;
            let text = session.describe_offer(&offer, &NODE, &mut services.random);
            served.offered = Some(offer);
            return Some(text);
        };
        if offer.needs_dtls() || !session.may_offer(&offer) {
            return None;
        }
        let answer = house::answer(&offer)?;
        let text = session.describe_answer(&answer, &offer, &NODE, &mut services.random);
        session.accept(offer);
        Some(text)
    }

    /// The ACK of a 2xx of ours: where we made the offer, it brings the answer.
    pub(super) fn served_acknowledged(&mut self, services: &mut Services, ack: &Request, now: Moment) {
        let Some(offered) = self.served.as_mut().and_then(|served| served.offered.take()) else { return };
        let session = &mut self.legs[usize::from(CALLER)].session;
        match body::description(ack.headers(), ack.body()) {
            Description::Sdp(answer) if session.takes_answer(&answer, &offered) => {
                let first = session.theirs().is_none();
                session.accept(answer);
                if first {
                    return self.begin_service(services, now);
                }
                self.configure_served(services);
                self.note_hold(services, now);
            }
            _ => {
                let (by, cause) = (EndedBy::Node, EndCause::Incompatible);
                self.hang_up_both(services, by, cause, StatusCode::NOT_ACCEPTABLE_HERE, now);
            }
        }
    }

    /// Keys by INFO.
    fn handle_served_info(&mut self, services: &mut Services, pending: &Pending, now: Moment) {
        let body = keys_by_info::read(&pending.request);
        if body == Body::Other {
            return services.refuse(pending, StatusCode::UNSUPPORTED_MEDIA_TYPE, now);
        }
        services.refuse(pending, StatusCode::OK, now);
        if let Body::Key(Some(said)) = body {
            self.attend(services, &Event::Key(said.key), now);
        }
    }

    /// The service of a call that another process has begun: it begins anew.
    pub(super) fn rebuild_served(&mut self, services: &mut Services) -> Result<(), Implausible> {
        if !matches!(self.stage, Stage::Served { .. }) {
            return Ok(());
        }
        let service = services.settings.services.of_number(&self.callee_user).ok_or(Implausible)?;
        self.served = Some(Served::new(services, service, self.id, self.room()));
        Ok(())
    }

    /// Goes on with it.
    pub(super) fn take_up_served(&mut self, services: &mut Services, now: Moment) {
        if self.leg(CALLER).session.theirs().is_some() {
            self.begin_service(services, now);
        }
    }
}

//! The caller's INVITE becomes a call: ways to the called side are found and ports are opened.

use std::{net::IpAddr, sync::Arc};

use offhook_base::Moment;
use offhook_sdp::SessionDescription;
use offhook_sip::{
    header::{HeaderName, Headers},
    message::{Request, StatusCode},
    transaction::ServerKey,
    transport::{Destination, Flow, Transport},
    uri::Escaped,
};

use super::{
    Awaited, CALLER, Call, Leg, Stage, Way, WayEnd,
    leg::{Branch, Pending},
    patience::LOCATE_PATIENCE,
    session::LegSession,
};
use crate::{
    account::{Account, LegOpening, cause_of_status},
    directory::{Line, Peer, Srtp},
    exchange::{
        event::{Answer, Ask, AskId, Hop},
        owners::{CallKey, DialogEnd, LegIndex, LocalTag},
        services::Services,
    },
    fact::What,
    hunt::{Hunt, TARGETS_MAX},
    identity::Identity,
    lines::LegLineState,
    media::{EndpointId, MediaCommand, MediaEvent, STREAMS_MAX},
    record::{CallId, EndCause, EndedBy, LegRole},
    registrar::{Push, Target},
    route::{Caller, NoRoute, Route},
    service,
};

/// All that is known when a call begins. The caller was proved, the INVITE was found well-formed.
pub struct Start {
    /// The call's key.
    pub key: CallKey,
    /// The INVITE's transaction.
    pub invite: ServerKey,
    /// The INVITE.
    pub request: Request,
    /// How it came.
    pub flow: Flow,
    /// Who calls.
    pub who: Caller,
    /// What the called side is told of who calls.
    pub identity: Identity,
    /// The address called, as it is written into To.
    pub callee_uri: Box<str>,
    /// The number or name called.
    pub callee_user: Box<str>,
    /// The offer; `None` if the callee shall make it.
    pub offer: Option<SessionDescription>,
    /// Where it goes, or why nowhere.
    pub route: Result<Route, NoRoute>,
    /// The one device that is meant, by its ways, where a GRUU was called.
    pub device: Option<Vec<Target>>,
}

/// What a call needs besides, to begin.
pub struct Beginning {
    flow: Flow,
    route: Result<Route, NoRoute>,
    device: Option<Vec<Target>>,
}

impl Call {
    /// A call that nobody has heard of yet; [`Call::begin`] must follow when it is in its place.
    pub fn new(services: &mut Services, start: Start, now: Moment) -> (Self, Beginning) {
        let Start {
            key,
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
        } = start;
        let id = CallId::new(now.utc, &mut services.random);
        let account = Account::new(id, who.tenant(), &identity, &callee_uri, now.utc);
        let anchored = anchors(services.settings.anchor_media, &who, route.as_ref().ok());
        let call = Self {
            key,
            id,
            account: Some(account),
            record: None,
            who,
            identity,
            invite: Some(Pending { key: invite, request: request.clone() }),
            request: Some(request),
            offer,
            callee_uri,
            callee_user,
            anchored,
            stage: Stage::Preparing { give_up_at: now.instant + services.settings.unanswered },
            trunk: None,
            hunt: Hunt::new(Vec::new()),
            device: None,
            awaited: None,
            tried: Vec::new(),
            asks: Vec::new(),
            legs: Vec::with_capacity(2),
            served: None,
            modify: None,
            relays: Vec::new(),
            repeatables: Vec::new(),
            peers: Vec::new(),
            reports_due: 0,
            is_broken: false,
            kept: None,
            is_touched: false,
            wakes_at: None,
        };
        (call, Beginning { flow, route, device })
    }

    /// Begins. It may end at once, with its refusal sent and its record made.
    pub fn begin(&mut self, services: &mut Services, beginning: Beginning, now: Moment) {
        let Beginning { flow, route, device } = beginning;
        if let Some(Pending { key, .. }) = self.invite {
            services.owners.invite_received(key, self.key);
        }
        self.add_caller(services, flow, now);
        let (caller_has_room, without_room) = match self.who.clone() {
            Caller::Line(line) => (services.lines.calls(line.id) <= line.calls_max, StatusCode::FORBIDDEN),
            Caller::Peer(peer) => (self.take_room_of(services, &peer, now), StatusCode::SERVICE_UNAVAILABLE),
        };
        match route {
            Ok(_) if !caller_has_room => self.refuse(services, without_room, EndCause::Overloaded, now),
            Ok(_) if self.lacks_keys() => {
                self.refuse(services, StatusCode::NOT_ACCEPTABLE_HERE, EndCause::Incompatible, now);
            }
            Ok(Route::Line(line)) if services.lines.has_room(&line) => {
                self.device = device;
                self.ring_line(services, &line, now);
            }
            Ok(Route::Line(_)) => self.refuse(services, StatusCode::BUSY_HERE, EndCause::Busy, now),
            Ok(Route::Peer(peer)) if self.take_room_of(services, &peer, now) => {
                self.locate(services, peer, now);
            }
            Ok(Route::Peer(_)) => {
                self.refuse(services, StatusCode::SERVICE_UNAVAILABLE, EndCause::Overloaded, now);
            }
            Ok(Route::Trunks(trunks)) => self.hunt_for_trunk(services, *trunks, now),
            Ok(Route::Service(service)) => self.serve(services, service, now),
            Err(reason) => {
                let (status, cause) = reason.answer();
                self.refuse(services, status, cause, now);
            }
        }
    }

    /// Takes one of the calls that `peer` may have at once; they are given back when the call is over.
    pub(super) fn take_room_of(&mut self, services: &mut Services, peer: &Peer, now: Moment) -> bool {
        let rules = services.directory.rules_of(peer);
        let taken = services.peer_calls.take(peer, rules, now.instant);
        if taken {
            self.peers.push(peer.id);
        }
        taken
    }

    fn add_caller(&mut self, services: &mut Services, flow: Flow, now: Moment) {
        let srtp = self.srtp_of_caller(services);
        let session = self.new_session(services, CALLER, flow.local.ip(), srtp);
        let tag = LocalTag::new(&mut services.random);
        let mut leg = Leg::new(CALLER, session, Destination::Flow(flow), tag);
        let headers = self.request.as_ref().map(Request::headers);
        leg.allows_update = headers.is_some_and(allows_update);
        leg.await_ports(now.instant);
        self.legs.push(leg);
        let opening = LegOpening {
            role: LegRole::Caller,
            line: self.who.line().map(|line| line.name.clone()),
            peer: self.who.peer().map(|peer| peer.name.clone()),
            remote: flow.remote,
            transport: flow.transport,
            sip_call_id: headers.and_then(|headers| headers.call_id().ok()).unwrap_or_default().into(),
        };
        if let Some(account) = &mut self.account {
            account.leg_started(opening, now.utc);
            if let Some(user_agent) = headers.and_then(|headers| headers.first(&HeaderName::UserAgent)) {
                account.leg_is(CALLER, user_agent);
            }
            let record = account.so_far();
            let (call, tenant) = (record.id, record.tenant.clone());
            let (caller, callee) = (record.caller.clone(), record.callee.clone());
            services.fact(What::CallStarted { call, tenant, caller, callee }, now);
            services.fact(What::LegStarted { call, leg: CALLER, role: LegRole::Caller }, now);
        }
        self.set_line_state(services, CALLER, Some(LegLineState::Busy), now);
    }

    /// A session for a leg, with its ports asked for if media is anchored.
    fn new_session(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        local: IpAddr,
        srtp: Srtp,
    ) -> LegSession {
        let shown = services.settings.media_advertised.unwrap_or(local);
        if !self.anchored {
            return LegSession::new(None, shown, srtp);
        }
        let endpoint = services.owners.new_endpoint(self.key, leg);
        let streams = self.offer.as_ref().map_or(1, |offer| offer.media().len()).clamp(1, STREAMS_MAX);
        services.media(MediaCommand::Open { endpoint, local, streams });
        self.reports_due += 1;
        LegSession::new(Some(endpoint), shown, srtp).transcoding(services.settings.transcoding)
    }

    /// Whether the caller's offer has no keys although its setting asks for them.
    fn lacks_keys(&self) -> bool {
        let caller = &self.legs[usize::from(CALLER)];
        self.offer.as_ref().is_some_and(|offer| !caller.session.may_offer(offer))
    }

    /// Whether it is a call to an emergency number.
    pub(super) fn is_for_help(&self, services: &Services) -> bool {
        services.settings.emergency_numbers.iter().any(|number| **number == *self.callee_user)
    }

    /// How the caller's media is protected. A call for help is not refused for a lack of keys.
    fn srtp_of_caller(&self, services: &Services) -> Srtp {
        match srtp_of(&self.who) {
            Srtp::Always if self.is_for_help(services) => Srtp::Auto,
            srtp => srtp,
        }
    }

    pub(super) fn locate(&mut self, services: &mut Services, peer: Arc<Peer>, now: Moment) {
        let patience = LOCATE_PATIENCE.min(services.settings.unanswered);
        self.stage = Stage::Preparing { give_up_at: now.instant + patience };
        let id = self.new_ask(services);
        services.ask(Ask::Locate {
            id,
            peer: Some(peer.id),
            host: peer.host.clone().unwrap_or_default(),
            port: peer.port,
            transport: peer.transport,
            secure: false,
        });
        self.awaited = Some(Awaited::Peer(peer));
    }

    /// A number for a question of this call.
    fn new_ask(&mut self, services: &mut Services) -> AskId {
        let id = services.owners.new_ask(self.key);
        self.asks.push(id);
        id
    }

    /// A question of the call was answered.
    pub fn handle_answer(&mut self, services: &mut Services, answer: Answer, now: Moment) {
        if !self.is_running() {
            return;
        }
        match (answer, self.awaited.take()) {
            (Answer::Located { hops, .. }, Some(Awaited::Peer(peer))) => {
                self.located(services, &peer, &hops, now)
            }
            (Answer::Woken { accepted: false, .. }, Some(Awaited::Device(line))) if self.is_preparing() => {
                // The push service is out of order: the device may still be awake.
                services.sleepers.leave(line.id, self.key);
                let ways = self.untried_ways(services, &line, true, now);
                self.hunt_through(services, ways, now);
            }
            (_, awaited) => self.awaited = awaited,
        }
    }

    /// Tries the peer's addresses one after the other (RFC 3263 §4.3).
    fn located(&mut self, services: &mut Services, peer: &Arc<Peer>, hops: &[Hop], now: Moment) {
        if hops.is_empty() {
            return self.peer_not_found(services, StatusCode::BAD_GATEWAY, now);
        }
        let host = peer.host.as_deref().unwrap_or_default();
        let number = self.trunk.as_ref().map_or(&self.callee_user, |trunk| &trunk.number);
        let port = peer.port.map_or(String::new(), |port| format!(":{port}"));
        let groups = hops
            .iter()
            .map(|hop| {
                let transport = match hop.transport {
                    Transport::Udp => "",
                    other => other.uri_token(),
                };
                let parameter =
                    if transport.is_empty() { String::new() } else { format!(";transport={transport}") };
                vec![Way {
                    // Escaped anew: no number may smuggle a host of its own into the URI.
                    request_uri: format!("sip:{}@{host}{port}{parameter}", Escaped(number)).into(),
                    destination: services.destination(hop),
                    route: Vec::new(),
                    end: WayEnd::Peer(Arc::clone(peer)),
                }]
            })
            .collect();
        self.hunt_through(services, groups, now);
    }

    /// Rings a line's devices; those that sleep are woken first (RFC 8599).
    fn ring_line(&mut self, services: &mut Services, line: &Arc<Line>, now: Moment) {
        let sleeping: Vec<Push> = self
            .targets(services, line, now)
            .into_iter()
            .flatten()
            .filter(|target| !self.is_calling_device(line, target))
            .filter_map(|target| target.push)
            .collect();
        let ways = self.untried_ways(services, line, false, now);
        for push in &sleeping {
            let id = self.new_ask(services);
            services.ask(Ask::Wake {
                id,
                provider: push.provider.clone(),
                prid: push.prid.clone(),
                param: Some(push.param.clone()).filter(|param| !param.is_empty()),
            });
        }
        if !sleeping.is_empty() {
            self.awaited = Some(Awaited::Device(Arc::clone(line)));
            services.sleepers.wait(line.id, self.key);
        }
        if ways.is_empty() && !sleeping.is_empty() {
            self.stage = Stage::Preparing { give_up_at: now.instant + services.settings.wake };
            return;
        }
        if ways.is_empty() && self.calls_itself_alone(services, line, now) {
            self.refuse(services, StatusCode::BUSY_HERE, EndCause::Busy, now);
        } else if ways.is_empty() {
            self.refuse(services, StatusCode::TEMPORARILY_UNAVAILABLE, EndCause::NotRegistered, now);
        } else {
            self.hunt_through(services, ways, now);
        }
    }

    /// No device needs to wake up for this call any more.
    pub(super) fn stop_waiting(&self, services: &mut Services) {
        if let Some(Awaited::Device(line)) = &self.awaited {
            services.sleepers.leave(line.id, self.key);
        }
    }

    /// A device of the line that the call waits for has registered: it is awake.
    pub fn device_registered(&mut self, services: &mut Services, now: Moment) {
        let Some(Awaited::Device(line)) = self.awaited.clone() else { return };
        let ways = self.untried_ways(services, &line, true, now);
        match self.stage {
            Stage::Preparing { .. } => self.hunt_through(services, ways, now),
            Stage::Hunting { .. } if self.has_winner() => {}
            Stage::Hunting { .. } => {
                for way in ways.into_iter().flatten() {
                    self.start_branch(services, way, now);
                }
            }
            Stage::Established { .. } | Stage::Served { .. } | Stage::Over { .. } => {}
        }
    }

    /// The devices to ring, in groups by preference. The flows of one device are tried in turn (RFC 5626 §7).
    fn targets(&self, services: &Services, line: &Line, now: Moment) -> Vec<Vec<Target>> {
        match &self.device {
            Some(flows) => flows.iter().map(|flow| vec![flow.clone()]).collect(),
            None => services.registrar.contacts(line.id, now.instant),
        }
    }

    /// Whether the only devices of the line are the one that calls it.
    fn calls_itself_alone(&self, services: &Services, line: &Line, now: Moment) -> bool {
        self.targets(services, line, now).iter().flatten().any(|target| self.is_calling_device(line, target))
    }

    /// Ways to the devices of `line` that were not tried yet, by preference. `awake`: those with a push service too.
    fn untried_ways(
        &mut self,
        services: &Services,
        line: &Arc<Line>,
        awake: bool,
        now: Moment,
    ) -> Vec<Vec<Way>> {
        let groups = self.targets(services, line, now);
        let mut ways = Vec::with_capacity(groups.len());
        for group in groups {
            let mut found = Vec::with_capacity(group.len());
            for target in group {
                let Some(destination) = target.destination else { continue };
                if self.tried.contains(&target.binding) || (target.push.is_some() && !awake) {
                    continue;
                }
                if self.is_calling_device(line, &target) {
                    continue;
                }
                self.tried.push(target.binding);
                let end = WayEnd::Line(Arc::clone(line));
                found.push(Way { request_uri: target.request_uri, destination, route: target.path, end });
            }
            ways.push(found);
        }
        ways.retain(|group| !group.is_empty());
        ways
    }

    /// Begins the hunt.
    fn hunt_through(&mut self, services: &mut Services, groups: Vec<Vec<Way>>, now: Moment) {
        self.hunt = Hunt::new(groups);
        let give_up_at = now.instant + services.settings.unanswered;
        let give_up_at = self.trunk.as_ref().map_or(give_up_at, |trunk| trunk.give_up_at);
        self.stage = Stage::Hunting { ring_until: give_up_at, give_up_at };
        self.next_group(services, now);
    }

    /// Rings the next group; with none left the call has failed.
    pub(super) fn next_group(&mut self, services: &mut Services, now: Moment) {
        let Stage::Hunting { give_up_at, .. } = self.stage else { return };
        let Some(group) = self.hunt.next_group() else {
            if self.goes_on_to_next_trunk(services, now) {
                return;
            }
            let status = self.hunt.verdict();
            let cause = match self.hunt.has_verdict() {
                true => cause_of_status(status.as_u16()),
                false => EndCause::NotRegistered,
            };
            return self.fail(services, EndedBy::Callee, status, cause, now);
        };
        let ring = self.first_patience(services).unwrap_or(services.settings.ring);
        self.stage = Stage::Hunting { ring_until: now.instant + ring, give_up_at };
        for way in group {
            self.start_branch(services, way, now);
        }
    }

    /// Starts a leg towards `way`: its ports first, then its INVITE.
    fn start_branch(&mut self, services: &mut Services, way: Way, now: Moment) {
        // Devices that register while the call rings join without end otherwise, each with ports of its own.
        let Ok(index) = LegIndex::try_from(self.legs.len()) else { return };
        if usize::from(index) > TARGETS_MAX {
            return;
        }
        let destination = way.destination;
        let session = self.new_session(services, index, destination.local().ip(), way.srtp());
        let tag = LocalTag::new(&mut services.random);
        let call_id: Box<str> = services.random.token::<24>().as_str().into();
        let opening = LegOpening {
            role: LegRole::Callee,
            line: way.line().map(|line| line.name.clone()),
            peer: way.peer().map(|peer| peer.name.clone()),
            remote: destination.remote(),
            transport: destination.transport(),
            sip_call_id: call_id.clone(),
        };
        if let Some(account) = &mut self.account {
            account.leg_started(opening, now.utc);
            services.fact(What::LegStarted { call: account.id(), leg: index, role: LegRole::Callee }, now);
        }
        services.owners.tag_used(tag, DialogEnd { call: self.key, leg: index, faces_caller: false });
        let open = session.is_open();
        let mut leg = Leg::new(index, session, destination, tag);
        leg.branch = Some(Box::new(Branch::new(way, call_id, services.settings.session_timers.offer())));
        leg.await_ports(now.instant);
        self.legs.push(leg);
        self.set_line_state(services, index, Some(LegLineState::Ringing), now);
        if open {
            self.send_invite(services, index, now);
        }
    }

    /// The media engine speaks of a leg.
    pub fn handle_media(&mut self, services: &mut Services, leg: LegIndex, event: MediaEvent, now: Moment) {
        match event {
            MediaEvent::Opened { rtp_ports, .. } => {
                let first = !self.leg(leg).session.is_open();
                self.leg(leg).session.opened(rtp_ports);
                self.leg(leg).ports_until = None;
                if self.served.is_some() {
                    self.serve_with_ports(services, first, now);
                } else if self.modify.is_some() {
                    self.ports_grew(services, now);
                } else if first && self.leg(leg).is_hunted() {
                    self.send_invite(services, leg, now);
                }
            }
            MediaEvent::Noted { notes, .. } => self.leg(leg).session.noted(notes),
            MediaEvent::OpenFailed { endpoint, .. } if self.leg(leg).ports_until.take().is_some() => {
                self.has_no_ports(services, leg, endpoint, now);
            }
            MediaEvent::OpenFailed { .. } => {
                // No ports for a stream that was added: the offer is refused, the call goes on.
                self.finish_modify(services, StatusCode::NOT_ACCEPTABLE_HERE, now);
            }
            MediaEvent::Silent { .. } => self.media_fell_silent(services, now),
            MediaEvent::Played { number, .. } => self.attend(services, &service::Event::Played(number), now),
            MediaEvent::Crowded { .. } => self.attend(services, &service::Event::Crowded, now),
            MediaEvent::Key { key, .. } => self.attend(services, &service::Event::Key(key), now),
            MediaEvent::Closed { streams, .. } => {
                self.reports_due -= 1;
                if let Some(account) = &mut self.account {
                    account.leg_quality(leg, streams);
                }
                self.conclude(services, now);
            }
        }
    }

    /// A leg has no ports: none were free, or those it had before a restart are somebody else's now.
    fn has_no_ports(&mut self, services: &mut Services, leg: LegIndex, endpoint: EndpointId, now: Moment) {
        self.reports_due -= 1;
        services.owners.endpoint_ended(endpoint);
        self.leg(leg).session.take_endpoint();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let was_open = self.leg(leg).session.was_opened();
        match self.stage {
            Stage::Established { .. } | Stage::Served { .. } if was_open => {
                self.hang_up_both(services, EndedBy::Node, EndCause::Outage, status, now);
            }
            Stage::Established { .. } | Stage::Served { .. } => return, // the ports of a branch that lost meanwhile
            _ => self.fail(services, EndedBy::Node, status, EndCause::Overloaded, now),
        }
        self.conclude(services, now);
    }

    /// Refuses the call before any device rang.
    fn refuse(&mut self, services: &mut Services, status: StatusCode, cause: EndCause, now: Moment) {
        self.fail(services, EndedBy::Node, status, cause, now);
    }

    const fn is_preparing(&self) -> bool {
        matches!(self.stage, Stage::Preparing { .. })
    }
}

/// Whether media goes through the node: both ends leave it to the node as `wanted`, or one has its encryption end here.
fn anchors(wanted: bool, who: &Caller, route: Option<&Route>) -> bool {
    let (by_callee, srtp) = match route {
        // Which of them it will be is not known yet.
        Some(Route::Trunks(trunks)) => {
            let peers = || trunks.untried.iter().map(|trunk| &trunk.peer);
            let protected = peers().map(|peer| peer.srtp).find(|srtp| *srtp != Srtp::Auto);
            (peers().any(|peer| peer.anchor_media), protected.unwrap_or_default())
        }
        Some(Route::Peer(peer)) => (peer.anchor_media, peer.srtp),
        Some(Route::Line(line)) => (true, line.srtp),
        Some(Route::Service(_)) => return true,
        None => return false,
    };
    let by_caller = who.peer().is_none_or(|peer| peer.anchor_media);
    let needed = srtp != Srtp::Auto || srtp_of(who) != Srtp::Auto;
    needed || (wanted && by_caller && by_callee)
}

fn srtp_of(who: &Caller) -> Srtp {
    match who {
        Caller::Line(line) => line.srtp,
        Caller::Peer(peer) => peer.srtp,
    }
}

/// Whether a party's Allow header names UPDATE (RFC 3311 §4).
pub(super) fn allows_update(headers: &Headers) -> bool {
    headers.allow().any(|method| method == "UPDATE")
}

//! Going on with a call that another process has begun.
//!
//! First the call is built from its form, without a word to anybody ([`Call::rebuild`]); when it has its place, it takes up
//! what leads to it and what it waits for ([`Call::take_up`]).

use std::sync::Arc;

use bytes::Bytes;
use offhook_base::{DataSubject, Instant, Moment, Personal, UtcMillis};
use offhook_sip::{
    message::{Message, Request, Response, StatusCode},
    transaction::Received,
    transport::{Destination, Flow},
};

use super::{
    CALLER, Call, Leg, LegState, Stage, Way, WayEnd, leg::Pending, patience::PORTS_PATIENCE, print::Print,
    restored,
};
use crate::{
    account::{Account, Verdict},
    directory::{Line, LineId, Peer, PeerId},
    exchange::{
        owners::{CallKey, ClientOwner, ClientUse, DialogEnd, LegIndex},
        services::Services,
    },
    fact::What,
    hunt::Hunt,
    identity::Identity,
    kept::{KeptAccount, KeptCall, KeptEnd, KeptParty, KeptStage, KeptWay},
    lines::LegLineState,
    media::MediaCommand,
    record::{CallRecord, EndCause, EndedBy},
    route::Caller,
};

/// Why a form is not gone on with: it says things that no call of ours has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the form says what no call has")]
pub struct Implausible;

impl Call {
    /// The call of a form. [`Call::take_up`] must follow when it is in its place.
    pub fn rebuild(
        services: &mut Services,
        key: CallKey,
        form: &KeptCall<'_>,
        now: Moment,
    ) -> Result<Self, Implausible> {
        let account = &form.account;
        let (tenant, legs) = (account.tenant, &account.legs);
        let first = legs.first().ok_or(Implausible)?;
        let who = match &form.caller {
            KeptParty { is_peer: true, number } => {
                Caller::Peer(peer(services, PeerId(*number), tenant, first.peer))
            }
            KeptParty { is_peer: false, number } => {
                Caller::Line(line(services, LineId(*number), tenant, first.line))
            }
        };
        let invite = form.invite.as_ref().and_then(|invite| request(invite.request));
        let mut call = Self {
            key,
            id: form.id,
            account: None,
            record: None,
            who,
            identity: Identity::new(
                account.caller.into(),
                account.caller_name.map(String::from),
                form.hidden,
            ),
            invite: None,
            request: invite,
            offer: None,
            callee_uri: account.callee.into(),
            callee_user: form.callee_user.into(),
            anchored: form.anchored,
            stage: stage(form, now)?,
            trunk: None,
            hunt: Hunt::resume(
                form.groups
                    .iter()
                    .map(|group| group.iter().filter_map(|kept| way(services, kept, tenant, None)).collect())
                    .collect(),
                form.ways.into(),
                form.refusal.and_then(StatusCode::new),
            ),
            device: None,
            awaited: None,
            asks: Vec::new(),
            tried: Vec::new(),
            legs: Vec::with_capacity(legs.len()),
            served: None,
            modify: None,
            relays: Vec::new(),
            repeatables: Vec::new(),
            peers: form.peers.iter().copied().map(PeerId).collect(),
            reports_due: 0,
            is_broken: false,
            kept: Some(Print::OF_ANOTHER_PROCESS),
            is_touched: false,
            wakes_at: None,
        };
        call.rebuild_legs(services, form, now)?;
        call.rebuild_served(services)?;
        call.offer = call.offer_of(form);
        let record = record(form.id, account);
        if account.is_closed {
            call.record = Some(Arc::new(record));
        } else {
            call.account = Some(Account::resume(record, account.end.as_ref().and_then(verdict)));
        }
        Ok(call)
    }

    /// A leg for each that the record has: those that are over are there only to be counted.
    fn rebuild_legs(
        &mut self,
        services: &mut Services,
        form: &KeptCall<'_>,
        now: Moment,
    ) -> Result<(), Implausible> {
        let mut live = form.legs.iter().peekable();
        for (index, account) in form.account.legs.iter().enumerate() {
            let index = LegIndex::try_from(index).map_err(|_| Implausible)?;
            let leg = match live.next_if(|leg| leg.index == index) {
                Some(kept) => {
                    let name = account.line.or(account.peer);
                    let branch = kept.branch.as_ref();
                    let way = branch.map(|branch| way(services, &branch.way, form.account.tenant, name));
                    let way = way.map(|way| way.ok_or(Implausible)).transpose()?;
                    restored::leg(services, self.key, kept, way, now)?
                }
                None => restored::ended_leg(services, index),
            };
            self.legs.push(leg);
        }
        let callee_is_there = match self.stage {
            Stage::Established { callee, .. } => {
                callee != CALLER && self.legs.get(usize::from(callee)).is_some_and(|leg| leg.branch.is_some())
            }
            _ => true,
        };
        if live.next().is_some() || !callee_is_there { Err(Implausible) } else { Ok(()) }
    }

    /// The caller's offer. Of an answered call only that there was one matters.
    fn offer_of(&self, form: &KeptCall<'_>) -> Option<offhook_sdp::SessionDescription> {
        if form.late {
            return None;
        }
        let of_invite = |request: &Request| super::body::sdp(request.headers(), request.body());
        let caller = self.legs.first()?;
        self.request.as_ref().and_then(of_invite).or_else(|| caller.session.theirs().cloned())
    }

    /// Takes up what leads to the call: tags, transactions, ports, the states of lines. `too_late`: so much time has passed
    /// that the call ends, as of when the process before this one was there last.
    pub fn take_up(
        &mut self,
        services: &mut Services,
        form: &KeptCall<'_>,
        too_late: Option<UtcMillis>,
        now: Moment,
    ) {
        for &peer in &self.peers {
            services.peer_calls.resume(peer);
        }
        for index in 0..self.legs.len() {
            self.take_up_tags(services, index);
            self.take_up_line(services, index, now);
        }
        for (index, ack) in form.legs.iter().filter_map(|leg| Some((leg.index, leg.ack.as_ref()?))) {
            let told = self.legs[usize::from(index)].session.told().filter(|_| ack.answers);
            let answer = told.map(|told| told.text.clone());
            self.write_ack(services, index, ack.cseq, answer.as_deref());
        }
        self.take_up_received(services, form, now);
        if let Some(record) = self.record.clone() {
            // The record was made; whether it is safe nobody knows. It is stored once, however often it is offered.
            services.fact(What::CallEnded(record), now);
        }
        self.hang_up_again(services, now);
        match self.stage {
            Stage::Over { .. } => self.end_again(services, now),
            Stage::Preparing { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                self.decide_as_of(too_late, status, now);
                self.fail(services, EndedBy::Node, status, EndCause::Outage, now);
            }
            Stage::Hunting { .. } => {
                self.take_up_media(services, now);
                self.take_up_invites(services, form, now);
                // A caller whose connection is gone cannot be told of an answer.
                if too_late.is_some() || self.legs.first().is_some_and(Leg::is_cut_off) {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    self.decide_as_of(too_late, status, now);
                    self.fail(services, EndedBy::Node, status, EndCause::Outage, now);
                }
            }
            Stage::Established { .. } | Stage::Served { .. } => {
                self.take_up_media(services, now);
                self.take_up_invites(services, form, now);
                match self.stage {
                    Stage::Established { callee, .. } => self.join_media(services, [CALLER, callee], now),
                    _ => self.take_up_served(services, now),
                }
                self.await_connections(services, now);
                if too_late.is_some() {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    self.decide_as_of(too_late, status, now);
                    self.hang_up_both(services, EndedBy::Node, EndCause::Outage, status, now);
                }
            }
        }
    }

    /// The call ended when the process before this one did, whenever that is found out.
    fn decide_as_of(&mut self, last_alive: Option<UtcMillis>, status: StatusCode, now: Moment) {
        let latest = |record: &CallRecord| record.answered.max(record.ringing).unwrap_or(record.started);
        let Some(account) = &self.account else { return };
        let utc = last_alive.map_or(now.utc, |alive| alive.max(latest(account.so_far())));
        let verdict = Verdict { by: EndedBy::Node, cause: EndCause::Outage, status };
        self.decide(verdict, Moment { utc, ..now });
    }

    fn take_up_tags(&self, services: &mut Services, index: usize) {
        let leg = &self.legs[index];
        if leg.state == LegState::Ended && !leg.hanging_up {
            return;
        }
        let end = DialogEnd { call: self.key, leg: leg.index, faces_caller: false };
        if leg.index != CALLER || leg.dialog.is_some() {
            services.owners.tag_used(leg.tag, end);
        }
        if let Some(facing) = leg.branch.as_ref().and_then(|branch| branch.facing.as_ref())
            && self.legs.first().is_none_or(|caller| caller.tag != facing.tag)
        {
            services.owners.tag_used(facing.tag, DialogEnd { faces_caller: true, ..end });
        }
    }

    fn take_up_line(&mut self, services: &mut Services, index: usize, now: Moment) {
        let leg = &self.legs[index];
        let state = match leg.state {
            LegState::Starting | LegState::Ringing if leg.branch.is_some() => LegLineState::Ringing,
            LegState::Starting | LegState::Ringing => LegLineState::Busy,
            LegState::Up if leg.holds => LegLineState::Held,
            LegState::Up => LegLineState::Busy,
            LegState::Cancelling | LegState::Leaving | LegState::Ended => return,
        };
        self.set_line_state(services, leg.index, Some(state), now);
    }

    /// The INVITEs that were received: what repeats them, cancels them or awaits their answer finds the call.
    fn take_up_received(&mut self, services: &mut Services, form: &KeptCall<'_>, now: Moment) {
        if let (Some(kept), Some(request), Some(flow)) =
            (&form.invite, self.request.clone(), self.flow_of(CALLER))
        {
            let stage = match kept.is_pending {
                true => Received::Pending(kept.provisional.map(Bytes::copy_from_slice)),
                false => Received::Accepted,
            };
            if let Some((key, request)) = services.layer.resume_received(request, flow, stage, now.instant) {
                services.owners.invite_received(key, self.key);
                self.request = Some(request.clone());
                self.invite = kept.is_pending.then_some(Pending { key, request });
            }
        }
        if let Some(kept) = &form.reinvite
            && let (Some(request), Some(flow)) = (request(kept.request), self.flow_of(kept.leg))
            && let Some((key, request)) =
                services.layer.resume_received(request, flow, Received::Pending(None), now.instant)
        {
            // What the other side has made of it is not known. Who asked asks again (RFC 3261 §14.1).
            services.refuse(&Pending { key, request }, StatusCode::REQUEST_PENDING, now);
        }
    }

    /// The INVITEs that were sent: their responses find the call, and those that were given up are given up again.
    fn take_up_invites(&mut self, services: &mut Services, form: &KeptCall<'_>, now: Moment) {
        for kept in &form.legs {
            let Some(invite) = kept.branch.as_ref().and_then(|branch| branch.invite) else { continue };
            let number = kept.index;
            if self.leg(number).is_cut_off() && self.leg(number).is_hunted() {
                self.invite_unanswered(services, number, StatusCode::SERVICE_UNAVAILABLE, now);
                continue;
            }
            let invite = Bytes::copy_from_slice(invite);
            let Some(branch) = restored::branch_of(&invite) else { continue };
            let leg = &mut self.legs[usize::from(kept.index)];
            let has_progressed = kept.branch.as_ref().is_some_and(|branch| branch.has_progressed);
            let sent =
                services.layer.resume_sent(&branch, invite, leg.destination, has_progressed, now.instant);
            let Ok(client) = sent else { continue };
            let owner = ClientOwner { call: self.key, leg: kept.index, purpose: ClientUse::Invite };
            services.owners.client_started(client, owner);
            if let Some(branch) = &mut leg.branch {
                branch.invite = Some(client);
            }
            if leg.state == LegState::Cancelling {
                services.layer.cancel(client, None, now.instant);
            }
        }
        for index in 0..self.legs.len() {
            let leg = &self.legs[index];
            let has_invite = leg.branch.as_ref().is_some_and(|branch| branch.invite.is_some());
            let number = leg.index;
            match leg.state {
                // Its INVITE had not gone out yet, for want of ports.
                LegState::Starting if leg.branch.is_some() && !has_invite && leg.session.is_open() => {
                    self.send_invite(services, number, now);
                }
                LegState::Cancelling if !has_invite => self.end_leg(services, number, Some(487), now),
                _ => {}
            }
        }
    }

    /// The ports that the legs had, or fresh ones for those that had none yet.
    fn take_up_media(&mut self, services: &mut Services, now: Moment) {
        for leg in &mut self.legs {
            let Some(endpoint) = leg.session.endpoint() else { continue };
            self.reports_due += 1;
            let local = leg.destination.local().ip();
            leg.ports_until = Some(now.instant + PORTS_PATIENCE);
            services.media(match leg.session.ports() {
                [] => MediaCommand::Open { endpoint, local, streams: 1 },
                ports => MediaCommand::Reopen {
                    endpoint,
                    local,
                    rtp_ports: ports.to_vec(),
                    notes: leg.session.notes().to_vec(),
                },
            });
        }
    }

    /// A BYE that nobody has answered is sent again: to a device that answered beside another, too.
    fn hang_up_again(&mut self, services: &mut Services, now: Moment) {
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            if std::mem::take(&mut leg.hanging_up) {
                let number = leg.index;
                self.send_bye(services, number, None, now);
            }
        }
    }

    /// The call was over, and its legs were being told: they are told again.
    fn end_again(&mut self, services: &mut Services, now: Moment) {
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            let number = leg.index;
            match leg.state {
                _ if leg.hanging_up => {}
                // Who has not acknowledged our 2xx may not have got it: it is repeated, and the BYE follows its ACK.
                LegState::Leaving if leg.accepted.is_some() => {}
                LegState::Leaving => self.say_goodbye(services, number, now),
                LegState::Ended => {}
                _ => self.end_leg(services, number, None, now),
            }
        }
        self.conclude(services, now);
    }

    /// The way that a leg's messages come by.
    fn flow_of(&self, leg: LegIndex) -> Option<Flow> {
        match self.legs.get(usize::from(leg))?.destination {
            Destination::Flow(flow) => Some(flow),
            Destination::Address { .. } => None,
        }
    }
}

fn stage(form: &KeptCall<'_>, now: Moment) -> Result<Stage, Implausible> {
    let until = instant(form.until, now);
    Ok(match (form.stage, form.ring_until, form.callee) {
        (KeptStage::Preparing, ..) => Stage::Preparing { give_up_at: until },
        (KeptStage::Hunting, Some(ring_until), _) => {
            Stage::Hunting { ring_until: instant(ring_until, now), give_up_at: until }
        }
        (KeptStage::Established, _, Some(callee)) => Stage::Established { callee, end_at: until },
        (KeptStage::Served, ..) => Stage::Served { end_at: until },
        (KeptStage::Over, ..) => Stage::Over { forget_at: now.instant + super::LINGER_MAX },
        _ => return Err(Implausible),
    })
}

/// A date as a deadline; one that has passed is now.
pub(super) fn instant(at: UtcMillis, now: Moment) -> Instant {
    now.instant + at.saturating_since(now.utc)
}

fn record(id: crate::record::CallId, kept: &KeptAccount<'_>) -> CallRecord {
    let personal = |text: &str, subject| Personal::new(text.to_string(), subject);
    let end = kept.end.as_ref();
    let mut record = CallRecord {
        id,
        tenant: kept.tenant.into(),
        caller: personal(kept.caller, DataSubject::Caller),
        caller_name: kept.caller_name.map(|name| personal(name, DataSubject::Caller)),
        callee: personal(kept.callee, DataSubject::Callee),
        started: kept.started,
        ringing: kept.ringing,
        answered: kept.answered,
        ended: end.map_or(kept.started, |end| end.at),
        ended_by: EndedBy::Node,
        cause: EndCause::Failed,
        sip_status: 500,
        q850: 41,
        legs: kept.legs.iter().map(restored::leg_record).collect(),
    };
    if let Some(KeptEnd { by, cause, status, .. }) = end.filter(|_| kept.is_closed) {
        (record.ended_by, record.cause, record.sip_status) = (*by, *cause, *status);
        record.q850 = crate::account::q850_of(*cause, *status);
    }
    record
}

fn verdict(end: &KeptEnd) -> Option<Verdict> {
    let status = StatusCode::new(end.status)?;
    Some(Verdict { by: end.by, cause: end.cause, status })
}

/// A line of the directory, or what stands for it if it was removed meanwhile.
fn line(services: &Services, id: LineId, tenant: &str, name: Option<&str>) -> Arc<Line> {
    let known = services.directory.line_by_id(id).cloned();
    known.unwrap_or_else(|| Arc::new(Line::removed(id, tenant, name.unwrap_or_default())))
}

fn peer(services: &Services, id: PeerId, tenant: &str, name: Option<&str>) -> Arc<Peer> {
    let known = services.directory.peers().iter().find(|peer| peer.id == id).cloned();
    known.unwrap_or_else(|| Arc::new(Peer::removed(id, tenant, name.unwrap_or_default())))
}

/// A way, by a listener that is there now.
fn way(services: &Services, kept: &KeptWay<'_>, tenant: &str, name: Option<&str>) -> Option<Way> {
    Some(Way {
        request_uri: kept.request_uri.into(),
        destination: restored::destination(&services.settings, &kept.destination)?,
        route: kept.route.iter().map(|&route| route.into()).collect(),
        end: match kept.end {
            KeptParty { is_peer: true, number } => WayEnd::Peer(peer(services, PeerId(number), tenant, name)),
            KeptParty { is_peer: false, number } => {
                WayEnd::Line(line(services, LineId(number), tenant, name))
            }
        },
    })
}

fn request(bytes: &[u8]) -> Option<Request> {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

/// A response as it was received.
pub(super) fn response(bytes: &[u8]) -> Option<Response> {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Response(response)) => Some(response),
        _ => None,
    }
}

//! Who sends a request, and the REGISTER that says where a line's devices are.

use std::sync::Arc;

use offhook_base::Moment;
use offhook_edge::{Standing, Stray};
use offhook_sip::{header::HeaderName, message::StatusCode, transport::Flow};

use super::{Exchange, requests::Incoming, services::Services};
use crate::{
    directory::LineId,
    fact::Refusal,
    gate::{Denied, Proof, Surroundings},
    route::Caller,
};

impl Exchange {
    /// Who sends the request: a peer by its address, or a line or a peer by its credentials. `None`: it was answered.
    pub(super) fn caller(&mut self, incoming: &Incoming, now: Moment) -> Option<Caller> {
        match self.services.directory.peer_at(incoming.flow.remote.ip()).cloned() {
            Some(peer) => Some(Caller::Peer(peer)),
            None => self.authenticate(incoming, now).map(|proof| match proof {
                Proof::Line(authenticated) => Caller::Line(Arc::clone(authenticated.line())),
                Proof::Peer(peer) => Caller::Peer(peer),
            }),
        }
    }

    /// Lets the request through the gate, or answers it.
    fn authenticate(&mut self, incoming: &Incoming, now: Moment) -> Option<Proof> {
        let tag = self.services.layer.lasting_tag(incoming.key);
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
        match gate.authenticate_caller(
            &incoming.request,
            &around,
            &mut self.edge,
            tag.as_str(),
            &mut self.services.buffer,
        ) {
            Ok(authenticated) => Some(authenticated),
            Err(denied) => {
                self.deny(incoming, denied, now);
                None
            }
        }
    }

    fn deny(&mut self, incoming: &Incoming, denied: Denied, now: Moment) {
        let Denied { response, refusal, banned, .. } = denied;
        if let Some(banned) = banned {
            self.tell_of_ban(banned, now);
        }
        if let Some(why) = refusal {
            self.refused(why, incoming.flow, now);
            return self.services.respond(incoming.key, response, now);
        }
        if self.standing == Standing::Stranger {
            let Flow { remote, transport, .. } = incoming.flow;
            self.strayed(incoming.flow, Stray::Challenged, now);
            let asked = incoming.request.bytes().len();
            if !self.edge.may_answer(remote, asked, response.len(), transport.is_reliable()) {
                return self.services.layer.forget_unanswered(incoming.key);
            }
        }
        self.services.layer.respond_once(incoming.key, response);
    }

    pub(super) fn register(&mut self, incoming: &Incoming, now: Moment) {
        // A peer's login passes for calls only.
        let Some(Proof::Line(who)) = self.authenticate(incoming, now) else { return };
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
        let Services { registrar, buffer, .. } = services;
        let answered = registrar.register(&incoming.request, &who, &incoming.flow, now, tag.as_str(), buffer);
        services.respond(incoming.key, answered.response, now);
        if let Some(until) = answered.registered_until {
            edge.registered(incoming.flow.remote, until);
            self.wake_calls(who.line().id, now);
            self.reconnect_calls(who.line().id, incoming, now);
        }
        if let Some(why) = answered.refusal {
            self.refused(why, incoming.flow, now);
        }
    }

    /// A call that has lost the connection of a device of this line goes on by this one.
    fn reconnect_calls(&mut self, line: LineId, incoming: &Incoming, now: Moment) {
        let calls = self.services.adrift.of(line).to_vec();
        if calls.is_empty() || incoming.flow.connection.is_none() {
            return;
        }
        let is_only = self.services.registrar.binding_count(line, now.instant) == 1;
        for key in calls {
            self.with_call(key, |call, services| {
                call.device_reconnected(services, line, &incoming.request, incoming.flow, is_only);
            });
        }
    }

    /// Calls that wait for a device of this line go on.
    fn wake_calls(&mut self, line: LineId, now: Moment) {
        for key in self.services.sleepers.of(line).to_vec() {
            self.with_call(key, |call, services| call.device_registered(services, now));
        }
    }
}

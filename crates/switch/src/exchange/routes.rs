//! Which way a call goes, for the call itself and for an operator who asks.

use std::sync::Arc;

use offhook_base::{Moment, Purpose};
use offhook_sip::{transport::Flow, uri::Uri};

use super::{Exchange, services::Services};
use crate::{
    identity::Identity,
    route::{self, Caller, NoRoute, Query, Route},
    routing::{Fleet, Silent, Teller},
};

/// "Where would this call go?"
#[derive(Clone, Debug)]
pub struct RouteQuestion {
    /// The caller's tenant.
    pub tenant: Box<str>,
    /// Who calls: a line's name, or `peer:NAME`.
    pub from: Box<str>,
    /// The number that a peer's call comes from; a line's is its name.
    pub caller_number: Option<Box<str>>,
    /// What is dialled.
    pub number: Box<str>,
    /// When.
    pub at: offhook_base::UtcMillis,
}

/// The answer. It has numbers and names: it is for the operator who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteExplained {
    /// How the decision is made, step by step.
    pub steps: Vec<String>,
    /// Whether the call goes anywhere.
    pub reaches: bool,
    /// In one sentence.
    pub outcome: String,
}

/// Nobody of that name can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCaller;

impl Exchange {
    /// Where a call of `who` goes.
    pub(super) fn route(
        &mut self,
        who: &Caller,
        identity: &Identity,
        uri: &Uri<'_>,
        user: &str,
        (flow, now): (Flow, Moment),
    ) -> Result<Route, NoRoute> {
        let domain_is_ours = self.services.serves(uri, flow.local.ip(), who.tenant());
        let Services { directory, settings, peer_calls, turns, probes, random, .. } = &mut self.services;
        // Only routes ask for the caller's number.
        let routes = directory.routing().of(who.tenant()).is_some();
        let caller =
            if routes { Uri::parse(identity.uri().disclose(Purpose::Signalling)).ok() } else { None };
        let caller_number = caller.as_ref().and_then(Uri::user_unescaped).unwrap_or_default();
        let mut fleet = Fleet { calls: peer_calls, turns, probes, now: now.instant, random };
        let query = Query {
            directory,
            settings,
            caller: who,
            caller_number: &caller_number,
            number: user,
            domain_is_ours,
            at: now.utc,
        };
        route::decide(&query, &mut fleet, &mut Silent)
    }

    /// Where a call would go now, and why. It changes nothing: no turn is taken.
    ///
    /// # Errors
    /// There is no such caller.
    pub fn explain_route(&mut self, question: &RouteQuestion) -> Result<RouteExplained, UnknownCaller> {
        let Services { directory, settings, peer_calls, turns, probes, random, .. } = &mut self.services;
        let caller = match question.from.strip_prefix("peer:") {
            Some(name) => {
                let mut peers = directory.peers().iter();
                let found = peers.find(|peer| peer.tenant == question.tenant && *peer.name == *name);
                Caller::Peer(Arc::clone(found.ok_or(UnknownCaller)?))
            }
            None => {
                let name = question.from.strip_prefix("line:").unwrap_or(&question.from);
                Caller::Line(Arc::clone(directory.line(&question.tenant, name).ok_or(UnknownCaller)?))
            }
        };
        let own = caller.line().map_or("", |line| &line.name);
        let mut steps = Vec::new();
        steps.tell(|| match &caller {
            Caller::Line(line) => format!("caller: line {} of tenant {}", line.name, line.tenant),
            Caller::Peer(peer) => format!("caller: peer {} of tenant {}", peer.name, peer.tenant),
        });
        let mut turns = turns.clone();
        let mut fleet = Fleet { calls: peer_calls, turns: &mut turns, probes, now: self.now.instant, random };
        let query = Query {
            directory,
            settings,
            caller: &caller,
            caller_number: question.caller_number.as_deref().unwrap_or(own),
            number: &question.number,
            domain_is_ours: true,
            at: question.at,
        };
        let route = route::decide(&query, &mut fleet, &mut steps);
        let outcome = match &route {
            Ok(Route::Line(line)) => format!("it rings line {}", line.name),
            Ok(Route::Peer(peer)) => format!("it goes to peer {} as {}", peer.name, question.number),
            Ok(Route::Trunks(trunks)) => {
                let tries =
                    trunks.untried.iter().map(|trunk| format!("{} as {}", trunk.peer.name, trunk.number));
                format!("it goes to peer {}", tries.collect::<Vec<_>>().join(", then to "))
            }
            Ok(Route::Service(service)) => format!("the node answers itself ({service:?})"),
            Err(why) => {
                let (status, _) = why.answer();
                format!("it is refused with {} {}", status.as_u16(), status.default_reason())
            }
        };
        Ok(RouteExplained { steps, reaches: route.is_ok(), outcome })
    }
}

//! Requests of those whom nobody knows: what is worth work and an answer, and what is not.
//!
//! A stranger hears of us only where a phone would before it has proved itself: a challenge, if he registers, calls or writes to
//! a domain of ours. To all else there is silence, so that who searches the net for telephone systems finds none here, and
//! whose address was forged is not bothered. It costs no transaction.

use offhook_base::Moment;
use offhook_edge::{BannedSource, Reason, Stray};
use offhook_sip::{
    header::HeaderName,
    message::{
        Method, Request,
        validate::{has_known_scheme, unsupported_extensions},
    },
    transport::Flow,
};

use super::Exchange;
use crate::{
    capabilities::REQUIRABLE,
    fact::What,
    gate::{self, Surroundings},
};

impl Exchange {
    /// Whether a stranger's request is worked on; else it was counted against him, and he hears nothing.
    pub(super) fn is_welcome(&mut self, request: &Request, flow: Flow, now: Moment) -> bool {
        if self.calls_itself_scanner(request, flow) {
            self.strayed(flow, Stray::Scanner, now);
            return false;
        }
        if self.edge.answers_strangers() || self.may_be_for_us(request, flow, now) {
            return true;
        }
        self.unwelcome(flow, now);
        false
    }

    /// Counts something of a stranger's that is nothing for us.
    pub(super) fn unwelcome(&mut self, flow: Flow, now: Moment) {
        self.edge.note(Reason::Unwelcome, flow.remote);
        self.strayed(flow, Stray::Unwelcome, now);
    }

    /// Holds something against a stranger, and tells if he is banned for it.
    pub(super) fn strayed(&mut self, flow: Flow, stray: Stray, now: Moment) {
        let is_proven = flow.transport.is_reliable();
        if let Some(banned) = self.edge.strayed(flow.remote, stray, is_proven, now.instant) {
            self.tell_of_ban(banned, now);
        }
    }

    pub(super) fn tell_of_ban(&mut self, banned: BannedSource, now: Moment) {
        self.services.fact(What::Banned(banned), now);
    }

    fn calls_itself_scanner(&mut self, request: &Request, flow: Flow) -> bool {
        let headers = request.headers();
        let names = [HeaderName::UserAgent, HeaderName::From].map(|name| headers.all(&name).next());
        self.edge.is_scanner(flow.remote, names.into_iter().flatten())
    }

    fn may_be_for_us(&self, request: &Request, flow: Flow, now: Moment) -> bool {
        let services = &self.services;
        let method = request.method();
        // An ACK is never answered, and what came before is answered as before.
        if *method == Method::Ack || services.layer.knows(request, flow) {
            return true;
        }
        if *method == Method::Cancel {
            return services.layer.knows_cancelled(request, flow);
        }
        if let Some(tag) = request.headers().to().ok().and_then(|to| to.tag()) {
            return services.owners.dialog(tag).is_some();
        }
        let local = flow.local.ip();
        let is_our_host = |host: &str| services.settings.is_our_host(host, local);
        let around = Surroundings {
            source: flow.remote,
            directory: &services.directory,
            is_our_host: &is_our_host,
            now,
        };
        matches!(method, Method::Register | Method::Invite | Method::Message)
            && has_known_scheme(request)
            && unsupported_extensions(request, REQUIRABLE).next().is_none()
            && gate::is_to_tenant(request, &around)
    }
}

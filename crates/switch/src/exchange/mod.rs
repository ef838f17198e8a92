//! An exchange: registrar, lines and calls behind one input and one output. The same value runs in a node's worker and
//! in the simulator.
//!
//! Contract: one [`Input`] with the time, or all of a turn, then [`Exchange::poll_output`] until [`Output::Timeout`].

mod calls;
mod courier;
mod domains;
pub mod event;
mod incoming;
mod invites;
mod overload;
pub mod owners;
mod probing;
mod recover;
mod registrations;
mod requests;
mod responses;
mod resume;
mod routes;
mod ruled;
pub mod services;
mod sleepers;
mod stateless;
mod strangers;

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use bytes::BytesMut;
use offhook_base::{DataSubject, Instant, Moment, Personal, Random};
use offhook_edge::{Edge, EdgeLimits, EdgeOverview, Overload, Restraint, SourceView, Standing};
use offhook_sip::{
    message::Request,
    transaction::{self, LayerConfig, ServerKey, TransactionLayer},
};

use self::{
    calls::Calls, courier::Couriers, owners::Owners, probing::Probing, services::Services,
    sleepers::Sleepers, stateless::StatelessTags,
};
pub use self::{
    event::{Answer, Ask, AskId, Hop, Input, Output},
    overload::OverloadGauges,
    resume::{Kept, Resumed},
    routes::{RouteExplained, RouteQuestion, UnknownCaller},
};
pub use crate::peer_calls::PeerCounters;
use crate::{
    directory::Directory,
    fact::What,
    gate::Gate,
    lines::Lines,
    peer_calls::PeerCalls,
    record::CallRecord,
    registrar::{Registrar, RegistrarConfig, StoredBinding},
    routing::{ProbeCounters, Probes, Turns},
    settings::Settings,
    summary::{CallSummary, LineSummary, RegistrationSummary},
};

/// Nonces whose uses are counted at once. 64 octets each.
const NONCES_MAX: usize = 131_072;

/// How long a nonce may be used before the device is asked for a fresh one.
const NONCE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(300);

/// What an exchange is made of.
pub struct ExchangeConfig {
    /// The operator's settings.
    pub settings: Settings,
    /// What the registrar grants.
    pub registrar: RegistrarConfig,
    /// What sources may do.
    pub limits: EdgeLimits,
    /// Who there is.
    pub directory: Arc<Directory>,
    /// Makes nonces and temporary GRUUs; the same after a restart.
    pub secret: [u8; 32],
    /// Makes tags, branches, Call-IDs.
    pub random: Random,
}

/// One exchange.
pub struct Exchange {
    services: Services,
    calls: Calls,
    couriers: Couriers,
    probing: Probing,
    edge: Edge,
    stateless_tags: StatelessTags,
    /// Whose message is worked on.
    standing: Standing,
    gate: Gate,
    overload: Overload,
    /// New calls are not taken for now.
    holding: bool,
    draining: bool,
    /// When the latest input came.
    now: Moment,
    /// The call that is being worked on: the one to give up if that panics.
    at_work: Option<owners::CallKey>,
    /// The request that is being worked on: the one to answer with 500 if that panics.
    answering: Option<(ServerKey, Request)>,
}

impl Exchange {
    /// An exchange without registrations or calls.
    pub fn new(config: ExchangeConfig) -> Self {
        let ExchangeConfig { settings, registrar, limits, directory, secret, mut random } = config;
        let layer_config = LayerConfig { timers: settings.timers, ..LayerConfig::default() };
        let gate = Gate::new(&secret, NONCE_LIFETIME, NONCES_MAX, &settings.digest, random.fork());
        // One way only: nothing of the secret can be learnt from what passes.
        let mut drawn = Random::from_seed(secret);
        let mut probes = Probes::default();
        // There is no time yet: those that are there at the start are asked with the first of it.
        probes.directory_changed(&directory, &mut drawn, Instant::default());
        Self {
            services: Services {
                layer: TransactionLayer::new(layer_config, random.fork()),
                registrar: Registrar::new(registrar, &secret),
                settings: Arc::new(settings),
                directory,
                lines: Lines::default(),
                peer_calls: PeerCalls::default(),
                probes,
                turns: Turns::default(),
                restraint: Restraint::new(random.next_u64()),
                random,
                owners: Owners::default(),
                sleepers: Sleepers::default(),
                adrift: Sleepers::default(),
                form: Vec::new(),
                buffer: BytesMut::with_capacity(services::BUFFER_BYTES),
                outputs: VecDeque::new(),
                #[cfg(test)]
                traps: VecDeque::new(),
                #[cfg(test)]
                request_trap: false,
            },
            calls: Calls::default(),
            couriers: Couriers::default(),
            probing: Probing::default(),
            edge: Edge::new(&limits, drawn.next_u64()),
            stateless_tags: StatelessTags::new(&mut drawn),
            standing: Standing::Stranger,
            gate,
            overload: Overload::new(&limits.overload, drawn.next_u64()),
            holding: false,
            draining: false,
            now: Moment::default(),
            at_work: None,
            answering: None,
        }
    }

    /// Takes up the registrations of an earlier process.
    pub fn restore(&mut self, bindings: impl IntoIterator<Item = Arc<StoredBinding>>, now: Moment) {
        let Services { registrar, directory, settings, .. } = &mut self.services;
        registrar.restore(bindings, directory, &settings.listeners, now);
        self.gather_facts();
    }

    /// One thing that happened.
    pub fn handle(&mut self, input: Input, now: Moment) {
        self.now = now;
        match input {
            Input::Received { flow, bytes } => self.receive(flow, bytes, now),
            Input::ConnectionClosed(connection) => self.services.registrar.connection_closed(connection, now),
            Input::TransmitFailed(token) => self.services.layer.transport_failed(token, now.instant),
            Input::Media(event) => self.media_spoke(event, now),
            Input::Answer(answer) => self.answered(answer, now),
            Input::Directory(directory) => {
                self.services.registrar.directory_changed(&directory, now);
                let Services { peer_calls, probes, random, .. } = &mut self.services;
                peer_calls.directory_changed(&directory);
                probes.directory_changed(&directory, random, now.instant);
                self.services.directory = directory;
            }
            Input::Lists(lists) => self.edge.set_lists(lists),
            Input::Ban { address, time } => {
                let banned = self.edge.ban_by_operator(address, time, now.instant);
                self.tell_of_ban(banned, now);
            }
            Input::Pardon(address) => {
                if self.edge.pardon(address, now.instant) {
                    let address = Personal::new(address, DataSubject::RemoteParty);
                    self.services.fact(What::Pardoned(address), now);
                }
            }
            Input::HangUp(id) => {
                let key = self.calls.iter().find(|(_, call)| call.id() == Some(id)).map(|(key, _)| key);
                if let Some(key) = key {
                    self.with_call(key, |call, services| call.end_by_node(services, now));
                }
            }
            Input::Hold(holding) => self.holding = holding,
            Input::Drain => self.draining = true,
            Input::EndAll => {
                self.draining = true;
                let keys: Vec<_> = self.calls.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.with_call(key, |call, services| call.end_by_node(services, now));
                }
            }
            Input::Timeout => self.time_passed(now),
        }
        self.pump(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.services.outputs.pop_front() {
                return output;
            }
            // Only when all that the input has brought is on its way: what a call goes through at once is one form.
            if !self.calls.keep_touched(&mut self.services, self.now) {
                return Output::Timeout(self.next_timeout());
            }
        }
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        // The layer was drained by `pump`, so what it gives now is its next deadline.
        let layer = match self.services.layer.poll_output() {
            transaction::Output::Timeout(at) => at,
            _ => None,
        };
        let probes = self.services.probes.next_at();
        [layer, self.calls.next_deadline(), self.services.registrar.next_timeout(), probes]
            .into_iter()
            .flatten()
            .min()
    }

    fn time_passed(&mut self, now: Moment) {
        self.services.layer.handle_timeout(now.instant);
        self.pump(now);
        while let Some(key) = self.calls.pop_due(&mut self.services, now.instant) {
            self.with_call(key, |call, services| call.handle_timeout(services, now));
        }
        if self.services.probes.next_at().is_some_and(|at| at <= now.instant) {
            self.probe_peers(now);
        }
        if self.services.registrar.next_timeout().is_some_and(|at| at <= now.instant) {
            self.services.registrar.handle_timeout(now);
        }
    }

    /// Works on what the transaction layer hands up, until it has nothing more.
    fn pump(&mut self, now: Moment) {
        use transaction::Output as Layer;
        loop {
            match self.services.layer.poll_output() {
                Layer::Transmit { to, bytes, token } => {
                    self.services.outputs.push_back(Output::Transmit { to, bytes, token });
                }
                Layer::Request { key, request, flow } => {
                    self.answering = Some((key, request.clone()));
                    self.request(key, request, flow, now);
                    self.answering = None;
                    // Who calls hears at once that its INVITE is being worked on: ports and DNS take their time.
                    self.services.layer.hasten_trying(key, now.instant);
                }
                Layer::Ack { ack, .. } => self.ack(&ack, now),
                Layer::Cancelled { invite, cancel } => self.cancelled(invite, &cancel, now),
                Layer::Response { key, response, .. } => self.response(key, &response, now),
                Layer::StrayResponse { response, .. } => self.stray_response(&response),
                Layer::TimedOut { key } => {
                    self.no_answer(key, offhook_sip::message::StatusCode::REQUEST_TIMEOUT, now)
                }
                Layer::TransportFailed { key } => {
                    self.no_answer(key, offhook_sip::message::StatusCode::SERVICE_UNAVAILABLE, now);
                }
                Layer::Terminated { key } => self.terminated(key, now),
                Layer::Timeout(_) => break,
            }
        }
        self.gather_facts();
    }

    fn gather_facts(&mut self) {
        let Services { registrar, lines, outputs, .. } = &mut self.services;
        let bindings = std::iter::from_fn(|| registrar.poll_fact());
        let states = std::iter::from_fn(|| lines.poll_fact());
        outputs.extend(bindings.chain(states).map(Output::Fact));
    }

    fn with_call(&mut self, key: owners::CallKey, act: impl FnOnce(&mut crate::call::Call, &mut Services)) {
        self.at_work = Some(key);
        if let Some(call) = self.calls.get_mut(key) {
            act(call, &mut self.services);
        }
        self.calls.settle(key, &mut self.services);
        self.at_work = None;
    }

    /// Calls that are on now.
    pub fn calls(&self) -> Vec<CallSummary> {
        self.calls.iter().filter_map(|(_, call)| call.summary()).collect()
    }

    /// The account so far of the call that a message with this Call-ID header belongs to. Looks at every call: for
    /// traces, not for the path of a message.
    pub fn account_of(&self, sip_call_id: &str) -> Option<&CallRecord> {
        let mut accounts = self.calls.iter().filter_map(|(_, call)| call.account_so_far());
        accounts.find(|record| {
            let mut ids =
                record.legs.iter().map(|leg| leg.sip_call_id.disclose(offhook_base::Purpose::Operation));
            ids.any(|id| id == sip_call_id)
        })
    }

    /// Contacts that are bound now.
    pub fn registrations(&self, now: Instant) -> Vec<RegistrationSummary> {
        self.services.registrar.registrations(&self.services.directory, now)
    }

    /// Lines that are in a call now.
    pub fn lines(&self, now: Instant) -> Vec<LineSummary> {
        self.services.lines.summaries(|line| self.services.registrar.binding_count(line, now))
    }

    /// Who sends most, and who is banned: at most `bans_max` of these.
    pub fn edge_overview(&mut self, bans_max: usize, now: Instant) -> EdgeOverview {
        self.edge.overview(bans_max, now)
    }

    /// What the guard knows of an address.
    pub fn look_at_source(&self, address: IpAddr, now: Instant) -> SourceView {
        self.edge.look_at(address, now)
    }

    /// How much of everything there is and was.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            calls: self.calls.len(),
            messages: self.couriers.len(),
            bindings: self.services.registrar.len(),
            transactions: self.services.layer.len(),
            tables: self.services.owners.sizes(),
            edge: self.edge.counters(),
            transaction_counters: *self.services.layer.counters(),
            overload: self.overload_gauges(),
            peers: self.services.peer_calls.counters(),
            probes: self.services.probes.counters(),
            draining: self.draining,
        }
    }
}

/// The sizes of an exchange's tables and what its guards have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls, those included that only wait for their last transactions.
    pub calls: usize,
    /// Messages on their way outside of calls.
    pub messages: usize,
    /// Contacts.
    pub bindings: usize,
    /// Transactions.
    pub transactions: usize,
    /// Entries that lead to calls: clients, INVITEs, tags, endpoints, questions.
    pub tables: [usize; 5],
    /// What the edge has counted.
    pub edge: offhook_edge::Counters,
    /// What the transaction layer has counted.
    pub transaction_counters: transaction::Counters,
    /// What is let in of what comes.
    pub overload: OverloadGauges,
    /// Peers without room, and calls that went on to the next.
    pub peers: PeerCounters,
    /// What came of asking peers whether they are there.
    pub probes: ProbeCounters,
    /// No new calls are taken.
    pub draining: bool,
}

//! The node: the real exchange, and what of its facts outlives a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use offhook_base::Moment;
use offhook_switch::{
    directory::LineId,
    exchange::{Exchange, ExchangeConfig},
    fact::{Fact, LineState, StoredBinding, What},
    record::{CallId, CallRecord, EndCause, LegRole},
};

use crate::media::Engine;

/// A node that runs or is down.
pub struct Node {
    /// `None` while it is down.
    pub running: Option<Running>,
    /// What it has written down.
    pub state: NodeState,
    /// Where the media engine of its next life begins.
    pub next_port: u16,
}

/// A running node.
pub struct Running {
    /// The exchange.
    pub exchange: Exchange,
    /// Its media engine.
    pub engine: Engine,
}

/// What was made durable: facts as the store would keep them.
#[derive(Debug, Default)]
pub struct NodeState {
    /// Registrations by line and key.
    pub bindings: BTreeMap<(LineId, Box<str>), StoredBinding>,
    /// Call records in the order of the calls' ends.
    pub records: Vec<Arc<CallRecord>>,
    /// Calls begun and not ended.
    pub open: BTreeSet<CallId>,
    /// Calls that were lost by a crash of the node.
    pub lost: BTreeSet<CallId>,
    /// All calls ever begun.
    pub started: BTreeSet<CallId>,
    /// Lines that are not idle, by the latest fact.
    pub lines: BTreeMap<LineId, LineState>,
    /// Every fact, in order.
    pub facts: Vec<Fact>,
    /// Rules that were broken.
    pub violations: Vec<String>,
}

impl Node {
    /// A node that starts, with whatever an earlier life has left.
    pub fn start(&mut self, config: ExchangeConfig, engine: Engine, now: Moment) {
        let mut exchange = Exchange::new(config);
        let bindings: Vec<StoredBinding> = self.state.bindings.values().cloned().collect();
        exchange.restore(&bindings, now);
        self.running = Some(Running { exchange, engine });
    }

    /// The node dies at once.
    pub fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            self.next_port = running.engine.next_port();
        }
        let lost = std::mem::take(&mut self.state.open);
        self.state.lost.extend(lost);
        self.state.lines.clear();
    }
}

impl NodeState {
    /// Takes note of a fact as the store would.
    pub fn take(&mut self, fact: Fact) {
        match &fact.what {
            What::CallStarted { call, .. } => {
                if !self.started.insert(*call) {
                    self.violations.push(format!("call {call} started twice"));
                }
                self.open.insert(*call);
            }
            What::CallEnded(record) => {
                if !self.open.remove(&record.id) {
                    self.violations.push(format!("call {} has a second record, or never began", record.id));
                }
                self.check(record);
                self.records.push(Arc::clone(record));
            }
            What::LineChanged { line, state: LineState::Idle } => {
                self.lines.remove(line);
            }
            What::LineChanged { line, state } => {
                self.lines.insert(*line, *state);
            }
            What::Bound(binding) => {
                self.bindings.insert((binding.line, binding.key.clone()), (**binding).clone());
            }
            What::Unbound { line, key, .. } => {
                self.bindings.remove(&(*line, key.clone()));
            }
            _ => {}
        }
        self.facts.push(fact);
    }

    /// What a record says must hang together: times in their order, legs and cause that fit to whether it was answered.
    fn check(&mut self, record: &CallRecord) {
        use EndCause::{
            Busy, Cancelled, Declined, HungUp, MediaSilence, NoAnswer, NotFound, NotPermitted, NotRegistered,
            TooLong,
        };
        let answered = record.answered.is_some();
        let fits = match record.cause {
            HungUp | MediaSilence | TooLong => answered,
            Busy | Cancelled | Declined | NoAnswer | NotFound | NotPermitted | NotRegistered => !answered,
            _ => true,
        };
        let mut roles = record.legs.iter().filter(|leg| leg.answered.is_some()).map(|leg| leg.role);
        let both =
            roles.clone().any(|role| role == LegRole::Caller) && roles.any(|role| role == LegRole::Callee);
        if !fits || (answered && !both) {
            self.violations.push(format!("call {}: {:?}, answered: {answered}", record.id, record.cause));
        }
        let mut times = vec![record.started];
        times.extend(record.ringing);
        times.extend(record.answered);
        times.push(record.ended);
        if !times.is_sorted() {
            self.violations.push(format!("call {}: times out of order", record.id));
        }
        for (index, leg) in record.legs.iter().enumerate() {
            let mut times = vec![record.started, leg.started];
            times.extend(leg.ringing);
            times.extend(leg.answered);
            times.push(leg.ended);
            if !times.is_sorted() {
                self.violations.push(format!("call {}, leg {index}: times out of order", record.id));
            }
        }
    }
}

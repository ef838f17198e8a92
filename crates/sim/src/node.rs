//! The node: the real exchange, and what of its facts outlives a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use offhook_base::{Moment, UtcMillis};
use offhook_switch::{
    directory::LineId,
    exchange::{Exchange, ExchangeConfig, Kept, Resumed},
    fact::{Fact, LineState, What},
    record::{CallId, CallRecord, EndCause, LegRole},
    registrar::StoredBinding,
};

use crate::media::Engine;

/// A node that runs or is down.
pub struct Node {
    /// `None` while it is down.
    pub running: Option<Running>,
    /// What it has written down.
    pub state: NodeState,
    /// When it was there last, before the life it has or will have.
    pub last_alive: UtcMillis,
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

/// The kept form of a call, as the file of calls would have it.
#[derive(Debug)]
pub struct KeptSlot {
    /// The form that was handed out last.
    pub form: Bytes,
    /// No leg of the call is left.
    pub is_forgotten: bool,
}

/// What was made durable: facts as the store would keep them.
#[derive(Debug, Default)]
pub struct NodeState {
    /// Registrations by line and key.
    pub bindings: BTreeMap<(LineId, Box<str>), Arc<StoredBinding>>,
    /// Call records in the order of the calls' ends.
    pub records: Vec<Arc<CallRecord>>,
    /// Records that the writer has not written yet.
    pub waiting: Vec<Arc<CallRecord>>,
    /// Calls begun whose record is not written.
    pub open: BTreeSet<CallId>,
    /// The kept forms of calls.
    pub kept: BTreeMap<CallId, KeptSlot>,
    /// Calls begun in the turn that is on: nobody has heard of them yet.
    begun: Vec<CallId>,
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
    pub fn start(&mut self, config: ExchangeConfig, engine: Engine, now: Moment) -> Resumed {
        let mut exchange = Exchange::new(config);
        exchange.restore(self.state.bindings.values().cloned(), now);
        let forms: Vec<_> = self.state.kept.iter().map(|(call, slot)| (*call, slot.form.clone())).collect();
        let kept = forms.iter().map(|(call, form)| Kept { call: *call, form });
        let resumed = exchange.resume(kept, self.last_alive, now);
        if !resumed.unreadable.is_empty() {
            self.state.violations.push(format!("kept forms that cannot be read: {resumed:?}"));
        }
        self.running = Some(Running { exchange, engine });
        resumed
    }

    /// The node dies at once.
    pub fn crash(&mut self, now: Moment) {
        if let Some(running) = self.running.take() {
            self.next_port = running.engine.next_port();
        }
        self.last_alive = now.utc;
        let NodeState { open, kept, waiting, begun, started, violations, .. } = &mut self.state;
        // What the record writer had not written yet is gone with it.
        for record in waiting.drain(..) {
            open.insert(record.id);
        }
        // As if there had been nothing: their callers call again.
        for call in begun.drain(..).filter(|call| !kept.contains_key(call)) {
            open.remove(&call);
            started.remove(&call);
        }
        for call in open.iter().filter(|call| !kept.contains_key(call)) {
            violations.push(format!("call {call} has nothing to go on with"));
        }
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
                self.begun.push(*call);
            }
            What::CallEnded(record) => {
                self.end(record);
            }
            What::LineChanged { line, state: LineState::Idle } => {
                self.lines.remove(line);
            }
            What::LineChanged { line, state } => {
                self.lines.insert(*line, *state);
            }
            What::Bound(binding) | What::Refreshed(binding) => {
                self.bindings.insert((binding.line(), binding.key().into()), Arc::clone(binding));
            }
            What::Unbound { line, key, .. } => {
                self.bindings.remove(&(*line, key.clone()));
            }
            _ => {}
        }
        self.facts.push(fact);
    }

    fn end(&mut self, record: &Arc<CallRecord>) {
        if let Some(written) = self.records.iter().find(|written| written.id == record.id) {
            // After a crash nobody knows whether the record was written: it is offered again, and stored once.
            if written != record {
                self.violations.push(format!("call {} has a second record", record.id));
            }
            return;
        }
        if !self.open.remove(&record.id) {
            self.violations.push(format!("call {} never began, or ended twice", record.id));
        }
        self.check(record);
        self.waiting.push(Arc::clone(record));
    }

    /// The turn has left everything as it shall be found by the next life.
    pub fn settled(&mut self) {
        self.begun.clear();
    }

    /// The record writer has written what it had.
    pub fn write_records(&mut self) {
        for record in self.waiting.drain(..) {
            if self.kept.get(&record.id).is_some_and(|slot| slot.is_forgotten) {
                self.kept.remove(&record.id);
            }
            self.records.push(record);
        }
    }

    /// Keeps the form of a call.
    pub fn keep(&mut self, call: CallId, form: Bytes) {
        self.kept.insert(call, KeptSlot { form, is_forgotten: false });
    }

    /// No leg of a call is left: once its record is written, its form is not needed any more.
    pub fn forget(&mut self, call: CallId) {
        if self.records.iter().any(|record| record.id == call) {
            self.kept.remove(&call);
        } else if let Some(slot) = self.kept.get_mut(&call) {
            slot.is_forgotten = true;
        }
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

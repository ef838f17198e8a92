//! Where facts go: records and bindings to the store, all of them to whoever listens, and into the log and the counters.
//!
//! The worker calls [`FactSink::take`] between messages, so nothing here waits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use offhook_base::Purpose;
use offhook_edge::BannedSource;
use offhook_store::{BindingWriter, RecordWriter};
use offhook_switch::fact::{Fact, Refusal, What};
use tokio::sync::broadcast;

use crate::doors::Doors;

/// Facts that a slow listener may lag behind before it misses some.
pub const LISTENER_BACKLOG: usize = 4096;

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct FactCounters {
    /// Calls begun.
    pub calls_started: AtomicU64,
    /// Calls answered.
    pub calls_answered: AtomicU64,
    /// Calls ended, each with its record.
    pub calls_ended: AtomicU64,
    /// Records that found the writer's queue full.
    pub records_refused: AtomicU64,
    /// Bindings added or refreshed.
    pub bindings_written: AtomicU64,
    /// Panics of call control that cost a call: a bug of ours, an alarm if it is not zero.
    pub panics: AtomicU64,
    /// What was refused, by [`Refusal`] in its order.
    pub refused: [AtomicU64; REFUSALS.len()],
}

/// Every reason, in the order of its counter.
pub const REFUSALS: [Refusal; 10] = [
    Refusal::Unparsable,
    Refusal::Malformed,
    Refusal::Unauthenticated,
    Refusal::AuthenticationRate,
    Refusal::Rate,
    Refusal::ForeignDomain,
    Refusal::NotPermitted,
    Refusal::Unsupported,
    Refusal::Overloaded,
    Refusal::Stray,
];

/// The worker's end of the stream of facts.
pub struct FactSink {
    /// Makes records durable.
    pub records: RecordWriter,
    /// Keeps bindings.
    pub bindings: BindingWriter,
    /// Everybody else.
    pub listeners: broadcast::Sender<Arc<Fact>>,
    /// What was counted.
    pub counters: Arc<FactCounters>,
    /// Told of bans.
    pub doors: Arc<Doors>,
    /// The operator wants numbers and addresses in the log.
    pub unmasked: bool,
}

impl FactSink {
    /// One thing that happened.
    pub fn take(&mut self, fact: Fact) {
        self.count(&fact.what);
        match &fact.what {
            What::CallEnded(record) => {
                tracing::info!(call_id = %record.id, cause = ?record.cause, status = record.sip_status, "call ended");
                if self.records.offer(Arc::clone(record)).is_err() {
                    self.counters.records_refused.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(call_id = %record.id, "record lost: the queue to the disk is full");
                }
            }
            What::CallStarted { call, tenant, caller, callee } if self.unmasked => {
                let (caller, callee) =
                    (caller.disclose(Purpose::Operation), callee.disclose(Purpose::Operation));
                tracing::info!(call_id = %call, %tenant, %caller, %callee, "call started");
            }
            What::CallStarted { call, tenant, caller, callee } => {
                tracing::info!(call_id = %call, %tenant, %caller, %callee, "call started");
            }
            What::CallAnswered { call, leg } => tracing::info!(call_id = %call, leg, "call answered"),
            What::LegTranscoded { call, leg, from, to, why } => {
                tracing::info!(call_id = %call, leg, from, to, ?why, "leg transcoded");
            }
            What::Bound(_) | What::Unbound { .. } => self.bindings.offer(&fact.what),
            What::Banned(banned) => self.tell_of_ban(banned),
            What::Pardoned(address) => self.doors.pardon(*address.disclose(Purpose::Protection)),
            What::Refused { why, source } if self.unmasked => {
                tracing::debug!(?why, source = %source.disclose(Purpose::Operation), "refused");
            }
            What::Refused { why, source } => tracing::debug!(?why, %source, "refused"),
            _ => {}
        }
        if self.listeners.receiver_count() > 0 {
            let _ = self.listeners.send(Arc::new(fact));
        }
    }

    fn tell_of_ban(&self, banned: &BannedSource) {
        self.doors.ban(banned);
        let BannedSource { source, why, is_spared, left, .. } = banned;
        let (why, secs) = (why.name(), left.as_secs());
        if self.unmasked {
            let source = source.disclose(Purpose::Operation).to_text();
            tracing::info!(%source, why, secs, spared = is_spared, "source banned");
        } else {
            tracing::info!(%source, why, secs, spared = is_spared, "source banned");
        }
    }

    fn count(&self, what: &What) {
        let counters = &self.counters;
        let counter = match what {
            What::CallStarted { .. } => &counters.calls_started,
            What::CallAnswered { .. } => &counters.calls_answered,
            What::CallEnded(_) => &counters.calls_ended,
            What::Bound(_) | What::Refreshed(_) => &counters.bindings_written,
            What::Refused { why, .. } => {
                let position = REFUSALS.iter().position(|known| known == why).unwrap_or_default();
                &counters.refused[position]
            }
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

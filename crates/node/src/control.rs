//! What the API may ask of this node: each question is one command to the worker and its answer.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use offhook_api::control::{Metric, NodeControl, Readiness, TraceFilter, TracedMessage};
use offhook_media::MediaHandle;
use offhook_net::{CommandSender, NetCounters};
use offhook_store::{RecordWriter, Store};
use offhook_switch::{
    exchange::Gauges,
    fact::Fact,
    record::CallId,
    summary::{CallSummary, LineSummary, RegistrationSummary},
};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::{facts::FactCounters, metrics, trace::Tap, worker::Command};

/// The node as the API sees it.
pub struct Control {
    /// To the worker.
    pub commands: CommandSender<Command>,
    /// What happens.
    pub facts: broadcast::Sender<Arc<Fact>>,
    /// Configuration and records.
    pub store: Store,
    /// What the facts' sink counted.
    pub fact_counters: Arc<FactCounters>,
    /// What the sockets counted.
    pub net_counters: Arc<NetCounters>,
    /// The media engine.
    pub media: MediaHandle,
    /// The record writer, for its queue.
    pub records: RecordWriter,
    /// Where the node stands.
    pub phase: Phase,
    /// Rung when a drain was asked for.
    pub drain_asked: Arc<Notify>,
    /// Held while a directory is read and put into force.
    pub publishing: tokio::sync::Mutex<()>,
    /// The last sizes the worker told, for metrics.
    pub gauges: Mutex<Gauges>,
    /// Answers and media events that found the worker's queue full and were handed over later.
    pub delayed: Arc<AtomicU64>,
}

/// Whether the node takes calls, as one small number.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// All is up.
    pub fn ready(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// No more calls.
    pub fn draining(&self) {
        self.0.store(2, Ordering::Release);
    }

    fn get(&self) -> Readiness {
        match self.0.load(Ordering::Acquire) {
            0 => Readiness::Starting,
            1 => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }
}

impl Control {
    /// Asks the worker. `None`: it is overloaded or has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.commands.try_send(command(sender)).ok()?;
        answer.await.ok()
    }

    /// The sizes of the exchange's tables now; the metrics remember them.
    pub async fn gauges(&self) -> Option<Gauges> {
        let gauges = self.ask(Command::Gauges).await?;
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
        Some(gauges)
    }
}

impl NodeControl for Control {
    fn calls(&self) -> BoxFuture<'_, Vec<CallSummary>> {
        Box::pin(async { self.ask(Command::Calls).await.unwrap_or_default() })
    }

    fn registrations(&self) -> BoxFuture<'_, Vec<RegistrationSummary>> {
        Box::pin(async { self.ask(Command::Registrations).await.unwrap_or_default() })
    }

    fn line_states(&self) -> BoxFuture<'_, Vec<LineSummary>> {
        Box::pin(async { self.ask(Command::Lines).await.unwrap_or_default() })
    }

    fn hang_up(&self, call: CallId) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.ask(|answer| Command::HangUp(call, answer)).await.unwrap_or_default() })
    }

    fn facts(&self) -> broadcast::Receiver<Arc<Fact>> {
        self.facts.subscribe()
    }

    fn trace(&self, filter: TraceFilter) -> mpsc::Receiver<TracedMessage> {
        let (tap, messages) = Tap::new(filter);
        // If the worker does not take it the channel closes at once, which the API shows as the end of the trace.
        let _ = self.commands.try_send(Command::Trace(tap));
        messages
    }

    fn directory_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // One after the other: of two edits at once the older directory must not come into force last.
            let _turn = self.publishing.lock().await;
            match self.store.load_directory().await {
                Ok(directory) => {
                    let _ = self.ask(|done| Command::Directory(Arc::new(directory), done)).await;
                }
                Err(error) => tracing::error!(%error, "the directory cannot be read: the one in force stays"),
            }
        })
    }

    fn metrics(&self) -> BoxFuture<'_, Vec<Metric>> {
        Box::pin(async {
            // A worker that does not answer is seen by gauges that stand still.
            self.gauges().await;
            metrics::all(self)
        })
    }

    fn readiness(&self) -> Readiness {
        self.phase.get()
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.drain_asked.notify_one() })
    }
}

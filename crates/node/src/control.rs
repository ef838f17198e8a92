//! What the API may ask of this node: each question is one command to the worker and its answer.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use offhook_api::control::{EdgeView, Metric, NodeControl, PeerName, Readiness, TraceFilter, TracedMessage};
use offhook_base::Moment;
use offhook_edge::SourceView;
use offhook_media::MediaHandle;
use offhook_net::{CommandSender, NetCounters};
use offhook_store::{BindingWriter, RecordWriter, RecordingStatus, Store};
use offhook_switch::{
    exchange::{Gauges, RouteExplained, RouteQuestion, UnknownCaller},
    fact::Fact,
    record::CallId,
    summary::{CallSummary, LineSummary, RegistrationSummary},
};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::{
    calls::KeptStatus,
    doors::Doors,
    facts::FactCounters,
    lists::ListSources,
    metrics,
    trace::Tap,
    troubles::{Signs, Troubles},
    worker::Command,
};

/// Call records that may wait for the disk before no new calls are begun: half of what the queue holds, the rest is for the
/// calls that are on.
const RECORDS_WAITING_MAX: usize = offhook_store::QUEUE_MAX / 2;

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
    /// How the keeping of running calls fares.
    pub kept: KeptStatus,
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
    /// Times that no name server answered.
    pub dns_failures: Arc<AtomicU64>,
    /// What is wrong.
    pub troubles: Mutex<Troubles>,
    /// The binding writer, for how it fares.
    pub bindings: BindingWriter,
    /// Where lists of networks come from.
    pub lists: tokio::sync::Mutex<ListSources>,
    /// Told of other lists.
    pub doors: Arc<Doors>,
    /// What became of recordings.
    pub recordings: Arc<RecordingStatus>,
    /// Answers and media events that found the worker's queue full and were handed over later.
    pub delayed: Arc<AtomicU64>,
}

/// Whether the node takes calls, as one small number.
#[derive(Debug, Default)]
pub struct Phase {
    now: AtomicU8,
    /// No new calls for as long as too many records wait.
    holding: AtomicBool,
}

impl Phase {
    /// All is up.
    pub fn ready(&self) {
        self.now.store(1, Ordering::Release);
    }

    /// No more calls.
    pub fn draining(&self) {
        self.now.store(2, Ordering::Release);
    }

    fn get(&self) -> Readiness {
        match self.now.load(Ordering::Acquire) {
            0 => Readiness::Starting,
            1 if self.holding.load(Ordering::Relaxed) => Readiness::Holding,
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

    /// Looks what is wrong. To be called every second.
    pub fn look_for_troubles(&self, now: Moment) {
        let (records, net) = (self.records.status(), &self.net_counters);
        let signs = Signs {
            records: records.failure,
            bindings: self.bindings.failure(),
            media_refused: self.media.snapshot().opens_failed,
            accepts_failed: net.accept_failures.value(),
            connections_refused: net.refused_total_limit.value() + net.refused_source_limit.value(),
            dns_failures: self.dns_failures.load(Ordering::Relaxed),
            recordings_failed: self.recordings.failed.load(Ordering::Relaxed),
        };
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).look(signs, now);
        // A call that cannot be accounted for should not begin.
        let full = records.queued > RECORDS_WAITING_MAX;
        if full != self.phase.holding.swap(full, Ordering::Relaxed) {
            let _ = self.commands.try_send(Command::Hold(full));
        }
    }

    /// Reads the lists of networks and puts them into force; `only_changed`: unless the files are as they were.
    ///
    /// # Errors
    /// One cannot be read: the lists in force stay.
    pub async fn read_lists(&self, only_changed: bool) -> Result<(), String> {
        let mut sources = self.lists.lock().await;
        if only_changed && !sources.have_changed() {
            return Ok(());
        }
        let stored = self.store.networks().await.map_err(|error| error.to_string())?;
        // Sorting millions takes its time.
        let lists = tokio::task::block_in_place(|| sources.read(&stored))?;
        let (allowed, denied) = lists.sizes();
        tracing::info!(allowed, denied, octets = lists.octets(), "lists of networks in force");
        self.doors.set_lists(Arc::clone(&lists));
        self.commands.try_send(Command::Lists(lists)).map_err(|_| "the worker is overloaded".to_string())
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

    fn explain_route(
        &self,
        question: RouteQuestion,
    ) -> BoxFuture<'_, Option<Result<RouteExplained, UnknownCaller>>> {
        Box::pin(async move { self.ask(|answer| Command::ExplainRoute(Box::new(question), answer)).await })
    }

    fn edge(&self) -> BoxFuture<'_, Option<EdgeView>> {
        Box::pin(async {
            let (overview, peers) = self.ask(Command::Edge).await?;
            Some(EdgeView { overview, peers })
        })
    }

    fn look_at(&self, address: IpAddr) -> BoxFuture<'_, Option<(SourceView, Option<PeerName>)>> {
        Box::pin(async move { self.ask(|answer| Command::LookAt(address, answer)).await })
    }

    fn ban(&self, address: IpAddr, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.ask(|done| Command::Ban(address, time, done)).await.unwrap_or_default() })
    }

    fn pardon(&self, address: IpAddr) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.ask(|answer| Command::Pardon(address, answer)).await.unwrap_or_default() })
    }

    fn lists_changed(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.read_lists(false).await })
    }

    fn metrics(&self) -> BoxFuture<'_, Vec<Metric>> {
        Box::pin(async {
            // A worker that does not answer is seen by gauges that stand still.
            self.gauges().await;
            metrics::all(self)
        })
    }

    fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    fn readiness(&self) -> Readiness {
        self.phase.get()
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.drain_asked.notify_one() })
    }
}

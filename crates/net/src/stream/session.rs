//! What all kinds of connections share: the queue to the peer, and how a connection begins and ends.

use std::{
    future::{Future, pending},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use offhook_sip::transport::Flow;
use tokio::sync::{Notify, mpsc, watch};

use super::{StreamEvent, StreamLimits, Streams, admission::Permit};
use crate::{CloseReason, ConnectionOrigin, TransmitError};

/// A message that waits for the peer to read.
pub(super) struct Outbound {
    pub(super) bytes: Bytes,
    token: u64,
}

/// What both ends of a connection's queue see.
#[derive(Default)]
struct Shared {
    /// Bytes queued and not yet written.
    waiting_bytes: AtomicUsize,
    /// Why the task takes no more.
    given_up: OnceLock<TransmitError>,
}

/// The worker's end of a connection.
pub(crate) struct Writer {
    queue: mpsc::Sender<Outbound>,
    shared: Arc<Shared>,
    abort: watch::Sender<Option<CloseReason>>,
}

/// The task's end of a connection.
pub(super) struct Queue {
    receiver: mpsc::Receiver<Outbound>,
    shared: Arc<Shared>,
    abort: watch::Receiver<Option<CloseReason>>,
    /// The message being written: its token and length.
    writing: Option<(u64, usize)>,
    /// Held as long as the connection; given back before its end is told.
    _permit: Permit,
}

/// Both ends of a new connection's queue.
pub(super) fn queue(limits: &StreamLimits, permit: Permit) -> (Writer, Queue) {
    let (sender, receiver) = mpsc::channel(limits.queued_messages_max.max(1));
    let (abort, aborted) = watch::channel(None);
    let shared = Arc::<Shared>::default();
    let writer = Writer { queue: sender, shared: Arc::clone(&shared), abort };
    (writer, Queue { receiver, shared, abort: aborted, writing: None, _permit: permit })
}

impl Writer {
    pub(super) fn send(&self, bytes: Bytes, token: u64, limits: &StreamLimits) -> Result<(), TransmitError> {
        let length = bytes.len();
        let waiting = &self.shared.waiting_bytes;
        // Added before it is queued: the task takes away what it has written, and must not be the first.
        if waiting.fetch_add(length, Ordering::Relaxed).saturating_add(length) > limits.queued_bytes_max {
            waiting.fetch_sub(length, Ordering::Relaxed);
            return Err(TransmitError::QueueFull);
        }
        self.queue.try_send(Outbound { bytes, token }).map_err(|error| {
            waiting.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => TransmitError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => {
                    self.shared.given_up.get().copied().unwrap_or(TransmitError::ConnectionGone)
                }
            }
        })
    }

    /// Closes without writing what waits.
    pub(super) fn abort(&self, reason: CloseReason) {
        self.abort.send_replace(Some(reason));
    }
}

impl Queue {
    /// The next message to write; the one before counts as written. `None`: the worker closed the connection.
    pub(super) async fn next(&mut self) -> Option<Outbound> {
        self.written();
        let outbound = self.receiver.recv().await?;
        self.writing = Some((outbound.token, outbound.bytes.len()));
        Some(outbound)
    }

    fn written(&mut self) {
        if let Some((_, length)) = self.writing.take() {
            self.shared.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// Takes no more, from now on because of `error`, and gives the tokens of all that was not written.
    fn give_up(&mut self, error: TransmitError) -> Vec<u64> {
        // Set before it closes, so that whoever finds it closed finds the reason.
        let _ = self.shared.given_up.set(error);
        self.receiver.close();
        let mut tokens: Vec<u64> = self.writing.take().map(|(token, _)| token).into_iter().collect();
        while let Ok(outbound) = self.receiver.try_recv() {
            tokens.push(outbound.token);
        }
        tokens
    }

    /// Ends when the worker wants the connection closed at once.
    pub(super) fn aborted(&self) -> impl Future<Output = CloseReason> + use<> {
        let mut abort = self.abort.clone();
        async move {
            let reason = abort.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
            match reason {
                Some(reason) => reason,
                // The worker let go of the connection: the end of the queue says so, after what is in it.
                None => pending().await,
            }
        }
    }
}

/// A ping came and must be answered. Several pings before the answer is written get one.
#[derive(Default)]
pub(super) struct Pong(Notify);

impl Pong {
    pub(super) fn owe(&self) {
        self.0.notify_one();
    }

    pub(super) async fn owed(&self) {
        self.0.notified().await;
    }
}

impl Streams {
    /// Tells that `flow` is ready. For accepted ones makes the queue and hands its writer to the worker.
    pub(super) async fn accepted(&self, flow: Flow, permit: Permit) -> Option<Queue> {
        let (writer, queue) = queue(self.limits(), permit);
        self.counters().connections_accepted.increment();
        let origin = ConnectionOrigin::Accepted;
        self.tell(StreamEvent::Opened { flow, origin, writer: Some(writer) }).await.ok()?;
        Some(queue)
    }

    /// Hands one message to the worker. If that has ended, waits for ever: the writer ends the connection then, after
    /// what the worker queued last.
    pub(super) async fn received(&self, flow: Flow, bytes: Bytes) {
        self.counters().stream_received.increment();
        if self.tell(StreamEvent::Received { flow, bytes }).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Tells the end of an open connection, after what it could not deliver.
    pub(super) async fn closed(&self, flow: Flow, reason: CloseReason, mut queue: Queue) {
        let counters = self.counters();
        counters.connections_closed.increment();
        match reason {
            CloseReason::Idle => counters.closed_idle.increment(),
            CloseReason::PartialMessage => counters.closed_partial_message.increment(),
            CloseReason::TooLarge => counters.closed_too_large.increment(),
            CloseReason::Malformed => counters.closed_malformed.increment(),
            CloseReason::SlowReader => counters.closed_slow_reader.increment(),
            CloseReason::Peer | CloseReason::Local | CloseReason::Lost => {}
        }
        tracing::debug!(flow = ?flow, %reason, "connection closed");
        self.failed(&mut queue, TransmitError::ConnectionGone).await;
        drop(queue);
        // If the worker has ended, nobody needs to know.
        let _ = self.tell(StreamEvent::Closed { flow, reason }).await;
    }

    /// Takes no more for this connection and tells what was not written.
    pub(super) async fn failed(&self, queue: &mut Queue, error: TransmitError) {
        let tokens = queue.give_up(error);
        if !tokens.is_empty() {
            self.counters().stream_send_errors.add(tokens.len() as u64);
            let _ = self.tell(StreamEvent::Failed { tokens, error }).await;
        }
    }
}

/// Why the connection ends after this error of a read or write.
pub(super) fn lost(error: &std::io::Error) -> CloseReason {
    match error.kind() {
        // TLS without close_notify: most phones just hang up.
        std::io::ErrorKind::UnexpectedEof => CloseReason::Peer,
        _ => CloseReason::Lost,
    }
}

//! Streams: TCP, TLS, WebSocket. One tokio task per connection frames what comes and writes what goes.
//!
//! The worker owns the table of connections (`ConnectionTable`); a task owns its socket. Between them stand a bounded
//! channel to the worker, shared by all its streams (a worker that lags makes the tasks stop reading, and TCP tells the
//! peers), and a bounded queue to each connection (a peer that does not read loses its connection, not our memory).

mod admission;
mod connect;
mod limits;
mod listen;
mod octets;
mod peers;
mod session;
mod table;
mod websocket;

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use offhook_sip::transport::{ConnectionId, Flow};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

pub use limits::{StreamLimits, StreamSettings};
pub use listen::StreamListenerConfig;
pub use peers::PeerIdentity;
pub(crate) use table::ConnectionTable;
pub use websocket::{SIP_SUBPROTOCOL, UpgradedWebSocket, WebSocketFrame, WebSocketRefused};

use crate::{CloseReason, ConnectionOrigin, NetCounters, TransmitError, wake::Bell};
use admission::Admission;
use session::Writer;

/// Events of all streams of one worker that wait for it. When it is full the tasks wait, and so do the peers.
const EVENTS_WAITING_MAX: usize = 1024;

/// The streams of one worker. Clones are handles to the same; when the worker ends, listeners and connections close.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

struct Shared {
    runtime: Handle,
    settings: StreamSettings,
    counters: Arc<NetCounters>,
    admission: Arc<Admission>,
    events: mpsc::Sender<StreamEvent>,
    bell: Bell,
    next_connection: AtomicU64,
    /// Nothing is accepted for now.
    pausing: watch::Sender<bool>,
    door: OnceLock<Door>,
}

/// Says who may connect: false closes the connection before a handshake. It is asked by many threads, and must not wait.
pub type Door = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What the tasks tell the worker.
pub(crate) enum StreamEvent {
    /// Ready for messages. The writer comes with accepted ones; the worker has that of its own already.
    Opened { flow: Flow, origin: ConnectionOrigin, writer: Option<Writer> },
    /// One whole message.
    Received { flow: Flow, bytes: Bytes },
    /// These were not written.
    Failed { tokens: Vec<u64>, error: TransmitError },
    /// Could not be opened at all.
    NotOpened { connection: ConnectionId },
    /// Was open, and is gone.
    Closed { flow: Flow, reason: CloseReason },
}

impl Streams {
    pub(crate) fn new(
        runtime: Handle,
        settings: StreamSettings,
        counters: Arc<NetCounters>,
        bell: Bell,
    ) -> (Self, mpsc::Receiver<StreamEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let admission = Arc::new(Admission::new(&settings.limits, Arc::clone(&counters)));
        let shared = Shared {
            runtime,
            settings,
            counters,
            admission,
            events,
            bell,
            next_connection: AtomicU64::new(1),
            pausing: watch::channel(false).0,
            door: OnceLock::new(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Has `door` asked before a connection is accepted. Once only; without it all may connect.
    pub fn guard(&self, door: Door) {
        let _ = self.0.door.set(door);
    }

    /// Whether `ip` may connect; counted if not.
    pub(crate) fn may_connect(&self, ip: IpAddr) -> bool {
        let may = self.0.door.get().is_none_or(|door| door(ip));
        if !may {
            self.counters().refused_shut_out.increment();
        }
        may
    }

    /// Accepts no connections while `pausing`; they wait in the kernel.
    pub fn pause(&self, pausing: bool) {
        self.0.pausing.send_replace(pausing);
    }

    fn new_connection(&self) -> ConnectionId {
        ConnectionId(self.0.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    fn limits(&self) -> &StreamLimits {
        &self.0.settings.limits
    }

    fn counters(&self) -> &NetCounters {
        &self.0.counters
    }

    /// Tells the worker; waits while it lags. An error means that the worker has ended.
    async fn tell(&self, event: StreamEvent) -> Result<(), WorkerEnded> {
        self.0.events.send(event).await.map_err(|_| WorkerEnded)?;
        self.0.bell.ring();
        Ok(())
    }

    /// Ends when the worker has ended.
    async fn worker_ended(&self) {
        self.0.events.closed().await;
    }
}

/// Nobody is left to tell.
#[derive(Debug)]
struct WorkerEnded;

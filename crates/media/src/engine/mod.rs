//! The driver: one thread that owns all media sockets, and the handle through which call control speaks to it.

mod epoll;
mod offload;
mod sockets;
mod stopwatch;
mod table;
mod worker;

use std::{
    fs::File,
    io::{self, Write},
    ops::RangeInclusive,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use offhook_base::Random;
use offhook_switch::{
    media::{MediaCommand, MediaEvent},
    tape::TapeEvent,
};

use crate::{
    counters::{Counters, Snapshot},
    kernel::KernelConfig,
    ports::PortPool,
    sounds::Sounds,
};
use worker::Worker;

/// Commands that may wait for the media thread: those of a thousand calls that start at once. A sender beyond waits.
const ORDERS_MAX: usize = 8192;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// UDP ports, bound in pairs of an even one for RTP and the next for RTCP. Default 20000..=39999: 5000 calls of
    /// two legs.
    pub ports: RangeInclusive<u16>,
    /// Differentiated services code point of what is sent, 0..=63. Default 46, EF, as RFC 4594 §4.1 has it for
    /// telephony.
    pub dscp: u8,
    /// How long a bridge whose sections flow both ways may be silent both ways before
    /// [`MediaEvent::Silent`] tells of it. Default 60 s; none never tells.
    pub silence: Option<Duration>,
    /// The in-kernel plane, where this process may and the kernel can; default none: user space relays everything.
    pub kernel: Option<KernelConfig>,
    /// What the node can play. Default: its own sounds.
    pub sounds: Arc<Sounds>,
    /// Who keeps what is recorded. Default: nobody, and nothing is recorded.
    pub keeper: Option<SyncSender<TapeEvent>>,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            ports: 20_000..=39_999,
            dscp: 46,
            silence: Some(Duration::from_secs(60)),
            kernel: None,
            sounds: Arc::new(Sounds::built_in()),
            keeper: None,
        }
    }
}

/// Why the engine could not start: the host's doing.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No randomness from the operating system, without which ports could be foretold.
    #[error("cannot read random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// No descriptors for the thread's bell and its epoll set.
    #[error("cannot create the media thread's epoll set")]
    Epoll(#[source] io::Error),
    /// No thread.
    #[error("cannot start the media thread")]
    Thread(#[source] io::Error),
}

enum Order {
    Command(MediaCommand),
    Stop,
}

/// The media engine. There is no value of it: it lives in its thread until the last [`MediaHandle`] is dropped.
#[derive(Debug)]
pub enum MediaEngine {}

impl MediaEngine {
    /// Starts the media thread. It calls `tell` for each event, which must not block: packets wait meanwhile.
    pub fn start(
        config: MediaConfig,
        tell: impl Fn(MediaEvent) + Send + 'static,
    ) -> Result<MediaHandle, StartError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartError::Random)?;
        let pool = PortPool::new(config.ports.clone(), Random::from_seed(seed));
        let bell = Arc::new(epoll::bell().map_err(StartError::Epoll)?);
        let counters = Arc::new(Counters::default());
        let (orders, receiver) = sync_channel(ORDERS_MAX);
        let worker = Worker::new(config, pool, bell.clone(), receiver, counters.clone(), Box::new(tell))
            .map_err(StartError::Epoll)?;
        let thread = std::thread::Builder::new().name("media".into());
        thread.spawn(move || worker.run()).map_err(StartError::Thread)?;
        Ok(MediaHandle(Arc::new(Shared { orders, bell, counters })))
    }
}

/// Speaks to the engine. Cheap to clone; when the last clone is dropped the thread ends and closes all ports.
#[derive(Clone, Debug)]
pub struct MediaHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: SyncSender<Order>,
    bell: Arc<File>,
    counters: Arc<Counters>,
}

impl Shared {
    fn send(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the media thread has ended: calls have no media");
            return;
        }
        // An eventfd refuses only when 2^64 rings wait, and then it rings anyway.
        let _ = (&*self.bell).write(&1u64.to_ne_bytes());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.orders.try_send(Order::Stop).is_ok() {
            let _ = (&*self.bell).write(&1u64.to_ne_bytes());
        }
    }
}

impl MediaHandle {
    /// Hands over a command; those of one sender are carried out in order. Waits if 8192 are waiting already.
    pub fn send(&self, command: MediaCommand) {
        self.0.send(Order::Command(command));
    }

    /// The counters now. Takes no lock.
    pub fn snapshot(&self) -> Snapshot {
        self.0.counters.snapshot()
    }
}

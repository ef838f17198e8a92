//! The thread that writes recordings.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use offhook_base::{Random, UtcMillis};
use offhook_switch::{
    media::RoomId,
    tape::{TapeEvent, TapeId},
};

use super::{RecordingId, Recordings, form::Writer};
use crate::{error::OpenError, store::make_private_folder};

/// Events that may wait for the disk: a second of a hundred rooms that are recorded, and their beginnings, is 3 MiB.
const QUEUE_MAX: usize = 256;
/// A tape of which nothing was heard for so long has ended without word: the engine hands over a block each second.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// How often it is looked whether the thread has ended.
const FINISH_LOOK: Duration = Duration::from_millis(5);
/// How often that is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// What the writer did, for metrics.
#[derive(Debug, Default)]
pub struct RecordingStatus {
    /// Recordings begun since the start.
    pub begun: AtomicU64,
    /// Recordings that the disk refused, at their beginning or later.
    pub failed: AtomicU64,
    /// Samples written since the start.
    pub samples: AtomicU64,
}

/// Writes recordings until everybody who sends has gone.
#[derive(Debug)]
pub struct RecordingWriter {
    thread: JoinHandle<()>,
    /// What it did.
    pub status: Arc<RecordingStatus>,
}

impl RecordingWriter {
    /// Makes the directory and starts the thread; where tapes are to be sent.
    ///
    /// # Errors
    /// The directory cannot be made, the system gives no randomness or no thread.
    pub fn start(recordings: Recordings) -> Result<(SyncSender<TapeEvent>, Self), OpenError> {
        make_private_folder(&recordings.folder)?;
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| OpenError::NoRandomness)?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let status = Arc::<RecordingStatus>::default();
        let path = recordings.folder.clone();
        let random = Random::from_seed(seed);
        let keeper = Keeper { recordings, random, tapes: HashMap::new(), status: Arc::clone(&status) };
        let thread = std::thread::Builder::new()
            .name("recordings".into())
            .spawn(move || keeper.run(&receiver))
            .map_err(|source| OpenError::File { doing: "start the thread for", path, source })?;
        Ok((sender, Self { thread, status }))
    }

    /// The same without holding up others, and no longer than `patience`: what was said is on disk already, and only the
    /// word that this was all of it is still to come.
    pub async fn finish(self, patience: Duration) {
        let give_up_at = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < give_up_at {
            tokio::time::sleep(FINISH_LOOK).await;
        }
    }

    /// Waits until all is on disk, once everybody who sends has gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of the recordings has panicked");
        }
    }
}

struct Running {
    writer: Writer,
    id: RecordingId,
    heard_at: Instant,
}

struct Keeper {
    recordings: Recordings,
    random: Random,
    tapes: HashMap<TapeId, Running>,
    status: Arc<RecordingStatus>,
}

impl Keeper {
    fn run(mut self, events: &Receiver<TapeEvent>) {
        let mut looked_at = Instant::now();
        loop {
            match events.recv_timeout(LOOK) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked_at.elapsed() >= LOOK {
                looked_at = Instant::now();
                self.end_where(|running| running.heard_at.elapsed() >= SILENT_FOR);
            }
        }
        self.end_where(|_| true);
    }

    fn take(&mut self, event: TapeEvent) {
        let (tape, done) = match event {
            TapeEvent::Begun { tape, room } => {
                match self.begin(&room) {
                    Ok(running) => {
                        self.status.begun.fetch_add(1, Relaxed);
                        tracing::info!(recording = %running.id, "recording begun");
                        self.tapes.insert(tape, running);
                    }
                    Err(error) => self.failed(&error),
                }
                return;
            }
            TapeEvent::Ended { tape } => {
                if let Some(running) = self.tapes.remove(&tape) {
                    self.end(running);
                }
                return;
            }
            TapeEvent::Agreed { tape, consent } => (tape, self.with(tape, |writer| writer.agreed(consent))),
            TapeEvent::Sound { tape, samples } => {
                self.status.samples.fetch_add(samples.0.len() as u64, Relaxed);
                (tape, self.with(tape, |writer| writer.sound(&samples.0)))
            }
        };
        if let Err(error) = done {
            // A hole would be worse than an end: it would not show.
            self.tapes.remove(&tape);
            self.failed(&error);
        }
    }

    fn with(&mut self, tape: TapeId, write: impl FnOnce(&mut Writer) -> io::Result<()>) -> io::Result<()> {
        // One that has failed is over, whatever comes of it.
        let Some(running) = self.tapes.get_mut(&tape) else { return Ok(()) };
        running.heard_at = Instant::now();
        write(&mut running.writer)
    }

    fn begin(&mut self, room: &RoomId) -> io::Result<Running> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let id = RecordingId::new(started, &mut self.random);
        let file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.recordings.path(id))?;
        let about = (&*room.tenant, &*room.number);
        let writer = Writer::begin(file, &self.recordings.sealing, (&id.to_string(), started), about)?;
        Ok(Running { writer, id, heard_at: Instant::now() })
    }

    fn end_where(&mut self, is_over: impl Fn(&Running) -> bool) {
        let over: Vec<TapeId> =
            self.tapes.iter().filter(|(_, running)| is_over(running)).map(|(tape, _)| *tape).collect();
        for running in over.iter().filter_map(|tape| self.tapes.remove(tape)).collect::<Vec<_>>() {
            self.end(running);
        }
    }

    fn end(&self, running: Running) {
        let id = running.id;
        match running.writer.end() {
            Ok(()) => tracing::info!(recording = %id, "recording ended"),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) {
        self.status.failed.fetch_add(1, Relaxed);
        let hint = "free the disk under the data directory, or mend it; calls go on";
        tracing::error!(%error, hint, "a recording has broken off");
    }
}

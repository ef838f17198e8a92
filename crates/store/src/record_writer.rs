//! Makes call records durable soon after the call, without ever making a call wait.
//!
//! Workers hand records over without blocking. One task gathers what comes within [`GATHER`], writes it in one
//! transaction and waits until the disk has it (group commit): a record is safe from power loss some 60 to 70 ms after
//! it was offered, inside the 100 ms that are promised. Only then is it acknowledged.
//!
//! While the database fails (disk full), records wait in memory and are tried again. At most [`QUEUE_MAX`] wait; long
//! before, [`RecordStatus::queued`] tells the node to admit no more calls, because a call that cannot be accounted for
//! should not begin. What is offered to a full queue is handed back and counted, never dropped in silence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use offhook_switch::record::CallRecord;
use rusqlite::Transaction;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{error::StoreError, record_row, store::Store};

/// Records that may wait for the disk. One takes about 2 KB, so that 128 MB is the worst; at 100 calls per second the
/// database may fail for 10 minutes.
pub const QUEUE_MAX: usize = 65_536;

/// How long the first record of a group waits for others. All records of a group share its flush and the pages of its
/// indexes, so longer is cheaper; what is left of the 100 ms is for the disk.
const GATHER: Duration = Duration::from_millis(60);

/// Records of one transaction: some 50 ms of work, so that a backlog is worked off without one giant commit.
const GROUP_MAX: usize = 2_048;

/// First and longest pause between attempts while the database fails.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How the writer fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordStatus {
    /// Records that are safe on disk, since the start.
    pub durable: u64,
    /// Attempts to write that failed, since the start: an alarm if it grows.
    pub failures: u64,
    /// Records handed back because the queue was full, since the start: an alarm if it is not zero.
    pub refused: u64,
    /// Records waiting now, without the group that is being written (at most 2,048).
    pub queued: usize,
    /// Why the last attempt failed; `None` if it did not.
    pub failure: Option<String>,
}

/// The queue is full or the writer has ended; here is the record back.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the queue of call records is full")]
pub struct QueueFull(pub Arc<CallRecord>);

enum Job {
    Write(Arc<CallRecord>),
    Flush(oneshot::Sender<()>),
}

/// The way in. Clones feed the same task; it writes the rest and ends when all are gone.
#[derive(Clone)]
pub struct RecordWriter {
    jobs: mpsc::Sender<Job>,
    refused: Arc<AtomicU64>,
    progress: watch::Receiver<RecordStatus>,
}

impl RecordWriter {
    /// Starts the task. `on_durable` is called with each group once the disk has it; it must not block.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(store: &Store, on_durable: impl FnMut(&[Arc<CallRecord>]) + Send + 'static) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let (status, progress) = watch::channel(RecordStatus::default());
        tokio::spawn(run(store.clone(), receiver, status, on_durable));
        Self { jobs, refused: Arc::default(), progress }
    }

    /// Takes a record. Never blocks and needs no runtime: workers call it. A record offered twice is stored once.
    pub fn offer(&self, record: Arc<CallRecord>) -> Result<(), QueueFull> {
        self.jobs.try_send(Job::Write(record)).map_err(|refused| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            match refused.into_inner() {
                Job::Write(record) => QueueFull(record),
                Job::Flush(_) => unreachable!("only a record was sent"),
            }
        })
    }

    /// Returns when all that was offered before is on disk. Waits as long as the database fails.
    pub async fn flush(&self) {
        let (done, finished) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// How it fares now.
    pub fn status(&self) -> RecordStatus {
        RecordStatus {
            refused: self.refused.load(Ordering::Relaxed),
            queued: self.jobs.max_capacity() - self.jobs.capacity(),
            ..self.progress.borrow().clone()
        }
    }

    /// Wakes at every group written and every failed attempt.
    pub fn progress(&self) -> watch::Receiver<RecordStatus> {
        self.progress.clone()
    }
}

async fn run(
    store: Store,
    mut jobs: mpsc::Receiver<Job>,
    status: watch::Sender<RecordStatus>,
    mut on_durable: impl FnMut(&[Arc<CallRecord>]) + Send,
) {
    let mut group = Vec::new();
    let mut flushes = Vec::new();
    while let Some(first) = jobs.recv().await {
        let mut next = Some(first);
        let mut gathered = false;
        while let Some(job) = next {
            match job {
                Job::Write(record) => group.push(record),
                Job::Flush(done) => flushes.push(done),
            }
            next = if group.len() < GROUP_MAX { jobs.try_recv().ok() } else { None };
            // Whoever flushes is waiting: no reason to wait for others.
            if next.is_none() && group.len() < GROUP_MAX && flushes.is_empty() && !gathered {
                gathered = true;
                tokio::time::sleep(GATHER).await;
                next = jobs.try_recv().ok();
            }
        }
        write_until_done(&store, &group, &status).await;
        on_durable(&group);
        group.clear();
        for done in flushes.drain(..) {
            let _ = done.send(());
        }
    }
}

/// Tries until the disk has the group. Giving up would lose records, and there is nothing else to do meanwhile.
async fn write_until_done(store: &Store, group: &[Arc<CallRecord>], status: &watch::Sender<RecordStatus>) {
    if group.is_empty() {
        return;
    }
    let (mut pause, pause_max) = RETRY_PAUSE;
    while let Err(error) = store.write_records(group).await {
        // Each attempt says the same. Whoever watches the status tells it once.
        tracing::debug!(records = group.len(), %error, "call records wait");
        status.send_modify(|status| {
            status.failures += 1;
            status.failure = Some(error.to_string());
        });
        tokio::time::sleep(pause).await;
        pause = pause_max.min(pause * 2);
    }
    status.send_modify(|status| {
        status.durable += group.len() as u64;
        status.failure = None;
    });
}

impl Store {
    /// Writes records in one transaction and returns when the disk has them. One that is there already stays as it is.
    pub async fn write_records(&self, records: &[Arc<CallRecord>]) -> Result<(), StoreError> {
        let records = records.to_vec();
        self.record_database().write_group(move |transaction| insert(transaction, &records)).await
    }
}

fn insert(transaction: &Transaction<'_>, records: &[Arc<CallRecord>]) -> rusqlite::Result<()> {
    // Not OR FAIL, which would spare SQLite's notes for taking a statement back: on a full disk it then takes back the
    // whole transaction by itself, and the connection no longer knows where it is.
    let mut row = transaction.prepare_cached(record_row::INSERT)?;
    let mut line_row = transaction.prepare_cached(
        "INSERT OR IGNORE INTO record_lines (line, tenant, started, record_id) VALUES (?, ?, ?, ?)",
    )?;
    for record in records {
        record_row::insert(&mut row, record)?;
        for line in lines_of(record) {
            line_row.execute((line, &*record.tenant, record.started.0, record.id.as_str()))?;
        }
    }
    Ok(())
}

/// The distinct lines that took part, in the order of the legs.
fn lines_of(record: &CallRecord) -> impl Iterator<Item = &str> {
    // A handful of legs, and mostly two lines: looking back beats a set.
    record.legs.iter().enumerate().filter_map(move |(index, leg)| {
        let line = leg.line.as_deref()?;
        (!record.legs[..index].iter().any(|earlier| earlier.line.as_deref() == Some(line))).then_some(line)
    })
}

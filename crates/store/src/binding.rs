//! Registrations that outlive a restart.
//!
//! Bindings are written behind: a change reaches the disk up to [`WRITE_PAUSE`] and one flush later, a mere refresh up to
//! [`REFRESH_PAUSES`] of these, for many that are written together share the pages of the table. What a crash takes
//! with it is tolerable by nature: a new binding that is lost comes back when its device refreshes; a refresh that is
//! lost ends early and comes back likewise; a removal that is lost leaves a contact that answers nothing until it
//! expires. So a full queue drops changes, and counts them, rather than make a registrar wait.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use offhook_switch::{directory::LineId, fact::What, registrar::StoredBinding};
use rusqlite::Transaction;
use tokio::sync::{mpsc, oneshot};

use crate::{error::StoreError, store::Store};

/// How long changes gather before they are written. Ten refreshes of one contact in that time are one row.
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// How many such pauses refreshes gather for while nothing else is to be written: two seconds. The shortest lifetime is a minute.
const REFRESH_PAUSES: u32 = 10;

/// Pause after a failed attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Changes that may wait: a minute of 1,000 registrations per second while the disk fails.
const QUEUE_MAX: usize = 65_536;

/// Changes of one transaction.
const GROUP_MAX: usize = 16_384;

/// A change of a binding.
#[derive(Clone, Debug)]
pub enum BindingChange {
    /// Added, or it leads elsewhere now.
    Bound(Arc<StoredBinding>),
    /// Refreshed, and leads to where it did.
    Refreshed(Arc<StoredBinding>),
    /// Gone.
    Unbound {
        /// Whose.
        line: LineId,
        /// The binding's key.
        key: Box<str>,
    },
}

impl BindingChange {
    /// The change that a fact tells of, if any.
    pub fn of_fact(what: &What) -> Option<Self> {
        match what {
            What::Bound(binding) => Some(Self::Bound(Arc::clone(binding))),
            What::Refreshed(binding) => Some(Self::Refreshed(Arc::clone(binding))),
            What::Unbound { line, key, .. } => Some(Self::Unbound { line: *line, key: key.clone() }),
            _ => None,
        }
    }

    fn key(&self) -> (LineId, Cow<'_, str>) {
        match self {
            Self::Bound(binding) | Self::Refreshed(binding) => (binding.line(), binding.key()),
            Self::Unbound { line, key } => (*line, Cow::Borrowed(key)),
        }
    }
}

impl Store {
    /// Writes changes in one transaction, in their order.
    pub async fn save_bindings(&self, changes: &[BindingChange]) -> Result<(), StoreError> {
        let changes = changes.to_vec();
        self.site_database().write_group(move |transaction| save(transaction, &changes)).await
    }
}

fn save(transaction: &Transaction<'_>, changes: &[BindingChange]) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO bindings (line_id, key, expires, binding) VALUES (?, ?, ?, ?) \
         ON CONFLICT (line_id, key) DO UPDATE SET expires = excluded.expires, binding = excluded.binding",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM bindings WHERE line_id = ? AND key = ?")?;
    // Only the last word on each binding counts. In the order of the table, neighbours share their pages.
    let last: BTreeMap<_, _> = changes.iter().map(|change| (change.key(), change)).collect();
    for ((line, key), change) in last {
        let line = line.0.cast_signed();
        match change {
            BindingChange::Bound(binding) | BindingChange::Refreshed(binding) => {
                // Text, numbers and addresses always have a JSON form.
                let json = serde_json::to_string(&**binding).unwrap_or_default();
                upsert.execute((line, key, binding.terms().expires.0, json))?;
            }
            BindingChange::Unbound { .. } => {
                delete.execute((line, key))?;
            }
        }
    }
    Ok(())
}

enum Job {
    Save(BindingChange),
    Flush(oneshot::Sender<()>),
}

/// The way in for facts about bindings. Clones feed the same task; it writes the rest and ends when all are gone.
#[derive(Clone)]
pub struct BindingWriter {
    jobs: mpsc::Sender<Job>,
    dropped: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
}

impl BindingWriter {
    /// Starts the task.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(store: &Store) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let failure = Arc::<Mutex<Option<String>>>::default();
        tokio::spawn(run(store.clone(), receiver, Arc::clone(&failure)));
        Self { jobs, dropped: Arc::default(), failure }
    }

    /// Takes what a fact says of a binding; other facts are ignored. Never blocks and needs no runtime.
    pub fn offer(&self, what: &What) {
        if let Some(change) = BindingChange::of_fact(what)
            && self.jobs.try_send(Job::Save(change)).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when all that was offered before is on disk. Waits as long as the database fails.
    pub async fn flush(&self) {
        let (done, finished) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// Why the last attempt to write failed; `None` if it did not.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes dropped because the queue was full, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn run(store: Store, mut jobs: mpsc::Receiver<Job>, failure: Arc<Mutex<Option<String>>>) {
    let tell = |why| *failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
    let mut changes = Vec::new();
    let mut flushes = Vec::new();
    while let Some(first) = jobs.recv().await {
        let mut next = Some(first);
        let (mut pauses, mut is_urgent) = (0, false);
        loop {
            while let Some(job) = next.take() {
                match job {
                    Job::Save(change) => {
                        is_urgent |= !matches!(change, BindingChange::Refreshed(_));
                        changes.push(change);
                    }
                    Job::Flush(done) => flushes.push(done),
                }
                next = if changes.len() < GROUP_MAX { jobs.try_recv().ok() } else { None };
            }
            let pauses_wanted = if is_urgent { 1 } else { REFRESH_PAUSES };
            if pauses >= pauses_wanted
                || changes.len() >= GROUP_MAX
                || !flushes.is_empty()
                || jobs.is_closed()
            {
                break;
            }
            pauses += 1;
            tokio::time::sleep(WRITE_PAUSE).await;
            next = jobs.try_recv().ok();
        }
        while let Err(error) = store.save_bindings(&changes).await {
            // Each attempt says the same. Whoever watches tells it once.
            tracing::debug!(changes = changes.len(), %error, "registrations wait");
            tell(Some(error.to_string()));
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        tell(None);
        changes.clear();
        for done in flushes.drain(..) {
            let _ = done.send(());
        }
    }
}

//! Reading all bindings at the start: several connections at once, for a phone may be waiting.

use std::sync::Arc;

use offhook_base::UtcMillis;
use offhook_switch::registrar::StoredBinding;
use tokio::sync::mpsc;

use crate::{error::StoreError, store::Store};

/// Connections that read beside each other. More would take the processors from whoever uses what is read.
const READERS: i64 = 2;

/// Lines whose bindings are read at once. Handing each row from SQLite's thread to ours costs more than reading it, so a
/// whole stretch of the table comes as one text: some 200 KB.
const LINES_PER_STRETCH: i64 = 512;

/// Lists that wait to be used. A reader that is further ahead waits, so that no more than 1 MB of text is in memory.
const LISTS_WAITING_MAX: usize = 4;

/// The bindings of a range of lines, one per line of text, and where the next range begins.
const STRETCH: &str = "SELECT group_concat(binding, char(10)), (SELECT min(line_id) FROM bindings WHERE line_id >= ?2) \
     FROM bindings WHERE line_id >= ?1 AND line_id < ?2 AND expires > ?3";

/// Some bindings, and how many rows beside them could not be read.
type List = (Vec<Arc<StoredBinding>>, u32);

/// The bindings of an earlier process, as they are read.
pub struct StoredBindings {
    lists: mpsc::Receiver<Result<List, StoreError>>,
    damaged: u32,
}

impl StoredBindings {
    /// Some more of them; those of one line come together. `None`: that were all.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<StoredBinding>>, StoreError>> {
        match self.lists.recv().await {
            Some(Ok((bindings, damaged))) => {
                self.damaged += damaged;
                Some(Ok(bindings))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                if self.damaged > 0 {
                    // The device refreshes; no reason to keep the node from starting.
                    tracing::warn!(self.damaged, "stored registrations could not be read and were left out");
                }
                None
            }
        }
    }
}

impl Store {
    /// Begins to read the bindings that have not ended at `now`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn read_bindings(&self, now: UtcMillis) -> StoredBindings {
        let (sender, lists) = mpsc::channel(LISTS_WAITING_MAX);
        let store = self.clone();
        tokio::spawn(async move {
            if let Err(error) = store.read_in_parts(now, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        StoredBindings { lists, damaged: 0 }
    }

    /// Deletes the bindings that have ended at `now`, and those of lines that are gone.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn forget_bindings(&self, now: UtcMillis) -> Result<(), StoreError> {
        let failed = self.site_database().failed();
        let mut writer = self.site_database().writer().await;
        sqlx::query("DELETE FROM bindings WHERE expires <= ? OR line_id NOT IN (SELECT id FROM lines)")
            .bind(now.0)
            .execute(&mut *writer)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn read_in_parts(
        &self,
        now: UtcMillis,
        sender: &mpsc::Sender<Result<List, StoreError>>,
    ) -> Result<(), StoreError> {
        let bounds: (Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT (SELECT min(line_id) FROM bindings), (SELECT max(line_id) FROM bindings)")
                .fetch_one(self.site_database().readers())
                .await
                .map_err(self.site_database().failed())?;
        let (Some(first), Some(last)) = bounds else { return Ok(()) };
        let end = last.saturating_add(1);
        let part = (end.saturating_sub(first) / READERS).max(LINES_PER_STRETCH);
        let mut from = first;
        while from < end {
            let to = if end - from < 2 * part { end } else { from + part };
            let (store, sender) = (self.clone(), sender.clone());
            tokio::spawn(async move {
                if let Err(error) = store.read_part(from, to, now, &sender).await {
                    let _ = sender.send(Err(error)).await;
                }
            });
            from = to;
        }
        Ok(())
    }

    async fn read_part(
        &self,
        from: i64,
        end: i64,
        now: UtcMillis,
        sender: &mpsc::Sender<Result<List, StoreError>>,
    ) -> Result<(), StoreError> {
        let failed = self.site_database().failed();
        let mut next = Some(from);
        while let Some(from) = next.filter(|from| *from < end) {
            let to = from.saturating_add(LINES_PER_STRETCH).min(end);
            let (text, after): (Option<String>, Option<i64>) = sqlx::query_as(STRETCH)
                .bind(from)
                .bind(to)
                .bind(now.0)
                .fetch_one(self.site_database().readers())
                .await
                .map_err(failed)?;
            next = after;
            // Nobody wants the rest: the start has failed.
            if let Some(text) = text
                && sender.send(Ok(read_list(&text))).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// One binding per line of text; JSON has no line breaks of its own.
fn read_list(text: &str) -> List {
    let mut bindings = Vec::with_capacity(LINES_PER_STRETCH.unsigned_abs() as usize);
    let mut damaged = 0;
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(binding) => bindings.push(Arc::new(binding)),
            Err(_) => damaged += 1,
        }
    }
    (bindings, damaged)
}

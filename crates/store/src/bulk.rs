//! The connection for what is written a thousand times a second: call records and bindings.
//!
//! It is synchronous and has a thread to itself for a whole group of rows. The other connections are reached row by row
//! through a channel, which suits everything else and costs more than the row. docs/decisions/0009-two-ways-to-sqlite.md

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::task;

use crate::database::{BUSY_TIMEOUT, PRAGMAS};

/// A connection that groups of rows are written by.
pub struct Bulk(Arc<Mutex<Connection>>);

impl Bulk {
    /// Opens the file, which is there and has its schema.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        for (name, value) in PRAGMAS {
            connection.pragma_update(None, name, value)?;
        }
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` in a transaction and returns when the disk has it. Whatever fails takes all of it back.
    pub async fn write(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) -> rusqlite::Result<()> {
        let connection = Arc::clone(&self.0);
        let written = task::spawn_blocking(move || {
            // A panic in the middle of a group took the group back: the connection is as good as before.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            transaction.commit()
        });
        match written.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// As [`crate::database::Database::limit_pages`].
    pub fn limit_pages(&self, pages: u32) -> rusqlite::Result<()> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Answers with the limit in force, unlike other settings.
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    /// Lets go of the file.
    pub fn close(&self) {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Closing needs the connection by value; one in memory takes its place.
        if let Ok(empty) = Connection::open_in_memory()
            && let Err((_, error)) = std::mem::replace(&mut *connection, empty).close()
        {
            tracing::warn!(%error, "a database did not close cleanly");
        }
    }
}

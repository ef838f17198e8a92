//! The demo lines of `--demo`: two of them, with fresh passwords, on a node that has no lines yet.

use offhook_store::{Author, LineSpec, Store};
use offhook_switch::directory::{DEFAULT_TENANT, Secret};

use crate::RunError;

/// The names of the demo lines.
pub const DEMO_LINES: [&str; 2] = ["101", "102"];

/// Makes the demo lines if the node has none at all; returns names and passwords, which are told this once.
///
/// # Errors
/// The store refuses.
pub async fn make_lines(store: &Store, by: &Author) -> Result<Vec<(&'static str, Secret)>, RunError> {
    let directory = store.load_directory().await.map_err(|error| {
        RunError::new(format!("cannot read the directory: {error}"), RunError::STORE_HINT)
    })?;
    if directory.line_count() > 0 {
        return Ok(Vec::new());
    }
    let mut made = Vec::new();
    for name in DEMO_LINES {
        let password = store.add_line(by, LineSpec::new(DEFAULT_TENANT, name)).await.map_err(|error| {
            RunError::new(format!("cannot add a demo line: {error}"), RunError::STORE_HINT)
        })?;
        if let Some(password) = password {
            made.push((name, password));
        }
    }
    Ok(made)
}

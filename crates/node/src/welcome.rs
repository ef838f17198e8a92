//! What a person is told when the node is up: addresses, and secrets that are shown this once.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use offhook_api::{FIRST_TOKEN, NodeControl as _};
use offhook_base::UtcMillis;
use offhook_store::{Author, Store};
use offhook_switch::directory::Secret;

use crate::{RunError, ServeOptions, config::Config, demo, wiring::Node};

/// What a person is told at the start: on standard output, once.
#[derive(Debug)]
pub struct Welcome {
    /// What the node listens on, a line each.
    pub listening: Vec<String>,
    /// Lines that were just made, with their passwords.
    pub lines: Vec<(&'static str, Secret)>,
    /// The first token, if it was just made.
    pub token: Option<Secret>,
    /// Where the command line finds the token.
    pub token_file: std::path::PathBuf,
    /// The address of the API.
    pub api: String,
    /// A certificate was made.
    pub made_certificate: bool,
    /// What the site lacks, with what to do about it, a line each.
    pub warnings: Vec<String>,
}

impl Welcome {
    /// Makes what a first start makes, demo lines and token, now that nothing else can fail, and says what is there.
    ///
    /// # Errors
    /// The store or the file system refuses.
    pub(crate) async fn prepare(
        config: &Config,
        options: ServeOptions,
        node: &Node,
        now: UtcMillis,
    ) -> Result<Self, RunError> {
        let author = Author::new("serve", now);
        let lines = if options.demo { demo::make_lines(&node.store, &author).await? } else { Vec::new() };
        let token = first_token(&node.store, &author, &config.token_file()).await?;
        let warnings = if lines.is_empty() {
            node.warnings.clone()
        } else {
            node.control.directory_changed().await;
            let site = node.store.load_site().await.map_err(RunError::store)?;
            site.advice(&config.emergency_numbers())
        };
        Ok(Self {
            listening: node.listening.clone(),
            lines,
            token,
            token_file: config.token_file(),
            api: node.api_address.clone(),
            made_certificate: node.made_certificate,
            warnings,
        })
    }
}

/// The first token, kept for the local command line in a file of mode 0600.
async fn first_token(store: &Store, author: &Author, file: &Path) -> Result<Option<Secret>, RunError> {
    let token = store.first_token(author, FIRST_TOKEN).await.map_err(RunError::store)?;
    if let Some(token) = &token {
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)
            .and_then(|mut file| file.write_all(token.reveal().as_bytes()));
        written.map_err(|error| {
            RunError::new(
                format!("cannot write {}: {error}", file.display()),
                "check the data directory's owner",
            )
        })?;
    }
    Ok(token)
}

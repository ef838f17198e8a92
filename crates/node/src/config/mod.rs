//! `offhook.toml`: what the process needs to start. Tenants, lines and peers are data and live in the store.
//!
//! Reading happens in two steps, so that an operator sees as much as possible at once. First the text becomes types:
//! every value parses itself, and the first one that cannot is shown with its line, column and what is allowed
//! ([`ConfigError::Unreadable`]). Then one pass looks at values that are right alone and wrong together, and reports
//! all of them ([`ConfigError::Faulty`]).

mod check;
mod error;
mod listen;
mod networks;
mod reference;
mod section;
mod sections;
mod services;
mod value;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::{ConfigError, Fault};
pub use listen::{ListenAddress, ListenerConfig};
pub use networks::{MethodRates, Network};
pub use reference::{reference_markdown, show};
pub use section::{KeyDocs, Section, SectionDocs};
pub use sections::{
    DigestOffer, Dns, Edge, Http, KernelPlane, KernelWall, Limits, Log, LogFormat, LogLevel, Media, Push,
    Services, Signalling, Sip, Storage, Tls, Transcode,
};
pub use services::{Pin, RoomConfig};
pub use value::{CountryCode, PortRange, Ranged, UtcOffset, WebhookUrl};

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "offhook.toml";

/// Everything that a node is told at its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where SIP is spoken, and how long things may ring.
    pub sip: Sip,
    /// The API, and SIP over WebSocket.
    pub http: Http,
    /// RTP and RTCP.
    pub media: Media,
    /// What the node does itself.
    pub services: Services,
    /// Name servers.
    pub dns: Dns,
    /// Where data is kept.
    pub storage: Storage,
    /// How much is let in.
    pub limits: Limits,
    /// Who is let in.
    pub edge: Edge,
    /// Certificates.
    pub tls: Tls,
    /// What is written down of the node's own work.
    pub log: Log,
    /// Waking sleeping devices.
    pub push: Push,
    /// Threads and timers of the signalling.
    pub signalling: Signalling,
}

impl Config {
    /// Reads `path`; without one [`DEFAULT_FILE`] where it exists, else the embedded defaults.
    ///
    /// # Errors
    /// The file cannot be read, is not what it should be, or contradicts itself. Nothing of it is used then.
    pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigError> {
        let path = match path {
            Some(path) => path.to_path_buf(),
            None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
            None => return Ok(Loaded { config: Self::default(), file: None, text: String::new() }),
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::Unopened { file: path.clone(), error })?;
        let config = Self::parse(&text, &path)?;
        Ok(Loaded { config, file: Some(path), text })
    }

    /// Reads `text`; `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::unreadable(&error, text, file))?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::faulty(faults, text, file)) }
    }

    /// The numbers that every line may call, as the other crates take them.
    pub fn emergency_numbers(&self) -> Vec<Box<str>> {
        self.sip.emergency_numbers.iter().map(|number| number.as_str().into()).collect()
    }

    /// Where the local command line finds the API's token: `token` in the data directory.
    pub fn token_file(&self) -> PathBuf {
        self.storage.data.join("token")
    }
}

/// A configuration and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration, checked.
    pub config: Config,
    /// The file; `None` where the embedded defaults serve.
    pub file: Option<PathBuf>,
    /// What stands in it, to show where something is wrong.
    text: String,
}

impl Loaded {
    /// Reads the certificates and keys that the configuration names, as the node will at its start. Apart from
    /// [`Config::load`], because the command line's user need not be allowed to read the node's key.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or does not fit another.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let faults = self.config.file_faults();
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        if faults.is_empty() { Ok(()) } else { Err(ConfigError::faulty(faults, &self.text, file)) }
    }
}

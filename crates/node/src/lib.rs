//! One running node: configuration, and the rooms wired together.
//!
//! [`run`] starts it and returns when it has ended. Threads: one signalling worker (`worker`) that owns the UDP sockets
//! and the exchange, the media engine's own, and a tokio runtime for streams, DNS, HTTP and storage. They talk by bounded
//! channels.

mod asks;
mod calls;
mod control;
mod demo;
mod doors;
mod facts;
mod kernel_plane;
mod lists;
mod logging;
mod metrics;
mod notify;
mod run;
mod signals;
mod start;
mod takeover;
mod trace;
mod trace_names;
mod troubles;
mod upgrades;
mod wall;
mod welcome;
mod wiring;
mod worker;

pub mod config;

pub use run::{RunError, ServeOptions, run};
pub use takeover::ask_for_upgrade;
pub use welcome::Welcome;

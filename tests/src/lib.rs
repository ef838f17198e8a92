//! End to end: the real binary, real sockets, and real programs of others around it.
//!
//! A [`Node`] is the `offhook` binary in a directory and on ports of its own, so tests run beside each other. The programs
//! are driven through small wrappers that wait for what the program says or does, never for a while. What a test finds
//! wrong it tells with the logs of all that took part.

#![expect(clippy::missing_panics_doc, reason = "a harness reports by panicking; every function of it may")]

pub mod baresip;
pub mod capture;
pub mod http;
pub mod kamailio;
pub mod links;
pub mod load;
pub mod lossy;
pub mod name_server;
pub mod netns;
pub mod node;
pub mod ports;
pub mod process;
pub mod sipp;
pub mod sound;
pub mod stuttering;
pub mod torture;
pub mod user_agent;
pub mod wait;
pub mod websocket;
pub mod wire;

pub use node::{Node, NodeOptions};

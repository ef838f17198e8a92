//! The media engine: port pairs, a relay that carries what one leg sends to the other, transcoded where the two share no
//! codec, and what the node says to legs that it talks with itself.
//!
//! Two parts. [`relay`] is pure: for each packet it says whether to forward it, to whom and through which port, and it
//! learns where a leg behind a NAT really sends from (RFC 7362 §4) without ever believing a stranger. [`MediaEngine`]
//! is the driver: a thread with its sockets, an epoll set and a buffer for a batch of packets; per packet it takes no
//! lock, allocates nothing and logs nothing.
//!
//! The commands and events are call control's: [`offhook_switch::media`].
#![deny(unsafe_op_in_unsafe_fn)]

mod counters;
mod engine;
pub mod kernel;
pub mod ports;
mod prefetch;
pub mod relay;
pub mod sounds;

pub use counters::{DropReason, KernelSnapshot, Snapshot};
pub use engine::{MediaConfig, MediaEngine, MediaHandle, StartError};

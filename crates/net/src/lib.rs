//! The sockets under the SIP core.
//!
//! One ordinary thread, the signalling worker, owns a [`WorkerIo`]: its UDP sockets, read and written in batches, and an
//! eventfd that others ring. Streams (TCP, TLS, WebSocket) live in tokio tasks, one per connection, that frame messages
//! and hand them to the worker through a bounded channel; the worker hands messages back through one bounded queue per
//! connection. A turn of the worker is: [`WorkerIo::turn`], feed each [`NetEvent`] to the core, [`WorkerIo::transmit`]
//! what the core wants sent, and again; what was queued leaves in one `sendmmsg` per socket at the next turn.
//!
//! Where a message goes that names a host is decided in [`location`] (RFC 3263); certificates live in [`tls`].
#![deny(unsafe_op_in_unsafe_fn)]

mod clock;
mod counters;
mod event;
mod handover;
pub mod location;
mod pace;
mod poll;
pub mod stream;
pub mod tls;
mod udp;
mod wake;
mod worker;

pub use clock::Clock;
pub use counters::{Counter, NetCounters};
pub use event::{CloseReason, ConnectionOrigin, NetEvent, TransmitError};
pub use handover::{DESCRIPTORS_MAX, receive_descriptors, send_descriptors};
pub use poll::{Poll, Readiness};
pub use udp::{BindError, DSCP_SIGNALLING, DatagramBatch, DatagramSocket, UdpListenerConfig};
pub use wake::{Bell, CommandError, CommandSender};
pub use worker::{WorkerConfig, WorkerIo};

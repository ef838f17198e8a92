//! Calls: the interpreter. Messages, commands and time come in; messages, commands and lines for the log files go out.

mod act;
mod authentication;
mod bind;
mod give_up;
mod keys;
mod media;
mod outbox;
pub mod plan;
mod progress;
mod receive;
mod render;
mod shard;
mod state;
pub mod trace;
pub mod value;
pub mod view;
pub mod wheel;

pub use outbox::{Outbox, Outgoing, Request, SocketId};
pub use plan::{Behaviours, Now, Plan, Repeating, Settings};
pub use shard::{Shard, Start, call_key, key_of};

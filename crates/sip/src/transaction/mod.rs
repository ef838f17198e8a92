//! Transactions: RFC 3261 §17 with RFC 6026, one machine per figure, and the layer that owns them.
//!
//! Think of registered mail. A client transaction is the sender's counter: it posts the letter again until a receipt
//! comes. A server transaction is the recipient's: it answers a second copy of a letter with a copy of the same receipt
//! and does not bother the recipient again. The [`TransactionLayer`] is the post office of one worker: it finds the
//! counter that a message belongs to, keeps everybody's alarm clock, and hands the transaction user each letter once.

mod ack;
mod entry;
mod incoming;
mod layer;
pub(crate) mod matching;
mod output;
mod response_route;
mod resume;
mod step;
mod table;

pub mod invite_client;
pub mod invite_server;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod timers;

pub use layer::{Branch, LayerConfig, RespondError, SendError, TransactionLayer};
pub use output::{ClientKey, Counters, Output, ServerKey, TransactionKey, TransmitToken};
pub use response_route::response_destination;
pub use resume::Received;
pub use step::Step;
pub use timers::{TimerConfig, TimerQueue};

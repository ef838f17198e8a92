//! SIP (RFC 3261 and its family) without I/O: messages, transactions, dialogs, digest.
#![forbid(unsafe_code)]

pub mod dialog;
pub mod digest;
pub mod header;
pub mod message;
pub mod overload;
pub mod reliable;
pub mod session_timer;
pub mod transaction;
pub mod transport;
pub mod uri;
pub mod write;

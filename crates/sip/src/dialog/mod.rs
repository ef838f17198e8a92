//! Dialogs: RFC 3261 §12, and the 2xx that a user agent repeats until it is acknowledged (§13.3.1.4).
//!
//! A dialog is what two user agents agree on about each other: who they are (Call-ID and two tags), how far each has
//! counted (CSeq), where the other one is (remote target) and by whom messages pass (route set). [`Dialog`] holds just
//! that; what a call does with it is the transaction user's business.

mod accepted;
mod index;
mod requests;
mod state;

pub use accepted::{AcceptedEvent, AcceptedResponse};
pub use index::{DialogId, DialogIndex};
pub use requests::OutgoingVia;
pub use state::{Dialog, DialogError, DialogState, OutOfOrder, Phase};

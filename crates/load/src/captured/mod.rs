//! A scenario pair out of a captured call, with nobody in it whom one could recognise.
//!
//! [`calls`] finds the calls of a capture; [`pair`] makes of one a caller and a callee that send each other what was sent
//! then. Texts are made anew, not masked: what is not known to be harmless ([`message`]) is not taken over.

mod call;
mod description;
mod message;
mod script;

pub use call::{Call, calls};
pub use script::{Pair, pair};

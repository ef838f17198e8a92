//! Who may enter: the guard before call control. Sizes and rates per source, and penalties for guessing passwords; and what
//! to leave undone when more comes than can be done ([`Overload`]), or when the next server asks for it ([`Restraint`]).
//!
//! A source is an IPv4 address or an IPv6 /64 network, the smallest unit that one party can be assumed to hold. Each
//! has two buckets in two separate tables, so that neither a flood of requests nor one of forged sources makes the
//! guard forget who guesses passwords:
//!
//! - **messages**: how many messages it may send per second. Peers and sources with a valid registration are exempt.
//!   What is over the rate is refused with 503 a few times, so that an honest sender learns of it, then dropped.
//! - **failures**: how many wrong credentials it may send. Nobody is exempt. Past it, credentials from that source are
//!   not even looked at until a penalty is over, and each further penalty is twice as long.
#![forbid(unsafe_code)]

mod bucket;
mod edge;
mod failures;
mod limits;
mod overload;
mod restraint;
mod source;
mod table;

pub use edge::{Counters, Edge, Reason, Verdict};
pub use limits::EdgeLimits;
pub use overload::{Episode, Overload, OverloadLimits, Worth};
pub use restraint::{Plea, Restraint};

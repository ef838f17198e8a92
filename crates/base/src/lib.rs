//! The ground every room stands on: time as data, seeded randomness, personal data as a type, and the keys that
//! signalling agrees on and media uses.
//!
//! Nothing here reads a clock, opens a socket or draws from a global generator. Drivers (`offhook-node`,
//! `offhook-net`, `offhook-media`) and the simulator are the only places that make an [`Instant`] or seed a
//! [`Random`]; everything below them is handed both, so a run can be repeated from its inputs alone.
#![forbid(unsafe_code)]

mod address;
mod master_key;
mod personal;
mod random;
mod time;

pub use address::HostPort;
pub use master_key::{CryptoSuite, MasterKey, MasterKeyError};
pub use personal::{DataSubject, Personal, PersonalData, Purpose, mask_text};
pub use random::{Random, Token};
pub use time::{Instant, Moment, UtcMillis};

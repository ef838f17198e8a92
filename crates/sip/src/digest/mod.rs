//! Digest authentication: RFC 7616 and RFC 8760 as SIP uses them (RFC 3261 §22).
//!
//! A server keeps no password, only `H(name:realm:password)` per hash function. [`DigestServer`] challenges and judges;
//! [`DigestSession`] answers the challenges of others.

mod algorithm;
mod client;
mod nonce;
mod server;

pub use algorithm::{Algorithm, HashFunction, HexHash, Protection, ResponseInput};
pub use client::DigestSession;
pub use nonce::{
    NONCE_COUNTS_MAX_DEFAULT, NONCE_LIFETIME_DEFAULT, Nonce, NonceCounts, NonceId, NonceIssuer, NonceState,
};
pub use server::{Challenger, DigestServer, Verdict};

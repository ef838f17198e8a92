//! Digest authentication: RFC 7616 and RFC 8760 as SIP uses them (RFC 3261 §22).

mod algorithm;
mod nonce;

pub use algorithm::{Algorithm, HashFunction, HexHash, Protection, ResponseInput};
pub use nonce::{
    NONCE_COUNTS_MAX_DEFAULT, NONCE_LIFETIME_DEFAULT, Nonce, NonceCounts, NonceId, NonceIssuer, NonceState,
};

//! SRTP and SRTCP (RFC 3711, RFC 7714) with keys from SDES (RFC 4568), in place and without allocation.
//!
//! A [`Protector`] holds one direction's keys and guards packets on their way out; an [`Unprotector`] opens those that
//! come in. Both keep, for each SSRC, the rollover counter and a window of what was already seen. A packet lies at
//! the start of a buffer with [`OVERHEAD_MAX`] bytes to spare.
//!
//! Not supported, so that negotiation must refuse it: MKI, key derivation rates other than 0, UNENCRYPTED_SRTP,
//! UNAUTHENTICATED_SRTP, FEC_ORDER, window sizes of the peer's choice. Header extensions are authenticated and in
//! clear (no RFC 6904).

mod cipher;
mod context;
mod key;
mod sources;

pub use context::{OVERHEAD_MAX, ProtectError, Protector, SrtcpMode, UnprotectError, Unprotector};
pub use sources::{NOTE_EVERY_PACKETS, Progress, REPLAY_WINDOW_PACKETS, SOURCES_MAX};

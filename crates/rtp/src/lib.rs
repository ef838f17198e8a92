//! What travels on a media port, as pure functions over bytes: RTP and RTCP (RFC 3550), SRTP (RFC 3711, RFC 7714),
//! STUN (RFC 8489), telephone events (RFC 4733), and what a receiver can say of a stream's quality (RFC 3550
//! appendix A, ITU-T G.107).
//!
//! Nothing here opens a socket, reads a clock or allocates per packet: packets are views over the bytes that
//! arrived, are rewritten where they lie, and are written into buffers of the caller. A relay step reads:
//! [`demux::classify`] → [`srtp::Unprotector`] → [`rtp::Packet`] → [`statistics::StreamStatistics`] →
//! [`rtp::HeaderMut`] → [`srtp::Protector`].
#![forbid(unsafe_code)]

pub mod demux;
pub mod emodel;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod statistics;
pub mod stun;
pub mod telephone_event;

/// The `N` bytes at `at`, or none if they do not all lie within `bytes`. The one way this crate reads numbers that
/// came from outside, so that a short packet is a case and not a panic.
fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

//! What to put in place of what is taken out.

use std::net::SocketAddr;

use crate::{Crypto, Direction, OwnOrigin, Protocol};

/// The plan for one description.
#[derive(Clone, Debug)]
pub struct AnchorPlan {
    /// Our origin towards the reader.
    pub origin: OwnOrigin,
    /// One per media section, in order. Sections without a plan are refused (port 0).
    pub media: Vec<MediaPlan>,
}

/// The plan for one stream.
#[derive(Clone, Debug, Default)]
pub struct MediaPlan {
    /// Where we take RTP (or UDPTL) for it. `None` refuses the stream. A stream that came refused stays so.
    pub rtp: Option<SocketAddr>,
    /// Where we take RTCP, if not on the next port: written as `a=rtcp` (RFC 3605).
    pub rtcp: Option<SocketAddr>,
    /// What becomes of `a=rtcp-mux`.
    pub rtcp_mux: RtcpMuxPlan,
    /// What becomes of encryption.
    pub crypto: CryptoPlan,
    /// Profile to write instead of the one that `crypto` leads to. An answer must repeat the offer's, which matters
    /// where a phone offers keys beside plain `RTP/AVP`.
    pub protocol: Option<Protocol>,
    /// Direction to write instead of the writer's.
    pub direction: Option<Direction>,
}

impl MediaPlan {
    /// Relays the stream through `rtp`, RTCP on the next port, encryption as it is, `rtcp-mux` taken out.
    pub fn relay(rtp: SocketAddr) -> Self {
        Self { rtp: Some(rtp), ..Self::default() }
    }

    /// Refuses the stream.
    pub fn reject() -> Self {
        Self::default()
    }
}

/// What becomes of `a=rtcp-mux` (RFC 5761).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcpMuxPlan {
    /// Taken out: our RTCP has a port of its own.
    #[default]
    Remove,
    /// Passes if it is there.
    Keep,
    /// Written, there or not.
    Insert,
}

/// What becomes of encryption.
#[derive(Clone, Debug, Default)]
pub enum CryptoPlan {
    /// Keys, fingerprints and profile pass: the ends encrypt to each other through us.
    #[default]
    Pass,
    /// We decrypt for this reader: no keys, plain profile.
    Plain,
    /// We encrypt towards this reader: these keys of ours, secure profile.
    Sdes(Vec<Crypto>),
}

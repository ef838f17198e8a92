//! The questions of call control about a whole description.

use crate::{Crypto, Direction, MediaAddress, MediaKind, PayloadType, Protocol, SessionDescription};

/// What a description says about one stream, gathered for the media engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Position among the media sections, from 0.
    pub index: usize,
    /// What it carries.
    pub kind: MediaKind,
    /// Transport and profile.
    pub protocol: Protocol,
    /// Where RTP is wanted; `None` if the stream is refused (port 0).
    pub rtp: Option<MediaAddress<'a>>,
    /// Where RTCP is wanted if it is not multiplexed.
    pub rtcp: Option<MediaAddress<'a>>,
    /// Whether RTCP may share the port of RTP. Holds once both sides say so (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Payload types in order of preference.
    pub payload_types: Vec<PayloadType>,
    /// Direction that is meant, seen from the writer (see
    /// [`effective_direction`](crate::MediaDescription::effective_direction)).
    pub direction: Direction,
    /// Packet length asked for, milliseconds.
    pub ptime_ms: Option<u16>,
    /// SDES keys we can serve, in order of preference.
    pub cryptos: Vec<Crypto>,
}

impl SessionDescription {
    /// All streams, refused ones included, in order.
    pub fn streams(&self) -> Vec<Stream<'_>> {
        self.media()
            .map(|media| Stream {
                index: media.index(),
                kind: media.kind(),
                protocol: media.protocol(),
                rtp: media.rtp_address(),
                rtcp: media.rtcp_address(),
                rtcp_mux: media.rtcp_mux(),
                payload_types: media.payload_types().collect(),
                direction: media.effective_direction(),
                ptime_ms: media.ptime(),
                cryptos: media.cryptos().filter_map(Result::ok).collect(),
            })
            .collect()
    }

    /// Whether a stream in use can only be served with DTLS: its protocol says so, or it offers SRTP with a
    /// fingerprint and without SDES keys.
    pub fn needs_dtls(&self) -> bool {
        self.media().filter(|media| !media.is_rejected()).any(|media| {
            media.protocol().is_dtls()
                || (media.protocol().is_secure() && !media.has_crypto() && media.fingerprint().is_some())
        })
    }

    /// Whether a stream in use offers SRTP with an SDES key we can serve, in a secure profile or beside a plain one.
    pub fn offers_srtp_sdes(&self) -> bool {
        self.media()
            .filter(|media| !media.is_rejected() && media.protocol().is_rtp() && !media.protocol().is_dtls())
            .any(|media| media.cryptos().any(|crypto| crypto.is_ok()))
    }

    /// Whether the writer holds the call: there is sound in use, and none of it is heard.
    pub fn is_hold(&self) -> bool {
        let mut audio =
            self.media().filter(|media| media.kind() == MediaKind::Audio && !media.is_rejected()).peekable();
        audio.peek().is_some() && audio.all(|media| media.is_hold())
    }
}

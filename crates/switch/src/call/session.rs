//! One leg's half of the media session: what the leg said last, what we told it last, and where its media runs.
//!
//! The node never invents a description: what one leg offers or answers is anchored at the other leg's ports and passed
//! on. So codecs, directions and keys are settled between the endpoints, and only addresses are ours.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use offhook_base::Random;
use offhook_sdp::{
    OwnOrigin, SessionDescription,
    anchor::{AnchorPlan, MediaPlan, RtcpMuxPlan, anchor},
};

use crate::media::{EndpointId, PayloadName, RemoteMedia, STREAMS_MAX, StreamConfig};

/// The half session of one leg.
#[derive(Debug)]
pub struct LegSession {
    /// The media endpoint; `None` where media goes straight between the endpoints.
    endpoint: Option<EndpointId>,
    /// Where we take its media.
    address: IpAddr,
    /// RTP port per stream, once the engine has opened them.
    ports: Vec<u16>,
    origin: Option<OwnOrigin>,
    /// The last description of the leg that took effect.
    theirs: Option<SessionDescription>,
    /// The last description we gave it, as written.
    ours: Option<Bytes>,
}

impl LegSession {
    /// A session whose media, if anchored, is taken at `address`.
    pub const fn new(endpoint: Option<EndpointId>, address: IpAddr) -> Self {
        Self { endpoint, address, ports: Vec::new(), origin: None, theirs: None, ours: None }
    }

    /// The media endpoint.
    pub const fn endpoint(&self) -> Option<EndpointId> {
        self.endpoint
    }

    /// Takes the endpoint away, to be closed once.
    pub const fn take_endpoint(&mut self) -> Option<EndpointId> {
        self.endpoint.take()
    }

    /// Whether the ports are there, or none are needed.
    pub const fn is_open(&self) -> bool {
        self.endpoint.is_none() || !self.ports.is_empty()
    }

    /// Whether `streams` media sections find ports.
    pub const fn has_ports_for(&self, streams: usize) -> bool {
        self.endpoint.is_none() || self.ports.len() >= streams
    }

    /// The answer that takes nothing of an offer, for an ACK that must bring one before a BYE (RFC 3261 §13.2.2.4).
    pub fn decline(&mut self, offer: &SessionDescription, random: &mut Random) -> Bytes {
        let origin = self.origin.unwrap_or_else(|| OwnOrigin::new(random, self.address)).next_version();
        let media = (0..offer.media().len()).map(|_| MediaPlan::reject()).collect();
        self.origin = Some(origin);
        anchor(offer, &AnchorPlan { origin, media })
    }

    /// Whether the engine has ever opened ports for it.
    pub const fn was_opened(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Takes back the last description: it was refused, what was said before is in force again.
    pub fn take_back(&mut self, before: Option<Bytes>) {
        self.ours = before;
    }

    /// The engine has opened the ports.
    pub fn opened(&mut self, ports: Vec<u16>) {
        self.ports = ports;
    }

    /// The leg's own description in force.
    pub const fn theirs(&self) -> Option<&SessionDescription> {
        self.theirs.as_ref()
    }

    /// The description we gave last, for refreshes that change nothing.
    pub const fn ours(&self) -> Option<&Bytes> {
        self.ours.as_ref()
    }

    /// The leg's description took effect.
    pub fn accept(&mut self, theirs: SessionDescription) {
        self.theirs = Some(theirs);
    }

    /// What this leg is told of `other`: the other leg's description, anchored at our ports for this leg.
    ///
    /// The version counts up whenever the text changes (RFC 3264 §8).
    pub fn describe(&mut self, other: &SessionDescription, random: &mut Random) -> Bytes {
        if self.endpoint.is_none() {
            let mut text = bytes::BytesMut::new();
            other.write(&mut text);
            let text = text.freeze();
            self.ours = Some(text.clone());
            return text;
        }
        let origin = self.origin.unwrap_or_else(|| OwnOrigin::new(random, self.address));
        let plan = AnchorPlan { origin, media: self.plan(other) };
        let mut text = anchor(other, &plan);
        let mut origin_used = origin;
        if self.ours.as_ref().is_some_and(|before| *before != text) {
            origin_used = origin.next_version();
            text = anchor(other, &AnchorPlan { origin: origin_used, ..plan });
        }
        self.origin = Some(origin_used);
        self.ours = Some(text.clone());
        text
    }

    fn plan(&self, other: &SessionDescription) -> Vec<MediaPlan> {
        (0..other.media().len().min(STREAMS_MAX))
            .map(|index| match self.ports.get(index) {
                Some(&port) => MediaPlan {
                    rtcp_mux: RtcpMuxPlan::Keep,
                    ..MediaPlan::relay(SocketAddr::new(self.address, port))
                },
                None => MediaPlan::reject(),
            })
            .collect()
    }

    /// What the media engine must know of this leg, given the leg at the bridge's other end.
    pub fn stream_configs(&self, other: &Self) -> Vec<StreamConfig> {
        let Some(theirs) = &self.theirs else { return Vec::new() };
        theirs.media().take(self.ports.len()).map(|media| self.stream_config(&media, other)).collect()
    }

    fn stream_config(&self, media: &offhook_sdp::MediaDescription<'_>, other: &Self) -> StreamConfig {
        let resolved = media.rtp_address().and_then(|address| address.socket_addr());
        let (Some(rtp), false) = (resolved, media.is_rejected()) else { return StreamConfig::default() };
        let rtcp = media.rtcp_address().and_then(|address| address.socket_addr());
        let other_muxes = other
            .theirs
            .as_ref()
            .and_then(|theirs| theirs.media_at(media.index()))
            .is_some_and(|media| media.rtcp_mux());
        let direction = media.effective_direction();
        StreamConfig {
            remote: Some(RemoteMedia {
                rtp,
                rtcp: rtcp.unwrap_or(SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))),
            }),
            receives: direction.sends(),
            sends: direction.receives(),
            rtcp_mux: media.rtcp_mux() && other_muxes,
            crypto: None,
            payloads: media
                .codecs()
                .map(|map| PayloadName {
                    payload_type: map.payload_type.number(),
                    codec: map.codec.name.into(),
                    clock_rate: map.codec.clock_rate,
                })
                .collect(),
        }
    }
}

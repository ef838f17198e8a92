//! What an offer and its answer agree on, for call records and the media engine.

use crate::{Codec, Direction, MediaDescription, MediaKind, PayloadType, RtpMap, SessionDescription};

/// What was agreed for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedStream<'a> {
    /// Position among the media sections, from 0.
    pub index: usize,
    /// What it carries.
    pub kind: MediaKind,
    /// The codec both have and the answerer prefers; `None` for streams that are not RTP.
    pub codec: Option<Codec<'a>>,
    /// Payload type the offerer wants to receive that codec with.
    pub offer_payload_type: Option<PayloadType>,
    /// Payload type the answerer wants to receive that codec with; nearly always the same.
    pub answer_payload_type: Option<PayloadType>,
    /// Telephone events as the answerer wants to receive them, where both know them.
    pub telephone_event: Option<RtpMap<'a>>,
    /// What flows, seen from the offerer.
    pub direction: Direction,
    /// RTP and RTCP share a port: offered and accepted.
    pub rtcp_mux: bool,
}

/// Streams in use after `offer` was answered by `answer`, in order. Refused streams are left out.
pub fn negotiated<'a>(
    offer: &'a SessionDescription,
    answer: &'a SessionDescription,
) -> Vec<NegotiatedStream<'a>> {
    offer
        .media()
        .zip(answer.media())
        .filter(|(offered, answered)| !offered.is_rejected() && !answered.is_rejected())
        .map(|(offered, answered)| {
            let agreed = first_common(&offered, &answered);
            NegotiatedStream {
                index: offered.index(),
                kind: offered.kind(),
                codec: agreed.map(|(_, map)| map.codec),
                offer_payload_type: agreed.map(|(map, _)| map.payload_type),
                answer_payload_type: agreed.map(|(_, map)| map.payload_type),
                telephone_event: offered.telephone_event().and(answered.telephone_event()),
                direction: offered.effective_direction().answered_by(answered.effective_direction()),
                rtcp_mux: offered.rtcp_mux() && answered.rtcp_mux(),
            }
        })
        .collect()
}

/// The answerer's first codec that was offered too, as (offered, answered).
pub(crate) fn first_common<'a>(
    offered: &MediaDescription<'a>,
    answered: &MediaDescription<'a>,
) -> Option<(RtpMap<'a>, RtpMap<'a>)> {
    let offers: Vec<RtpMap<'a>> = offered.codecs().collect();
    answered.codecs().filter(|map| !map.codec.is_auxiliary()).find_map(|answer| {
        let offer = offers.iter().find(|offer| offer.codec == answer.codec)?;
        Some((*offer, answer))
    })
}

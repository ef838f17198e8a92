//! Where two sides share no codec: what else is offered, how the answer is made to fit, and how the engine is to recode.
//!
//! A phone that finds no codec of its own in an offer refuses it with 488. It is asked once more, with the codecs that the node
//! speaks behind the caller's. What it then picks is not shown to the caller: the answer names the caller's first codec that
//! the node speaks, and the engine recodes between the two. Where the sides do share a codec nothing is recoded.

use offhook_base::Moment;
use offhook_codec::{OpusWishes, VoiceCodec};
use offhook_sdp::{Codec, Format, FormatsPlan, MediaDescription, MediaKind, PayloadType, SessionDescription};

use super::Call;
use crate::{
    exchange::{owners::LegIndex, services::Services},
    fact::{TranscodeReason, What},
    media::{EventsConfig, StreamConfig, VoiceConfig},
    settings::Transcoding,
};

/// What the node offers beside the caller's codecs, the best sounding first.
pub(super) const OFFERED: [VoiceCodec; 4] =
    [VoiceCodec::Opus, VoiceCodec::G722, VoiceCodec::Pcma, VoiceCodec::Pcmu];
/// Parameters of the Opus that the node offers: FEC is made use of (RFC 7587 §6.1).
pub(super) const OPUS_PARAMETERS: &str = "useinbandfec=1";
/// Dynamic payload types. RFC 3551 §3.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// Length of the packets we send where the other side asks for none, ms. RFC 3551 §4.2, RFC 7587 §6.1.
const PACKET_MS: u32 = 20;
/// Telephone events as the node offers them, and the sixteen keys as their parameters. RFC 4733 §3.2.
const EVENTS: &str = "telephone-event";
const EVENTS_CLOCK: u32 = 8000;
pub(super) const KEYS: &str = "0-15";
/// Comfort noise at 8000 Hz. RFC 3389 §4.
const COMFORT_NOISE: u8 = 13;

/// The voice codec of a format, if the node speaks it.
pub(super) fn spoken(codec: &Codec<'_>) -> Option<VoiceCodec> {
    VoiceCodec::of_encoding(codec.name, codec.clock_rate, codec.channels)
}

/// Whether a stream is sound over RTP, in use.
pub(super) fn is_voice(media: &MediaDescription<'_>) -> bool {
    media.kind() == MediaKind::Audio && media.protocol().is_rtp() && !media.is_rejected()
}

/// `offer` with the codecs of the node behind its own, in each stream that the node could recode; `None` if there is no such
/// stream. `keys`: it will be recoded, and so telephone events are offered where it has none, and keys converted.
pub fn extended(offer: &SessionDescription, keys: bool) -> Option<SessionDescription> {
    let plans: Vec<FormatsPlan<'_>> = offer.media().map(|media| extension(&media, keys)).collect();
    let adds = plans.iter().any(|plan| *plan != FormatsPlan::Keep);
    if adds { offer.with_formats(&plans).ok() } else { None }
}

fn extension<'a>(media: &MediaDescription<'a>, keys: bool) -> FormatsPlan<'a> {
    let has: Vec<VoiceCodec> = media.codecs().filter_map(|map| spoken(&map.codec)).collect();
    if !is_voice(media) || has.is_empty() {
        return FormatsPlan::Keep;
    }
    let mut dynamic = DYNAMIC
        .filter_map(PayloadType::new)
        // Numbers that only a left-over `a=rtpmap` names would be ambiguous.
        .filter(|number| media.codec(*number).is_none())
        .filter(|number| !media.payload_types().any(|used| used == *number));
    let missing = OFFERED.into_iter().filter(|codec| !has.contains(codec));
    let mut formats: Vec<Format<'a>> = missing
        .filter_map(|codec| {
            let payload_type = match codec.static_payload_type() {
                Some(number) => PayloadType::new(number)?,
                None => dynamic.next()?,
            };
            let (name, clock_rate, channels) = (codec.name(), codec.clock_rate(), codec.channels());
            let parameters = (codec == VoiceCodec::Opus).then_some(OPUS_PARAMETERS);
            Some(Format { payload_type, codec: Codec { name, clock_rate, channels }, parameters })
        })
        .collect();
    if formats.is_empty() {
        return FormatsPlan::Keep;
    }
    if keys
        && media.telephone_event().is_none()
        && let Some(payload_type) = dynamic.next()
    {
        let codec = Codec { name: EVENTS, clock_rate: EVENTS_CLOCK, channels: 1 };
        formats.push(Format { payload_type, codec, parameters: Some(KEYS) });
    }
    FormatsPlan::Add(formats)
}

/// An answer as the offerer is told of it.
#[derive(Debug)]
pub struct Settled {
    /// The answer; `None`: as it came.
    pub answer: Option<SessionDescription>,
    /// Some stream is recoded.
    pub recodes: bool,
}

/// Makes `answer`, which may pick codecs that only the node has offered, fit `offer`.
pub fn settled(answer: &SessionDescription, offer: &SessionDescription) -> Settled {
    let mut recodes = false;
    let plans: Vec<FormatsPlan<'_>> = answer
        .media()
        .map(|answered| match offer.media_at(answered.index()) {
            Some(offered) if is_voice(&answered) && is_voice(&offered) => {
                let (plan, recoded) = settlement(&answered, &offered);
                recodes |= recoded;
                plan
            }
            _ => FormatsPlan::Keep,
        })
        .collect();
    let changes = plans.iter().any(|plan| *plan != FormatsPlan::Keep);
    Settled { answer: changes.then(|| answer.with_formats(&plans).ok()).flatten(), recodes }
}

fn settlement<'a>(
    answered: &MediaDescription<'a>,
    offered: &MediaDescription<'a>,
) -> (FormatsPlan<'a>, bool) {
    let was_offered = |format: &Format<'_>| offered.codecs().any(|map| map.codec == format.codec);
    let formats: Vec<Format<'a>> = answered.known_formats().collect();
    let (shared, others): (Vec<Format<'a>>, Vec<Format<'a>>) = formats.into_iter().partition(was_offered);
    if others.is_empty() {
        return (FormatsPlan::Keep, false);
    }
    if shared.iter().any(|format| !format.codec.is_auxiliary()) {
        return (FormatsPlan::Replace(shared), false);
    }
    let understood = others.iter().any(|format| spoken(&format.codec).is_some());
    let chosen = offered.known_formats().find(|format| spoken(&format.codec).is_some());
    let Some(chosen) = chosen.filter(|_| understood) else { return (FormatsPlan::Keep, false) };
    // Whether the other side knows events or not: what is pressed is converted.
    let events = offered
        .telephone_event()
        .and_then(|event| offered.known_formats().find(|format| format.payload_type == event.payload_type));
    let noise = |format: &Format<'_>| format.payload_type.number() == COMFORT_NOISE;
    let noise = answered.known_formats().find(noise).and(offered.known_formats().find(noise));
    (FormatsPlan::Replace([Some(chosen), events, noise].into_iter().flatten().collect()), true)
}

/// What one leg has agreed on for a stream: its own description, and what it was told.
struct Agreed<'a> {
    codec: VoiceCodec,
    theirs: Format<'a>,
    ours: Format<'a>,
}

fn agreed<'a>(theirs: &MediaDescription<'a>, ours: &MediaDescription<'a>) -> Option<Agreed<'a>> {
    theirs.known_formats().find_map(|theirs| {
        let codec = spoken(&theirs.codec)?;
        let ours = ours.known_formats().find(|ours| ours.codec == theirs.codec)?;
        Some(Agreed { codec, theirs, ours })
    })
}

/// How the engine is to recode a stream of a leg whose descriptions are `theirs` and, told to it, `ours`, opposite another
/// leg; `None` if both have the same codec, or one has none that the node speaks.
pub fn voice(
    [theirs, ours]: [&MediaDescription<'_>; 2],
    [other_theirs, other_ours]: [&MediaDescription<'_>; 2],
) -> Option<VoiceConfig> {
    let (leg, other) = (agreed(theirs, ours)?, agreed(other_theirs, other_ours)?);
    if leg.codec == other.codec {
        return None;
    }
    Some(config(&leg, [theirs, ours], leg.codec.rate_beside(other.codec)))
}

/// How the engine is to understand and make the sound of a leg that the node itself talks with; `None` if they have agreed on
/// no codec that it speaks.
pub fn voice_alone([theirs, ours]: [&MediaDescription<'_>; 2]) -> Option<VoiceConfig> {
    let leg = agreed(theirs, ours)?;
    Some(config(&leg, [theirs, ours], leg.codec.rate_beside(VoiceCodec::G722)))
}

fn config(leg: &Agreed<'_>, [theirs, ours]: [&MediaDescription<'_>; 2], rate: u32) -> VoiceConfig {
    let fits = |ms: &u32| leg.codec.takes_packet_of(*ms);
    let longest = theirs.max_ptime().map_or(u32::MAX, u32::from);
    let packet_ms = theirs.ptime().map(u32::from).filter(fits).unwrap_or(PACKET_MS).min(longest);
    let all_events = theirs.codecs().filter(|map| map.codec.is(EVENTS));
    let events = theirs.telephone_event().into_iter().chain(all_events).find_map(|event| {
        let ours = ours.codecs().find(|map| map.codec == event.codec)?;
        Some(EventsConfig {
            heard_as: ours.payload_type.number(),
            sent_as: event.payload_type.number(),
            clock_rate: event.codec.clock_rate,
        })
    });
    let has_noise =
        |media: &MediaDescription<'_>| media.payload_types().any(|payload| payload.number() == COMFORT_NOISE);
    VoiceConfig {
        codec: leg.codec,
        rate,
        heard_as: leg.ours.payload_type.number(),
        sent_as: leg.theirs.payload_type.number(),
        packet_ms: Some(packet_ms).filter(fits).unwrap_or(10),
        opus: opus_wishes(leg.theirs.parameters.unwrap_or_default()),
        events,
        comfort_noise: has_noise(theirs) && has_noise(ours),
    }
}

/// The codecs of two legs whose streams are configured like this, where the first stream that both recode has them.
pub fn recoded(left: &[StreamConfig], right: &[StreamConfig]) -> Option<[&'static str; 2]> {
    let name = |config: &StreamConfig| config.voice.as_ref().map(|voice| voice.codec.name());
    left.iter().zip(right).find_map(|(left, right)| Some([name(left)?, name(right)?]))
}

impl Call {
    /// Tells that two legs are recoded to each other's codecs, where that is new.
    pub(super) fn note_transcoding(
        &mut self,
        services: &mut Services,
        legs: [LegIndex; 2],
        codecs: Option<[&'static str; 2]>,
        now: Moment,
    ) {
        let why = match services.settings.transcoding {
            Transcoding::Always => TranscodeReason::Offered,
            Transcoding::OnRefusal | Transcoding::Never => TranscodeReason::Refused,
        };
        for (at, index) in legs.into_iter().enumerate() {
            let leg = &mut self.legs[usize::from(index)];
            let to = codecs.map(|codecs| codecs[1 - at]);
            if std::mem::replace(&mut leg.recoded_to, to) == to {
                continue;
            }
            let leg = leg.index;
            if let (Some(call), Some([left, right])) = (self.id(), codecs) {
                let [from, to] = if at == 0 { [left, right] } else { [right, left] };
                services.fact(What::LegTranscoded { call, leg, from, to, why }, now);
            }
        }
    }
}

/// RFC 7587 §6.1.
fn opus_wishes(parameters: &str) -> OpusWishes {
    let value = |name: &str| {
        parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    OpusWishes {
        fec: value("useinbandfec") == Some("1"),
        dtx: value("usedtx") == Some("1"),
        bitrate_max: value("maxaveragebitrate").and_then(|rate| rate.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(formats: &str, lines: &str) -> SessionDescription {
        SessionDescription::parse(format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n{lines}"
        ))
        .unwrap()
    }

    fn formats(sdp: &SessionDescription) -> Vec<String> {
        let media = sdp.media_at(0).unwrap();
        media.codecs().map(|map| format!("{} {}", map.payload_type, map.codec)).collect()
    }

    const OPUS: &str = "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;usedtx=1\r\n\
        a=rtpmap:97 telephone-event/48000\r\n";

    #[test]
    fn an_offer_is_extended_behind_its_own_codecs() {
        let more = extended(&description("96 8", OPUS), true).unwrap();
        assert_eq!(
            formats(&more),
            ["96 opus/48000/2", "8 PCMA/8000", "9 G722/8000", "0 PCMU/8000", "98 telephone-event/8000"]
        );
        let more = extended(&description("0 96", "a=rtpmap:96 telephone-event/8000\r\n"), true).unwrap();
        assert_eq!(
            formats(&more),
            ["0 PCMU/8000", "96 telephone-event/8000", "97 opus/48000/2", "9 G722/8000", "8 PCMA/8000"]
        );
    }

    /// Where the sides may still find a codec that they share, a key would go as an event to one that does not know them.
    #[test]
    fn events_are_offered_for_a_caller_that_has_none_where_the_stream_will_be_recoded() {
        let more = |keys| formats(&extended(&description("0", ""), keys).unwrap());
        assert_eq!(more(false), ["0 PCMU/8000", "96 opus/48000/2", "9 G722/8000", "8 PCMA/8000"]);
        assert_eq!(more(true)[4], "97 telephone-event/8000");
        let answer = description("8 97", "a=rtpmap:97 telephone-event/8000\r\n");
        let settled = settled(&answer, &description("0", ""));
        assert_eq!(formats(&settled.answer.unwrap()), ["0 PCMU/8000"]);
    }

    #[test]
    fn a_caller_keeps_its_events_where_the_callee_knows_none() {
        let offer = description("0 101", "a=rtpmap:101 telephone-event/8000\r\n");
        let settled = settled(&description("8", ""), &offer);
        assert_eq!(formats(&settled.answer.unwrap()), ["0 PCMU/8000", "101 telephone-event/8000"]);
    }

    #[test]
    fn what_the_node_cannot_recode_is_not_extended() {
        assert!(extended(&description("18", ""), true).is_none(), "G.729 alone");
        assert!(extended(&description("96 0 8 9", OPUS), true).is_none(), "nothing to add");
    }

    #[test]
    fn sides_that_share_a_codec_are_left_alone() {
        let offer = description("8 0", "");
        let settled_ = settled(&description("0", ""), &offer);
        assert!(settled_.answer.is_none() && !settled_.recodes);
        let both = settled(&description("9 8", ""), &offer);
        assert_eq!(formats(&both.answer.unwrap()), ["8 PCMA/8000"], "what was not offered is not answered");
        assert!(!both.recodes);
    }

    #[test]
    fn sides_that_share_none_are_recoded_from_the_callers_first_codec() {
        let offer = description("18 8 0 101 13", "a=rtpmap:101 telephone-event/8000\r\n");
        let answer = description("96 97", OPUS);
        let settled = settled(&answer, &offer);
        assert!(settled.recodes);
        let told = settled.answer.unwrap();
        assert_eq!(formats(&told), ["8 PCMA/8000", "101 telephone-event/8000"]);
        let more = extended(&offer, true).unwrap();
        let at = |sdp: &SessionDescription| sdp.media_at(0).unwrap().index();
        assert_eq!(at(&more), 0);
        let (offer, told) = (offer.media_at(0).unwrap(), told.media_at(0).unwrap());
        let (answer, more) = (answer.media_at(0).unwrap(), more.media_at(0).unwrap());
        let caller = voice([&offer, &told], [&answer, &more]).unwrap();
        assert_eq!((caller.codec, caller.rate, caller.sent_as), (VoiceCodec::Pcma, 8000, 8));
        assert_eq!(caller.events.unwrap().clock_rate, 8000);
        let callee = voice([&answer, &more], [&offer, &told]).unwrap();
        assert_eq!(
            (callee.codec, callee.rate, callee.sent_as, callee.packet_ms),
            (VoiceCodec::Opus, 8000, 96, 20)
        );
        assert_eq!(callee.opus, OpusWishes { fec: true, dtx: true, bitrate_max: None });
    }

    #[test]
    fn an_answer_that_nobody_understands_stays_as_it_is() {
        let settled = settled(&description("18", ""), &description("8", ""));
        assert!(settled.answer.is_none() && !settled.recodes);
    }
}

//! The node's own half of a session, where it talks with a leg itself: what it answers to an offer, and what it offers.
//!
//! Of an offer the first stream of sound is taken that has a codec of the node's, in the codec that the caller likes best;
//! everything else is refused (RFC 3264 §6). Ports, addresses and keys are put in by
//! [`LegSession`](super::session::LegSession), as in every description.

use std::fmt::Write as _;

use offhook_sdp::{Codec, Direction, Format, MediaDescription, PayloadType, SessionDescription};

use super::transcode::{KEYS, OFFERED, OPUS_PARAMETERS, is_voice, spoken};

/// The port of a stream that is taken, until the real one is put in.
const SOME_PORT: u16 = 9;
/// Telephone events are offered by this number, beside codecs of 8000 Hz and beside Opus.
const EVENTS: [(u8, u32); 2] = [(101, 8000), (102, 48_000)];
/// Opus is offered by this number.
const OPUS: u8 = 96;

/// The answer to `offer`; `None` if it has no sound that the node can speak.
pub fn answer(offer: &SessionDescription) -> Option<SessionDescription> {
    let taken = offer.media().find_map(|media| Some((media.index(), understood(&media)?)))?;
    let mut text = head();
    for media in offer.media() {
        // A text takes all that is written to it, here and below.
        let _ = match &taken {
            (index, codec) if *index == media.index() => accept(&mut text, &media, codec),
            _ => refuse(&mut text, &media),
        };
    }
    SessionDescription::parse(text).ok()
}

/// What the node offers where the caller leaves it to the called side: all its codecs.
pub fn offer() -> Option<SessionDescription> {
    let mut text = head();
    let number = |codec: &offhook_codec::VoiceCodec| codec.static_payload_type().unwrap_or(OPUS);
    let mut line = format!("m=audio {SOME_PORT} RTP/AVP");
    for number in OFFERED.iter().map(number).chain(EVENTS.map(|(number, _)| number)) {
        let _ = write!(line, " {number}");
    }
    text.push_str(&line);
    text.push_str("\r\n");
    for codec in OFFERED {
        let channels = if codec.channels() > 1 { format!("/{}", codec.channels()) } else { String::new() };
        let _ =
            write!(text, "a=rtpmap:{} {}/{}{channels}\r\n", number(&codec), codec.name(), codec.clock_rate());
    }
    let _ = write!(text, "a=fmtp:{OPUS} {OPUS_PARAMETERS}\r\n");
    for (number, clock_rate) in EVENTS {
        let _ = write!(text, "a=rtpmap:{number} telephone-event/{clock_rate}\r\na=fmtp:{number} {KEYS}\r\n");
    }
    SessionDescription::parse(text).ok()
}

fn head() -> String {
    "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n".into()
}

/// The first format of a stream that the node speaks.
fn understood<'a>(media: &MediaDescription<'a>) -> Option<Format<'a>> {
    if !is_voice(media) {
        return None;
    }
    media.known_formats().find(|format| spoken(&format.codec).is_some())
}

/// The telephone events that go with `codec`: in its clock, if there are such (RFC 4733 §2.1).
fn events<'a>(media: &MediaDescription<'a>, codec: &Codec<'_>) -> Option<(PayloadType, u32)> {
    let all = || media.codecs().filter(|map| map.codec.is("telephone-event"));
    let map = all().find(|map| map.codec.clock_rate == codec.clock_rate).or_else(|| all().next())?;
    Some((map.payload_type, map.codec.clock_rate))
}

fn accept(text: &mut String, media: &MediaDescription<'_>, format: &Format<'_>) -> std::fmt::Result {
    let protocol = media.protocol().plain();
    let profile = protocol.name().unwrap_or("RTP/AVP");
    let events = events(media, &format.codec);
    write!(text, "m=audio {SOME_PORT} {profile} {}", format.payload_type)?;
    if let Some((number, _)) = events {
        write!(text, " {number}")?;
    }
    write!(text, "\r\na=rtpmap:{} {}\r\n", format.payload_type, format.codec)?;
    if format.codec.is("opus") {
        write!(text, "a=fmtp:{} {OPUS_PARAMETERS}\r\n", format.payload_type)?;
    }
    if let Some((number, clock_rate)) = events {
        write!(text, "a=rtpmap:{number} telephone-event/{clock_rate}\r\na=fmtp:{number} {KEYS}\r\n")?;
    }
    if let Some(ms) = media.ptime() {
        write!(text, "a=ptime:{ms}\r\n")?;
    }
    if media.rtcp_mux() {
        text.write_str("a=rtcp-mux\r\n")?;
    }
    write!(text, "a={}\r\n", answering(media).as_str())
}

/// A hold is answered by what is left of the session (RFC 3264 §6.1).
fn answering(media: &MediaDescription<'_>) -> Direction {
    media.effective_direction().reversed()
}

fn refuse(text: &mut String, media: &MediaDescription<'_>) -> std::fmt::Result {
    write!(text, "m={} 0 {}", media.kind_text(), media.protocol_text())?;
    for format in media.formats() {
        write!(text, " {format}")?;
    }
    text.write_str("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(media: &str) -> SessionDescription {
        SessionDescription::parse(format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}"
        ))
        .unwrap()
    }

    fn formats(media: &MediaDescription<'_>) -> Vec<String> {
        media.codecs().map(|map| format!("{} {}", map.payload_type, map.codec)).collect()
    }

    #[test]
    fn the_first_sound_in_a_codec_of_ours_is_taken_and_the_rest_refused() {
        let offer = description(
            "m=video 4002 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n\
             m=audio 4000 RTP/AVP 18 96 0 101 102\r\na=rtpmap:96 opus/48000/2\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000\r\na=ptime:20\r\na=rtcp-mux\r\n\
             m=audio 4004 RTP/AVP 8\r\n",
        );
        let answer = answer(&offer).unwrap();
        assert_eq!(answer.media().map(|media| media.is_rejected()).collect::<Vec<_>>(), [true, false, true]);
        let audio = answer.media_at(1).unwrap();
        assert_eq!(formats(&audio), ["96 opus/48000/2", "102 telephone-event/48000"]);
        assert_eq!(
            (audio.ptime(), audio.rtcp_mux(), audio.direction()),
            (Some(20), true, Direction::SendRecv)
        );
    }

    #[test]
    fn a_hold_is_answered_as_one() {
        let answer = answer(&description("m=audio 4000 RTP/AVP 8\r\na=sendonly\r\n")).unwrap();
        assert_eq!(answer.media_at(0).unwrap().direction(), Direction::RecvOnly);
    }

    #[test]
    fn what_the_node_does_not_speak_is_not_answered() {
        assert!(answer(&description("m=audio 4000 RTP/AVP 18\r\n")).is_none());
        assert!(answer(&description("m=audio 0 RTP/AVP 8\r\n")).is_none());
        assert!(answer(&description("m=image 4000 udptl t38\r\n")).is_none());
    }

    #[test]
    fn what_is_offered_can_be_read_and_has_all_codecs() {
        let offer = offer().unwrap();
        let audio = offer.media_at(0).unwrap();
        assert_eq!(
            formats(&audio),
            [
                "96 opus/48000/2",
                "9 G722/8000",
                "8 PCMA/8000",
                "0 PCMU/8000",
                "101 telephone-event/8000",
                "102 telephone-event/48000"
            ]
        );
    }
}

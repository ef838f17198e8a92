//! `<exec>` of media: captures, streams, keys, echoes.

use std::sync::Arc;

use super::{
    actions,
    fault::Fault,
    model::MediaAction,
    read::{Attributes, Names, base_name},
    xml::Attribute,
};
use crate::media::{
    audio::{Audio, Packing},
    clip::Clip,
    description::Kind,
    pattern::Pattern,
};

/// Attributes that play a capture.
const PLAYS: [(&str, Kind); 4] = [
    ("play_pcap_audio", Kind::Audio),
    ("play_pcap_video", Kind::Video),
    ("play_pcap_image", Kind::Image),
    ("play_pcap_text", Kind::Text),
];

/// Reads what an `<exec>` does with media; `None` if it does nothing of the kind.
pub(super) fn exec(
    attributes: &mut Attributes<'_>,
    names: &mut Names<'_>,
) -> Result<Option<MediaAction>, Fault> {
    for (name, kind) in PLAYS {
        if let Some(attribute) = attributes.take(name) {
            return clip(attribute, names).map(|clip| Some(MediaAction::Play(kind, Arc::new(clip))));
        }
    }
    if let Some(attribute) = attributes.take("rtp_stream") {
        return stream(attribute, names).map(Some);
    }
    if let Some(attribute) = attributes.take("rtp_echo") {
        return echo(attribute).map(Some);
    }
    if attributes.take("play_dtmf").is_some() {
        return actions::text(attributes, "play_dtmf", names).map(|keys| Some(MediaAction::Keys(keys)));
    }
    Ok(None)
}

fn file(attribute: &Attribute, name: &str, names: &Names<'_>) -> Result<Vec<u8>, Fault> {
    let known = names.known;
    (known.read_media)(&known.directory, name).map_err(|why| {
        Fault::new(attribute.place, why)
            .hint("a path beside the scenario, or from where offhook load is started")
    })
}

fn clip(attribute: &Attribute, names: &Names<'_>) -> Result<Clip, Fault> {
    let name = attribute.value.trim();
    match file(attribute, name, names) {
        Ok(content) => Clip::read(&content)
            .map_err(|why| Fault::new(attribute.place, format!("{name} cannot be played: {why}"))),
        Err(fault) => Clip::standard(base_name(name)).ok_or(fault),
    }
}

/// `FILE[,ROUNDS[,PAYLOAD TYPE[,NAME]]]`, `apattern,NUMBER[,ROUNDS[,PAYLOAD TYPE[,NAME]]]`, `pause`, `resume`.
fn stream(attribute: &Attribute, names: &Names<'_>) -> Result<MediaAction, Fault> {
    let mut parts = attribute.value.split(',').map(str::trim);
    let name = match parts.next().unwrap_or_default() {
        "pause" | "pauseapattern" => return Ok(MediaAction::Pause(true)),
        "resume" | "resumeapattern" => return Ok(MediaAction::Pause(false)),
        "" => return Err(Fault::new(attribute.place, "rtp_stream names no file")),
        name => name,
    };
    if name.starts_with("vpattern") {
        let fault = Fault::new(attribute.place, "unsupported: rtp_stream of a video pattern");
        return Err(fault.hint("apattern is one for audio"));
    }
    let number = |text: Option<&str>, what: &str, default: i64| match text.filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Fault::new(attribute.place, format!("`{text}` is no {what} of rtp_stream"))),
    };
    let pattern = match name {
        "apattern" => {
            let found = number(parts.next(), "number of a pattern", 1)?;
            let pattern = u8::try_from(found).ok().and_then(Pattern::of);
            Some(pattern.ok_or_else(|| {
                Fault::new(attribute.place, format!("there is no pattern {found}"))
                    .hint("1 to 6 are SIPp's octets, 7 to 16 tones that come through other codecs, too")
            })?)
        }
        _ => None,
    };
    let rounds = number(parts.next(), "number of rounds", if pattern.is_some() { -1 } else { 1 })?;
    let payload_type = number(parts.next(), "payload type", i64::from(names.known.rtp_payload))?;
    let codec = parts.next().filter(|codec| !codec.is_empty());
    let known = u8::try_from(payload_type).ok().filter(|number| *number < 128);
    let packing = known.and_then(|number| Packing::of(number, codec)).ok_or_else(|| {
        let codec = codec.map_or_else(String::new, |codec| format!(" as {codec}"));
        Fault::new(attribute.place, format!("payload type {payload_type} cannot be streamed{codec}"))
            .hint("0 PCMU/8000, 8 PCMA/8000, 9 G722/8000, 18 G729/8000, 98 iLBC/8000, or any with opus/48000")
    })?;
    let audio = match pattern {
        Some(pattern) => Audio::pattern(pattern, packing),
        None => Audio::read(&file(attribute, name, names)?, packing),
    };
    let audio =
        audio.map_err(|why| Fault::new(attribute.place, format!("{name} cannot be streamed: {why}")))?;
    // SIPp's -1 is for ever.
    let rounds = u32::try_from(rounds).ok();
    Ok(MediaAction::Stream(Arc::new(audio), rounds.map(|rounds| rounds.max(1))))
}

/// `startaudio`, `updateaudio`, `stopaudio`, each with a payload type that an echo does not look at.
fn echo(attribute: &Attribute) -> Result<MediaAction, Fault> {
    const KNOWN: &[&str] = &["startaudio", "updateaudio", "stopaudio"];
    match attribute.value.split(',').next().unwrap_or_default().trim() {
        "startaudio" | "updateaudio" => Ok(MediaAction::Echo(true)),
        "stopaudio" => Ok(MediaAction::Echo(false)),
        other => Err(Fault::unknown(attribute.place, "rtp_echo", other, KNOWN)),
    }
}

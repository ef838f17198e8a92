//! Other formats for the streams of a description: for a node that transcodes between two sides.

use bytes::{BufMut, BytesMut};

use crate::{Attribute, Codec, MediaDescription, PayloadType, SdpError, SessionDescription};

/// A format to write: payload type, `rtpmap` and `fmtp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// Payload type.
    pub payload_type: PayloadType,
    /// Encoding.
    pub codec: Codec<'a>,
    /// Parameters, as `a=fmtp` writes them.
    pub parameters: Option<&'a str>,
}

/// What becomes of the formats of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FormatsPlan<'a> {
    /// They stay.
    #[default]
    Keep,
    /// These come after them, the least wanted.
    Add(Vec<Format<'a>>),
    /// These take their place; an empty list changes nothing.
    Replace(Vec<Format<'a>>),
}

impl<'a> MediaDescription<'a> {
    /// The formats of an RTP stream that are known, in order of preference.
    pub fn known_formats(&self) -> impl Iterator<Item = Format<'a>> + use<'a> {
        let media = *self;
        self.codecs().map(move |map| Format {
            payload_type: map.payload_type,
            codec: map.codec,
            parameters: media
                .attributes()
                .filter(|attribute| attribute.is("fmtp"))
                .filter_map(|attribute| crate::Fmtp::parse(attribute.value?))
                .find(|fmtp| fmtp.format.parse() == Ok(map.payload_type.number()))
                .map(|fmtp| fmtp.parameters),
        })
    }
}

impl SessionDescription {
    /// The same with other formats, a plan for each stream; streams beyond the plans stay as they are.
    ///
    /// # Errors
    /// What was added goes beyond the limits of size.
    pub fn with_formats(&self, plans: &[FormatsPlan<'_>]) -> Result<Self, SdpError> {
        let mut out = BytesMut::with_capacity(self.bytes().len() + 256);
        for index in self.session_range() {
            let (letter, value) = self.line(index);
            line(&mut out, letter, value);
        }
        for media in self.media() {
            self.write_stream(&mut out, &media, plans.get(media.index()).unwrap_or(&FormatsPlan::Keep));
        }
        Self::parse(out.freeze())
    }

    fn write_stream(&self, out: &mut BytesMut, media: &MediaDescription<'_>, plan: &FormatsPlan<'_>) {
        let (formats, keeps) = match plan {
            FormatsPlan::Add(formats) => (formats.as_slice(), true),
            FormatsPlan::Replace(formats) if !formats.is_empty() => (formats.as_slice(), false),
            FormatsPlan::Keep | FormatsPlan::Replace(_) => (&[][..], true),
        };
        let mut range = self.media_range(media.index());
        let first = range.next().unwrap_or_default();
        match media.words() {
            Some(words) if !formats.is_empty() => {
                let kept = if keeps { words.formats } else { "" };
                let numbers: Vec<String> = kept
                    .split_ascii_whitespace()
                    .map(ToOwned::to_owned)
                    .chain(formats.iter().map(|format| format.payload_type.to_string()))
                    .collect();
                let text = format!("{} {} {} {}", words.kind, words.port, words.protocol, numbers.join(" "));
                line(out, b'm', text.as_bytes());
            }
            _ => line(out, b'm', self.line(first).1),
        }
        for index in range {
            let (letter, value) = self.line(index);
            let is_of_format = letter == b'a'
                && self.text(index).map(Attribute::split).is_some_and(|attribute| {
                    ["rtpmap", "fmtp", "rtcp-fb"].iter().any(|name| attribute.is(name))
                });
            if keeps || !is_of_format {
                line(out, letter, value);
            }
        }
        for format in formats {
            line(out, b'a', format!("rtpmap:{} {}", format.payload_type, format.codec).as_bytes());
            if let Some(parameters) = format.parameters {
                line(out, b'a', format!("fmtp:{} {parameters}", format.payload_type).as_bytes());
            }
        }
    }
}

fn line(out: &mut BytesMut, letter: u8, value: &[u8]) {
    out.put_u8(letter);
    out.put_u8(b'=');
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=ptime:20\r\nm=video 4002 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n";

    fn opus() -> Format<'static> {
        Format {
            payload_type: PayloadType::new(96).unwrap(),
            codec: Codec { name: "opus", clock_rate: 48_000, channels: 2 },
            parameters: Some("useinbandfec=1"),
        }
    }

    #[test]
    fn formats_come_after_those_that_are_there() {
        let offer = SessionDescription::parse(OFFER).unwrap();
        let more = offer.with_formats(&[FormatsPlan::Add(vec![opus()])]).unwrap();
        let audio = more.media_at(0).unwrap();
        assert_eq!(audio.formats().collect::<Vec<_>>(), ["8", "101", "96"]);
        let formats: Vec<_> = audio.known_formats().collect();
        assert_eq!(formats[2], opus());
        assert_eq!(formats[1].parameters, Some("0-15"));
        assert_eq!(more.media_at(1).unwrap().formats().collect::<Vec<_>>(), ["99"]);
        assert_eq!(more.origin(), offer.origin());
    }

    #[test]
    fn formats_take_the_place_of_others_and_the_rest_stays() {
        let offer = SessionDescription::parse(OFFER).unwrap();
        let other = offer.with_formats(&[FormatsPlan::Replace(vec![opus()])]).unwrap();
        let audio = other.media_at(0).unwrap();
        assert_eq!(audio.known_formats().collect::<Vec<_>>(), [opus()]);
        assert_eq!((audio.ptime(), audio.rtp_maps().count()), (Some(20), 1));
        assert_eq!(offer.with_formats(&[]).unwrap(), offer);
        assert_eq!(offer.with_formats(&[FormatsPlan::Replace(vec![])]).unwrap(), offer);
    }
}

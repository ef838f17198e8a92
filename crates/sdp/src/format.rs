//! Payload types, codecs and their parameters.

use std::fmt;

/// An RTP payload type, 0 to 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(u8);

impl PayloadType {
    /// G.711 µ-law.
    pub const PCMU: Self = Self(0);
    /// G.711 A-law.
    pub const PCMA: Self = Self(8);

    /// `None` above 127.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 128 { Some(Self(number)) } else { None }
    }

    /// The number, 0 to 127.
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::new)
    }

    /// What the number means without an `rtpmap`. RFC 3551 §6, tables 4 and 5.
    pub const fn static_codec(self) -> Option<Codec<'static>> {
        let (name, clock_rate, channels) = match self.0 {
            0 => ("PCMU", 8000, 1),
            3 => ("GSM", 8000, 1),
            4 => ("G723", 8000, 1),
            5 => ("DVI4", 8000, 1),
            6 => ("DVI4", 16000, 1),
            7 => ("LPC", 8000, 1),
            8 => ("PCMA", 8000, 1),
            // RFC 3551 §4.5.2: G.722 samples at 16 kHz, its RTP clock stays 8 kHz by an old error.
            9 => ("G722", 8000, 1),
            10 => ("L16", 44100, 2),
            11 => ("L16", 44100, 1),
            12 => ("QCELP", 8000, 1),
            13 => ("CN", 8000, 1),
            14 => ("MPA", 90000, 1),
            15 => ("G728", 8000, 1),
            16 => ("DVI4", 11025, 1),
            17 => ("DVI4", 22050, 1),
            18 => ("G729", 8000, 1),
            25 => ("CelB", 90000, 1),
            26 => ("JPEG", 90000, 1),
            28 => ("nv", 90000, 1),
            31 => ("H261", 90000, 1),
            32 => ("MPV", 90000, 1),
            33 => ("MP2T", 90000, 1),
            34 => ("H263", 90000, 1),
            _ => return None,
        };
        Some(Codec { name, clock_rate, channels })
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An encoding. Prints as an `rtpmap` writes it: `PCMU/8000`, `opus/48000/2`.
#[derive(Clone, Copy, Debug, Eq, Hash)]
pub struct Codec<'a> {
    /// Encoding name; compares without regard to case (RFC 4855 §3).
    pub name: &'a str,
    /// RTP clock rate, Hz.
    pub clock_rate: u32,
    /// Channels, 1 to 255; 1 where nothing is said, and for video.
    pub channels: u8,
}

impl<'a> Codec<'a> {
    /// Reads `name/clock[/channels]`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.trim().split('/');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let clock_rate = parts.next()?.trim().parse().ok().filter(|rate| *rate > 0)?;
        let channels = match parts.next() {
            Some(channels) => channels.trim().parse().ok().filter(|channels| *channels > 0)?,
            None => 1,
        };
        Some(Self { name, clock_rate, channels })
    }

    /// Whether the name is `name`, whatever the rate.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Named events and comfort noise ride along with a codec; they are not what a call "speaks".
    pub fn is_auxiliary(&self) -> bool {
        ["telephone-event", "CN", "red", "rtx", "ulpfec", "flexfec-03", "tone"]
            .iter()
            .any(|name| self.is(name))
    }
}

impl PartialEq for Codec<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.name) && self.clock_rate == other.clock_rate && self.channels == other.channels
    }
}

impl fmt::Display for Codec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        if self.channels == 1 { Ok(()) } else { write!(f, "/{}", self.channels) }
    }
}

/// A payload type of a stream and what it stands for. RFC 8866 §6.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// Payload type.
    pub payload_type: PayloadType,
    /// Encoding.
    pub codec: Codec<'a>,
}

impl<'a> RtpMap<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (number, codec) = value.trim_start().split_once([' ', '\t'])?;
        Some(Self { payload_type: PayloadType::parse(number)?, codec: Codec::parse(codec)? })
    }
}

/// Parameters of one format. RFC 8866 §6.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fmtp<'a> {
    /// The format: a payload type's number, or a word for streams that are not RTP.
    pub format: &'a str,
    /// Parameters as written, `mode-set=0,2;octet-align=1` or `0-16`.
    pub parameters: &'a str,
}

impl<'a> Fmtp<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (format, parameters) = value.trim_start().split_once([' ', '\t'])?;
        Some(Self { format, parameters: parameters.trim() })
    }

    /// Value of one `name=value` parameter; names compare without regard to case.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether telephone event `event` (0 to 255) is in the list `0-15,66,70`. RFC 4733 §2.4.1.
    pub fn has_event(&self, event: u8) -> bool {
        let list = self.parameter("events").unwrap_or(self.parameters);
        list.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
                (Ok(first), Ok(last)) => (first..=last).contains(&event),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_compare_without_case_and_print_as_written() {
        let opus = Codec::parse("opus/48000/2").unwrap();
        assert_eq!(opus.to_string(), "opus/48000/2");
        assert_eq!(Codec::parse("pcmu/8000"), PayloadType::PCMU.static_codec());
        assert_eq!(PayloadType::PCMA.static_codec().unwrap().to_string(), "PCMA/8000");
        for bad in ["", "PCMU", "/8000", "PCMU/", "PCMU/0", "PCMU/x", "opus/48000/0", "opus/48000/300"] {
            assert_eq!(Codec::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn telephone_events_are_lists_of_ranges() {
        let events = Fmtp::parse("101 0-15,66, 70").unwrap();
        assert_eq!((events.format, events.parameters), ("101", "0-15,66, 70"));
        assert!(events.has_event(0) && events.has_event(15) && events.has_event(70));
        assert!(!events.has_event(16) && !events.has_event(255));
        assert!(!Fmtp::parse("101 16-0,x,-").unwrap().has_event(8));
    }

    #[test]
    fn parameters_are_found_by_name() {
        let amr = Fmtp::parse("96 mode-set=0,2; Octet-Align=1").unwrap();
        assert_eq!(amr.parameter("octet-align"), Some("1"));
        assert_eq!(amr.parameter("mode"), None);
    }
}

//! What of a session description matters for sending: where, and how keys are named.
//!
//! Not `offhook-sdp`: a tester must find its way in descriptions that are wrong, too.

use std::net::{IpAddr, SocketAddr};

/// A kind of media, as `m=` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// `image`.
    Image,
    /// `text`.
    Text,
}

/// How many kinds there are.
pub const KINDS: usize = 4;

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; KINDS] = [Self::Audio, Self::Video, Self::Image, Self::Text];

    /// As descriptions and options name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

/// What a description says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Where each kind of media goes; `None` if there is none, or it is refused with port 0.
    pub at: [Option<SocketAddr>; KINDS],
    /// The payload type of `telephone-event`.
    pub event_type: Option<u8>,
    /// The payload type of Opus.
    pub opus_type: Option<u8>,
}

/// Reads the description in `body`; `None` if there is none.
pub fn read(body: &[u8]) -> Option<Described> {
    let mut found = Described::default();
    let mut session: Option<IpAddr> = None;
    let mut open: Option<(usize, u16)> = None;
    let mut any = false;
    for line in body.split(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(line).unwrap_or_default().trim();
        if let Some(address) = line.strip_prefix("c=IN IP") {
            let ip = address.split_once(' ').and_then(|(_, ip)| ip.split('/').next()?.trim().parse().ok());
            match open {
                // A media's own address comes after its `m=` line, and counts instead of the session's.
                Some((kind, port)) => {
                    found.at[kind] = ip.filter(|_| port > 0).map(|ip| SocketAddr::new(ip, port));
                }
                None => session = ip,
            }
        } else if let Some(media) = line.strip_prefix("m=") {
            any = true;
            let mut words = media.split_whitespace();
            let kind = words.next().and_then(|word| Kind::ALL.iter().position(|kind| kind.name() == word));
            let port = words.next().and_then(|word| word.split('/').next()?.parse().ok());
            open = kind.zip(port).filter(|(kind, _)| found.at[*kind].is_none());
            if let Some((kind, port @ 1..)) = open {
                found.at[kind] = session.map(|ip| SocketAddr::new(ip, port));
            }
        } else if let Some((number, name)) =
            line.strip_prefix("a=rtpmap:").and_then(|map| map.split_once(' '))
        {
            if name.starts_with("telephone-event/8000") {
                found.event_type = number.parse().ok();
            } else if name.get(..10).is_some_and(|name| name.eq_ignore_ascii_case("opus/48000")) {
                found.opus_type = number.parse().ok();
            }
        }
    }
    any.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_the_type_of_keys_are_found() {
        let text = b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
            m=audio 4000/2 RTP/AVP 0 101 111\r\na=rtpmap:101 telephone-event/8000\r\n\
            a=rtpmap:111 Opus/48000/2\r\n\
            m=video 0 RTP/AVP 96\r\nm=image 4004 udptl t38\r\nc=IN IP6 ::1\r\n";
        let found = read(text).expect("there is one");
        let at = |kind: Kind| found.at[kind as usize].map(|address| address.to_string());
        assert_eq!(at(Kind::Audio).as_deref(), Some("10.0.0.1:4000"));
        assert_eq!(at(Kind::Image).as_deref(), Some("[::1]:4004"));
        assert_eq!((at(Kind::Video), at(Kind::Text)), (None, None));
        assert_eq!((found.event_type, found.opus_type), (Some(101), Some(111)));
    }

    #[test]
    fn a_body_without_media_is_none() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"Signal=5\r\n"), None);
        assert_eq!(read(b"m=\r\nc=IN IP4\r\n").map(|found| found.at), Some([None; KINDS]));
    }
}

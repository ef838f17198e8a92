//! One media section: an `m=` line and what stands below it.

use std::fmt;

use crate::{
    Attribute, Codec, Connection, Crypto, CryptoError, Direction, Fault, Fmtp, MediaAddress, PayloadType,
    RtcpAttribute, RtpMap, SessionDescription, Setup,
};

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Fax (T.38).
    Image,
    /// Data channels, BFCP and the like.
    Application,
    /// Real-time text (T.140).
    Text,
    /// Message sessions (MSRP).
    Message,
    /// Anything else; see [`MediaDescription::kind_text`].
    Other,
}

impl MediaKind {
    /// The word on the wire; `other` for [`Other`](Self::Other).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Image => "image",
            Self::Application => "application",
            Self::Text => "text",
            Self::Message => "message",
            Self::Other => "other",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Audio, Self::Video, Self::Image, Self::Application, Self::Text, Self::Message]
            .into_iter()
            .find(|kind| text.eq_ignore_ascii_case(kind.as_str()))
            .unwrap_or(Self::Other)
    }
}

/// Transport and profile of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `RTP/AVP`: plain RTP (RFC 3551).
    RtpAvp,
    /// `RTP/SAVP`: SRTP with keys from SDES (RFC 3711, RFC 4568).
    RtpSavp,
    /// `RTP/AVPF`: with early feedback (RFC 4585).
    RtpAvpf,
    /// `RTP/SAVPF`: both (RFC 5124).
    RtpSavpf,
    /// `UDP/TLS/RTP/SAVP`: SRTP with keys from DTLS (RFC 5764).
    UdpTlsRtpSavp,
    /// `UDP/TLS/RTP/SAVPF`: the same with early feedback; what browsers offer.
    UdpTlsRtpSavpf,
    /// `udptl`: T.38 fax.
    Udptl,
    /// Anything else; see [`MediaDescription::protocol_text`].
    Other,
}

impl Protocol {
    const NAMED: [(Self, &'static str); 7] = [
        (Self::RtpAvp, "RTP/AVP"),
        (Self::RtpSavp, "RTP/SAVP"),
        (Self::RtpAvpf, "RTP/AVPF"),
        (Self::RtpSavpf, "RTP/SAVPF"),
        (Self::UdpTlsRtpSavp, "UDP/TLS/RTP/SAVP"),
        (Self::UdpTlsRtpSavpf, "UDP/TLS/RTP/SAVPF"),
        (Self::Udptl, "udptl"),
    ];

    /// Name on the wire; `None` for [`Other`](Self::Other).
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.into_iter().find(|(protocol, _)| *protocol == self).map(|(_, name)| name)
    }

    fn parse(text: &str) -> Self {
        Self::NAMED
            .into_iter()
            .find(|(_, name)| text.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(protocol, _)| protocol)
    }

    /// RTP over UDP in any profile.
    pub const fn is_rtp(self) -> bool {
        !matches!(self, Self::Udptl | Self::Other)
    }

    /// SRTP, whatever the keys come from.
    pub const fn is_secure(self) -> bool {
        self.is_dtls() || matches!(self, Self::RtpSavp | Self::RtpSavpf)
    }

    /// SRTP with keys from a DTLS handshake.
    pub const fn is_dtls(self) -> bool {
        matches!(self, Self::UdpTlsRtpSavp | Self::UdpTlsRtpSavpf)
    }

    /// A profile with early feedback.
    pub const fn has_feedback(self) -> bool {
        matches!(self, Self::RtpAvpf | Self::RtpSavpf | Self::UdpTlsRtpSavpf)
    }

    /// The same without encryption; what is not RTP stays.
    pub const fn plain(self) -> Self {
        match self {
            Self::RtpSavp | Self::UdpTlsRtpSavp => Self::RtpAvp,
            Self::RtpSavpf | Self::UdpTlsRtpSavpf => Self::RtpAvpf,
            plain => plain,
        }
    }

    /// The same with SDES keys; what is not RTP stays.
    pub const fn with_sdes(self) -> Self {
        match self.plain() {
            Self::RtpAvp => Self::RtpSavp,
            Self::RtpAvpf => Self::RtpSavpf,
            other => other,
        }
    }
}

/// The `m=` line, read. RFC 8866 §5.14.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaLine {
    pub(crate) kind: MediaKind,
    pub(crate) port: u16,
    pub(crate) port_count: u8,
    pub(crate) protocol: Protocol,
}

impl MediaLine {
    pub(crate) fn parse(value: &str) -> Result<Self, Fault> {
        let words = MediaWords::split(value).ok_or(Fault::BadMedia)?;
        let (port, count) = match words.port.split_once('/') {
            Some((port, count)) => (port, count.parse().map_err(|_| Fault::BadPort)?),
            None => (words.port, 1),
        };
        let port = port.parse().map_err(|_| Fault::BadPort)?;
        if count == 0 {
            return Err(Fault::BadPort);
        }
        if words.formats.split_ascii_whitespace().nth(SessionDescription::MAX_FORMATS).is_some() {
            return Err(Fault::TooManyFormats);
        }
        // DEVIATION RFC 8866 §9: a refused stream may name no formats; several phones write it so.
        if words.formats.is_empty() && port != 0 {
            return Err(Fault::BadMedia);
        }
        let (kind, protocol) = (MediaKind::parse(words.kind), Protocol::parse(words.protocol));
        Ok(Self { kind, port, port_count: count, protocol })
    }
}

/// The words of an `m=` line, as written.
pub(crate) struct MediaWords<'a> {
    pub(crate) kind: &'a str,
    pub(crate) port: &'a str,
    pub(crate) protocol: &'a str,
    /// All formats, with the blanks between them.
    pub(crate) formats: &'a str,
}

impl<'a> MediaWords<'a> {
    pub(crate) fn split(value: &'a str) -> Option<Self> {
        let blank = [' ', '\t'];
        let (kind, rest) = value.trim_start_matches(blank).split_once(blank)?;
        let (port, rest) = rest.trim_start_matches(blank).split_once(blank)?;
        let rest = rest.trim_start_matches(blank).trim_end_matches(blank);
        let (protocol, formats) = rest.split_once(blank).unwrap_or((rest, ""));
        if protocol.is_empty() {
            return None;
        }
        Some(Self { kind, port, protocol, formats: formats.trim_start_matches(blank) })
    }
}

/// A media section of a [`SessionDescription`]: a view, cheap to copy.
#[derive(Clone, Copy)]
pub struct MediaDescription<'a> {
    pub(crate) session: &'a SessionDescription,
    pub(crate) index: usize,
}

impl<'a> MediaDescription<'a> {
    /// Position among the sections, from 0.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// What it carries.
    pub fn kind(&self) -> MediaKind {
        self.session.media_line(self.index).kind
    }

    /// The media word as written.
    pub fn kind_text(&self) -> &'a str {
        self.words().map_or("", |words| words.kind)
    }

    /// Port, 0 to 65535; 0 is a stream refused or taken down.
    pub fn port(&self) -> u16 {
        self.session.media_line(self.index).port
    }

    /// Number of port pairs, 1 to 255, 1 for all but layered encodings.
    pub fn port_count(&self) -> u8 {
        self.session.media_line(self.index).port_count
    }

    /// Transport and profile.
    pub fn protocol(&self) -> Protocol {
        self.session.media_line(self.index).protocol
    }

    /// The protocol as written.
    pub fn protocol_text(&self) -> &'a str {
        self.words().map_or("", |words| words.protocol)
    }

    /// Formats in order of preference: payload types for RTP, words otherwise.
    pub fn formats(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.words().map_or("", |words| words.formats).split_ascii_whitespace()
    }

    /// Port 0: refused, or taken down (RFC 3264 §6, §8.2).
    pub fn is_rejected(&self) -> bool {
        self.port() == 0
    }

    /// Payload types in order of preference; empty for streams that are not RTP.
    pub fn payload_types(&self) -> impl Iterator<Item = PayloadType> + use<'a> {
        let is_rtp = self.protocol().is_rtp();
        self.formats().filter_map(move |format| if is_rtp { PayloadType::parse(format) } else { None })
    }

    /// Payload types with what they stand for, in order of preference. A dynamic type without an `rtpmap` is left
    /// out: nobody knows what it means.
    pub fn codecs(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'a> {
        let table = self.codec_table();
        self.payload_types().filter_map(move |payload_type| {
            let codec = table[usize::from(payload_type.number())]?;
            Some(RtpMap { payload_type, codec })
        })
    }

    /// What each of the 128 payload types stands for: one pass over the attributes however many types are listed.
    fn codec_table(&self) -> [Option<Codec<'a>>; 128] {
        let mut table = [None; 128];
        for map in self.rtp_maps() {
            table[usize::from(map.payload_type.number())].get_or_insert(map.codec);
        }
        for number in 0..128 {
            let known = PayloadType::new(number).and_then(PayloadType::static_codec);
            let entry = &mut table[usize::from(number)];
            *entry = entry.or(known);
        }
        table
    }

    /// What `payload_type` stands for: its `rtpmap`, else the static table.
    pub fn codec(&self, payload_type: PayloadType) -> Option<Codec<'a>> {
        self.rtp_maps()
            .find(|map| map.payload_type == payload_type)
            .map(|map| map.codec)
            .or_else(|| payload_type.static_codec())
    }

    /// `rtpmap` attributes, in order.
    pub fn rtp_maps(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'a> {
        self.values("rtpmap").filter_map(RtpMap::parse)
    }

    /// `fmtp` of a format.
    pub fn fmtp(&self, format: &str) -> Option<Fmtp<'a>> {
        self.values("fmtp").filter_map(Fmtp::parse).find(|fmtp| fmtp.format == format)
    }

    /// The payload type of telephone events and their clock rate; the one at the rate of the first codec is
    /// preferred, as its timestamps go with it (RFC 4733 §2.1).
    pub fn telephone_event(&self) -> Option<RtpMap<'a>> {
        let rate = self.codecs().find(|map| !map.codec.is_auxiliary()).map(|map| map.codec.clock_rate);
        let mut events = self.codecs().filter(|map| map.codec.is("telephone-event"));
        let first = events.next()?;
        if Some(first.codec.clock_rate) == rate {
            return Some(first);
        }
        Some(events.find(|map| Some(map.codec.clock_rate) == rate).unwrap_or(first))
    }

    /// Its `c=` line, else the session's. Present for every stream in use.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.session
            .first_of(self.session.media_range(self.index), b'c')
            .and_then(Connection::parse)
            .or_else(|| self.session.connection())
    }

    /// Its direction, else the session's, else both ways.
    pub fn direction(&self) -> Direction {
        self.attributes()
            .find_map(|attribute| Direction::of(&attribute))
            .or_else(|| self.session.direction())
            .unwrap_or_default()
    }

    /// The direction that is meant: `c=0.0.0.0` forbids sending to the writer (RFC 3264 §8.4, RFC 2543 hold). Beside
    /// ICE it only says that no candidate is known yet (RFC 8840 §4.1.1) and holds nothing.
    pub fn effective_direction(&self) -> Direction {
        let direction = self.direction();
        match self.connection() {
            Some(connection) if connection.host.is_unspecified() && !self.has_ice() => {
                Direction::new(direction.sends(), false)
            }
            _ => direction,
        }
    }

    /// Whether the writer puts the other end on hold: it will not hear what is sent. False for a refused stream.
    pub fn is_hold(&self) -> bool {
        !self.is_rejected() && !self.effective_direction().receives()
    }

    /// Where RTP (or UDPTL) is wanted; `None` if refused.
    pub fn rtp_address(&self) -> Option<MediaAddress<'a>> {
        let port = Some(self.port()).filter(|port| *port != 0)?;
        Some(MediaAddress { host: self.connection()?.host, port })
    }

    /// Where RTCP is wanted if it is not multiplexed: `a=rtcp` (RFC 3605), else the next port. `None` if refused,
    /// not RTP, or if there is no next port.
    pub fn rtcp_address(&self) -> Option<MediaAddress<'a>> {
        let rtp = self.rtp_address().filter(|_| self.protocol().is_rtp())?;
        match self.rtcp() {
            Some(rtcp) => Some(MediaAddress { host: rtcp.host.unwrap_or(rtp.host), port: rtcp.port }),
            None => Some(MediaAddress { port: rtp.port.checked_add(1)?, ..rtp }),
        }
    }

    /// The `rtcp` attribute.
    pub fn rtcp(&self) -> Option<RtcpAttribute<'a>> {
        self.values("rtcp").find_map(RtcpAttribute::parse)
    }

    /// Whether RTP and RTCP may share a port (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.attribute("rtcp-mux").is_some()
    }

    /// Packet length asked for, milliseconds, 1 to 1000.
    pub fn ptime(&self) -> Option<u16> {
        self.milliseconds("ptime")
    }

    /// Longest packet taken, milliseconds, 1 to 1000.
    pub fn max_ptime(&self) -> Option<u16> {
        self.milliseconds("maxptime")
    }

    /// `crypto` attributes, in order of preference, with those that cannot be served as errors.
    pub fn cryptos(&self) -> impl Iterator<Item = Result<Crypto, CryptoError>> + use<'a> {
        self.values("crypto").map(Crypto::parse)
    }

    /// Tag and suite of each `crypto` attribute as written, served or not: what an answer repeats of its offer.
    pub fn crypto_names(&self) -> impl Iterator<Item = String> + use<'a> {
        self.values("crypto").map(|value| {
            let mut words = value.split_ascii_whitespace();
            format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default())
        })
    }

    /// Whether there is any `crypto` attribute, served or not.
    pub fn has_crypto(&self) -> bool {
        self.attribute("crypto").is_some()
    }

    /// DTLS role, its own or the session's.
    pub fn setup(&self) -> Option<Setup> {
        self.own_or_session("setup").and_then(Setup::parse)
    }

    /// DTLS certificate fingerprint as written, its own or the session's: `sha-256 AB:CD:...`.
    pub fn fingerprint(&self) -> Option<&'a str> {
        self.own_or_session("fingerprint").map(str::trim)
    }

    /// Whether the stream offers ICE (RFC 8839).
    pub fn has_ice(&self) -> bool {
        self.own_or_session("ice-ufrag").is_some() || self.attribute("candidate").is_some()
    }

    /// Identification tag (RFC 5888).
    pub fn mid(&self) -> Option<&'a str> {
        self.values("mid").next().map(str::trim)
    }

    /// `b=` lines as written: `AS:64`.
    pub fn bandwidths(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let session = self.session;
        session
            .media_range(self.index)
            .filter(move |index| session.line(*index).0 == b'b')
            .filter_map(move |index| session.text(index))
    }

    /// Attributes of the section, in order. Lines that are not UTF-8 are left out.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.session.attributes_in(self.session.media_range(self.index))
    }

    /// First attribute `name` of the section itself.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.is(name))
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.attributes().filter(move |attribute| attribute.is(name)).filter_map(|attribute| attribute.value)
    }

    fn own_or_session(&self, name: &'static str) -> Option<&'a str> {
        self.values(name).next().or_else(|| self.session.attribute(name)?.value)
    }

    fn milliseconds(&self, name: &'static str) -> Option<u16> {
        // Some phones write `20.0`.
        let text = self.values(name).next()?.trim().split('.').next()?;
        text.parse().ok().filter(|ms| (1..=1000).contains(ms))
    }

    pub(crate) fn words(&self) -> Option<MediaWords<'a>> {
        MediaWords::split(self.session.text(self.session.media_range(self.index).start)?)
    }
}

impl fmt::Debug for MediaDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{} {:?} {:?}", self.kind().as_str(), self.index, self.protocol(), self.direction())
    }
}

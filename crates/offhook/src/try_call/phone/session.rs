//! Offers and answers of a phone: one stream of G.711 (RFC 3264).

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use offhook_base::Random;
use offhook_codec::G711;
use offhook_sdp::{
    AudioDescription, Direction, MediaKind, OwnOrigin, PayloadType, RtpMap, SessionDescription,
};

/// What SDP calls itself in Content-Type.
pub(super) const CONTENT_TYPE: &str = "application/sdp";

/// Milliseconds of sound in a packet.
const PTIME_MS: u16 = 20;

/// How sound flows, as the phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Where to send it.
    pub remote: SocketAddr,
    /// In which of the two laws.
    pub law: G711,
    /// Which way.
    pub direction: Direction,
}

/// The phone's side of offer and answer.
pub(super) struct Session {
    origin: OwnOrigin,
    rtp: SocketAddr,
    offered: Direction,
}

impl Session {
    pub(super) fn new(rtp: SocketAddr, random: &mut Random) -> Self {
        Self { origin: OwnOrigin::new(random, rtp.ip()), rtp, offered: Direction::SendRecv }
    }

    /// A new offer: A-law before µ-law.
    pub(super) fn offer(&mut self, direction: Direction) -> Bytes {
        self.offered = direction;
        self.describe(direction, &[G711::ALaw, G711::MuLaw])
    }

    /// The answer to `offer`, and what was agreed by it; `None` if there is no G.711 in it.
    pub(super) fn answer(&mut self, offer: &[u8]) -> Option<(Bytes, Sound)> {
        let sound = self.read(offer, Direction::SendRecv)?;
        Some((self.describe(sound.direction, &[sound.law]), sound))
    }

    /// What `answer` to our last offer agreed on; `None` if it refuses the sound.
    pub(super) fn take_answer(&self, answer: &[u8]) -> Option<Sound> {
        self.read(answer, self.offered)
    }

    /// What the other side's description comes to, where we would `wish` for a direction.
    fn read(&self, theirs: &[u8], wish: Direction) -> Option<Sound> {
        let theirs = SessionDescription::parse_slice(theirs).ok()?;
        let audio = theirs.media().find(|media| media.kind() == MediaKind::Audio && !media.is_rejected())?;
        Some(Sound {
            remote: audio.rtp_address()?.socket_addr()?,
            law: audio.payload_types().find_map(law_of)?,
            direction: wish.answered_by(audio.effective_direction()),
        })
    }

    fn describe(&mut self, direction: Direction, laws: &[G711]) -> Bytes {
        let codecs: Vec<RtpMap<'_>> = laws.iter().filter_map(|&law| rtp_map(law)).collect();
        let description = AudioDescription {
            origin: self.origin,
            rtp: self.rtp,
            codecs: &codecs,
            direction,
            ptime_ms: Some(PTIME_MS),
            rtcp_mux: false,
            crypto: None,
        };
        self.origin = self.origin.next_version();
        let mut text = BytesMut::new();
        description.describe().write(&mut text);
        text.freeze()
    }
}

fn law_of(payload_type: PayloadType) -> Option<G711> {
    match payload_type {
        PayloadType::PCMA => Some(G711::ALaw),
        PayloadType::PCMU => Some(G711::MuLaw),
        _ => None,
    }
}

fn rtp_map(law: G711) -> Option<RtpMap<'static>> {
    let payload_type = match law {
        G711::ALaw => PayloadType::PCMA,
        G711::MuLaw => PayloadType::PCMU,
    };
    Some(RtpMap { payload_type, codec: payload_type.static_codec()? })
}

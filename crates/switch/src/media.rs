//! What call control asks of the media engine, and what the engine answers.
//!
//! A leg has one *endpoint* with a port pair per media section. A bridge joins two endpoints: what one receives, the
//! other sends. Commands are carried out in order; `Open` is answered, the rest is not.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use offhook_base::MasterKey;
use offhook_codec::{OpusWishes, VoiceCodec};
use serde::{Deserialize, Serialize};

use crate::{kept::part, tape::Consent};

/// One leg's media, numbered by call control; never used again on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// Media sections that one leg may have. A browser offers a handful; more is an attack on the port range.
pub const STREAMS_MAX: usize = 8;

/// An instruction to the engine.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// Reserve port pairs (RTP even, RTCP the next) on `local`, one per stream. Answered by [`MediaEvent::Opened`] or
    /// [`MediaEvent::OpenFailed`].
    Open {
        /// Its new number.
        endpoint: EndpointId,
        /// The local address to bind.
        local: IpAddr,
        /// How many port pairs; 1..=[`STREAMS_MAX`].
        streams: usize,
    },
    /// Take up an endpoint that another process had: the same port pairs, and what was noted of each stream. Answered as
    /// `Open` is; all or nothing.
    Reopen {
        /// Its new number.
        endpoint: EndpointId,
        /// The local address to bind.
        local: IpAddr,
        /// The RTP port of each stream; at most [`STREAMS_MAX`].
        rtp_ports: Vec<u16>,
        /// What was noted of the streams, in their order; a shorter list leaves the rest unknown.
        notes: Vec<StreamNote>,
    },
    /// Replace what is known of the other end. Latched addresses survive where the signalled remote did not change.
    Configure {
        /// Which leg.
        endpoint: EndpointId,
        /// In the order of the media sections; a shorter list leaves the rest silent.
        streams: Vec<StreamConfig>,
    },
    /// Join two endpoints stream by stream. Each is first parted from whatever it was joined with.
    Bridge {
        /// One leg.
        left: EndpointId,
        /// The other.
        right: EndpointId,
    },
    /// The node itself talks with a leg that is joined with no other, by its first stream of sound. What it did for the leg
    /// before ends.
    Serve {
        /// Which leg.
        endpoint: EndpointId,
        /// The source that the leg hears, at random (RFC 3550 §8.1). One that is the same as before goes on.
        source: u32,
        /// What it does.
        act: Act,
    },
    /// Press a key towards a leg whose stream is transcoded, in place of what is said to it meanwhile: as a telephone event, or
    /// as tones where it knows none. It goes out with the sound that comes from the other leg; ignored for other legs.
    Press {
        /// Which leg.
        endpoint: EndpointId,
        /// Which key.
        key: Key,
        /// For how long.
        ms: u32,
    },
    /// Give the ports back and report. Unknown endpoints are ignored.
    Close {
        /// Which leg.
        endpoint: EndpointId,
    },
}

/// What the node does for a leg that it talks with itself. Keys that the leg presses are told in any case
/// ([`MediaEvent::Key`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The leg hears silence.
    Listen,
    /// It hears itself.
    Echo,
    /// It hears these, one after the other.
    Play {
        /// Told at the end.
        number: u32,
        /// From the beginning again at the end; otherwise [`MediaEvent::Played`] tells of it, and silence follows.
        repeats: bool,
        /// At most [`PIECES_MAX`]; more are left out.
        pieces: Vec<Piece>,
    },
    /// It is in a room with others. [`MediaEvent::Crowded`] tells if there is no place.
    Join {
        /// Which room; the first who joins makes it.
        room: RoomId,
        /// The others hear it.
        talks: bool,
        /// It hears the others.
        hears: bool,
        /// It has agreed to be recorded, and the room is. Who has not is in no recording.
        recorded: Option<Consent>,
    },
}

/// A room in which legs hear each other: its tenant and its number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// By which it is called.
    pub number: Box<str>,
}

/// A number that people call is personal data.
impl std::fmt::Debug for RoomId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomId(***)")
    }
}

/// Pieces of one [`Act::Play`]: a sentence put together of words has some twenty.
pub const PIECES_MAX: usize = 64;

/// Something to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing, for so many ms.
    Silence(u32),
    /// A tone, at -13 dBm0 for each of its sines.
    Tone {
        /// Hz; at most four.
        sines: &'static [u16],
        /// How long.
        ms: u32,
    },
    /// A sound by its name: of the node's own, or one of the operator's. An unknown one is left out.
    Sound(&'static str),
}

/// A key that was pressed: `0` to `9`, `*`, `#`, `A` to `D`. What people type is theirs, a PIN as likely as not: it prints
/// masked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(char);

impl Key {
    /// The key of a letter; `None` if there is none such.
    pub const fn new(letter: char) -> Option<Self> {
        match letter {
            '0'..='9' | '*' | '#' | 'A'..='D' => Some(Self(letter)),
            'a'..='d' => Some(Self(letter.to_ascii_uppercase())),
            _ => None,
        }
    }

    /// The letter, to act on it.
    pub const fn letter(self) -> char {
        self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(*)")
    }
}

/// One media section as negotiated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamConfig {
    /// Where the other end asked to be sent to: a hint that latching corrects (RFC 7362 §4). `None`: rejected section.
    pub remote: Option<RemoteMedia>,
    /// The other end may send to us.
    pub receives: bool,
    /// We may send to the other end.
    pub sends: bool,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
    /// SRTP to end here; `None` relays packets as they are.
    pub crypto: Option<Box<StreamCrypto>>,
    /// What the payload types mean, for statistics.
    pub payloads: Vec<PayloadName>,
    /// How the leg's sound is to be understood and made, where both legs of a bridge say so: the sides share no codec; or
    /// where the node itself talks with the leg. `None` relays packets as they are.
    pub voice: Option<Box<VoiceConfig>>,
}

/// One side of a stream that is transcoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceConfig {
    /// The codec.
    pub codec: VoiceCodec,
    /// The rate to decode it to and encode it from, Hz: [`VoiceCodec::rate_beside`] the other leg's.
    pub rate: u32,
    /// The payload type by which the leg sends it.
    pub heard_as: u8,
    /// The payload type by which the leg wants it.
    pub sent_as: u8,
    /// How much sound a packet to the leg holds, ms.
    pub packet_ms: u32,
    /// What the leg wants of its Opus.
    pub opus: OpusWishes,
    /// Keys pressed as telephone events (RFC 4733), where the leg knows them.
    pub events: Option<EventsConfig>,
    /// The leg takes comfort noise (RFC 3389) of payload type 13.
    pub comfort_noise: bool,
}

/// How a leg says keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// The payload type by which the leg sends them.
    pub heard_as: u8,
    /// The payload type by which it wants them.
    pub sent_as: u8,
    /// Clock of their durations, Hz.
    pub clock_rate: u32,
}

/// Where the other end listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMedia {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP.
    pub rtcp: SocketAddr,
}

/// A payload type and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadName {
    /// 0..=127.
    pub payload_type: u8,
    /// Encoding name as in `a=rtpmap`, for example `PCMA`.
    pub codec: Box<str>,
    /// Clock rate, Hz.
    pub clock_rate: u32,
}

/// Keys of an SRTP stream terminated here (RFC 4568).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCrypto {
    /// What we protect with.
    pub ours: MasterKey,
    /// What the other end protects with.
    pub theirs: MasterKey,
}

part! {
    /// What the media engine notes of a stream, so that another process can go on with it.
    StreamNote {
        /// Where the leg's media comes from, if that is not the announced address.
        source: Option<SocketAddr>,
        /// Where its RTCP comes from, if that is not the announced address.
        control_source: Option<SocketAddr>,
        /// Per source that was received: how far its SRTP has come, where that ends with the node.
        received: Vec<RolloverNote>,
        /// The same of its SRTCP.
        control_received: Vec<RolloverNote>,
        /// Per source that was sent: how far our SRTP has come, where that ends with the node.
        sent: Vec<RolloverNote>,
        /// The same of our SRTCP.
        control_sent: Vec<RolloverNote>,
    }
}

part! {
    /// How far a key has come with one source. It is noted once in 8,192 packets; the packet index is found again from there
    /// (RFC 3711 appendix A).
    RolloverNote {
        /// The source.
        ssrc: u32,
        /// The newest index noted: of SRTP rollover counter and sequence number (§3.3.1), of SRTCP its index (§3.4).
        index: u64,
    }
}

impl StreamNote {
    /// Nothing is known.
    pub const NOTHING: Self = Self {
        source: None,
        control_source: None,
        received: Vec::new(),
        control_received: Vec::new(),
        sent: Vec::new(),
        control_sent: Vec::new(),
    };
}

/// What the engine tells call control.
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// The ports of an endpoint, one pair per stream asked for.
    Opened {
        /// Which leg.
        endpoint: EndpointId,
        /// RTP port per stream; RTCP is the next one.
        rtp_ports: Vec<u16>,
    },
    /// No ports.
    OpenFailed {
        /// Which leg.
        endpoint: EndpointId,
        /// Why.
        error: OpenError,
    },
    /// What another process would have to know of an endpoint's streams has changed: seldom, as where a NAT shows another
    /// address than the announced one.
    Noted {
        /// Which leg.
        endpoint: EndpointId,
        /// All its streams, in order.
        notes: Vec<StreamNote>,
    },
    /// Neither side of the bridge has received anything for `lasted`, although both should.
    Silent {
        /// One of the bridge's two endpoints.
        endpoint: EndpointId,
        /// How long.
        lasted: Duration,
    },
    /// A leg that the node talks with has heard all that was to be played.
    Played {
        /// Which leg.
        endpoint: EndpointId,
        /// The number of the [`Act::Play`].
        number: u32,
    },
    /// There is no place in the room that a leg was to join.
    Crowded {
        /// Which leg.
        endpoint: EndpointId,
    },
    /// A leg that the node talks with has pressed a key: told once, when the press begins.
    Key {
        /// Which leg.
        endpoint: EndpointId,
        /// Which key.
        key: Key,
    },
    /// The last word on an endpoint: one report per stream opened.
    Closed {
        /// Which leg.
        endpoint: EndpointId,
        /// In the order of the media sections.
        streams: Vec<StreamQuality>,
    },
}

/// Why no ports could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Every pair of the range is in use.
    #[error("no free port pair in the media range")]
    Exhausted,
    /// The local address is not one of this host.
    #[error("cannot bind the media address")]
    Unbindable,
}

/// One stream of one leg as the node saw it: quality is that of what the leg *sent to us*, and what it reported of ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamQuality {
    /// The codec most packets carried, for example `PCMA/8000`; empty if nothing came.
    pub codec: String,
    /// The codec it was transcoded to for the other side, because the sides share none, for example `opus`; `None` if what
    /// came was passed on as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcoded_to: Option<String>,
    /// Packets received.
    pub packets_received: u64,
    /// Payload octets received.
    pub octets_received: u64,
    /// Packets sent to the leg.
    pub packets_sent: u64,
    /// Packets missing by sequence number.
    pub packets_lost: u64,
    /// Packets that came twice.
    pub packets_duplicate: u64,
    /// Packets that came late.
    pub packets_reordered: u64,
    /// Packets dropped because they came from a stranger or failed authentication.
    pub packets_refused: u64,
    /// Interarrival jitter at the end, ms (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Its highest value, ms.
    pub jitter_ms_max: f64,
    /// Round trip between the node and the leg by RTCP, ms.
    pub round_trip_ms: Option<f64>,
    /// Loss that the leg reported of what we sent, 0..=1.
    pub remote_loss: Option<f64>,
    /// Mean opinion score of what was received, 1..=4.5, by the E-model (ITU-T G.107).
    pub mos: Option<f64>,
}

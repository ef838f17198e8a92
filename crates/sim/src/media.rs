//! The media engine's model: ports, bridges, latching, and what passed through.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use offhook_base::Instant;
use offhook_switch::media::{
    EndpointId, MediaCommand, MediaEvent, OpenError, STREAMS_MAX, StreamConfig, StreamNote, StreamQuality,
};

use crate::phone::Side;

/// Octets of an SRTP master key with its salt (RFC 3711 §8.2).
pub const KEY_BYTES: usize = 30;

/// What a piece of sound is closed with.
pub type SoundKey = [u8; KEY_BYTES];

/// A piece of sound: instead of audio it says where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundPacket {
    /// The conversation it was said in.
    pub conversation: u64,
    /// Who said it.
    pub said_by: Side,
    /// The stream's source.
    pub ssrc: u32,
    /// The SRTP key it is closed with; `None`: in clear.
    pub key: Option<SoundKey>,
}

/// The range of RTP ports.
pub const PORT_FIRST: u16 = 20_000;
const PORT_LAST: u16 = 49_998;

#[derive(Debug, Default)]
struct Stream {
    port: u16,
    config: StreamConfig,
    /// The source that was heard, and its SSRC.
    latched: Option<(SocketAddr, u32)>,
    received: u64,
    sent: u64,
}

#[derive(Debug)]
struct Endpoint {
    streams: Vec<Stream>,
    partner: Option<EndpointId>,
    heard_at: Instant,
    told_silent: bool,
}

/// The model.
#[derive(Debug)]
pub struct Engine {
    address: IpAddr,
    silence: Option<Duration>,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    by_port: BTreeMap<u16, EndpointId>,
    next_port: u16,
    /// Every SRTP key of ours, and whose it is: no two streams may have one.
    keys: BTreeMap<Box<[u8]>, (EndpointId, usize)>,
    /// Opens to refuse from now on, for tests.
    pub refuse_opens: usize,
}

impl Engine {
    /// An engine without endpoints.
    ///
    /// `first` is the first port it gives out. A real engine begins anywhere in its range: phones of lost calls go on
    /// speaking to ports of its earlier life. A world, where one in a thousand is seen, goes on where that life ended.
    pub const fn new(address: IpAddr, silence: Option<Duration>, first: u16) -> Self {
        Self {
            address,
            silence,
            endpoints: BTreeMap::new(),
            by_port: BTreeMap::new(),
            next_port: first,
            keys: BTreeMap::new(),
            refuse_opens: 0,
        }
    }

    /// The port it will try next.
    pub const fn next_port(&self) -> u16 {
        self.next_port
    }

    /// How many endpoints and ports are open.
    pub fn sizes(&self) -> (usize, usize) {
        (self.endpoints.len(), self.by_port.len())
    }

    /// Carries out a command.
    pub fn command(&mut self, command: MediaCommand, now: Instant) -> Option<MediaEvent> {
        match command {
            MediaCommand::Open { endpoint, streams, .. } => Some(self.open(endpoint, streams, now)),
            MediaCommand::Reopen { endpoint, rtp_ports, notes, .. } => {
                Some(self.reopen(endpoint, rtp_ports, &notes, now))
            }
            MediaCommand::Configure { endpoint, streams } => {
                self.configure(endpoint, streams);
                None
            }
            MediaCommand::Bridge { left, right } => {
                self.bridge(left, right, now);
                None
            }
            // Who talks with the node itself is heard by nobody else: it is joined with nobody.
            MediaCommand::Serve { .. } => None,
            // Sound is not made here.
            MediaCommand::Press { .. } => None,
            MediaCommand::Close { endpoint } => self.close(endpoint),
        }
    }

    fn open(&mut self, id: EndpointId, streams: usize, now: Instant) -> MediaEvent {
        assert!((1..=STREAMS_MAX).contains(&streams), "{streams} streams asked for");
        if self.refuse_opens > 0 {
            self.refuse_opens -= 1;
            return MediaEvent::OpenFailed { endpoint: id, error: OpenError::Exhausted };
        }
        let known = self.endpoints.get(&id).map_or(0, |endpoint| endpoint.streams.len());
        let ports: Vec<u16> = (known..streams).map(|_| self.take_port(id)).collect();
        let endpoint = self.endpoints.entry(id).or_insert_with(|| Endpoint {
            streams: Vec::new(),
            partner: None,
            heard_at: now,
            told_silent: false,
        });
        endpoint.streams.extend(ports.into_iter().map(|port| Stream { port, ..Stream::default() }));
        let rtp_ports = endpoint.streams.iter().map(|stream| stream.port).collect();
        MediaEvent::Opened { endpoint: id, rtp_ports }
    }

    fn reopen(
        &mut self,
        id: EndpointId,
        rtp_ports: Vec<u16>,
        notes: &[StreamNote],
        now: Instant,
    ) -> MediaEvent {
        assert!((1..=STREAMS_MAX).contains(&rtp_ports.len()), "{rtp_ports:?} asked for");
        if self.refuse_opens > 0 {
            self.refuse_opens -= 1;
            return MediaEvent::OpenFailed { endpoint: id, error: OpenError::Exhausted };
        }
        let mut notes = notes.iter();
        let streams = rtp_ports.iter().map(|&port| {
            let taken = self.by_port.insert(port, id);
            assert_eq!(taken, None, "port {port} is somebody else's");
            let noted = notes.next().and_then(|note| Some((note.source?, note.received.first()?.ssrc)));
            Stream { port, latched: noted, ..Stream::default() }
        });
        let streams = streams.collect();
        let endpoint = Endpoint { streams, partner: None, heard_at: now, told_silent: false };
        assert!(self.endpoints.insert(id, endpoint).is_none(), "an endpoint is opened twice");
        MediaEvent::Opened { endpoint: id, rtp_ports }
    }

    fn take_port(&mut self, id: EndpointId) -> u16 {
        while self.by_port.contains_key(&self.next_port) {
            self.next_port = after(self.next_port);
        }
        let port = self.next_port;
        self.by_port.insert(port, id);
        // Round the range before a port is used again: late packets find nobody.
        self.next_port = after(port);
        port
    }

    fn configure(&mut self, id: EndpointId, configs: Vec<StreamConfig>) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let mut configs = configs.into_iter();
        for (index, stream) in endpoint.streams.iter_mut().enumerate() {
            let config = configs.next().unwrap_or_default();
            if let Some(crypto) = &config.crypto {
                let owner = *self.keys.entry(crypto.ours.key_and_salt().into()).or_insert((id, index));
                assert_eq!(owner, (id, index), "an SRTP key of ours is used twice");
                assert_ne!(crypto.ours, crypto.theirs, "a leg is given its own key");
            }
            if config.remote != stream.config.remote {
                stream.latched = None;
            }
            stream.config = config;
        }
    }

    fn bridge(&mut self, left: EndpointId, right: EndpointId, now: Instant) {
        assert_ne!(left, right, "an endpoint is bridged with itself");
        for id in [left, right] {
            let partner = self.endpoints.get_mut(&id).and_then(|endpoint| endpoint.partner.take());
            if let Some(partner) = partner.and_then(|partner| self.endpoints.get_mut(&partner)) {
                partner.partner = None;
            }
        }
        for (id, partner) in [(left, right), (right, left)] {
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.partner = Some(partner);
                endpoint.heard_at = now;
                endpoint.told_silent = false;
            }
        }
    }

    fn close(&mut self, id: EndpointId) -> Option<MediaEvent> {
        let endpoint = self.endpoints.remove(&id)?;
        if let Some(partner) = endpoint.partner.and_then(|partner| self.endpoints.get_mut(&partner)) {
            partner.partner = None;
        }
        for stream in &endpoint.streams {
            self.by_port.remove(&stream.port);
        }
        let report = |stream: &Stream| StreamQuality {
            codec: stream.config.payloads.first().map_or(String::new(), |payload| payload.codec.to_string()),
            packets_received: stream.received,
            packets_sent: stream.sent,
            ..StreamQuality::default()
        };
        Some(MediaEvent::Closed { endpoint: id, streams: endpoint.streams.iter().map(report).collect() })
    }

    /// A packet came to one of our ports; from which address it goes on, where to, and closed with which key.
    pub fn relay(
        &mut self,
        to: SocketAddr,
        from: SocketAddr,
        sound: SoundPacket,
        now: Instant,
    ) -> Option<(SocketAddr, SocketAddr, SoundPacket)> {
        let id = *self.by_port.get(&to.port())?;
        let endpoint = self.endpoints.get_mut(&id)?;
        let index = endpoint.streams.iter().position(|stream| stream.port == to.port())?;
        let stream = &mut endpoint.streams[index];
        // The first source latches; it may move as long as it is the same source (RFC 7362 §4).
        if stream.latched.is_some_and(|(_, ssrc)| ssrc != sound.ssrc) {
            return None;
        }
        let mut sound = sound;
        if let Some(crypto) = &stream.config.crypto {
            // Not authentic: dropped before it is believed in anything.
            sound.key.take().filter(|key| key[..] == *crypto.theirs.key_and_salt())?;
        }
        stream.latched = Some((from, sound.ssrc));
        endpoint.heard_at = now;
        endpoint.told_silent = false;
        stream.received += 1;
        if !stream.config.receives {
            return None;
        }
        let partner = endpoint.partner?;
        let other = self.endpoints.get_mut(&partner)?;
        let out = other.streams.get_mut(index).filter(|out| out.config.sends)?;
        let remote =
            out.latched.map(|(address, _)| address).or(out.config.remote.map(|remote| remote.rtp))?;
        if let Some(crypto) = &out.config.crypto {
            assert_eq!(sound.key, None, "closed sound is closed again");
            sound.key = SoundKey::try_from(crypto.ours.key_and_salt()).ok();
        }
        out.sent += 1;
        Some((SocketAddr::new(self.address, out.port), remote, sound))
    }

    /// Bridges where both sides have been silent for too long, each told once.
    pub fn find_silence(&mut self, now: Instant) -> Vec<MediaEvent> {
        let Some(limit) = self.silence else { return Vec::new() };
        let silent = |endpoint: &Endpoint| {
            endpoint.streams.iter().any(|stream| stream.config.receives)
                && now.saturating_since(endpoint.heard_at) >= limit
        };
        let mut events = Vec::new();
        let ids: Vec<EndpointId> = self.endpoints.keys().copied().collect();
        for id in ids {
            let endpoint = &self.endpoints[&id];
            let Some(partner) = endpoint.partner.filter(|partner| *partner > id) else { continue };
            if !endpoint.told_silent
                && silent(endpoint)
                && self.endpoints.get(&partner).is_some_and(silent)
                && let Some(endpoint) = self.endpoints.get_mut(&id)
            {
                endpoint.told_silent = true;
                events.push(MediaEvent::Silent { endpoint: id, lasted: limit });
            }
        }
        events
    }
}

const fn after(port: u16) -> u16 {
    if port >= PORT_LAST { PORT_FIRST } else { port + 2 }
}

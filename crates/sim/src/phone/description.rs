//! A phone's half of the session: what it offers, what it was told, where its sound goes.

use std::net::SocketAddr;

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sdp::SessionDescription;

/// Codecs as payload types, in order of preference.
const ALL_CODECS: &[u8] = &[0, 8];

/// One side's media of a call.
#[derive(Debug)]
pub struct Media {
    /// Where sound is taken.
    pub local: SocketAddr,
    /// Names the stream.
    pub ssrc: u32,
    /// Where sound is sent.
    pub remote: Option<SocketAddr>,
    /// The other side wants to hear us.
    pub heard: bool,
    /// We hold the other side.
    pub holding: bool,
    /// The other side holds us.
    pub held: bool,
    /// Codecs we take now.
    pub codecs: Vec<u8>,
    /// The codec agreed on.
    pub codec: Option<u8>,
    /// When the next piece of sound is due.
    pub speak_at: Option<Instant>,
    session: u32,
    version: u32,
}

impl Media {
    /// Media at a fresh port.
    pub fn new(local: SocketAddr, number: u32) -> Self {
        Self {
            local,
            ssrc: number,
            remote: None,
            heard: false,
            holding: false,
            held: false,
            codecs: ALL_CODECS.to_vec(),
            codec: None,
            speak_at: None,
            session: number,
            version: 0,
        }
    }

    /// A new version of our description follows.
    pub const fn change(&mut self) {
        self.version += 1;
    }

    /// Our description as an offer.
    pub fn offer(&self) -> Bytes {
        self.describe(&self.codecs, if self.holding { "sendonly" } else { "sendrecv" })
    }

    /// Takes an offer and answers it; `None` if it has nothing for us.
    pub fn answer(&mut self, offer: &[u8]) -> Option<Bytes> {
        self.take(offer)?;
        let codec = self.codec?;
        let direction = match (self.held, self.holding) {
            (false, false) => "sendrecv",
            (false, true) => "sendonly",
            (true, false) => "recvonly",
            (true, true) => "inactive",
        };
        Some(self.describe(&[codec], direction))
    }

    /// Takes the other side's description.
    pub fn take(&mut self, text: &[u8]) -> Option<()> {
        let theirs = SessionDescription::parse_slice(text).ok()?;
        let audio = theirs.media_at(0).filter(|audio| !audio.is_rejected())?;
        self.codec = audio.payload_types().map(|kind| kind.number()).find(|kind| self.codecs.contains(kind));
        self.remote = audio.rtp_address().and_then(|address| address.socket_addr());
        let direction = audio.effective_direction();
        self.heard = direction.receives();
        self.held = !direction.receives();
        Some(())
    }

    fn describe(&self, codecs: &[u8], direction: &str) -> Bytes {
        let family = if self.local.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (self.local.ip(), self.local.port());
        let list: String = codecs.iter().map(|codec| format!(" {codec}")).collect();
        let maps: String = codecs
            .iter()
            .map(|codec| format!("a=rtpmap:{codec} {}/8000\r\n", if *codec == 0 { "PCMU" } else { "PCMA" }))
            .collect();
        Bytes::from(format!(
            "v=0\r\no=- {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP{list}\r\n{maps}a={direction}\r\n",
            self.session, self.version
        ))
    }
}

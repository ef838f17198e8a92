//! A phone's half of the session: what it offers, what it was told, where its sound goes.

use std::net::SocketAddr;

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sdp::SessionDescription;

use super::keys::Keys;

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
    /// Its SRTP keys.
    pub keys: Option<Keys>,
    session: u32,
    version: u32,
}

impl Media {
    /// Media at a fresh port.
    pub fn new(local: SocketAddr, number: u32, keys: Option<Keys>) -> Self {
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
            keys,
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
        self.describe(&self.codecs, if self.holding { "sendonly" } else { "sendrecv" }, true)
    }

    /// Takes an offer and answers it; `None` if it has nothing for us.
    pub fn answer(&mut self, offer: &[u8]) -> Option<Bytes> {
        self.take_offer(offer)?;
        let codec = self.codec?;
        let direction = match (self.held, self.holding) {
            (false, false) => "sendrecv",
            (false, true) => "sendonly",
            (true, false) => "recvonly",
            (true, true) => "inactive",
        };
        Some(self.describe(&[codec], direction, false))
    }

    /// Takes the other side's offer; `None` if it has nothing for us.
    pub fn take_offer(&mut self, text: &[u8]) -> Option<()> {
        self.read(text, true)
    }

    /// The answer to an offer that has nothing for us; `None` if it cannot be read.
    pub fn decline(&self, offer: &[u8]) -> Option<Bytes> {
        let audio = SessionDescription::parse_slice(offer).ok()?;
        let profile = audio.media_at(0)?.protocol_text();
        let (session, version) = (self.session, self.version);
        Some(Bytes::from(format!(
            "v=0\r\no=- {session} {version} IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 0 {profile} 0\r\n"
        )))
    }

    /// Takes the other side's answer.
    pub fn take(&mut self, text: &[u8]) -> Option<()> {
        self.read(text, false)
    }

    fn read(&mut self, text: &[u8], is_offer: bool) -> Option<()> {
        let theirs = SessionDescription::parse_slice(text).ok()?;
        let audio = theirs.media_at(0).filter(|audio| !audio.is_rejected())?;
        match &mut self.keys {
            Some(keys) => keys.take(&audio, is_offer)?,
            None if audio.protocol().is_secure() => return None,
            None => {}
        }
        self.codec = audio.payload_types().map(|kind| kind.number()).find(|kind| self.codecs.contains(kind));
        self.remote = audio.rtp_address().and_then(|address| address.socket_addr());
        let direction = audio.effective_direction();
        self.heard = direction.receives();
        self.held = !direction.receives();
        Some(())
    }

    fn describe(&self, codecs: &[u8], direction: &str, is_offer: bool) -> Bytes {
        let family = if self.local.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (self.local.ip(), self.local.port());
        let list: String = codecs.iter().map(|codec| format!(" {codec}")).collect();
        let maps: String = codecs
            .iter()
            .map(|codec| format!("a=rtpmap:{codec} {}/8000\r\n", if *codec == 0 { "PCMU" } else { "PCMA" }))
            .collect();
        let plain = || ("RTP/AVP", String::new());
        let (profile, crypto) = self.keys.as_ref().map_or_else(plain, |keys| keys.written(is_offer));
        Bytes::from(format!(
            "v=0\r\no=- {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} {profile}{list}\r\n{maps}{crypto}a={direction}\r\n",
            self.session, self.version
        ))
    }
}

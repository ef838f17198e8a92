//! One media section of one leg: who may send, what came, what went.

mod carry;

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_rtp::{
    demux::{DatagramClass, classify},
    emodel::{self, CodecImpairment, Transmission},
    rtcp::{Compound, CompoundRules, RtcpPacket},
    rtp::{Header, Packet, Ssrc},
    srtp::NOTE_EVERY_PACKETS,
    statistics::{RoundTripMeter, StreamStatistics, Timing},
    stun,
};
use offhook_switch::media::{StreamConfig, StreamNote, StreamQuality};

use super::{
    Component,
    crypto::Crypto,
    latch::{ControlLatch, Latch},
    payloads::Payloads,
    voice::{Recoded, Voice},
};
use crate::DropReason;
use carry::Carriage;

/// STUN answers per second and stream. A client asks once in seconds; more would make us an attacker's echo.
const STUN_ANSWERS_PER_SEC: u32 = 10;
/// What lies between the wire and the ear beside the network, for the E-model: a jitter buffer of two packets of 20 ms
/// and the packet being filled.
const RECEIVER_DELAY: Duration = Duration::from_millis(60);

/// What a packet that was taken is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// RTP, or whatever an opaque section carries.
    Media,
    /// RTCP.
    Control,
}

/// What to do with a packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Send the first `len` bytes on.
    Pass(Kind, usize),
    /// Send the first `len` bytes, now an answer, back.
    Answer(usize),
}

/// A media section.
#[derive(Debug)]
pub(super) struct Stream {
    config: StreamConfig,
    media: Latch,
    control: ControlLatch,
    crypto: Crypto,
    payloads: Payloads,
    is_opaque: bool,
    statistics: StreamStatistics,
    round_trip: RoundTripMeter,
    heard_at: Option<Instant>,
    /// When RTCP last came from the leg.
    reported_at: Option<Instant>,
    refused: u64,
    sent: u64,
    sent_ssrc: Option<Ssrc>,
    remote_loss: Option<f64>,
    /// Where it is transcoded.
    voice: Option<Box<Voice>>,
    /// The codec it was transcoded to last.
    transcoded_to: Option<&'static str>,
    /// Its media or RTCP comes from an address that was not announced, since the last note.
    source_is_new: bool,
    /// What another process had noted, until the first description.
    recalled: Option<Box<StreamNote>>,
    /// The second that is being counted, and its STUN answers.
    stun_window: (Instant, u32),
    carriage: Carriage,
}

impl Default for Stream {
    /// Silent until it is configured.
    fn default() -> Self {
        Self {
            config: StreamConfig::default(),
            media: Latch::default(),
            control: ControlLatch::default(),
            crypto: Crypto::default(),
            payloads: Payloads::default(),
            is_opaque: true,
            statistics: StreamStatistics::new(0),
            round_trip: RoundTripMeter::default(),
            heard_at: None,
            reported_at: None,
            refused: 0,
            sent: 0,
            sent_ssrc: None,
            remote_loss: None,
            voice: None,
            transcoded_to: None,
            source_is_new: false,
            recalled: None,
            stun_window: (Instant::default(), 0),
            carriage: Carriage::default(),
        }
    }
}

impl Stream {
    /// Whether another process would have to know something that was not noted yet.
    pub fn is_note_due(&self) -> bool {
        self.source_is_new || self.crypto.is_note_due()
    }

    /// What another process would have to know. An address that was announced stands in the description.
    pub fn note(&mut self) -> StreamNote {
        self.source_is_new = false;
        let unannounced = |source: Option<SocketAddr>, signalled| source.filter(|_| source != signalled);
        let mut note = StreamNote {
            source: unannounced(self.media.source(), self.media.signalled()),
            control_source: unannounced(self.control.source(), self.control.signalled()),
            ..StreamNote::NOTHING
        };
        self.crypto.note(&mut note);
        note
    }

    /// Takes over what another process had noted. It takes effect with the first description.
    pub fn recall(&mut self, note: StreamNote) {
        self.recalled = Some(Box::new(note));
    }

    /// Takes a new description of the other end.
    pub fn configure(&mut self, config: StreamConfig, now: Instant) {
        self.media.signal(config.remote.map(|remote| remote.rtp), now);
        self.control.signal(config.remote.map(|remote| remote.rtcp));
        if config.crypto != self.config.crypto {
            self.crypto.configure(config.crypto.as_deref());
        }
        let recalled = self.recalled.take();
        if let Some(note) = &recalled {
            self.media.resume(note.source, now);
            self.control.resume(note.control_source);
            self.crypto.resume(note);
        }
        self.payloads.negotiate(&config.payloads);
        self.is_opaque = self.payloads.is_empty();
        // One that stays keeps its place in the stream.
        if self.voice.as_ref().map(|voice| voice.config()) != config.voice.as_deref() {
            self.voice = config.voice.as_deref().cloned().and_then(Voice::new).map(Box::new);
        }
        // Our own count must not go back under the same key: that would use a piece of key stream twice.
        let sent = recalled.iter().flat_map(|note| &note.sent).map(|note| note.index).max();
        if let (Some(voice), Some(index)) = (&mut self.voice, sent) {
            voice.count_from(index + 2 * NOTE_EVERY_PACKETS);
        }
        self.config = config;
    }

    /// Whether it leaves the relay's way, to be decoded.
    pub const fn is_transcoded(&self) -> bool {
        self.voice.is_some()
    }

    /// How it is heard and spoken to, where it is decoded.
    pub fn voice_mut(&mut self) -> Option<&mut Voice> {
        self.voice.as_deref_mut()
    }

    /// Takes a packet of this leg for a partner that shares no codec with it. Without a voice at the other side it stays as it
    /// is.
    pub fn transcode(
        &mut self,
        kind: Kind,
        partner: &mut Self,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Recoded {
        let (Some(voice), Some(other)) = (&mut self.voice, &mut partner.voice) else {
            return Recoded::Written(len);
        };
        if kind == Kind::Control {
            voice.correct_reports(other, &mut buffer[..len]);
            return Recoded::Written(len);
        }
        self.transcoded_to = Some(other.config().codec.name());
        voice.recode(other, buffer, len, now)
    }

    /// How hard its encoder tries, where it is transcoded.
    pub fn set_effort(&mut self, effort: u8) {
        if let Some(voice) = &mut self.voice {
            voice.set_effort(effort);
        }
    }

    /// Whether packets of the leg wait for others before them.
    pub fn waits(&self) -> bool {
        self.voice.as_ref().is_some_and(|voice| voice.waits())
    }

    /// Passes on to `partner` what has waited long enough.
    pub fn go_on(&mut self, partner: &mut Self, now: Instant) {
        if let (Some(voice), Some(other)) = (&mut self.voice, &mut partner.voice) {
            voice.go_on(other, now);
        }
    }

    /// Writes the next packet that waits for the leg into `buffer`; its length.
    pub fn next_voice_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.voice.as_mut()?.next_packet(buffer)
    }

    /// Believes unannounced sources for a while again.
    pub fn learn(&mut self, now: Instant) {
        self.media.learn(now);
    }

    /// True if the other end may send.
    pub fn receives(&self) -> bool {
        self.config.receives && self.config.remote.is_some()
    }

    /// True if the other end may be sent to.
    pub fn sends(&self) -> bool {
        self.config.sends && self.config.remote.is_some()
    }

    /// Whom its RTP port listens to.
    pub fn source(&self) -> Option<SocketAddr> {
        self.media.source()
    }

    /// When media last came from the leg.
    pub fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// When anything last came from the leg: one that says nothing may still report what it hears.
    pub fn alive_at(&self) -> Option<Instant> {
        self.heard_at.max(self.reported_at)
    }

    /// Takes the packet that is the first `len` bytes of `buffer`, opens its SRTP and counts it.
    pub fn receive(
        &mut self,
        component: Component,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<Received, DropReason> {
        let result = match classify(&buffer[..len]) {
            // An opaque protocol may begin with any byte: STUN is believed by its magic cookie only.
            DatagramClass::Stun if !self.is_opaque || stun::Message::parse(&buffer[..len]).is_ok() => {
                return self.answer_stun(source, buffer, len, now);
            }
            _ if self.is_opaque && component == Component::Rtp => {
                self.receive_media(source, buffer, len, now)
            }
            DatagramClass::Rtp if component == Component::Rtp => self.receive_media(source, buffer, len, now),
            DatagramClass::Rtcp => self.receive_control(component, source, buffer, len, now),
            DatagramClass::Dtls => Err(DropReason::Dtls),
            _ => Err(DropReason::Malformed),
        };
        if matches!(result, Err(DropReason::Stranger | DropReason::NotAuthentic)) {
            self.refused += 1;
        }
        result
    }

    fn receive_media(
        &mut self,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<Received, DropReason> {
        let header = Header::parse(&buffer[..len]).ok();
        let trace = header.map(|header| (header.ssrc(), header.sequence_number()));
        let plausible = self.config.receives
            && (self.is_opaque || header.is_some_and(|header| self.payloads.contains(header.payload_type())));
        let admission = self.media.admit(source, trace, plausible, now).ok_or(DropReason::Stranger)?;
        if header.is_none() && !self.is_opaque {
            return Err(DropReason::Malformed);
        }
        let len = self.crypto.unprotect(Kind::Media, &mut buffer[..len])?;
        self.source_is_new |= self.media.accept(admission);
        self.heard_at = Some(now);
        self.count(&buffer[..len], now);
        if self.config.receives { Ok(Received::Pass(Kind::Media, len)) } else { Err(DropReason::Held) }
    }

    fn count(&mut self, packet: &[u8], now: Instant) {
        let Ok(header) = Header::parse(packet) else { return };
        // Where SRTP passes through closed, the padding cannot be read: it counts as payload.
        let payload_len =
            Packet::parse(packet).map_or(packet.len() - header.len(), |packet| packet.payload().len());
        let (clock_rate, timing) = self.payloads.count(header.payload_type()).unwrap_or((0, Timing::Held));
        if timing == Timing::Sampled {
            self.statistics.set_clock_rate(clock_rate);
        }
        self.statistics.handle_packet(&header, payload_len, timing, now);
    }

    fn receive_control(
        &mut self,
        component: Component,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<Received, DropReason> {
        let known = match component {
            Component::Rtp => self.media.is_known(source),
            Component::Rtcp => {
                let ssrc = control_sender(&buffer[..len]);
                self.control.admits(source, ssrc.is_some() && ssrc == self.media.ssrc(), &self.media)
            }
        };
        if !known || self.config.remote.is_none() {
            return Err(DropReason::Stranger);
        }
        let len = self.crypto.unprotect(Kind::Control, &mut buffer[..len])?;
        if component == Component::Rtcp {
            self.source_is_new |= self.control.accept(source);
        }
        self.reported_at = Some(now);
        self.read_reports(&buffer[..len], now);
        Ok(Received::Pass(Kind::Control, len))
    }

    /// Reads what the leg reports of the stream we send it.
    fn read_reports(&mut self, compound: &[u8], now: Instant) {
        let Ok(compound) = Compound::parse(compound, CompoundRules::ReducedSize) else { return };
        for packet in compound.packets() {
            let blocks = match packet {
                RtcpPacket::SenderReport(report) => report.blocks,
                RtcpPacket::ReceiverReport(report) => report.blocks,
                _ => continue,
            };
            // Closed SRTCP that passes through reads like noise: no block of it names our stream's SSRC.
            for block in blocks.iter().filter(|block| Some(block.ssrc) == self.sent_ssrc) {
                self.round_trip.report_block_received(&block, now);
                let lost = f64::from(block.cumulative_lost.max(0));
                self.remote_loss = Some((lost / self.sent.max(1) as f64).min(1.0));
                if let Some(voice) = &mut self.voice {
                    voice.expect_loss(f64::from(block.fraction_lost) / 256.0);
                }
            }
        }
    }

    fn answer_stun(
        &mut self,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<Received, DropReason> {
        let (window, answers) = &mut self.stun_window;
        if now - *window >= Duration::from_secs(1) {
            (*window, *answers) = (now, 0);
        }
        let request = stun::Message::parse(&buffer[..len]).map_err(|_| DropReason::Stun)?;
        // A name means ICE, whose checks need an answer signed with a password we do not have (RFC 8445 §7.3).
        let is_plain = request.attribute(stun::AttributeType::USERNAME).is_none();
        if *answers >= STUN_ANSWERS_PER_SEC || !is_plain {
            return Err(DropReason::Stun);
        }
        let answer = stun::answer_binding(&buffer[..len], source).ok_or(DropReason::Stun)?;
        *answers += 1;
        let bytes = answer.as_bytes();
        buffer.get_mut(..bytes.len()).ok_or(DropReason::Stun)?.copy_from_slice(bytes);
        Ok(Received::Answer(bytes.len()))
    }

    /// Where a packet that leaves through this half goes now.
    pub fn destination(&self, component: Component) -> Option<SocketAddr> {
        match component {
            Component::Rtp => self.media.destination(),
            Component::Rtcp => self.control.destination(&self.media),
        }
    }

    /// Prepares the packet that is the first `len` bytes of `buffer` for the leg: through which of its ports, where
    /// to, and its new length.
    pub fn transmit(
        &mut self,
        kind: Kind,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<(Component, SocketAddr, usize), DropReason> {
        if self.config.remote.is_none() || (kind == Kind::Media && !self.config.sends) {
            return Err(DropReason::Held);
        }
        let (component, to) = match kind {
            Kind::Control if !self.config.rtcp_mux => {
                (Component::Rtcp, self.control.destination(&self.media))
            }
            Kind::Media | Kind::Control => (Component::Rtp, self.media.destination()),
        };
        let to = to.ok_or(DropReason::NoDestination)?;
        match kind {
            Kind::Media => {
                self.sent_ssrc = Header::parse(&buffer[..len]).ok().map(|header| header.ssrc());
            }
            Kind::Control => self.note_sender_report(&buffer[..len], now),
        }
        let len = self.crypto.protect(kind, buffer, len)?;
        self.sent += u64::from(kind == Kind::Media);
        Ok((component, to, len))
    }

    fn note_sender_report(&mut self, compound: &[u8], now: Instant) {
        let Ok(compound) = Compound::parse(compound, CompoundRules::ReducedSize) else { return };
        for packet in compound.packets() {
            if let RtcpPacket::SenderReport(report) = packet {
                self.round_trip.sender_report_sent(report.info.ntp, now);
            }
        }
    }

    /// The report for the call's record.
    pub fn quality(&self) -> StreamQuality {
        let report = self.statistics.report();
        let codec = self.payloads.most_used();
        let round_trip = self.round_trip.latest();
        let impairment = codec.and_then(|codec| CodecImpairment::of_encoding(&codec.codec));
        let transmission = Transmission {
            loss: report.loss(),
            burst_ratio: report.burst_ratio,
            one_way_delay: RECEIVER_DELAY + round_trip.unwrap_or_default() / 2,
        };
        StreamQuality {
            codec: codec.map(|name| format!("{}/{}", name.codec, name.clock_rate)).unwrap_or_default(),
            transcoded_to: self.transcoded_to.map(ToOwned::to_owned),
            packets_received: report.packets,
            octets_received: report.octets,
            packets_sent: self.sent,
            packets_lost: report.lost,
            packets_duplicate: report.duplicates,
            packets_reordered: report.reordered,
            packets_refused: self.refused,
            jitter_ms: report.jitter_ms,
            jitter_ms_max: report.jitter_ms_max,
            round_trip_ms: round_trip.map(|time| time.as_secs_f64() * 1000.0),
            remote_loss: self.remote_loss,
            mos: impairment
                .filter(|_| report.packets > 0)
                .map(|impairment| emodel::rate(impairment, transmission).mos),
        }
    }
}

/// The SSRC that stands in clear in RTCP and SRTCP alike. RFC 3711 §3.4.
fn control_sender(packet: &[u8]) -> Option<Ssrc> {
    packet.get(4..)?.first_chunk().map(|bytes| Ssrc(u32::from_be_bytes(*bytes)))
}

//! What is said to a leg: sound cut into its packets, keys and comfort noise between them, in one count and one clock.

use offhook_codec::{Encoder, Resampler, ToneGenerator, VoiceCodec, voice::PACKET_MS_MAX};
use offhook_rtp::{
    rtp::Ssrc,
    telephone_event::{EventCode, TelephoneEvent},
};
use offhook_switch::media::{EventsConfig, Key, VoiceConfig};

use super::keys::tones;

/// An RTP header without contributing sources or extension.
const HEADER_LEN: usize = 12;
const VERSION: u8 = 0x80;
const MARKER: u8 = 0x80;
/// A segment of an event that is longer than the field of its duration. RFC 4733 §2.5.1.3.
const SEGMENT: u32 = u16::MAX as u32;
/// An event may lie so far beside the sound before it, s. Whatever says more has another clock than it says.
const EVENT_SECS_MAX: i64 = 60;
/// The end of an event is told so often. RFC 4733 §2.5.1.4.
const ENDS: u8 = 3;
/// Volume of the events that we say, -dBm0: what is usual.
const VOLUME: u8 = 10;

/// A key that is pressed: its start in both clocks.
#[derive(Clone, Copy, Debug)]
struct Press {
    theirs: u32,
    ours: u32,
}

/// A key that we say ourselves, in place of the sound of its time.
#[derive(Debug)]
struct OwnKey {
    code: EventCode,
    /// Its tones, for a leg that knows no events.
    tones: Option<ToneGenerator>,
    /// The time of its first packet, once that was written.
    start: Option<u32>,
    /// Said so far, ms.
    lasted_ms: u32,
    /// It goes up after so long; `None`: not yet known.
    until_ms: Option<u32>,
    /// How often its end is still to be told.
    ends: u8,
    /// Pressed already, to be said after this one.
    next: Option<(Key, Option<u32>)>,
}

/// The encoder of one stream, with its place in it.
#[derive(Debug)]
pub struct Speaker {
    encoder: Encoder,
    codec: VoiceCodec,
    payload_type: u8,
    events: Option<EventsConfig>,
    /// From the rate of what is said, once it is known; `None`: the same rate.
    resampler: Option<(u32, Resampler)>,
    /// Samples of a packet.
    frame: usize,
    waiting: Vec<i16>,
    ssrc: Option<Ssrc>,
    /// Where the first source's count begins, if not where its own stands.
    first: Option<u16>,
    sequence: u16,
    /// The time of the first sample that waits.
    timestamp: u32,
    /// A pause, in units of the clock, between the first packet that waits and what comes after it.
    pause: u32,
    /// The next packet is the first after a pause.
    marker: bool,
    press: Option<Press>,
    own_key: Option<Box<OwnKey>>,
    packets: u32,
    octets: u32,
}

impl Speaker {
    /// For a leg of this configuration.
    pub fn new(encoder: Encoder, config: &VoiceConfig) -> Self {
        let frame = (config.packet_ms * encoder.rate() / 1000) as usize;
        // A loss of the longest length and the packet after it, beside what waits already.
        let room = frame + (2 * PACKET_MS_MAX * encoder.rate() / 1000) as usize + 1;
        Self {
            encoder,
            codec: config.codec,
            payload_type: config.sent_as,
            events: config.events,
            resampler: None,
            frame,
            waiting: Vec::with_capacity(room),
            ssrc: None,
            first: None,
            sequence: 0,
            timestamp: 0,
            pause: 0,
            marker: true,
            press: None,
            own_key: None,
            packets: 0,
            octets: 0,
        }
    }

    fn units(&self, samples: usize) -> u32 {
        (samples as u64 * u64::from(self.codec.clock_rate()) / u64::from(self.encoder.rate())) as u32
    }

    /// The time at which the next sound is said.
    fn next_timestamp(&self) -> u32 {
        self.timestamp.wrapping_add(self.units(self.waiting.len())).wrapping_add(self.pause)
    }

    /// Goes on with the stream `ssrc`. A translator keeps the source (RFC 3550 §7.1), and a new one begins with the count and
    /// time of the packet that it came with.
    pub fn follow(&mut self, ssrc: Ssrc, sequence: u16, timestamp: u32) {
        if self.ssrc != Some(ssrc) {
            let sequence = self.first.take().unwrap_or(sequence);
            (self.ssrc, self.sequence, self.timestamp) = (Some(ssrc), sequence, timestamp);
            (self.packets, self.octets, self.press) = (0, 0, None);
            self.waiting.clear();
            (self.pause, self.marker) = (0, true);
        }
    }

    /// Whether it has a source.
    pub const fn speaks(&self) -> bool {
        self.ssrc.is_some()
    }

    /// The count begins at `first`, whatever that of the first source is.
    pub fn count_from(&mut self, first: u16) {
        self.first = Some(first);
    }

    /// Nothing is said for `pause` units of a clock of `clock_rate` Hz.
    pub fn pause(&mut self, pause: u32, clock_rate: u32) {
        let rate = u64::from(self.encoder.rate());
        let mut samples = u64::from(pause) * rate / u64::from(clock_rate);
        if !self.waiting.is_empty() {
            // The packet that has begun is filled with the first of the silence.
            let fill = samples.min(self.frame.saturating_sub(self.waiting.len()) as u64);
            self.waiting.resize(self.waiting.len() + fill as usize, 0);
            samples -= fill;
        }
        let units = (samples * u64::from(self.codec.clock_rate()) / rate) as u32;
        self.pause = self.pause.wrapping_add(units);
        if self.waiting.is_empty() {
            self.end_pause();
        }
    }

    /// What waited before the pause has been said.
    fn end_pause(&mut self) {
        if self.pause > 0 {
            self.timestamp = self.timestamp.wrapping_add(std::mem::take(&mut self.pause));
            self.marker = true;
        }
    }

    /// Takes sound at `rate` Hz.
    pub fn say(&mut self, sound: &[i16], rate: u32) {
        if rate == self.encoder.rate() {
            return self.waiting.extend_from_slice(sound);
        }
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            // Once per stream: its codecs settle the rates.
            self.resampler = Resampler::new(rate, self.encoder.rate()).map(|resampler| (rate, resampler));
        }
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.process(sound, &mut self.waiting);
        }
    }

    /// A key goes down with what is said next, as an event or as its tones, in place of the sound: for `ms`, or until
    /// [`release`](Self::release).
    pub fn press(&mut self, key: Key, ms: Option<u32>) {
        if let Some(own_key) = &mut self.own_key {
            let lasted = own_key.lasted_ms;
            own_key.until_ms.get_or_insert(lasted);
            own_key.next = Some((key, ms));
            return;
        }
        let Some(code) = EventCode::from_digit(key.letter()) else { return };
        let tones = match self.events {
            Some(_) => None,
            None => tones(key.letter(), self.encoder.rate()),
        };
        let own_key = OwnKey { code, tones, start: None, lasted_ms: 0, until_ms: ms, ends: ENDS, next: None };
        self.own_key = Some(Box::new(own_key));
    }

    /// The key goes up, once it was said at all.
    pub fn release(&mut self) {
        if let Some(own_key) = &mut self.own_key {
            let lasted = own_key.lasted_ms;
            match &mut own_key.next {
                Some((_, ms)) => *ms = ms.or(Some(0)),
                None => _ = own_key.until_ms.get_or_insert(lasted),
            }
        }
    }

    /// The packet of a key that we say ourselves; `None` if it has none now.
    fn next_key_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (config, ssrc) = (self.events?, self.ssrc?);
        let units = |ms: u32| u64::from(ms) * u64::from(config.clock_rate) / 1000;
        let own_key = self.own_key.as_mut()?;
        let is_over = own_key.start.is_some()
            && (own_key.until_ms.is_some_and(|until| own_key.lasted_ms >= until)
                || units(own_key.lasted_ms) >= u64::from(SEGMENT));
        if !is_over {
            if self.waiting.len() < self.frame {
                return None;
            }
            own_key.lasted_ms += (self.frame as u64 * 1000 / u64::from(self.encoder.rate())) as u32;
        }
        let marker = own_key.start.is_none();
        let start = *own_key.start.get_or_insert(self.timestamp);
        let duration = units(own_key.lasted_ms).min(SEGMENT.into()) as u16;
        let event = TelephoneEvent { code: own_key.code, end: is_over, volume: VOLUME, duration };
        if is_over {
            own_key.ends -= 1;
            if own_key.ends == 0 {
                self.go_on_after_key();
            }
        } else {
            self.waiting.drain(..self.frame);
            self.timestamp = self.timestamp.wrapping_add(self.units(self.frame));
            self.end_pause();
        }
        let octets = event.to_bytes();
        buffer.get_mut(HEADER_LEN..HEADER_LEN + octets.len())?.copy_from_slice(&octets);
        self.write_header(buffer, config.sent_as, marker, start, ssrc);
        self.count(octets.len());
        Some(HEADER_LEN + octets.len())
    }

    /// Puts the tones of a key that we say ourselves in place of the first frame that waits.
    fn sound_key(&mut self) {
        let Some(own_key) = &mut self.own_key else { return };
        let Some(tones) = &mut own_key.tones else { return };
        tones.fill(&mut self.waiting[..self.frame]);
        own_key.lasted_ms += (self.frame as u64 * 1000 / u64::from(self.encoder.rate())) as u32;
        if own_key.until_ms.is_some_and(|until| own_key.lasted_ms >= until) {
            self.go_on_after_key();
        }
    }

    fn go_on_after_key(&mut self) {
        if let Some((key, ms)) = self.own_key.take().and_then(|own_key| own_key.next) {
            self.press(key, ms);
        }
    }

    /// Writes the next packet that is full; its length.
    pub fn next_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            if self.own_key.is_some() {
                if self.events.is_some() {
                    if let Some(length) = self.next_key_packet(buffer) {
                        return Some(length);
                    }
                } else if self.waiting.len() >= self.frame {
                    self.sound_key();
                }
            }
            let ssrc = self.ssrc.filter(|_| self.waiting.len() >= self.frame)?;
            let payload = buffer.get_mut(HEADER_LEN..)?;
            let length = self.encoder.encode(&self.waiting[..self.frame], payload);
            self.waiting.drain(..self.frame);
            let timestamp = self.timestamp;
            self.timestamp = timestamp.wrapping_add(self.units(self.frame));
            let marker = std::mem::take(&mut self.marker);
            self.end_pause();
            if length == 0 {
                // Silence that need not be sent: time goes on, the count does not.
                self.marker = true;
                continue;
            }
            self.write_header(buffer, self.payload_type, marker, timestamp, ssrc);
            self.count(length);
            return Some(HEADER_LEN + length);
        }
    }

    /// Writes a telephone event that came at `theirs` in a clock of `clock_rate` Hz, whose sound stands at `now` in that
    /// clock; its length. `None` if the leg knows none.
    pub fn event(
        &mut self,
        buffer: &mut [u8],
        (event, event_clock): (TelephoneEvent, u32),
        marker: bool,
        theirs: u32,
        (now, clock_rate): (u32, u32),
    ) -> Option<usize> {
        let (config, ssrc) = (self.events?, self.ssrc?);
        let begun = self.press.filter(|press| continues(press.theirs, theirs, marker));
        let press = begun.unwrap_or_else(|| {
            let beside = i64::from(theirs.wrapping_sub(now) as i32);
            let limit = EVENT_SECS_MAX * i64::from(clock_rate);
            let beside = if beside.abs() <= limit { beside } else { 0 };
            let beside = beside * i64::from(self.codec.clock_rate()) / i64::from(clock_rate);
            Press { theirs, ours: self.next_timestamp().wrapping_add(beside as u32) }
        });
        self.press = Some(press);
        // Segments of a long press count from its start.
        let lasted = u64::from(theirs.wrapping_sub(press.theirs)) + u64::from(event.duration);
        let lasted = lasted * u64::from(config.clock_rate) / u64::from(event_clock.max(1));
        let lasted = u32::try_from(lasted).unwrap_or(u32::MAX);
        let segment = lasted.saturating_sub(1) / SEGMENT;
        let duration = (lasted - segment * SEGMENT) as u16;
        let timestamp = press.ours.wrapping_add(segment * SEGMENT);
        let octets = TelephoneEvent { duration, ..event }.to_bytes();
        buffer.get_mut(HEADER_LEN..HEADER_LEN + octets.len())?.copy_from_slice(&octets);
        self.write_header(buffer, config.sent_as, marker, timestamp, ssrc);
        self.count(octets.len());
        Some(HEADER_LEN + octets.len())
    }

    /// Writes comfort noise; its length.
    pub fn noise(&mut self, buffer: &mut [u8], payload_type: u8, payload: &[u8]) -> Option<usize> {
        let ssrc = self.ssrc?;
        buffer.get_mut(HEADER_LEN..HEADER_LEN + payload.len())?.copy_from_slice(payload);
        self.write_header(buffer, payload_type, false, self.next_timestamp(), ssrc);
        self.count(payload.len());
        Some(HEADER_LEN + payload.len())
    }

    fn write_header(
        &mut self,
        buffer: &mut [u8],
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        ssrc: Ssrc,
    ) {
        buffer[0] = VERSION;
        buffer[1] = payload_type | if marker { MARKER } else { 0 };
        buffer[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        buffer[4..8].copy_from_slice(&timestamp.to_be_bytes());
        buffer[8..HEADER_LEN].copy_from_slice(&ssrc.0.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn count(&mut self, octets: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
    }

    /// How hard the encoder tries.
    pub fn set_effort(&mut self, effort: u8) {
        self.encoder.set_effort(effort);
    }

    /// Tells how much of what was said got lost, 0 to 1.
    pub fn expect_loss(&mut self, loss: f64) {
        self.encoder.expect_loss((loss * 100.0).round() as u8);
    }

    /// Corrects the sender reports in a compound of the source that is recoded: time, packets and octets are ours now
    /// (RFC 3550 §7.2). `now` is where the source stands in its own clock of `clock_rate` Hz.
    ///
    /// DEVIATION RFC 3550 §7.2: the highest sequence number in report blocks stays that of our count.
    pub fn correct_reports(&self, compound: &mut [u8], (now, clock_rate): (u32, u32)) {
        const SENDER_REPORT: u8 = 200;
        let mut at = 0;
        while let Some(packet) = compound.get_mut(at..).filter(|packet| packet.len() >= 8) {
            let length = (usize::from(u16::from_be_bytes([packet[2], packet[3]])) + 1) * 4;
            if packet[1] == SENDER_REPORT && packet.len() >= 28 && length >= 28 {
                let theirs = u32::from_be_bytes([packet[16], packet[17], packet[18], packet[19]]);
                let beside = i64::from(theirs.wrapping_sub(now) as i32);
                let beside = beside * i64::from(self.codec.clock_rate()) / i64::from(clock_rate.max(1));
                let ours = self.next_timestamp().wrapping_add(beside as u32);
                packet[16..20].copy_from_slice(&ours.to_be_bytes());
                packet[20..24].copy_from_slice(&self.packets.to_be_bytes());
                packet[24..28].copy_from_slice(&self.octets.to_be_bytes());
            }
            at += length;
        }
    }
}

/// Whether an event at `timestamp` belongs to the press that began at `start`: a repeat, or a further segment.
fn continues(start: u32, timestamp: u32, marker: bool) -> bool {
    let since = timestamp.wrapping_sub(start);
    since == 0 || (!marker && since.is_multiple_of(SEGMENT) && since / SEGMENT < 64)
}

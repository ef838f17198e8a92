//! Transcoding: where two legs share no codec, what one says is decoded, brought to the other's rate and encoded anew.
//!
//! A stream has a [`Listener`] for what its leg says and a [`Speaker`] for what is said to it; a packet goes from the one of
//! its leg to the other of the partner. Keys pressed stay keys, in the clock of whom they go to; where one leg says them as
//! events and the other as sound, each hears them in its own way.

mod hold;
mod keys;
mod listener;
mod speaker;

use offhook_base::Instant;
use offhook_codec::{Decoder, Encoder, KeyDetector};
use offhook_rtp::{
    rtp::{Packet, Ssrc, Timestamp},
    telephone_event::TelephoneEvent,
};
use offhook_switch::media::{Key, VoiceConfig};

use self::{
    keys::KeyTones,
    listener::{Heard, Listener},
    speaker::Speaker,
};

/// Comfort noise at 8000 Hz. RFC 3389 §4.
const COMFORT_NOISE: u8 = 13;
/// Coefficients that describe noise better than any telephone would care for, octets. RFC 3389 §3.
const NOISE_LEN_MAX: usize = 32;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recoded {
    /// Its sound went to the partner, which may have packets now, or it waits for a packet before it.
    Said,
    /// The first bytes of the buffer are the packet for the partner.
    Written(usize),
    /// Too late, a repeat, or nothing that can be played.
    Nothing,
}

/// What the node hears of a leg that it talks with itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heed<'a> {
    /// Sound, at the rate of the voice.
    Sound(&'a [i16]),
    /// A telephone event, with what its packet says of its place.
    Event { ssrc: Ssrc, marker: bool, timestamp: Timestamp, event: TelephoneEvent },
}

/// How one stream is heard and spoken to.
#[derive(Debug)]
pub(super) struct Voice {
    config: VoiceConfig,
    listener: Listener,
    speaker: Speaker,
    /// Looks for keys in what its leg says, where the partner wants them as events.
    ear: Option<Box<KeyDetector>>,
    /// Makes tones of its leg's events, where the partner knows none.
    tones: KeyTones,
}

impl Voice {
    /// `None` if the codec does not work at the rate.
    pub fn new(config: VoiceConfig) -> Option<Self> {
        let decoder = Decoder::new(config.codec, config.rate).ok()?;
        let encoder = Encoder::new(config.codec, config.rate, config.opus).ok()?;
        let listener = Listener::new(decoder, config.codec.clock_rate());
        let speaker = Speaker::new(encoder, &config);
        Some(Self { config, listener, speaker, ear: None, tones: KeyTones::default() })
    }

    /// Its configuration.
    pub const fn config(&self) -> &VoiceConfig {
        &self.config
    }

    /// Takes the packet of its leg that is the first `len` bytes of `buffer`, for `partner`.
    pub fn recode(&mut self, partner: &mut Self, buffer: &mut [u8], len: usize, now: Instant) -> Recoded {
        let Ok(packet) = Packet::parse(&buffer[..len]) else { return Recoded::Nothing };
        let (header, payload) = (packet.header(), packet.payload());
        let payload_type = header.payload_type().as_u8();
        let (ssrc, sequence, timestamp) = (header.ssrc(), header.sequence_number().0, header.timestamp().0);
        partner.speaker.follow(ssrc, sequence, timestamp);
        if payload_type == self.config.heard_as {
            let heard = self.listener.hear(header, payload, now);
            self.pass_on(heard, partner, now);
            self.go_on(partner, now);
            return if heard == Heard::Useless { Recoded::Nothing } else { Recoded::Said };
        }
        let here = (self.listener.timestamp().unwrap_or(timestamp), self.listener.clock_rate());
        self.listener.skip(header);
        let event = self.config.events.filter(|events| events.heard_as == payload_type);
        let event = event.map(|events| (TelephoneEvent::parse(payload), events.clock_rate));
        let mut noise = [0; NOISE_LEN_MAX];
        let noise_len = payload.len().min(NOISE_LEN_MAX);
        noise[..noise_len].copy_from_slice(&payload[..noise_len]);
        let (marker, start) = (header.marker(), header.timestamp());
        let written = match event {
            Some((Some(event), clock_rate)) if partner.config.events.is_none() => {
                let rate = self.listener.rate();
                let sound = self.tones.event((ssrc, start), (event, clock_rate), rate, now);
                partner.speaker.say(sound, rate);
                return Recoded::Said;
            }
            Some((Some(event), clock_rate)) => {
                partner.speaker.event(buffer, (event, clock_rate), marker, timestamp, here)
            }
            None if payload_type == COMFORT_NOISE && partner.config.comfort_noise => {
                partner.speaker.noise(buffer, COMFORT_NOISE, &noise[..noise_len])
            }
            Some((None, _)) | None => None,
        };
        written.map_or(Recoded::Nothing, Recoded::Written)
    }

    /// Takes a packet of its leg that only the node hears: `heed` is told of its contents, and an echo is said back at once.
    /// False: it is late, a repeat, or nothing that was agreed on.
    pub fn attend(
        &mut self,
        packet: &[u8],
        now: Instant,
        echo: bool,
        mut heed: impl FnMut(Heed<'_>),
    ) -> bool {
        let Ok(packet) = Packet::parse(packet) else { return false };
        let (header, payload) = (packet.header(), packet.payload());
        let payload_type = header.payload_type().as_u8();
        if payload_type == self.config.heard_as {
            let heard = self.listener.hear(header, payload, now);
            self.heed_sound(heard, echo, &mut heed);
            self.attend_held(now, echo, heed);
            return heard != Heard::Useless;
        }
        self.listener.skip(header);
        let is_event = self.config.events.is_some_and(|events| events.heard_as == payload_type);
        match TelephoneEvent::parse(payload).filter(|_| is_event) {
            Some(event) => {
                let (ssrc, marker, timestamp) = (header.ssrc(), header.marker(), header.timestamp());
                heed(Heed::Event { ssrc, marker, timestamp, event });
                true
            }
            None => payload_type == COMFORT_NOISE,
        }
    }

    /// The same of what has waited long enough for packets before it.
    pub fn attend_held(&mut self, now: Instant, echo: bool, mut heed: impl FnMut(Heed<'_>)) {
        while let Some(heard) = self.listener.next_held(now) {
            self.heed_sound(heard, echo, &mut heed);
        }
    }

    fn heed_sound(&mut self, heard: Heard, echo: bool, heed: &mut impl FnMut(Heed<'_>)) {
        let Heard::Sound { pause } = heard else { return };
        heed(Heed::Sound(self.listener.sound()));
        if echo {
            self.speaker.pause(pause, self.listener.clock_rate());
            self.speaker.say(self.listener.sound(), self.listener.rate());
        }
    }

    /// Rate of its sound, Hz.
    pub const fn rate(&self) -> u32 {
        self.config.rate
    }

    /// Whether it has a source to speak by.
    pub fn speaks(&self) -> bool {
        self.speaker.speaks()
    }

    /// Speaks by `source` from now on; count and time begin somewhere (RFC 3550 §5.1).
    pub fn speak_as(&mut self, source: u32) {
        self.speaker.follow(Ssrc(source), source as u16, source.rotate_left(16));
    }

    /// Says nothing for so long.
    pub fn rest(&mut self, ms: u32) {
        self.speaker.pause(ms, 1000);
    }

    /// Says sound of `rate` Hz to its leg.
    pub fn say(&mut self, sound: &[i16], rate: u32) {
        self.speaker.say(sound, rate);
    }

    /// Passes on what has waited long enough for packets before it.
    pub fn go_on(&mut self, partner: &mut Self, now: Instant) {
        while let Some(heard) = self.listener.next_held(now) {
            self.pass_on(heard, partner, now);
        }
    }

    fn pass_on(&mut self, heard: Heard, partner: &mut Self, now: Instant) {
        let Heard::Sound { pause } = heard else { return };
        let (rate, clock_rate) = (self.listener.rate(), self.listener.clock_rate());
        self.listen_for_keys(partner);
        if self.tones.is_idle() {
            partner.speaker.pause(pause, clock_rate);
            return partner.speaker.say(self.listener.sound(), rate);
        }
        let pause = self.tones.pause(u64::from(pause) * u64::from(rate) / u64::from(clock_rate));
        partner.speaker.pause(u32::try_from(pause).unwrap_or(u32::MAX), rate);
        partner.speaker.say(self.tones.sound(self.listener.sound(), now), rate);
    }

    /// Keys that the leg says as sound are events to a partner that has agreed to events: one that has does not listen for
    /// others.
    fn listen_for_keys(&mut self, partner: &mut Self) {
        if self.config.events.is_some() || partner.config.events.is_none() {
            return;
        }
        if self.ear.is_none() {
            self.ear = KeyDetector::new(self.listener.rate()).map(Box::new);
        }
        let Some(ear) = &mut self.ear else { return };
        if let Some(key) = ear.feed(self.listener.sound()).and_then(Key::new) {
            partner.speaker.press(key, None);
        }
        if !ear.is_down() {
            partner.speaker.release();
        }
    }

    /// Presses a key towards its leg, for `ms`, with the next sound that is said to it.
    pub fn press(&mut self, key: Key, ms: u32) {
        self.speaker.press(key, Some(ms));
    }

    /// Whether packets of its leg wait for others: [`Voice::go_on`] must be called within some ms.
    pub fn waits(&self) -> bool {
        self.listener.holds()
    }

    /// Writes the next packet for its leg into `buffer`; its length.
    pub fn next_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.speaker.next_packet(buffer)
    }

    /// Corrects what its leg reports of what it sends, for `partner`.
    pub fn correct_reports(&self, partner: &Self, compound: &mut [u8]) {
        if let Some(now) = self.listener.timestamp() {
            partner.speaker.correct_reports(compound, (now, self.listener.clock_rate()));
        }
    }

    /// Another process may have sent up to the packet `index` to its leg: ours are counted from there on.
    pub fn count_from(&mut self, index: u64) {
        self.speaker.count_from(index as u16);
    }

    /// How hard its encoder tries.
    pub fn set_effort(&mut self, effort: u8) {
        self.speaker.set_effort(effort);
    }

    /// Its leg has lost so much of what was said to it, 0 to 1.
    pub fn expect_loss(&mut self, loss: f64) {
        self.speaker.expect_loss(loss);
    }
}

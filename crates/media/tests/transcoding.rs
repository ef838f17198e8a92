//! A stream between legs that share no codec, packet by packet: sound, loss, order, lengths, keys and pauses.

use std::{net::SocketAddr, time::Duration};

use offhook_base::{CryptoSuite, Instant, MasterKey};
use offhook_codec::{
    Dbm0, Decoder, Encoder, KeyDetector, OpusWishes, ToneDetector, ToneGenerator, VoiceCodec, tones_of_key,
};
use offhook_media::relay::{PortId, Relay, Verdict};
use offhook_rtp::{
    rtp::Packet,
    telephone_event::{EventCode, TelephoneEvent},
};
use offhook_switch::media::{
    EndpointId, EventsConfig, Key, PayloadName, RemoteMedia, RolloverNote, StreamConfig, StreamCrypto,
    StreamNote, VoiceConfig,
};
use proptest::prelude::*;

const LEFT: EndpointId = EndpointId(1);
const RIGHT: EndpointId = EndpointId(2);
const ALICE: &str = "192.0.2.1:4000";
const BOB: &str = "198.51.100.2:5000";
const HZ: f64 = 1000.0;
/// The payload type of every voice codec here, and of keys.
const VOICE: u8 = 100;
const EVENTS: u8 = 101;
const NOISE: u8 = 13;
/// How a tone of -10 dBm0 comes through: its level, and dB over the noise. Opus at 16 kbit/s is made for voices, not for
/// tones: it has some 13 dB, and what follows a loss is out of phase for a while; there the tone must only not break off.
const CLEAR: (Dbm0, f64) = (Dbm0(-12.0), 10.0);
const CONCEALED: (Dbm0, f64) = (Dbm0(-12.0), 6.0);
const CONCEALED_OPUS: (Dbm0, f64) = (Dbm0(-16.0), -1.0);

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn config(address: &str, codec: VoiceCodec, other: VoiceCodec, packet_ms: u32) -> StreamConfig {
    let rtp = at(address);
    let clock_rate = codec.clock_rate();
    let name = |payload_type, codec: &str| PayloadName { payload_type, codec: codec.into(), clock_rate };
    StreamConfig {
        remote: Some(RemoteMedia { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) }),
        receives: true,
        sends: true,
        payloads: vec![name(VOICE, codec.name()), name(EVENTS, "telephone-event"), name(NOISE, "CN")],
        voice: Some(Box::new(VoiceConfig {
            codec,
            rate: codec.rate_beside(other),
            heard_as: VOICE,
            sent_as: VOICE,
            packet_ms,
            opus: OpusWishes { fec: true, ..OpusWishes::default() },
            events: Some(EventsConfig { heard_as: EVENTS, sent_as: EVENTS, clock_rate }),
            comfort_noise: true,
        })),
        ..StreamConfig::default()
    }
}

/// A packet as it left the relay.
#[derive(Clone, Debug)]
struct Sent {
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
    marker: bool,
    payload: Vec<u8>,
}

/// Alice speaks one codec, Bob another.
struct Call {
    relay: Relay,
    left: PortId,
    codecs: [VoiceCodec; 2],
    voice: ToneGenerator,
    encoder: Encoder,
    now: Instant,
    sent: Vec<Sent>,
}

impl Call {
    fn new(codecs: [VoiceCodec; 2], packet_ms: u32) -> Self {
        Self::with_events(codecs, packet_ms, [true; 2])
    }

    /// One in which not both may know telephone events.
    fn with_events(codecs: [VoiceCodec; 2], packet_ms: u32, know_events: [bool; 2]) -> Self {
        let now = Instant::from_driver_nanos(1);
        let mut relay = Relay::new(None);
        let left = relay.open(LEFT, 1, now)[0][0];
        relay.open(RIGHT, 1, now);
        let mut configs =
            [config(ALICE, codecs[0], codecs[1], 20), config(BOB, codecs[1], codecs[0], packet_ms)];
        for (config, knows) in configs.iter_mut().zip(know_events) {
            let voice = config.voice.as_mut().unwrap();
            voice.events = voice.events.filter(|_| knows);
        }
        let [alice, bob] = configs;
        relay.configure(LEFT, vec![alice], now);
        relay.configure(RIGHT, vec![bob], now);
        relay.bridge(LEFT, RIGHT, now);
        let rate = codecs[0].rate_beside(codecs[1]);
        let voice = ToneGenerator::new(rate, &[(HZ, Dbm0(-10.0))]).unwrap();
        let fec = OpusWishes { fec: true, ..OpusWishes::default() };
        let mut encoder = Encoder::new(codecs[0], rate, fec).unwrap();
        encoder.expect_loss(10);
        Self { relay, left, codecs, voice, encoder, now, sent: Vec::new() }
    }

    /// The next `ms` of Alice's voice, encoded.
    fn speech(&mut self, ms: u32) -> Vec<u8> {
        let mut samples = vec![0; (self.encoder.rate() / 1000 * ms) as usize];
        self.voice.fill(&mut samples);
        let mut payload = vec![0; 1300];
        let length = self.encoder.encode(&samples, &mut payload);
        payload.truncate(length);
        payload
    }

    /// Alice sends a packet; what Bob gets is kept.
    fn say(&mut self, sequence: u16, timestamp: u32, payload_type: u8, payload: &[u8]) {
        let mut buffer = [0; 2000];
        buffer[..2].copy_from_slice(&[0x80, payload_type]);
        buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
        buffer[4..8].copy_from_slice(&timestamp.to_be_bytes());
        buffer[8..12].copy_from_slice(&7u32.to_be_bytes());
        buffer[12..12 + payload.len()].copy_from_slice(payload);
        match self.relay.handle_packet(self.left, at(ALICE), &mut buffer, 12 + payload.len(), self.now) {
            Verdict::Forward { to, len, .. } => self.keep(to, &buffer[..len]),
            Verdict::Say { through } => {
                while let Some(packet) = self.relay.next_voice_packet(through, &mut buffer, self.now) {
                    let (to, len) = packet.unwrap();
                    self.keep(to, &buffer[..len]);
                }
            }
            Verdict::Answer { .. } | Verdict::Taken | Verdict::Drop(_) => {}
        }
    }

    /// Some ms go by.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            let mut ports = Vec::new();
            self.relay.go_on(self.now, |port| ports.push(port));
            let mut buffer = [0; 2000];
            for port in ports {
                while let Some(packet) = self.relay.next_voice_packet(port, &mut buffer, self.now) {
                    let (to, len) = packet.unwrap();
                    self.keep(to, &buffer[..len]);
                }
            }
        }
    }

    fn keep(&mut self, to: SocketAddr, packet: &[u8]) {
        assert_eq!(to, at(BOB));
        let packet = Packet::parse(packet).unwrap();
        let header = packet.header();
        self.sent.push(Sent {
            sequence: header.sequence_number().0,
            timestamp: header.timestamp().0,
            payload_type: header.payload_type().as_u8(),
            marker: header.marker(),
            payload: packet.payload().to_vec(),
        });
    }

    /// Packets of 20 ms, 50 a second; `fate` may leave one out or send it twice.
    fn talk(&mut self, packets: u16, fate: impl Fn(u16) -> usize) {
        let step = self.codecs[0].clock_rate() / 50;
        for number in 0..packets {
            let payload = self.speech(20);
            for _ in 0..fate(number) {
                self.say(number, u32::from(number) * step, VOICE, &payload);
            }
        }
    }

    /// What Bob hears, and at which rate.
    fn heard(&self) -> (Vec<i16>, u32) {
        let rate = self.codecs[1].rate_beside(self.codecs[0]);
        let (mut decoder, mut sound) = (Decoder::new(self.codecs[1], rate).unwrap(), Vec::new());
        for packet in self.sent.iter().filter(|packet| packet.payload_type == VOICE) {
            decoder.decode(&packet.payload, &mut sound).unwrap();
        }
        (sound, rate)
    }

    /// Each tenth of a second of what Bob hears is the tone.
    fn assert_clear(&self, (softest, snr_db): (Dbm0, f64)) {
        let (sound, rate) = self.heard();
        let block = rate as usize / 10;
        let mut detector = ToneDetector::new(rate, HZ, block).unwrap();
        for (number, block) in sound.chunks_exact(block).enumerate().skip(1) {
            let reading = detector.feed(block).unwrap();
            assert!(reading.is_tone(softest, snr_db), "{:?} block {number}: {reading:?}", self.codecs);
        }
    }

    /// Each packet follows the one before in count and time.
    fn assert_unbroken(&self, packet_ms: u32) {
        let step = self.codecs[1].clock_rate() * packet_ms / 1000;
        for pair in self.sent.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(step), "{pair:?}");
        }
    }
}

const CODECS: [VoiceCodec; 4] = [VoiceCodec::Pcmu, VoiceCodec::Pcma, VoiceCodec::G722, VoiceCodec::Opus];

fn pairings() -> impl Iterator<Item = [VoiceCodec; 2]> {
    let all = CODECS.into_iter().flat_map(|left| CODECS.map(|right| [left, right]));
    all.filter(|[left, right]| left != right)
}

#[test]
fn a_tone_comes_through_every_pairing_of_codecs() {
    for codecs in pairings() {
        let mut call = Call::new(codecs, 20);
        call.talk(100, |_| 1);
        call.assert_unbroken(20);
        assert!((99..=100).contains(&call.sent.len()), "{codecs:?}: {}", call.sent.len());
        call.assert_clear(CLEAR);
        assert!(call.sent[0].marker && !call.sent[1].marker);
        let report = call.relay.quality(LEFT).unwrap();
        assert_eq!(report[0].transcoded_to.as_deref(), Some(codecs[1].name()));
    }
}

#[test]
fn packets_of_another_length_are_cut_anew() {
    for (codecs, packet_ms) in [
        ([VoiceCodec::Opus, VoiceCodec::Pcma], 30),
        ([VoiceCodec::Pcma, VoiceCodec::Opus], 60),
        ([VoiceCodec::G722, VoiceCodec::Pcmu], 10),
    ] {
        let mut call = Call::new(codecs, packet_ms);
        call.talk(60, |_| 1);
        call.assert_unbroken(packet_ms);
        assert!(call.sent.len() as u32 * packet_ms + packet_ms >= 1200);
        call.assert_clear(CLEAR);
    }
}

#[test]
fn lost_packets_are_concealed_and_repeated_ones_left_out() {
    for codecs in pairings() {
        let mut call = Call::new(codecs, 20);
        call.talk(200, |number| match number % 20 {
            7 => 0,
            13 => 2,
            _ => 1,
        });
        call.assert_unbroken(20);
        assert!((198..=200).contains(&call.sent.len()), "{codecs:?}: {}", call.sent.len());
        call.assert_clear(if codecs[0] == VoiceCodec::Opus { CONCEALED_OPUS } else { CONCEALED });
    }
}

#[test]
fn a_late_packet_does_not_turn_time_back() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::G722], 20);
    let payloads: Vec<_> = (0..4).map(|_| call.speech(20)).collect();
    for number in [0u16, 2, 1, 3] {
        call.say(number, u32::from(number) * 160, VOICE, &payloads[usize::from(number)]);
    }
    call.assert_unbroken(20);
    assert_eq!(call.sent.len(), 4);
}

/// Where packets overtake each other, the first that does so teaches the node to wait, and from then on nothing is lost; once
/// the network is in order again, a loss is concealed at once.
#[test]
fn packets_that_overtake_each_other_are_put_back_in_order() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::G722], 20);
    let mut useless = Vec::new();
    let mut number = 0u16;
    for _ in 0..20 {
        let payloads: Vec<_> = (0..10).map(|_| call.speech(20)).collect();
        // The fourth comes 10 ms after the fifth.
        for at in [0u16, 1, 2, 4, 3, 5, 6, 7, 8, 9] {
            if at == 4 {
                call.wait(10);
            }
            let before = call.sent.len();
            call.say(number + at, u32::from(number + at) * 160, VOICE, &payloads[usize::from(at)]);
            useless.push(call.sent.len() == before && at == 3);
            call.wait(if at == 4 || at == 3 { 10 } else { 20 });
        }
        number += 10;
    }
    assert_eq!(useless.iter().filter(|useless| **useless).count(), 1, "only the first one came in vain");
    call.assert_unbroken(20);
    assert_eq!(call.sent.len(), 200);
    // What waits for nothing leaves in time: the last word before a pause.
    let payload = call.speech(20);
    call.say(number + 1, u32::from(number + 1) * 160, VOICE, &payload);
    assert_eq!(call.sent.len(), 200, "it waits for one before it");
    call.wait(60);
    assert_eq!(call.sent.len(), 202, "one was concealed");
}

/// Goal: a node that goes on with another process's call uses no piece of key stream twice. Method: its own count of packets
/// begins beyond what the other may have sent, whatever the source's count is.
#[test]
fn a_resumed_stream_counts_on_beyond_what_was_sent_under_its_keys() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::Opus], 20);
    let mut relay = Relay::new(None);
    call.left = relay.open(LEFT, 1, call.now)[0][0];
    relay.open(RIGHT, 1, call.now);
    let sent = vec![RolloverNote { ssrc: 7, index: 70_000 }];
    relay.recall(RIGHT, &[StreamNote { sent, ..StreamNote::NOTHING }]);
    let key = |octet| MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &[octet; 30]).unwrap();
    let crypto = Some(Box::new(StreamCrypto { ours: key(1), theirs: key(2) }));
    let bob = StreamConfig { crypto, ..config(BOB, VoiceCodec::Opus, VoiceCodec::Pcma, 20) };
    relay.configure(LEFT, vec![config(ALICE, VoiceCodec::Pcma, VoiceCodec::Opus, 20)], call.now);
    relay.configure(RIGHT, vec![bob], call.now);
    relay.bridge(LEFT, RIGHT, call.now);
    call.relay = relay;
    let payload = call.speech(20);
    call.say(5, 800, VOICE, &payload);
    assert_eq!(call.sent[0].sequence, (70_000 + 16_384) as u16);
}

#[test]
fn a_pause_of_the_sender_is_one_for_the_listener() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::Opus], 20);
    let speech = call.speech(20);
    call.say(0, 0, VOICE, &speech);
    call.say(1, 160 + 8000, VOICE, &speech);
    assert_eq!(call.sent[1].timestamp - call.sent[0].timestamp, 960 + 48_000);
    assert_eq!(call.sent[1].sequence, call.sent[0].sequence + 1);
    assert!(call.sent[1].marker);
}

/// A key of 100 ms at 8 kHz is one of 100 ms at 48 kHz, with one start, between two packets of sound.
#[test]
fn keys_keep_their_length_in_another_clock() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::Opus], 20);
    let speech = call.speech(20);
    call.say(0, 0, VOICE, &speech);
    let code = offhook_rtp::telephone_event::EventCode(5);
    for (number, duration) in [160u16, 320, 480, 640, 800, 800, 800].into_iter().enumerate() {
        let event = TelephoneEvent { code, end: number >= 4, volume: 10, duration };
        call.say(1 + number as u16, 160, EVENTS, &event.to_bytes());
    }
    call.say(8, 160 + 800, VOICE, &speech);
    let events: Vec<_> = call.sent.iter().filter(|sent| sent.payload_type == EVENTS).collect();
    let durations: Vec<_> =
        events.iter().map(|sent| TelephoneEvent::parse(&sent.payload).unwrap().duration).collect();
    assert_eq!(durations, [960, 1920, 2880, 3840, 4800, 4800, 4800]);
    let first = call.sent[0].timestamp;
    assert!(events.iter().all(|event| event.timestamp == first + 960));
    assert_eq!(call.sent.last().unwrap().timestamp, first + 960 + 4800);
    assert!(call.sent.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
}

/// Two seconds are more than the field holds at 48 kHz: the press goes on in a further segment (RFC 4733 §2.5.1.3).
#[test]
fn a_long_key_is_said_in_segments() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::Opus], 20);
    let speech = call.speech(20);
    call.say(0, 0, VOICE, &speech);
    let code = offhook_rtp::telephone_event::EventCode(11);
    let event = TelephoneEvent { code, end: true, volume: 10, duration: 16_000 };
    call.say(1, 160, EVENTS, &event.to_bytes());
    let sent = call.sent.last().unwrap();
    let said = TelephoneEvent::parse(&sent.payload).unwrap();
    assert_eq!(sent.timestamp - call.sent[0].timestamp, 960 + 65_535);
    assert_eq!(u32::from(said.duration) + 65_535, 96_000);
}

/// The keys of sound.
fn keys_in((sound, rate): &(Vec<i16>, u32)) -> String {
    let mut detector = KeyDetector::new(*rate).unwrap();
    sound.chunks((*rate / 100) as usize).filter_map(|chunk| detector.feed(chunk)).collect()
}

fn event(key: char, duration: u32, end: bool) -> Vec<u8> {
    let code = EventCode::from_digit(key).unwrap();
    TelephoneEvent { code, end, volume: 10, duration: duration as u16 }.to_bytes().to_vec()
}

/// Alice says keys as events, with sound beside them or without; Bob knows none and hears tones. Nothing is said twice, and time
/// is what it was.
#[test]
fn events_are_tones_for_a_side_that_knows_none() {
    for (codecs, goes_on) in pairings().zip([true, false].into_iter().cycle()) {
        let mut call = Call::with_events(codecs, 20, [true, false]);
        let step = codecs[0].clock_rate() / 50;
        let (mut sequence, mut time) = (0, 0);
        let mut next = |call: &mut Call, payload_type, timestamp, payload: &[u8]| {
            call.say(sequence, timestamp, payload_type, payload);
            sequence += 1;
        };
        for key in "15#".chars() {
            for packet in 0..20 {
                let pressed = (8..13).contains(&packet);
                if !pressed || goes_on {
                    let speech = call.speech(20);
                    next(&mut call, VOICE, time, &speech);
                }
                if pressed {
                    let lasted = (packet - 7) * step;
                    next(&mut call, EVENTS, time - (packet - 8) * step, &event(key, lasted, packet == 12));
                }
                if packet == 12 {
                    for _ in 0..2 {
                        next(&mut call, EVENTS, time - 4 * step, &event(key, 5 * step, true));
                    }
                }
                time += step;
            }
        }
        assert_eq!(keys_in(&call.heard()), "15#", "{codecs:?}");
        assert!(call.sent.iter().all(|packet| packet.payload_type == VOICE));
        let last = call.sent.last().unwrap().timestamp;
        let behind = i64::from(codecs[1].clock_rate()) * 60 * 20 / 1000 - i64::from(last);
        assert!(behind <= i64::from(codecs[1].clock_rate()) / 25, "{codecs:?}: {behind} units are missing");
    }
}

/// Alice presses keys as tones; Bob has agreed to events, and gets them: one press each, with its length, and hears no tone of it
/// that is long enough to be a key.
#[test]
fn tones_are_events_for_a_side_that_knows_them() {
    for codecs in pairings() {
        let mut call = Call::with_events(codecs, 20, [false, true]);
        let step = codecs[0].clock_rate() / 50;
        let rate = call.encoder.rate();
        let mut number = 0_u16;
        for key in "15#".chars() {
            let [row, column] = tones_of_key(key).unwrap().map(f64::from);
            let tones = ToneGenerator::new(rate, &[(row, Dbm0(-10.0)), (column, Dbm0(-9.0))]).unwrap();
            let silence = ToneGenerator::new(rate, &[]).unwrap();
            for (packets, voice) in [(10, silence.clone()), (5, tones), (10, silence)] {
                call.voice = voice;
                for _ in 0..packets {
                    let speech = call.speech(20);
                    call.say(number, u32::from(number) * step, VOICE, &speech);
                    number += 1;
                }
            }
        }
        let presses: Vec<_> = call
            .sent
            .iter()
            .filter(|packet| packet.payload_type == EVENTS)
            .map(|packet| (packet.timestamp, TelephoneEvent::parse(&packet.payload).unwrap(), packet.marker))
            .collect();
        let ends: Vec<_> = presses.iter().filter(|(_, event, _)| event.end).collect();
        let said: String = ends.iter().filter_map(|(_, event, _)| event.code.digit()).collect();
        assert_eq!(said, "111555###", "{codecs:?}");
        assert_eq!(presses.iter().filter(|(.., marker)| *marker).count(), 3);
        for (_, event, _) in ends {
            let ms = u32::from(event.duration) * 1000 / codecs[1].clock_rate();
            assert!((60..=140).contains(&ms), "{codecs:?}: {ms} ms");
        }
        assert_eq!(keys_in(&call.heard()), "", "{codecs:?}");
        for pair in call.sent.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        }
    }
}

#[test]
fn a_key_that_call_control_presses_is_an_event_or_a_tone_in_place_of_the_sound() {
    let codecs = [VoiceCodec::Pcma, VoiceCodec::Pcmu];
    for knows_events in [true, false] {
        let mut call = Call::with_events(codecs, 20, [true, knows_events]);
        let key = |letter| Key::new(letter).unwrap();
        call.relay.press(RIGHT, key('4'), 100);
        call.relay.press(RIGHT, key('2'), 0);
        call.talk(30, |_| 1);
        let events: String = call
            .sent
            .iter()
            .filter(|packet| packet.payload_type == EVENTS)
            .filter_map(|packet| TelephoneEvent::parse(&packet.payload))
            .filter(|event| event.end)
            .filter_map(|event| event.code.digit())
            .collect();
        let tones = keys_in(&call.heard());
        assert_eq!((&*events, &*tones), if knows_events { ("444222", "") } else { ("", "42") });
        let last = call.sent.last().unwrap();
        assert_eq!((last.timestamp, last.payload_type), (29 * 160, VOICE));
        // Nobody is there to be pressed a key.
        call.relay.press(EndpointId(9), key('1'), 100);
    }
}

#[test]
fn comfort_noise_passes_between_sides_that_know_it() {
    let mut call = Call::new([VoiceCodec::Pcma, VoiceCodec::G722], 20);
    let speech = call.speech(20);
    call.say(0, 0, VOICE, &speech);
    call.say(1, 160, NOISE, &[70, 3, 4]);
    let noise = call.sent.last().unwrap();
    assert_eq!((noise.payload_type, &noise.payload[..]), (NOISE, &[70, 3, 4][..]));
    assert_eq!(noise.timestamp, call.sent[0].timestamp + 160);
}

proptest! {
    /// Whatever comes, nothing panics, the count goes up by one, and what waits stays within bounds.
    #[test]
    fn any_packets_are_survived(
        packets in prop::collection::vec(
            (0u16..40, 0u32..40, 0usize..4, prop::collection::vec(any::<u8>(), 0..400), 0u64..40), 0..60
        ),
        codecs in (0usize..4, 0usize..4).prop_filter("two", |(a, b)| a != b),
    ) {
        let mut call = Call::new([CODECS[codecs.0], CODECS[codecs.1]], 20);
        for (sequence, timestamp, kind, payload, wait) in packets {
            // Now and then far from where the stream was.
            let sequence = if sequence > 37 { sequence * 1600 } else { sequence };
            let timestamp = if timestamp > 37 { timestamp << 26 } else { timestamp * 160 };
            call.say(sequence, timestamp, [VOICE, EVENTS, NOISE, VOICE][kind], &payload);
            call.wait(wait);
        }
        for pair in call.sent.windows(2) {
            prop_assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        }
    }
}

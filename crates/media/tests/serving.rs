//! Legs that the node itself talks with, packet by packet: what they hear, and which of their keys are heard.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use offhook_base::{CryptoSuite, Instant, MasterKey};
use offhook_codec::{
    Dbm0, Decoder, Encoder, OpusWishes, ToneDetector, ToneGenerator, VoiceCodec, tones_of_key,
};
use offhook_media::{
    relay::{BEAT_MS, OVERHEAD_MAX, PortId, Relay, Verdict},
    sounds::Sounds,
};
use offhook_rtp::{
    rtp::Packet,
    telephone_event::{EventCode, TelephoneEvent},
};
use offhook_switch::media::{
    Act, EndpointId, EventsConfig, MediaEvent, PayloadName, Piece, RemoteMedia, StreamConfig, StreamCrypto,
    VoiceConfig,
};

const CALLER: EndpointId = EndpointId(1);
const ADDRESS: &str = "192.0.2.1:4000";
const VOICE: u8 = 100;
const EVENTS: u8 = 101;
const ALL: [VoiceCodec; 4] = [VoiceCodec::Pcmu, VoiceCodec::Pcma, VoiceCodec::G722, VoiceCodec::Opus];
/// How a tone of -10 dBm0 comes through, dB over the noise.
const CLEAR: (Dbm0, f64) = (Dbm0(-14.0), 10.0);

fn config(codec: VoiceCodec, has_events: bool) -> StreamConfig {
    let rtp: SocketAddr = ADDRESS.parse().unwrap();
    let clock_rate = codec.clock_rate();
    let name = |payload_type, codec: &str| PayloadName { payload_type, codec: codec.into(), clock_rate };
    StreamConfig {
        remote: Some(RemoteMedia { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) }),
        receives: true,
        sends: true,
        payloads: vec![name(VOICE, codec.name()), name(EVENTS, "telephone-event")],
        voice: Some(Box::new(VoiceConfig {
            codec,
            rate: codec.rate_beside(VoiceCodec::G722),
            heard_as: VOICE,
            sent_as: VOICE,
            packet_ms: 20,
            opus: OpusWishes::default(),
            events: has_events.then_some(EventsConfig { heard_as: EVENTS, sent_as: EVENTS, clock_rate }),
            comfort_noise: false,
        })),
        ..StreamConfig::default()
    }
}

/// A caller of the node's own services.
struct Caller {
    relay: Relay,
    port: PortId,
    codec: VoiceCodec,
    encoder: Encoder,
    decoder: Decoder,
    now: Instant,
    sequence: u16,
    timestamp: u32,
    heard: Vec<i16>,
    packets: Vec<(u16, u32, u32)>,
    events: Vec<MediaEvent>,
}

impl Caller {
    fn new(codec: VoiceCodec, has_events: bool) -> Self {
        let now = Instant::from_driver_nanos(1);
        let mut relay = Relay::new(Some(Duration::from_secs(60))).with_sounds(Arc::new(Sounds::built_in()));
        let port = relay.open(CALLER, 1, now)[0][0];
        relay.configure(CALLER, vec![config(codec, has_events)], now);
        let rate = codec.rate_beside(VoiceCodec::G722);
        Self {
            relay,
            port,
            codec,
            encoder: Encoder::new(codec, rate, OpusWishes::default()).unwrap(),
            decoder: Decoder::new(codec, rate).unwrap(),
            now,
            sequence: 65_500,
            timestamp: 77,
            heard: Vec::new(),
            packets: Vec::new(),
            events: Vec::new(),
        }
    }

    const fn rate(&self) -> u32 {
        self.decoder.rate()
    }

    fn serve(&mut self, act: &Act) {
        self.relay.serve(CALLER, 0xabcd_0000, act);
    }

    /// Sends one packet.
    fn send(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(0x0ff0_0ff0_u32.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let len = packet.len();
        packet.resize(1500 + OVERHEAD_MAX, 0);
        let source = ADDRESS.parse().unwrap();
        if let Verdict::Say { through } =
            self.relay.handle_packet(self.port, source, &mut packet, len, self.now)
        {
            self.take(through);
        }
        self.relay.tell_events(|event| self.events.push(event));
    }

    /// Says 20 ms.
    fn say(&mut self, sound: &[i16]) {
        let mut payload = [0; 1500];
        let length = self.encoder.encode(sound, &mut payload);
        self.send(VOICE, false, self.timestamp, &payload[..length]);
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_rate() / 50);
    }

    /// Lets one beat pass.
    fn beat(&mut self) {
        self.now += Duration::from_millis(BEAT_MS);
        self.relay.beat(self.now);
        for at in 0..self.relay.served_count() {
            if let Some(port) = self.relay.served_port(at) {
                self.take(port);
            }
        }
        self.relay.tell_events(|event| self.events.push(event));
    }

    fn take(&mut self, through: PortId) {
        let mut buffer = vec![0; 1500 + OVERHEAD_MAX];
        while let Some(packet) = self.relay.next_voice_packet(through, &mut buffer, self.now) {
            let Ok((to, len)) = packet else { continue };
            assert_eq!(to, ADDRESS.parse().unwrap());
            let packet = Packet::parse(&buffer[..len]).unwrap();
            let header = packet.header();
            self.packets.push((header.sequence_number().0, header.timestamp().0, header.ssrc().0));
            self.decoder.decode(packet.payload(), &mut self.heard).unwrap();
        }
    }

    /// How much of a tone was heard, in blocks of 50 ms.
    fn heard_tone(&self, hz: f64) -> usize {
        let block = (self.rate() / 20) as usize;
        let mut detector = ToneDetector::new(self.rate(), hz, block).unwrap();
        let blocks = self.heard.chunks_exact(block).filter_map(|block| detector.feed(block));
        blocks.filter(|reading| reading.is_tone(CLEAR.0, CLEAR.1)).count()
    }

    fn keys(&self) -> String {
        let keys = self.events.iter().filter_map(|event| match event {
            MediaEvent::Key { endpoint: CALLER, key } => Some(key.letter()),
            _ => None,
        });
        keys.collect()
    }
}

fn tone(rate: u32, hz: &[f64], ms: u32) -> Vec<i16> {
    let mut sound = vec![0; (rate * ms / 1000) as usize];
    let sines: Vec<_> = hz.iter().map(|hz| (*hz, Dbm0(-10.0))).collect();
    ToneGenerator::new(rate, &sines).unwrap().fill(&mut sound);
    sound
}

#[test]
fn an_echo_says_back_what_it_hears_in_every_codec() {
    for codec in ALL {
        let mut caller = Caller::new(codec, true);
        caller.serve(&Act::Echo);
        let sound = tone(caller.rate(), &[1000.0], 2000);
        for packet in sound.chunks((caller.rate() / 50) as usize) {
            caller.say(packet);
            caller.beat();
        }
        assert_eq!(caller.packets.len(), 100, "{codec:?}");
        assert!(caller.heard_tone(1000.0) >= 36, "{codec:?}: {}", caller.heard_tone(1000.0));
        assert_eq!(caller.packets[0].2, 0xabcd_0000, "a source of its own: no loop (RFC 3550 §8.2)");
    }
}

#[test]
fn what_is_played_is_heard_at_its_pace_and_its_end_is_told() {
    for codec in ALL {
        let mut caller = Caller::new(codec, true);
        let pieces = vec![Piece::Silence(100), Piece::Tone { sines: &[425], ms: 1000 }, Piece::Sound("5")];
        caller.serve(&Act::Play { number: 7, repeats: false, pieces });
        (0..60).for_each(|_| caller.beat());
        assert!((18..=20).contains(&caller.heard_tone(425.0)), "{codec:?}: {}", caller.heard_tone(425.0));
        assert!(caller.events.is_empty(), "the word still sounds");
        (0..40).for_each(|_| caller.beat());
        assert!(matches!(caller.events[..], [MediaEvent::Played { endpoint: CALLER, number: 7 }]));
        let first = caller.packets[0];
        let step = codec.clock_rate() / 50;
        for (at, packet) in caller.packets.iter().enumerate() {
            let at = at as u32;
            let expected = (first.0.wrapping_add(at as u16), first.1.wrapping_add(at * step), first.2);
            assert_eq!(*packet, expected, "{codec:?}");
        }
        // One packet may wait for the resampler's last samples.
        assert!(caller.packets.len() >= 99, "{codec:?}: silence follows: {}", caller.packets.len());
    }
}

#[test]
fn keys_as_events_are_told_once_whatever_the_clock() {
    for codec in ALL {
        let mut caller = Caller::new(codec, true);
        caller.serve(&Act::Listen);
        let unit = codec.clock_rate() / 50;
        for letter in "15*#D".chars() {
            let code = EventCode::from_digit(letter).unwrap();
            for packet in 1..=7_u32 {
                let (end, duration) = (packet >= 5, (packet.min(5) * unit) as u16);
                let event = TelephoneEvent { code, end, volume: 10, duration };
                caller.send(EVENTS, packet == 1, caller.timestamp, &event.to_bytes());
                caller.beat();
            }
            caller.timestamp = caller.timestamp.wrapping_add(10 * unit);
        }
        assert_eq!(caller.keys(), "15*#D", "{codec:?}");
    }
}

#[test]
fn keys_as_tones_are_heard_where_no_events_were_agreed_on_and_only_there() {
    for (has_events, expected) in [(false, "19#"), (true, "")] {
        for codec in ALL {
            let mut caller = Caller::new(codec, has_events);
            caller.serve(&Act::Listen);
            let rate = caller.rate();
            let mut sound = vec![0; rate as usize / 10];
            for letter in "19#".chars() {
                sound.extend(tone(rate, &tones_of_key(letter).unwrap().map(f64::from), 100));
                sound.resize(sound.len() + rate as usize / 10, 0);
            }
            for packet in sound.chunks_exact(rate as usize / 50) {
                caller.say(packet);
                caller.beat();
            }
            assert_eq!(caller.keys(), expected, "{codec:?}");
        }
    }
}

#[test]
fn what_comes_next_goes_on_in_the_same_stream_and_what_ends_is_not_told() {
    let mut caller = Caller::new(VoiceCodec::Pcma, true);
    caller.serve(&Act::Play {
        number: 1,
        repeats: true,
        pieces: vec![Piece::Tone { sines: &[425], ms: 20 }],
    });
    (0..50).for_each(|_| caller.beat());
    caller.serve(&Act::Listen);
    (0..50).for_each(|_| caller.beat());
    assert!(caller.events.is_empty());
    assert!(caller.packets.windows(2).all(|two| two[1].0 == two[0].0.wrapping_add(1)));
    assert!(caller.packets.windows(2).all(|two| two[1].1 == two[0].1.wrapping_add(160)));
    assert!((18..=22).contains(&caller.heard_tone(425.0)), "{}", caller.heard_tone(425.0));
}

#[test]
fn a_leg_on_hold_hears_nothing_and_goes_on_where_it_was() {
    let mut caller = Caller::new(VoiceCodec::Pcma, true);
    caller.serve(&Act::Play { number: 1, repeats: false, pieces: vec![Piece::Sound("menu")] });
    (0..50).for_each(|_| caller.beat());
    let before = caller.packets.len();
    let held = StreamConfig { sends: false, ..config(VoiceCodec::Pcma, true) };
    caller.relay.configure(CALLER, vec![held], caller.now);
    (0..50).for_each(|_| caller.beat());
    assert_eq!(caller.packets.len(), before);
    caller.relay.configure(CALLER, vec![config(VoiceCodec::Pcma, true)], caller.now);
    (0..50).for_each(|_| caller.beat());
    let (last, next) = (caller.packets[before - 1], caller.packets[before]);
    assert_eq!((next.0.wrapping_sub(last.0), next.1.wrapping_sub(last.1)), (1, 51 * 160), "a second of time");
    assert_eq!(last.2, next.2);
}

#[test]
fn a_change_of_codec_changes_the_source_so_that_no_key_stream_is_used_twice() {
    let key = |octet| MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &[octet; 30]).unwrap();
    let crypto = StreamCrypto { ours: key(1), theirs: key(100) };
    let mut caller = Caller::new(VoiceCodec::Pcma, true);
    caller.serve(&Act::Listen);
    (0..5).for_each(|_| caller.beat());
    for codec in [VoiceCodec::Pcmu, VoiceCodec::G722] {
        let secured = StreamConfig { crypto: Some(Box::new(crypto.clone())), ..config(codec, true) };
        caller.relay.configure(CALLER, vec![secured], caller.now);
        (0..5).for_each(|_| {
            caller.now += Duration::from_millis(BEAT_MS);
            caller.relay.beat(caller.now);
            let mut buffer = vec![0; 1500 + OVERHEAD_MAX];
            while let Some(packet) = caller.relay.next_voice_packet(caller.port, &mut buffer, caller.now) {
                let (_, len) = packet.unwrap();
                let header = *Packet::parse(&buffer[..len]).unwrap().header();
                caller.packets.push((header.sequence_number().0, header.timestamp().0, header.ssrc().0));
            }
        });
    }
    let mut sources: Vec<u32> = caller.packets.iter().map(|packet| packet.2).collect();
    sources.dedup();
    assert_eq!(sources, [0xabcd_0000, 0xabcd_0001, 0xabcd_0002]);
}

#[test]
fn a_caller_that_is_gone_is_told_of_and_one_that_only_listens_is_not() {
    let mut caller = Caller::new(VoiceCodec::Pcma, true);
    caller.serve(&Act::Listen);
    let silent = |caller: &mut Caller| {
        let mut told = 0;
        caller.relay.check_silence(caller.now, |_| told += 1);
        told
    };
    caller.say(&[0; 160]);
    caller.now += Duration::from_secs(50);
    // An empty receiver report.
    let mut report = vec![0x80, 201, 0, 1, 0x0f, 0xf0, 0x0f, 0xf0];
    report.resize(1500, 0);
    let control = PortId::from_index(caller.port.index() as u32 + 1);
    let source = "192.0.2.1:4001".parse().unwrap();
    assert_eq!(caller.relay.handle_packet(control, source, &mut report, 8, caller.now), Verdict::Taken);
    caller.now += Duration::from_secs(50);
    assert_eq!(silent(&mut caller), 0);
    caller.now += Duration::from_secs(11);
    assert_eq!(silent(&mut caller), 1);
    assert_eq!(silent(&mut caller), 0, "once");
}

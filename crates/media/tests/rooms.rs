//! Rooms, packet by packet: everybody hears everybody else, nobody itself, in whatever codec.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use offhook_base::{Instant, Random, UtcMillis};
use offhook_codec::{Dbm0, Decoder, Encoder, OpusWishes, ToneDetector, ToneGenerator, VoiceCodec};
use offhook_media::relay::{BEAT_MS, OVERHEAD_MAX, PortId, Relay, Verdict};
use offhook_rtp::rtp::Packet;
use offhook_switch::{
    media::{Act, EndpointId, MediaEvent, PayloadName, RemoteMedia, RoomId, StreamConfig, VoiceConfig},
    record::CallId,
    tape::{Consent, TAPE_RATE, TapeEvent},
};

const VOICE: u8 = 100;

struct Member {
    id: EndpointId,
    address: SocketAddr,
    port: PortId,
    codec: VoiceCodec,
    encoder: Encoder,
    decoder: Decoder,
    /// What it says.
    voice: Option<ToneGenerator>,
    sequence: u16,
    heard: Vec<i16>,
}

struct Hall {
    relay: Relay,
    now: Instant,
    members: Vec<Member>,
    crowded: usize,
}

fn room(number: &str) -> RoomId {
    RoomId { tenant: "default".into(), number: number.into() }
}

fn config(address: SocketAddr, codec: VoiceCodec) -> StreamConfig {
    let clock_rate = codec.clock_rate();
    StreamConfig {
        remote: Some(RemoteMedia { rtp: address, rtcp: SocketAddr::new(address.ip(), address.port() + 1) }),
        receives: true,
        sends: true,
        payloads: vec![PayloadName { payload_type: VOICE, codec: codec.name().into(), clock_rate }],
        voice: Some(Box::new(VoiceConfig {
            codec,
            rate: codec.rate_beside(VoiceCodec::G722),
            heard_as: VOICE,
            sent_as: VOICE,
            packet_ms: 20,
            opus: OpusWishes::default(),
            events: None,
            comfort_noise: false,
        })),
        ..StreamConfig::default()
    }
}

impl Hall {
    fn new() -> Self {
        Self { relay: Relay::new(None), now: Instant::from_driver_nanos(1), members: Vec::new(), crowded: 0 }
    }

    /// Lets somebody in who says a tone of so many Hz, at this level, or nothing.
    fn join(&mut self, codec: VoiceCodec, says: Option<(f64, f64)>, number: &str) -> usize {
        let at = self.members.len();
        let id = EndpointId(at as u64 + 1);
        let address = SocketAddr::from(([192, 0, 2, 1], 4000 + 2 * at as u16));
        let port = self.relay.open(id, 1, self.now)[0][0];
        let rate = codec.rate_beside(VoiceCodec::G722);
        let config = config(address, codec);
        self.relay.configure(id, vec![config], self.now);
        let tone = says.map(|(hz, level)| ToneGenerator::new(rate, &[(hz, Dbm0(level))]).unwrap());
        self.members.push(Member {
            id,
            address,
            port,
            codec,
            encoder: Encoder::new(codec, rate, OpusWishes::default()).unwrap(),
            decoder: Decoder::new(codec, rate).unwrap(),
            voice: tone,
            sequence: 0,
            heard: Vec::new(),
        });
        self.sit(at, number, true, true);
        at
    }

    fn sit(&mut self, at: usize, number: &str, talks: bool, hears: bool) {
        let act = Act::Join { room: room(number), talks, hears, recorded: None };
        self.relay.serve(self.members[at].id, 0x1000 + at as u32, &act);
    }

    /// Describes a member anew, in another codec or on hold.
    fn describe(&mut self, at: usize, codec: VoiceCodec, sends: bool) {
        let address = self.members[at].address;
        let config = StreamConfig { sends, ..config(address, codec) };
        self.relay.configure(self.members[at].id, vec![config], self.now);
        let rate = codec.rate_beside(VoiceCodec::G722);
        let member = &mut self.members[at];
        member.codec = codec;
        member.encoder = Encoder::new(codec, rate, OpusWishes::default()).unwrap();
        member.decoder = Decoder::new(codec, rate).unwrap();
        member.heard.clear();
    }

    /// Lets so many beats pass, each with a packet of everybody.
    fn run(&mut self, beats: usize) {
        for _ in 0..beats {
            for at in 0..self.members.len() {
                self.say(at);
            }
            self.now += Duration::from_millis(BEAT_MS);
            self.relay.beat(self.now);
            for served in 0..self.relay.served_count() {
                if let Some(port) = self.relay.served_port(served) {
                    self.take(port);
                }
            }
            self.relay.tell_events(|event| {
                self.crowded += usize::from(matches!(event, MediaEvent::Crowded { .. }));
            });
        }
    }

    fn say(&mut self, at: usize) {
        let member = &mut self.members[at];
        let mut sound = vec![0; (member.encoder.rate() / 50) as usize];
        if let Some(voice) = &mut member.voice {
            voice.fill(&mut sound);
        }
        let mut packet = vec![0x80, VOICE];
        packet.extend(member.sequence.to_be_bytes());
        packet.extend((u32::from(member.sequence) * member.codec.clock_rate() / 50).to_be_bytes());
        packet.extend((at as u32).to_be_bytes());
        let mut payload = [0; 1500];
        let length = member.encoder.encode(&sound, &mut payload);
        packet.extend(&payload[..length]);
        member.sequence += 1;
        let len = packet.len();
        packet.resize(1500 + OVERHEAD_MAX, 0);
        let verdict = self.relay.handle_packet(member.port, member.address, &mut packet, len, self.now);
        assert_eq!(verdict, Verdict::Taken);
    }

    fn take(&mut self, through: PortId) {
        let mut buffer = vec![0; 1500 + OVERHEAD_MAX];
        while let Some(packet) = self.relay.next_voice_packet(through, &mut buffer, self.now) {
            let (to, len) = packet.unwrap();
            let packet = Packet::parse(&buffer[..len]).unwrap();
            let member = self.members.iter_mut().find(|member| member.address == to).unwrap();
            member.decoder.decode(packet.payload(), &mut member.heard).unwrap();
        }
    }

    /// The share of the last second in which a member heard a tone at least so loud.
    fn hears(&self, at: usize, hz: f64, level: f64) -> f64 {
        let member = &self.members[at];
        let rate = member.decoder.rate() as usize;
        let heard = &member.heard[member.heard.len() - rate..];
        let mut detector = ToneDetector::new(rate as u32, hz, rate / 20).unwrap();
        let readings: Vec<_> =
            heard.chunks_exact(rate / 20).filter_map(|block| detector.feed(block)).collect();
        let loud = readings.iter().filter(|reading| reading.level >= Dbm0(level)).count();
        loud as f64 / readings.len() as f64
    }
}

const ALL: [VoiceCodec; 4] = [VoiceCodec::Pcmu, VoiceCodec::Opus, VoiceCodec::Pcma, VoiceCodec::G722];

#[test]
fn everybody_hears_everybody_else_and_nobody_itself() {
    let tones = [500.0, 900.0, 1300.0, 1700.0];
    let mut hall = Hall::new();
    for (codec, hz) in ALL.into_iter().zip(tones) {
        hall.join(codec, Some((hz, -20.0)), "700");
    }
    hall.run(150);
    for at in 0..4 {
        for (other, hz) in tones.into_iter().enumerate() {
            let heard = hall.hears(at, hz, -28.0);
            if at == other {
                assert!(hall.hears(at, hz, -40.0) < 0.1, "{at} hears itself");
            } else {
                assert!(heard > 0.9, "{at} hears {other} for {heard} of the time");
            }
        }
    }
}

#[test]
fn rooms_are_apart_and_those_of_two_tenants_of_one_number_too() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::Pcma, Some((500.0, -20.0)), "700");
    hall.join(VoiceCodec::Pcma, Some((900.0, -20.0)), "700");
    hall.join(VoiceCodec::Pcma, Some((1300.0, -20.0)), "701");
    let other = RoomId { tenant: "other".into(), number: "700".into() };
    let at = hall.join(VoiceCodec::Pcma, Some((1700.0, -20.0)), "701");
    hall.relay.serve(
        hall.members[at].id,
        0x1000 + at as u32,
        &Act::Join { room: other, talks: true, hears: true, recorded: None },
    );
    hall.run(100);
    assert!(hall.hears(0, 900.0, -28.0) > 0.9);
    assert!([1300.0, 1700.0].iter().all(|hz| hall.hears(0, *hz, -45.0) < 0.1));
    assert!([500.0, 900.0, 1300.0].iter().all(|hz| hall.hears(3, *hz, -45.0) < 0.1));
    assert_eq!(hall.relay.member_count(), 4);
}

#[test]
fn who_is_mute_is_not_heard_and_who_is_deaf_hears_nothing() {
    let mut hall = Hall::new();
    for hz in [500.0, 900.0, 1300.0] {
        hall.join(VoiceCodec::Pcmu, Some((hz, -20.0)), "700");
    }
    hall.sit(0, "700", false, true);
    hall.sit(1, "700", true, false);
    hall.run(120);
    assert!(hall.hears(2, 500.0, -45.0) < 0.1, "mute");
    assert!(hall.hears(2, 900.0, -28.0) > 0.9);
    assert!(hall.hears(0, 1300.0, -28.0) > 0.9, "who is mute hears");
    assert!(hall.hears(1, 1300.0, -60.0) < 0.1, "deaf");
}

#[test]
fn of_many_the_loudest_eight_are_heard() {
    let mut hall = Hall::new();
    for at in 0..20 {
        // The last ten are louder.
        let level = if at < 10 { -34.0 } else { -24.0 };
        hall.join(VoiceCodec::Pcma, Some((300.0 + 150.0 * f64::from(at), level)), "700");
    }
    let listener = hall.join(VoiceCodec::Pcma, None, "700");
    hall.run(100);
    let heard = |hall: &Hall, range: std::ops::Range<i32>| {
        range.filter(|at| hall.hears(listener, 300.0 + 150.0 * f64::from(*at), -36.0) > 0.8).count()
    };
    assert_eq!(heard(&hall, 10..20), 8);
    assert_eq!(heard(&hall, 0..10), 0);
}

#[test]
fn the_soft_are_brought_up_and_the_loud_down() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::Pcma, Some((500.0, -30.0)), "700");
    hall.join(VoiceCodec::Pcma, Some((900.0, -8.0)), "700");
    let listener = hall.join(VoiceCodec::Pcma, None, "700");
    hall.run(400);
    for hz in [500.0, 900.0] {
        assert!(hall.hears(listener, hz, -24.0) > 0.9, "{hz}");
        assert!(hall.hears(listener, hz, -16.0) < 0.1, "{hz}");
    }
}

#[test]
fn a_member_that_leaves_is_gone_and_an_empty_room_with_it() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::Pcma, Some((500.0, -20.0)), "700");
    hall.join(VoiceCodec::Pcma, Some((900.0, -20.0)), "700");
    hall.run(60);
    hall.relay.serve(hall.members[1].id, 0x1001, &Act::Listen);
    hall.run(60);
    assert!(hall.hears(0, 900.0, -45.0) < 0.1);
    assert_eq!(hall.relay.member_count(), 1);
    hall.relay.close(hall.members[0].id);
    assert_eq!(hall.relay.member_count(), 0);
    hall.members.remove(0);
    hall.run(5);
}

/// What a wide-band member says reaches another wide-band member in wide band, with narrow ones in the room.
#[test]
fn a_room_is_as_wide_as_its_widest_member() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::G722, Some((5000.0, -20.0)), "700");
    hall.join(VoiceCodec::G722, None, "700");
    hall.join(VoiceCodec::Pcma, Some((1000.0, -20.0)), "700");
    hall.run(120);
    assert!(hall.hears(1, 5000.0, -28.0) > 0.9);
    assert!(hall.hears(1, 1000.0, -28.0) > 0.9);
    assert!(hall.hears(2, 1000.0, -45.0) < 0.1);
}

#[test]
fn who_holds_hears_nothing_and_its_music_is_not_for_the_others() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::Pcma, Some((500.0, -20.0)), "700");
    hall.join(VoiceCodec::Pcma, Some((900.0, -20.0)), "700");
    hall.run(60);
    let before = hall.members[0].heard.len();
    let voice = config(hall.members[0].address, VoiceCodec::Pcma);
    let held = StreamConfig { sends: false, ..voice.clone() };
    hall.relay.configure(hall.members[0].id, vec![held], hall.now);
    hall.run(60);
    assert_eq!(hall.members[0].heard.len(), before);
    assert!(hall.hears(1, 500.0, -45.0) < 0.1);
    hall.relay.configure(hall.members[0].id, vec![voice], hall.now);
    hall.run(60);
    assert!(hall.hears(0, 900.0, -28.0) > 0.9 && hall.hears(1, 500.0, -28.0) > 0.9);
}

#[test]
fn a_member_may_change_its_codec() {
    let mut hall = Hall::new();
    hall.join(VoiceCodec::Pcma, None, "700");
    hall.join(VoiceCodec::G722, Some((5000.0, -20.0)), "700");
    hall.run(60);
    hall.describe(0, VoiceCodec::G722, true);
    hall.run(60);
    assert!(hall.hears(0, 5000.0, -28.0) > 0.9);
}

#[test]
fn a_room_has_an_end_and_says_so() {
    let mut hall = Hall::new();
    for at in 0..2001_u64 {
        let id = EndpointId(10_000 + at);
        hall.relay.open(id, 1, hall.now);
        let voice = VoiceConfig {
            codec: VoiceCodec::Pcma,
            rate: 8000,
            heard_as: 8,
            sent_as: 8,
            packet_ms: 20,
            opus: OpusWishes::default(),
            events: None,
            comfort_noise: false,
        };
        let config = StreamConfig { voice: Some(Box::new(voice)), ..StreamConfig::default() };
        hall.relay.configure(id, vec![config], hall.now);
        hall.relay.serve(
            id,
            at as u32,
            &Act::Join { room: room("700"), talks: true, hears: true, recorded: None },
        );
    }
    let mut crowded = Vec::new();
    hall.relay.tell_events(|event| crowded.push(event));
    assert!(matches!(crowded[..], [MediaEvent::Crowded { endpoint: EndpointId(12_000) }]));
    assert_eq!(hall.relay.member_count(), 2000);
}

/// What a keeper of tapes was handed over: its sound in one piece, and who agreed.
fn taken(tapes: &Receiver<TapeEvent>) -> (Vec<i16>, usize, bool) {
    let (mut sound, mut agreed, mut has_ended) = (Vec::new(), 0, false);
    for event in tapes.try_iter() {
        match event {
            TapeEvent::Begun { .. } => assert!(sound.is_empty(), "one tape"),
            TapeEvent::Agreed { .. } => agreed += 1,
            TapeEvent::Sound { samples, .. } => sound.extend(samples.0),
            TapeEvent::Ended { .. } => has_ended = true,
        }
    }
    (sound, agreed, has_ended)
}

fn level_of(sound: &[i16], hz: f64) -> f64 {
    let mut detector = ToneDetector::new(TAPE_RATE, hz, 800).unwrap();
    let levels: Vec<f64> =
        sound.chunks_exact(800).filter_map(|block| Some(detector.feed(block)?.level.0)).collect();
    levels.iter().sum::<f64>() / levels.len() as f64
}

/// Goal: a recording is of a meeting, not of what lies between two keys. Method: the only member there turns its voice off and on.
#[test]
fn a_member_alone_that_mutes_itself_stays_on_the_same_tape() {
    let (keeper, tapes) = sync_channel(64);
    let mut hall = Hall::new();
    hall.relay = Relay::new(None).with_keeper(Some(keeper));
    hall.join(VoiceCodec::G722, Some((500.0, -20.0)), "703");
    let call = CallId::new(UtcMillis(0), &mut Random::from_seed([1; 32]));
    let recorded = Some(Consent { call, at: UtcMillis(0) });
    for talks in [true, false, true] {
        let act = Act::Join { room: room("703"), talks, hears: true, recorded };
        hall.relay.serve(hall.members[0].id, 0x1000, &act);
        hall.run(50);
    }
    assert_eq!(hall.relay.member_count(), 1);
    hall.relay.close(hall.members[0].id);
    let (sound, _, has_ended) = taken(&tapes);
    assert_eq!((sound.len(), has_ended), (150 * 320, true));
}

/// Three talk. Two have agreed to be recorded, one has not: whoever asked call control for a place without it is heard in the
/// room, and is not on the tape.
#[test]
fn only_who_has_agreed_is_on_the_tape() {
    let (keeper, tapes) = sync_channel(64);
    let mut hall = Hall::new();
    hall.relay = Relay::new(None).with_keeper(Some(keeper));
    let tones = [500.0, 900.0, 1300.0];
    for (at, (codec, hz)) in
        [VoiceCodec::Pcma, VoiceCodec::G722, VoiceCodec::Pcmu].into_iter().zip(tones).enumerate()
    {
        hall.join(codec, Some((hz, -20.0)), "703");
        let call = CallId::new(UtcMillis(0), &mut Random::from_seed([at as u8; 32]));
        let recorded = (at < 2).then_some(Consent { call, at: UtcMillis(0) });
        let act = Act::Join { room: room("703"), talks: true, hears: true, recorded };
        hall.relay.serve(hall.members[at].id, 0x1000 + at as u32, &act);
    }
    assert_eq!(hall.relay.tape_counts(), [1, 0]);
    hall.run(200);
    assert!(hall.hears(0, 1300.0, -28.0) > 0.9, "who has not agreed is heard");
    for member in &hall.members {
        hall.relay.close(member.id);
    }
    assert_eq!(hall.relay.tape_counts(), [0, 0]);
    let (sound, agreed, has_ended) = taken(&tapes);
    assert_eq!((sound.len(), agreed, has_ended), (200 * 320, 2, true));
    let settled = &sound[32_000..];
    assert!(level_of(settled, 500.0) > -26.0 && level_of(settled, 900.0) > -26.0);
    assert!(level_of(settled, 1300.0) < -45.0, "{}", level_of(settled, 1300.0));
}

#[test]
fn a_keeper_that_is_too_slow_holds_nobody_up() {
    let (keeper, tapes) = sync_channel(2);
    let mut hall = Hall::new();
    hall.relay = Relay::new(None).with_keeper(Some(keeper));
    hall.join(VoiceCodec::Pcma, Some((500.0, -20.0)), "703");
    let call = CallId::new(UtcMillis(0), &mut Random::from_seed([7; 32]));
    let recorded = Some(Consent { call, at: UtcMillis(0) });
    let act = Act::Join { room: room("703"), talks: true, hears: true, recorded };
    hall.relay.serve(hall.members[0].id, 0x1000, &act);
    hall.run(200);
    assert_eq!(hall.relay.tape_counts(), [1, 4], "four seconds found no room");
    drop(tapes);
    hall.run(100);
    assert_eq!(hall.relay.tape_counts(), [1, 6]);
}

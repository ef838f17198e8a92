//! What transcoding a call costs without its sockets, pairing by pairing, and how much of it the codecs themselves take:
//!
//!     cargo run --release -p offhook-media --example transcode_cost -- 20 5
//!
//! The arguments are the length of each call in seconds, and the effort of the encoders, 0 to 5. A call is both directions; `calls` is how many of them fill one CPU.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant as Clock},
};

use offhook_base::Instant;
use offhook_codec::{
    Decoder, Encoder, OpusWishes, VoiceCodec,
    voice::{EFFORT_MAX, PACKET_OCTETS_MAX},
};
use offhook_media::relay::{PortId, Relay, Verdict};
use offhook_switch::media::{EndpointId, PayloadName, RemoteMedia, StreamConfig, VoiceConfig};

const PAIRINGS: [[VoiceCodec; 2]; 6] = [
    [VoiceCodec::Pcma, VoiceCodec::Pcmu],
    [VoiceCodec::Pcma, VoiceCodec::G722],
    [VoiceCodec::Pcma, VoiceCodec::L16(16_000)],
    [VoiceCodec::Pcma, VoiceCodec::Opus],
    [VoiceCodec::G722, VoiceCodec::Opus],
    [VoiceCodec::L16(48_000), VoiceCodec::Opus],
];
const PACKET_MS: u32 = 20;
const VOICE: u8 = 96;

fn main() {
    let argument = |at| std::env::args().nth(at).and_then(|number| number.parse::<u32>().ok());
    let (seconds, effort) = (argument(1).unwrap_or(20), argument(2).unwrap_or(EFFORT_MAX.into()));
    let packets = seconds * 1000 / PACKET_MS;
    println!("{:<20} {:>12} {:>8} {:>14}", "call", "us per 20 ms", "calls", "codecs' share");
    for codecs in PAIRINGS {
        let whole = relayed(codecs, packets, effort);
        let alone =
            codecs_alone(codecs, packets, effort) + codecs_alone([codecs[1], codecs[0]], packets, effort);
        let per_packet = whole.as_secs_f64() * 1e6 / f64::from(packets);
        println!(
            "{:<20} {per_packet:>12.2} {:>8.0} {:>13.0}%",
            format!("{} - {}", codecs[0].name(), codecs[1].name()),
            f64::from(PACKET_MS) * 1000.0 / per_packet,
            100.0 * alone.as_secs_f64() / whole.as_secs_f64(),
        );
    }
}

/// Something like speech: voiced sound of changing pitch in syllables, hiss, and pauses.
fn speech(rate: u32, packets: u32) -> Vec<i16> {
    let mut noise = 1u32;
    let mut phase = 0.0f64;
    (0..rate / 1000 * PACKET_MS * packets)
        .map(|at| {
            let t = f64::from(at) / f64::from(rate);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            phase += (120.0 + 30.0 * (t * 2.0).sin()) / f64::from(rate);
            let voiced: f64 = (1..20)
                .map(|harmonic| {
                    (std::f64::consts::TAU * phase * f64::from(harmonic)).sin() / f64::from(harmonic)
                })
                .sum();
            let hiss = f64::from((noise >> 16) as i16) / 32_768.0;
            let syllable = (std::f64::consts::TAU * 2.0 * t).sin().max(0.0);
            let sentence = f64::from(u8::from(t % 4.0 < 2.6));
            (sentence * (6000.0 * syllable * voiced + 900.0 * (1.0 - syllable) * hiss)) as i16
        })
        .collect()
}

fn encoded(codec: VoiceCodec, other: VoiceCodec, packets: u32) -> Vec<Vec<u8>> {
    let rate = codec.rate_beside(other);
    let mut encoder = Encoder::new(codec, rate, OpusWishes::default()).expect("a rate of its own");
    let sound = speech(rate, packets);
    sound
        .chunks_exact((rate / 1000 * PACKET_MS) as usize)
        .map(|samples| {
            let mut payload = vec![0; PACKET_OCTETS_MAX];
            let length = encoder.encode(samples, &mut payload);
            payload.truncate(length);
            payload
        })
        .collect()
}

/// One direction, without RTP and without another rate.
fn codecs_alone([from, to]: [VoiceCodec; 2], packets: u32, effort: u32) -> Duration {
    let payloads = encoded(from, to, packets);
    let target = to.rate_beside(from);
    let frame = (target / 1000 * PACKET_MS) as usize;
    let said = speech(target, packets);
    let mut decoder = Decoder::new(from, from.rate_beside(to)).expect("a rate of its own");
    let mut encoder = Encoder::new(to, target, OpusWishes::default()).expect("a rate of its own");
    encoder.set_effort(effort as u8);
    let (mut sound, mut out) = (Vec::new(), [0; PACKET_OCTETS_MAX]);
    let began = Clock::now();
    for (payload, samples) in payloads.iter().zip(said.chunks_exact(frame)) {
        sound.clear();
        decoder.decode(payload, &mut sound).expect("its own packet");
        std::hint::black_box(encoder.encode(samples, &mut out));
    }
    began.elapsed()
}

fn config(port: u16, codec: VoiceCodec, other: VoiceCodec) -> StreamConfig {
    let remote = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (name, clock_rate) = (codec.name().into(), codec.clock_rate());
    StreamConfig {
        remote: Some(RemoteMedia { rtp: remote(port), rtcp: remote(port + 1) }),
        receives: true,
        sends: true,
        payloads: vec![PayloadName { payload_type: VOICE, codec: name, clock_rate }],
        voice: Some(Box::new(VoiceConfig {
            codec,
            rate: codec.rate_beside(other),
            heard_as: VOICE,
            sent_as: VOICE,
            packet_ms: if codec.takes_packet_of(PACKET_MS) { PACKET_MS } else { 10 },
            opus: OpusWishes::default(),
            events: None,
            comfort_noise: false,
        })),
        ..StreamConfig::default()
    }
}

/// Both directions through the relay.
fn relayed(codecs: [VoiceCodec; 2], packets: u32, effort: u32) -> Duration {
    let mut now = Instant::from_driver_nanos(1);
    let mut relay = Relay::new(None);
    let ids = [EndpointId(0), EndpointId(1)];
    let ports: [PortId; 2] = ids.map(|id| relay.open(id, 1, now)[0][0]);
    relay.configure(ids[0], vec![config(4000, codecs[0], codecs[1])], now);
    relay.configure(ids[1], vec![config(5000, codecs[1], codecs[0])], now);
    relay.bridge(ids[0], ids[1], now);
    for _ in effort..EFFORT_MAX.into() {
        relay.note_busy(1.0);
    }
    let sources = [4000, 5000].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let said = [encoded(codecs[0], codecs[1], packets), encoded(codecs[1], codecs[0], packets)];
    let mut buffer = [0; 2000];
    let began = Clock::now();
    for number in 0..packets {
        for side in [0, 1] {
            let payload = &said[side][number as usize];
            let timestamp = number * codecs[side].clock_rate() / 1000 * PACKET_MS;
            buffer[..2].copy_from_slice(&[0x80, VOICE]);
            buffer[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            buffer[4..8].copy_from_slice(&timestamp.to_be_bytes());
            buffer[8..12].copy_from_slice(&[0, 0, 0, side as u8]);
            buffer[12..12 + payload.len()].copy_from_slice(payload);
            let verdict =
                relay.handle_packet(ports[side], sources[side], &mut buffer, 12 + payload.len(), now);
            let Verdict::Say { through } = verdict else { panic!("not transcoded: {verdict:?}") };
            while let Some(packet) = relay.next_voice_packet(through, &mut buffer, now) {
                std::hint::black_box(packet.expect("an open way"));
            }
        }
        now += Duration::from_millis(u64::from(PACKET_MS));
    }
    began.elapsed()
}

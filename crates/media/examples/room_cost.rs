//! What a room costs without its sockets, by members and codec:
//!
//!     cargo run --release -p offhook-media --example room_cost -- 10
//!
//! The argument is the length in seconds. Every member sends a packet every 20 ms and is sent one; three of them speak. `members`
//! is how many of them fill one CPU in rooms of that size.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant as Clock},
};

use offhook_base::Instant;
use offhook_codec::{Dbm0, Encoder, OpusWishes, ToneGenerator, VoiceCodec, voice::PACKET_OCTETS_MAX};
use offhook_media::relay::{BEAT_MS, OVERHEAD_MAX, PortId, Relay};
use offhook_switch::media::{Act, EndpointId, PayloadName, RemoteMedia, RoomId, StreamConfig, VoiceConfig};

const VOICE: u8 = 96;
const HEADER_LEN: usize = 12;
/// Members of each room that speak.
const SPEAKERS: usize = 3;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(10_u64);
    println!("{:<8} {:>8} {:>8} {:>14} {:>9}", "codec", "rooms", "of", "us per member", "members");
    for (codec, rooms, size) in [
        (VoiceCodec::Pcma, 1, 1000),
        (VoiceCodec::Pcma, 100, 10),
        (VoiceCodec::G722, 1, 100),
        (VoiceCodec::Opus, 1, 100),
    ] {
        let beats = seconds * 1000 / BEAT_MS;
        let took = Hall::new(codec, rooms, size).run(beats);
        let per_member = took.as_secs_f64() * 1e6 / (beats * rooms as u64 * size as u64) as f64;
        let members = BEAT_MS as f64 * 1000.0 / per_member;
        println!("{:<8} {rooms:>8} {size:>8} {per_member:>14.2} {members:>9.0}", codec.name());
    }
}

struct Hall {
    relay: Relay,
    ports: Vec<(PortId, SocketAddr)>,
    codec: VoiceCodec,
    size: usize,
    /// A packet of a speaker and one of a listener; the header is filled in for each.
    payloads: [Vec<u8>; 2],
}

impl Hall {
    fn new(codec: VoiceCodec, rooms: usize, size: usize) -> Self {
        let mut relay = Relay::new(None);
        let now = Instant::from_driver_nanos(1);
        let ports = (0..rooms * size).map(|at| {
            let id = EndpointId(at as u64 + 1);
            let high = (at >> 8) as u8;
            let address = SocketAddr::from(([10, 0, high, at as u8], 4000));
            let port = relay.open(id, 1, now)[0][0];
            relay.configure(id, vec![config(address, codec)], now);
            let room = RoomId { tenant: "bench".into(), number: (at / size).to_string().into() };
            relay.serve(id, at as u32, &Act::Join { room, talks: true, hears: true, recorded: None });
            (port, address)
        });
        let ports = ports.collect();
        let payloads = [-20.0, -70.0].map(|level| payload(codec, level));
        Self { relay, ports, codec, size, payloads }
    }

    fn run(&mut self, beats: u64) -> Duration {
        let mut buffer = vec![0; 1500 + OVERHEAD_MAX];
        let mut now = Instant::from_driver_nanos(1);
        let begun = Clock::now();
        for beat in 0..beats {
            for at in 0..self.ports.len() {
                let (port, address) = self.ports[at];
                let payload = &self.payloads[usize::from(at % self.size >= SPEAKERS)];
                let length = header(&mut buffer, at as u32, beat, self.codec) + payload.len();
                buffer[HEADER_LEN..length].copy_from_slice(payload);
                self.relay.handle_packet(port, address, &mut buffer, length, now);
            }
            now += Duration::from_millis(BEAT_MS);
            self.relay.beat(now);
            for at in 0..self.relay.served_count() {
                let Some(port) = self.relay.served_port(at) else { continue };
                while self.relay.next_voice_packet(port, &mut buffer, now).is_some() {}
            }
        }
        begun.elapsed()
    }
}

fn header(buffer: &mut [u8], source: u32, beat: u64, codec: VoiceCodec) -> usize {
    let time = beat as u32 * (codec.clock_rate() / 50);
    buffer[0] = 0x80;
    buffer[1] = VOICE;
    buffer[2..4].copy_from_slice(&(beat as u16).to_be_bytes());
    buffer[4..8].copy_from_slice(&time.to_be_bytes());
    buffer[8..HEADER_LEN].copy_from_slice(&source.to_be_bytes());
    HEADER_LEN
}

fn payload(codec: VoiceCodec, level: f64) -> Vec<u8> {
    let rate = codec.rate_beside(VoiceCodec::G722);
    let mut sound = vec![0; (rate / 50) as usize];
    if let Some(mut tone) = ToneGenerator::new(rate, &[(440.0, Dbm0(level))]) {
        tone.fill(&mut sound);
    }
    let mut payload = vec![0; PACKET_OCTETS_MAX];
    let length = Encoder::new(codec, rate, OpusWishes::default())
        .map_or(0, |mut encoder| encoder.encode(&sound, &mut payload));
    payload.truncate(length);
    payload
}

fn config(rtp: SocketAddr, codec: VoiceCodec) -> StreamConfig {
    StreamConfig {
        remote: Some(RemoteMedia { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) }),
        receives: true,
        sends: true,
        payloads: vec![PayloadName {
            payload_type: VOICE,
            codec: codec.name().into(),
            clock_rate: codec.clock_rate(),
        }],
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

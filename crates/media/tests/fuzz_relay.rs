//! Any datagrams to the ports of a call: no panic, nothing grows beyond its buffer, and no stranger gets through.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::rtp;
use offhook_base::{CryptoSuite, Instant, MasterKey};
use offhook_media::relay::{OVERHEAD_MAX, PortId, Relay, Verdict};
use offhook_rtp::srtp::{Protector, SrtcpMode};
use offhook_switch::media::{EndpointId, PayloadName, RemoteMedia, StreamConfig, StreamCrypto};

const TIME_LIMIT: Duration = Duration::from_secs(1);

const LEFT: EndpointId = EndpointId(1);
const RIGHT: EndpointId = EndpointId(2);

/// Streams of the call: sound in clear, sound whose SRTP ends here, fax.
const STREAMS: usize = 3;
const SECURED: usize = 1;

fn source(side: u8, stream: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side], 4000 + 2 * stream as u16))
}

fn stranger(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 6000))
}

fn keys() -> StreamCrypto {
    let master = |octet| MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &[octet; 30]).unwrap();
    StreamCrypto { ours: master(1), theirs: master(2) }
}

fn config(side: u8, stream: usize) -> StreamConfig {
    let rtp = source(side, stream);
    let sound = || vec![PayloadName { payload_type: 8, codec: "PCMA".into(), clock_rate: 8000 }];
    StreamConfig {
        remote: Some(RemoteMedia { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) }),
        receives: true,
        sends: true,
        rtcp_mux: stream == SECURED,
        crypto: (stream == SECURED && side == 0).then(|| Box::new(keys())),
        payloads: if stream == 2 { Vec::new() } else { sound() },
        voice: None,
    }
}

struct Call {
    relay: Relay,
    ports: Vec<(u8, usize, PortId)>,
    now: Instant,
}

impl Call {
    /// A call whose legs have been heard on every stream.
    fn new() -> Self {
        let now = Instant::default() + Duration::from_secs(1);
        let mut relay = Relay::new(None);
        let mut ports = Vec::new();
        for (side, endpoint) in [(0, LEFT), (1, RIGHT)] {
            for (stream, pair) in relay.open(endpoint, STREAMS, now).into_iter().enumerate() {
                ports.extend(pair.map(|port| (side, stream, port)));
            }
            relay.configure(endpoint, (0..STREAMS).map(|stream| config(side, stream)).collect(), now);
        }
        relay.bridge(LEFT, RIGHT, now);
        let mut call = Self { relay, ports, now };
        let mut protector = Protector::new(&keys().theirs, SrtcpMode::Encrypted);
        for place in (0..call.ports.len()).step_by(2) {
            let (side, stream, _) = call.ports[place];
            let mut packet = rtp(1 + u32::from(side), 1);
            if side == 0 && stream == SECURED {
                let len = packet.len();
                packet.resize(len + OVERHEAD_MAX, 0);
                let len = protector.protect_rtp(&mut packet, len).unwrap();
                packet.truncate(len);
            }
            let verdict = call.take(place, source(side, stream), &packet);
            assert!(matches!(verdict, Verdict::Forward { .. }), "{side} {stream}: {verdict:?}");
        }
        call
    }

    fn take(&mut self, place: usize, from: SocketAddr, bytes: &[u8]) -> Verdict {
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.relay.handle_packet(self.ports[place].2, from, &mut buffer, bytes.len(), self.now)
    }
}

/// The input is datagrams one after the other: where to, from whom, after how many times 8 ms, its length, its bytes.
#[test]
fn fuzz_relay() {
    bolero::check!().with_test_time(TIME_LIMIT).for_each(|mut bytes: &[u8]| {
        let mut call = Call::new();
        while let [to, from, wait, len, rest @ ..] = bytes {
            let (packet, rest) = rest.split_at(usize::from(*len).min(rest.len()));
            bytes = rest;
            call.now += Duration::from_millis(u64::from(*wait) * 8);
            let place = usize::from(*to) % call.ports.len();
            let (side, stream, _) = call.ports[place];
            let known = *from < 128;
            let from = if known { source(side, stream) } else { stranger(*from) };
            match call.take(place, from, packet) {
                Verdict::Forward { len, .. } => {
                    assert!(known, "a stranger is passed on");
                    assert!(len <= packet.len() + OVERHEAD_MAX);
                    assert!(side == 1 || stream != SECURED, "nobody can forge a sum");
                }
                Verdict::Answer { len } => assert!(len <= 64, "an answer that a liar could aim at others"),
                Verdict::Say { .. } | Verdict::Taken => panic!("nothing is decoded here"),
                Verdict::Drop(_) => {}
            }
        }
        for endpoint in [LEFT, RIGHT] {
            assert_eq!(call.relay.close(endpoint).map(|streams| streams.len()), Some(STREAMS));
        }
    });
}

//! The engine alone, for measuring: opens and joins endpoints for phones that have ports 10000, 10002, ... and 15000,
//! 15002, ... on 127.0.0.1, prints what `bench/rtp_load` reads, and relays until its input ends.
//! `cargo run --release -p offhook-media --example relay_bench -- 500 > streams`
#![expect(clippy::print_stdout, reason = "the list is for a file")]

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::mpsc::channel,
};

use offhook_media::{MediaConfig, MediaEngine};
use offhook_switch::media::{EndpointId, MediaCommand, MediaEvent, PayloadName, RemoteMedia, StreamConfig};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LEFT_PORTS: u16 = 10_000;
const RIGHT_PORTS: u16 = 15_000;

fn main() {
    let calls: u16 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(500);
    let (sender, events) = channel();
    let handle = MediaEngine::start(MediaConfig::default(), move |event| drop(sender.send(event)));
    let handle = handle.expect("the engine starts");
    let open = |number: u16, phone: u16| {
        let endpoint = EndpointId(u64::from(number));
        handle.send(MediaCommand::Open { endpoint, local: LOCAL, streams: 1 });
        let Ok(MediaEvent::Opened { rtp_ports, .. }) = events.recv() else { panic!("no ports") };
        let remote = |port| SocketAddr::new(LOCAL, port);
        let config = StreamConfig {
            remote: Some(RemoteMedia { rtp: remote(phone), rtcp: remote(phone + 1) }),
            receives: true,
            sends: true,
            payloads: vec![PayloadName { payload_type: 0, codec: "PCMU".into(), clock_rate: 8000 }],
            ..StreamConfig::default()
        };
        handle.send(MediaCommand::Configure { endpoint, streams: vec![config] });
        rtp_ports[0]
    };
    for call in 0..calls {
        let (left, right) = (LEFT_PORTS + 2 * call, RIGHT_PORTS + 2 * call);
        let towards_left = open(2 * call, left);
        let towards_right = open(2 * call + 1, right);
        let [a, b] = [2 * call, 2 * call + 1].map(|number| EndpointId(u64::from(number)));
        handle.send(MediaCommand::Bridge { left: a, right: b });
        println!("{LOCAL}:{left} {LOCAL}:{towards_left} {LOCAL}:{right} {LOCAL}:{towards_right}");
    }
    let _ = std::io::stdin().read(&mut [0]);
}

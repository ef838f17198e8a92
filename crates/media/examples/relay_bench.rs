//! What a relayed packet costs: 200 streams of 50 packets a second for some seconds, then the media thread's CPU time by
//! the kernel's own account. `cargo run --release -p offhook-media --example relay_bench`
#![expect(clippy::print_stdout, reason = "the result is for a terminal")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use offhook_media::{MediaConfig, MediaEngine};
use offhook_switch::media::{EndpointId, MediaCommand, MediaEvent, PayloadName, RemoteMedia, StreamConfig};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STREAMS: u64 = 200;
const SECONDS: u64 = 5;
const INTERVAL: Duration = Duration::from_millis(20);

/// Nanoseconds the thread named "media" has run.
fn media_thread_nanos() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let mut media = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "media"));
    let path = media.next().expect("the engine runs").path().join("schedstat");
    let text = fs::read_to_string(path).expect("the kernel keeps schedstat");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number comes first")
}

fn main() {
    let (sender, events) = channel();
    let handle = MediaEngine::start(MediaConfig::default(), move |event| drop(sender.send(event)));
    let handle = handle.expect("the engine starts");
    let mut phones = Vec::new();
    for number in 0..STREAMS {
        let endpoint = EndpointId(number);
        let socket = UdpSocket::bind((LOCAL, 0)).expect("a port");
        socket.set_nonblocking(true).expect("a socket");
        let rtp = socket.local_addr().expect("an address");
        handle.send(MediaCommand::Open { endpoint, local: LOCAL, streams: 1 });
        let Ok(MediaEvent::Opened { rtp_ports, .. }) = events.recv() else { panic!("no ports") };
        let config = StreamConfig {
            remote: Some(RemoteMedia { rtp, rtcp: rtp }),
            receives: true,
            sends: true,
            payloads: vec![PayloadName { payload_type: 8, codec: "PCMA".into(), clock_rate: 8000 }],
            ..StreamConfig::default()
        };
        handle.send(MediaCommand::Configure { endpoint, streams: vec![config] });
        if number % 2 == 1 {
            handle.send(MediaCommand::Bridge { left: EndpointId(number - 1), right: endpoint });
        }
        phones.push((socket, rtp_ports[0]));
    }
    let (start, before) = (Instant::now(), media_thread_nanos());
    let mut packet = [0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
    packet.resize(172, 0xd5);
    let mut buffer = [0; 2048];
    for round in 0..SECONDS * 50 {
        packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(160 * round as u32).to_be_bytes());
        for (at, (socket, port)) in phones.iter().enumerate() {
            // Spread over the interval, as phones are that know nothing of each other.
            let due = INTERVAL * round as u32 + INTERVAL * at as u32 / STREAMS as u32;
            thread::sleep(due.saturating_sub(start.elapsed()));
            socket.send_to(&packet, (LOCAL, *port)).expect("sent");
            while socket.recv(&mut buffer).is_ok() {}
        }
    }
    let nanos = media_thread_nanos() - before;
    let snapshot = handle.snapshot();
    let packets = snapshot.packets_forwarded;
    println!(
        "{STREAMS} streams, {packets} of {} packets relayed: {:.2} us of CPU each, {:.1} % of a core",
        SECONDS * 50 * STREAMS,
        nanos as f64 / 1000.0 / packets.max(1) as f64,
        nanos as f64 / 1e7 / start.elapsed().as_secs_f64(),
    );
}

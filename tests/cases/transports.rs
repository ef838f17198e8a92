//! Calls from any transport to any other, over IPv4 and IPv6; among them a browser-like phone on WebSocket, with plain RTP,
//! that talks to a phone on UDP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use offhook_e2e::{
    Node, NodeOptions,
    links::{AnyLink, link},
    sound::{RtpEnd, heard},
    user_agent::Phone,
    wait::PATIENCE,
};
use serde_json::Value;

const NEAR_HZ: f64 = 440.0;
const FAR_HZ: f64 = 1000.0;

/// Each phone talks in pieces of so much, until both have heard enough.
const PIECE: Duration = Duration::from_millis(40);

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "ws", "wss"];

type AnyPhone = Phone<AnyLink>;

/// A registered phone of `line` on `transport`.
fn phone(node: &Node, line: &str, ip: IpAddr, transport: &str) -> AnyPhone {
    let mut phone = Phone::new(link(node, ip, transport), line, SocketAddr::new(ip, node.sip_port));
    phone.register();
    phone
}

/// Whether one side of a call has heard `enough` of `hz`, and the other, too.
struct Conversation {
    satisfied: AtomicU32,
    enough: Duration,
    give_up_at: Instant,
}

impl Conversation {
    fn new(enough: Duration) -> Self {
        Self { satisfied: AtomicU32::new(0), enough, give_up_at: Instant::now() + PATIENCE }
    }

    /// Talks until both sides have heard the other's tone.
    fn talk(&self, rtp: &mut RtpEnd, description: &str, other_hz: f64) {
        let mut is_satisfied = false;
        while self.satisfied.load(Ordering::Relaxed) < 2 {
            let so_far = heard(&rtp.received, other_hz);
            assert!(Instant::now() < self.give_up_at, "heard {other_hz} Hz for {so_far:?} only");
            rtp.talk(description, PIECE);
            if !is_satisfied && heard(&rtp.received, other_hz) >= self.enough {
                is_satisfied = true;
                self.satisfied.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// `near` calls `far`, which is `line`; both talk until both have heard the other for `enough`; `near` hangs up.
fn call(near: &mut AnyPhone, ips: [IpAddr; 2], far: &mut AnyPhone, line: &str, enough: Duration) {
    let conversation = Conversation::new(enough);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rtp = RtpEnd::open(&ips[1].to_string(), FAR_HZ);
            let invite = far.wait_for_call();
            far.respond(&invite, 180, "Ringing", "");
            let dialog = far.respond(&invite, 200, "OK", &rtp.description());
            far.wait_for_request(&dialog, "ACK");
            conversation.talk(&mut rtp, &invite.body, NEAR_HZ);
            let bye = far.wait_for_request(&dialog, "BYE");
            far.respond(&bye, 200, "OK", "");
        });
        let mut rtp = RtpEnd::open(&ips[0].to_string(), NEAR_HZ);
        let (dialog, answer) = near.invite(line, &rtp.description());
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        conversation.talk(&mut rtp, &answer.body, FAR_HZ);
        near.hang_up(&dialog);
    });
}

fn transports(record: &Value) -> [&str; 2] {
    [0, 1].map(|leg| record["legs"][leg]["transport"].as_str().unwrap_or_default())
}

/// A phone on `transport` talks to one on UDP.
fn talk_to_udp(transport: &str) {
    let node = Node::start(&NodeOptions::default());
    let mut near = phone(&node, "101", V4, transport);
    let mut far = phone(&node, "102", V4, "udp");
    call(&mut near, [V4, V4], &mut far, "102", Duration::from_secs(1));
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}");
    assert_eq!(transports(&record), [transport, "udp"], "{record:#}");
}

#[test]
fn a_phone_on_websocket_talks_to_one_on_udp() {
    talk_to_udp("ws");
}

#[test]
fn a_phone_on_websocket_over_tls_talks_to_one_on_udp() {
    talk_to_udp("wss");
}

/// Ten phones, each on another way; each calls each.
#[test]
fn every_way_in_reaches_every_way_out() {
    let ways: Vec<_> =
        [V4, V6].into_iter().flat_map(|ip| TRANSPORTS.map(|transport| (ip, transport))).collect();
    let line = |index: usize| format!("2{index:02}");
    let site = (0..ways.len()).map(|index| {
        let line = line(index);
        format!("[tenants.default.lines.{line}]\npassword = \"password-{line}\"\n")
    });
    let node = Node::start(&NodeOptions { site: site.collect(), ..NodeOptions::default() });
    let phones =
        ways.iter().enumerate().map(|(index, &(ip, transport))| phone(&node, &line(index), ip, transport));
    let mut phones: Vec<_> = phones.map(Some).collect();
    let mut expected = Vec::new();
    for near in 0..ways.len() {
        let mut caller = phones[near].take().expect("it is back from the call before");
        for far in (0..ways.len()).filter(|&far| far != near) {
            let callee = phones[far].as_mut().expect("only the caller is away");
            call(&mut caller, [ways[near].0, ways[far].0], callee, &line(far), Duration::from_millis(50));
            expected.push([ways[near].1, ways[far].1]);
        }
        phones[near] = Some(caller);
    }
    let records = node.records(expected.len());
    assert_eq!(records.iter().map(transports).collect::<Vec<_>>(), expected);
    assert!(records.iter().all(|record| record["cause"] == "hung_up"), "{records:#?}");
}

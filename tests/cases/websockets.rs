//! A browser-like phone on WebSocket, with plain RTP, talks to a phone on UDP.

use std::{thread, time::Duration};

use offhook_e2e::{
    Node, NodeOptions,
    sound::{RtpEnd, heard},
    user_agent::{Link, Phone, UdpLink, connect},
    websocket::{WebSocketLink, tls},
};

const NEAR_HZ: f64 = 440.0;
const FAR_HZ: f64 = 1000.0;
const TALK: Duration = Duration::from_secs(2);
const ENOUGH: Duration = Duration::from_millis(1200);

/// Line 101 over `link` calls line 102 over UDP; both talk and both hear.
fn call_to_udp(node: &Node, link: impl Link, transport: &str) {
    let mut near = Phone::new(link, "101", node.sip());
    near.register();
    let mut far = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "102", node.sip());
    far.register();
    let answering = thread::spawn(move || {
        let mut rtp = RtpEnd::open("127.0.0.1");
        let invite = far.wait_for_request("INVITE");
        far.respond(&invite, 180, "Ringing", "");
        far.respond(&invite, 200, "OK", &rtp.description());
        far.wait_for_request("ACK");
        rtp.talk(&invite.body, FAR_HZ, TALK);
        let bye = far.wait_for_request("BYE");
        rtp.take();
        far.respond(&bye, 200, "OK", "");
        heard(&rtp.received, NEAR_HZ)
    });
    let mut rtp = RtpEnd::open("127.0.0.1");
    let (dialog, answer) = near.invite("102", &rtp.description());
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    rtp.talk(&answer.body, NEAR_HZ, TALK);
    near.hang_up(&dialog);
    rtp.take();
    let at_far = answering.join().expect("the far phone has no trouble");
    let at_near = heard(&rtp.received, FAR_HZ);
    assert!(at_near >= ENOUGH && at_far >= ENOUGH, "heard near {at_near:?}, far {at_far:?}");
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}");
    let transports = (&record["legs"][0]["transport"], &record["legs"][1]["transport"]);
    assert_eq!(transports, (&transport.into(), &"udp".into()), "{record:#}");
}

#[test]
fn a_phone_on_websocket_talks_to_one_on_udp() {
    let node = Node::start(&NodeOptions::default());
    let link = WebSocketLink::open(&format!("ws://{}/sip", node.http), connect(node.http), "WS");
    call_to_udp(&node, link, "ws");
}

#[test]
fn a_phone_on_websocket_over_tls_talks_to_one_on_udp() {
    let node = Node::start(&NodeOptions::default());
    let server = ([127, 0, 0, 1], node.wss_port).into();
    let link = WebSocketLink::open(
        &format!("wss://localhost:{}/", node.wss_port),
        tls(server, &node.certificate()),
        "WSS",
    );
    call_to_udp(&node, link, "wss");
}

//! The node is killed in the middle of calls and starts again: the calls go on.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Barrier,
    thread,
    time::Duration,
};

use offhook_e2e::{
    Node, NodeOptions,
    links::link,
    sipp::{Sipp, SippRun},
    sound::{RtpEnd, heard, media_address},
    user_agent::{Phone, StreamLink, UdpLink},
};
use serde_json::Value;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long a call goes on by itself: the node is killed in the middle, and is back long before the end.
const TALK_MS: u32 = 6000;

/// The tones of both sides, Hz.
const NEAR_HZ: f64 = 440.0;
const FAR_HZ: f64 = 1000.0;

fn scenario(name: &'static str) -> Sipp {
    Sipp::scenario(name, LOCAL).with("t1", 500)
}

fn caller(name: &'static str) -> Sipp {
    scenario(name).line("101").with("callee", "102")
}

fn register(node: &Node, contact: SocketAddr) {
    let registering = scenario("register").line("102").at(contact);
    registering.with("contact", format!("sip:102@{contact}")).call(node.sip()).succeeds();
}

fn listen(node: &Node, callee: Sipp) -> SippRun {
    register(node, callee.local());
    callee.listen()
}

/// Kills the node while the call stands at `phase`, and starts it again; the call must be there.
fn kill_in(node: &mut Node, phase: &str) {
    node.wait_for_phase(phase);
    node.crash_and_restart();
    assert!(node.log().contains("resumed 1 calls"), "{}", node.log());
    node.wait_for_phase(phase);
}

/// The call took as long as the phones say, whatever the node went through.
fn assert_true(record: &Value, by: &str) {
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &by.into()), "{record:#}");
    let talked = record["talk_ms"].as_i64().unwrap_or_default();
    assert!(talked >= i64::from(TALK_MS) - 100, "{record:#}");
}

#[test]
fn a_call_outlives_the_node_and_the_caller_hangs_up() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, scenario("callee"));
    let mut calling = caller("caller").with("talk_ms", TALK_MS).call(node.sip());
    kill_in(&mut node, "established");
    calling.succeeds();
    callee.succeeds();
    assert_true(&node.record(), "caller");
    node.wait_for_metric("offhook_calls", 0.0);
    node.wait_for_metric("offhook_calls_kept", 0.0);
    assert_eq!(node.metric("offhook_calls_resumed_total{outcome=\"going_on\"}"), 1.0);
    node.crash_and_restart();
    assert!(!node.log().contains("resumed"), "nothing is left of it\n{}", node.log());
    node.record();
}

#[test]
fn a_call_outlives_the_node_and_the_callee_hangs_up() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, scenario("callee_hangs_up").with("talk_ms", TALK_MS));
    let mut calling = caller("caller_hung_up").call(node.sip());
    kill_in(&mut node, "established");
    calling.succeeds();
    callee.succeeds();
    assert_true(&node.record(), "callee");
}

#[test]
fn a_call_that_was_held_before_the_crash_is_taken_back_after_it() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, scenario("callee_held"));
    let mut calling = caller("caller_holds").with("hold_ms", TALK_MS).with("talk_ms", 300).call(node.sip());
    kill_in(&mut node, "held");
    calling.succeeds();
    callee.succeeds();
    assert_true(&node.record(), "caller");
}

#[test]
fn a_ringing_call_is_answered_after_the_crash() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "102", node.sip());
    callee.register();
    let mut calling = caller("caller").with("talk_ms", 300).call(node.sip());
    let invite = callee.wait_for_call();
    callee.respond(&invite, 180, "Ringing", "");
    kill_in(&mut node, "ringing");
    let rtp = RtpEnd::open("127.0.0.1", FAR_HZ);
    let dialog = callee.respond(&invite, 200, "OK", &rtp.description());
    callee.wait_for_request(&dialog, "ACK");
    let bye = callee.wait_for_request(&dialog, "BYE");
    callee.respond(&bye, 200, "OK", "");
    calling.succeeds();
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}");
    assert!(record["ringing"].is_string() && record["answered"].is_string(), "{record:#}");
}

#[test]
fn a_ringing_call_is_cancelled_after_the_crash() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, scenario("callee_cancelled"));
    let mut calling = caller("caller_cancels").with("ring_ms", TALK_MS).call(node.sip());
    kill_in(&mut node, "ringing");
    calling.succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!(
        (&record["cause"], &record["ended_by"]),
        (&"cancelled".into(), &"caller".into()),
        "{record:#}"
    );
}

#[test]
fn media_flows_again_on_the_same_ports() {
    media_flows_again(|node| kill_in(node, "established"));
}

/// Goal: after a change of the process each side hears the other at the ports it had. Method: two phones that know no other
/// ports than those of the first answer.
pub fn media_flows_again(change: impl FnOnce(&mut Node)) {
    let mut node = Node::start(&NodeOptions::default());
    let [mut near, mut far] =
        ["101", "102"].map(|line| Phone::new(UdpLink::new("127.0.0.1", node.sip()), line, node.sip()));
    near.register();
    far.register();
    let (talking, killed, over) = (Barrier::new(3), Barrier::new(3), Barrier::new(3));
    let second = Duration::from_secs(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rtp = RtpEnd::open("127.0.0.1", FAR_HZ);
            let invite = far.wait_for_call();
            far.respond(&invite, 180, "Ringing", "");
            let dialog = far.respond(&invite, 200, "OK", &rtp.description());
            far.wait_for_request(&dialog, "ACK");
            talk_across(&mut rtp, &invite.body, NEAR_HZ, [&talking, &killed, &over]);
            let bye = far.wait_for_request(&dialog, "BYE");
            far.respond(&bye, 200, "OK", "");
        });
        scope.spawn(|| {
            let mut rtp = RtpEnd::open("127.0.0.1", NEAR_HZ);
            let (dialog, answer) = near.invite("102", &rtp.description());
            assert_eq!(answer.status(), Some(200), "{answer:?}");
            assert!(node_media(&answer.body));
            talk_across(&mut rtp, &answer.body, FAR_HZ, [&talking, &killed, &over]);
            near.hang_up(&dialog);
        });
        talking.wait();
        change(&mut node);
        killed.wait();
        over.wait();
    });
    let record = node.record();
    for leg in 0..2 {
        let packets = record["legs"][leg]["streams"][0]["packets_received"].as_i64().unwrap_or_default();
        assert!(packets >= 50, "{record:#}");
    }
    assert!(
        record["talk_ms"].as_i64() >= Some(2 * i64::try_from(second.as_millis()).unwrap_or(0)),
        "{record:#}"
    );
}

/// Talks a second before the process changes and until the other is heard after it.
fn talk_across(rtp: &mut RtpEnd, description: &str, other_hz: f64, [talking, killed, over]: [&Barrier; 3]) {
    let second = Duration::from_secs(1);
    rtp.talk(description, second);
    assert!(heard(&rtp.received, other_hz) > Duration::ZERO, "nothing was heard before the change");
    talking.wait();
    killed.wait();
    rtp.received.clear();
    rtp.talk(description, 3 * second);
    assert!(heard(&rtp.received, other_hz) > second, "nothing was heard after the change");
    over.wait();
}

fn node_media(description: &str) -> bool {
    media_address(description).ip() == LOCAL
}

#[test]
fn a_phone_on_tcp_that_registers_again_has_its_call_back() {
    a_phone_comes_back("tcp");
}

#[test]
fn a_phone_on_tls_that_registers_again_has_its_call_back() {
    a_phone_comes_back("tls");
}

#[test]
fn a_phone_on_websocket_that_registers_again_has_its_call_back() {
    a_phone_comes_back("ws");
}

#[test]
fn a_phone_on_secure_websocket_that_registers_again_has_its_call_back() {
    a_phone_comes_back("wss");
}

/// A phone on a stream notices that its connection is gone, connects again, and goes on with its call.
fn a_phone_comes_back(transport: &str) {
    let mut node = Node::start(&NodeOptions::default());
    let mut near = Phone::new(link(&node, LOCAL, transport), "101", node.sip());
    near.register();
    let mut far = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "102", node.sip());
    far.register();
    let rtp = RtpEnd::open("127.0.0.1", FAR_HZ);
    let (near_dialog, far_dialog) = thread::scope(|scope| {
        let called = scope.spawn(|| {
            let invite = far.wait_for_call();
            let dialog = far.respond(&invite, 200, "OK", &rtp.description());
            far.wait_for_request(&dialog, "ACK");
            dialog
        });
        let (dialog, answer) = near.invite("102", &rtp.description());
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        (dialog, called.join().expect("the callee has answered"))
    });
    kill_in(&mut node, "established");
    near.link = link(&node, LOCAL, transport);
    near.register();
    thread::scope(|scope| {
        scope.spawn(|| far.hang_up(&far_dialog));
        let bye = near.wait_for_request(&near_dialog, "BYE");
        near.respond(&bye, 200, "OK", "");
    });
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"callee".into()), "{record:#}");
    node.wait_for_metric("offhook_calls", 0.0);
}

#[test]
fn a_phone_on_tcp_that_does_not_come_back_has_its_call_ended_and_named() {
    let limits = "reconnect_secs = 5".into();
    let mut node = Node::start(&NodeOptions { limits, ..NodeOptions::default() });
    let mut near = Phone::new(StreamLink::tcp(node.sip()), "101", node.sip());
    near.register();
    let mut callee = listen(&node, scenario("callee"));
    let rtp = RtpEnd::open("127.0.0.1", NEAR_HZ);
    let (_, answer) = near.invite("102", &rtp.description());
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    kill_in(&mut node, "established");
    callee.succeeds();
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"outage".into(), &"node".into()), "{record:#}");
}

#[test]
fn a_node_that_was_down_for_too_long_ends_its_calls_as_of_then() {
    let limits = "outage_secs = 0".into();
    let mut node = Node::start(&NodeOptions { limits, ..NodeOptions::default() });
    let mut callee = listen(&node, scenario("callee"));
    let mut calling = caller("caller_hung_up").call(node.sip());
    node.wait_for_phase("established");
    node.crash_and_restart();
    calling.succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"outage".into(), &"node".into()), "{record:#}");
}

//! SIPp as caller and callee: calls of registered lines over UDP and TCP, IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use offhook_e2e::{
    Node, NodeOptions,
    lossy::Lossy,
    sipp::{Sipp, SippRun},
    stuttering::Stuttering,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// T1 of both sides, ms.
const T1_MS: u32 = 500;

/// Datagrams lost in each direction of each line. With more, SIPp is the one to give up: it repeats an answer three
/// times at most.
const LOSS_PERCENT: u64 = 10;

fn node() -> Node {
    Node::start(&NodeOptions::default())
}

fn scenario(name: &'static str, ip: IpAddr) -> Sipp {
    Sipp::scenario(name, ip).with("t1", T1_MS)
}

fn caller(name: &'static str, ip: IpAddr) -> Sipp {
    scenario(name, ip).line("101").with("callee", "102").with("talk_ms", 300)
}

/// Registers `line` for a callee that takes SIP at `contact`. Over UDP from that very port, as phones do.
fn register(node: &Node, line: &str, contact: SocketAddr, transport: &str) {
    let server = if contact.is_ipv4() { node.sip() } else { node.sip_v6() };
    let uri = format!("sip:{line}@{contact};transport={transport}");
    let registering = scenario("register", contact.ip()).line(line).with("contact", uri);
    let registering = if transport == "tcp" { registering.tcp() } else { registering.at(contact) };
    registering.call(server).succeeds();
}

/// Starts `callee` for `line`, registered.
fn listen_as(node: &Node, line: &str, callee: Sipp, transport: &str) -> SippRun {
    register(node, line, callee.local(), transport);
    if transport == "tcp" { callee.tcp() } else { callee }.listen()
}

/// Starts `callee` for line 102, registered.
fn listen(node: &Node, callee: Sipp, transport: &str) -> SippRun {
    listen_as(node, "102", callee, transport)
}

/// A call with the usual scenarios and its record.
fn plain_call(ip: IpAddr, transport: &str) {
    let node = node();
    let mut callee = listen(&node, scenario("callee", ip), transport);
    let server = if ip.is_ipv4() { node.sip() } else { node.sip_v6() };
    let calling = caller("caller", ip);
    let calling = if transport == "tcp" { calling.tcp() } else { calling };
    calling.call(server).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"caller".into()), "{record:#}");
    assert_eq!(record["legs"][0]["transport"], transport, "{record:#}");
    assert_eq!(record["legs"][1]["transport"], transport, "{record:#}");
    assert!(record["talk_ms"].as_i64() >= Some(250), "{record:#}");
    node.wait_for_metric("offhook_calls", 0.0);
}

#[test]
fn a_line_calls_another_over_udp() {
    plain_call(V4, "udp");
}

#[test]
fn a_line_calls_another_over_tcp() {
    plain_call(V4, "tcp");
}

#[test]
fn a_line_calls_another_over_udp_and_ipv6() {
    plain_call(V6, "udp");
}

#[test]
fn a_line_calls_another_over_tcp_and_ipv6() {
    plain_call(V6, "tcp");
}

#[test]
fn a_wrong_password_registers_nothing() {
    let node = node();
    let wrong = scenario("register_refused", V4).with("line", "101").with("password", "password-102");
    wrong.with("contact", "sip:101@127.0.0.1:9").call(node.sip()).succeeds();
    node.wait_for_bindings("101", 0);
}

/// The four ways over which SIPp speaks.
const WAYS: [(IpAddr, &str); 4] = [(V4, "udp"), (V4, "tcp"), (V6, "udp"), (V6, "tcp")];

#[test]
fn every_transport_and_address_family_calls_every_other() {
    let node = node();
    let lines = ["102", "103", "104", "105"];
    let callees = lines.iter().zip(WAYS).map(|(line, (ip, transport))| {
        listen_as(&node, line, scenario("callee", ip).calls(WAYS.len() as u32), transport)
    });
    let mut callees: Vec<_> = callees.collect();
    for (ip, transport) in WAYS {
        let server = if ip.is_ipv4() { node.sip() } else { node.sip_v6() };
        let calls = lines.map(|line| {
            let calling = scenario("caller", ip).line("101").with("callee", line).with("talk_ms", 300);
            if transport == "tcp" { calling.tcp() } else { calling }.call(server)
        });
        calls.into_iter().for_each(|mut calling| calling.succeeds());
    }
    callees.iter_mut().for_each(SippRun::succeeds);
    for record in node.records(WAYS.len() * WAYS.len()) {
        assert_eq!(record["cause"], "hung_up", "{record:#}");
    }
}

/// Datagrams are lost and repeated on both lines.
fn ten_calls_over_bad_lines(ip: IpAddr) {
    let (calls, t1) = (10, 100);
    let node =
        Node::start(&NodeOptions { signalling: "t1_ms = 100\nt2_ms = 500".into(), ..NodeOptions::default() });
    let server = if ip.is_ipv4() { node.sip() } else { node.sip_v6() };
    // SIPp takes a stray repetition for a new call; it stays until the test ends, whatever it has counted.
    let callee = Sipp::scenario("callee_patient", ip).with("t1", t1).calls(10 * calls).patient();
    let near_callee = Lossy::start(callee.local(), server, LOSS_PERCENT, 10, 7);
    // Registered through the bad line, which is from now on the way to the phone.
    let registering = Sipp::scenario("register", ip).with("t1", t1).line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(near_callee.address).succeeds();
    let callee = callee.listen();
    let calling =
        Sipp::scenario("caller", ip).with("t1", t1).line("101").with("callee", "102").with("talk_ms", 300);
    let near_caller = Lossy::start(calling.local(), server, LOSS_PERCENT, 10, 11);
    calling.patient().calls(calls).arguments(&["-r", "5"]).call(near_caller.address).succeeds();
    assert!(near_callee.lost() + near_caller.lost() > 0, "nothing was lost: nothing was tried");
    assert!(callee.messages().contains("CSeq: 1 INVITE"), "{}", callee.trace());
    for record in node.records(calls as usize) {
        assert_eq!(record["cause"], "hung_up", "{record:#}");
    }
}

#[test]
fn ten_calls_pass_a_line_that_loses_and_repeats_datagrams() {
    ten_calls_over_bad_lines(V4);
}

#[test]
fn ten_calls_pass_such_a_line_over_ipv6() {
    ten_calls_over_bad_lines(V6);
}

/// What loss makes of TCP: octets that come late, and in other pieces than they were sent in.
fn ten_calls_over_stuttering_streams(ip: IpAddr) {
    let calls = 10;
    let node = node();
    let server = if ip.is_ipv4() { node.sip() } else { node.sip_v6() };
    let callee = scenario("callee", ip).calls(calls);
    let near_callee = Stuttering::start(callee.local(), 7);
    register(&node, "102", near_callee.address, "tcp");
    let mut callee = callee.tcp().listen();
    let near_caller = Stuttering::start(server, 11);
    let calling = caller("caller", ip).tcp().calls(calls).arguments(&["-r", "5"]);
    calling.call(near_caller.address).succeeds();
    callee.succeeds();
    let pieces = near_callee.pieces().min(near_caller.pieces());
    assert!(pieces > 100, "only {pieces} pieces of sixty messages: nothing was tried");
    for record in node.records(calls as usize) {
        assert_eq!(record["cause"], "hung_up", "{record:#}");
    }
}

#[test]
fn ten_calls_pass_streams_that_stutter() {
    ten_calls_over_stuttering_streams(V4);
}

#[test]
fn ten_calls_pass_streams_that_stutter_over_ipv6() {
    ten_calls_over_stuttering_streams(V6);
}

#[test]
fn a_busy_line_refuses_and_the_caller_is_told_so() {
    refused("486 Busy Here", "486", "busy");
}

#[test]
fn a_declined_call_is_told_and_recorded_as_such() {
    refused("603 Decline", "603", "declined");
}

fn refused(refusal: &str, status: &str, cause: &str) {
    let node = node();
    let mut callee = listen(&node, scenario("callee_refuses", V4).with("refusal", refusal), "udp");
    caller("caller_refused", V4).with("status", status).call(node.sip()).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!(record["cause"], cause, "{record:#}");
    assert_eq!(record["sip_status"].to_string(), status, "{record:#}");
}

#[test]
fn a_line_without_a_phone_and_one_that_does_not_exist_are_told_apart() {
    let node = node();
    caller("caller_refused", V4).with("status", "480").call(node.sip()).succeeds();
    let unknown = scenario("caller_refused", V4).line("101").with("callee", "999").with("status", "404");
    unknown.call(node.sip()).succeeds();
    let causes: Vec<_> = node.records(2).into_iter().map(|record| record["cause"].clone()).collect();
    assert_eq!(causes, ["not_registered", "not_found"]);
}

#[test]
fn nobody_answers_and_the_phone_stops_ringing() {
    let node = Node::start(&NodeOptions {
        sip: "ring_secs = 5\nno_answer_secs = 10".into(),
        ..NodeOptions::default()
    });
    let mut callee = listen(&node, scenario("callee_cancelled", V4), "udp");
    caller("caller_refused", V4).with("status", "480").call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "no_answer");
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    let node = node();
    let mut callee = listen(&node, scenario("callee_cancelled", V4), "udp");
    caller("caller_cancels", V4).with("ring_ms", 0).call(node.sip()).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!(
        (&record["cause"], &record["ended_by"]),
        (&"cancelled".into(), &"caller".into()),
        "{record:#}"
    );
}

#[test]
fn a_redirected_call_rings_where_it_was_sent() {
    let node = node();
    let elsewhere = format!("sip:103@{}", node.sip());
    let mut callee = listen(&node, scenario("callee_redirects", V4).with("elsewhere", elsewhere), "udp");
    let mut third = listen_as(&node, "103", scenario("callee", V4), "udp");
    caller("caller", V4).call(node.sip()).succeeds();
    callee.succeeds();
    third.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

#[test]
fn the_callee_hangs_up() {
    let node = node();
    let mut callee = listen(&node, scenario("callee_hangs_up", V4).with("talk_ms", 200), "udp");
    caller("caller_hung_up", V4).call(node.sip()).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"callee".into()), "{record:#}");
}

#[test]
fn a_caller_that_requires_reliable_provisional_responses_gets_them() {
    let node = node();
    let mut callee = listen(&node, scenario("callee", V4), "udp");
    caller("caller_pracks", V4).call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

#[test]
fn a_callee_that_rings_reliably_is_acknowledged() {
    let node = node();
    let mut callee = listen(&node, scenario("callee_reliable", V4), "udp");
    caller("caller", V4).call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

#[test]
fn hold_and_resume_by_reinvite_reach_the_other_side() {
    let node = node();
    let mut callee = listen(&node, scenario("callee_held", V4), "udp");
    let mut calling = caller("caller_holds", V4).with("hold_ms", 1000).call(node.sip());
    node.wait_for_phase("held");
    calling.succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

#[test]
fn hold_by_update_reaches_the_other_side() {
    let node = node();
    let mut callee = listen(&node, scenario("callee_updated", V4), "udp");
    caller("caller_updates", V4).call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

#[test]
fn sound_goes_both_ways_and_is_counted() {
    sound([V4, V4]);
}

#[test]
fn sound_goes_both_ways_between_ipv6_and_ipv4() {
    sound([V6, V4]);
}

/// A tone goes from the caller to the callee, who sends it back.
fn sound([caller_ip, callee_ip]: [IpAddr; 2]) {
    let node = node();
    let mut callee = listen(&node, scenario("callee", callee_ip).arguments(&["-rtp_echo"]), "udp");
    let talking = scenario("caller_with_sound", caller_ip).line("101").with("callee", "102");
    let server = if caller_ip.is_ipv4() { node.sip() } else { node.sip_v6() };
    talking.with("talk_ms", 2000).call(server).succeeds();
    callee.succeeds();
    let record = node.record();
    for leg in 0..2 {
        let stream = &record["legs"][leg]["streams"][0];
        let packets = |name: &str| stream[name].as_u64().unwrap_or_default();
        assert!(packets("packets_received") > 60 && packets("packets_sent") > 60, "{record:#}");
        assert_eq!(stream["codec"], "PCMU/8000", "{record:#}");
    }
}

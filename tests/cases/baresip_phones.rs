//! Two softphones that register, call, hold, resume and hang up; each hears the other's tone.

use std::time::Duration;

use offhook_e2e::{Node, NodeOptions, baresip::Baresip, capture::Capture};

/// What each phone says, Hz.
const ANNA_HZ: f64 = 440.0;
const BERT_HZ: f64 = 1000.0;

/// So much of a tone counts as a conversation.
const ENOUGH: Duration = Duration::from_secs(1);

fn phones(node: &Node, transports: [&str; 2], parameters: [&str; 2]) -> (Baresip, Baresip) {
    let phone = |line, index: usize, hz, answers| {
        let (server, transport) = match transports[index] {
            "tls over ipv6" => (node.sip_tls_v6(), "tls"),
            "udp over ipv6" => (node.sip_v6(), "udp"),
            "tls" => (node.sip_tls(), "tls"),
            other => (node.sip(), other),
        };
        Baresip::start_with(line, server, transport, hz, answers, parameters[index])
    };
    let anna = phone("101", 0, ANNA_HZ, false);
    let bert = phone("102", 1, BERT_HZ, true);
    node.wait_for_bindings("101", 1);
    node.wait_for_bindings("102", 1);
    (anna, bert)
}

fn call(node: &Node, anna: &mut Baresip, bert: &mut Baresip) {
    anna.command("dial", &format!("sip:102@{}", node.sip()));
    anna.wait_for("CALL_ESTABLISHED");
    bert.wait_for("CALL_ESTABLISHED");
    anna.wait_to_hear(BERT_HZ, ENOUGH);
    bert.wait_to_hear(ANNA_HZ, ENOUGH);
}

fn hang_up(node: &Node, anna: &mut Baresip, bert: &mut Baresip) {
    anna.command("hangup", "");
    bert.wait_for("CALL_CLOSED");
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"caller".into()), "{record:#}");
    for (leg, other) in [(0, 1), (1, 0)] {
        let packets =
            |leg: usize, name: &str| record["legs"][leg]["streams"][0][name].as_u64().unwrap_or_default();
        let (received, sent) = (packets(leg, "packets_received"), packets(other, "packets_sent"));
        assert!(
            sent > 50 && received.abs_diff(sent) <= 5,
            "what one side says goes to the other: {record:#}"
        );
        let mos = record["legs"][leg]["streams"][0]["mos"].as_f64().unwrap_or_default();
        assert!(mos > 3.5, "a line without loss sounds good: {record:#}");
    }
}

fn talk(transports: [&str; 2], parameters: [&str; 2]) {
    let node = Node::start(&NodeOptions::default());
    let (mut anna, mut bert) = phones(&node, transports, parameters);
    call(&node, &mut anna, &mut bert);
    hang_up(&node, &mut anna, &mut bert);
}

#[test]
fn two_phones_hear_each_other_before_and_after_a_hold() {
    let node = Node::start(&NodeOptions::default());
    let capture = Capture::start(&node, &[]);
    let (mut anna, mut bert) = phones(&node, ["udp", "udp"], ["", ""]);
    call(&node, &mut anna, &mut bert);
    anna.command("hold", "");
    node.wait_for_phase("held");
    anna.command("resume", "");
    node.wait_for_phase("established");
    // This baresip stops recording what it hears when its player starts anew, so from here on the packets count.
    anna.wait_to_say_more(ENOUGH);
    bert.wait_to_say_more(ENOUGH);
    hang_up(&node, &mut anna, &mut bert);
    capture.finish(&[("sip", 14), ("sdp", 6), ("rtp", 200)]);
}

#[test]
fn a_phone_on_tls_and_one_on_tcp_hear_each_other() {
    talk(["tls", "tcp"], ["", ""]);
}

#[test]
fn phones_hear_each_other_over_ipv6_and_across() {
    talk(["tls over ipv6", "udp over ipv6"], ["", ""]);
    talk(["udp", "tls over ipv6"], ["", ""]);
}

/// A phone that takes nothing but SRTP.
const SRTP: &str = ";mediaenc=srtp-mand";

/// A phone that offers keys beside plain RTP.
const SRTP_IF_POSSIBLE: &str = ";mediaenc=srtp";

#[test]
fn two_phones_on_tls_hear_each_other_over_srtp() {
    talk(["tls", "tls"], [SRTP, SRTP]);
}

/// Neither phone takes what the other offers: the node is asked once more, and ends the encryption of one side.
#[test]
fn a_phone_with_srtp_and_one_without_hear_each_other_whoever_calls() {
    talk(["tls", "udp"], [SRTP, ""]);
    talk(["udp", "tls"], ["", SRTP]);
}

#[test]
fn a_phone_that_offers_srtp_and_one_that_knows_none_hear_each_other() {
    talk(["tls", "udp"], [SRTP_IF_POSSIBLE, ""]);
}

#[test]
fn a_line_set_to_srtp_gets_it_at_once_and_keeps_its_keys_over_a_hold() {
    let node = Node::start(&NodeOptions::default());
    for (line, srtp) in [("101", "always"), ("102", "never")] {
        let change = format!("{{\"srtp\": {srtp:?}}}");
        node.api("PATCH", &format!("/tenants/default/lines/{line}"), Some(("application/json", &change)));
    }
    let (mut anna, mut bert) = phones(&node, ["tls", "udp"], [SRTP, ""]);
    call(&node, &mut anna, &mut bert);
    assert!(!bert.output().contains("488 "), "asked once:\n{}", bert.output());
    bert.command("hold", "");
    node.wait_for_phase("held");
    bert.command("resume", "");
    node.wait_for_phase("established");
    anna.wait_to_say_more(ENOUGH);
    bert.wait_to_say_more(ENOUGH);
    hang_up(&node, &mut anna, &mut bert);
}

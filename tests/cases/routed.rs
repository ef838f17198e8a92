//! Routes over several carriers: numbers in each one's form, and on to the next when one fails.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use offhook_e2e::{
    Node, NodeOptions,
    sipp::{Sipp, SippRun},
};
use serde_json::Value;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ALPHA: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
const BETA: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

const ROUTING: &str = r#"
[tenants.default]
numbers = { country = "49", national = "0", international = "00" }

[tenants.default.peers.alpha]
numbers = "e164"
calls_per_second = 1
burst = 1

[tenants.default.peers.beta]
numbers = "plus"

[[tenants.default.routes]]
name = "germany"
prefixes = ["+49"]
to = ["alpha", "beta"]
ring_within_secs = 1

[[tenants.default.routes]]
name = "own number"
prefixes = ["+4989777"]
from = ["peers"]
to = ["line:102"]
"#;

fn node(alpha: u16, beta: u16) -> Node {
    let peer = |name: &str, at: IpAddr, port: u16| {
        format!(
            "[tenants.default.peers.{name}]\nsources = [\"{at}\"]\nhost = \"{at}\"\nport = {port}\n\
             transport = \"udp\"\n"
        )
    };
    let site = peer("alpha", ALPHA, alpha) + &peer("beta", BETA, beta);
    let node = Node::start(&NodeOptions { site, ..NodeOptions::default() });
    node.api("POST", "/routing", Some(("application/toml", ROUTING)));
    node
}

fn scenario(name: &'static str, ip: IpAddr) -> Sipp {
    Sipp::scenario(name, ip).with("t1", 500)
}

fn calling(node: &Node, number: &str) -> SippRun {
    let caller = scenario("caller", LOCAL).line("105").with("callee", number).with("talk_ms", 300);
    caller.call(node.sip())
}

/// Peers and statuses of the called legs.
fn tried(record: &Value) -> Vec<(String, i64)> {
    let legs = record["legs"].as_array().cloned().unwrap_or_default();
    let called = legs.iter().skip(1);
    called
        .map(|leg| {
            let peer = leg["peer"].as_str().unwrap_or_default().to_string();
            (peer, leg["status"].as_i64().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_call_that_one_carrier_refuses_goes_to_the_next_in_its_form() {
    let alpha = scenario("callee_refuses", ALPHA).with("refusal", "503 Service Unavailable");
    let beta = scenario("callee", BETA).calls(2);
    let node = node(alpha.local().port(), beta.local().port());
    let (mut alpha, mut beta) = (alpha.listen(), beta.listen());
    calling(&node, "0891234").succeeds();
    alpha.succeeds();
    assert!(alpha.messages().contains("INVITE sip:49891234@127.0.0.5"), "{}", alpha.messages());
    // The rate of the first is used up for a second: this one is not even asked.
    calling(&node, "0049891234").succeeds();
    beta.succeeds();
    assert!(beta.messages().contains("INVITE sip:+49891234@127.0.0.6"), "{}", beta.messages());
    let records = node.records(2);
    let tries: Vec<_> = records.iter().map(tried).collect();
    let refused = vec![("alpha".to_string(), 503), ("beta".to_string(), 200)];
    assert!(tries.contains(&refused), "{tries:?}");
    assert!(tries.contains(&refused[1..].to_vec()), "{tries:?}");
    assert_eq!(node.metric("offhook_route_retries_total"), 1.0);
    assert_eq!(node.metric("offhook_peer_no_room_total{reason=\"rate\"}"), 1.0);
}

#[test]
fn a_silent_carrier_gives_way_to_the_next() {
    let silent = UdpSocket::bind((ALPHA, 0)).unwrap();
    let beta = scenario("callee", BETA);
    let node = node(silent.local_addr().unwrap().port(), beta.local().port());
    let mut beta = beta.listen();
    calling(&node, "0891234").succeeds();
    beta.succeeds();
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}");
    assert_eq!(tried(&record).last(), Some(&("beta".to_string(), 200)), "{record:#}");
    node.wait_for_metric("offhook_calls", 0.0);
}

#[test]
fn a_carriers_call_reaches_the_line_of_the_number() {
    let node = node(9, 9);
    let callee = scenario("callee", LOCAL);
    let registering = scenario("register", LOCAL).line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(node.sip()).succeeds();
    let mut callee = callee.listen();
    let calling = scenario("caller_open", ALPHA).with("line", "+33123");
    calling.with("callee", "+4989777").with("talk_ms", 300).call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.record()["legs"][1]["line"], "102");
}

#[test]
fn the_command_line_tells_the_way_and_goes_back_to_an_earlier_one() {
    let node = node(9, 9);
    let told = node.command(&["route", "test", "0891234", "--from", "105"]);
    for step in [
        "number: 0891234 is +49891234",
        "route germany: holds",
        "  1. peer alpha",
        "=> it goes to peer alpha as 49891234, then to beta as +49891234",
    ] {
        assert!(told.contains(step), "{told}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (routing, table) = (folder.path().join("routing.toml"), folder.path().join("rates.csv"));
    let (routing, table) = (routing.to_str().unwrap(), table.to_str().unwrap());
    std::fs::write(table, "+49,alpha,0.02\n+49,beta,0.01\n").unwrap();
    std::fs::write(routing, "[[tenants.default.routes]]\ntable = \"rates\"\n").unwrap();
    node.command(&["route", "table", "set", "rates", table]);
    node.command(&["route", "set", routing, "--note", "cheapest first"]);
    let told = node.command(&["route", "test", "+4989", "--from", "105"]);
    assert!(told.contains("  1. peer beta, at 0.01\n  2. peer alpha, at 0.02\n"), "{told}");
    assert!(node.command(&["route", "history"]).contains("cheapest first"));
    assert!(node.command(&["route", "diff", "1", "2"]).contains("+   2  table = \"rates\""));
    node.command(&["route", "rollback", "1"]);
    assert!(node.command(&["route", "test", "0891234", "--from", "105"]).contains("route germany: holds"));
    assert_eq!(node.command(&["route", "show"]).trim(), ROUTING.trim());
}

#[test]
fn a_carrier_that_does_not_answer_options_comes_last_until_it_does() {
    let there = scenario("options_answered", ALPHA).calls(3);
    let beta = scenario("callee", BETA);
    let node = node(there.local().port(), beta.local().port());
    let probe = "[tenants.default.peers.alpha.probe]\nevery_secs = 1\nfail_after = 1\nrecover_after = 2\n";
    node.api("POST", "/routing", Some(("application/toml", &format!("{ROUTING}{probe}"))));
    node.wait_for_metric("offhook_peers_down", 1.0);
    let told = node.command(&["route", "test", "0891234", "--from", "105"]);
    assert!(told.contains("peer alpha does not answer: it comes last"), "{told}");
    let mut beta = beta.listen();
    calling(&node, "0891234").succeeds();
    beta.succeeds();
    assert_eq!(tried(&node.record()), [("beta".to_string(), 200)]);
    let mut there = there.listen();
    node.wait_for_metric("offhook_peers_down", 0.0);
    let told = node.command(&["route", "test", "0891234", "--from", "105"]);
    assert!(!told.contains("does not answer"), "{told}");
    there.succeeds();
}

//! Rules for headers and numbers of a peer: what goes out, what comes in, and what an operator is told of it beforehand.

use std::net::{IpAddr, Ipv4Addr};

use offhook_e2e::{Node, NodeOptions, sipp::Sipp};

const ALPHA: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
const BETA: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

const RULES: &str = r#"
[tenants.default]
numbers = { country = "49", national = "0", international = "00" }

[[tenants.default.peers.alpha.rules]]
name = "callers in E.164"
direction = "in"
header = "From"
action = "number"
form = "plus"

[[tenants.default.peers.beta.rules]]
direction = "out"
header = "P-Asserted-Identity"
action = "number"
form = "national"

[[tenants.default.peers.beta.rules]]
direction = "out"
header = "Diversion"
action = "user"
strip = "0"
prepend = "+49"

[[tenants.default.peers.beta.rules]]
direction = "out"
header = "Priority"
action = "remove"

[[tenants.default.peers.beta.rules]]
name = "account"
direction = "out"
header = "X-Account"
action = "add"
value = "4711"

[[tenants.default.peers.beta.rules]]
direction = "out"
header = "Request-URI"
action = "host"
value = "carrier.example"
"#;

fn node(beta: u16) -> Node {
    let site = format!(
        "[tenants.default.peers.alpha]\nsources = [\"{ALPHA}\"]\nmay_call = \"outside\"\n\
         [tenants.default.peers.beta]\nsources = [\"{BETA}\"]\nhost = \"{BETA}\"\nport = {beta}\n\
         transport = \"udp\"\nprefixes = [\"0\"]\n"
    );
    Node::start(&NodeOptions { site, ..NodeOptions::default() })
}

fn calling(node: &Node) {
    let caller = Sipp::scenario("caller_diverted", ALPHA).with("t1", 500).with("line", "0049301");
    let caller = caller.with("diverted", "089777").with("callee", "0891234").with("talk_ms", 300);
    caller.call(node.sip()).succeeds();
}

#[test]
fn what_goes_from_peer_to_peer_is_as_the_rules_say() {
    let beta = Sipp::scenario("callee", BETA).with("t1", 500).calls(2);
    let node = node(beta.local().port());
    let mut beta = beta.listen();
    calling(&node);
    let plain = beta.messages();
    assert!(plain.contains("INVITE sip:0891234@127.0.0.6"), "{plain}");
    assert!(plain.contains("Priority: urgent"), "{plain}");
    node.api("POST", "/routing", Some(("application/toml", RULES)));
    calling(&node);
    beta.succeeds();
    let all = beta.messages();
    assert!(!all.contains("inside.carrier.example"), "one peer's hosts reach another: {all}");
    let ruled = all[plain.len()..].to_string();
    for line in [
        "INVITE sip:0891234@carrier.example SIP/2.0",
        "From: <sip:+49301@127.0.0.1>;tag=",
        "P-Asserted-Identity: <sip:0301@127.0.0.1>",
        "Diversion: \"Desk\" <sip:+4989777@127.0.0.1>;reason=no-answer",
        "History-Info: <sip:089777@127.0.0.1>;index=1",
        "X-Account: 4711",
    ] {
        assert!(ruled.contains(line), "{line}: {ruled}");
    }
    assert!(!ruled.contains("Priority:"), "{ruled}");
    assert_eq!(node.metric("offhook_peer_rules_applied_total"), 2.0);
    assert_eq!(node.metric("offhook_peer_rules_too_long_total"), 0.0);
    assert_eq!(node.records(2).iter().filter(|record| record["cause"] == "hung_up").count(), 2);
}

#[test]
fn an_operator_is_told_what_would_go_out_and_why() {
    let node = node(9);
    node.api("POST", "/routing", Some(("application/toml", RULES)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invite.sip");
    let invite = "INVITE sip:0891234@b SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:0049301@a>;tag=1\n\
                  To: <sip:0891234@b>\nCall-ID: 1\nCSeq: 1 INVITE\nMax-Forwards: 70\nPriority: urgent\n\
                  Diversion: <sip:089777@a>\nUser-Agent: x\n";
    std::fs::write(&file, invite).unwrap();
    let file = file.to_str().unwrap();
    let told = node.command(&["edge", "test", file, "--peer", "beta", "--from-peer"]);
    for line in [
        "User-Agent: made anew",
        "rule 0: P-Asserted-Identity: nothing to change",
        "rule 1: Diversion: changed, 1 of it",
        "rule 2: Priority: removed, 1 of it",
        "rule account: X-Account: added",
        "INVITE sip:0891234@carrier.example SIP/2.0",
        "Diversion: <sip:+4989777@a>",
        "X-Account: 4711",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let told = node.command(&["edge", "test", file, "--peer", "beta"]);
    assert!(told.contains("Diversion: stops"), "of a line: {told}");
    let told = node.command(&["edge", "test", file, "--peer", "alpha", "--direction", "in"]);
    assert!(told.contains("From: <sip:+49301@a>;tag=1"), "{told}");
}

#[test]
fn rules_that_cannot_be_change_nothing_and_are_told_with_their_place() {
    let node = node(9);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routing.toml");
    let wrong = "[[tenants.default.peers.beta.rules]]\ndirection = \"out\"\nheader = \"Call-ID\"\naction = \"remove\"\n";
    std::fs::write(&file, wrong).unwrap();
    let set = |file: &std::path::Path| {
        let (succeeded, said) = node.try_command(&["route", "set", file.to_str().unwrap()]);
        assert!(!succeeded, "{said}");
        said
    };
    let said = set(&file);
    assert!(said.contains("tenants.default.peers.beta.rules[0].header: Call-ID is the node's own"), "{said}");
    std::fs::write(&file, wrong.replace("remove", "delete")).unwrap();
    let said = set(&file);
    assert!(said.contains("line 4, column 10: unknown word `delete`; allowed: remove, add"), "{said}");
    assert_eq!(node.command(&["route", "show"]), "");
}

//! SIPp's own built-in scenarios, unchanged, on both sides of the node: two carriers known by their addresses, or for the
//! branch scenario two networks with proxies of their own (docs/decisions/0006).

use std::net::{IpAddr, Ipv4Addr};

use offhook_e2e::{
    Node, NodeOptions,
    capture::Capture,
    kamailio::Kamailio,
    sipp::{Sipp, SippRun},
};
use serde_json::Value;

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const FAR_PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CALLEE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Calls of one scenario, one after the other and some at once.
const CALLS: u32 = 5;

fn between_carriers(client: &'static str, tcp: bool) {
    let server = Sipp::built_in("uas", CALLEE).calls(CALLS);
    let transport = if tcp { "tcp" } else { "udp" };
    let site = format!(
        "[tenants.default.peers.near]\nsources = [\"{CALLER}\"]\nmay_call = \"outside\"\n\
         [tenants.default.peers.far]\nhost = \"{CALLEE}\"\nport = {}\ntransport = \"{transport}\"\nprefixes = [\"00\"]\n",
        server.local().port()
    );
    let node = Node::start(&NodeOptions { site, ..NodeOptions::default() });
    let capture = Capture::start(&node, &[server.local().port()]);
    let mut server = if tcp { server.tcp() } else { server }.listen();
    let calling = Sipp::built_in(client, CALLER).calls(CALLS).arguments(&["-s", "0049301234", "-r", "5"]);
    if tcp { calling.tcp() } else { calling }.call(node.sip()).succeeds();
    server.succeeds();
    for record in node.records(CALLS as usize) {
        assert_eq!(
            (&record["cause"], &record["legs"][1]["peer"]),
            (&"hung_up".into(), &"far".into()),
            "{record:#}"
        );
    }
    // 100, 180, 200 and 200 to one side, INVITE, ACK and BYE to the other.
    capture.finish(&[("sip", 7 * CALLS as usize), ("sdp", 2 * CALLS as usize)]);
}

#[test]
fn sipps_uac_and_uas_talk_over_udp() {
    between_carriers("uac", false);
}

#[test]
fn sipps_uac_and_uas_talk_over_tcp() {
    between_carriers("uac", true);
}

#[test]
fn sipps_regexp_client_finds_what_it_looks_for_in_our_answers() {
    between_carriers("regexp", false);
}

/// The domains that the branch scenarios' From and Request-URI name.
const BRANCH_DOMAINS: &str = "[\"nnl.cym\", \"ca.cym.com\"]";

/// A node with the line that the branch client calls from, and more of the site.
fn branch_node(more: &str) -> Node {
    let site = format!("{}{more}", line("ua1"));
    Node::start(&NodeOptions { site, domains: BRANCH_DOMAINS, ..NodeOptions::default() })
}

fn line(name: &str) -> String {
    format!(
        "[tenants.default.lines.{name}]\npassword = \"password-{name}\"\ncalls_max = 30\nmay_call = \"outside\"\n"
    )
}

/// The branch client knows no password: a proxy before it does. Its 25th call hangs up at once.
#[test]
fn sipps_branch_client_registers_and_calls_through_its_proxy() {
    let calls = 26;
    let node = branch_node(&line("ua2"));
    let server = Sipp::built_in("uas", CALLEE).calls(calls);
    let registering = Sipp::scenario("register", CALLEE).with("t1", 500).line("ua2").at(server.local());
    registering.with("contact", format!("sip:ua2@{}", server.local())).call(node.sip()).succeeds();
    let mut server = server.listen();
    let mut proxy = Kamailio::prepare(PROXY);
    proxy.start_for_line("ua1", node.sip());
    let calling = Sipp::built_in("branchc", CALLER).calls(calls).arguments(&["-r", "26"]);
    calling.call(proxy.udp).succeeds();
    server.succeeds();
    let records = node.records(calls as usize);
    let talked_ms = |record: &Value| record["talk_ms"].as_i64().unwrap_or_default();
    assert_eq!(records.iter().filter(|record| talked_ms(record) < 1000).count(), 1, "{records:#?}");
    for record in records {
        let caller = (&record["cause"], &record["legs"][0]["line"]);
        assert_eq!(caller, (&"hung_up".into(), &"ua1".into()), "{record:#}");
    }
}

/// A carrier that is the branch server: its proxy registers there first, under the Call-ID of the call.
fn branch_server(calls: u32) -> (Kamailio, SippRun, String) {
    let server = Sipp::built_in("branchs", CALLEE).calls(calls).listen();
    let mut proxy = Kamailio::prepare(FAR_PROXY);
    proxy.start_registering(server.local);
    let peer = format!(
        "[tenants.default.peers.far]\nhost = \"{FAR_PROXY}\"\nport = {}\ntransport = \"udp\"\nprefixes = [\"\"]\n",
        proxy.udp.port()
    );
    (proxy, server, peer)
}

/// It takes the calls of those whose From has `ua2`.
#[test]
fn sipps_branch_server_is_registered_at_and_called() {
    let (_proxy, mut server, peer) = branch_server(1);
    let node = branch_node(&(line("ua2") + &peer));
    let calling = Sipp::scenario("caller", CALLER).with("t1", 500).line("ua2").with("callee", "0049301234");
    calling.with("talk_ms", 300).call(node.sip()).succeeds();
    server.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
}

/// Client and server of the branch scenario, both unchanged, are one call apart from success: the server refuses the
/// client's first call with 403, and the client ends a call that never was, which gets 481.
#[test]
fn sipps_branch_pair_gets_as_far_as_a_bye_after_a_refusal() {
    let calls = 2;
    let (_far_proxy, server, peer) = branch_server(calls);
    let node = branch_node(&peer);
    let mut near_proxy = Kamailio::prepare(PROXY);
    near_proxy.start_for_line("ua1", node.sip());
    let mut client = Sipp::built_in("branchc", CALLER).calls(calls).call(near_proxy.udp);
    client.fails();
    let causes: Vec<_> =
        node.records(calls as usize).into_iter().map(|record| record["cause"].clone()).collect();
    assert_eq!(causes, ["declined", "hung_up"], "{}", client.trace());
    let (near, far) = (client.messages(), server.messages());
    assert!(far.contains("SIP/2.0 403 ") && near.contains("SIP/2.0 403 "), "{}", client.trace());
    assert!(near.contains("SIP/2.0 481 "), "{}", client.trace());
}

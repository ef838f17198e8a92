//! SIPp's own built-in scenarios, unchanged, on both sides of the node: two carriers known by their addresses.

use std::net::{IpAddr, Ipv4Addr};

use offhook_e2e::{Node, NodeOptions, sipp::Sipp};

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

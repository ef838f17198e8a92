//! Kamailio as the server of a carrier: TLS between it and the node, in both directions.

use std::net::{IpAddr, Ipv4Addr};

use offhook_e2e::{Node, NodeOptions, kamailio::Kamailio, sipp::Sipp};

const KAMAILIO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));

fn node(kamailio: &Kamailio) -> Node {
    let site = format!(
        "[tenants.default.peers.carrier]\nsources = [\"{KAMAILIO}\"]\nhost = \"{KAMAILIO}\"\nport = {}\n\
         transport = \"tls\"\nprefixes = [\"00\"]\n",
        kamailio.tls.port()
    );
    let sections = format!("[tls]\nauthorities = {:?}\n", kamailio.certificate());
    Node::start(&NodeOptions { site, sections, ..NodeOptions::default() })
}

#[test]
fn a_line_calls_out_through_kamailio_over_tls() {
    let mut kamailio = Kamailio::prepare(KAMAILIO);
    let node = node(&kamailio);
    let mut callee = Sipp::scenario("callee_routed", BEHIND).with("t1", 500).listen();
    kamailio.start(node.sip_tls(), callee.local);
    let calling = Sipp::scenario("caller", LOCAL).with("t1", 500).line("105").with("callee", "0049301234");
    calling.with("talk_ms", 300).call(node.sip()).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}\n{}", kamailio.output());
    assert_eq!(
        (&record["legs"][1]["peer"], &record["legs"][1]["transport"]),
        (&"carrier".into(), &"tls".into())
    );
}

#[test]
fn a_call_comes_in_through_kamailio_over_tls() {
    let mut kamailio = Kamailio::prepare(KAMAILIO);
    let node = node(&kamailio);
    kamailio.start(node.sip_tls(), (BEHIND, 9).into());
    let callee = Sipp::scenario("callee", LOCAL).with("t1", 500);
    let registering = Sipp::scenario("register", LOCAL).with("t1", 500).line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(node.sip()).succeeds();
    let mut callee = callee.listen();
    let calling = Sipp::scenario("caller_open", BEHIND).with("t1", 500).with("line", "0049301234");
    calling.with("callee", "102").with("talk_ms", 300).call(kamailio.udp).succeeds();
    callee.succeeds();
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}\n{}", kamailio.output());
    assert_eq!(
        (&record["legs"][0]["peer"], &record["legs"][0]["transport"]),
        (&"carrier".into(), &"tls".into())
    );
}

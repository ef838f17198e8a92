//! Calls captured from the loopback interface and judged by tshark: nothing that we send is malformed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use offhook_e2e::{Node, NodeOptions, capture::Capture, ports, sipp::Sipp};

fn scenario(name: &'static str, ip: IpAddr) -> Sipp {
    Sipp::scenario(name, ip).with("t1", 500)
}

/// One call from line 101 to 102. Its phone is the same one over UDP and IPv4 all the time, so nothing else rings.
fn call(node: &Node, caller: &'static str, callee: &'static str, ip: IpAddr, tcp: bool, port: u16) {
    let server = if ip.is_ipv4() { node.sip() } else { node.sip_v6() };
    let callee =
        scenario(callee, ip).arguments(&["-rtp_echo"]).with("refusal", "486 Busy Here").at((ip, port).into());
    let transport = if tcp { "tcp" } else { "udp" };
    let registering = scenario("register", ip).line("102");
    let registering =
        registering.with("contact", format!("sip:102@{};transport={transport}", callee.local()));
    if tcp { registering.tcp() } else { registering.at(callee.local()) }.call(server).succeeds();
    let mut callee = if tcp { callee.tcp() } else { callee }.listen();
    let calling = scenario(caller, ip).line("101").with("callee", "102").with("talk_ms", 500);
    let calling = calling.with("hold_ms", 200).with("ring_ms", 0).with("status", "486");
    if tcp { calling.tcp() } else { calling }.call(server).succeeds();
    callee.succeeds();
}

#[test]
fn tshark_finds_nothing_malformed_in_what_the_node_sends() {
    let node = Node::start(&NodeOptions::default());
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let [phone, phone_v6, on_tcp, on_tcp_v6] = [(); 4].map(|()| ports::free());
    let capture = Capture::start(&node, &[on_tcp, on_tcp_v6]);
    for (caller, callee) in [
        ("caller_with_sound", "callee"),
        ("caller_holds", "callee_held"),
        ("caller_updates", "callee_updated"),
        ("caller_pracks", "callee"),
        ("caller", "callee_reliable"),
        ("caller_refused", "callee_refuses"),
        ("caller_cancels", "callee_cancelled"),
    ] {
        call(&node, caller, callee, v4, false, phone);
    }
    call(&node, "caller", "callee", v4, true, on_tcp);
    call(&node, "caller_with_sound", "callee", v6, false, phone_v6);
    call(&node, "caller", "callee", v6, true, on_tcp_v6);
    node.records(10);
    capture.finish(&[("sip", 70), ("sdp", 12), ("rtp", 60)]);
}

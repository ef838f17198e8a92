//! What outlives the process: records, registrations; and how it ends when it is asked to.

use std::net::{IpAddr, Ipv4Addr};

use offhook_e2e::{
    Node, NodeOptions,
    sipp::{Sipp, SippRun},
    wait,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn scenario(name: &'static str) -> Sipp {
    Sipp::scenario(name, LOCAL).with("t1", 500)
}

fn caller(name: &'static str, talk_ms: u32) -> Sipp {
    scenario(name).line("101").with("callee", "102").with("talk_ms", talk_ms)
}

fn register(node: &Node, callee: &Sipp) {
    let registering = scenario("register").line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(node.sip()).succeeds();
}

fn listen(node: &Node) -> SippRun {
    let callee = scenario("callee");
    register(node, &callee);
    callee.listen()
}

#[test]
fn a_record_survives_a_crash() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node);
    caller("caller", 200).call(node.sip()).succeeds();
    callee.succeeds();
    let before = node.record();
    node.crash_and_restart();
    assert_eq!(node.record(), before);
}

#[test]
fn a_registered_phone_still_rings_after_a_restart() {
    let mut node = Node::start(&NodeOptions::default());
    let callee = scenario("callee");
    register(&node, &callee);
    node.wait_for_bindings("102", 1);
    node.process().signal("TERM");
    assert!(node.process().wait(wait::PATIENCE).is_some_and(|status| status.success()), "{}", node.log());
    node.start_again();
    node.wait_for_bindings("102", 1);
    let mut callee = callee.listen();
    caller("caller", 200).call(node.sip()).succeeds();
    callee.succeeds();
}

#[test]
fn a_drained_node_finishes_its_call_and_takes_no_other() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node);
    let mut calling = caller("caller", 3000).call(node.sip());
    node.wait_for_phase("established");
    node.process().signal("TERM");
    wait::until("the node drains", || node.log().contains("draining").then_some(()));
    let refused = scenario("caller_refused").line("103").with("callee", "102").with("status", "503");
    refused.call(node.sip()).succeeds();
    calling.succeeds();
    callee.succeeds();
    assert!(node.process().wait(wait::PATIENCE).is_some_and(|status| status.success()), "{}", node.log());
    node.start_again();
    assert_eq!(node.record()["cause"], "hung_up");
}

//! Faults of the machine under the node. Each is made here, and each time the same is asked: calls that are on go on, what is wrong
//! is said in one line of the log, in `/readyz` and in a metric, and when it is over all works as before.

use std::{
    collections::VecDeque,
    fs,
    net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket},
    path::Path,
    process::Command,
};

use offhook_e2e::{
    Node, NodeOptions, http,
    name_server::NameServer,
    node::report,
    sipp::{Sipp, SippRun},
    wait,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where the carrier of a name is.
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn scenario(name: &'static str) -> Sipp {
    Sipp::scenario(name, LOCAL).with("t1", 500)
}

/// A phone of line 102 that answers so many calls.
fn listen(node: &Node, calls: u32) -> SippRun {
    let callee = scenario("callee").calls(calls);
    let contact = format!("sip:102@{}", callee.local());
    scenario("register").line("102").at(callee.local()).with("contact", contact).call(node.sip()).succeeds();
    callee.listen()
}

fn calling(node: &Node, line: &str, talk_ms: u32) -> SippRun {
    scenario("caller").line(line).with("callee", "102").with("talk_ms", talk_ms).call(node.sip())
}

fn refused(node: &Node, status: &str) {
    let calling = scenario("caller_refused").line("103").with("callee", "102").with("status", status);
    calling.call(node.sip()).succeeds();
}

/// The trouble shows everywhere, and once in the log.
fn wait_for_trouble(node: &Node, what: &str) {
    node.wait_for_metric(&format!("offhook_trouble{{what=\"{what}\"}}"), 1.0);
    let ready = http::request(node.http, "GET", "/readyz", None, None).expect("it answers");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(ready.body.contains(&format!("trouble {what}: ")), "{ready:?}");
    let log = node.log();
    let lines = log
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains(" WARN "))
        .filter(|line| line.contains(what));
    assert_eq!(lines.count(), 1, "{log}");
}

/// It is over, and two phones can call each other.
fn wait_for_the_end(node: &Node, what: &str) {
    node.wait_for_metric(&format!("offhook_trouble{{what=\"{what}\"}}"), 0.0);
    let mut callee = listen(node, 1);
    calling(node, "104", 200).succeeds();
    callee.succeeds();
    assert!(node.log().lines().any(|line| line.contains("over: ") && line.contains(what)), "{}", node.log());
}

/// A node with the shim, and the file that says what is wrong.
fn fragile_node(directory: &Path) -> (Node, std::path::PathBuf) {
    let (shim, faults) = (directory.join("faults.so"), directory.join("faults"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shims/faults.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "no C compiler\nhint: `scripts/setup.sh test` installs one"
    );
    fs::write(&faults, "none\n").expect("it can be written");
    let set = |name, path: &Path| (name, path.to_string_lossy().into_owned());
    let environment = vec![set("LD_PRELOAD", &shim), set("FAULTS", &faults)];
    (Node::start(&NodeOptions { environment, ..NodeOptions::default() }), faults)
}

#[test]
fn a_full_disk_delays_records_and_nothing_else() {
    let Some(mut node) = Node::start_on_small_disk(&NodeOptions::default(), 4096) else {
        return report("not run: mounting a small file system needs root");
    };
    let mut callee = listen(&node, 2);
    let mut first = calling(&node, "101", 4000);
    node.wait_for_phase("established");
    let filler = node.directory().join("data/filler");
    // More than there is room for: not one octet more fits then.
    assert!(fs::write(&filler, vec![0; 8 << 20]).is_err());
    calling(&node, "103", 200).succeeds();
    wait_for_trouble(&node, "records");
    first.succeeds();
    callee.succeeds();
    fs::remove_file(&filler).expect("it is there");
    wait_for_the_end(&node, "records");
    node.records(3);
    assert!(node.process().is_running());
}

#[test]
fn a_read_only_disk_delays_records_and_registrations_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (node, faults) = fragile_node(directory.path());
    let mut callee = listen(&node, 1);
    node.wait_for_bindings("102", 1);
    fs::write(&faults, "readonly\n").expect("it can be written");
    calling(&node, "101", 500).succeeds();
    callee.succeeds();
    wait_for_trouble(&node, "records");
    let again = listen(&node, 1);
    wait_for_trouble(&node, "registrations");
    drop(again);
    fs::write(&faults, "none\n").expect("it can be written");
    wait_for_the_end(&node, "records");
    node.wait_for_metric("offhook_trouble{what=\"registrations\"}", 0.0);
    node.records(2);
}

/// Nobody on the phone waits for the disk.
#[test]
fn a_slow_disk_is_not_heard() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (node, faults) = fragile_node(directory.path());
    fs::write(&faults, "slow 1500\n").expect("it can be written");
    let mut callee = listen(&node, 10);
    let caller = scenario("caller").line("101").with("callee", "102").with("talk_ms", 100).calls(10);
    let mut calls = caller.arguments(&["-r", "5"]).call(node.sip());
    calls.succeeds();
    callee.succeeds();
    assert!(!calls.messages().contains("SIP/2.0 5"), "{}", calls.messages());
    node.records(10);
}

#[test]
fn a_wall_clock_that_is_set_ends_no_call_and_no_registration() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (node, faults) = fragile_node(directory.path());
    let mut callee = listen(&node, 1);
    let mut call = calling(&node, "101", 6000);
    node.wait_for_phase("established");
    // A day: longer than any registration.
    fs::write(&faults, "clock 86400\n").expect("it can be written");
    wait_for_trouble(&node, "clock");
    node.wait_for_bindings("102", 1);
    call.succeeds();
    callee.succeeds();
    assert_eq!(node.record()["cause"], "hung_up");
    wait_for_the_end(&node, "clock");
    fs::write(&faults, "none\n").expect("it can be written");
    node.wait_for_metric("offhook_trouble{what=\"clock\"}", 1.0);
    node.wait_for_metric("offhook_trouble{what=\"clock\"}", 0.0);
    node.wait_for_bindings("102", 2);
}

#[test]
fn without_descriptors_new_calls_are_refused_and_running_ones_go_on() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, 1);
    let mut first = calling(&node, "101", 5000);
    node.wait_for_phase("established");
    let limit = |node: &mut Node, files: usize| {
        let pid = node.process().id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit is part of util-linux");
    };
    // What is open may stay open, and there is no room below.
    let none = node.first_free_descriptor();
    limit(&mut node, none);
    refused(&node, "503");
    limit(&mut node, 4096);
    wait_for_trouble(&node, "media");
    first.succeeds();
    callee.succeeds();
    wait_for_the_end(&node, "media");
}

#[test]
fn without_media_ports_new_calls_are_refused_and_running_ones_go_on() {
    let node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, 1);
    let mut first = calling(&node, "101", 4000);
    node.wait_for_phase("established");
    // Another program takes what is left of the range.
    let taken: Vec<_> =
        (node.media.first..=node.media.last).filter_map(|port| UdpSocket::bind((LOCAL, port)).ok()).collect();
    assert!(!taken.is_empty());
    refused(&node, "503");
    wait_for_trouble(&node, "media");
    first.succeeds();
    callee.succeeds();
    drop(taken);
    wait_for_the_end(&node, "media");
}

/// Who is named by an address, or is a line, is called as ever.
#[test]
fn without_dns_only_calls_to_names_are_refused() {
    let names = NameServer::start(CARRIER);
    let carrier = Sipp::built_in("uas", CARRIER.into()).calls(2);
    let site = format!(
        "[tenants.default.peers.carrier]\nhost = \"sip.carrier.example\"\nport = {}\ntransport = \"udp\"\nprefixes = [\"00\"]\n",
        carrier.local().port()
    );
    let sections = format!("[dns]\nservers = [\"{}\"]\n", names.address());
    let node = Node::start(&NodeOptions { site, sections, ..NodeOptions::default() });
    let mut carrier = carrier.listen();
    let mut callee = listen(&node, 2);
    let outside = || scenario("caller").line("105").with("callee", "0049301234").with("talk_ms", 200);
    outside().call(node.sip()).succeeds();
    let mut first = calling(&node, "104", 9000);
    node.wait_for_phase("established");
    names.answer(false);
    let refused = scenario("caller_refused").line("105").with("callee", "0049301234").with("status", "502");
    refused.call(node.sip()).succeeds();
    wait_for_trouble(&node, "dns");
    calling(&node, "103", 200).succeeds();
    first.succeeds();
    callee.succeeds();
    names.answer(true);
    outside().call(node.sip()).succeeds();
    carrier.succeeds();
    wait_for_the_end(&node, "dns");
}

/// A phone that has gone mad: 10,000 connections without a word.
#[test]
fn silent_connections_without_end_cost_nobody_a_call() {
    let node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node, 1);
    let mut first = calling(&node, "101", 3000);
    node.wait_for_phase("established");
    let memory = node.resident_kib();
    let mut held = VecDeque::new();
    for _ in 0..10_000 {
        held.push_back(TcpStream::connect(node.sip()).expect("the node listens"));
        // As many as this process may have open; the node holds no more either.
        if held.len() > 600 {
            held.pop_front();
        }
    }
    wait_for_trouble(&node, "connection_limit");
    let grown = node.resident_kib().saturating_sub(memory);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    first.succeeds();
    callee.succeeds();
    drop(held);
    wait_for_the_end(&node, "connection_limit");
    wait::until("the connections are gone", || {
        (node.metric("offhook_net_events_total{event=\"connections_open\"}") == 0.0).then_some(())
    });
}

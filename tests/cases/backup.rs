//! Backups from outside: the node goes on from one in another directory.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use offhook_e2e::{
    Node, NodeOptions,
    node::binary,
    sipp::{Sipp, SippRun},
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn scenario(name: &'static str) -> Sipp {
    Sipp::scenario(name, LOCAL).with("t1", 500)
}

fn registering(callee: &Sipp) -> Sipp {
    scenario("register").line("102").at(callee.local()).with("contact", format!("sip:102@{}", callee.local()))
}

/// A phone of line 102 that is registered and answers.
fn listen(node: &Node) -> SippRun {
    let callee = scenario("callee");
    registering(&callee).call(node.sip()).succeeds();
    callee.listen()
}

fn call(node: &Node) {
    let calling = scenario("caller").line("101").with("callee", "102").with("talk_ms", 200);
    calling.call(node.sip()).succeeds();
}

/// What the program said in the node's directory, and whether it succeeded.
fn run(node: &Node, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(words).arg("--config").arg(node.directory().join("offhook.toml"));
    let done = command.current_dir(node.directory()).output().expect("the program starts");
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.success(), said)
}

/// Goal: what a backup of a running node holds is what it had then. Method: back up between two calls, lose everything, restore.
#[test]
fn a_node_comes_back_from_a_backup_made_while_it_ran() {
    let mut node = Node::start(&NodeOptions::default());
    let mut callee = listen(&node);
    call(&node);
    callee.succeeds();
    let before = node.record();
    node.wait_for_bindings("102", 1);
    let passphrase = node.directory().join("passphrase");
    fs::write(&passphrase, "correct horse battery\n").expect("it can be written");
    let passphrase = passphrase.to_string_lossy().into_owned();
    let with_keys = ["--passphrase-file", &passphrase];
    let (done, said) = run(&node, &[&["backup", "all.tar"][..], &with_keys].concat());
    assert!(done && said.contains("sealed"), "{said}");
    let (done, said) = run(&node, &[&["restore", "all.tar", "--yes"][..], &with_keys].concat());
    assert!(!done && said.contains("a node is running"), "{said}");
    let mut callee = listen(&node);
    call(&node);
    callee.succeeds();
    node.records(2);
    node.process().kill();
    fs::remove_dir_all(node.directory().join("data")).expect("it is there");
    let (done, said) = run(&node, &[&["restore", "all.tar", "--yes"][..], &with_keys].concat());
    assert!(done && said.contains("5 lines and 1 call records"), "{said}");
    node.start_again();
    assert_eq!(node.record(), before, "with the token of before");
}

/// A node on a backup knows nothing of calls that began since: those that were on when its forerunner died are not gone on with.
#[test]
fn calls_of_the_replaced_node_do_not_come_back_with_a_backup() {
    let mut node = Node::start(&NodeOptions::default());
    let (done, said) = run(&node, &["backup", "all.tar"]);
    assert!(done, "{said}");
    let _callee = listen(&node);
    let calling = scenario("caller").line("101").with("callee", "102").with("talk_ms", 60_000);
    let _calling = calling.call(node.sip());
    node.wait_for_phase("established");
    node.wait_for_metric("offhook_calls_kept", 1.0);
    node.process().kill();
    let (done, said) = run(&node, &["restore", "all.tar", "--yes"]);
    assert!(done, "{said}");
    node.start_again();
    assert!(!node.log().contains("resumed"), "{}", node.log());
    assert_eq!(node.metric("offhook_calls"), 0.0);
}

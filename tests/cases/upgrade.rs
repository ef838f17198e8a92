//! Upgrade in place: the node goes on in another process.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    process::Command,
};

use offhook_e2e::{
    Node, NodeOptions,
    sipp::{Sipp, SippRun},
    wait,
};

use crate::outage::media_flows_again;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CALLEE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Calls of a load, each of two seconds: fifty are on at any time, and in every phase.
const CALLS: u32 = 200;
const PER_SECOND: &str = "25";
const TALK_MS: &str = "2000";

fn scenario(name: &'static str) -> Sipp {
    Sipp::scenario(name, LOCAL).with("t1", 500)
}

/// Calls that come and go between two carriers. Their media does not pass the node: the test's ports would not do for so many.
struct Load {
    calling: SippRun,
    called: SippRun,
}

impl Load {
    /// A node with carriers, and calls on it.
    fn start() -> (Node, Self) {
        let callee = Sipp::built_in("uas", CALLEE).calls(CALLS);
        let site = format!(
            "[tenants.default.peers.near]\nsources = [\"{CALLER}\"]\nmay_call = \"outside\"\nanchor_media = false\n\
             [tenants.default.peers.far]\nhost = \"{CALLEE}\"\nport = {}\ntransport = \"udp\"\nprefixes = [\"00\"]\n",
            callee.local().port()
        );
        // A machine that builds and tests beside it is at its limit; this is not about that.
        let limits = "overload_wait_ms = 0".into();
        let node = Node::start(&NodeOptions { site, limits, ..NodeOptions::default() });
        let called = callee.listen();
        let arguments = ["-s", "0049301234", "-r", PER_SECOND, "-d", TALK_MS];
        let calling = Sipp::built_in("uac", CALLER).calls(CALLS).arguments(&arguments).call(node.sip());
        let load = Self { calling, called };
        load.wait_for_many(&node);
        (node, load)
    }

    fn wait_for_many(&self, node: &Node) {
        wait::until("many calls are on", || (node.metric("offhook_calls") >= 20.0).then_some(()));
    }

    /// Every call was answered and ended in good order, and has its record.
    fn succeeds(mut self, node: &Node) {
        self.calling.succeeds();
        self.called.succeeds();
        for record in node.records(CALLS as usize) {
            assert_eq!(
                (&record["cause"], &record["ended_by"]),
                (&"hung_up".into(), &"caller".into()),
                "{record:#}"
            );
        }
        node.wait_for_metric("offhook_calls", 0.0);
    }
}

/// Goal: no call is lost, whatever stands it is in. Method: two upgrades while many calls begin, ring, are on and end.
#[test]
fn calls_go_on_through_upgrades_under_load() {
    let (mut node, load) = Load::start();
    node.take_over();
    assert!(node.metric("offhook_calls_resumed_total{outcome=\"going_on\"}") >= 10.0, "{}", node.log());
    load.wait_for_many(&node);
    assert_eq!(node.upgrade(), ("A new process serves.\n".into(), true));
    load.succeeds(&node);
}

#[test]
fn media_flows_on_through_an_upgrade() {
    media_flows_again(Node::take_over);
}

/// Goal: who registers while the process changes does not notice, over UDP at least. Method: 200 registrations, 50 in a second,
/// and two changes meanwhile.
#[test]
fn no_registration_is_lost_in_an_upgrade() {
    let mut node = Node::start(&NodeOptions::default());
    let callee = scenario("callee");
    let contact = format!("sip:102@{}", callee.local());
    scenario("register").line("102").at(callee.local()).with("contact", contact).call(node.sip()).succeeds();
    let mut rush = scenario("register")
        .line("103")
        .with("contact", "sip:103@127.0.0.1:6999")
        .calls(200)
        .arguments(&["-r", "50"])
        .call(node.sip());
    wait::until("they register", || (node.metric("offhook_bindings") >= 2.0).then_some(()));
    node.take_over();
    assert_eq!(node.upgrade(), ("A new process serves.\n".into(), true));
    rush.succeeds();
    node.wait_for_bindings("102", 1);
    node.wait_for_bindings("103", 1);
    let mut callee = callee.listen();
    scenario("caller").line("101").with("callee", "102").with("talk_ms", 200).call(node.sip()).succeeds();
    callee.succeeds();
}

/// Goal: a new version that does not start leaves the old one serving. Method: a configuration that is wrong, which the new
/// process sees at once, and one that turns out to be only after the old process has stopped reading; under load.
#[test]
fn a_new_version_that_does_not_start_leaves_the_old_one_serving() {
    let (mut node, load) = Load::start();
    let file = node.directory().join("offhook.toml");
    let good = fs::read_to_string(&file).expect("the node's configuration");
    fs::write(&file, good.replace("[sip]", "[sip]\nno_such_setting = 1")).expect("it can be written");
    let pid = node.process().id().to_string();
    assert!(Command::new("kill").args(["-USR2", &pid]).status().is_ok_and(|status| status.success()));
    let ended = "the new process has ended: this one serves on";
    wait::until("the new process ends", || node.log().contains(ended).then_some(()));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let occupied = taken.local_addr().expect("it is bound");
    let bad = good.replacen("listen = [", &format!("listen = [\"tcp://{occupied}\", "), 1);
    fs::write(&file, bad).expect("it can be written");
    let (said, done) = node.upgrade();
    assert!(!done && said.contains("not upgraded: the new version ended"), "{said}");
    assert!(said.contains("hint: ") && node.log().contains("did not take over"), "{said}\n{}", node.log());
    fs::write(&file, good).expect("it can be written");
    assert!(node.upgrade().1);
    load.succeeds(&node);
}

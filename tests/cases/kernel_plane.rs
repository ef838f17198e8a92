//! Media in the kernel: a node between two networks, and one without the right to it.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use offhook_e2e::{
    Node, NodeOptions,
    netns::{BpfDirectory, Ear, Network},
    sipp::{Sipp, SippRun},
    wait,
};
use serde_json::Value;

const IN_USER_SPACE: &str = "media goes through user space";
const STREAMS: &str = "offhook_media_kernel_streams";

/// How long the caller talks: the process changes amid it.
const TALK_MS: u32 = 9000;

/// A node between the networks of two phones.
struct Stage {
    node: Node,
    left: Network,
    right: Network,
    _pins: BpfDirectory,
}

impl Stage {
    /// None where the kernel cannot have the plane; why stands past the test harness on standard error.
    fn set() -> Option<Self> {
        let made = Self::make();
        if let Err(why) = &made {
            let _ = writeln!(io::stderr(), "SKIPPED, the in-kernel plane is not tested here: {why}");
        }
        made.ok()
    }

    fn make() -> Result<Self, String> {
        let (left, right, pins) = (Network::make()?, Network::make()?, BpfDirectory::mount()?);
        let addresses = vec![left.node(), right.node()];
        let media = format!("kernel_pins = {:?}", pins.path());
        let node = Node::start(&NodeOptions { addresses, media, ..NodeOptions::default() });
        node.wait_for_kernel_plane()?;
        Ok(Self { node, left, right, _pins: pins })
    }

    /// Waits until the kernel has carried half a second of sound both ways. A packet that was on its way through user space when
    /// the kernel began takes the stream back once; that is over then.
    fn wait_until_carried(&self) {
        let carried = || self.node.metric("offhook_media_kernel_packets_total");
        wait::until("the kernel carries the call", || (self.node.metric(STREAMS) == 1.0).then_some(()));
        let before = carried();
        wait::until("half a second of sound in the kernel", || {
            (carried() >= before + 50.0 && self.node.metric(STREAMS) == 1.0).then_some(())
        });
    }

    /// A call from left to right with sound both ways, once the kernel carries it: the caller and the callee.
    fn call(&self, talk_ms: u32) -> (SippRun, SippRun) {
        let at = |network: &Network| (network.node(), self.node.sip_port).into();
        let scenario =
            |name, network: &Network| Sipp::scenario(name, network.phone()).with("t1", 500).within(network);
        let callee = scenario("callee", &self.right).arguments(&["-rtp_echo"]);
        let registering = scenario("register", &self.right).line("102").at(callee.local());
        registering.with("contact", format!("sip:102@{}", callee.local())).call(at(&self.right)).succeeds();
        let callee = callee.listen();
        let calling = scenario("caller_with_sound", &self.left).line("101").with("callee", "102");
        let calling = calling.with("talk_ms", talk_ms).call(at(&self.left));
        self.wait_until_carried();
        (calling, callee)
    }
}

fn packets(record: &Value, leg: usize, name: &str) -> u64 {
    record["legs"][leg]["streams"][0][name].as_u64().unwrap_or_default()
}

#[test]
fn the_kernel_carries_an_established_call_and_the_record_counts_it_all() {
    let Some(mut stage) = Stage::set() else { return };
    let (mut calling, mut callee) = stage.call(6000);
    calling.succeeds();
    callee.succeeds();
    let node = &mut stage.node;
    let record = node.record();
    node.wait_for_metric(STREAMS, 0.0);
    let in_kernel = node.metric("offhook_media_kernel_packets_total");
    let in_user_space = node.metric("offhook_media_packets_total");
    let lost = packets(&record, 0, "packets_lost") + packets(&record, 1, "packets_lost");
    let relayed = packets(&record, 0, "packets_received") + packets(&record, 1, "packets_received");
    assert!(lost == 0 && relayed > 400, "six seconds both ways: {record:#}");
    assert!(
        in_kernel > 200.0 && in_user_space < relayed as f64,
        "{in_kernel} and {in_user_space} of {relayed}"
    );
    node.process().signal("TERM");
    assert!(node.process().wait(wait::PATIENCE).is_some_and(|status| status.success()), "{}", node.log());
}

/// Goal: phones do not notice that the node's process is gone or another. Method: what comes to each phone is captured; from the
/// first packet to the last not one is missing, and the record is that of one undisturbed call.
fn sound_never_stops(change: impl FnOnce(&mut Stage)) {
    let Some(mut stage) = Stage::set() else { return };
    let [left, right] = [&stage.left, &stage.right].map(|network| Ear::open(network, stage.node.directory()));
    let (mut calling, mut callee) = stage.call(TALK_MS);
    change(&mut stage);
    stage.wait_until_carried();
    calling.succeeds();
    callee.succeeds();
    let record = stage.node.record();
    for (phone, ear) in [("caller", left), ("callee", right)] {
        let (came, missing) = ear.close();
        assert!(came > 400 && missing == 0, "the {phone} misses {missing} packets beside {came}: {record:#}");
    }
    for leg in [0, 1] {
        let received = packets(&record, leg, "packets_received");
        assert!(packets(&record, leg, "packets_lost") == 0 && received > 400, "nine seconds: {record:#}");
    }
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"caller".into()), "{record:#}");
    let talked = record["talk_ms"].as_i64().unwrap_or_default();
    assert!(talked >= i64::from(TALK_MS) - 100, "{record:#}");
    stage.node.wait_for_metric("offhook_calls", 0.0);
}

#[test]
fn sound_flows_on_while_the_node_is_down_and_the_call_goes_on_after_it() {
    sound_never_stops(|stage| {
        stage.node.process().kill();
        for phone in [&stage.left, &stage.right] {
            let before = phone.sent();
            wait::until("half a second of sound passes the dead node", || {
                (phone.sent() > before + 25).then_some(())
            });
        }
        stage.node.start_again();
    });
}

#[test]
fn sound_flows_on_while_a_new_process_takes_over() {
    sound_never_stops(|stage| stage.node.take_over());
}

#[test]
fn sound_flows_on_through_an_upgrade() {
    sound_never_stops(|stage| assert_eq!(stage.node.upgrade(), ("A new process serves.\n".into(), true)));
}

#[test]
fn a_node_without_the_right_says_so_once_and_serves() {
    let node = Node::start(&NodeOptions { without_rights: true, ..NodeOptions::default() });
    let scenario = |name| Sipp::scenario(name, IpAddr::V4(Ipv4Addr::LOCALHOST)).with("t1", 500);
    let callee = scenario("callee").arguments(&["-rtp_echo"]);
    let registering = scenario("register").line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(node.sip()).succeeds();
    let mut callee = callee.listen();
    let talking = scenario("caller_with_sound").line("101").with("callee", "102").with("talk_ms", 2000);
    talking.call(node.sip()).succeeds();
    callee.succeeds();
    assert_eq!(node.log().matches(IN_USER_SPACE).count(), 1, "{}", node.log());
    assert!(packets(&node.record(), 0, "packets_received") > 60);
}

//! The in-kernel plane over network namespaces: it carries what user space carried, and nothing else.

mod common;
mod netns;

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{Phone, Stage, rtp};
use netns::{Family, Place, World, can_test};
use offhook_media::{
    DropReason, MediaConfig,
    kernel::{Hook, KernelConfig},
};
use offhook_rtp::stun;
use offhook_switch::media::{StreamConfig, StreamQuality};

/// An empty receiver report.
const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the engine takes between two looks for streams that the kernel may carry.
const SILENCE: Duration = Duration::from_millis(1500);
const FIRST_PORT: u16 = 30_000;

/// Exchanges after which a stream counts as established.
const STEADY: usize = 30;

/// Both planes, and of that in the kernel each hook: what holds on one must hold on all.
const PLANES: [Option<Hook>; 4] = [None, Some(Hook::Tc), Some(Hook::XdpGeneric), Some(Hook::Xdp)];

/// A phone, and where at the node it sends to.
struct Leg {
    phone: Phone,
    node: SocketAddr,
    next: u16,
}

impl Leg {
    fn say(&mut self) -> Vec<u8> {
        let packet = rtp(self.phone.ssrc, self.next);
        self.next = self.next.wrapping_add(1);
        self.send(&packet);
        packet
    }

    fn send(&self, packet: &[u8]) {
        self.phone.rtp.send_to(packet, self.node).unwrap();
    }

    fn control(&self) -> SocketAddr {
        SocketAddr::new(self.node.ip(), self.node.port() + 1)
    }
}

/// A call between the two namespaces.
struct Call {
    stage: Stage,
    alice: Leg,
    bob: Leg,
    hook: Option<Hook>,
}

fn config(world: &World, hook: Option<Hook>) -> MediaConfig {
    let kernel = hook.map(|hook| KernelConfig { pins: Some(world.pins()), hook });
    MediaConfig { ports: FIRST_PORT..=FIRST_PORT + 15, kernel, ..MediaConfig::default() }
}

impl Call {
    fn new(world: &World, family: Family, hook: Option<Hook>) -> Self {
        let stage = world.within(Place::Node, || Stage::with_config(config(world, hook)));
        let phone = |place, ip, ssrc| world.within(place, || Phone::at(ip, ssrc));
        let alice = phone(Place::Alice, family.alice(), 1);
        let bob = phone(Place::Bob, family.bob(), 2);
        let left = stage.open_at(family.left(), 1, 1)[0];
        let right = stage.open_at(family.right(), 2, 1)[0];
        let leg = |phone, ip: IpAddr, port| Leg { phone, node: (ip, port).into(), next: 100 };
        let call = Self {
            hook,
            stage,
            alice: leg(alice, family.left(), left),
            bob: leg(bob, family.right(), right),
        };
        call.describe(1, call.alice.phone.config());
        call.describe(2, call.bob.phone.config());
        call.stage.bridge(1, 2);
        call.stage.settle();
        call
    }

    fn describe(&self, endpoint: u64, config: StreamConfig) {
        self.stage.configure(endpoint, vec![config]);
    }

    /// One packet each way, heard on the other side as it was sent, from the port that the other side knows.
    fn exchange(&mut self) {
        let said = self.alice.say();
        assert_eq!(self.bob.phone.hear(), (said, self.bob.node), "{:?}", self.hook);
        let said = self.bob.say();
        assert_eq!(self.alice.phone.hear(), (said, self.alice.node), "{:?}", self.hook);
    }

    fn wait_for(&self, holds: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < limit, "it never came about");
            std::thread::yield_now();
        }
    }

    fn carried(&self) -> u64 {
        self.stage.handle.snapshot().kernel.map_or(0, |kernel| kernel.streams)
    }

    fn through_user_space(&self) -> u64 {
        self.stage.handle.snapshot().packets_forwarded
    }

    /// Talks until the call is established: in the in-kernel plane, until that carries it.
    fn establish(&mut self) {
        let limit = Instant::now() + PATIENCE;
        loop {
            (0..STEADY).for_each(|_| self.exchange());
            if self.hook.is_none() {
                return;
            }
            // In silence: what waits at a socket when the stream is handed over brings it back.
            let silence = Instant::now() + SILENCE;
            while Instant::now() < silence {
                if self.carried() == 1 {
                    return;
                }
                std::thread::yield_now();
            }
            assert!(Instant::now() < limit, "the kernel never took the call");
        }
    }

    /// Whether `run` goes as it should: past user space where the kernel carries the call, through it where not.
    fn goes_its_way(&mut self, run: impl Fn(&mut Self)) {
        let before = self.through_user_space();
        run(self);
        let came = self.through_user_space() - before;
        assert_eq!(came == 0, self.hook.is_some(), "{:?}: {came} through user space", self.hook);
    }

    fn sent(&self) -> u64 {
        u64::from(self.alice.next - 100)
    }

    fn end(self) -> [StreamQuality; 2] {
        [1, 2].map(|endpoint| self.stage.close(endpoint).remove(0))
    }
}

/// A world whose packets carry checksums as on a wire: who receives them checks them.
fn wire() -> World {
    let world = World::new();
    world.forward();
    for (place, interface) in
        [(Place::Alice, "a0"), (Place::Node, "ra"), (Place::Node, "rb"), (Place::Bob, "b0")]
    {
        world.leave_checksums_to_cards(place, interface, false);
    }
    world
}

#[test]
fn an_established_call_is_carried_and_counted_to_the_packet() {
    if !can_test() {
        return;
    }
    for hook in PLANES {
        for family in [Family::V4, Family::V6] {
            let world = wire();
            let mut call = Call::new(&world, family, hook);
            call.establish();
            call.goes_its_way(|call| (0..500).for_each(|_| call.exchange()));
            let sent = call.sent();
            for quality in call.end() {
                assert_eq!((quality.packets_received, quality.octets_received), (sent, 160 * sent));
                assert_eq!((quality.packets_sent, quality.packets_lost), (sent, 0));
                assert_eq!((quality.packets_refused, quality.codec.as_str()), (0, "PCMA/8000"));
            }
        }
    }
}

#[test]
fn strangers_neither_enter_nor_turn_an_established_stream() {
    if !can_test() {
        return;
    }
    for hook in PLANES {
        let world = wire();
        let mut call = Call::new(&world, Family::V4, hook);
        call.establish();
        // He is at the right host, and knows the port and the source.
        let stranger = world.within(Place::Alice, || Phone::at(Family::V4.alice(), 1));
        for number in 0..20 {
            stranger.rtp.send_to(&rtp(1, 40_000 + number), call.alice.node).unwrap();
        }
        for _ in 0..50 {
            call.exchange();
        }
        assert_eq!(call.carried(), hook.is_some().into(), "{hook:?}: the stream stays where it is");
        // What the kernel carries overtakes what user space refuses.
        call.wait_for(|call| call.stage.handle.snapshot().dropped(DropReason::Stranger) == 20);
        let sent = call.sent();
        let [left, right] = call.end();
        assert_eq!((left.packets_refused, left.packets_received, left.packets_duplicate), (20, sent, 0));
        assert_eq!((right.packets_refused, right.packets_sent), (0, sent));
    }
}

#[test]
fn reports_and_stun_still_reach_user_space_and_what_they_tell_of_is_right() {
    if !can_test() {
        return;
    }
    for hook in PLANES {
        let world = wire();
        let mut call = Call::new(&world, Family::V4, hook);
        call.establish();
        call.alice.phone.rtcp.send_to(&RR, call.alice.control()).unwrap();
        assert_eq!(call.bob.phone.hear_control(), (RR.to_vec(), call.bob.control()));
        call.alice.send(&stun::binding_request(stun::TransactionId([7; 12])));
        let (answer, source) = call.alice.phone.hear();
        assert!(stun::Message::parse(&answer).is_ok() && source == call.alice.node);
        for _ in 0..50 {
            call.exchange();
        }
        // Of what was sent to Bob until here he says that half is lost: that needs the kernel's count.
        let sent = call.sent();
        call.bob.phone.rtcp.send_to(&loss_report(1, sent / 2), call.bob.control()).unwrap();
        call.alice.phone.hear_control();
        assert_eq!(call.carried(), hook.is_some().into());
        let [_, right] = call.end();
        assert!((right.remote_loss.unwrap() - 0.5).abs() < 0.01, "{right:?}");
    }
}

/// A receiver report of source 2 on source `ssrc`.
fn loss_report(ssrc: u32, lost: u64) -> Vec<u8> {
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
    report.extend(ssrc.to_be_bytes());
    report.extend((lost as u32).to_be_bytes());
    report.extend([0; 16]);
    report
}

#[test]
fn rtcp_on_the_media_port_goes_through_user_space() {
    if !can_test() {
        return;
    }
    for hook in PLANES {
        muxed_reports(hook);
    }
}

fn muxed_reports(hook: Option<Hook>) {
    let world = wire();
    let mut call = Call::new(&world, Family::V4, hook);
    let muxed = |leg: &Leg| StreamConfig { rtcp_mux: true, ..leg.phone.config() };
    call.describe(1, muxed(&call.alice));
    call.describe(2, muxed(&call.bob));
    call.establish();
    call.alice.send(&RR);
    assert_eq!(call.bob.phone.hear(), (RR.to_vec(), call.bob.node));
    call.exchange();
    assert_eq!(call.carried(), hook.is_some().into());
}

#[test]
fn hold_takes_a_stream_back_and_resuming_hands_it_over_again() {
    if !can_test() {
        return;
    }
    for hook in PLANES {
        held_and_resumed(hook);
    }
}

fn held_and_resumed(hook: Option<Hook>) {
    let world = wire();
    let mut call = Call::new(&world, Family::V4, hook);
    call.establish();
    call.describe(1, StreamConfig { sends: false, ..call.alice.phone.config() });
    call.stage.settle();
    // Lost: nobody may send to Alice.
    call.bob.say();
    let said = call.alice.say();
    assert_eq!(call.bob.phone.hear().0, said);
    call.wait_for(|call| call.stage.handle.snapshot().dropped(DropReason::Held) > 0);
    call.describe(1, call.alice.phone.config());
    call.stage.settle();
    // The next that Alice hears is not what was said meanwhile.
    call.exchange();
    call.establish();
    call.goes_its_way(|call| (0..50).for_each(|_| call.exchange()));
    let sent = call.sent();
    let [left, right] = call.end();
    assert_eq!((left.packets_received, left.packets_sent), (sent, sent - 1));
    assert_eq!((right.packets_received, right.packets_lost), (sent, 0));
}

/// What a bad network and an odd phone do to Alice's stream, and what is left of it at Bob's; the reports of both legs.
fn troubles(hook: Option<Hook>) -> [StreamQuality; 2] {
    let world = wire();
    let mut call = Call::new(&world, Family::V4, hook);
    call.establish();
    // The same number in either plane.
    while call.alice.next < 20_000 {
        call.exchange();
    }
    let ssrc = call.alice.phone.ssrc;
    let script: [(u32, u16); 18] = [
        (ssrc, 0),
        (ssrc, 1),
        (ssrc, 4),
        (ssrc, 3),
        (ssrc, 4),
        (ssrc, 2), // order, a copy
        (ssrc, 8),
        (ssrc, 9),
        (ssrc, 40),
        (ssrc, 200),
        (ssrc, 201), // losses, short and long
        (ssrc, 120), // late
        (ssrc, 9000),
        (ssrc, 202),
        (ssrc, 9001),
        (ssrc, 9002), // a leap, a restart
        (77, 1),
        (77, 2), // another source
    ];
    for (ssrc, ahead) in script {
        let packet = rtp(ssrc, call.alice.next.wrapping_add(ahead));
        call.alice.send(&packet);
        assert_eq!(call.bob.phone.hear().0, packet, "{hook:?}: nothing is dropped for being odd");
    }
    let mut odd = rtp(77, call.alice.next.wrapping_add(3));
    odd[1] = 18; // not negotiated, from whom we listen to
    call.alice.send(&odd);
    assert_eq!(call.bob.phone.hear().0, odd);
    call.end()
}

/// Goal: a call's record says the same whoever carried it. Method: the same packets on either plane.
#[test]
fn loss_order_copies_leaps_and_new_sources_are_reported_alike_on_both_planes() {
    if !can_test() {
        return;
    }
    let known = |quality: &StreamQuality| StreamQuality {
        // What depends on the time of arrival.
        jitter_ms: 0.0,
        jitter_ms_max: 0.0,
        mos: None,
        ..quality.clone()
    };
    let [user_space, in_kernel @ ..] = PLANES;
    let expected = troubles(user_space).each_ref().map(known);
    assert!(expected[0].packets_lost > 100 && expected[0].packets_duplicate > 0, "{expected:?}");
    for hook in in_kernel {
        assert_eq!(troubles(hook).each_ref().map(known), expected, "{hook:?}");
    }
}

#[test]
fn checksums_that_senders_left_to_their_cards_are_right_in_the_end() {
    if !can_test() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let world = wire();
        // The phones leave them to their cards, as containers do; the node's cards cannot, and write them out: wrong ones
        // would not be heard.
        world.leave_checksums_to_cards(Place::Alice, "a0", true);
        world.leave_checksums_to_cards(Place::Bob, "b0", true);
        let mut call = Call::new(&world, family, Some(Hook::Auto));
        call.establish();
        call.goes_its_way(|call| (0..50).for_each(|_| call.exchange()));
    }
}

#[test]
fn a_host_that_does_not_forward_is_served_all_the_same() {
    if !can_test() {
        return;
    }
    let world = World::new();
    let mut call = Call::new(&world, Family::V4, Some(Hook::Auto));
    call.establish();
    call.goes_its_way(|call| (0..50).for_each(|_| call.exchange()));
}

/// Says to a test what another process of it needs to know.
const NODE: &str = "OFFHOOK_TEST_NODE";

/// Not a test: the node of the test below, in a process that can be killed.
#[test]
fn node_to_be_killed() {
    let Ok(words) = std::env::var(NODE) else { return };
    let words: Vec<SocketAddr> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
    let pins = std::env::var_os("OFFHOOK_TEST_PINS").unwrap().into();
    let kernel = Some(KernelConfig { pins: Some(pins), hook: Hook::Tc });
    let range = FIRST_PORT..=FIRST_PORT + 7;
    let stage = Stage::with_config(MediaConfig { ports: range, kernel, ..MediaConfig::default() });
    let (mut out, mut ports) = (std::io::stdout(), Vec::new());
    for (endpoint, (local, phone)) in
        [(Family::V4.left(), words[0]), (Family::V4.right(), words[1])].iter().enumerate()
    {
        let port = stage.open_at(*local, endpoint as u64, 1)[0];
        let mut config = Phone::new(9).config();
        let remote = config.remote.as_mut().unwrap();
        (remote.rtp, remote.rtcp) = (*phone, *phone);
        stage.configure(endpoint as u64, vec![config]);
        ports.push(port);
    }
    stage.bridge(0, 1);
    stage.settle();
    ports.iter().for_each(|port| writeln!(out, "port {port}").unwrap());
    while stage.handle.snapshot().kernel.unwrap().streams == 0 {
        std::thread::yield_now();
    }
    writeln!(out, "carried").unwrap();
    loop {
        std::thread::park();
    }
}

/// Goal: media goes on while the process is dead, and ends when another process finds nobody to go on with. Method: a node in
/// a process of its own, killed with SIGKILL.
#[test]
fn streams_flow_on_when_the_process_is_killed_and_nothing_stays_when_one_stops() {
    if !can_test() {
        return;
    }
    let world = wire();
    let phone = |place, ip, ssrc| world.within(place, || Phone::at(ip, ssrc));
    let (alice, bob) = (phone(Place::Alice, Family::V4.alice(), 1), phone(Place::Bob, Family::V4.bob(), 2));
    let address = |phone: &Phone| phone.rtp.local_addr().unwrap();
    let mut node = world.within(Place::Node, || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node_to_be_killed", "--nocapture"])
            .env(NODE, format!("{} {}", address(&alice), address(&bob)))
            .env("OFFHOOK_TEST_PINS", world.pins())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut port = || lines.find_map(|line| line.split_once("port ")?.1.parse().ok()).unwrap();
    let leg = |phone, ip: IpAddr, port: u16| Leg { phone, node: (ip, port).into(), next: 0 };
    let mut alice = leg(alice, Family::V4.left(), port());
    let mut bob = leg(bob, Family::V4.right(), port());
    let exchange = |alice: &mut Leg, bob: &mut Leg| {
        let said = alice.say();
        assert_eq!(bob.phone.hear(), (said, bob.node));
        let said = bob.say();
        assert_eq!(alice.phone.hear(), (said, alice.node));
    };
    let carried = std::thread::spawn(move || lines.any(|line| line.contains("carried")));
    while !carried.is_finished() {
        (0..STEADY).for_each(|_| exchange(&mut alice, &mut bob));
        let silence = Instant::now() + SILENCE;
        while Instant::now() < silence && !carried.is_finished() {
            std::thread::yield_now();
        }
    }
    assert!(carried.join().unwrap());
    node.kill().unwrap();
    node.wait().unwrap();
    (0..200).for_each(|_| exchange(&mut alice, &mut bob));

    // The next process gives all ports to another call: nothing of the old one may flow through it.
    let kernel = Some(KernelConfig { pins: Some(world.pins()), hook: Hook::Tc });
    let ports = FIRST_PORT..=FIRST_PORT + 7;
    let config = MediaConfig { ports, kernel, ..MediaConfig::default() };
    let stage = world.within(Place::Node, || Stage::with_config(config));
    exchange(&mut alice, &mut bob);
    stage.open_at(Family::V4.left(), 1, 4);
    alice.say();
    let limit = Instant::now() + PATIENCE;
    let refused = || {
        let counted = stage.handle.snapshot();
        counted.dropped(DropReason::Unbridged) + counted.dropped(DropReason::Stranger)
    };
    while refused() == 0 {
        assert!(Instant::now() < limit, "the packet comes to user space");
        std::thread::yield_now();
    }
    stage.close(1);
    drop(stage);
    let limit = Instant::now() + PATIENCE;
    while world.pins().exists() {
        assert!(Instant::now() < limit, "a clean stop leaves nothing pinned");
        std::thread::yield_now();
    }
}

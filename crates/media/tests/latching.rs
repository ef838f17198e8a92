//! Whom the relay believes, on a virtual clock: RFC 7362 §4 against the attacks of its §5.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::rtp;
use offhook_base::Instant;
use offhook_media::{
    DropReason,
    relay::{
        PortId, Relay, Verdict,
        latch::{LEARNING_WINDOW, REBIND_SILENCE, REBIND_STEPS_MAX},
    },
};
use offhook_switch::media::{EndpointId, MediaEvent, PayloadName, RemoteMedia, StreamConfig};
use proptest::prelude::*;

const ALICE: &str = "192.0.2.10:4000";
const BOB: &str = "198.51.100.20:5000";
const NAT: &str = "203.0.113.7:61000";
const MOVED: &str = "203.0.113.8:62000";
const STRANGER: &str = "203.0.113.66:6666";
const LEFT: EndpointId = EndpointId(1);
const RIGHT: EndpointId = EndpointId(2);

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn config(rtp: &str) -> StreamConfig {
    let rtp = at(rtp);
    StreamConfig {
        remote: Some(RemoteMedia { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) }),
        receives: true,
        sends: true,
        payloads: vec![PayloadName { payload_type: 8, codec: "PCMA".into(), clock_rate: 8000 }],
        ..StreamConfig::default()
    }
}

/// Alice and Bob in a call, and a clock.
struct Call {
    relay: Relay,
    left: [PortId; 2],
    right: [PortId; 2],
    now: Instant,
}

impl Call {
    fn new() -> Self {
        let now = Instant::default() + Duration::from_secs(1);
        let mut relay = Relay::new(Some(Duration::from_secs(60)));
        let left = relay.open(LEFT, 1, now)[0];
        let right = relay.open(RIGHT, 1, now)[0];
        relay.configure(LEFT, vec![config(ALICE)], now);
        relay.configure(RIGHT, vec![config(BOB)], now);
        relay.bridge(LEFT, RIGHT, now);
        Self { relay, left, right, now }
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn packet(&mut self, port: PortId, source: &str, bytes: &[u8]) -> Verdict {
        let mut buffer = [0; 1600];
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.relay.handle_packet(port, at(source), &mut buffer, bytes.len(), self.now)
    }

    /// Alice's port hears this.
    fn say_to_left(&mut self, source: &str, ssrc: u32, sequence_number: u16) -> Verdict {
        self.packet(self.left[0], source, &rtp(ssrc, sequence_number))
    }

    fn taken(&mut self, source: &str, ssrc: u32, sequence_number: u16) -> bool {
        matches!(self.say_to_left(source, ssrc, sequence_number), Verdict::Forward { .. })
    }

    /// Where Bob's sound goes.
    fn destination(&mut self) -> SocketAddr {
        match self.packet(self.right[0], BOB, &rtp(2, 1)) {
            Verdict::Forward { to, through, .. } if through == self.left[0] => to,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_plausible_source_is_believed_and_then_nobody_else() {
    let mut call = Call::new();
    assert_eq!(call.destination(), at(ALICE));
    assert!(call.taken(NAT, 1, 10));
    assert_eq!(call.destination(), at(NAT));
    assert_eq!(call.say_to_left(STRANGER, 1, 11), Verdict::Drop(DropReason::Stranger));
    assert_eq!(call.destination(), at(NAT));
    assert_eq!(call.relay.quality(LEFT).unwrap()[0].packets_refused, 1);
}

#[test]
fn the_announced_address_wins_whenever_it_shows_up() {
    let mut call = Call::new();
    assert!(call.taken(STRANGER, 66, 10));
    call.pass(LEARNING_WINDOW * 2);
    assert!(call.taken(ALICE, 1, 10));
    assert_eq!(call.destination(), at(ALICE));
    assert!(!call.taken(STRANGER, 66, 11));
}

#[test]
fn another_port_of_the_announced_host_outranks_a_stranger_while_we_learn() {
    let mut call = Call::new();
    assert!(call.taken(STRANGER, 66, 10));
    assert!(call.taken("192.0.2.10:4999", 1, 10));
    assert!(!call.taken(STRANGER, 66, 11));
}

#[test]
fn a_payload_type_that_was_not_negotiated_latches_nothing() {
    let mut call = Call::new();
    let mut packet = rtp(66, 1);
    packet[1] = 0;
    assert_eq!(call.packet(call.left[0], STRANGER, &packet), Verdict::Drop(DropReason::Stranger));
    assert_eq!(call.destination(), at(ALICE));
}

#[test]
fn after_the_learning_window_only_the_announced_host_is_believed() {
    let mut call = Call::new();
    assert!(!call.pass(LEARNING_WINDOW).taken(NAT, 1, 1));
    assert!(call.taken("192.0.2.10:4999", 1, 1));
    let mut call = Call::new();
    call.pass(LEARNING_WINDOW);
    let (relay, now) = (&mut call.relay, call.now);
    relay.configure(RIGHT, vec![config(BOB)], now);
    assert!(call.taken(NAT, 1, 1), "the other side's answer opens the window anew");
}

#[test]
fn a_nat_that_changes_its_mapping_is_followed_once_the_old_one_is_silent() {
    let mut call = Call::new();
    assert!(call.taken(NAT, 1, 10));
    assert!(!call.pass(REBIND_SILENCE - Duration::from_millis(1)).taken(MOVED, 1, 25), "too soon");
    call.pass(Duration::from_millis(1));
    assert!(!call.taken(STRANGER, 2, 25), "another SSRC");
    assert!(!call.taken(STRANGER, 1, 10), "a repeated packet");
    assert!(!call.taken(STRANGER, 1, 9), "an old packet");
    assert!(!call.taken(STRANGER, 1, 10 + REBIND_STEPS_MAX + 1), "a wild guess");
    assert!(call.taken(MOVED, 1, 25));
    assert_eq!(call.destination(), at(MOVED));
    assert!(!call.taken(NAT, 1, 26));
}

#[test]
fn signalling_moves_the_media_and_repeating_itself_does_not() {
    let mut call = Call::new();
    assert!(call.taken(NAT, 1, 10));
    let now = call.now;
    call.relay.configure(LEFT, vec![config(ALICE)], now);
    assert_eq!(call.destination(), at(NAT), "what was learnt survives");
    call.relay.configure(LEFT, vec![config("192.0.2.11:4000")], now);
    assert_eq!(call.destination(), at("192.0.2.11:4000"));
}

#[test]
fn reports_follow_the_latch_and_strangers_have_none() {
    let rr = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let mut call = Call::new();
    assert!(call.taken(NAT, 1, 10));
    let to_left = |call: &mut Call| match call.packet(call.right[1], "198.51.100.20:5001", &rr) {
        Verdict::Forward { to, .. } => to,
        other => panic!("{other:?}"),
    };
    assert_eq!(to_left(&mut call), at("203.0.113.7:61001"), "a guess, RFC 3550 §11");
    let control = call.left[1];
    assert_eq!(call.packet(control, STRANGER, &rr), Verdict::Drop(DropReason::Stranger));
    assert!(matches!(call.packet(control, "203.0.113.7:61999", &rr), Verdict::Forward { .. }));
    assert_eq!(to_left(&mut call), at("203.0.113.7:61999"));
}

#[test]
fn dtls_noise_and_ice_checks_go_nowhere() {
    let mut call = Call::new();
    let port = call.left[0];
    assert_eq!(call.packet(port, ALICE, &[22; 50]), Verdict::Drop(DropReason::Dtls));
    assert_eq!(call.packet(port, ALICE, &[0; 3]), Verdict::Drop(DropReason::Stun));
    assert_eq!(call.packet(port, ALICE, &[]), Verdict::Drop(DropReason::Malformed));
    assert_eq!(call.packet(port, ALICE, &[0x9f; 13]), Verdict::Drop(DropReason::Malformed));
}

#[test]
fn the_report_counts_what_was_lost_repeated_and_overtaken() {
    let mut call = Call::new();
    let order = (0..100u16).filter(|n| n % 10 != 5).flat_map(|n| match n {
        20 => vec![21],
        21 => vec![20],
        30 => vec![30, 30],
        n => vec![n],
    });
    for (step, sequence_number) in order.enumerate() {
        // Each packet comes when its timestamp says, but for those that changed places: jitter comes of these alone.
        call.now = Instant::default() + Duration::from_millis(1000 + 20 * u64::from(sequence_number));
        assert!(call.taken(ALICE, 1, sequence_number), "packet {step}");
    }
    call.destination();
    let quality = call.relay.close(LEFT).unwrap().remove(0);
    assert_eq!((quality.packets_received, quality.octets_received), (91, 91 * 160));
    assert_eq!((quality.packets_lost, quality.packets_duplicate, quality.packets_reordered), (10, 1, 1));
    assert_eq!((quality.packets_sent, quality.packets_refused), (1, 0));
    assert_eq!(quality.codec, "PCMA/8000");
    assert!(quality.jitter_ms < 0.01, "{}", quality.jitter_ms);
    assert!(quality.mos.unwrap() < 3.5, "10% lost is heard: {:?}", quality.mos);
    assert_eq!(call.relay.close(LEFT), None, "once");
}

#[test]
fn the_round_trip_to_each_leg_is_read_from_reports_that_pass() {
    use offhook_rtp::{
        rtcp::{CompoundWriter, NtpTimestamp, ReportBlock, SenderInfo},
        rtp::Ssrc,
    };
    let mut call = Call::new();
    call.destination();
    let info = SenderInfo { ntp: NtpTimestamp(77 << 16), ..SenderInfo::default() };
    let mut buffer = [0; 200];
    let mut writer = CompoundWriter::new(&mut buffer);
    writer.sender_report(Ssrc(2), &info, &[]).unwrap();
    let report = writer.written().to_vec();
    call.packet(call.right[1], "198.51.100.20:5001", &report);
    call.pass(Duration::from_millis(1080));
    let block = ReportBlock {
        ssrc: Ssrc(2),
        cumulative_lost: 1,
        last_sender_report: 77,
        delay_since_last_sender_report: 65_536,
        ..ReportBlock::default()
    };
    let mut writer = CompoundWriter::new(&mut buffer);
    writer.receiver_report(Ssrc(1), &[block]).unwrap();
    let answer = writer.written().to_vec();
    call.packet(call.left[1], "192.0.2.10:4001", &answer);
    let quality = call.relay.close(LEFT).unwrap().remove(0);
    assert!((quality.round_trip_ms.unwrap() - 80.0).abs() < 0.1, "{quality:?}");
    assert_eq!(quality.remote_loss, Some(1.0));
}

fn silences(call: &mut Call) -> Vec<(EndpointId, Duration)> {
    let mut told = Vec::new();
    call.relay.check_silence(call.now, |event| match event {
        MediaEvent::Silent { endpoint, lasted } => told.push((endpoint, lasted)),
        other => panic!("{other:?}"),
    });
    told
}

#[test]
fn a_bridge_that_fell_silent_is_told_of_once() {
    let mut call = Call::new();
    call.pass(Duration::from_secs(59));
    assert_eq!(silences(&mut call), []);
    assert!(call.taken(ALICE, 1, 1));
    call.pass(Duration::from_secs(59));
    assert_eq!(silences(&mut call), [], "one side is enough");
    call.pass(Duration::from_secs(1));
    assert_eq!(silences(&mut call), [(LEFT, Duration::from_secs(60))]);
    call.pass(Duration::from_secs(100));
    assert_eq!(silences(&mut call), []);
}

#[test]
fn a_call_on_hold_may_be_silent_for_ever() {
    let mut call = Call::new();
    let now = call.now;
    call.relay.configure(LEFT, vec![StreamConfig { receives: false, ..config(ALICE) }], now);
    call.pass(Duration::from_secs(10_000));
    assert_eq!(silences(&mut call), []);
}

#[test]
fn a_new_partner_hears_and_the_former_one_does_not() {
    let mut call = Call::new();
    let third = EndpointId(3);
    let now = call.now;
    let port = call.relay.open(third, 1, now)[0][0];
    call.relay.configure(third, vec![config("192.0.2.30:7000")], now);
    call.relay.bridge(LEFT, third, now);
    assert!(matches!(call.say_to_left(ALICE, 1, 1), Verdict::Forward { through, .. } if through == port));
    let from_bob = call.packet(call.right[0], BOB, &rtp(2, 1));
    assert_eq!(from_bob, Verdict::Drop(DropReason::Unbridged));
    call.relay.close(third);
    assert_eq!(call.say_to_left(ALICE, 1, 2), Verdict::Drop(DropReason::Unbridged));
}

proptest! {
    /// Goal: no stranger is ever forwarded or answered with media once the leg was heard. Method: whatever a stranger
    /// sends, with any SSRC but the leg's, in any order and at any time between the leg's own packets.
    #[test]
    fn spraying_never_redirects_nor_passes(
        steps in prop::collection::vec(
            (0u8..3, 1u16..2000, any::<u16>(), 0u64..2000, prop::collection::vec(any::<u8>(), 0..60)),
            1..200,
        ),
        through_nat in any::<bool>(),
    ) {
        let leg = if through_nat { NAT } else { ALICE };
        let mut call = Call::new();
        let mut next = 1;
        prop_assert!(call.taken(leg, 1, next));
        for (kind, host, sequence_number, millis, noise) in steps {
            call.pass(Duration::from_millis(millis));
            let source = format!("198.18.{}.{}:{}", host >> 8, host & 255, 1024 + host);
            let verdict = match kind {
                0 => call.say_to_left(&source, 2 + u32::from(host), sequence_number),
                1 => call.packet(call.left[usize::from(host) % 2], &source, &noise),
                _ => {
                    next += 1;
                    prop_assert!(call.taken(leg, 1, next));
                    continue;
                }
            };
            prop_assert!(!matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
            prop_assert_eq!(call.destination(), at(leg));
        }
    }

    /// Whatever comes to any port, the relay decides without a panic, also in opaque sections.
    #[test]
    fn any_bytes_from_anywhere_are_decided_on(
        packets in prop::collection::vec((0u8..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 1..50),
        opaque in any::<bool>(),
    ) {
        let mut call = Call::new();
        if opaque {
            let now = call.now;
            call.relay.configure(LEFT, vec![StreamConfig { payloads: Vec::new(), ..config(ALICE) }], now);
        }
        for (port, known, bytes) in packets {
            let [left, right] = [call.left, call.right];
            let port = [left[0], left[1], right[0], right[1]][usize::from(port)];
            call.packet(port, if known { ALICE } else { STRANGER }, &bytes);
        }
        prop_assert_eq!(call.relay.close(LEFT).map(|streams| streams.len()), Some(1));
    }
}

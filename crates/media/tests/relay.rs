//! The engine on real sockets.

mod common;

use common::{LOCAL, Phone, Stage, free_range, receive, rtp};
use offhook_base::{CryptoSuite, MasterKey};
use offhook_media::DropReason;
use offhook_rtp::{
    rtp::{PayloadType, Ssrc},
    srtp::{OVERHEAD_MAX, Protector, SrtcpMode, Unprotector},
    stun,
};
use offhook_switch::media::{
    EndpointId, MediaCommand, MediaEvent, OpenError, RemoteMedia, StreamConfig, StreamCrypto,
};

/// An empty receiver report.
const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

/// Two phones in a call: their ports at the engine.
fn call(stage: &Stage, alice: StreamConfig, bob: StreamConfig) -> (u16, u16) {
    let (left, right) = (stage.open(1, 1)[0], stage.open(2, 1)[0]);
    stage.configure(1, vec![alice]);
    stage.configure(2, vec![bob]);
    stage.bridge(1, 2);
    stage.settle();
    (left, right)
}

#[test]
fn sound_and_reports_pass_both_ways_through_each_others_ports() {
    let stage = Stage::new(8);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let (left, right) = call(&stage, alice.config(), bob.config());
    assert!(left % 2 == 0 && right % 2 == 0);
    for sequence_number in 0..50 {
        alice.say(left, sequence_number);
        assert_eq!(bob.hear(), (rtp(1, sequence_number), (LOCAL, right).into()));
        bob.say(right, sequence_number);
        assert_eq!(alice.hear(), (rtp(2, sequence_number), (LOCAL, left).into()));
    }
    alice.rtcp.send_to(&RR, (LOCAL, left + 1)).unwrap();
    assert_eq!(bob.hear_control(), (RR.to_vec(), (LOCAL, right + 1).into()));
    let snapshot = stage.handle.snapshot();
    assert_eq!((snapshot.endpoints, snapshot.ports_in_use), (2, 4));
    let quality = stage.close(1).remove(0);
    assert_eq!(quality.codec, "PCMA/8000");
    assert_eq!((quality.packets_received, quality.octets_received, quality.packets_sent), (50, 8000, 50));
    assert_eq!((quality.packets_lost, quality.packets_refused), (0, 0));
    assert!(quality.mos.unwrap() > 4.0, "{quality:?}");
    stage.close(2);
    stage.settle();
    let snapshot = stage.handle.snapshot();
    assert_eq!((snapshot.packets_forwarded, snapshot.octets_forwarded), (101, 100 * 172 + 8));
    assert_eq!((snapshot.endpoints, snapshot.ports_in_use), (0, 0));
}

/// Goal: one packet does not occupy us for ever. Method: two calls whose legs announce the ports of each other's legs, so
/// that what comes to any of them goes round all four.
#[test]
fn a_packet_does_not_go_round_in_a_circle_of_our_own_ports() {
    let stage = Stage::new(8);
    let stranger = Phone::new(1);
    let ports: Vec<u16> = (1..=4).map(|endpoint| stage.open(endpoint, 1)[0]).collect();
    let at = |port: u16| StreamConfig {
        remote: Some(RemoteMedia { rtp: (LOCAL, port).into(), rtcp: (LOCAL, port + 1).into() }),
        ..stranger.config()
    };
    // 1 and 2 are a call, 3 and 4 another; 2 sends to 3, and 4 to 1.
    for (endpoint, remote) in [(1, 3), (2, 2), (3, 1), (4, 0)] {
        stage.configure(endpoint, vec![at(ports[remote])]);
    }
    stage.bridge(1, 2);
    stage.bridge(3, 4);
    stage.settle();
    for sequence_number in 0..10 {
        stranger.say(ports[0], sequence_number);
    }
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let circling = || stage.handle.snapshot().dropped(DropReason::Circling);
    while circling() < 10 && std::time::Instant::now() < patience {
        std::thread::yield_now();
    }
    let snapshot = stage.handle.snapshot();
    assert!(snapshot.packets_forwarded <= 80, "{} packets", snapshot.packets_forwarded);
    assert_eq!(snapshot.dropped(DropReason::Circling), 10);
}

#[test]
fn a_leg_behind_a_nat_is_answered_where_it_sends_from() {
    let stage = Stage::new(8);
    let (alice, bob, nat) = (Phone::new(1), Phone::new(2), Phone::new(1));
    let (left, right) = call(&stage, alice.config(), bob.config());
    nat.say(left, 7);
    assert_eq!(bob.hear().0, rtp(1, 7));
    bob.say(right, 1);
    assert_eq!(nat.hear().0, rtp(2, 1));
}

#[test]
fn a_port_that_muxes_meets_a_leg_that_does_not() {
    let stage = Stage::new(8);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let (left, right) = call(&stage, StreamConfig { rtcp_mux: true, ..alice.config() }, bob.config());
    alice.rtp.send_to(&RR, (LOCAL, left)).unwrap();
    assert_eq!(bob.hear_control(), (RR.to_vec(), (LOCAL, right + 1).into()));
    bob.rtcp.send_to(&RR, (LOCAL, right + 1)).unwrap();
    assert_eq!(alice.hear(), (RR.to_vec(), (LOCAL, left).into()));
}

#[test]
fn hold_stops_sound_one_way_but_never_reports() {
    let stage = Stage::new(8);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let (left, right) = call(&stage, StreamConfig { sends: false, ..alice.config() }, bob.config());
    bob.say(right, 1);
    bob.rtcp.send_to(&RR, (LOCAL, right + 1)).unwrap();
    assert_eq!(alice.hear_control().0, RR);
    alice.say(left, 1);
    assert_eq!(bob.hear().0, rtp(1, 1));
    assert_eq!(stage.handle.snapshot().dropped(DropReason::Held), 1);
    assert_eq!(stage.close(2)[0].packets_received, 1, "what came is counted all the same");
}

#[test]
fn srtp_ends_here_on_one_leg_and_the_other_hears_it_in_clear() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let key = |octet| MasterKey::new(suite, &vec![octet; suite.master_len()]).unwrap();
    let crypto = StreamCrypto { ours: key(1), theirs: key(2) };
    let mut protector = Protector::new(&crypto.theirs, SrtcpMode::Encrypted);
    let mut unprotector = Unprotector::new(&crypto.ours, SrtcpMode::Encrypted);

    let stage = Stage::new(8);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let config = StreamConfig { crypto: Some(Box::new(crypto)), ..alice.config() };
    let (left, right) = call(&stage, config, bob.config());
    let mut packet = rtp(1, 1);
    packet.resize(172 + OVERHEAD_MAX, 0);
    let len = protector.protect_rtp(&mut packet, 172).unwrap();
    // Forged, true, replayed: only the second passes.
    alice.say(left, 1);
    alice.rtp.send_to(&packet[..len], (LOCAL, left)).unwrap();
    alice.rtp.send_to(&packet[..len], (LOCAL, left)).unwrap();
    assert_eq!(bob.hear().0, rtp(1, 1));
    bob.say(right, 9);
    let (mut closed, _) = alice.hear();
    assert_eq!(closed.len(), 172 + suite.rtp_overhead());
    let len = unprotector.unprotect_rtp(&mut closed).unwrap();
    assert_eq!(closed[..len], rtp(2, 9));
    bob.rtcp.send_to(&RR, (LOCAL, right + 1)).unwrap();
    let (mut closed, _) = alice.hear_control();
    assert_ne!(closed, RR);
    let len = unprotector.unprotect_rtcp(&mut closed).unwrap();
    assert_eq!(closed[..len], RR);
    let quality = stage.close(1).remove(0);
    assert_eq!((quality.packets_received, quality.octets_received, quality.packets_refused), (1, 160, 2));
}

#[test]
fn an_endpoint_grows_and_keeps_its_ports() {
    let stage = Stage::new(8);
    let before = stage.open(1, 1);
    let after = stage.open(1, 3);
    assert_eq!((after.len(), after[0]), (3, before[0]));
    assert_eq!(stage.open(1, 2), after, "it never shrinks");
    assert_eq!(stage.close(1).len(), 3);
}

#[test]
fn an_exhausted_range_refuses_and_a_closed_port_is_not_handed_out_again_at_once() {
    let stage = Stage::new(2);
    stage.open(1, 2);
    let refused = |endpoint, local, expected| {
        let endpoint = EndpointId(endpoint);
        stage.handle.send(MediaCommand::Open { endpoint, local, streams: 1 });
        match stage.event() {
            MediaEvent::OpenFailed { endpoint: its, error } => assert_eq!((its, error), (endpoint, expected)),
            other => panic!("a refusal expected, not {other:?}"),
        }
    };
    refused(2, LOCAL, OpenError::Exhausted);
    stage.close(1);
    refused(3, LOCAL, OpenError::Exhausted);
    assert_eq!(stage.handle.snapshot().opens_failed, 2);
}

#[test]
fn an_open_that_is_refused_half_way_leaves_nothing_bound() {
    let ports = free_range(2);
    let stage = Stage::with_ports(ports.clone());
    let endpoint = EndpointId(1);
    stage.handle.send(MediaCommand::Open { endpoint, local: LOCAL, streams: 3 });
    assert!(matches!(stage.event(), MediaEvent::OpenFailed { error: OpenError::Exhausted, .. }));
    stage.handle.send(MediaCommand::Close { endpoint });
    for port in ports {
        std::net::UdpSocket::bind((LOCAL, port)).unwrap();
    }
}

#[test]
fn an_address_of_another_host_cannot_be_bound() {
    let stage = Stage::new(2);
    let local = "192.0.2.1".parse().unwrap();
    stage.handle.send(MediaCommand::Open { endpoint: EndpointId(1), local, streams: 1 });
    assert!(matches!(stage.event(), MediaEvent::OpenFailed { error: OpenError::Unbindable, .. }));
}

#[test]
fn a_pair_that_another_program_holds_is_passed_over() {
    let ports = free_range(4);
    let squatter = std::net::UdpSocket::bind((LOCAL, ports.start() + 1)).unwrap();
    let stage = Stage::with_ports(ports.clone());
    let opened = stage.open(1, 3);
    assert!(opened.iter().all(|port| port != ports.start()), "{opened:?}");
    drop(squatter);
}

#[test]
fn a_plain_binding_request_is_answered_in_bounds() {
    let stage = Stage::new(2);
    let port = stage.open(1, 1)[0];
    let client = Phone::new(1);
    let request = stun::binding_request(stun::TransactionId([7; 12]));
    for _ in 0..20 {
        client.rtp.send_to(&request, (LOCAL, port)).unwrap();
    }
    let (answer, _) = receive(&client.rtp);
    let answer = stun::Message::parse(&answer).unwrap();
    assert_eq!(
        (answer.class(), answer.transaction_id()),
        (stun::Class::Success, stun::TransactionId([7; 12]))
    );
    // One batch, one turn: commands are carried out after the packets that came before them.
    stage.settle();
    let snapshot = stage.handle.snapshot();
    assert_eq!(snapshot.stun_answered + snapshot.dropped(DropReason::Stun), 20);
    assert!(snapshot.dropped(DropReason::Stun) > 0, "{snapshot:?}");
}

#[test]
fn t38_passes_whatever_its_bytes_look_like() {
    let stage = Stage::new(4);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let fax = |phone: &Phone| StreamConfig { payloads: Vec::new(), ..phone.config() };
    let (left, right) = call(&stage, fax(&alice), fax(&bob));
    for first in [0, 20, 64, 128, 200, 255] {
        let packet = [first, 1, 6, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9];
        alice.rtp.send_to(&packet, (LOCAL, left)).unwrap();
        assert_eq!(bob.hear(), (packet.to_vec(), (LOCAL, right).into()), "first byte {first}");
    }
}

#[test]
fn the_last_handle_takes_the_thread_and_its_ports_along() {
    let ports = free_range(1);
    let stage = Stage::with_ports(ports.clone());
    stage.open(1, 1);
    assert!(std::net::UdpSocket::bind((LOCAL, *ports.start())).is_err());
    drop(stage.handle.clone());
    drop(stage);
    while std::net::UdpSocket::bind((LOCAL, *ports.start())).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn the_types_of_the_test_and_of_the_wire_agree() {
    let packet = rtp(5, 6);
    let header = offhook_rtp::rtp::Header::parse(&packet).unwrap();
    assert_eq!((header.ssrc(), header.payload_type()), (Ssrc(5), PayloadType::PCMA));
}

//! The guard as its user sees it, in virtual time.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_edge::{Edge, EdgeLimits, Reason, Verdict};

const REQUEST: &[u8] = b"OPTIONS sip:example.org SIP/2.0\r\n";

fn at(millis: u64) -> Instant {
    Instant::from_driver_nanos(millis * 1_000_000)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn limits() -> EdgeLimits {
    EdgeLimits {
        messages_per_second: 10,
        messages_burst: 20,
        failures_burst: 3,
        failure_forgiven_after: Duration::from_secs(10),
        penalty_first: Duration::from_secs(30),
        penalty_max: Duration::from_secs(100),
        ..EdgeLimits::default()
    }
}

fn stranger(edge: &mut Edge, message: &[u8], from: &str, millis: u64) -> Verdict {
    edge.admit(message, address(from), || false, at(millis))
}

/// The seconds of a refusal for `reason`.
fn refused(verdict: Verdict, reason: Reason) -> Option<u64> {
    match verdict {
        Verdict::Refuse { reason: given, status: 503, retry_after } if given == reason => {
            Some(retry_after.as_secs())
        }
        _ => None,
    }
}

#[test]
fn a_stranger_over_its_rate_is_refused_then_dropped_and_others_are_not_touched() {
    let mut edge = Edge::new(&limits());
    for _ in 0..20 {
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1000), Verdict::Pass);
    }
    for port in 0..10 {
        // Another port is the same source.
        let from = format!("192.0.2.1:{}", 6000 + port);
        assert_eq!(refused(stranger(&mut edge, REQUEST, &from, 1000), Reason::Rate), Some(1));
    }
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1000), Verdict::Drop(Reason::Rate));
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.2:5060", 1000), Verdict::Pass);
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1100), Verdict::Pass);
    let counters = edge.counters();
    assert_eq!((counters.passed, counters.rate), (22, 11));
}

#[test]
fn a_response_or_an_ack_over_the_rate_is_never_answered() {
    let mut edge = Edge::new(&EdgeLimits { messages_burst: 1, ..limits() });
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 0), Verdict::Pass);
    for message in [&b"SIP/2.0 200 OK\r\n"[..], b"ACK sip:a@example.org SIP/2.0\r\n"] {
        assert_eq!(stranger(&mut edge, message, "192.0.2.1:5060", 0), Verdict::Drop(Reason::Rate));
    }
}

#[test]
fn peers_and_registered_sources_have_no_message_rate() {
    let mut edge = Edge::new(&EdgeLimits { messages_burst: 1, ..limits() });
    let peer = address("192.0.2.9:5060");
    assert!((0..1000).all(|_| edge.admit(REQUEST, peer, || true, at(0)) == Verdict::Pass));

    edge.registered(address("[2001:db8::1]:5060"), at(60_000));
    for millis in [0, 1, 59_999] {
        for _ in 0..50 {
            assert_eq!(stranger(&mut edge, REQUEST, "[2001:db8::2]:40000", millis), Verdict::Pass);
        }
    }
    assert_eq!(refused(stranger(&mut edge, REQUEST, "[2001:db8::2]:40000", 60_000), Reason::Rate), Some(1));
}

#[test]
fn what_is_too_large_is_dropped_even_from_a_peer() {
    let mut edge = Edge::new(&EdgeLimits { message_bytes_max: 100, ..limits() });
    let verdict = edge.admit(&[b'A'; 101], address("192.0.2.9:5060"), || true, at(0));
    assert_eq!(verdict, Verdict::Drop(Reason::TooLarge));
    assert_eq!(edge.admit(&[b'A'; 100], address("192.0.2.9:5060"), || true, at(0)), Verdict::Pass);
}

#[test]
fn penalties_for_wrong_passwords_double_up_to_a_bound_and_spare_nobody() {
    let mut edge = Edge::new(&limits());
    let guesser = address("192.0.2.1:5060");
    edge.registered(guesser, at(10_000_000));
    let mut now = 1_000;
    for _ in 0..3 {
        edge.authentication_failed(guesser, at(now));
        assert_eq!(edge.admit_credentials(guesser, at(now)), Verdict::Pass);
    }
    for seconds in [30, 60, 100, 100] {
        // The allowance has come back in part: use it up.
        while edge.admit_credentials(guesser, at(now)) == Verdict::Pass {
            edge.authentication_failed(guesser, at(now));
        }
        assert_eq!(
            refused(edge.admit_credentials(guesser, at(now)), Reason::AuthenticationRate),
            Some(seconds)
        );
        assert_eq!(edge.admit_credentials(address("192.0.2.2:5060"), at(now)), Verdict::Pass);
        // Messages without credentials still come through: calls that are on go on.
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", now), Verdict::Pass);
        now += seconds * 1000;
        assert_eq!(edge.admit_credentials(guesser, at(now)), Verdict::Pass);
    }
    // Quiet for the longest penalty: it begins anew.
    now += 100_000;
    while edge.admit_credentials(guesser, at(now)) == Verdict::Pass {
        edge.authentication_failed(guesser, at(now));
    }
    assert_eq!(refused(edge.admit_credentials(guesser, at(now)), Reason::AuthenticationRate), Some(30));
}

#[test]
fn a_phone_with_an_old_password_that_tries_every_half_minute_is_never_penalised() {
    let mut edge = Edge::new(&EdgeLimits::default());
    let phone = address("192.0.2.1:5060");
    for minute in 0..10_000_u64 {
        edge.authentication_failed(phone, at(minute * 30_000));
        assert_eq!(edge.admit_credentials(phone, at(minute * 30_000)), Verdict::Pass);
    }
}

#[test]
fn a_flood_of_forged_sources_stays_within_the_table_and_does_not_lift_a_penalty() {
    let mut edge = Edge::new(&EdgeLimits { sources_max: 1000, ..limits() });
    let guesser = address("192.0.2.1:5060");
    for _ in 0..10 {
        edge.authentication_failed(guesser, at(0));
    }
    for number in 0..50_000_u32 {
        let forged = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number), 5060));
        let _ = edge.admit(REQUEST, forged, || false, at(1));
    }
    assert_eq!(edge.sources(), (1000, 1));
    assert_eq!(edge.counters().sources_forgotten, 49_000);
    assert!(refused(edge.admit_credentials(guesser, at(2)), Reason::AuthenticationRate).is_some());
}

#[test]
fn limits_that_are_off_refuse_nothing_and_remember_nobody() {
    let mut edge = Edge::new(&EdgeLimits::OFF);
    let source = address("192.0.2.1:5060");
    for _ in 0..10_000 {
        assert_eq!(edge.admit(REQUEST, source, || unreachable!("not asked"), at(0)), Verdict::Pass);
        edge.authentication_failed(source, at(0));
        assert_eq!(edge.admit_credentials(source, at(0)), Verdict::Pass);
    }
    assert_eq!(edge.sources(), (0, 0));
    assert_eq!(edge.counters().authentication_failures, 10_000);
}

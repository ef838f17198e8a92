//! The guard as its user sees it, in virtual time.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_edge::{
    BanReason, Edge, EdgeLimits, Listed, Lists, Prefix, Reason, Scanners, Standing, Stray, Verdict, read_list,
};

const PASS: Verdict = Verdict::Pass(Standing::Stranger);
const TRUSTED: Verdict = Verdict::Pass(Standing::Trusted);

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
    let mut edge = Edge::new(&limits(), 7);
    for _ in 0..20 {
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1000), PASS);
    }
    for port in 0..10 {
        // Another port is the same source.
        let from = format!("192.0.2.1:{}", 6000 + port);
        assert_eq!(refused(stranger(&mut edge, REQUEST, &from, 1000), Reason::Rate), Some(1));
    }
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1000), Verdict::Drop(Reason::Rate));
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.2:5060", 1000), PASS);
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 1100), PASS);
    let counters = edge.counters();
    assert_eq!((counters.passed, counters.refused(Reason::Rate)), (22, 11));
}

#[test]
fn a_response_or_an_ack_over_the_rate_is_never_answered() {
    let mut edge = Edge::new(&EdgeLimits { messages_burst: 1, ..limits() }, 7);
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", 0), PASS);
    for message in [&b"SIP/2.0 200 OK\r\n"[..], b"ACK sip:a@example.org SIP/2.0\r\n"] {
        assert_eq!(stranger(&mut edge, message, "192.0.2.1:5060", 0), Verdict::Drop(Reason::Rate));
    }
}

#[test]
fn peers_and_registered_sources_have_no_message_rate() {
    let mut edge = Edge::new(&EdgeLimits { messages_burst: 1, ..limits() }, 7);
    let peer = address("192.0.2.9:5060");
    assert!((0..1000).all(|_| edge.admit(REQUEST, peer, || true, at(0)) == TRUSTED));

    edge.registered(address("[2001:db8::1]:5060"), at(60_000));
    for millis in [0, 1, 59_999] {
        for _ in 0..50 {
            assert_eq!(stranger(&mut edge, REQUEST, "[2001:db8::2]:40000", millis), TRUSTED);
        }
    }
    assert_eq!(stranger(&mut edge, REQUEST, "[2001:db8::2]:40000", 60_000), PASS);
    assert_eq!(refused(stranger(&mut edge, REQUEST, "[2001:db8::2]:40000", 60_000), Reason::Rate), Some(1));
}

#[test]
fn what_is_too_large_is_dropped_even_from_a_peer() {
    let mut edge = Edge::new(&EdgeLimits { message_bytes_max: 100, ..limits() }, 7);
    let verdict = edge.admit(&[b'A'; 101], address("192.0.2.9:5060"), || true, at(0));
    assert_eq!(verdict, Verdict::Drop(Reason::TooLarge));
    assert_eq!(edge.admit(&[b'A'; 100], address("192.0.2.9:5060"), || true, at(0)), TRUSTED);
}

#[test]
fn penalties_for_wrong_passwords_double_up_to_a_bound_and_spare_nobody() {
    let mut edge = Edge::new(&limits(), 7);
    let guesser = address("192.0.2.1:5060");
    edge.registered(guesser, at(10_000_000));
    let mut now = 1_000;
    for _ in 0..3 {
        edge.authentication_failed(guesser, "101", at(now));
        assert_eq!(edge.admit_credentials(guesser, "101", at(now)), PASS);
    }
    for seconds in [30, 60, 100, 100] {
        // The allowance has come back in part: use it up.
        while edge.admit_credentials(guesser, "101", at(now)) == PASS {
            edge.authentication_failed(guesser, "101", at(now));
        }
        assert_eq!(
            refused(edge.admit_credentials(guesser, "101", at(now)), Reason::AuthenticationRate),
            Some(seconds)
        );
        assert_eq!(edge.admit_credentials(address("192.0.2.2:5060"), "102", at(now)), PASS);
        // Messages without credentials still come through: calls that are on go on.
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:5060", now), TRUSTED);
        now += seconds * 1000;
        assert_eq!(edge.admit_credentials(guesser, "101", at(now)), PASS);
    }
    // Quiet for the longest penalty: it begins anew.
    now += 100_000;
    while edge.admit_credentials(guesser, "101", at(now)) == PASS {
        edge.authentication_failed(guesser, "101", at(now));
    }
    assert_eq!(
        refused(edge.admit_credentials(guesser, "101", at(now)), Reason::AuthenticationRate),
        Some(30)
    );
}

#[test]
fn a_phone_with_an_old_password_that_tries_every_half_minute_is_never_penalised() {
    let mut edge = Edge::new(&EdgeLimits::default(), 7);
    let phone = address("192.0.2.1:5060");
    for minute in 0..10_000_u64 {
        edge.authentication_failed(phone, "101", at(minute * 30_000));
        assert_eq!(edge.admit_credentials(phone, "101", at(minute * 30_000)), PASS);
    }
}

#[test]
fn a_flood_of_forged_sources_lifts_no_penalty_and_no_registration() {
    let mut edge = Edge::new(&EdgeLimits { sources_max: 1000, noted_max: 1000, ..limits() }, 7);
    let (guesser, phone) = (address("192.0.2.1:5060"), address("192.0.2.77:5060"));
    for _ in 0..10 {
        edge.authentication_failed(guesser, "101", at(0));
    }
    edge.registered(phone, at(60_000));
    for number in 0..50_000_u32 {
        let forged = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number * 256), 5060));
        let _ = edge.admit(REQUEST, forged, || false, at(1));
    }
    assert!(edge.counters().sources_forgotten > 40_000);
    assert!(refused(edge.admit_credentials(guesser, "101", at(2)), Reason::AuthenticationRate).is_some());
    assert!((0..100).all(|_| edge.admit(REQUEST, phone, || false, at(2)) == TRUSTED));
}

#[test]
fn limits_that_are_off_refuse_nothing() {
    let mut edge = Edge::new(&EdgeLimits::off(), 7);
    let source = address("192.0.2.1:5060");
    for _ in 0..10_000 {
        assert_eq!(edge.admit(REQUEST, source, || false, at(0)), PASS);
        edge.authentication_failed(source, "101", at(0));
        assert_eq!(edge.admit_credentials(source, "101", at(0)), PASS);
        assert_eq!(edge.strayed(source, Stray::Scanner, true, at(0)), None);
    }
    assert!(!edge.is_scanner(source, ["friendly-scanner"]));
    assert!(edge.may_answer(source, 1, 1000, false));
    assert_eq!(edge.counters().authentication_failures, 10_000);
}

fn lists(allowed: &str, denied: &str) -> std::sync::Arc<Lists> {
    std::sync::Arc::new(Lists::new(read_list(allowed).unwrap(), read_list(denied).unwrap()))
}

#[test]
fn who_is_denied_is_dropped_though_a_peer_and_who_is_allowed_has_no_rate() {
    let mut edge = Edge::new(&EdgeLimits { messages_burst: 1, ..limits() }, 7);
    edge.set_lists(lists("192.0.2.7", "192.0.2.0/24"));
    let denied = Verdict::Drop(Reason::Denied);
    assert_eq!(edge.admit(REQUEST, address("192.0.2.8:5060"), || true, at(0)), denied);
    assert!((0..50).all(|_| stranger(&mut edge, REQUEST, "192.0.2.7:5060", 0) == TRUSTED));
    assert_eq!(edge.look_at("192.0.2.8".parse().unwrap(), at(0)).listed, Listed::Denied);
    edge.set_lists(lists("", ""));
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.8:5060", 0), PASS);
}

#[test]
fn wrong_passwords_lead_to_growing_bans_that_spare_who_is_registered() {
    let mut edge = Edge::new(&limits(), 7);
    let guesser = address("192.0.2.1:5060");
    let mut now = 1_000;
    for seconds in [30, 60, 100] {
        let banned = loop {
            if let Some(banned) = edge.authentication_failed(guesser, "101", at(now)) {
                break banned;
            }
        };
        assert_eq!((banned.why, banned.left.as_secs()), (BanReason::Passwords, seconds));
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:9", now), Verdict::Drop(Reason::Banned));
        now += seconds * 1000;
        assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:9", now), PASS);
    }
    while edge.authentication_failed(guesser, "101", at(now)).is_none() {}
    edge.registered(guesser, at(now + 1000));
    assert_eq!(stranger(&mut edge, REQUEST, "192.0.2.1:9", now), TRUSTED);
    assert_eq!(edge.counters().bans, 4);
}

#[test]
fn many_who_guess_one_password_together_are_stopped_and_the_phone_that_has_it_is_not() {
    let mut edge = Edge::new(&EdgeLimits { account_failures_burst: 50, ..limits() }, 7);
    let phone = address("198.51.100.1:5060");
    assert_eq!(edge.authenticated(phone, "101", at(0)), TRUSTED);
    for number in 0..60_u32 {
        let guesser = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number), 5060));
        edge.authentication_failed(guesser, "101", at(1));
    }
    let another = address("203.0.113.1:5060");
    assert_eq!(refused(edge.admit_credentials(another, "101", at(2)), Reason::AuthenticationRate), Some(1));
    assert_eq!(edge.admit_credentials(another, "102", at(2)), PASS);
    assert_eq!(edge.admit_credentials(phone, "101", at(2)), PASS);
}

#[test]
fn an_account_a_method_and_a_network_have_rates_of_their_own() {
    let limits = EdgeLimits {
        messages_per_second: 0,
        network_messages_per_second: 10,
        method_rates: vec![("OPTIONS".into(), 2)],
        account_requests_per_second: 5,
        ..limits()
    };
    let mut edge = Edge::new(&limits, 7);
    let invite = b"INVITE sip:1@example.org SIP/2.0\r\n";
    assert_eq!((0..9).filter(|_| stranger(&mut edge, REQUEST, "192.0.2.1:1", 0) == PASS).count(), 8);
    assert_eq!(stranger(&mut edge, invite, "192.0.2.1:1", 0), PASS);
    let passed =
        (2..100).filter(|host| stranger(&mut edge, invite, &format!("192.0.2.{host}:1"), 0) == PASS).count();
    assert_eq!(passed, 30, "ten of the network's forty were taken");
    assert_eq!(stranger(&mut edge, invite, "192.0.3.1:1", 0), PASS);
    let passed = (0..50)
        .filter(|host| edge.authenticated(address(&format!("203.0.113.{host}:1")), "101", at(0)) == TRUSTED);
    assert_eq!(passed.count(), 20);
    let counters = edge.counters();
    assert_eq!((counters.refused(Reason::MethodRate), counters.refused(Reason::AccountRate)), (1, 30));
    assert_eq!(counters.refused(Reason::NetworkRate), 68);
}

#[test]
fn who_strays_too_much_is_banned_for_a_short_time_if_his_address_may_be_forged() {
    let mut edge = Edge::new(&EdgeLimits { stray_points: 100, ..limits() }, 7);
    for (host, is_proven, seconds) in [(1, false, [30, 30]), (2, true, [30, 60])] {
        let source = address(&format!("192.0.2.{host}:5060"));
        let mut now = 1_000;
        for seconds in seconds {
            let strays = (1..).find_map(|count| {
                let banned = edge.strayed(source, Stray::Unwelcome, is_proven, at(now))?;
                Some((count, banned.why, banned.left.as_secs()))
            });
            assert_eq!(strays, Some((11, BanReason::Strays, seconds)));
            now += seconds * 1000;
        }
    }
    // Who answers a challenge has all points back.
    let office = address("192.0.2.3:5060");
    for _ in 0..20 {
        assert!((0..90).all(|_| edge.strayed(office, Stray::Challenged, false, at(0)).is_none()));
        edge.authenticated(office, "101", at(0));
    }
}

#[test]
fn a_scanner_is_known_by_name_and_an_answer_is_never_much_larger_than_the_question() {
    let mut edge = Edge::new(&EdgeLimits { scanners: Scanners::new(["badscan"]), ..limits() }, 7);
    let source = address("192.0.2.1:5060");
    assert!(edge.is_scanner(source, ["x", "BadScan/1.0"]));
    assert!(!edge.is_scanner(source, ["friendly-scanner"]));
    assert!(edge.may_answer(source, 300, 900, false));
    assert!(!edge.may_answer(source, 300, 901, false));
    assert!(edge.may_answer(source, 300, 901, true), "it came over a connection");
    assert_eq!(edge.counters().refused(Reason::Amplification), 1);
}

#[test]
fn an_operators_ban_holds_for_everybody_and_ends_when_he_says() {
    let mut edge = Edge::new(&limits(), 7);
    let peer = address("192.0.2.9:5060");
    let ban = edge.ban_by_operator(peer.ip(), Duration::from_secs(10), at(0));
    assert_eq!(ban.source.disclose(offhook_base::Purpose::Operation), &Prefix::host(peer.ip()));
    assert_eq!(edge.admit(REQUEST, peer, || true, at(0)), Verdict::Drop(Reason::Banned));
    let overview = edge.overview(10, at(0));
    assert_eq!((overview.bans.len(), overview.banned, overview.top.len()), (1, 1, 1));
    assert!(edge.pardon(peer.ip(), at(1)) && !edge.pardon(peer.ip(), at(1)));
    assert_eq!(edge.admit(REQUEST, peer, || true, at(1)), TRUSTED);
}

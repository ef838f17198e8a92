//! Server transactions through the layer: every arrow of RFC 3261 figures 7 and 8, with RFC 6026, and what is answered
//! before a transaction user hears of it.

mod transaction_support;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    message::StatusCode,
    transaction::{LayerConfig, RespondError, TransactionKey, response_destination},
    transport::{
        Destination, Flow,
        Transport::{Tcp, Udp, Ws},
    },
};
use transaction_support::{
    Bench, Seen, address, arrived, bytes, flow, peer_request, peer_request_via, request, response, sent,
    sent_lines, sent_ms,
};

fn invite() -> Bytes {
    peer_request("INVITE", "z9hG4bKi", "")
}

fn ack() -> Bytes {
    bytes(&[
        "ACK sip:b@example.org SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bKi;rport",
        "From: <sip:a@example.org>;tag=fa",
        "To: <sip:b@example.org>;tag=tu",
        "Call-ID: c1@198.51.100.7",
        "CSeq: 7 ACK",
    ])
}

fn cancel() -> Bytes {
    peer_request("CANCEL", "z9hG4bKi", "")
}

/// Goal: Timer G doubles up to T2, Timer H gives up at 64*T1 (§17.2.1). Method: no ACK.
#[test]
fn a_failure_without_ack_is_sent_11_times_in_32_s() {
    let mut bench = Bench::new();
    let (key, invite) = arrived(bench.receive(invite(), flow(Udp)));
    let mut seen = bench.respond(key, &invite, 486);
    seen.extend(bench.run_out());
    assert_eq!(sent_ms(&seen), [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    let key = TransactionKey::Server(key);
    assert!(
        matches!(seen[..], [.., Seen::TimedOut(32_000, k), Seen::Terminated(32_000, t)] if k == key && t == key)
    );
}

#[test]
fn over_a_stream_a_failure_is_sent_once_and_still_waits_for_its_ack() {
    let mut bench = Bench::new();
    let (key, invite) = arrived(bench.receive(invite(), flow(Tcp)));
    assert_eq!(sent_ms(&bench.respond(key, &invite, 486)), [0]);
    assert_eq!(bench.layer.len(), 1);
    assert!(matches!(bench.receive(ack(), flow(Tcp))[..], [Seen::Terminated(0, _)]), "Timer I is zero");
}

#[test]
fn the_ack_of_a_failure_is_swallowed_with_its_repeats_until_timer_i() {
    let mut bench = Bench::new();
    let (key, invite) = arrived(bench.receive(invite(), flow(Udp)));
    bench.respond(key, &invite, 486);
    bench.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert!(bench.receive(ack(), flow(Udp)).is_empty());
    }
    assert!(bench.receive(self::invite(), flow(Udp)).is_empty(), "confirmed: a late repeat gets no answer");
    assert!(matches!(bench.run_out()[..], [Seen::Terminated(6_000, _)]));
    assert_eq!(bench.layer.counters().acks_absorbed, 2);
}

#[test]
fn a_repeated_invite_is_answered_with_the_last_response_and_goes_no_further() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    assert!(bench.receive(invite(), flow(Udp)).is_empty(), "nothing to repeat yet");
    bench.respond(key, &request, 180);
    assert_eq!(sent_lines(&bench.receive(invite(), flow(Udp))), ["SIP/2.0 180 Ringing"]);
    bench.respond(key, &request, 486);
    assert_eq!(sent_lines(&bench.receive(invite(), flow(Udp))), ["SIP/2.0 486 Busy Here"]);
    assert_eq!(bench.layer.counters().request_repeats, 3);
}

/// RFC 6026 §7.1: after a 2xx, repeats of the INVITE are swallowed for 64*T1 and repeats of the 2xx pass.
#[test]
fn after_a_2xx_repeats_of_the_invite_are_swallowed_and_each_2xx_passes() {
    for transport in [Udp, Tcp] {
        let mut bench = Bench::new();
        let (key, request) = arrived(bench.receive(invite(), flow(transport)));
        assert_eq!(sent_ms(&bench.respond(key, &request, 200)), [0]);
        assert!(bench.receive(invite(), flow(transport)).is_empty());
        bench.advance(Duration::from_millis(500));
        assert_eq!(sent_ms(&bench.respond(key, &request, 200)), [500]);
        let refused = request.respond(&mut BytesMut::new(), StatusCode::BUSY_HERE, None).finish();
        assert_eq!(bench.layer.respond(key, refused, bench.now), Err(RespondError::Answered));
        // An ACK that wrongly repeats the branch still reaches the dialog.
        assert!(matches!(bench.receive(ack(), flow(transport))[..], [Seen::Ack(Some(k))] if k == key));
        assert!(matches!(bench.run_out()[..], [Seen::Terminated(32_000, _)]));
        assert!(matches!(bench.receive(ack(), flow(transport))[..], [Seen::Ack(None)]));
    }
}

#[test]
fn the_ack_of_a_2xx_has_its_own_branch_and_goes_up() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    bench.respond(key, &request, 200);
    let ack = String::from_utf8(ack().to_vec()).unwrap().replace("z9hG4bKi", "z9hG4bKother");
    assert!(matches!(bench.receive(ack.into(), flow(Udp))[..], [Seen::Ack(None)]));
}

#[test]
fn a_100_is_sent_after_200_ms_unless_there_was_an_answer() {
    let mut bench = Bench::with(LayerConfig::default());
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    let seen = bench.advance(Duration::from_secs(2));
    assert_eq!((sent_ms(&seen), sent_lines(&seen)), (vec![200], vec!["SIP/2.0 100 Trying".to_string()]));
    let trying = response(sent(&seen).remove(0));
    assert_eq!(trying.headers().to().unwrap().tag(), None);
    assert_eq!(trying.headers().via().unwrap().rport(), Some(Some(40000)), "stamped from where it came");
    bench.respond(key, &request, 486);

    let mut bench = Bench::with(LayerConfig::default());
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    bench.respond(key, &request, 180);
    assert!(bench.advance(Duration::from_secs(2)).is_empty());
}

#[test]
fn a_100_can_be_sent_at_once_and_a_repeat_of_the_invite_hastens_it() {
    let at_once = LayerConfig { trying_after: Some(Duration::ZERO), ..LayerConfig::default() };
    let mut bench = Bench::with(at_once);
    assert_eq!(sent_lines(&bench.receive(invite(), flow(Udp))), ["SIP/2.0 100 Trying"]);

    let mut bench = Bench::with(LayerConfig::default());
    bench.receive(invite(), flow(Udp));
    assert_eq!(sent_lines(&bench.receive(invite(), flow(Udp))), ["SIP/2.0 100 Trying"]);
    assert!(bench.advance(Duration::from_secs(2)).is_empty(), "once is enough");
}

#[test]
fn a_100_is_hastened_where_nothing_was_answered() {
    let mut bench = Bench::with(LayerConfig::default());
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    bench.layer.hasten_trying(key, bench.now);
    assert_eq!(sent_lines(&bench.drain()), ["SIP/2.0 100 Trying"]);
    bench.layer.hasten_trying(key, bench.now);
    assert!(bench.advance(Duration::from_secs(2)).is_empty(), "once is enough");
    bench.respond(key, &request, 486);
    bench.layer.hasten_trying(key, bench.now);
    assert!(bench.drain().is_empty());

    // Who is challenged without a transaction goes on repeating its INVITE until the challenge arrives (§8.2.7).
    let mut bench = Bench::with(LayerConfig::default());
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let challenge = request.respond(&mut BytesMut::new(), status, Some("a")).finish();
    bench.layer.respond_once(key, challenge);
    bench.layer.hasten_trying(key, bench.now);
    assert_eq!(sent_lines(&bench.drain()), ["SIP/2.0 407 Proxy Authentication Required"]);
}

#[test]
fn another_request_is_answered_once_and_remembered_for_timer_j() {
    let options = || peer_request("OPTIONS", "z9hG4bKo", "");
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(options(), flow(Udp)));
    assert!(bench.receive(options(), flow(Udp)).is_empty());
    bench.respond(key, &request, 100);
    assert_eq!(sent_lines(&bench.receive(options(), flow(Udp))), ["SIP/2.0 100 Trying"]);
    bench.respond(key, &request, 200);
    assert_eq!(sent_lines(&bench.receive(options(), flow(Udp))), ["SIP/2.0 200 OK"]);
    let second = request.respond(&mut BytesMut::new(), StatusCode::OK, None).finish();
    assert_eq!(bench.layer.respond(key, second.clone(), bench.now), Err(RespondError::Answered));
    assert!(matches!(bench.run_out()[..], [Seen::Terminated(32_000, _)]));
    assert_eq!(bench.layer.respond(key, second, bench.now), Err(RespondError::Gone));

    let (key, request) = arrived(bench.receive(options(), flow(Tcp)));
    let seen = bench.respond(key, &request, 200);
    assert!(matches!(seen[..], [Seen::Sent(..), Seen::Terminated(..)]), "Timer J is zero over a stream");
}

#[test]
fn what_is_no_response_is_not_sent() {
    let mut bench = Bench::new();
    let (key, _) = arrived(bench.receive(invite(), flow(Udp)));
    for wrong in ["", "INVITE sip:a SIP/2.0", "SIP/2.0 ", "SIP/2.0 999 x", "SIP/2.0 2x0 x"] {
        assert_eq!(
            bench.layer.respond(key, Bytes::from_static(wrong.as_bytes()), bench.now),
            Err(RespondError::NotAResponse)
        );
    }
}

#[test]
fn a_request_the_user_never_answers_does_not_live_forever() {
    let mut bench = Bench::new();
    bench.receive(invite(), flow(Udp));
    bench.receive(peer_request("INFO", "z9hG4bKo", ";tag=x"), flow(Udp));
    let seen = bench.run_out();
    assert!(matches!(
        seen[..],
        [Seen::TimedOut(32_000, _), Seen::Terminated(..), Seen::TimedOut(600_000, _), Seen::Terminated(..)]
    ));
    assert!(bench.layer.is_empty());
}

#[test]
fn a_cancel_is_answered_and_the_user_told_to_answer_487() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    bench.respond(key, &request, 180);
    let seen = bench.receive(cancel(), flow(Udp));
    assert!(matches!(seen[..], [Seen::Sent(..), Seen::Cancelled(k)] if k == key), "{seen:?}");
    let answer = response(sent(&seen).remove(0));
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers().to().unwrap().tag(), Some("tu"), "§9.2: the tag of the INVITE's responses");
    // A repeat of the CANCEL is answered from its transaction and cancels nothing twice.
    assert!(matches!(bench.receive(cancel(), flow(Udp))[..], [Seen::Sent(..)]));
    bench.respond(key, &request, 487);
    bench.receive(ack(), flow(Udp));
    assert!(!bench.run_out().iter().any(|seen| matches!(seen, Seen::TimedOut(..))));
    assert!(bench.layer.is_empty());
}

#[test]
fn a_cancel_after_the_final_answer_changes_nothing() {
    for status in [200, 486] {
        let mut bench = Bench::new();
        let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
        bench.respond(key, &request, status);
        let seen = bench.receive(cancel(), flow(Udp));
        assert_eq!(sent_lines(&seen), ["SIP/2.0 200 OK"]);
        assert!(matches!(seen[..], [Seen::Sent(..)]));
    }
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let mut bench = Bench::new();
    let seen = bench.receive(cancel(), flow(Udp));
    assert_eq!(sent_lines(&seen), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    assert!(response(sent(&seen).remove(0)).headers().to().unwrap().tag().is_some());
    // Another sender's branch may look the same (§17.2.3): sent-by tells them apart.
    bench.receive(invite(), flow(Udp));
    let other = peer_request_via("CANCEL", "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKi", "");
    assert_eq!(sent_lines(&bench.receive(other, flow(Udp))), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    bench.run_out();
    assert_eq!(bench.layer.counters().cancels_unmatched, 2);
}

#[test]
fn the_same_request_by_another_way_is_refused_as_merged() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    let seen = bench.receive(peer_request("INVITE", "z9hG4bKother", ""), flow(Udp));
    assert_eq!(sent_lines(&seen), ["SIP/2.0 482 Loop Detected"]);
    // Within a dialog the numbers may repeat.
    arrived(bench.receive(peer_request("INVITE", "z9hG4bKthird", ";tag=tu"), flow(Udp)));
    bench.respond(key, &request, 486);
    bench.run_out();
    arrived(bench.receive(peer_request("INVITE", "z9hG4bKother", ""), flow(Udp)));
}

/// §17.2.3 for clients of RFC 2543, among them those whose branch is the cookie and nothing else (RFC 4475 §3.2.1).
#[test]
fn requests_without_a_usable_branch_are_matched_by_the_old_rules() {
    for branch in [";branch=z9hG4bK", ";branch=1", ""] {
        let via = format!("Via: SIP/2.0/UDP 198.51.100.7:5062{branch}");
        let mut bench = Bench::new();
        let (key, request) = arrived(bench.receive(peer_request_via("INVITE", &via, ""), flow(Udp)));
        bench.respond(key, &request, 180);
        assert_eq!(
            sent_lines(&bench.receive(peer_request_via("INVITE", &via, ""), flow(Udp))),
            ["SIP/2.0 180 Ringing"]
        );
        let seen = bench.receive(peer_request_via("CANCEL", &via, ""), flow(Udp));
        assert!(matches!(seen[..], [Seen::Sent(..), Seen::Cancelled(_)]), "{seen:?}");
        bench.respond(key, &request, 487);
        assert!(bench.receive(peer_request_via("ACK", &via, ";tag=tu"), flow(Udp)).is_empty());
        assert_eq!(bench.layer.counters().acks_absorbed, 1);
        let next = String::from_utf8(peer_request_via("INVITE", &via, "").to_vec())
            .unwrap()
            .replace("CSeq: 7", "CSeq: 8");
        arrived(bench.receive(next.into(), flow(Udp)));
    }
}

#[test]
fn a_request_without_what_routing_needs_is_refused_or_dropped() {
    let mut bench = Bench::new();
    let text = String::from_utf8(invite().to_vec()).unwrap();
    for (from, to) in [
        ("CSeq: 7 INVITE", "CSeq: 7 BYE"),
        ("CSeq: 7 INVITE", "CSeq: x"),
        ("Call-ID: c1@198.51.100.7\r\n", ""),
        ("From: <sip:a@example.org>;tag=fa\r\n", ""),
        ("To: <sip:b@example.org>\r\n", ""),
    ] {
        let seen = bench.receive(text.replace(from, to).into(), flow(Udp));
        assert_eq!(sent_lines(&seen), ["SIP/2.0 400 Bad Request"], "{to}");
        assert!(bench.layer.is_empty());
    }
    let no_via = text.replace("Via: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bKi;rport\r\n", "");
    assert!(bench.receive(no_via.into(), flow(Udp)).is_empty());
    assert_eq!(bench.layer.counters().malformed, 6);
}

#[test]
fn a_full_table_refuses_new_calls_with_503_and_lets_running_ones_end() {
    let config = LayerConfig { transactions_max: 2, trying_after: None, ..LayerConfig::default() };
    let mut bench = Bench::with(config);
    let call = |number: u32, method: &str, tag: &str| {
        let text = peer_request(method, &format!("z9hG4bK{number}{method}"), tag);
        Bytes::from(String::from_utf8(text.to_vec()).unwrap().replace("c1@", &format!("c{number}@")))
    };
    arrived(bench.receive(call(1, "INVITE", ""), flow(Udp)));
    arrived(bench.receive(call(2, "INVITE", ""), flow(Udp)));
    let seen = bench.receive(call(3, "INVITE", ""), flow(Udp));
    assert_eq!(sent_lines(&seen), ["SIP/2.0 503 Service Unavailable"]);
    assert_eq!(response(sent(&seen).remove(0)).headers().retry_after(), Some(5));
    arrived(bench.receive(call(1, "BYE", ";tag=tu"), flow(Udp)));
    assert_eq!(
        sent_lines(&bench.receive(call(2, "BYE", ";tag=tu"), flow(Udp))).len(),
        1,
        "the reserve is bounded too"
    );
    assert_eq!(bench.layer.counters().refused_full, 2);
}

fn destination_of(via: &str, flow: Flow) -> Destination {
    response_destination(&request(peer_request_via("OPTIONS", via, "")), flow)
}

/// RFC 3261 §18.2.2 but for `maddr`, RFC 3581 §4.
#[test]
fn responses_go_where_the_top_via_and_the_source_say() {
    let over = flow(Udp);
    let cases = [
        ("Via: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport", "198.51.100.7:40000"),
        ("Via: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1", "198.51.100.7:5062"),
        ("Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1", "198.51.100.7:5060"),
        ("Via: SIP/2.0/UDP host.example.org;branch=z9hG4bK1;maddr=192.0.2.99;rport", "198.51.100.7:40000"),
        ("Via: SIP/2.0/UDP host.example.org;branch=z9hG4bK1;maddr=192.0.2.99", "198.51.100.7:5060"),
        ("Via: SIP/2.0/UDP host.example.org;branch=z9hG4bK1;maddr=name.example.org", "198.51.100.7:5060"),
    ];
    for (via, expected) in cases {
        assert_eq!(destination_of(via, over).remote(), address(expected), "{via}");
    }
    let asked_for_rport = destination_of(cases[0].0, over);
    assert_eq!(asked_for_rport, Destination::Flow(over));
    let over = flow(Tcp);
    assert_eq!(destination_of(cases[1].0, over), Destination::Flow(over));
}

#[test]
fn responses_carry_received_and_rport() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Udp)));
    let answer = response(sent(&bench.respond(key, &request, 180)).remove(0));
    let via = answer.headers().via().unwrap();
    assert_eq!((via.received(), via.rport()), (Some(address("198.51.100.7:1").ip()), Some(Some(40000))));
}

/// §18.2.2: if the connection has closed, a new one is opened to the source at the port of sent-by. Not to a browser.
#[test]
fn a_response_whose_connection_has_closed_goes_over_a_new_one() {
    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(invite(), flow(Tcp)));
    let seen = bench.respond(key, &request, 486);
    let [Seen::Sent(_, _, to, token)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*to, Destination::Flow(flow(Tcp)));
    bench.layer.transport_failed(*token, bench.now);
    let seen = bench.drain();
    let [Seen::Sent(_, again, to, token)] = &seen[..] else { panic!("{seen:?}") };
    assert!(again.starts_with(b"SIP/2.0 486"));
    assert!(matches!(to, Destination::Address { remote, .. } if *remote == address("198.51.100.7:5062")));
    bench.layer.transport_failed(*token, bench.now);
    assert!(matches!(bench.drain()[..], [Seen::TransportFailed(_)]));
    assert_eq!(bench.layer.len(), 1, "RFC 6026: an INVITE's transaction stays until Timer H");

    let mut bench = Bench::new();
    let (key, request) = arrived(bench.receive(peer_request("INFO", "z9hG4bKo", ""), flow(Ws)));
    let mut buffer = BytesMut::new();
    let provisional = request.respond(&mut buffer, StatusCode::TRYING, None).finish();
    bench.layer.respond(key, provisional, bench.now).unwrap();
    let seen = bench.drain();
    let [Seen::Sent(_, _, _, token)] = seen[..] else { panic!("{seen:?}") };
    bench.layer.transport_failed(token, bench.now);
    assert!(matches!(bench.drain()[..], [Seen::TransportFailed(_), Seen::Terminated(..)]));
}

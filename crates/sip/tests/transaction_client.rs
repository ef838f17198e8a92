//! Client transactions through the layer: every arrow of RFC 3261 figures 5 and 6, with RFC 6026.

mod transaction_support;

use std::time::Duration;

use offhook_sip::{
    message::{Message, Method},
    transaction::TransactionKey,
    transport::Transport::{Tcp, Udp},
};
use transaction_support::{Bench, Seen, answer_to, flow, request, sent, sent_lines, sent_ms, to_peer};

/// Goal: Timer A doubles without a cap, Timer B gives up at 64*T1 (§17.1.1.2). Method: never answer.
#[test]
fn an_unanswered_invite_is_sent_7_times_in_32_s() {
    let mut bench = Bench::new();
    let (key, _, mut seen) = bench.send(Method::Invite, Udp);
    seen.extend(bench.run_out());
    assert_eq!(sent_ms(&seen), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    let key = TransactionKey::Client(key);
    assert!(
        matches!(seen[..], [.., Seen::TimedOut(32_000, k), Seen::Terminated(32_000, t)] if k == key && t == key)
    );
    assert!(bench.layer.is_empty());
}

/// Goal: Timer E doubles up to T2, Timer F gives up at 64*T1 (§17.1.2.2). Method: never answer.
#[test]
fn an_unanswered_request_is_sent_11_times_in_32_s() {
    let mut bench = Bench::new();
    let (_, _, mut seen) = bench.send(Method::Options, Udp);
    seen.extend(bench.run_out());
    assert_eq!(sent_ms(&seen), [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    assert!(matches!(seen[..], [.., Seen::TimedOut(32_000, _), Seen::Terminated(32_000, _)]));
}

#[test]
fn over_a_stream_nothing_is_repeated_and_the_wait_is_the_same() {
    for method in [Method::Invite, Method::Bye] {
        let mut bench = Bench::new();
        let (_, _, mut seen) = bench.send(method, Tcp);
        seen.extend(bench.run_out());
        assert_eq!(sent_ms(&seen), [0]);
        assert!(matches!(seen[..], [.., Seen::TimedOut(32_000, _), Seen::Terminated(32_000, _)]));
    }
}

#[test]
fn a_provisional_stops_the_invite_and_slows_other_requests_to_t2() {
    let mut bench = Bench::new();
    let (key, invite, _) = bench.send(Method::Invite, Udp);
    let seen = bench.receive_message(answer_to(&invite, 180), flow(Udp));
    assert!(matches!(seen[..], [Seen::Response(k, 180)] if k == key));
    assert!(bench.advance(Duration::from_secs(60)).is_empty());

    let mut bench = Bench::new();
    let (_, options, _) = bench.send(Method::Options, Udp);
    bench.receive_message(answer_to(&options, 100), flow(Udp));
    assert_eq!(sent_ms(&bench.run_out()), [500, 4500, 8500, 12500, 16500, 20500, 24500, 28500]);
}

/// Goal: §17.1.1.3. The ACK has the INVITE's URI, top Via, From, Call-ID, CSeq number and Route, and the response's To.
#[test]
fn a_failure_is_acknowledged_hop_by_hop_and_again_for_each_repeat() {
    let mut bench = Bench::new();
    let (key, invite, _) = bench.send(Method::Invite, Udp);
    let seen = bench.receive_message(answer_to(&invite, 486), flow(Udp));
    assert!(matches!(seen[..], [Seen::Sent(..), Seen::Response(k, 486)] if k == key));
    let ack = request(sent(&seen).remove(0));
    let invite_request = request(invite.clone());
    assert_eq!((ack.method(), ack.uri()), (&Method::Ack, invite_request.uri()));
    for name in ["Via", "From", "Call-ID", "Route"] {
        assert_eq!(ack.headers().get(name), invite_request.headers().get(name), "{name}");
    }
    assert_eq!(ack.headers().get("CSeq"), Some("9 ACK"));
    assert_eq!(ack.headers().to().unwrap().tag(), Some("theirs"));

    bench.advance(Duration::from_secs(10));
    let again = bench.receive_message(answer_to(&invite, 486), flow(Udp));
    assert!(matches!(again[..], [Seen::Sent(..)]), "{again:?}");
    // Timer D: 32 s after the first final response.
    assert!(matches!(bench.run_out()[..], [Seen::Terminated(32_000, _)]));
}

#[test]
fn over_a_stream_a_finished_transaction_is_gone_at_once() {
    for (method, status) in [(Method::Invite, 486), (Method::Bye, 200)] {
        let mut bench = Bench::new();
        let (_, request, _) = bench.send(method, Tcp);
        let seen = bench.receive_message(answer_to(&request, status), flow(Tcp));
        assert!(matches!(seen[..], [.., Seen::Response(..), Seen::Terminated(0, _)]), "{seen:?}");
        assert!(bench.layer.is_empty());
    }
}

/// RFC 6026 §7.2: each 2xx goes up, for 64*T1, over every transport.
#[test]
fn every_2xx_of_an_invite_goes_up_until_timer_m() {
    for transport in [Udp, Tcp] {
        let mut bench = Bench::new();
        let (_, invite, _) = bench.send(Method::Invite, transport);
        for _ in 0..3 {
            let seen = bench.receive_message(answer_to(&invite, 200), flow(transport));
            assert!(matches!(seen[..], [Seen::Response(_, 200)]), "no ACK of its own: {seen:?}");
        }
        // A late failure or provisional means nothing any more.
        assert!(bench.receive_message(answer_to(&invite, 180), flow(transport)).is_empty());
        assert!(bench.receive_message(answer_to(&invite, 486), flow(transport)).is_empty());
        assert!(matches!(bench.run_out()[..], [Seen::Terminated(32_000, _)]));
        let stray = bench.receive_message(answer_to(&invite, 200), flow(transport));
        assert!(matches!(stray[..], [Seen::Stray(200)]));
        assert!(bench.receive_message(answer_to(&invite, 486), flow(transport)).is_empty());
        assert_eq!(bench.layer.counters().responses_unmatched, 1);
    }
}

#[test]
fn a_final_answer_to_another_request_goes_up_once_and_lingers_for_timer_k() {
    let mut bench = Bench::new();
    let (_, bye, _) = bench.send(Method::Bye, Udp);
    assert!(matches!(bench.receive_message(answer_to(&bye, 200), flow(Udp))[..], [Seen::Response(_, 200)]));
    assert!(bench.receive_message(answer_to(&bye, 200), flow(Udp)).is_empty());
    assert!(matches!(bench.run_out()[..], [Seen::Terminated(5_000, _)]));
}

#[test]
fn a_request_that_cannot_be_sent_ends_its_transaction() {
    for method in [Method::Invite, Method::Options] {
        let mut bench = Bench::new();
        let (key, _, seen) = bench.send(method, Udp);
        let [Seen::Sent(_, _, _, token)] = seen[..] else { panic!("{seen:?}") };
        bench.layer.transport_failed(token, bench.now);
        let seen = bench.drain();
        let key = TransactionKey::Client(key);
        assert!(
            matches!(seen[..], [Seen::TransportFailed(k), Seen::Terminated(0, t)] if k == key && t == key)
        );
        bench.layer.transport_failed(token, bench.now);
        assert!(bench.drain().is_empty(), "a token outlives its transaction harmlessly");
    }
}

/// §9.1: the CANCEL waits for a provisional response, copies what identifies the INVITE, and is its own transaction.
#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new();
    let (key, invite, _) = bench.send(Method::Invite, Udp);
    assert!(bench.layer.cancel(key, Some("SIP;cause=200;text=\"Call completed elsewhere\""), bench.now));
    assert!(bench.drain().is_empty());
    let seen = bench.receive_message(answer_to(&invite, 180), flow(Udp));
    assert!(matches!(seen[..], [Seen::Response(_, 180), Seen::Sent(..)]), "{seen:?}");
    let cancel = request(sent(&seen).remove(0));
    assert_eq!(cancel.method(), &Method::Cancel);
    assert_eq!(cancel.headers().get("CSeq"), Some("9 CANCEL"));
    assert_eq!(cancel.headers().get("Via"), request(invite.clone()).headers().get("Via"));
    assert_eq!(cancel.headers().get("To"), Some("<sip:b@example.org>"));
    assert_eq!(cancel.headers().get("Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));

    // The answer to the CANCEL is nobody's business; the INVITE's 487 is acknowledged and goes up.
    assert!(bench.receive_message(answer_to(cancel.bytes(), 200), flow(Udp)).is_empty());
    let seen = bench.receive_message(answer_to(&invite, 487), flow(Udp));
    assert_eq!(sent_lines(&seen), ["ACK sip:b@198.51.100.7:40000 SIP/2.0"]);
    assert!(matches!(seen[..], [_, Seen::Response(_, 487)]));
    bench.run_out();
    assert!(bench.layer.is_empty());
}

#[test]
fn a_cancel_during_ringing_goes_out_at_once_and_only_once() {
    let mut bench = Bench::new();
    let (key, invite, _) = bench.send(Method::Invite, Udp);
    bench.receive_message(answer_to(&invite, 180), flow(Udp));
    assert!(bench.layer.cancel(key, None, bench.now));
    assert_eq!(sent_lines(&bench.drain()), ["CANCEL sip:b@198.51.100.7:40000 SIP/2.0"]);
    bench.layer.cancel(key, None, bench.now);
    assert!(bench.drain().is_empty());
    // A 2xx that overtook it goes up; the user will have to send a BYE.
    assert!(matches!(
        bench.receive_message(answer_to(&invite, 200), flow(Udp))[..],
        [Seen::Response(_, 200)]
    ));
    assert!(!bench.layer.cancel(key, None, bench.now));
}

/// §9.1: no final response 64*T1 after the CANCEL: the INVITE counts as cancelled. More ringing changes nothing.
#[test]
fn a_cancelled_invite_that_is_never_answered_ends_after_64_t1() {
    let mut bench = Bench::new();
    let (key, invite, _) = bench.send(Method::Invite, Tcp);
    bench.receive_message(answer_to(&invite, 180), flow(Tcp));
    bench.layer.cancel(key, None, bench.now);
    bench.advance(Duration::from_secs(20));
    bench.receive_message(answer_to(&invite, 180), flow(Tcp));
    let seen = bench.run_out();
    let key = TransactionKey::Client(key);
    assert!(seen.iter().any(|seen| matches!(seen, Seen::TimedOut(32_000, k) if *k == key)), "{seen:?}");
    assert!(bench.layer.is_empty());
}

#[test]
fn an_invite_cancelled_before_any_answer_times_out_like_any_other_and_sends_no_cancel() {
    let mut bench = Bench::new();
    let (key, _, _) = bench.send(Method::Invite, Udp);
    bench.layer.cancel(key, None, bench.now);
    let seen = bench.run_out();
    assert!(sent_lines(&seen).iter().all(|line| line.starts_with("INVITE ")));
    assert!(matches!(seen[..], [.., Seen::TimedOut(32_000, _), Seen::Terminated(32_000, _)]));
}

#[test]
fn a_phone_that_rings_forever_without_a_sign_of_life_is_given_up() {
    let mut bench = Bench::new();
    let (_, invite, _) = bench.send(Method::Invite, Udp);
    bench.receive_message(answer_to(&invite, 180), flow(Udp));
    bench.advance(Duration::from_secs(300));
    bench.receive_message(answer_to(&invite, 180), flow(Udp));
    assert!(matches!(bench.run_out()[..], [Seen::TimedOut(900_000, _), Seen::Terminated(900_000, _)]));
}

#[test]
fn a_response_finds_its_transaction_by_branch_and_method_only() {
    let mut bench = Bench::new();
    let (_, options, _) = bench.send(Method::Options, Udp);
    let text = String::from_utf8(options.to_vec()).unwrap();
    for other in [text.replace("branch=z9hG4bK", "branch=z9hG4bKx"), text.replace("9 OPTIONS", "9 INFO")] {
        let Message::Response(response) = answer_to(&other.into(), 200) else { panic!() };
        assert!(bench.receive_message(Message::Response(response), flow(Udp)).is_empty());
    }
    assert_eq!(bench.layer.counters().responses_unmatched, 2);
}

#[test]
fn a_branch_in_use_an_ack_and_a_full_table_are_refused() {
    use offhook_sip::transaction::{LayerConfig, SendError};
    let mut bench = Bench::with(LayerConfig { transactions_max: 1, ..LayerConfig::default() });
    let mut send = |method: &Method, branch: &str| {
        let request = transaction_support::our_request(method.as_str(), branch);
        let now = bench.now;
        bench.layer.send_request(method, branch, request, to_peer(Udp), now).err()
    };
    assert_eq!(send(&Method::Options, "z9hG4bK1"), None);
    assert_eq!(send(&Method::Options, "z9hG4bK1"), Some(SendError::BranchInUse));
    assert_eq!(send(&Method::Ack, "z9hG4bK2"), Some(SendError::Ack));
    assert_eq!(send(&Method::Bye, "z9hG4bK3"), None, "the reserve");
    assert_eq!(send(&Method::Bye, "z9hG4bK4"), Some(SendError::Full));
}

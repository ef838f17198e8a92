//! A node that gets more than it can do: what it refuses, in which order, and how; and that it forgets about it afterwards.

mod stage;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use offhook_sim::{Habits, PhoneId, World};
use offhook_sip::{
    header::HeaderName,
    message::{Message, Response},
};
use stage::{assert_settled, header_of, stage};

const STRANGER: &str = "192.0.2.99:5060";

/// Enough that nothing new is let in any more, and half of the calls' messages.
const LATE: (Duration, u64) = (Duration::from_millis(100), 9);

fn world() -> (World, Vec<PhoneId>) {
    let phones = ["101", "102", "103"].map(|line| (line, Habits::default()));
    stage(phones.into())
}

fn request(method: &str, user: &str, number: usize, via: &str, to_tag: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:{user}@example.org SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKlate{number}{via}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:x@192.0.2.99>;tag=f{number}\r\n\
         To: <sip:{user}@example.org>{to_tag}\r\n\
         Call-ID: late-{number}@192.0.2.99\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:x@192.0.2.99>\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

/// What the stranger is answered first.
fn answer(world: &mut World, request: Bytes) -> Option<Response> {
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let known = world.sent_nowhere.len();
    world.inject(stranger, request);
    world.run_for(Duration::from_millis(200));
    let (_, bytes) = world.sent_nowhere.get(known)?;
    match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) => Some(response),
        _ => panic!("no response"),
    }
}

fn status(world: &mut World, request: Bytes) -> u16 {
    answer(world, request).map_or(0, |response| response.status().as_u16())
}

/// Goal: a call that is on does not notice; a new one gets 503 with Retry-After, whoever makes it. Method: the driver says
/// that messages wait.
#[test]
fn calls_that_are_on_go_on_and_new_ones_are_asked_to_come_later() {
    let (mut world, phones) = world();
    let [anna, bert, cleo] = phones[..] else { panic!() };
    let call = world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert!(world.phone(anna).is_talking() && world.phone(bert).is_talking());
    world.be_late(LATE.0, LATE.1);
    assert_eq!(world.gauges().overload.let_in[0], 0);

    world.act(cleo, |phone, now| phone.call("102", now));
    world.run_secs(1);
    let after = header_of(&world, cleo, "< 503 INVITE", "Retry-After").and_then(|secs| secs.parse().ok());
    assert!((2..=20).contains(&after.unwrap_or(0)), "{after:?}, {:?}", world.phone(cleo).ladder_text());
    assert_eq!(world.state().started.len(), 1, "nothing was begun for it");

    world.act(anna, |phone, now| phone.hang_up(call, now));
    world.run_secs(40);
    assert!(world.phone(anna).is_idle() && world.phone(bert).is_idle(), "a BYE gets through in the end");
    world.be_late(Duration::ZERO, 40);
    assert_eq!(world.gauges().overload.let_in, [1000; 3]);
    assert_settled(&mut world);
    world.act(cleo, |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert!(world.phone(cleo).is_talking(), "{:?}", world.phone(cleo).ladder_text());
}

/// Goal: the order of RFC 3261's methods and of people's need. Method: one request of each kind at each stage.
#[test]
fn emergency_calls_and_what_has_begun_are_let_in_longest() {
    let (mut world, _) = world();
    let mut number = 0;
    let mut try_all = |world: &mut World| {
        ["INVITE 102", "MESSAGE 102", "REGISTER 102", "INVITE 112"].map(|what| {
            number += 1;
            let (method, user) = what.split_once(' ').unwrap();
            status(world, request(method, user, number, "", ""))
        })
    };
    let challenged = [407, 407, 401, 407];
    assert_eq!(try_all(&mut world), challenged);
    let mut stages = vec![challenged];
    for _ in 0..60 {
        world.be_late(LATE.0, 1);
        let now = try_all(&mut world);
        if stages.last() != Some(&now) {
            stages.push(now);
        }
    }
    assert_eq!(stages.last(), Some(&[503, 503, 503, 407]), "{stages:?}");
    let registers_go_after_calls = |answers: &[u16; 4]| answers[2] != 503 || answers[0] == 503;
    assert!(stages.iter().all(registers_go_after_calls), "{stages:?}");
    assert!(stages.contains(&[503, 503, 401, 407]), "{stages:?}");
    let service = request("INVITE", "x", 9000, "", "");
    let service = String::from_utf8_lossy(&service).replacen(
        "INVITE sip:x@example.org",
        "INVITE urn:service:sos.police",
        1,
    );
    assert_ne!(status(&mut world, Bytes::from(service)), 503);
}

/// Goal: a flood of refusals leaves nothing in the node. Method: a thousand INVITEs, each acknowledged as it must be.
#[test]
fn a_refusal_costs_no_memory_and_its_ack_ends_there() {
    let (mut world, _) = world();
    // Until the transactions of the registrations have ended.
    world.run_secs(60);
    world.be_late(LATE.0, LATE.1);
    let before = world.gauges();
    for number in 0..1000 {
        let refused = answer(&mut world, request("INVITE", "102", number, "", "")).unwrap();
        assert_eq!(refused.status().as_u16(), 503);
        let to = refused.headers().first(&HeaderName::To).unwrap();
        let (_, tag) = to.split_once(";tag=").unwrap();
        let ack = request("ACK", "102", number, "", &format!(";tag={tag}"));
        assert!(answer(&mut world, ack).is_none());
    }
    let after = world.gauges();
    assert_eq!(
        (after.transactions, after.calls, after.tables),
        (before.transactions, before.calls, before.tables)
    );
    assert_eq!(after.edge.passed, before.edge.passed + 1000, "the ACKs got nowhere");
    assert!(after.overload.given_up[0] >= before.overload.given_up[0] + 1000);
}

/// RFC 7339 §5.3: who says that it listens hears how much to keep to itself, and that it is over.
#[test]
fn a_server_that_speaks_of_overload_is_told_of_ours() {
    let (mut world, _) = world();
    let asks = ";oc;oc-algo=\"loss\"";
    let said = |world: &mut World, number, via: &str| {
        let response = answer(world, request("OPTIONS", "102", number, via, "")).unwrap();
        let via = response.headers().first(&HeaderName::Via).unwrap_or_default().to_string();
        (response.status().as_u16(), via)
    };
    let (status, via) = said(&mut world, 1, asks);
    assert!(status == 200 && via.contains(";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq="), "{via}");
    let (_, via) = said(&mut world, 2, "");
    assert!(!via.contains("oc="), "who does not ask is not told: {via}");
    world.be_late(LATE.0, LATE.1);
    let (status, via) = said(&mut world, 3, asks);
    assert!(status == 503 && via.contains(";oc=100;oc-algo=\"loss\";oc-validity=500;oc-seq="), "{via}");
}

//! Several devices of one line: serial by q, parallel within a q; the first answer wins.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig};
use offhook_switch::record::{EndCause, EndedBy};
use stage::{
    assert_ended, assert_ladder, assert_settled, header_of, heard, pair, stage, stage_with, the_record,
};

fn answers_after(secs: u64) -> Habits {
    Habits::reacting(Reaction::Answer(Duration::from_secs(secs)))
}

fn refuses(status: u16) -> Habits {
    Habits { rings_after: None, ..Habits::reacting(Reaction::Refuse(status, Duration::from_millis(100))) }
}

fn with_q(q: &'static str, habits: Habits) -> Habits {
    Habits { q: Some(q), ..habits }
}

/// 101 calls 102, which has these devices.
fn ring(devices: Vec<Habits>) -> (World, Vec<PhoneId>) {
    let mut phones = vec![("101", Habits::default())];
    phones.extend(devices.into_iter().map(|habits| ("102", habits)));
    let (mut world, phones) = stage(phones);
    world.act(phones[0], |phone, now| phone.call("102", now));
    (world, phones)
}

fn final_of_caller(world: &World, phones: &[PhoneId]) -> String {
    let ladder = world.phone(phones[0]).ladder_text();
    ladder.iter().rev().find(|step| step.starts_with("< ")).cloned().unwrap_or_default()
}

const WINS: &str = "< INVITE | > 180 INVITE | > 200 INVITE | < ACK";
const LOSES: &str = "< INVITE | > 180 INVITE | < CANCEL | > 200 CANCEL | > 487 INVITE | < ACK";

#[test]
fn all_devices_ring_and_the_first_answer_wins() {
    let (mut world, phones) = ring(vec![answers_after(9), answers_after(2), answers_after(9)]);
    world.run_secs(12);
    for (phone, ladder) in [(phones[1], LOSES), (phones[2], WINS), (phones[3], LOSES)] {
        assert_ladder(&world, phone, ladder);
    }
    let reason = header_of(&world, phones[1], "< CANCEL", "Reason");
    assert_eq!(reason.as_deref(), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    assert!(heard(&world, phones[2], 0) > 5 && heard(&world, phones[1], 0) == 0);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    let statuses: Vec<_> = the_record(&world).legs.iter().map(|leg| leg.status).collect();
    assert_eq!(statuses, [Some(200), Some(487), Some(200), Some(487)]);
}

#[test]
fn a_less_preferred_device_rings_when_the_better_ones_had_their_time() {
    let (mut world, phones) =
        ring(vec![with_q("0.3", answers_after(2)), with_q("0.9", Habits::reacting(Reaction::Never))]);
    world.run_secs(25);
    assert_eq!(world.phone(phones[1]).ladder_text(), [""; 0]);
    world.run_secs(15);
    assert_ladder(&world, phones[1], WINS);
    assert_ladder(&world, phones[2], LOSES);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_refusal_of_the_better_device_goes_on_to_the_next_at_once() {
    let (mut world, phones) = ring(vec![with_q("0.3", answers_after(1)), with_q("0.9", refuses(486))]);
    world.run_secs(4);
    assert_ladder(&world, phones[1], WINS);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_decline_speaks_for_the_person_and_stops_the_other_devices() {
    let (mut world, phones) = ring(vec![refuses(603), answers_after(9), with_q("0.1", answers_after(9))]);
    world.run_secs(20);
    assert_ladder(&world, phones[2], LOSES);
    assert_eq!(world.phone(phones[3]).ladder_text(), [""; 0]);
    assert_eq!(final_of_caller(&world, &phones), "< 603 INVITE");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::Declined, 603, 21);
}

#[test]
fn busy_says_more_than_the_other_failures() {
    let (mut world, phones) = ring(vec![refuses(480), refuses(486), refuses(500)]);
    world.run_secs(2);
    assert_eq!(final_of_caller(&world, &phones), "< 486 INVITE");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::Busy, 486, 17);
}

#[test]
fn the_second_of_two_simultaneous_answers_is_acknowledged_and_let_go() {
    let (mut world, phones) = ring(vec![answers_after(2), answers_after(2)]);
    world.run_secs(8);
    let talking: Vec<bool> = phones.iter().map(|phone| world.phone(*phone).is_talking()).collect();
    assert_eq!(talking.iter().filter(|talks| **talks).count(), 2, "{talking:?}");
    let loser = if talking[1] { phones[2] } else { phones[1] };
    assert_ladder(
        &world,
        loser,
        "< INVITE | > 180 INVITE | > 200 INVITE | < CANCEL | > 200 CANCEL | < ACK | < BYE | > 200 BYE",
    );
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn nobody_answers_in_the_whole_time_and_all_devices_stop_ringing() {
    let (mut world, phones) =
        ring(vec![Habits::reacting(Reaction::Never), Habits::reacting(Reaction::Never)]);
    world.run_secs(40);
    assert_ladder(&world, phones[1], LOSES);
    assert_ladder(&world, phones[2], LOSES);
    assert_eq!(final_of_caller(&world, &phones), "< 480 INVITE");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::NoAnswer, 480, 19);
}

#[test]
fn a_redirection_within_the_domain_is_followed_and_one_to_elsewhere_is_not() {
    for (to, answered) in [("sip:103@example.org", true), ("sip:103@elsewhere.example", false)] {
        let away =
            Habits { rings_after: None, ..Habits::reacting(Reaction::Redirect(to.into(), Duration::ZERO)) };
        let (mut world, phones) =
            stage(vec![("101", Habits::default()), ("102", away), ("103", answers_after(1))]);
        world.act(phones[0], |phone, now| phone.call("102", now));
        world.run_secs(5);
        assert_eq!(world.phone(phones[2]).is_talking(), answered, "{to}");
        if !answered {
            assert_eq!(final_of_caller(&world, &phones), "< 480 INVITE");
        }
        world.act(phones[0], |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
    }
}

#[test]
fn phones_that_redirect_in_circles_end_the_call() {
    let to = |line: &str| {
        let reaction = Reaction::Redirect(format!("sip:{line}@example.org"), Duration::ZERO);
        Habits { rings_after: None, ..Habits::reacting(reaction) }
    };
    for third in ["102", "103"] {
        let (mut world, phones) =
            stage(vec![("101", Habits::default()), ("102", to("103")), ("103", to(third))]);
        world.act(phones[0], |phone, now| phone.call("102", now));
        world.run_secs(5);
        assert_eq!(final_of_caller(&world, &phones), "< 480 INVITE");
        assert_eq!(world.phone(phones[1]).calls.len() + world.phone(phones[2]).calls.len(), 2);
        assert_settled(&mut world);
    }
}

#[test]
fn without_ports_the_call_fails_and_nothing_stays_open() {
    for spare in [1, 2] {
        let (mut world, phones) = stage(vec![("101", Habits::default()), ("102", Habits::default())]);
        world.refuse_ports(spare);
        world.act(phones[0], |phone, now| phone.call("102", now));
        world.run_secs(5);
        assert_eq!(final_of_caller(&world, &phones), "< 503 INVITE");
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Node, EndCause::Overloaded, 503, 42);
    }
}

#[test]
fn a_line_takes_no_more_calls_than_it_may_have() {
    let mut config = WorldConfig::with_lines(1, &["101", "102", "103"]);
    let tenants = config.directory.tenants().iter().map(|tenant| (**tenant).clone()).collect();
    let mut lines: Vec<_> =
        [(1, "101"), (2, "102"), (3, "103")].map(|(id, name)| offhook_sim::line(id, name)).into();
    lines[1].calls_max = 1;
    config.directory = offhook_switch::directory::Directory::new(tenants, vec![], vec![], lines, vec![]);
    let (mut world, phones) = stage_with(
        config,
        vec![("101", Habits::default()), ("102", Habits::default()), ("103", Habits::default())],
    );
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    world.act(phones[2], |phone, now| phone.call("102", now));
    world.run_secs(1);
    assert_eq!(world.phone(phones[2]).ladder_text().last().map(String::as_str), Some("> ACK"));
    assert!(world.phone(phones[2]).ladder_text().contains(&"< 486 INVITE".to_string()));
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

/// A line that calls its own number: the device that calls is in a call already.
#[test]
fn a_line_that_calls_itself_rings_its_other_devices_only() {
    for others in [1, 0] {
        let mut phones = vec![("101", Habits::default())];
        phones.extend((0..others).map(|_| ("101", answers_after(1))));
        let (mut world, phones) = stage(phones);
        world.act(phones[0], |phone, now| phone.call("101", now));
        world.run_secs(3);
        assert!(!world.phone(phones[0]).ladder_text().contains(&"< INVITE".to_string()));
        match phones.get(1) {
            Some(&other) => assert!(world.phone(other).is_talking()),
            None => assert_eq!(final_of_caller(&world, &phones), "< 486 INVITE"),
        }
        world.act(phones[0], |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
    }
}

/// RFC 3261 §13.2.2.4: a proxy behind a contact has forked, and a second device answers too: it is acknowledged and let
/// go, the call with the first goes on.
#[test]
fn a_second_answer_on_one_branch_is_acknowledged_and_ended() {
    let (mut world, anna, bert) =
        pair(Habits::default(), Habits::reacting(Reaction::Answer(Duration::from_secs(1))));
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(3);
    let of = |name| header_of(&world, bert, "< INVITE", name).unwrap();
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=another\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:other@{}>\r\nContent-Length: 0\r\n\r\n",
        of("Via"),
        of("From"),
        of("To"),
        of("Call-ID"),
        of("CSeq"),
        world.phone(bert).address
    );
    let from = world.phone(bert).address;
    world.act(bert, |phone, _| phone.clear_ladder());
    world.inject(from, bytes::Bytes::from(text));
    world.run_secs(1);
    assert_ladder(&world, bert, "< ACK | < BYE | > 481 BYE");
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

//! How calls end: at once from both sides, by lost messages, by silence, by the clock, by the operator, by a crash.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig};
use offhook_switch::{
    exchange::Input,
    record::{EndCause, EndedBy},
};
use stage::{assert_ended, assert_ladder, assert_settled, header_of, heard, pair, stage_with, the_record};

fn talking(caller: Habits, callee: Habits) -> (World, PhoneId, PhoneId) {
    talking_in(WorldConfig::with_lines(1, &["101", "102"]), caller, callee)
}

fn talking_in(config: WorldConfig, caller: Habits, callee: Habits) -> (World, PhoneId, PhoneId) {
    let (mut world, phones) = stage_with(config, vec![("101", caller), ("102", callee)]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert!(world.phone(phones[0]).is_talking() && world.phone(phones[1]).is_talking());
    for phone in &phones {
        world.act(*phone, |phone, _| phone.clear_ladder());
    }
    (world, phones[0], phones[1])
}

#[test]
fn both_hang_up_at_once() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.act(bert, |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    for phone in [anna, bert] {
        let ladder = world.phone(phone).ladder_text();
        assert!(ladder.contains(&"< 200 BYE".to_string()), "{ladder:?}");
    }
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_cancel_at_any_moment_ends_the_call_once() {
    for millis in (0..300).step_by(3) {
        let quick = Habits {
            rings_after: Some(Duration::from_millis(30)),
            ..Habits::reacting(Reaction::Answer(Duration::from_millis(120)))
        };
        let (mut world, anna, bert) = pair(Habits::default(), quick);
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_for(Duration::from_millis(millis));
        world.act(anna, |phone, now| phone.hang_up(0, now));
        world.run_secs(1);
        assert!(!world.phone(anna).is_talking() && !world.phone(bert).is_talking(), "after {millis} ms");
        assert_settled(&mut world);
        let records = &world.state().records;
        assert!(records.len() <= 1, "after {millis} ms");
        if let Some(record) = records.first() {
            let expected = if record.answered.is_some() { EndCause::HungUp } else { EndCause::Cancelled };
            assert_eq!((record.ended_by, record.cause), (EndedBy::Caller, expected), "after {millis} ms");
        }
    }
}

#[test]
fn a_lost_ack_is_made_good_by_the_repeated_2xx() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    // The first ACK is that of the challenge.
    world.lose(anna, true, "ACK", 1, 2);
    world.lose(bert, false, "ACK", 0, 1);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    let answers = |phone| {
        let ladder = world.phone(phone).ladder_text();
        ladder.iter().filter(|step| step.ends_with("200 INVITE")).count()
    };
    assert_eq!((answers(anna), answers(bert)), (3, 2));
    assert!(world.phone(anna).is_talking() && world.phone(bert).is_talking());
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_callee_that_hangs_up_at_once_is_heard_of_only_after_the_ack() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.lose(anna, true, "ACK", 1, 2);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_until(Duration::from_secs(5), |world| world.phone(bert).is_talking());
    world.act(bert, |phone, now| phone.hang_up(0, now));
    world.run_secs(5);
    let ladder = world.phone(anna).ladder_text();
    let from_answer = ladder.iter().skip_while(|step| *step != "< 200 INVITE").cloned().collect::<Vec<_>>();
    let answer = ["< 200 INVITE", "> ACK"];
    assert_eq!(from_answer, [&answer[..], &answer, &answer, &["< BYE", "> 200 BYE"]].concat());
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
}

#[test]
fn a_caller_that_never_acknowledges_is_let_go_after_64_t1() {
    let (mut world, anna, bert) = pair(Habits { never_acks: true, ..Habits::default() }, Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(40);
    let answers = world.phone(anna).ladder_text().iter().filter(|step| *step == "< 200 INVITE").count();
    assert_eq!(answers, 11, "once, and ten repeats in 32 s (RFC 3261 §13.3.1.4)");
    assert!(!world.phone(anna).is_talking() && !world.phone(bert).is_talking());
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::Vanished, 408, 102);
}

#[test]
fn a_lost_bye_is_sent_again() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.lose(anna, true, "BYE", 0, 2);
    world.lose(bert, false, "BYE", 0, 2);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(5);
    assert_ladder(&world, anna, "> BYE | > BYE | > BYE | < 200 BYE");
    assert_ladder(&world, bert, "< BYE | > 200 BYE");
    assert_settled(&mut world);
}

#[test]
fn a_call_in_which_nobody_says_anything_is_ended_after_a_minute() {
    let mute = Habits { speaks: false, ..Habits::default() };
    let (mut world, anna, bert) = talking(mute.clone(), mute);
    world.run_secs(50);
    assert!(world.phone(anna).is_talking());
    world.run_secs(20);
    for phone in [anna, bert] {
        assert!(!world.phone(phone).is_talking());
        assert!(header_of(&world, phone, "< BYE", "Reason").unwrap().contains("No media"));
    }
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::MediaSilence, 200, 102);
}

#[test]
fn a_call_lasts_no_longer_than_it_may() {
    let mut config = WorldConfig::with_lines(1, &["101", "102"]);
    config.settings.call_duration = Duration::from_secs(60);
    let (mut world, anna, _) = talking_in(config, Habits::default(), Habits::default());
    world.run_secs(70);
    assert!(header_of(&world, anna, "< BYE", "Reason").unwrap().contains("Maximum duration"));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::TooLong, 200, 102);
    assert_eq!(the_record(&world).talk_millis(), 60_000);
}

#[test]
fn the_operator_ends_a_call_and_a_drain_takes_no_new_one() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.tell_node(Input::Drain);
    world.act(bert, |phone, now| phone.call("101", now));
    world.run_secs(1);
    assert!(world.phone(bert).ladder_text().contains(&"< 503 INVITE".to_string()));
    assert!(world.phone(anna).is_talking());
    let id = world.exchange().unwrap().calls()[0].id;
    world.tell_node(Input::HangUp(id));
    world.run_secs(1);
    assert!(!world.phone(anna).is_talking() && !world.phone(bert).is_talking());
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::Shutdown, 503, 41);
}

#[test]
fn at_the_end_of_the_node_every_call_ends_with_its_record() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    let ringing = world.add_phone("102", Habits::reacting(Reaction::Never));
    world.run_secs(1);
    world.act(bert, |phone, now| phone.call("101", now));
    world.run_secs(1);
    world.tell_node(Input::EndAll);
    world.run_secs(1);
    for phone in [anna, bert, ringing] {
        assert!(world.phone(phone).calls.iter().all(offhook_sim::phone::PhoneCall::is_over));
    }
    assert_settled(&mut world);
    let causes: Vec<_> = world.state().records.iter().map(|record| (record.ended_by, record.cause)).collect();
    assert_eq!(causes, [(EndedBy::Node, EndCause::Shutdown); 2]);
}

#[test]
fn a_bye_in_the_only_early_dialog_ends_the_call_and_in_one_of_two_lets_the_other_ring_on() {
    let ladder = |devices: usize| {
        let mut phones = vec![("101", Habits::default())];
        phones.extend(vec![("102", Habits::default()); devices]);
        let (mut world, phones) = stage_with(WorldConfig::with_lines(1, &["101", "102"]), phones);
        world.act(phones[0], |phone, now| phone.call("102", now));
        world.run_secs(1);
        world.act(phones[0], |phone, now| phone.bye_early(0, now));
        world.run_secs(5);
        let last = world.phone(phones[0]).ladder_text().into_iter().rfind(|step| step.ends_with("INVITE"));
        world.act(phones[0], |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        let record = the_record(&world);
        (last.unwrap_or_default(), record.ended_by, record.cause)
    };
    assert_eq!(ladder(1), ("< 487 INVITE".into(), EndedBy::Caller, EndCause::Cancelled));
    assert_eq!(ladder(2), ("< 200 INVITE".into(), EndedBy::Caller, EndCause::HungUp));
}

#[test]
fn after_a_crash_of_the_node_the_registrations_are_there_and_calls_go_on_working() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.crash_node();
    world.run_secs(2);
    world.start_node();
    assert_eq!(world.gauges().bindings, 2);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(5);
    assert!(!world.phone(bert).is_talking(), "the node passed the BYE on");
    let again = world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(8);
    assert!(world.phone(bert).is_talking() && heard(&world, anna, again) > 3);
    world.act(anna, |phone, now| phone.hang_up(again, now));
    assert_settled(&mut world);
    assert_eq!(world.state().records.len(), 2);
}

#[test]
fn a_nat_that_forgets_a_phone_is_healed_by_the_next_request_of_the_phone() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.rebind(bert, 7);
    world.run_secs(3);
    let before = heard(&world, bert, 0);
    world.run_secs(5);
    assert!(heard(&world, bert, 0) > before + 3, "sound follows the phone by itself");
    world.act(bert, |phone, now| phone.hold(0, true, now));
    world.run_secs(2);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    assert!(!world.phone(bert).is_talking(), "the BYE went to the new address");
    assert_settled(&mut world);
}

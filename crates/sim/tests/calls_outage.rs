//! The node dies in the middle of a call and starts again: the call goes on.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, PhoneId, Reaction, Srtp, World, WorldConfig};
use offhook_switch::record::{EndCause, EndedBy};
use stage::{assert_ended, assert_settled, heard, pair, stage_with, the_record};

fn outage(world: &mut World, millis: u64) {
    world.crash_node();
    world.run_for(Duration::from_millis(millis));
    let resumed = world.start_node();
    assert_eq!((resumed.going_on, resumed.unreadable.len()), (1, 0), "{resumed:?}");
}

fn talking(caller: Habits, callee: Habits) -> (World, PhoneId, PhoneId) {
    let (mut world, anna, bert) = pair(caller, callee);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(8);
    assert!(world.phone(anna).is_talking() && world.phone(bert).is_talking());
    (world, anna, bert)
}

/// Both hear each other still or again.
#[track_caller]
fn assert_heard(world: &mut World, phones: [PhoneId; 2]) {
    let before = phones.map(|phone| heard(world, phone, 0));
    world.run_secs(5);
    let after = phones.map(|phone| heard(world, phone, 0));
    assert!(after[0] > before[0] + 2 && after[1] > before[1] + 2, "{before:?} {after:?}");
}

#[test]
fn the_record_is_true_and_sound_flows_again() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    outage(&mut world, 4000);
    assert_heard(&mut world, [anna, bert]);
    world.run_secs(20);
    world.act(bert, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
    let record = the_record(&world);
    assert!(record.talk_millis() > 30_000, "{}", record.talk_millis());
}

#[test]
fn hold_and_other_codecs_cross_in_either_direction_after_it() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits { updates: true, ..Habits::default() });
    outage(&mut world, 1000);
    world.act(bert, |phone, now| phone.hold(0, true, now));
    world.run_secs(3);
    world.act(bert, |phone, now| phone.hold(0, false, now));
    world.run_secs(3);
    world.act(anna, |phone, now| phone.change_codecs(0, &[0, 8], now));
    world.run_secs(3);
    assert_heard(&mut world, [anna, bert]);
    outage(&mut world, 1000);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn sessions_are_refreshed_by_whoever_has_to() {
    for leaves_refresh in [false, true] {
        let caller = Habits { session_secs: Some(90), leaves_refresh, updates: true, ..Habits::default() };
        let (mut world, anna, bert) = talking(caller, Habits::default());
        for _ in 0..6 {
            world.run_secs(50);
            outage(&mut world, 3000);
        }
        assert_heard(&mut world, [anna, bert]);
        world.act(anna, |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    }
}

#[test]
fn srtp_that_ends_here_goes_on_with_its_keys() {
    let (mut world, anna, bert) =
        talking(Habits { srtp: Srtp::Always, ..Habits::default() }, Habits::default());
    outage(&mut world, 2000);
    assert_heard(&mut world, [anna, bert]);
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_secs(2);
    world.act(anna, |phone, now| phone.hold(0, false, now));
    world.run_secs(2);
    assert_heard(&mut world, [anna, bert]);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

fn ringing(callee: Habits) -> (World, PhoneId, PhoneId) {
    let (mut world, anna, bert) = pair(Habits { reliable: true, ..Habits::default() }, callee);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(2);
    (world, anna, bert)
}

fn answers_after(secs: u64) -> Habits {
    Habits { reaction: Reaction::Answer(Duration::from_secs(secs)), ..Habits::default() }
}

#[test]
fn a_phone_that_rings_is_answered_after_it_or_while_the_node_is_down() {
    // The answer comes after the restart; then while nobody takes it, and is repeated.
    for secs in [10, 3] {
        let early = Habits {
            early_media_after: Some(Duration::from_millis(500)),
            reliable: true,
            ..answers_after(secs)
        };
        let (mut world, anna, bert) = ringing(early);
        outage(&mut world, 3000);
        world.run_secs(15);
        assert_heard(&mut world, [anna, bert]);
        world.act(anna, |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
        let record = the_record(&world);
        assert!(record.ringing < record.answered && record.ringing.is_some());
    }
}

#[test]
fn a_caller_who_gives_up_after_it_or_meanwhile_stops_the_ringing() {
    for gives_up_meanwhile in [false, true] {
        let (mut world, anna, bert) = ringing(answers_after(60));
        world.crash_node();
        if gives_up_meanwhile {
            world.act(anna, |phone, now| phone.hang_up(0, now));
        }
        world.run_secs(2);
        world.start_node();
        if !gives_up_meanwhile {
            world.act(anna, |phone, now| phone.hang_up(0, now));
        }
        world.run_secs(10);
        assert!(world.phone(bert).calls[0].is_over(), "it rings on");
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::Cancelled, 487, 16);
    }
}

#[test]
fn nobody_answers_and_the_call_ends_when_it_would_have() {
    let (mut world, ..) = ringing(Habits { reaction: Reaction::Never, ..Habits::default() });
    outage(&mut world, 5000);
    assert_settled(&mut world);
    let record = the_record(&world);
    assert_eq!(record.cause, EndCause::NoAnswer);
    let lasted = record.ended.saturating_since(record.started).as_secs();
    assert!((25..=125).contains(&lasted), "{lasted}");
}

#[test]
fn a_bye_that_nobody_took_is_sent_again() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.lose(bert, false, "BYE", 0, 1);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_for(Duration::from_millis(200));
    world.crash_node();
    world.run_secs(1);
    let resumed = world.start_node();
    assert_eq!((resumed.going_on, resumed.ended), (0, 1));
    world.run_secs(2);
    assert!(!world.phone(bert).is_talking());
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_phone_on_tcp_goes_on_when_it_has_registered_again() {
    let tcp = || Habits { tcp: true, ..Habits::default() };
    let (mut world, anna, bert) = talking(tcp(), tcp());
    outage(&mut world, 1000);
    for phone in [anna, bert] {
        world.act(phone, |phone, now| phone.come_back(phone.address, now));
    }
    world.run_secs(2);
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_secs(2);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(2);
    assert!(!world.phone(bert).is_talking(), "the BYE went by the new connection");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_phone_on_tcp_that_does_not_come_back_loses_its_call() {
    let (mut world, _, bert) = talking(Habits { tcp: true, ..Habits::default() }, Habits::default());
    outage(&mut world, 1000);
    world.run_secs(50);
    assert!(world.phone(bert).is_talking());
    world.run_secs(15);
    assert!(!world.phone(bert).is_talking());
    world.run_secs(120);
    assert_ended(&world, EndedBy::Node, EndCause::Outage, 408, 41);
}

#[test]
fn after_too_long_an_outage_calls_end_as_of_its_beginning() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.crash_node();
    world.run_secs(301);
    let resumed = world.start_node();
    assert_eq!((resumed.going_on, resumed.ended), (0, 1));
    assert_settled(&mut world);
    for phone in [anna, bert] {
        assert!(!world.phone(phone).is_talking(), "both are told");
    }
    assert_ended(&world, EndedBy::Node, EndCause::Outage, 503, 41);
    assert!(the_record(&world).talk_millis() < 10_000);
}

#[test]
fn a_line_that_was_removed_meanwhile_keeps_its_call() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.crash_node();
    world.set_lines(vec![]);
    world.start_node();
    assert_heard(&mut world, [anna, bert]);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(5);
    assert!(!world.phone(bert).is_talking());
    assert_eq!(the_record(&world).legs[0].line.as_deref(), Some("101"));
}

#[test]
fn ports_that_are_somebody_elses_now_end_the_call() {
    let mut config = WorldConfig::with_lines(1, &["101", "102"]);
    config.settings.outage = Duration::from_secs(60);
    let (mut world, phones) =
        stage_with(config, vec![("101", Habits::default()), ("102", Habits::default())]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(8);
    world.crash_node();
    world.refuse_ports_of_next_life(1);
    world.start_node();
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::Outage, 503, 41);
}

/// Unacknowledged for 64*T1 it would hang up (RFC 3261 §13.3.1.4).
#[test]
fn an_answer_to_an_offer_of_the_dead_process_is_acknowledged() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.lose(bert, true, "200 INVITE", 0, 1);
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_for(Duration::from_millis(100));
    outage(&mut world, 300);
    world.run_secs(40);
    assert!(world.phone(bert).is_talking(), "{:?}", world.phone(bert).ladder_text());
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

/// The ACK holds the answer then: of the caller it is to come still, or it came and our ACK was lost.
#[test]
fn a_late_offer_is_answered_after_it() {
    for caller_was_heard in [false, true] {
        let late = Habits { late_offer: true, ..Habits::default() };
        let (mut world, anna, bert) = pair(late, Habits::default());
        if caller_was_heard {
            world.lose(bert, false, "ACK", 0, 1);
        } else {
            // The first ACK is that of the challenge.
            world.lose(anna, true, "ACK", 1, 1);
        }
        world.act(anna, |phone, now| phone.call("102", now));
        assert!(world.run_until(Duration::from_secs(5), |world| world.phone(anna).is_talking()));
        world.run_for(Duration::from_millis(50));
        outage(&mut world, 300);
        world.run_secs(10);
        assert_heard(&mut world, [anna, bert]);
        world.act(anna, |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    }
}

#[test]
fn a_device_that_answered_beside_another_is_told_after_it() {
    let phones = [("101", Habits::default()), ("102", answers_after(2)), ("102", answers_after(2))];
    let config = WorldConfig::with_lines(1, &["101", "102"]);
    let (mut world, phones) = stage_with(config, phones.into());
    for &callee in &phones[1..] {
        world.lose(callee, false, "BYE", 0, 1);
    }
    world.act(phones[0], |phone, now| phone.call("102", now));
    let both_answered = |world: &World| {
        phones[1..].iter().all(|&phone| {
            world.phone(phone).calls.iter().any(|call| call.ack.is_none() && call.up_at.is_some())
        })
    };
    assert!(world.run_until(Duration::from_secs(5), both_answered));
    world.run_for(Duration::from_millis(100));
    outage(&mut world, 200);
    world.run_secs(40);
    let talking = phones[1..].iter().filter(|&&phone| world.phone(phone).is_talking()).count();
    assert_eq!(talking, 1, "one has the call, the other was told");
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

/// RFC 3261 §15: the caller of a call that is over has its 2xx before the BYE.
#[test]
fn a_caller_hears_of_the_answer_before_it_hears_of_the_end() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.lose(anna, false, "200 INVITE", 0, 2);
    world.act(anna, |phone, now| phone.call("102", now));
    assert!(world.run_until(Duration::from_secs(5), |world| world.phone(bert).is_talking()));
    world.run_for(Duration::from_millis(50));
    world.act(bert, |phone, now| phone.hang_up(0, now));
    world.run_for(Duration::from_millis(50));
    world.crash_node();
    world.start_node();
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
}

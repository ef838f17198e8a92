//! Offers after the first: hold and resume, codec change, glare, session timers.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, PhoneId, World};
use offhook_switch::{
    directory::LineId,
    fact::{LineState, What},
    record::{EndCause, EndedBy},
};
use stage::{assert_ended, assert_settled, header_of, heard, pair};

fn talking(caller: Habits, callee: Habits) -> (World, PhoneId, PhoneId) {
    let (mut world, anna, bert) = pair(caller, callee);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert!(world.phone(anna).is_talking() && world.phone(bert).is_talking());
    for phone in [anna, bert] {
        world.act(phone, |phone, _| phone.clear_ladder());
    }
    (world, anna, bert)
}

fn updates() -> Habits {
    Habits { updates: true, ..Habits::default() }
}

/// Pieces of sound that each hears in the next 5 s.
fn hears(world: &mut World, anna: PhoneId, bert: PhoneId) -> (u64, u64) {
    let before = (heard(world, anna, 0), heard(world, bert, 0));
    world.run_secs(5);
    (heard(world, anna, 0) - before.0, heard(world, bert, 0) - before.1)
}

fn end(world: &mut World, phone: PhoneId) {
    world.act(phone, |phone, now| phone.hang_up(0, now));
    assert_settled(world);
}

#[test]
fn either_side_holds_and_resumes_by_re_invite_or_update() {
    for habits in [Habits::default(), updates()] {
        for caller_holds in [true, false] {
            let (mut world, anna, bert) = talking(habits.clone(), habits.clone());
            let (holder, line) = if caller_holds { (anna, LineId(1)) } else { (bert, LineId(2)) };
            world.act(holder, |phone, now| phone.hold(0, true, now));
            world.run_secs(1);
            assert_eq!(hears(&mut world, anna, bert), (0, 0));
            assert_eq!(world.state().lines.get(&line), Some(&LineState::Held));
            world.act(holder, |phone, now| phone.hold(0, false, now));
            world.run_secs(1);
            assert_eq!(hears(&mut world, anna, bert), (5, 5));
            assert_eq!(world.state().lines.get(&line), Some(&LineState::Busy));
            let holds = world.state().facts.iter().filter(|fact| matches!(fact.what, What::LegHeld { .. }));
            assert_eq!(holds.count(), 1);
            let by_update = world.phone(anna).ladder_text().iter().any(|step| step.contains("UPDATE"));
            assert_eq!(by_update, habits.updates);
            end(&mut world, holder);
        }
    }
}

#[test]
fn an_update_becomes_a_re_invite_for_a_phone_that_does_not_know_it() {
    let (mut world, anna, bert) = talking(updates(), Habits::default());
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_secs(1);
    assert_eq!(world.phone(anna).ladder_text(), ["> UPDATE", "< 200 UPDATE"]);
    assert_eq!(world.phone(bert).ladder_text(), ["< INVITE", "> 200 INVITE", "< ACK"]);
    end(&mut world, anna);
}

#[test]
fn a_codec_change_passes_and_one_without_common_codec_leaves_all_as_it_was() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.change_codecs(0, &[8], now));
    world.run_secs(1);
    let codecs = |world: &World| [anna, bert].map(|phone| world.phone(phone).calls[0].media.codec);
    assert_eq!(codecs(&world), [Some(8), Some(8)]);
    world.act(bert, |phone, _| phone.calls[0].media.codecs = vec![8]);
    world.act(anna, |phone, now| phone.change_codecs(0, &[0], now));
    world.run_secs(1);
    assert!(world.phone(anna).ladder_text().contains(&"< 488 INVITE".to_string()));
    assert_eq!(hears(&mut world, anna, bert), (5, 5));
    // The node's own refresh says again what is in force, not what was refused.
    world.act(bert, |phone, _| phone.clear_ladder());
    world.run_secs(1000);
    assert_eq!(world.phone(bert).ladder_text(), ["< INVITE", "> 200 INVITE", "< ACK"]);
    end(&mut world, anna);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn when_both_offer_at_once_both_hear_491_and_both_come_through_later() {
    for habits in [Habits::default(), updates()] {
        let (mut world, anna, bert) = talking(habits.clone(), habits);
        world.act(anna, |phone, now| phone.hold(0, true, now));
        world.act(bert, |phone, now| phone.hold(0, true, now));
        world.run_for(Duration::from_millis(200));
        for phone in [anna, bert] {
            let ladder = world.phone(phone).ladder_text();
            assert!(ladder.iter().any(|step| step.starts_with("< 491")), "{ladder:?}");
        }
        world.run_secs(10);
        for phone in [anna, bert] {
            let media = &world.phone(phone).calls[0].media;
            assert!(media.holding && media.held);
        }
        end(&mut world, anna);
    }
}

#[test]
fn a_re_invite_taken_back_too_late_goes_through_on_both_sides() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.lose(bert, true, "200 INVITE", 0, 2);
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_for(Duration::from_millis(300));
    world.act(anna, |phone, now| phone.withdraw(0, now));
    world.run_secs(10);
    let ladder = world.phone(anna).ladder_text();
    assert_eq!(ladder, ["> INVITE", "< 100 INVITE", "> CANCEL", "< 200 CANCEL", "< 200 INVITE", "> ACK"]);
    assert!(world.phone(anna).calls[0].media.holding && world.phone(bert).calls[0].media.held);
    end(&mut world, anna);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_digit_by_info_passes_with_its_body() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.send_info(0, now));
    world.run_secs(1);
    assert_eq!(world.phone(anna).ladder_text(), ["> INFO", "< 200 INFO"]);
    assert_eq!(world.phone(bert).ladder_text(), ["< INFO", "> 200 INFO"]);
    assert_eq!(world.phone(bert).ladder[0].message().body(), b"Signal=5\r\nDuration=160\r\n");
    assert_eq!(header_of(&world, bert, "< INFO", "Content-Type").as_deref(), Some("application/dtmf-relay"));
    end(&mut world, bert);
}

#[test]
fn the_node_refreshes_a_session_for_phones_without_timers_of_their_own() {
    for habits in [Habits::default(), updates()] {
        let (mut world, anna, bert) = talking(habits.clone(), habits.clone());
        world.run_secs(1000);
        let method = if habits.updates { "UPDATE" } else { "INVITE" };
        for phone in [anna, bert] {
            let ladder = world.phone(phone).ladder_text();
            assert!(ladder.contains(&format!("< {method}")), "{ladder:?}");
            assert!(ladder.contains(&format!("> 200 {method}")), "{ladder:?}");
        }
        assert_eq!(hears(&mut world, anna, bert), (5, 5));
        end(&mut world, anna);
    }
}

#[test]
fn a_phone_that_refreshes_itself_is_answered_by_the_node_alone() {
    let refreshes = Habits { session_secs: Some(120), ..Habits::default() };
    let leaves = Habits { session_secs: Some(1800), leaves_refresh: true, ..Habits::default() };
    let (mut world, anna, bert) = talking(refreshes, leaves);
    world.run_secs(400);
    assert!(world.phone(anna).is_talking());
    assert_eq!(header_of(&world, bert, "< BYE", "Reason"), None);
    end(&mut world, anna);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_phone_that_vanished_is_noticed_by_its_session_timer() {
    let (mut world, anna, bert) = talking(Habits::default(), Habits::default());
    world.act(bert, |phone, _| phone.crash());
    // Media would end the call sooner; Anna's music keeps one direction alive.
    world.run_secs(1000);
    assert!(!world.phone(anna).is_talking());
    let reason = header_of(&world, anna, "< BYE", "Reason").unwrap();
    assert!(reason.contains("cause=102"), "{reason}");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::Vanished, 408, 102);
}

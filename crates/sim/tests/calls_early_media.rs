//! Before the answer: provisional responses, early media, PRACK on either side.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, Reaction, World};
use offhook_switch::record::{EndCause, EndedBy};
use stage::{assert_ended, assert_ladder, assert_settled, header_of, heard, pair, stage};

const CHALLENGED: &str = "> INVITE | < 407 INVITE | > ACK | > INVITE | < 100 INVITE |";

fn plays_early(reliable: bool) -> Habits {
    Habits {
        rings_after: None,
        early_media_after: Some(Duration::from_millis(100)),
        reliable,
        ..Habits::reacting(Reaction::Answer(Duration::from_secs(6)))
    }
}

fn knows_prack() -> Habits {
    Habits { reliable: true, ..Habits::default() }
}

fn demands_prack() -> Habits {
    Habits { requires_reliable: true, ..Habits::default() }
}

fn hang_up_and_settle(world: &mut World, phone: offhook_sim::PhoneId) {
    world.act(phone, |phone, now| phone.hang_up(0, now));
    assert_settled(world);
    assert_ended(world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

/// PRACK is each side's own affair: every combination of phones works.
#[test]
fn prack_is_used_on_the_legs_that_know_it() {
    let plain_caller = "< 183 INVITE | < 200 INVITE | > ACK";
    let pracking_caller = "< 183 INVITE | > PRACK | < 200 PRACK | < 200 INVITE | > ACK";
    let plain_callee = "< INVITE | > 183 INVITE | > 200 INVITE | < ACK";
    let pracking_callee = "< INVITE | > 183 INVITE | < PRACK | > 200 PRACK | > 200 INVITE | < ACK";
    for (caller, reliable, caller_ladder, callee_ladder) in [
        (Habits::default(), false, plain_caller, plain_callee),
        (Habits::default(), true, plain_caller, pracking_callee),
        (knows_prack(), false, pracking_caller, plain_callee),
        (knows_prack(), true, pracking_caller, pracking_callee),
        (demands_prack(), false, pracking_caller, plain_callee),
        (demands_prack(), true, pracking_caller, pracking_callee),
    ] {
        let (mut world, anna, bert) = pair(caller, plays_early(reliable));
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_secs(4);
        assert!(heard(&world, anna, 0) >= 2, "early media is heard");
        world.run_secs(6);
        assert_ladder(&world, anna, &format!("{CHALLENGED}{caller_ladder}"));
        assert_ladder(&world, bert, callee_ladder);
        hang_up_and_settle(&mut world, anna);
    }
}

#[test]
fn a_demand_for_prack_makes_even_a_bare_180_reliable() {
    let (mut world, anna, _) = pair(demands_prack(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert_ladder(
        &world,
        anna,
        &format!("{CHALLENGED}< 180 INVITE | > PRACK | < 200 PRACK | < 200 INVITE | > ACK"),
    );
    assert_eq!(header_of(&world, anna, "< 180 INVITE", "Require").as_deref(), Some("100rel"));
    hang_up_and_settle(&mut world, anna);
}

#[test]
fn a_lost_prack_delays_the_answer_and_nothing_else() {
    let quick = Habits { reaction: Reaction::Answer(Duration::from_millis(300)), ..plays_early(false) };
    let (mut world, anna, bert) = pair(knows_prack(), quick);
    world.lose(anna, true, "PRACK", 0, 1);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_for(Duration::from_millis(500));
    assert!(world.phone(bert).is_talking() && !world.phone(anna).is_talking());
    world.run_secs(3);
    assert!(world.phone(anna).is_talking());
    hang_up_and_settle(&mut world, anna);
}

#[test]
fn a_cancel_while_the_answer_waits_for_the_prack_releases_the_device() {
    let quick = Habits { reaction: Reaction::Answer(Duration::from_millis(300)), ..plays_early(false) };
    let (mut world, anna, bert) = pair(knows_prack(), quick);
    world.lose(anna, true, "PRACK", 0, 100);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_for(Duration::from_millis(500));
    world.act(anna, |phone, now| phone.cancel(0, now));
    world.run_secs(1);
    assert_ladder(&world, bert, "< INVITE | > 183 INVITE | > 200 INVITE | < ACK | < BYE | > 200 BYE");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::Cancelled, 487, 16);
}

#[test]
fn a_repeated_reliable_response_is_not_acknowledged_by_a_second_prack() {
    let (mut world, anna, bert) = pair(Habits::default(), plays_early(true));
    world.lose(bert, false, "PRACK", 0, 2);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    let pracks = world.phone(bert).ladder.iter().filter(|step| step.to_string() == "< PRACK");
    let mut numbers: Vec<_> = pracks.map(|step| step.header("CSeq")).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 1);
    hang_up_and_settle(&mut world, anna);
}

#[test]
fn requests_after_several_pracks_count_on() {
    let chatty = Habits {
        rings_after: Some(Duration::from_millis(50)),
        early_media_after: Some(Duration::from_millis(500)),
        ..plays_early(true)
    };
    let (mut world, anna, bert) = pair(Habits::default(), chatty);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    let ladder = "< INVITE | > 180 INVITE | < PRACK | > 200 PRACK | > 183 INVITE | < PRACK | > 200 PRACK | \
                  > 200 INVITE | < ACK";
    assert_ladder(&world, bert, ladder);
    hang_up_and_settle(&mut world, anna);
    assert_eq!(header_of(&world, bert, "< BYE", "CSeq").as_deref(), Some("4 BYE"));
}

#[test]
fn a_caller_that_never_sends_prack_is_refused_after_64_t1() {
    let ringing = Habits { reaction: Reaction::Never, ..plays_early(false) };
    let (mut world, anna, _) = pair(knows_prack(), ringing);
    world.lose(anna, true, "PRACK", 0, 100);
    // Two groups' time is needed: the single group rings for 30 s.
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(40);
    assert!(!world.phone(anna).is_talking());
    assert_settled(&mut world);
}

#[test]
fn the_branch_heard_last_is_heard_until_the_answer() {
    let early = |after: u64, answer: u64| Habits {
        rings_after: None,
        early_media_after: Some(Duration::from_millis(after)),
        ..Habits::reacting(Reaction::Answer(Duration::from_secs(answer)))
    };
    let (mut world, phones) =
        stage(vec![("101", Habits::default()), ("102", early(100, 8)), ("102", early(3100, 20))]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(3);
    let (first, second) = (heard(&world, phones[1], 0), heard(&world, phones[2], 0));
    assert!(first >= 1 && second == 0, "{first} {second}");
    world.run_secs(4);
    let (first_later, second_later) = (heard(&world, phones[1], 0), heard(&world, phones[2], 0));
    assert!(first_later <= first + 1 && second_later >= 2, "{first_later} {second_later}");
    // The first one answers: it is heard again.
    world.run_secs(5);
    assert!(heard(&world, phones[1], 0) >= first_later + 3);
    assert_eq!(heard(&world, phones[2], 0), second_later + 1);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_late_offer_is_made_by_the_callee_and_answered_in_the_ack() {
    for callee in
        [Habits::default(), Habits { early_media_after: Some(Duration::from_millis(50)), ..knows_prack() }]
    {
        let (mut world, anna, bert) = pair(Habits { late_offer: true, ..Habits::default() }, callee);
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_secs(10);
        let empty =
            |step: &str, phone| header_of(&world, phone, step, "Content-Length").as_deref() == Some("0");
        assert!(empty("< INVITE", bert) && !empty("< ACK", bert));
        assert!(!empty("< 200 INVITE", anna) && !empty("> ACK", anna));
        assert!(heard(&world, anna, 0) >= 5 && heard(&world, bert, 0) >= 5);
        hang_up_and_settle(&mut world, anna);
    }
}

#[test]
fn media_that_is_not_anchored_goes_straight_from_phone_to_phone() {
    let mut config = offhook_sim::WorldConfig::with_lines(1, &["101", "102"]);
    config.settings.anchor_media = false;
    let phones = vec![("101", Habits::default()), ("102", plays_early(false))];
    let (mut world, phones) = stage::stage_with(config, phones);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(4);
    assert!(heard(&world, phones[0], 0) >= 2);
    world.run_secs(6);
    assert!(heard(&world, phones[1], 0) >= 3);
    assert_eq!(world.media_sizes(), (0, 0));
    hang_up_and_settle(&mut world, phones[0]);
}

/// Found by seed 12192 of the swarm: the refresh told the caller what the loser had answered.
#[test]
fn a_refresh_repeats_the_winners_answer_though_a_loser_was_heard_last() {
    let early = |after: u64, answer: u64| Habits {
        rings_after: None,
        early_media_after: Some(Duration::from_millis(after)),
        ..Habits::reacting(Reaction::Answer(Duration::from_secs(answer)))
    };
    let mut config = offhook_sim::WorldConfig::with_lines(1, &["101", "102"]);
    config.settings.anchor_media = false;
    let phones = vec![("101", knows_prack()), ("102", early(100, 3)), ("102", early(1000, 20))];
    let (mut world, phones) = stage::stage_with(config, phones);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(1000);
    assert!(world.phone(phones[0]).ladder_text().contains(&"< INVITE".to_string()), "a refresh came");
    let (winner, loser) = (heard(&world, phones[1], 0), heard(&world, phones[2], 0));
    world.run_secs(5);
    assert_eq!((heard(&world, phones[1], 0), heard(&world, phones[2], 0)), (winner + 5, loser));
    hang_up_and_settle(&mut world, phones[0]);
}

#[test]
fn a_late_offer_with_a_demand_for_prack_gets_no_provisional_response_but_the_call() {
    let (mut world, anna, _) = pair(Habits { late_offer: true, ..demands_prack() }, Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert_ladder(&world, anna, &format!("{CHALLENGED}< 200 INVITE | > ACK"));
    hang_up_and_settle(&mut world, anna);
}

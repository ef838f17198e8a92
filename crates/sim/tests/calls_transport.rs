//! Streams and datagrams: a call between them, and what happens when a stream breaks.

mod stage;

use std::time::Duration;

use offhook_sim::{Faults, Habits, Reaction, WorldConfig};
use offhook_switch::record::{EndCause, EndedBy};
use stage::{assert_ended, assert_settled, header_of, heard, pair, stage, stage_with, the_record};

fn tcp() -> Habits {
    Habits { tcp: true, ..Habits::default() }
}

#[test]
fn a_phone_on_a_stream_calls_one_on_datagrams_and_the_other_way_round() {
    for (caller, callee) in [(tcp(), Habits::default()), (Habits::default(), tcp()), (tcp(), tcp())] {
        let transports = [caller.tcp, callee.tcp].map(|tcp| if tcp { "tcp" } else { "udp" });
        let (mut world, anna, bert) = pair(caller, callee);
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_secs(10);
        assert!(heard(&world, anna, 0) >= 5 && heard(&world, bert, 0) >= 5);
        let via = header_of(&world, bert, "< INVITE", "Via").unwrap();
        assert!(via.to_ascii_lowercase().starts_with(&format!("sip/2.0/{}", transports[1])), "{via}");
        world.act(bert, |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
        let legs: Vec<String> = the_record(&world).legs.iter().map(|leg| leg.transport.to_string()).collect();
        assert_eq!(legs, transports);
    }
}

/// RFC 3261 §18.1.1: a request that does not fit a datagram goes by TCP, and back to UDP where TCP fails.
#[test]
fn an_invite_that_does_not_fit_a_datagram_reaches_streams_and_phones_without_one() {
    for callee in [tcp(), Habits::default()] {
        let transport = if callee.tcp { "TCP" } else { "UDP" };
        let (mut world, anna, bert) = pair(Habits { padding: 1500, ..tcp() }, callee);
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_secs(8);
        assert!(heard(&world, anna, 0) >= 3 && heard(&world, bert, 0) >= 3);
        let via = header_of(&world, bert, "< INVITE", "Via").unwrap();
        assert!(via.contains(transport), "{via}");
        world.act(anna, |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    }
}

#[test]
fn a_phone_that_sleeps_is_woken_by_push_and_rings() {
    let mut config = WorldConfig::with_lines(1, &["101", "102"]);
    config.registrar.push_providers = vec!["fcm".into()];
    let sleeper = Habits { push: Some("fcm"), ..Habits::default() };
    let (mut world, phones) = stage_with(config, vec![("101", Habits::default()), ("102", sleeper)]);
    for asleep in [true, false] {
        if asleep {
            world.act(phones[1], |phone, _| phone.crash());
        }
        let call = world.act(phones[0], |phone, now| phone.call("102", now));
        if !asleep {
            // Awake, it need not be woken; it registers all the same, as its service tells it to.
            world.run_for(Duration::from_millis(500));
            world.act(phones[1], |phone, now| phone.register(now));
        }
        world.run_secs(10);
        assert!(heard(&world, phones[0], call) > 3);
        world.act(phones[0], |phone, now| phone.hang_up(call, now));
        world.run_secs(1);
    }
    assert_settled(&mut world);
    assert_eq!(world.state().records.len(), 2);
}

#[test]
fn nothing_is_repeated_on_a_stream_however_slow_it_is() {
    let (mut world, anna, bert) = pair(tcp(), tcp());
    let slow = Duration::from_millis(900);
    world.faults = Faults { delay_min: slow, delay_max: slow, ..Faults::NONE };
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(15);
    assert!(world.phone(bert).is_talking());
    let invites = world.phone(bert).ladder_text().iter().filter(|step| *step == "< INVITE").count();
    assert_eq!(invites, 1);
    world.faults = Faults::NONE;
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_call_to_a_phone_whose_stream_is_gone_rings_its_other_device() {
    let (mut world, phones) =
        stage(vec![("101", Habits::default()), ("102", tcp()), ("102", Habits::default())]);
    world.act(phones[1], |phone, _| phone.crash());
    world.break_stream(phones[1]);
    world.run_secs(1);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    assert!(world.phone(phones[2]).is_talking());
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_stream_that_breaks_in_a_call_is_replaced_by_the_phones_next_request() {
    let (mut world, anna, bert) = pair(Habits::default(), tcp());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    world.break_stream(bert);
    world.run_secs(1);
    world.act(bert, |phone, now| phone.hold(0, true, now));
    world.run_secs(1);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    assert!(!world.phone(bert).is_talking(), "the BYE came over the new stream");
    assert_settled(&mut world);
}

#[test]
fn a_caller_whose_stream_breaks_while_it_rings_does_not_hold_up_the_record() {
    let (mut world, anna, _) = pair(tcp(), Habits::reacting(Reaction::Answer(Duration::from_secs(5))));
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(2);
    world.act(anna, |phone, _| phone.crash());
    world.break_stream(anna);
    world.run_secs(60);
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::Vanished, 408, 102);
}

//! What never comes: answers of the media engine and of DNS, final responses, a PRACK. Every call goes on or ends, in a
//! bounded time and with a defined answer.

mod carrier;
mod stage;

use std::time::Duration;

use bytes::Bytes;
use carrier::{answer, latest, talking_to_carrier};
use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig};
use offhook_sip::message::Method;
use offhook_switch::record::{EndCause, EndedBy};
use stage::{assert_ended, assert_settled, header_of, heard, pair, stage_with};

/// Line 101 calls 102, whose better device answers at once after early media, while 101's PRACKs get lost.
fn answered_before_the_prack(lost: usize) -> (World, [PhoneId; 3]) {
    let mut config = WorldConfig::with_lines(1, &["101", "102"]);
    config.settings.ring = Duration::from_secs(5);
    let caller = Habits { reliable: true, ..Habits::default() };
    let better = Habits {
        q: Some("0.9"),
        rings_after: None,
        early_media_after: Some(Duration::from_millis(100)),
        ..Habits::reacting(Reaction::Answer(Duration::from_secs(1)))
    };
    let other = Habits { q: Some("0.3"), ..Habits::reacting(Reaction::Answer(Duration::from_secs(1))) };
    let (mut world, phones) = stage_with(config, vec![("101", caller), ("102", better), ("102", other)]);
    world.lose(phones[0], true, "PRACK", 0, lost);
    world.act(phones[0], |phone, now| phone.call("102", now));
    (world, [phones[0], phones[1], phones[2]])
}

/// RFC 3262 §5: the answer waits for the PRACK of the early answer. Method: the group's time passes meanwhile.
#[test]
fn a_device_that_has_answered_is_not_given_up_while_its_prack_is_awaited() {
    let (mut world, [anna, better, other]) = answered_before_the_prack(5);
    world.run_secs(20);
    assert!(world.phone(anna).is_talking() && world.phone(better).is_talking());
    assert_eq!(world.phone(other).ladder_text(), [""; 0], "the other device never rang");
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
}

#[test]
fn a_device_that_has_answered_is_let_go_when_the_prack_never_comes() {
    let (mut world, [anna, better, other]) = answered_before_the_prack(100);
    world.run_secs(45);
    assert!(world.phone(anna).ladder_text().contains(&"< 504 INVITE".to_string()));
    let ladder = world.phone(better).ladder_text();
    assert!(ladder.contains(&"< ACK".to_string()) && ladder.contains(&"< BYE".to_string()), "{ladder:?}");
    assert_eq!(world.phone(other).ladder_text(), [""; 0], "the other device never rang");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::Vanished, 504, 102);
}

/// RFC 3261 §15: the caller ends the early dialog whose answer waits for its PRACK. The next device has its turn.
#[test]
fn a_bye_in_the_early_dialog_of_a_device_that_has_answered_lets_it_go() {
    let (mut world, [anna, better, other]) = answered_before_the_prack(100);
    world.run_secs(3);
    world.act(anna, |phone, now| phone.bye_early(0, now));
    world.run_secs(5);
    assert!(world.phone(better).ladder_text().contains(&"< BYE".to_string()));
    assert!(world.phone(anna).is_talking() && world.phone(other).is_talking());
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn a_call_whose_ports_never_open_is_refused_and_leaves_nothing_behind() {
    let (mut world, anna, _) = pair(Habits::default(), Habits::default());
    world.helpers_mute = true;
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(6);
    assert!(world.phone(anna).ladder_text().contains(&"< 503 INVITE".to_string()));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::Overloaded, 503, 42);
}

#[test]
fn a_call_whose_carrier_is_never_found_is_refused_and_leaves_nothing_behind() {
    let mut peer = carrier::carrier();
    peer.host = Some("sip.carrier.example".into());
    peer.anchor_media = false;
    let (mut world, phones) = stage_with(carrier::config_with(peer), vec![("101", Habits::default())]);
    world.helpers_mute = true;
    world.act(phones[0], |phone, now| phone.call("0049", now));
    world.run_secs(31);
    assert_eq!(world.state().records.len(), 0);
    world.run_secs(2);
    assert!(world.phone(phones[0]).ladder_text().contains(&"< 504 INVITE".to_string()));
    world.run_secs(100);
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::Failed, 504, 102);
}

/// The re-INVITE that `phone` has sent last, once more with a new transaction and this change.
fn again(world: &mut World, phone: PhoneId, change: impl FnOnce(String) -> String) {
    let ladder = &world.phone(phone).ladder;
    let last = ladder.iter().rfind(|step| step.to_string() == "> INVITE").expect("a re-INVITE");
    let text = String::from_utf8(last.bytes.to_vec()).unwrap();
    let text = text.replacen("branch=z9hG4bK", "branch=z9hG4bKagain", 1).replacen("CSeq: ", "CSeq: 9", 1);
    let text = change(text);
    let from = world.phone(phone).address;
    world.inject(from, Bytes::from(text));
}

/// RFC 3261 §14.2: a refused offer leaves the session as it was. Method: one more stream needs ports that never open.
#[test]
fn an_offer_whose_ports_never_open_is_refused_and_the_call_goes_on() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.act(anna, |phone, now| phone.hold(0, false, now));
    world.run_secs(3);
    world.helpers_mute = true;
    again(&mut world, anna, |text| {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = format!("{body}m=video 10100 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("Content-Length")).collect();
        format!("{}\r\nContent-Length: {}\r\n\r\n{body}", head.join("\r\n"), body.len())
    });
    world.run_secs(6);
    let ladder = world.phone(anna).ladder_text();
    assert!(ladder.contains(&"< 504 INVITE".to_string()), "{ladder:?}");
    world.helpers_mute = false;
    let before = (heard(&world, anna, 0), heard(&world, bert, 0));
    world.run_secs(5);
    assert!(heard(&world, anna, 0) > before.0 && heard(&world, bert, 0) > before.1);
    world.act(bert, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
}

/// Goal: who says 183 and nothing more holds no offer up for ever. Method: a carrier that does, and then obeys CANCEL.
#[test]
fn a_re_invite_that_is_only_worked_on_is_withdrawn_and_the_call_goes_on() {
    for (by_update, limit) in [(false, 61), (true, 21)] {
        let caller = Habits { updates: by_update, ..Habits::default() };
        let (mut world, anna) = talking_to_carrier(carrier::carrier(), caller);
        world.act(anna, |phone, now| phone.hold(0, true, now));
        world.run_for(Duration::from_millis(100));
        let invite = latest(&world, &Method::Invite);
        answer(&mut world, &invite, "183 Thinking", "", "");
        world.run_secs(limit);
        let cancel = latest(&world, &Method::Cancel);
        answer(&mut world, &cancel, "200 OK", "", "");
        answer(&mut world, &invite, "487 Request Terminated", "", "");
        let ladder = world.phone(anna).ladder_text();
        let refusal = if by_update { "< 504 UPDATE" } else { "< 504 INVITE" };
        assert!(ladder.contains(&refusal.to_string()), "{ladder:?}");
        assert!(world.phone(anna).is_talking());
        world.act(anna, |phone, now| phone.hang_up(0, now));
        world.run_secs(1);
        let bye = latest(&world, &Method::Bye);
        answer(&mut world, &bye, "200 OK", "", "");
        assert_settled(&mut world);
        assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    }
}

/// As above, but the carrier does not even obey the CANCEL: the asker's own transaction is answered in time, and a 2xx that
/// comes all the same ends the call, as the two sides would go on with different sessions.
#[test]
fn a_re_invite_that_is_accepted_after_it_was_given_up_ends_the_call() {
    let (mut world, anna) =
        talking_to_carrier(carrier::carrier(), Habits { updates: true, ..Habits::default() });
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_for(Duration::from_millis(100));
    let invite = latest(&world, &Method::Invite);
    answer(&mut world, &invite, "183 Thinking", "", "");
    world.run_secs(30);
    assert!(world.phone(anna).ladder_text().contains(&"< 504 UPDATE".to_string()));
    assert!(world.phone(anna).is_talking());
    answer(&mut world, &invite, "200 OK", "", carrier::SDP);
    let acknowledged = latest(&world, &Method::Ack);
    assert_eq!(
        acknowledged.headers().cseq().unwrap().number,
        invite.headers().cseq().unwrap().number,
        "the late 2xx is acknowledged"
    );
    assert!(!world.phone(anna).is_talking());
    let bye = latest(&world, &Method::Bye);
    answer(&mut world, &bye, "200 OK", "", "");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::Incompatible, 504, 88);
}

/// RFC 3261 §12.2.2, RFC 6141: a refused re-INVITE does not move the remote target, an accepted one does.
#[test]
fn only_an_accepted_re_invite_moves_the_remote_target() {
    for refused in [true, false] {
        let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
        world.act(anna, |phone, now| phone.call("102", now));
        world.run_secs(5);
        world.act(anna, |phone, now| phone.hold(0, true, now));
        world.run_secs(2);
        again(&mut world, anna, |text| {
            let timer = if refused { "Supported: timer\r\nSession-Expires: 5\r\n" } else { "" };
            text.replacen("Contact: <sip:101@", &format!("{timer}Contact: <sip:elsewhere@"), 1)
        });
        world.run_secs(2);
        let status = if refused { "< 422 INVITE" } else { "< 200 INVITE" };
        assert_eq!(
            world.phone(anna).ladder_text().iter().rfind(|step| step.contains("INVITE")).unwrap(),
            status
        );
        world.act(bert, |phone, now| phone.hang_up(0, now));
        world.run_secs(1);
        assert!(header_of(&world, anna, "< BYE", "CSeq").is_some());
        let ladder = &world.phone(anna).ladder;
        let bye = ladder.iter().rfind(|step| step.to_string() == "< BYE").unwrap();
        let moved = bye.bytes.starts_with(b"BYE sip:elsewhere@");
        assert_eq!(moved, !refused);
    }
}

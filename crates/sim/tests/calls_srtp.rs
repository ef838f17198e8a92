//! SRTP by keys in descriptions (RFC 4568): passed where both sides have it, ended here where one has.
//!
//! Sound in this world is closed with the key its speaker believes in, and a phone that gets a key it was not told hears
//! nothing: that both hear each other shows that the descriptions and the media engine agree.

mod stage;

use std::time::Duration;

use offhook_sdp::{Crypto, Protocol, SessionDescription};
use offhook_sim::{Habits, PhoneId, Reaction, Srtp, World, WorldConfig, line};
use offhook_switch::{
    directory::{DEFAULT_TENANT, Directory, Srtp as Mode, Tenant},
    record::{EndCause, EndedBy},
};
use stage::{assert_ended, assert_ladder, assert_settled, pair, stage, stage_with, the_record};

fn phone(srtp: Srtp) -> Habits {
    Habits { srtp, ..Habits::default() }
}

/// Lines 101 and 102 with these settings, and a phone on each.
fn set(caller: (Mode, Habits), callee: (Mode, Habits)) -> (World, PhoneId, PhoneId) {
    let mut config = WorldConfig::with_lines(1, &[]);
    let tenant = Tenant {
        name: DEFAULT_TENANT.into(),
        domains: vec![offhook_sim::DOMAIN.into()],
        realm: offhook_sim::DOMAIN.into(),
    };
    let lines = [(1, "101", caller.0), (2, "102", callee.0), (3, "112", Mode::Auto)];
    let lines = lines.map(|(id, name, srtp)| offhook_switch::directory::Line { srtp, ..line(id, name) });
    config.directory = Directory::new(vec![tenant], Vec::new(), Vec::new(), lines.to_vec(), Vec::new());
    let (world, ids) = stage_with(config, vec![("101", caller.1), ("102", callee.1)]);
    (world, ids[0], ids[1])
}

fn call(world: &mut World, anna: PhoneId) {
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
}

/// Both hear each other, now and not only once, and understand all that comes.
#[track_caller]
fn assert_talk(world: &mut World, phones: [PhoneId; 2]) {
    let heard = |world: &World| phones.map(|id| world.phone(id).calls[0].heard);
    let garbled = |world: &World| phones.map(|id| world.phone(id).calls[0].garbled);
    let (before, noise) = (heard(world), garbled(world));
    world.run_secs(5);
    let now = heard(world);
    assert!(now[0] > before[0] + 1 && now[1] > before[1] + 1, "{before:?} -> {now:?}");
    assert_eq!(garbled(world), noise, "sound under a wrong key");
}

#[track_caller]
fn end(world: &mut World, by: PhoneId) {
    world.act(by, |phone, now| phone.hang_up(0, now));
    assert_settled(world);
    assert_eq!(the_record(world).cause, EndCause::HungUp);
}

/// The descriptions in a phone's ladder with this label, in order.
fn descriptions(world: &World, phone: PhoneId, label: &str) -> Vec<SessionDescription> {
    let ladder = &world.phone(phone).ladder;
    let steps = ladder.iter().filter(|step| step.to_string() == label);
    steps.filter_map(|step| SessionDescription::parse_slice(step.message().body()).ok()).collect()
}

/// Profile and keys of the audio section.
fn audio(description: &SessionDescription) -> (Protocol, Vec<Crypto>) {
    let audio = description.media_at(0).unwrap();
    (audio.protocol(), audio.cryptos().map(Result::unwrap).collect())
}

#[track_caller]
fn last(world: &World, phone: PhoneId, label: &str) -> (Protocol, Vec<Crypto>) {
    audio(descriptions(world, phone, label).last().expect(label))
}

const PLAIN: (Protocol, Vec<Crypto>) = (Protocol::RtpAvp, Vec::new());

#[test]
fn keys_pass_from_end_to_end_where_both_sides_have_them() {
    for mode in [Mode::Auto, Mode::Always] {
        let (mut world, anna, bert) = set((mode, phone(Srtp::Always)), (mode, phone(Srtp::Always)));
        call(&mut world, anna);
        assert_eq!(last(&world, bert, "< INVITE"), last(&world, anna, "> INVITE"));
        assert_eq!(last(&world, anna, "< 200 INVITE"), last(&world, bert, "> 200 INVITE"));
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, bert);
    }
}

#[test]
fn a_plain_phone_that_refuses_srtp_is_asked_again_without_and_the_encryption_ends_here() {
    let (mut world, anna, bert) = pair(phone(Srtp::Always), phone(Srtp::Never));
    call(&mut world, anna);
    assert_ladder(
        &world,
        bert,
        "< INVITE | > 488 INVITE | < ACK | < INVITE | > 180 INVITE | > 200 INVITE | < ACK",
    );
    assert_eq!(last(&world, bert, "< INVITE"), PLAIN);
    let (offered, theirs) = last(&world, anna, "> INVITE");
    let (answered, ours) = last(&world, anna, "< 200 INVITE");
    assert_eq!((offered, answered), (Protocol::RtpSavp, Protocol::RtpSavp));
    assert_eq!((ours.len(), ours[0].tag, ours[0].key.suite()), (1, theirs[0].tag, theirs[0].key.suite()));
    assert_ne!(ours[0].key, theirs[0].key);
    assert_talk(&mut world, [anna, bert]);
    end(&mut world, anna);
}

#[test]
fn a_phone_that_refuses_plain_rtp_is_asked_again_with_a_key_of_ours() {
    let (mut world, anna, bert) = pair(phone(Srtp::Never), phone(Srtp::Always));
    call(&mut world, anna);
    assert_ladder(
        &world,
        bert,
        "< INVITE | > 488 INVITE | < ACK | < INVITE | > 180 INVITE | > 200 INVITE | < ACK",
    );
    let (offered, ours) = last(&world, bert, "< INVITE");
    let (answered, theirs) = last(&world, bert, "> 200 INVITE");
    assert_eq!((offered, answered), (Protocol::RtpSavp, Protocol::RtpSavp));
    assert_ne!(ours[0].key, theirs[0].key);
    assert_eq!(last(&world, anna, "< 200 INVITE"), PLAIN);
    assert_talk(&mut world, [anna, bert]);
    end(&mut world, bert);
}

#[test]
fn a_refusal_that_is_not_about_keys_is_passed_on_after_one_more_try() {
    let refuses = Habits::reacting(Reaction::Refuse(488, Duration::from_millis(100)));
    let (mut world, anna, bert) = pair(Habits::default(), refuses);
    call(&mut world, anna);
    assert_settled(&mut world);
    let invites = world.phone(bert).ladder_text().iter().filter(|step| *step == "< INVITE").count();
    assert_eq!(invites, 2);
    assert_ended(&world, EndedBy::Callee, EndCause::Incompatible, 488, 88);
}

#[test]
fn a_line_that_is_never_or_always_asked_for_srtp_is_asked_once() {
    for (caller, mode, callee) in
        [(Srtp::Always, Mode::Never, Srtp::Never), (Srtp::Never, Mode::Always, Srtp::Always)]
    {
        let (mut world, anna, bert) = set((Mode::Auto, phone(caller)), (mode, phone(callee)));
        call(&mut world, anna);
        assert_ladder(&world, bert, "< INVITE | > 180 INVITE | > 200 INVITE | < ACK");
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, anna);
    }
}

#[test]
fn an_always_line_cannot_call_without_keys_but_for_help() {
    let (mut world, anna, bert) = set((Mode::Always, phone(Srtp::Never)), (Mode::Auto, phone(Srtp::Never)));
    call(&mut world, anna);
    assert_settled(&mut world);
    assert_ladder(&world, bert, "");
    assert_ended(&world, EndedBy::Node, EndCause::Incompatible, 488, 88);

    let (mut world, anna, _) = set((Mode::Always, phone(Srtp::Never)), (Mode::Auto, phone(Srtp::Never)));
    let help = world.add_phone("112", Habits::default());
    world.run_secs(1);
    world.act(anna, |phone, now| phone.call("112", now));
    world.run_secs(5);
    assert_talk(&mut world, [anna, help]);
    end(&mut world, anna);
}

#[test]
fn an_always_line_is_told_488_when_it_gives_its_keys_up_in_the_call() {
    let (mut world, anna, bert) = set((Mode::Always, phone(Srtp::Always)), (Mode::Auto, phone(Srtp::Never)));
    call(&mut world, anna);
    world.act(anna, |phone, now| {
        phone.calls[0].media.keys = None;
        phone.hold(0, true, now);
    });
    world.run_secs(2);
    assert!(world.phone(anna).ladder_text().contains(&"< 488 INVITE".to_string()));
    assert!(world.phone(bert).is_talking(), "the call goes on");
    end(&mut world, bert);
}

/// RFC 4568 §7.1.4: what is offered again with the same key is answered with the same key.
#[test]
fn hold_and_resume_from_either_side_keep_every_key() {
    for (caller, mode, callee) in
        [(Srtp::Always, Mode::Never, Srtp::Never), (Srtp::Never, Mode::Always, Srtp::Always)]
    {
        for caller_holds in [true, false] {
            for updates in [true, false] {
                let habits = |srtp| Habits { updates, ..phone(srtp) };
                let (mut world, anna, bert) = set((Mode::Auto, habits(caller)), (mode, habits(callee)));
                call(&mut world, anna);
                let holder = if caller_holds { anna } else { bert };
                for holding in [true, false] {
                    world.act(holder, |phone, now| phone.hold(0, holding, now));
                    world.run_secs(2);
                }
                assert_talk(&mut world, [anna, bert]);
                let secured = if caller == Srtp::Always { anna } else { bert };
                let plain = if caller == Srtp::Always { bert } else { anna };
                let all = |phone, sign: &str| -> Vec<Crypto> {
                    let labels = ["INVITE", "200 INVITE", "UPDATE", "200 UPDATE"];
                    let labels = labels.iter().map(|label| format!("{sign} {label}"));
                    let texts = labels.flat_map(|label| descriptions(&world, phone, &label));
                    texts.flat_map(|text| audio(&text).1).collect()
                };
                for (sign, count) in [(">", 3), ("<", 3)] {
                    let keys = all(secured, sign);
                    assert!(keys.len() >= count, "{}", keys.len());
                    assert!(keys.iter().all(|known| known.key == keys[0].key), "{sign}");
                    assert_eq!(all(plain, sign), []);
                }
                end(&mut world, anna);
            }
        }
    }
}

#[test]
fn a_new_key_is_answered_with_a_new_key_and_both_go_on() {
    for (caller, callee) in [(Srtp::Always, Srtp::Never), (Srtp::Never, Srtp::Always)] {
        let (mut world, anna, bert) = pair(phone(caller), phone(callee));
        call(&mut world, anna);
        let secured = if caller == Srtp::Always { anna } else { bert };
        let before = if secured == anna { "< 200 INVITE" } else { "< INVITE" };
        let before = last(&world, secured, before);
        world.act(secured, |phone, now| phone.rekey(0, now));
        world.run_secs(2);
        let after = last(&world, secured, "< 200 INVITE");
        assert_ne!(after.1[0].key, before.1[0].key);
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, anna);
    }
}

#[test]
fn a_session_refresh_keeps_the_keys() {
    let habits = |srtp| Habits { session_secs: Some(90), ..phone(srtp) };
    for (caller, callee) in [(Srtp::Always, Srtp::Never), (Srtp::Never, Srtp::Always)] {
        let (mut world, anna, bert) = pair(habits(caller), habits(callee));
        call(&mut world, anna);
        world.run_secs(300);
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, bert);
    }
}

#[test]
fn late_offers_end_here_too() {
    let late = |srtp| Habits { late_offer: true, ..phone(srtp) };
    for (caller, mode, callee, callee_mode) in [
        (Srtp::Never, Mode::Never, Srtp::Always, Mode::Auto),
        (Srtp::Always, Mode::Always, Srtp::Never, Mode::Auto),
        (Srtp::Always, Mode::Auto, Srtp::Always, Mode::Auto),
        (Srtp::Never, Mode::Never, Srtp::Offered, Mode::Auto),
    ] {
        let (mut world, anna, bert) = set((mode, late(caller)), (callee_mode, phone(callee)));
        call(&mut world, anna);
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, anna);
    }
}

#[test]
fn a_late_offer_without_the_keys_that_its_line_needs_is_let_go() {
    let late = Habits { late_offer: true, ..Habits::default() };
    let (mut world, anna, bert) = set((Mode::Auto, late), (Mode::Always, phone(Srtp::Never)));
    call(&mut world, anna);
    assert_settled(&mut world);
    assert!(world.phone(bert).ladder_text().contains(&"< BYE".to_string()));
    assert_ended(&world, EndedBy::Callee, EndCause::Incompatible, 488, 88);
}

/// Keys beside plain `RTP/AVP`, as many phones offer them: whoever brings keys is answered with keys.
#[test]
fn keys_beside_plain_rtp_are_taken_by_the_node_if_the_other_side_has_none() {
    for (callee, mode) in
        [(Srtp::Never, Mode::Auto), (Srtp::Never, Mode::Never), (Srtp::Always, Mode::Always)]
    {
        let (mut world, anna, bert) = set((Mode::Auto, phone(Srtp::Offered)), (mode, phone(callee)));
        call(&mut world, anna);
        let (profile, keys) = last(&world, anna, "< 200 INVITE");
        assert_eq!((profile, keys.len()), (Protocol::RtpAvp, 1), "the answer has the offer's profile");
        assert_talk(&mut world, [anna, bert]);
        world.act(bert, |phone, now| phone.hold(0, true, now));
        world.run_secs(2);
        world.act(bert, |phone, now| phone.hold(0, false, now));
        world.run_secs(2);
        assert_talk(&mut world, [anna, bert]);
        end(&mut world, bert);
    }
}

#[test]
fn early_media_is_closed_and_opened_like_the_rest() {
    let early = |srtp, reliable| Habits {
        rings_after: None,
        early_media_after: Some(Duration::from_millis(100)),
        reliable,
        ..Habits { reaction: Reaction::Answer(Duration::from_secs(6)), ..phone(srtp) }
    };
    for (caller, callee) in [(Srtp::Always, Srtp::Never), (Srtp::Never, Srtp::Always)] {
        for reliable in [true, false] {
            let caller = Habits { reliable, ..phone(caller) };
            let (mut world, anna, bert) = pair(caller, early(callee, reliable));
            world.act(anna, |phone, now| phone.call("102", now));
            world.run_secs(4);
            assert!(world.phone(anna).calls[0].heard >= 2, "early media is heard");
            world.run_secs(6);
            assert_talk(&mut world, [anna, bert]);
            end(&mut world, anna);
        }
    }
}

#[test]
fn devices_of_one_line_are_each_asked_in_their_own_way() {
    let slow = |srtp, secs| Habits {
        reaction: Reaction::Answer(Duration::from_secs(secs)),
        early_media_after: Some(Duration::from_millis(300)),
        ..phone(srtp)
    };
    for (plain, secured) in [(2, 4), (4, 2)] {
        let (mut world, ids) = stage(vec![
            ("101", phone(Srtp::Always)),
            ("102", slow(Srtp::Never, plain)),
            ("102", slow(Srtp::Always, secured)),
        ]);
        call(&mut world, ids[0]);
        let winner = if plain < secured { ids[1] } else { ids[2] };
        assert_talk(&mut world, [ids[0], winner]);
        let ours = last(&world, ids[0], "< 200 INVITE").1;
        let own = descriptions(&world, winner, "> 200 INVITE").pop();
        let passes = own.is_some_and(|own| audio(&own).1 == ours);
        assert_eq!(passes, secured < plain);
        end(&mut world, ids[0]);
    }
}

/// RFC 4568 §5.1.3: an answer that names a key which was not offered is none.
#[test]
fn an_answer_with_a_key_that_nobody_offered_is_let_go() {
    for (caller, mode) in [(Srtp::Never, Mode::Always), (Srtp::Always, Mode::Auto)] {
        let (mut world, anna, bert) = set((Mode::Auto, phone(caller)), (mode, phone(Srtp::Confused)));
        call(&mut world, anna);
        assert_settled(&mut world);
        assert!(world.phone(bert).ladder_text().contains(&"< BYE".to_string()));
        let reason = stage::header_of(&world, bert, "< BYE", "Reason").unwrap();
        assert!(reason.contains("cause=88"), "{reason}");
        assert!(world.phone(anna).ladder_text().contains(&"< 488 INVITE".to_string()));
        assert_ended(&world, EndedBy::Callee, EndCause::Incompatible, 488, 88);
    }
}

#[test]
fn such_an_answer_to_a_later_offer_ends_the_call_by_name() {
    let (mut world, anna, bert) = pair(phone(Srtp::Confused), phone(Srtp::Never));
    call(&mut world, anna);
    world.act(bert, |phone, now| phone.hold(0, true, now));
    world.run_secs(2);
    assert_settled(&mut world);
    let reason = stage::header_of(&world, bert, "< BYE", "Reason").unwrap();
    assert!(reason.contains("cause=88"), "{reason}");
    assert_ended(&world, EndedBy::Node, EndCause::Incompatible, 488, 88);
}

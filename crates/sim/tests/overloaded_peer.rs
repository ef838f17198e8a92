//! A peer that has more to do than it can says so, and the node keeps calls to itself (RFC 7339).

mod carrier;
mod stage;

use std::time::Duration;

use carrier::{answer_with, carrier, config_with, latest, line_of, requests};
use offhook_sim::{Habits, PhoneId, World};
use offhook_sip::{
    header::HeaderName,
    message::{Method, Request},
};
use stage::{assert_settled, header_of, stage_with};

const LISTENING: &str = ";oc;oc-algo=\"loss\"";

fn world() -> (World, PhoneId) {
    let mut config = config_with(carrier());
    config.settings.emergency_numbers.push("00112".into());
    let (world, phones) = stage_with(config, vec![("101", Habits::default())]);
    (world, phones[0])
}

/// A call to `number`: the INVITE that the carrier gets, or nothing if the caller was refused at once.
fn call(world: &mut World, anna: PhoneId, number: &str) -> Option<Request> {
    let is_invite = |request: &&Request| *request.method() == Method::Invite;
    let before = requests(world).iter().filter(is_invite).count();
    world.act(anna, |phone, now| phone.call(number, now));
    world.run_for(Duration::from_millis(100));
    let after = requests(world).iter().filter(is_invite).count();
    (after > before).then(|| latest(world, &Method::Invite))
}

/// The carrier is busy with this call, and says this of its load.
fn refuse(world: &mut World, invite: &Request, load: &str) {
    let via = line_of(invite, HeaderName::Via);
    assert!(via.ends_with(LISTENING), "{via}");
    answer_with(world, invite, &via.replacen(LISTENING, load, 1), "486 Busy Here", "", "");
}

#[test]
fn what_a_peer_asks_to_be_spared_of_is_kept_from_it_and_calls_for_help_are_not() {
    let (mut world, anna) = world();
    let first = call(&mut world, anna, "0049").expect("nobody has asked for anything yet");
    refuse(&mut world, &first, ";oc=100;oc-algo=\"loss\";oc-validity=20000;oc-seq=100.1");
    world.act(anna, |phone, _| phone.clear_ladder());
    assert!(call(&mut world, anna, "0049").is_none(), "it asked for none");
    assert!(
        header_of(&world, anna, "< 500 INVITE", "Call-ID").is_some(),
        "{:?}",
        world.phone(anna).ladder_text()
    );
    assert_eq!(world.gauges().overload.withheld, 1);

    let help = call(&mut world, anna, "00112").expect("a call for help is sent");
    // An earlier word changes nothing, a later one does.
    refuse(&mut world, &help, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=99.9");
    assert!(call(&mut world, anna, "0049").is_none());
    let help = call(&mut world, anna, "00112").expect("a call for help is sent");
    refuse(&mut world, &help, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=100.2");
    let second = call(&mut world, anna, "0049").expect("it is over");
    refuse(&mut world, &second, ";oc=100;oc-algo=\"loss\";oc-seq=100.3");
    assert!(
        call(&mut world, anna, "0049").is_some(),
        "half a second has passed, and a word holds no longer by default"
    );
}

/// Goal: the part that is asked for, no more and no less, and each call as it was judged first. Method: a hundred calls to a peer
/// that asks for a third less.
#[test]
fn a_part_is_withheld_and_the_rest_goes_on() {
    let (mut world, anna) = world();
    let mut sent = 0;
    for _ in 0..100 {
        if let Some(invite) = call(&mut world, anna, "0049") {
            sent += 1;
            refuse(&mut world, &invite, ";oc=33;oc-algo=\"loss\";oc-validity=5000;oc-seq=1.0");
        }
    }
    assert!((55..80).contains(&sent), "{sent}");
    assert_eq!(world.gauges().overload.withheld, 100 - sent);
    assert_settled(&mut world);
}

/// A word of somebody who was not asked counts for nothing: phones are not.
#[test]
fn only_peers_are_listened_to() {
    let phones = vec![("101", Habits::default()), ("102", Habits::default())];
    let (mut world, phones) = stage_with(config_with(carrier()), phones);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(1);
    let via = header_of(&world, phones[1], "< INVITE", "Via").expect("it rings");
    assert!(!via.contains("oc"), "{via}");
}

//! What is left after a restart, and what goes when lines go.

use offhook_sip::transport::{Destination, Listener, ListenerId, Transport};
use offhook_switch::{
    directory::LineId,
    fact::UnboundReason,
    registrar::{Registrar, RegistrarConfig},
};

use crate::stage::{ANNA, BERT, Stage, address, directory, listeners, reasons, stream, udp};

/// A new process with the same store and key.
fn restart(stage: &mut Stage, seconds: u64) {
    let stored = stage.stored();
    stage.pass(seconds);
    stage.registrar = Registrar::new(RegistrarConfig::default(), &[7; 32]);
    stage.registrar.restore(stored, &stage.directory, &listeners(), stage.now);
}

#[test]
fn a_contact_by_datagram_survives_as_it_was() {
    let mut stage = Stage::new();
    stage.flow = udp("203.0.113.9:61000");
    let lines = "Supported: path, outbound, gruu\nUser-Agent: Phone 1.0\nPath: <sip:p1.example.net;lr;ob>\n\
        Contact: <sip:101@10.0.0.5:5062>;audio;q=0.5;reg-id=2;+sip.instance=\"<urn:uuid:x>\";expires=600";
    stage.register(7, lines);
    let mut before = stage.targets();
    restart(&mut stage, 100);
    let mut after = stage.targets();
    let (before, after) = (before.remove(0).remove(0), after.remove(0).remove(0));
    assert_eq!(after.destination, Some(Destination::Flow(stage.flow)));
    assert_eq!((after.request_uri, after.path), (before.request_uri, before.path));
    assert_eq!((after.instance, after.user_agent), (before.instance, before.user_agent));
    assert_eq!(after.q_millis, 500);
    assert!(stage.changes().is_empty(), "the store knows it already");
    // It still obeys the order of its requests, and its lifetime goes on.
    assert_eq!(stage.register(7, lines).status().as_u16(), 500);
    stage.pass_with_timers(499);
    assert_eq!(stage.registrar.len(), 1);
    stage.pass_with_timers(1);
    assert!(stage.registrar.is_empty());
}

#[test]
fn what_expired_meanwhile_is_dropped_with_a_fact() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>;expires=100, <sip:2@192.0.2.1>;expires=200");
    restart(&mut stage, 100);
    assert_eq!(stage.uris(), [["sip:2@192.0.2.1"]]);
    assert_eq!(stage.changes(), ["-sip:1@192.0.2.1 Expired"]);
}

#[test]
fn a_contact_by_stream_waits_for_its_phone_to_come_back() {
    let mut stage = Stage::new();
    let lines = "Supported: outbound\nContact: <sip:101@10.0.0.5>;reg-id=1;+sip.instance=\"<urn:uuid:x>\"";
    stage.flow = stream(Transport::Tcp, 1, "203.0.113.9:61000");
    stage.register(1, lines);
    restart(&mut stage, 10);
    assert_eq!(stage.registrar.len(), 1);
    assert!(stage.targets().is_empty());
    stage.flow = stream(Transport::Tcp, 1, "203.0.113.9:61001");
    stage.register(2, lines);
    assert_eq!(stage.registrar.len(), 1);
    assert_eq!(stage.destination(), Some(Destination::Flow(stage.flow)));
}

#[test]
fn a_contact_by_stream_from_its_own_address_is_reached_there() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tcp, 1, "192.0.2.10:61000");
    stage.register(1, "Contact: <sip:101@192.0.2.10;transport=tcp>");
    restart(&mut stage, 10);
    assert_eq!(stage.destination().map(|to| to.remote()), Some(address("192.0.2.10:5060")));
}

#[test]
fn contacts_of_lines_that_are_gone_or_disabled_go() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>");
    stage.register_as("102", "b", 1, "Contact: <sip:2@192.0.2.1>, <sip:3@192.0.2.1>");
    let stored = stage.stored();
    let changed = directory(&[("101", ANNA, true), ("102", BERT, false)]);
    stage.registrar.directory_changed(&changed, stage.now);
    assert_eq!(reasons(&stage.facts()), [UnboundReason::LineGone; 2]);
    assert_eq!(stage.registrar.len(), 1);

    let mut later = Registrar::new(RegistrarConfig::default(), &[7; 32]);
    later.restore(
        stored,
        &directory(&[("102", BERT, true), ("109", LineId(9), true)]),
        &listeners(),
        stage.now,
    );
    assert_eq!(later.len(), 2);
    assert_eq!(later.binding_count(BERT, stage.now.instant), 2);
}

#[test]
fn temporary_gruus_outlive_a_restart_with_the_same_key() {
    let mut stage = Stage::new();
    let lines = "Supported: gruu\nContact: <sip:101@192.0.2.10>;+sip.instance=\"<urn:uuid:x>\"";
    let answer = stage.register(1, lines);
    let contacts = answer.headers().contacts().unwrap();
    let gruu = contacts.first().unwrap().temp_gruu().unwrap().into_owned();
    let user = offhook_sip::uri::Uri::parse(&gruu).unwrap().user.unwrap();
    restart(&mut stage, 10);
    assert!(stage.registrar.temporary_gruu(user, stage.now.instant).is_some());
    assert!(
        Registrar::new(RegistrarConfig::default(), &[9; 32])
            .temporary_gruu(user, stage.now.instant)
            .is_none()
    );
}

#[test]
fn a_contact_finds_its_listener_again_by_address_or_is_gone() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:101@192.0.2.10>");
    let stored = stage.stored();
    let [mut udp, tcp] = listeners();
    // The configuration now numbers it otherwise, and has another before it.
    udp.id = ListenerId(7);
    let other = Listener { id: ListenerId(6), bound: address("0.0.0.0:5080"), ..udp.clone() };
    let mut restored = |listeners: &[Listener]| {
        stage.registrar = Registrar::new(RegistrarConfig::default(), &[7; 32]);
        stage.registrar.restore(stored.clone(), &stage.directory, listeners, stage.now);
        let destination = stage.targets().first().and_then(|group| group[0].destination);
        (destination.map(|to| to.listener().0), reasons(&stage.facts()))
    };
    assert_eq!(restored(&[other.clone(), udp.clone()]), (Some(7), vec![]));
    assert_eq!(restored(&[other]), (Some(6), vec![]));
    udp.bound = address("[::]:5060");
    assert_eq!(restored(&[udp]), (Some(7), vec![]));
    assert_eq!(restored(&[tcp]), (None, vec![UnboundReason::FlowFailed]));
}

//! A leg that keeps to one address gets a socket connected to it. Nobody may notice but by the cost.

mod common;

use std::net::UdpSocket;

use common::{LOCAL, Phone, Stage, receive, rtp};

/// More packets than it takes for the connected socket to be opened.
const ENOUGH: u16 = 60;

fn call() -> (Stage, Phone, Phone, [u16; 2]) {
    let stage = Stage::new(4);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let ports = [stage.open(1, 1)[0], stage.open(2, 1)[0]];
    stage.configure(1, vec![alice.config()]);
    stage.configure(2, vec![bob.config()]);
    stage.bridge(1, 2);
    stage.settle();
    (stage, alice, bob, ports)
}

/// Both speak for long enough, in step.
fn talk(alice: &Phone, bob: &Phone, [left, right]: [u16; 2], from: u16) {
    for sequence_number in from..from + ENOUGH {
        alice.say(left, sequence_number);
        assert_eq!(bob.hear().0, rtp(1, sequence_number));
        bob.say(right, sequence_number);
        assert_eq!(alice.hear().0, rtp(2, sequence_number));
    }
}

#[test]
fn packets_that_come_while_it_opens_keep_their_order_and_none_is_lost() {
    let (stage, alice, bob, ports) = call();
    for sequence_number in 0..4 * ENOUGH {
        alice.say(ports[0], sequence_number);
    }
    for sequence_number in 0..4 * ENOUGH {
        assert_eq!(bob.hear(), (rtp(1, sequence_number), (LOCAL, ports[1]).into()));
    }
    assert_eq!(stage.close(1)[0].packets_received, u64::from(4 * ENOUGH));
}

#[test]
fn strangers_are_heard_and_refused_beside_it() {
    let (stage, alice, bob, ports) = call();
    talk(&alice, &bob, ports, 0);
    let stranger = UdpSocket::bind((LOCAL, 0)).unwrap();
    for sequence_number in 0..5 {
        stranger.send_to(&rtp(9, sequence_number), (LOCAL, ports[0])).unwrap();
    }
    talk(&alice, &bob, ports, ENOUGH);
    let quality = &stage.close(1)[0];
    assert_eq!((quality.packets_received, quality.packets_refused), (u64::from(2 * ENOUGH), 5));
}

#[test]
fn the_announced_address_takes_the_leg_over_from_the_one_it_was_connected_to() {
    let (stage, alice, bob, ports) = call();
    // What alice announced is not where she is heard first.
    let announced = Phone::new(1);
    stage.configure(1, vec![announced.config()]);
    stage.settle();
    talk(&alice, &bob, ports, 0);
    announced.say(ports[0], ENOUGH);
    assert_eq!(bob.hear().0, rtp(1, ENOUGH));
    bob.say(ports[1], ENOUGH);
    assert_eq!(announced.hear().0, rtp(2, ENOUGH));
    // From now on the former address is a stranger, and the new one gets a socket of its own.
    alice.say(ports[0], ENOUGH + 1);
    talk(&announced, &bob, ports, ENOUGH + 1);
    assert_eq!(stage.close(1)[0].packets_refused, 1);
}

#[test]
fn a_phone_that_comes_back_after_its_port_was_closed_is_heard_again() {
    let (_stage, alice, bob, ports) = call();
    talk(&alice, &bob, ports, 0);
    let address = alice.rtp.local_addr().unwrap();
    drop(alice);
    // The network says that nobody is there, which a connected socket is told of.
    (ENOUGH..2 * ENOUGH).for_each(|sequence_number| bob.say(ports[1], sequence_number));
    let back = UdpSocket::bind(address).unwrap();
    back.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    back.send_to(&rtp(1, ENOUGH), (LOCAL, ports[0])).unwrap();
    assert_eq!(bob.hear().0, rtp(1, ENOUGH));
    bob.say(ports[1], 2 * ENOUGH);
    while receive(&back).0 != rtp(2, 2 * ENOUGH) {}
}

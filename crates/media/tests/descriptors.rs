//! Where file descriptors run out, a new call comes before the comfort of those that are on.

#![expect(unsafe_code, reason = "std cannot limit the files a process may open")]

mod common;

use std::fs::File;

use common::{Phone, Stage, rtp};

/// Files that the process may open. Few, so that using them all up is quick.
const FILES_MAX: libc::rlim_t = 128;
/// Packets after which both legs have connected sockets.
const ENOUGH: u16 = 60;

fn talk(alice: &Phone, bob: &Phone, [left, right]: [u16; 2], from: u16) {
    for sequence_number in from..from + ENOUGH {
        alice.say(left, sequence_number);
        assert_eq!(bob.hear().0, rtp(1, sequence_number));
        bob.say(right, sequence_number);
        assert_eq!(alice.hear().0, rtp(2, sequence_number));
    }
}

/// One test in this file: it uses up what the whole process has.
#[test]
fn a_call_is_let_in_by_closing_connected_sockets_and_those_that_are_on_go_on() {
    let stage = Stage::new(8);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let ports = [stage.open(1, 1)[0], stage.open(2, 1)[0]];
    stage.configure(1, vec![alice.config()]);
    stage.configure(2, vec![bob.config()]);
    stage.bridge(1, 2);
    stage.settle();
    talk(&alice, &bob, ports, 0);
    let limit = libc::rlimit { rlim_cur: FILES_MAX, rlim_max: FILES_MAX };
    // SAFETY: the struct lives through the call, which reads it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // A pair takes two; one is there, and two more have to come from the call that is on.
    files.pop();
    stage.open(3, 1);
    talk(&alice, &bob, ports, ENOUGH);
    assert_eq!(stage.close(1)[0].packets_received, u64::from(2 * ENOUGH));
}

//! RFC 3261 §10.3, step by step.

use offhook_sip::header::HeaderName;

use crate::stage::{Stage, contacts};

#[test]
fn a_contact_is_bound_and_told_with_its_parameters_and_what_is_left() {
    let mut stage = Stage::new();
    let answer = stage.register(1, "Contact: \"A\" <sip:101@192.0.2.10;x=1>;audio;q=0.7;expires=600");
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(contacts(&answer), ["<sip:101@192.0.2.10;x=1>;audio;q=0.700;expires=600"]);
    assert_eq!(answer.headers().to().unwrap().tag(), Some("totag"));
    assert_eq!(answer.headers().first(&HeaderName::Date), Some("Sun, 22 Nov 2026 16:10:36 GMT"));
    assert_eq!(stage.changes(), ["+sip:101@192.0.2.10;x=1"]);

    stage.pass(250);
    let answer = stage.register(2, "");
    assert_eq!(contacts(&answer), ["<sip:101@192.0.2.10;x=1>;audio;q=0.700;expires=350"]);
    assert_eq!(stage.changes(), [""; 0], "a query changes nothing");
}

#[test]
fn the_lifetime_is_that_of_the_contact_then_of_the_expires_header_then_the_default() {
    let mut stage = Stage::new();
    for (cseq, (lines, expires)) in [
        ("Expires: 900\nContact: <sip:101@192.0.2.10>;expires=300", "300"),
        ("Expires: 900\nContact: <sip:101@192.0.2.10>", "900"),
        ("Contact: <sip:101@192.0.2.10>", "3600"),
        ("Expires: soon\nContact: <sip:101@192.0.2.10>", "3600"),
        ("Contact: <sip:101@192.0.2.10>;expires=soon", "3600"),
        ("Contact: <sip:101@192.0.2.10>;expires=4294967295", "7200"),
        ("Contact: <sip:101@192.0.2.10>;expires=99999999999999999999", "7200"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = stage.register(cseq as u32 + 1, lines);
        assert_eq!(contacts(&answer), [format!("<sip:101@192.0.2.10>;expires={expires}")], "{lines}");
    }
}

#[test]
fn a_lifetime_below_the_minimum_is_answered_with_423_and_changes_nothing() {
    let mut stage = Stage::new();
    let answer = stage.register(1, "Contact: <sip:101@192.0.2.10>;expires=59, <sip:101@192.0.2.11>");
    assert_eq!(answer.status().as_u16(), 423);
    assert_eq!(answer.headers().min_expires(), Some(60));
    assert!(stage.changes().is_empty() && stage.registrar.is_empty());
    assert_eq!(stage.register(2, "Contact: <sip:101@192.0.2.10>;expires=60").status().as_u16(), 200);
}

#[test]
fn contacts_are_recognised_by_the_rules_for_equal_uris() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:101@phone.Example.ORG:5060;Transport=udp;ob>");
    stage.register(2, "Contact: <sip:%3101@PHONE.example.org:5060;ob;transport=UDP>");
    assert_eq!(stage.registrar.len(), 1);
    stage.register(3, "Contact: <sip:101@phone.example.org;ob;transport=UDP>");
    assert_eq!(stage.registrar.len(), 2, "a port that is written differs from one that is not");
}

#[test]
fn one_request_adds_refreshes_and_removes() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:101@192.0.2.1>, <sip:101@192.0.2.2>;q=0.5");
    stage.changes();
    let answer =
        stage.register(2, "m: <sip:101@192.0.2.1>;expires=0\nm: <sip:101@192.0.2.2>\nm: <sip:101@192.0.2.3>");
    assert_eq!(contacts(&answer), ["<sip:101@192.0.2.2>;expires=3600", "<sip:101@192.0.2.3>;expires=3600"]);
    let changes = ["-sip:101@192.0.2.1 Removed", "=sip:101@192.0.2.2", "+sip:101@192.0.2.3"];
    assert_eq!(stage.changes(), changes);
}

#[test]
fn the_last_word_on_a_contact_within_a_request_counts() {
    let mut stage = Stage::new();
    let answer =
        stage.register(1, "Contact: <sip:101@192.0.2.1>;expires=100, <sip:101@192.0.2.1>;expires=200");
    assert_eq!(contacts(&answer), ["<sip:101@192.0.2.1>;expires=200"]);
    assert_eq!(stage.changes().len(), 1);
}

#[test]
fn removing_what_is_not_there_is_no_fault() {
    let mut stage = Stage::new();
    let answer = stage.register(1, "Contact: <sip:101@192.0.2.1>;expires=0");
    assert_eq!((answer.status().as_u16(), contacts(&answer).len()), (200, 0));
    assert!(stage.changes().is_empty());
}

#[test]
fn an_overtaken_request_of_the_same_call_id_fails_whole() {
    let mut stage = Stage::new();
    stage.register(5, "Contact: <sip:101@192.0.2.1>;expires=600");
    stage.changes();
    for cseq in [5, 4] {
        let answer = stage.register(cseq, "Contact: <sip:101@192.0.2.9>, <sip:101@192.0.2.1>;expires=0");
        assert_eq!(answer.status().as_u16(), 500);
    }
    assert_eq!(stage.register(5, "Contact: *\nExpires: 0").status().as_u16(), 500);
    assert!(stage.changes().is_empty());
    // Another Call-ID is another device's or a restarted one's word: its CSeq says nothing of the old one's.
    let answer = stage.register_as("101", "call-2@192.0.2.10", 1, "Contact: <sip:101@192.0.2.1>;expires=700");
    assert_eq!(contacts(&answer), ["<sip:101@192.0.2.1>;expires=700"]);
}

#[test]
fn star_removes_all_but_only_alone_and_with_expires_0() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:101@192.0.2.1>, <sip:101@192.0.2.2>");
    stage.changes();
    for lines in [
        "Contact: *",
        "Contact: *\nExpires: 60",
        "Contact: *, <sip:101@192.0.2.1>\nExpires: 0",
        "Contact: *\nExpires: x",
    ] {
        assert_eq!(stage.register(2, lines).status().as_u16(), 400, "{lines}");
    }
    assert!(stage.changes().is_empty());
    let answer = stage.register(2, "Contact: *\nExpires: 0");
    assert_eq!((answer.status().as_u16(), contacts(&answer).len()), (200, 0));
    assert_eq!(stage.changes(), ["-sip:101@192.0.2.1 Removed", "-sip:101@192.0.2.2 Removed"]);
    assert!(stage.registrar.is_empty() && stage.registrar.next_timeout().is_none());
}

#[test]
fn a_line_takes_no_more_contacts_than_its_limit() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>, <sip:2@192.0.2.1>, <sip:3@192.0.2.1>");
    stage.changes();
    let answer = stage.register(2, "Contact: <sip:4@192.0.2.1>, <sip:1@192.0.2.1>;expires=70");
    assert_eq!(answer.status().as_u16(), 403);
    let warning = answer.headers().first(&HeaderName::Warning).unwrap();
    assert!(warning.contains("3 contacts"), "{warning}");
    assert!(stage.changes().is_empty());
    // One goes, one comes; a refresh is always possible.
    let answer =
        stage.register(2, "Contact: <sip:4@192.0.2.1>, <sip:1@192.0.2.1>;expires=0, <sip:2@192.0.2.1>");
    assert_eq!((answer.status().as_u16(), contacts(&answer).len()), (200, 3));
}

#[test]
fn a_device_that_left_contacts_behind_does_not_lock_its_line() {
    let mut stage = Stage::new();
    let device = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";
    stage.register(1, "Contact: <sip:other@192.0.2.2>");
    for port in 1..=6 {
        let lines = format!("Contact: <sip:101@192.0.2.1:{port}>;{device}");
        let answer = stage.register_as("101", &format!("boot-{port}"), 1, &lines);
        assert_eq!(answer.status().as_u16(), 200);
    }
    assert_eq!(stage.uris()[0], ["sip:other@192.0.2.2", "sip:101@192.0.2.1:5", "sip:101@192.0.2.1:6"]);
}

#[test]
fn expired_contacts_are_gone_on_the_second_with_a_fact() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>;expires=100, <sip:2@192.0.2.1>;expires=200");
    stage.changes();
    stage.pass_with_timers(99);
    assert_eq!(stage.uris()[0].len(), 2);
    stage.pass(1);
    assert_eq!(stage.uris(), [["sip:2@192.0.2.1"]], "it is over even before the timer ran");
    stage.pass_with_timers(0);
    assert_eq!(stage.changes(), ["-sip:1@192.0.2.1 Expired"]);
    stage.pass_with_timers(100);
    assert_eq!(stage.changes(), ["-sip:2@192.0.2.1 Expired"]);
    assert!(stage.registrar.next_timeout().is_none() && stage.uris().is_empty());
}

#[test]
fn a_refresh_moves_the_deadline_both_ways() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>;expires=100");
    stage.pass(50);
    stage.register(2, "Contact: <sip:1@192.0.2.1>;expires=100");
    stage.pass_with_timers(99);
    assert_eq!(stage.registrar.len(), 1);
    stage.register(3, "Contact: <sip:1@192.0.2.1>;expires=3600");
    stage.register(4, "Contact: <sip:1@192.0.2.1>;expires=60");
    stage.pass_with_timers(60);
    assert!(stage.registrar.is_empty());
}

#[test]
fn an_unknown_required_extension_is_refused_with_its_name() {
    let mut stage = Stage::new();
    let answer = stage.register(1, "Require: path, fancy, outbound\nContact: <sip:1@192.0.2.1>");
    assert_eq!(answer.status().as_u16(), 420);
    assert_eq!(answer.headers().first(&HeaderName::Unsupported), Some("fancy"));
}

#[test]
fn malformed_and_immoderate_requests_are_refused_and_change_nothing() {
    let mut stage = Stage::new();
    let long = format!("Contact: <sip:{}@192.0.2.1>", "1".repeat(1100));
    let many: String = (0..33).map(|number| format!("Contact: <sip:{number}@192.0.2.1>\n")).collect();
    let lines = ["Contact: <tel:+4930123456>", "Contact: <sip:>", "Contact: <sip:a b@c>", &long, &many];
    for lines in lines {
        let answer = stage.register(1, lines);
        assert_eq!(answer.status().as_u16(), 400, "{lines}");
    }
    assert!(stage.registrar.is_empty() && stage.changes().is_empty());
}

#[test]
fn targets_come_by_falling_q_and_those_of_one_q_together() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>;q=0.1, <sip:2@192.0.2.1>, <sip:3@192.0.2.1>;q=1.0");
    let groups: [&[&str]; 2] = [&["sip:2@192.0.2.1", "sip:3@192.0.2.1"], &["sip:1@192.0.2.1"]];
    assert_eq!(stage.uris(), groups);
}

#[test]
fn lines_do_not_see_each_other() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>");
    let answer = stage.register_as("102", "call-b", 1, "Contact: <sip:2@192.0.2.1>");
    assert_eq!(contacts(&answer), ["<sip:2@192.0.2.1>;expires=3600"]);
    let summaries = stage.registrar.registrations(&stage.directory, stage.now.instant);
    let names: Vec<&str> = summaries.iter().map(|summary| &*summary.name).collect();
    assert_eq!(names, ["101", "102"]);
}

/// Goal: a contact that is refreshed again and again ends when its last refresh says, neither before nor later, though the deadline of
/// the first stands in the book. Method: refresh it to a later end, then to an earlier one.
#[test]
fn a_refresh_moves_the_end_forth_and_back() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:1@192.0.2.1>;expires=100");
    stage.pass_with_timers(60);
    stage.register(2, "Contact: <sip:1@192.0.2.1>;expires=300");
    stage.pass_with_timers(299);
    assert_eq!(stage.registrar.len(), 1);
    stage.register(3, "Contact: <sip:1@192.0.2.1>;expires=1000");
    stage.register(4, "Contact: <sip:1@192.0.2.1>;expires=70");
    stage.pass_with_timers(69);
    assert_eq!(stage.registrar.len(), 1);
    stage.pass_with_timers(1);
    assert!(stage.registrar.is_empty() && stage.registrar.next_timeout().is_none());
}

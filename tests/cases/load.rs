//! `offhook load` beside SIPp: the same scenario files, every pairing of the two, give the same flow, counts, logs and
//! exit codes as SIPp with itself.

use std::{fs, process::Command, thread};

use offhook_e2e::{
    load::{Outcome, Pair, Player, program, third_party_call},
    node::binary,
    ports,
};

/// Plays `pair` in all pairings and compares them with SIPp's own.
fn agrees(pair: Pair, transports: &[&str]) {
    for transport in transports {
        let pairings = [
            (Player::Sipp, Player::Sipp),
            (Player::Ours, Player::Sipp),
            (Player::Sipp, Player::Ours),
            (Player::Ours, Player::Ours),
        ];
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let threads =
                pairings.map(|(caller, callee)| scope.spawn(move || pair.play(caller, callee, transport)));
            threads.into_iter().map(|thread| thread.join().expect("it is played")).collect()
        });
        assert!(!outcomes[0].flow.is_empty(), "{pair:?}: SIPp with itself does nothing");
        for (pairing, outcome) in pairings.iter().zip(&outcomes).skip(1) {
            assert_eq!(
                outcome, &outcomes[0],
                "{pair:?} over {transport}, {pairing:?}, is not as SIPp with itself"
            );
        }
    }
}

const BOTH: &[&str] = &["u1", "t1"];

#[test]
fn the_built_in_scenarios_go_as_sipps_do() {
    thread::scope(|scope| {
        // Over TCP the end of the caller's connection makes SIPp's callee fail calls that are over.
        scope.spawn(|| agrees(Pair { calls: 3, ..Pair::new("-sn uac", "-sn uas") }, &["u1"]));
        scope.spawn(|| agrees(Pair::new("-sn regexp", "-sn uas"), &["u1"]));
    });
}

#[test]
fn branching_goes_as_sipps_does() {
    agrees(Pair::new("-sn branchc", "-sn branchs"), &["u1"]);
}

#[test]
fn routes_and_cseq_numbers_are_sipps() {
    agrees(Pair::new("routed_caller", "routed_callee"), BOTH);
}

#[test]
fn actions_give_what_they_give_in_sipp() {
    agrees(Pair::new("actions_caller", "answers_callee"), &["u1"]);
}

#[test]
fn a_proof_is_made_and_checked() {
    agrees(Pair::new("proves_caller", "challenges_callee"), &["u1"]);
    // Debian's SIPp knows MD5 only.
    let outcome =
        Pair::new("proves_caller", "challenges_sha256_callee").play(Player::Ours, Player::Ours, "u1");
    assert_eq!((outcome.codes, outcome.logs[1].concat()), ((Some(0), Some(0)), "proved true".into()));
}

#[test]
fn a_refused_call_is_acknowledged_and_fails() {
    agrees(Pair::new("plain_caller", "refuses_callee"), BOTH);
}

#[test]
fn a_call_that_waited_in_vain_is_cancelled() {
    agrees(Pair::new("waits_caller", "rings_callee"), BOTH);
    agrees(Pair::new("branches_caller", "rings_callee"), BOTH);
}

#[test]
fn surprises_end_a_call_as_in_sipp() {
    agrees(Pair::new("patient_caller", "surprises_callee"), BOTH);
    agrees(Pair::new("patient_caller", "hangs_up_callee"), BOTH);
}

#[test]
fn a_silent_callee_is_called_as_often_as_sipp_calls_it() {
    let pair = Pair::new("plain_caller", "silent_callee");
    agrees(Pair { arguments: &["-max_retrans", "1"], callee_stays: true, ..pair }, &["u1"]);
}

#[test]
fn controllers_of_a_third_party_call_understand_each_other() {
    use Player::{Ours, Sipp};
    thread::scope(|scope| {
        for (for_a, for_b) in [(Ours, Ours), (Ours, Sipp), (Sipp, Ours)] {
            scope.spawn(move || {
                assert_eq!(third_party_call(for_a, for_b), [Some(0); 4], "{for_a:?} for A, {for_b:?} for B");
            });
        }
    });
}

#[test]
fn a_run_that_is_interrupted_hangs_up() {
    let pair = Pair { arguments: &["-d", "20000"], ..Pair::new("-sn uac", "-sn uas") };
    let outcome = pair.interrupted();
    assert_eq!(outcome.codes, (Some(1), Some(0)), "{outcome:?}");
    assert_eq!(outcome.flow.last().map(String::as_str), Some("S CSeq:2 BYE BYE"), "{outcome:?}");
}

#[test]
fn time_is_up_for_a_callee_that_nobody_calls_as_for_sipps() {
    thread::scope(|scope| {
        for (more, code) in [(&[][..], 97), (&["-timeout_error"][..], 255)] {
            for player in [Player::Sipp, Player::Ours] {
                scope.spawn(move || {
                    let port = ports::free().to_string();
                    let answers = ["-sn", "uas", "-i", "127.0.0.1", "-p", &port, "-nostdin", "-timeout", "1"];
                    let output = program(player).args(answers).args(more).output().expect("it runs");
                    assert_eq!(output.status.code(), Some(code), "{player:?} {more:?}");
                });
            }
        }
    });
}

fn load(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).arg("load").args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_wrong_with_a_scenario_is_told_with_its_place() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("wrong.xml");
    let send = |text: &str| {
        format!("<scenario>\n<send><![CDATA[\n  BYE sip:a SIP/2.0\n  {text}\n]]></send>\n</scenario>")
    };
    for (text, place, words) in [
        ("<scenario>\n <recv reponse=\"200\"/>\n</scenario>".to_string(), ":2:2:", "<recv> needs"),
        (
            "<scenario>\n <recv response=\"200\" optionl=\"true\"/>\n</scenario>".into(),
            ":2:23:",
            "`optional`",
        ),
        ("<scenario>\n <snd/>\n</scenario>".into(), ":2:2:", "`send`"),
        ("<scenario>\n <nop next=\"9\"/>\n <label id=\"8\"/></scenario>".into(), ":2:7:", "label `9`"),
        ("<scenario>\n <nop><action><asign/></action></nop></scenario>".into(), ":2:15:", "`assign`"),
        ("<scenario>\n <nop>\n</scenario>".into(), ":3:3:", "</scenario> ends <nop>"),
        (send("Call-ID: [call_it]"), ":4:12:", "`call_id`"),
        (send("X: [field0]"), ":4:6:", "-inf FILE"),
        (send("X: [tdmmap]"), ":4:6:", "unsupported"),
    ] {
        fs::write(&path, &text).expect("a file");
        let (code, said) = load(&["127.0.0.1:9", "-sf", &path.display().to_string()]);
        assert_eq!(code, Some(255), "{said}");
        assert!(said.contains(&format!("wrong.xml{place}")) && said.contains(words), "{text}\n{said}");
    }
}

#[test]
fn strangers_are_not_called_without_being_asked_for() {
    let (code, said) = load(&["192.0.3.1:5060", "-m", "1"]);
    assert!(code == Some(255) && said.contains("--allow-public"), "{said}");
}

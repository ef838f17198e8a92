//! `offhook load` beside SIPp: the same scenario files, every pairing of the two, give the same flow, counts, logs and
//! exit codes as SIPp with itself.

use std::{fs, process::Command, thread};

use offhook_e2e::{
    load::{Outcome, Pair, Player, changed, program, third_party_call},
    node::{Node, NodeOptions, binary, password},
    ports,
    process::Running,
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
fn elements_and_attributes_do_what_they_do_in_sipp() {
    agrees(Pair::new("elements_caller", "elements_callee"), BOTH);
    agrees(Pair::new("stops_caller", "answers_callee"), BOTH);
    // Over TCP the end of the connection makes SIPp fail calls that have some steps left, now and then.
    agrees(Pair::new("reads_caller", "tells_callee"), &["u1"]);
}

#[test]
fn what_scenarios_foresee_goes_as_in_sipp() {
    agrees(Pair::new("surprised_caller", "talkative_callee"), &["u1"]);
    agrees(Pair::new("gives_up_caller", "rings_callee"), BOTH);
}

#[test]
fn scenarios_stop_their_call_or_the_run_as_in_sipp() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stopped = |command: &str| {
        let caller = changed(directory.path(), "commands_caller", command, &[("stop_call", command)]);
        Pair { callee_stays: true, ..Pair::new(caller, "answers_callee") }
    };
    agrees(stopped("stop_gracefully"), BOTH);
    agrees(stopped("stop_call"), BOTH);
    agrees(stopped("stop_now"), BOTH);
    // SIPp leaves the other side with a call that it has invited to; we end it.
    let plain = (
        "<recv response=\"200\"/>\n  <send>",
        "<recv response=\"200\"><action><exec int_cmd=\"stop_call\"/></action></recv>\n  <send>",
    );
    let caller = changed(directory.path(), "plain_caller", "invites", &[plain]);
    let pair = Pair { callee_stays: true, ..Pair::new(caller, "-sn uas") };
    let outcomes = [Player::Sipp, Player::Ours].map(|caller| pair.play(caller, Player::Sipp, "u1"));
    assert_eq!(outcomes[1].codes, outcomes[0].codes);
    assert_eq!(outcomes[1].flow.last().map(String::as_str), Some("S CSeq:2 BYE BYE"), "{outcomes:?}");
}

#[test]
fn what_sipp_cannot_read_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let texts = [
        ("nothing", ""),
        ("open", "<scenario name=\"open\"><send>"),
        ("element", "<scenario name=\"element\"><sned/></scenario>"),
        ("attribute", "<scenario name=\"attribute\"><recv/></scenario>"),
        ("number", "<scenario name=\"number\"><pause milliseconds=\"x\"/></scenario>"),
        ("action", "<scenario name=\"action\"><nop><action><asign/></action></nop></scenario>"),
        (
            "keyword",
            "<scenario name=\"keyword\"><send><![CDATA[\nBYE [srvice] SIP/2.0\n]]></send></scenario>",
        ),
        ("nowhere", "<scenario name=\"nowhere\"><recv response=\"200\" next=\"away\"/></scenario>"),
    ];
    for (name, text) in texts {
        let path = directory.path().join(format!("{name}.xml"));
        fs::write(&path, text).expect("it is written");
        // SIPp's documentation says 255 as well; Debian's does not do it before a scenario is read.
        for (player, code) in [(Player::Sipp, 1), (Player::Ours, 255)] {
            let mut command = program(player);
            command.current_dir(directory.path()).arg("-sf").arg(&path);
            command.args(["127.0.0.1:9", "-i", "127.0.0.1", "-m", "1", "-nostdin", "-timeout", "5"]);
            let output = command.args(["-cp", &ports::free().to_string()]).output().expect("it runs");
            assert_eq!(output.status.code(), Some(code), "{player:?} {name}");
        }
    }
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

#[test]
fn sound_that_is_streamed_comes_back_and_is_judged() {
    let echoed = Pair {
        callee_arguments: &["-rtp_echo"],
        requires: &["streams == 1", "rtp_sent == 50", "rtp_received == 50", "mos.min > 4", "level.min > -20"],
        ..Pair::new("streams_caller", "-sn uas")
    };
    agrees(echoed, &["u1"]);
    let lonely = Pair { callee_arguments: &[], ..echoed };
    let outcome = lonely.play(Player::Ours, Player::Sipp, "u1");
    assert_eq!(outcome.codes, (Some(1), Some(0)), "nothing comes back: {outcome:?}");
}

#[test]
fn the_sound_that_arrives_is_the_one_that_was_sent_in_every_codec() {
    const RIGHT: &[&str] = &["streams == 1", "pattern.min > 85", "mos.min > 4", "level.min > -14"];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let says = |name: &str, described: &str, pattern: &str| {
        let (described, pattern) = (format!("RTP/AVP {described}"), format!("apattern,{pattern}"));
        let changes = [("RTP/AVP 0", &*described), ("sound.raw,1,0", &*pattern)];
        changed(directory.path(), "streams_caller", name, &changes)
    };
    let echo: &[&str] = &["-rtp_echo"];
    let echoed = |caller| Pair { callee_arguments: echo, requires: RIGHT, ..Pair::new(caller, "-sn uas") };
    let opus = "111\n      a=rtpmap:111 opus/48000/2";
    // The same octet in every place is no sound.
    let octets =
        Pair { requires: &["streams == 1", "pattern.min == 100"], ..echoed(says("octets", "0", "3,-1,0")) };
    let good = [
        says("a_law", "8", "7,-1,8,PCMA/8000"),
        says("g722", "9", "12,-1,9"),
        says("opus", opus, "9,-1,111,opus/48000/2"),
    ];
    let changes = [
        ("RTP/SAVP 0", "RTP/AVP 0"),
        (
            "      a=crypto:[cryptotag2audio] [cryptosuiteaescm128sha1322audio] inline:[cryptokeyparams2audio]\n",
            "",
        ),
        ("rtp_echo=\"startaudio,0\"", "rtp_stream=\"apattern,11,-1,0\""),
    ];
    let other = changed(directory.path(), "secures_callee", "other", &changes);
    let wrong = Pair { requires: &["pattern.min < 5"], ..Pair::new(says("tone", "0", "10,-1,0"), other) };
    let right = Pair { requires: RIGHT, ..Pair::new(says("same", "0", "11,-1,0"), other) };
    // Each finds ports that the other one has, and goes on to the next.
    let shared = Pair {
        calls: 2,
        shares_ports: true,
        requires: &["streams == 2", "pattern.min > 85", "mos.min > 4"],
        ..right
    };
    thread::scope(|scope| {
        let echoes = good.map(|caller| (echoed(caller), Player::Sipp));
        let more = [octets, wrong, right, shared].into_iter().zip([
            Player::Sipp,
            Player::Ours,
            Player::Ours,
            Player::Ours,
        ]);
        for (pair, callee) in echoes.into_iter().chain(more) {
            scope.spawn(move || {
                let outcome = pair.play(Player::Ours, callee, "u1");
                assert_eq!(outcome.codes, (Some(0), Some(0)), "{pair:?} {outcome:?}");
            });
        }
    });
}

#[test]
fn sound_that_comes_back_wrong_ends_with_its_exit_code() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let caller =
        changed(directory.path(), "streams_caller", "octets", &[("sound.raw,1,0", "apattern,3,-1,0")]);
    let checked = Pair::new(caller, "-sn uas");
    for (echo, tolerance, code) in [(&["-rtp_echo"][..], "0.1", 0), (&[], "0.1", 253), (&[], "1.0", 0)] {
        let pair = Pair { callee_arguments: echo, tolerance: Some(tolerance), ..checked };
        let outcome = pair.play(Player::Ours, Player::Sipp, "u1");
        assert_eq!(outcome.codes, (Some(code), Some(0)), "{echo:?} {tolerance} {outcome:?}");
    }
}

#[test]
fn sound_is_encrypted_with_the_keys_that_both_sides_describe() {
    const WHOLE: &[&str] = &["rtp_received == 50", "rtp_undecrypted == 0", "mos.min > 4", "level.min > -20"];
    let keys = Pair { requires: WHOLE, ..Pair::new("secures_caller", "secures_callee") };
    let echo: &[&str] = &["-rtp_echo"];
    let known =
        Pair { requires: WHOLE, callee_arguments: echo, ..Pair::new("known_key_caller", "known_key_callee") };
    // SIPp, which knows nothing of keys, sends back what it hears: under a key that it should not have used.
    let stranger = Pair {
        requires: &["rtp_received == 0", "rtp_undecrypted == 50"],
        callee_arguments: echo,
        ..Pair::new("secures_caller", "known_key_callee")
    };
    thread::scope(|scope| {
        for (pair, callee) in [(keys, Player::Ours), (known, Player::Sipp), (stranger, Player::Sipp)] {
            scope.spawn(move || {
                let outcome = pair.play(Player::Ours, callee, "u1");
                assert_eq!(outcome.codes, (Some(0), Some(0)), "{pair:?} {outcome:?}");
            });
        }
    });
}

#[test]
fn a_run_is_told_as_json_junit_and_html() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let port = ports::free().to_string();
    let mut callee = program(Player::Ours);
    callee.args(["-sn", "uas", "-i", "127.0.0.1", "-p", &port, "-nostdin"]);
    let _callee = Running::start("callee", callee, directory.path());
    let number = port.parse().expect("a number");
    offhook_e2e::wait::until("the callee listens", || ports::is_open(number).then_some(()));
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (remote, json, junit, html) =
        (format!("127.0.0.1:{port}"), file("json"), file("junit"), file("html"));
    let screens = file("screens");
    let arguments = [
        &[&*remote, "-i", "127.0.0.1", "-r", "5", "-m", "12", "-nostdin", "--require", "failed == 0"][..],
        &["-trace_screen", "-screen_file", &screens, "-rp", "1000"],
        &["--require", "setup.max < 1us", "--json", &json, "--junit", &junit, "--html", &html, "-d", "10"],
    ];
    let (code, said) = load(&arguments.concat());
    assert!(code == Some(1) && said.contains("does not hold: setup.max < 1us"), "{said}");
    let read = |path: &str| fs::read_to_string(path).expect("it is written");
    let results: serde_json::Value = serde_json::from_str(&read(&json)).expect("it is JSON");
    assert_eq!(results["calls"]["successful"], 12, "{results:#}");
    assert_eq!(results["thresholds"][1]["holds"], false, "{results:#}");
    assert!(read(&junit).contains("tests=\"3\" failures=\"1\""), "{}", read(&junit));
    // The rate is per period, and the period is the run: no line was written before its end.
    let screens = read(&screens);
    let elapsed = screens.lines().find(|line| line.starts_with("  Elapsed Time")).expect("it is shown");
    assert!(!elapsed.contains("| 00:00:00:"), "{elapsed}");
    let page = read(&html);
    assert!(page.contains("<polyline") && page.contains("setup.max &lt; 1us"), "{page}");
}

#[test]
fn captures_that_sipp_plays_are_heard_and_ours_come_back_from_it() {
    let played = Pair {
        callee_arguments: &["-rtp_echo"],
        requires: &["rtp_lost == 0", "rtp_received > 400", "mos.min > 4"],
        ..Pair::new("-sn uac_pcap", "-sn uas")
    };
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let pairings = [(Player::Ours, Player::Sipp), (Player::Ours, Player::Ours)];
        let threads = pairings.map(|(caller, callee)| scope.spawn(move || played.play(caller, callee, "u1")));
        threads.into_iter().map(|thread| thread.join().expect("it is played")).collect()
    });
    for outcome in outcomes {
        assert_eq!(outcome.codes, (Some(0), Some(0)), "{outcome:?}");
    }
}

#[test]
fn calls_go_over_connections_of_every_kind() {
    let plain = Pair { calls: 3, ..Pair::new("-sn uac", "-sn uas") };
    let known = Pair { arguments: &["-tls_ca", "cacert.pem"], ..plain };
    let without_wire = |outcome: Outcome| Outcome { wire: Vec::new(), ..outcome };
    let wanted = without_wire(plain.play(Player::Ours, Player::Ours, "t1"));
    assert_eq!(wanted.codes, (Some(0), Some(0)), "{wanted:?}");
    thread::scope(|scope| {
        for transport in ["tn", "l1", "ln", "w1", "wn", "s1", "sn"] {
            let (pair, wanted) = (if transport == "sn" { known } else { plain }, &wanted);
            scope.spawn(move || {
                let outcome = without_wire(pair.play(Player::Ours, Player::Ours, transport));
                assert_eq!(&outcome, wanted, "over {transport}");
            });
        }
    });
}

#[test]
fn a_server_that_no_authority_vouches_for_is_not_called() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("other.pem");
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    fs::write(&path, other.cert.pem()).expect("a file");
    let port = ports::free().to_string();
    let mut callee = program(Player::Ours);
    callee.current_dir(directory.path()).args(["-sn", "uas", "-t", "l1", "-i", "127.0.0.1", "-p", &port]);
    fs::write(directory.path().join("key.pem"), other.signing_key.serialize_pem()).expect("a file");
    callee.args(["-tls_cert", "other.pem", "-tls_key", "key.pem", "-nostdin"]);
    let callee = Running::start("callee", callee, directory.path());
    let number = port.parse().expect("a number");
    offhook_e2e::wait::until("the callee listens", || ports::is_open(number).then_some(()));
    let remote = format!("127.0.0.1:{port}");
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    let authority = directory.path().join("stranger.pem");
    fs::write(&authority, stranger.cert.pem()).expect("a file");
    for (authority, code) in [(&authority, 1), (&path, 0)] {
        let authority = authority.display().to_string();
        let arguments =
            [&*remote, "-i", "127.0.0.1", "-t", "ln", "-m", "1", "-nostdin", "-tls_ca", &authority];
        let (found, said) = load(&arguments);
        assert_eq!(found, Some(code), "{authority}: {said}{}", callee.output());
    }
}

#[test]
fn the_node_takes_registrations_over_tls_and_websocket() {
    let node = Node::start(&NodeOptions::default());
    let authority = node.certificate().display().to_string();
    let scenario = offhook_e2e::load::scenario_arguments("register_caller");
    for (line, transport, ip, host, port) in [
        ("101", "l1", "127.0.0.1", "localhost", node.tls_port),
        ("102", "w1", "::1", "[::1]", node.ws_port),
        ("103", "sn", "127.0.0.1", "localhost", node.wss_port),
    ] {
        let (remote, password) = (format!("{host}:{port}"), password(line));
        let mut arguments = vec![&*remote, "-i", ip, "-t", transport, "-s", line, "-ap", &password];
        arguments.extend(["-m", "1", "-nostdin", "-tls_ca", &authority, "-timeout", "20", "-timeout_error"]);
        arguments.extend(scenario.iter().map(String::as_str));
        let (code, said) = load(&arguments);
        assert_eq!(code, Some(0), "{line} over {transport}: {said}");
    }
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

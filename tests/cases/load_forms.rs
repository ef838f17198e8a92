//! Scenarios in YAML, and scenarios out of captures: run by `offhook load`, and as XML by SIPp too.

use std::{fs, net::Ipv4Addr, path::Path, process::Command, thread};

use offhook_e2e::{
    load::{Outcome, Pair, Player},
    node::binary,
};

fn tool(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).arg("load").args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A path without its ending, for a [`Pair`] that lives as long as the test.
fn stem(path: &Path) -> &'static str {
    Box::leak(path.with_extension("").display().to_string().into_boxed_str())
}

#[test]
fn a_scenario_says_the_same_in_yaml_and_in_xml() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/load");
    let path = |name: &str| directory.path().join(name);
    for name in ["actions_caller", "answers_callee"] {
        let original = scenarios.join(format!("{name}.xml")).display().to_string();
        let (yaml, xml) = (path(&format!("{name}.yaml")), path(&format!("{name}.xml")));
        assert_eq!(tool(&["convert", &original, &yaml.display().to_string()]).0, Some(0));
        assert_eq!(tool(&["convert", &yaml.display().to_string(), &xml.display().to_string()]).0, Some(0));
    }
    let wanted = Pair::new("actions_caller", "answers_callee").play(Player::Sipp, Player::Sipp, "u1");
    let (caller, callee) = (stem(&path("actions_caller.xml")), stem(&path("answers_callee.xml")));
    assert_eq!(Pair::new(caller, callee).play(Player::Sipp, Player::Sipp, "u1"), wanted, "as XML again");
    let in_yaml =
        |name: &str| -> &'static str { Box::leak(path(name).display().to_string().into_boxed_str()) };
    let pair = Pair::new(in_yaml("actions_caller.yaml"), in_yaml("answers_callee.yaml"));
    assert_eq!(pair.play(Player::Ours, Player::Ours, "u1"), wanted, "as YAML");
}

/// A capture of raw IP packets, 30 ms from one to the next; `true`: the caller sent it.
fn capture(messages: &[(bool, String)]) -> Vec<u8> {
    let mut file = Vec::new();
    for number in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(number.to_le_bytes());
    }
    let ends = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(203, 0, 113, 9)];
    for (number, (is_callers, text)) in (0_u32..).zip(messages) {
        let (from, to) = if *is_callers { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
        let udp_length = 8 + text.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend((20 + udp_length).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend([5060_u16, 5060, udp_length, 0].iter().flat_map(|number| number.to_be_bytes()));
        packet.extend(text.as_bytes());
        let length = packet.len() as u32;
        for number in [1_700_000_000, number * 30_000, length, length] {
            file.extend(number.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// What nobody shall find in a scenario.
const SECRETS: [&str; 8] =
    ["alice", "+15550123", "198.51.100", "203.0.113", "Alice", "topsecret", "Acme", "inline:"];

fn request(method: &str, cseq: u32, to_tag: bool, more: &str, body: &str) -> String {
    let tag = if to_tag { ";tag=b" } else { "" };
    let length = body.len();
    format!(
        "{method} sip:+15550123@203.0.113.9 SIP/2.0\r\nv: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{method}{cseq}\r\n\
         f: \"Alice\" <sip:alice@acme.example>;tag=a\r\nTo: <sip:+15550123@acme.example>{tag}\r\n\
         i: 42@198.51.100.7\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nUser-Agent: Acme 5000\r\n{more}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn response(code: u16, method: &str, cseq: u32, more: &str, body: &str) -> String {
    let tag = if code > 100 { ";tag=b" } else { "" };
    let length = body.len();
    format!(
        "SIP/2.0 {code} Acme says\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{method}{cseq}\r\n\
         From: \"Alice\" <sip:alice@acme.example>;tag=a\r\nTo: <sip:+15550123@acme.example>{tag}\r\n\
         Call-ID: 42@198.51.100.7\r\nCSeq: {cseq} {method}\r\nServer: Acme PBX\r\n{more}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

const CONTACT: &str = "Contact: <sip:alice@198.51.100.7:5060>\r\n";
const SDP: &str = "v=0\r\no=alice 1 1 IN IP4 198.51.100.7\r\ns=Acme\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
    m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7\r\n";

/// A call with a proof, a reliable ringing that another request overtakes, and an end by the callee.
fn answered_call() -> Vec<(bool, String)> {
    let typed = format!("{CONTACT}Content-Type: application/sdp\r\n");
    let proof = format!("Authorization: Digest username=\"alice\", response=\"topsecret\"\r\n{typed}");
    let challenge = "WWW-Authenticate: Digest realm=\"acme.example\", nonce=\"topsecret\"\r\n";
    let bye = request("BYE", 900, true, "", "")
        .replace("f: ", "x-was: ")
        .replace("To: ", "f: ")
        .replace("x-was", "t");
    vec![
        (true, request("INVITE", 101, false, &typed, SDP)),
        (true, request("INVITE", 101, false, &typed, SDP)),
        (false, response(401, "INVITE", 101, challenge, "")),
        (true, request("ACK", 101, true, "", "")),
        (true, request("INVITE", 102, false, &proof, SDP)),
        (false, response(100, "INVITE", 102, "", "")),
        (false, response(183, "INVITE", 102, "Require: 100rel\r\nRSeq: 77\r\n", "")),
        (true, request("PRACK", 103, true, "RAck: 77 102 INVITE\r\n", "")),
        (false, response(200, "PRACK", 103, "", "")),
        (false, response(200, "INVITE", 102, &typed, SDP)),
        (true, request("ACK", 102, true, "", "")),
        (true, request("INFO", 104, true, "Content-Type: application/dtmf-relay\r\n", "Signal=7\r\n")),
        (false, response(200, "INFO", 104, "", "")),
        (false, bye),
        (true, response(200, "BYE", 900, "", "")),
    ]
}

/// A call that is given up while it rings.
fn cancelled_call() -> Vec<(bool, String)> {
    vec![
        (true, request("INVITE", 1, false, CONTACT, "")),
        (false, response(180, "INVITE", 1, "", "")),
        (true, request("CANCEL", 1, false, "", "")),
        (false, response(200, "CANCEL", 1, "", "")),
        (false, response(487, "INVITE", 1, "", "")),
        (true, request("ACK", 1, true, "", "")),
    ]
}

#[test]
fn a_captured_call_is_played_again_by_us_and_by_sipp_and_tells_nothing_of_anybody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, call, wanted) in [
        (
            "answered",
            answered_call(),
            "S INVITE|R 401|S ACK|S INVITE|R 100|R 183|S PRACK|R 200|R 200|S ACK|S INFO|R 200|R BYE|S 200",
        ),
        ("cancelled", cancelled_call(), "S INVITE|R 180|S CANCEL|R 200|R 487|S ACK"),
    ] {
        let path = |role: &str| directory.path().join(format!("{name}_{role}"));
        let (pcap, caller, callee) = (path("a.pcap"), path("caller.xml"), path("callee.xml"));
        fs::write(&pcap, capture(&call)).expect("a file");
        let arguments = [&pcap, &caller, &callee].map(|path| path.display().to_string());
        let (code, said) = tool(&[&["from-pcap"][..], &arguments.each_ref().map(String::as_str)].concat());
        assert!(code == Some(0) && said.contains("User-Agent"), "{said}");
        for file in [&caller, &callee] {
            let text = fs::read_to_string(file).expect("it is written");
            let found: Vec<_> = SECRETS.iter().filter(|secret| text.contains(**secret)).collect();
            assert!(found.is_empty(), "{found:?} in\n{text}");
        }
        let pair = Pair::new(stem(&caller), stem(&callee));
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            use Player::{Ours, Sipp};
            let pairings = [(Ours, Ours), (Ours, Sipp), (Sipp, Ours), (Sipp, Sipp)];
            let threads = pairings.map(|(one, other)| scope.spawn(move || pair.play(one, other, "u1")));
            threads.into_iter().map(|thread| thread.join().expect("it is played")).collect()
        });
        for outcome in outcomes {
            assert_eq!(outcome.codes, (Some(0), Some(0)), "{name}: {outcome:?}");
            let flow: Vec<String> = outcome.flow.iter().map(|line| short(line)).collect();
            assert_eq!(flow.join("|"), wanted, "{outcome:?}");
        }
    }
}

/// Direction, and method or code.
fn short(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    format!("{} {}", words[0], words[words.len() - 1])
}

#[test]
fn what_cannot_be_converted_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("wrong.yaml"), "flow:\n  - recv: 200\n recv: 5\n").expect("a file");
    fs::write(path("no.pcap"), "hello").expect("a file");
    fs::write(path("empty.pcap"), capture(&[])).expect("a file");
    for (arguments, words) in [
        (&["convert", &path("wrong.yaml"), &path("x.xml")][..], "wrong.yaml:3:2:"),
        (&["convert", "uac", &path("x.txt")], ".yaml"),
        (&["convert", "uac"], "--help"),
        (&["from-pcap", &path("no.pcap"), &path("x.xml"), &path("y.xml")], "no capture"),
        (&["from-pcap", &path("empty.pcap"), &path("x.xml"), &path("y.xml")], "0 calls"),
    ] {
        let (code, said) = tool(arguments);
        assert!(
            code == Some(255) && said.contains(words) && said.contains("hint:") | said.contains("begins"),
            "{said}"
        );
    }
}

//! Bad input to the running node: the right status or silence, and afterwards everything works as before.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, TcpStream},
};

use offhook_e2e::{
    Node, NodeOptions,
    lossy::Dice,
    sipp::Sipp,
    torture::{Sender, vector},
    wait,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where the torture messages come from: a peer, so that they get as far as a call could.
const PEER: &str = "127.0.44.75";
const PEER_V6_MESSAGES: &str = "127.0.51.18";

/// T1, ms: short, for the node repeats its refusals until somebody acknowledges them, and here nobody does.
const SHORT_TIMERS: &str = "t1_ms = 50\nt2_ms = 500\nt4_ms = 500";

/// What a running node answers to each message of RFC 4475, over UDP from a peer, as the registrar and home of its
/// domains; an empty list is silence.
const ANSWERS: &[(&str, &[u16])] = &[
    // 3.1.1: valid messages
    ("wsinv", &[481]), // it has a To tag
    ("intmeth", &[501]),
    ("esc01", &[404]),
    ("escnull", &[401]),
    ("esc02", &[501]), // the percent sign is no escape: an unknown method
    ("lwsdisp", &[200]),
    ("longreq", &[404]),
    ("dblreq", &[401]), // the second message is ignored
    ("semiuri", &[200]),
    ("transports", &[200]),
    ("mpart01", &[404]),
    ("unreason", &[]),
    ("noreason", &[]),
    // 3.1.2: invalid messages
    ("badinv01", &[400]),
    ("clerr", &[400]),
    ("ncl", &[400]),
    ("scalar02", &[400]),
    ("scalarlg", &[]),
    ("quotbal", &[400]),
    ("ltgtruri", &[400]),
    ("lwsruri", &[400]),
    ("lwsstart", &[400]),
    ("trws", &[400]),
    ("escruri", &[400]),
    ("baddate", &[404]), // the Date is ignored
    ("regbadct", &[400]),
    ("badaspec", &[400]),
    ("baddn", &[400]),
    ("badvers", &[505]),
    ("mismatch01", &[400]),
    ("mismatch02", &[400]),
    ("bigcode", &[]),
    // 3.2: transaction layer
    ("badbranch", &[200]),
    // 3.3: application layer
    ("insuf", &[400]),
    ("unkscm", &[416]),
    ("novelsc", &[416]),
    ("unksm2", &[404]), // a To of an unknown scheme is nobody of ours
    ("bext01", &[420]),
    ("invut", &[415]),
    ("regaut01", &[401]),
    ("multi01", &[400]),
    ("mcl01", &[400]),
    ("bcast", &[]),
    ("zeromf", &[200]), // answers for itself, it forwards nothing
    ("cparam01", &[401]),
    ("cparam02", &[401]),
    ("regescrt", &[401]),
    ("sdp01", &[404]),
    // 3.4: backward compatibility
    ("inv2543", &[400]), // no Contact
];

/// The same for the messages of RFC 5118: IPv6 in all places.
const ANSWERS_V6: &[(&str, &[u16])] = &[
    ("ipv6-good", &[401]),
    ("ipv6-bad", &[400]),
    ("port-ambiguous", &[401]),
    ("port-unambiguous", &[401]),
    ("via-received-param-with-delim", &[481]),
    ("via-received-param-no-delim", &[481]),
    ("ipv6-in-sdp", &[403]),
    ("mult-ip-in-header", &[481]),
    ("mult-ip-in-sdp", &[403]),
    ("ipv4-mapped-ipv6", &[404]),
    ("ipv6-bug-abnf-3-colons", &[400]),
];

/// Messages whose branch, host and method are those of another one: they come when the other's transaction has ended, or
/// they would be its retransmissions (RFC 3261 §17.2.3).
const SAME_BRANCH: [&str; 5] =
    ["novelsc", "cparam02", "regescrt", "via-received-param-no-delim", "mult-ip-in-sdp"];

fn node() -> Node {
    Node::start(&NodeOptions {
        signalling: SHORT_TIMERS.into(),
        domains: "[\"example.com\", \"example.net\", \"example.org\", \"company.com\", \"registrar.example.com\"]",
        site: format!("[tenants.default.peers.strange]\nsources = [\"{PEER}\", \"{PEER_V6_MESSAGES}\"]\n"),
        ..NodeOptions::default()
    })
}

/// Two lines call each other, and afterwards nothing is left of whatever was before.
fn works_as_before(node: &Node) {
    let callee = Sipp::scenario("callee", LOCAL).with("t1", 500);
    let registering = Sipp::scenario("register", LOCAL).with("t1", 500).line("102").at(callee.local());
    registering.with("contact", format!("sip:102@{}", callee.local())).call(node.sip()).succeeds();
    let mut callee = callee.listen();
    let calling = Sipp::scenario("caller", LOCAL).with("t1", 500).line("101").with("callee", "102");
    calling.with("talk_ms", 200).call(node.sip()).succeeds();
    callee.succeeds();
    node.wait_for_metric("offhook_transactions", 0.0);
    node.wait_for_metric("offhook_calls", 0.0);
    assert_eq!(node.metric("offhook_panics_total"), 0.0);
}

#[test]
fn each_torture_message_gets_its_status_or_silence() {
    assert_eq!(ANSWERS.len(), 49);
    torture(PEER, "rfc4475", ANSWERS);
}

#[test]
fn each_ipv6_torture_message_gets_its_status() {
    torture(PEER_V6_MESSAGES, "rfc5118", ANSWERS_V6);
}

fn torture(peer: &str, rfc: &str, answers: &[(&str, &[u16])]) {
    let node = node();
    let mut sender = Sender::open(peer, node.sip());
    let mut wrong = Vec::new();
    let (later, at_once): (Vec<_>, Vec<_>) = answers.iter().partition(|(name, _)| SAME_BRANCH.contains(name));
    for group in [at_once, later] {
        node.wait_for_metric("offhook_transactions", 0.0);
        for (name, expected) in group {
            let got = sender.statuses(name, &vector(rfc, name));
            if got != *expected {
                wrong.push(format!("{name}: {got:?} instead of {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let malformed = answers.iter().filter(|(_, statuses)| *statuses == [400]).count();
    let counted = node.metric("offhook_refused_total{reason=\"malformed\"}");
    assert!(counted >= malformed as f64, "{malformed} messages got 400, {counted} were counted");
    works_as_before(&node);
}

#[test]
fn truncated_oversized_and_random_datagrams_leave_no_trace() {
    let node = node();
    let mut sender = Sender::open("127.0.44.76", node.sip());
    // Else it would be banned after the first few, and the rest would go unread.
    node.command(&["edge", "allow", "127.0.44.76"]);
    let whole = vector("rfc4475", "wsinv");
    // Until each size of table and buffer has been used once.
    let rubbish = |sender: &mut Sender, seed| {
        let mut dice = Dice(seed);
        for _ in 0..2000 {
            let length = usize::try_from(dice.roll() % 1200).unwrap_or_default();
            let mut datagram: Vec<u8> =
                std::iter::repeat_with(|| dice.roll().to_le_bytes()[0]).take(length).collect();
            if dice.percent() < 50 {
                let start = whole.len().min(length);
                datagram[..start].copy_from_slice(&whole[..start]);
            }
            sender.send(&datagram);
        }
        for end in (0..whole.len()).step_by(7) {
            sender.send(&whole[..end]);
        }
        let padding = "x".repeat(65_000);
        sender.send(format!("OPTIONS sip:a SIP/2.0\r\nSubject: {padding}\r\n\r\n").as_bytes());
        sender.statuses("nothing", b"\r\n\r\n");
    };
    rubbish(&mut sender, 1);
    works_as_before(&node);
    let (memory, files) = (node.resident_kib(), node.open_files());
    for seed in 2..7 {
        rubbish(&mut sender, seed);
    }
    node.wait_for_metric("offhook_transactions", 0.0);
    let grown = node.resident_kib().saturating_sub(memory);
    assert!(grown < 8 * 1024, "{grown} KiB more after five times the same");
    assert!(node.open_files() <= files + 4, "{} open files, before {files}", node.open_files());
    assert_eq!(node.metric("offhook_panics_total"), 0.0);
}

#[test]
fn slow_and_silent_connections_hold_nobody_up() {
    let mut node = node();
    let _ = node.wait_for_kernel_plane();
    let before = node.open_files();
    let connect = |port| TcpStream::connect(("127.0.0.1", port)).expect("the node listens");
    let mut slow: Vec<_> = (0..50).map(|_| connect(node.sip_port)).collect();
    for stream in &mut slow {
        stream.write_all(b"INVITE sip:102@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127").expect("it is open");
    }
    let mut half_open: Vec<_> = (0..50).map(|_| connect(node.tls_port)).collect();
    for stream in half_open.iter_mut().step_by(2) {
        // The first octets of a TLS handshake record, and no more.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).expect("it is open");
    }
    let mut babble: Vec<_> = (0..20).map(|_| connect(node.sip_port)).collect();
    for stream in &mut babble {
        let _ = stream.write_all(&[0xff; 8192]);
    }
    works_as_before(&node);
    drop((slow, half_open, babble));
    wait::until("the connections are given up", || (node.open_files() <= before + 4).then_some(()));
    assert!(node.process().is_running());
}

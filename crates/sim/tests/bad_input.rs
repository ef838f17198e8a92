//! Every message of RFC 4475 and RFC 5118, thrown at a running exchange in the middle of a call: the right status or
//! silence, nothing stays behind, and the call goes on.

mod stage;

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use offhook_base::Random;
use offhook_edge::EdgeLimits;
use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig, line, peer};
use offhook_sip::message::Message;
use offhook_switch::directory::Directory;
use stage::{assert_settled, heard, stage_with};

const STRANGER: &str = "192.0.2.99:5060";

fn vectors(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sip/tests/vectors").join(folder)
}

/// What the node sends back to whatever is injected: the last status that is not 100; 0 for silence.
fn answer_to(world: &mut World, bytes: Bytes) -> u16 {
    let from: SocketAddr = STRANGER.parse().unwrap();
    let known = world.sent_nowhere.len();
    world.inject(from, bytes);
    world.run_secs(1);
    let status = |bytes: &Bytes| match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) => response.status().as_u16(),
        // What cannot be read in the request stands in its answer, so the answer may be unreadable too.
        _ => std::str::from_utf8(bytes).ok().and_then(|text| text.get(8..11)?.parse().ok()).unwrap_or(999),
    };
    world.sent_nowhere[known..]
        .iter()
        .map(|(_, bytes)| status(bytes))
        .filter(|status| *status > 100)
        .last()
        .unwrap_or(0)
}

/// A world that answers for example.com, with a call between 101 and 102, and a phone of line `user` that answers at
/// once. With `as_peer` whoever sends from the stranger's address is a carrier and needs no credentials.
fn world(as_peer: bool) -> (World, Vec<PhoneId>) {
    world_with(WorldConfig::with_lines(1, &[]), as_peer)
}

fn world_with(mut config: WorldConfig, as_peer: bool) -> (World, Vec<PhoneId>) {
    let mut tenant = (**config.directory.tenant("default").unwrap()).clone();
    tenant.domains.push("example.com".into());
    let lines = vec![line(1, "101"), line(2, "102"), line(3, "user")];
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let peers = if as_peer { vec![peer(1, stranger.ip(), "00")] } else { Vec::new() };
    config.directory = Directory::new(vec![tenant], vec![], vec![], lines, peers);
    let (mut world, phones) = stage_with(
        config,
        vec![
            ("101", Habits::default()),
            ("102", Habits::default()),
            ("user", Habits::reacting(Reaction::Answer(Duration::ZERO))),
        ],
    );
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    (world, phones)
}

/// Throws a message into the world and lets it settle; the status it got.
#[track_caller]
fn outcome(name: &str, bytes: &Bytes, as_peer: bool) -> u16 {
    let (mut world, phones) = world(as_peer);
    let status = answer_to(&mut world, bytes.clone());
    let before = heard(&world, phones[1], 0);
    world.run_secs(3);
    assert_eq!(heard(&world, phones[1], 0), before + 3, "{name}: the other call goes on");
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    status
}

/// `bad_input.tsv`: the status each message gets from an unknown source and from a known peer; 0 is silence.
#[test]
fn each_torture_message_gets_its_status_and_disturbs_nobody() {
    let mut seen = 0;
    for row in include_str!("bad_input.tsv").lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, stranger, peer] = columns[..] else { panic!("three columns: {row}") };
        let (folder, file) = name.split_once('/').expect("folder/file");
        let bytes = Bytes::from(fs::read(vectors(folder).join(format!("{file}.dat"))).unwrap());
        let statuses = [outcome(name, &bytes, false), outcome(name, &bytes, true)];
        assert_eq!(statuses.map(|status| status.to_string()), [stranger, peer], "{name}");
        seen += 1;
    }
    let files = |folder| fs::read_dir(vectors(folder)).unwrap().count() - 1;
    assert_eq!(seen, files("rfc4475") + files("rfc5118"), "a row for each vector");
}

/// Cuts, flips, repeats: one small injury.
fn injure(message: &[u8], random: &mut Random) -> Bytes {
    let mut bytes = message.to_vec();
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes.insert(at, [0, b'\r', b'\n', b';', b',', b'"', b'<', 0xff][at % 8]),
        3 => {
            bytes.remove(at);
        }
        _ => {} // sent again as it is, later
    }
    Bytes::from(bytes)
}

/// What a phone said, injured and repeated by somebody else or in its own name, in and after the call: whatever the node
/// takes it for, nothing breaks and everything settles.
#[test]
fn injured_and_replayed_messages_of_a_call_do_no_lasting_harm() {
    for seed in 1..=150 {
        let mut random = Random::from_number(seed);
        let (mut world, phones) = world(false);
        world.act(phones[1], |phone, now| phone.hold(0, true, now));
        world.run_secs(1);
        for _ in 0..60 {
            let phone = world.phone(phones[usize::from(random.below(2) == 1)]);
            let step = &phone.ladder[usize::try_from(random.below(phone.ladder.len() as u64)).unwrap()];
            let from = if random.below(2) == 0 { phone.address } else { STRANGER.parse().unwrap() };
            let bytes = injure(&step.bytes, &mut random);
            world.inject(from, bytes);
            world.run_for(Duration::from_millis(random.below(700)));
        }
        for phone in &phones {
            for call in 0..world.phone(*phone).calls.len() {
                world.act(*phone, |phone, now| phone.hang_up(call, now));
            }
        }
        world.run_secs(400);
        assert_eq!(world.violations(), [""; 0], "seed {seed}");
        assert_eq!(world.leftovers(), [""; 0], "seed {seed}");
    }
}

/// RFC 3261 §8.2.7: a challenge leaves nothing behind, and yet every copy of a request is answered with the same To tag.
#[test]
fn copies_of_a_request_are_challenged_with_the_same_tag() {
    let (mut world, _) = world_with(WorldConfig::with_lines(1, &[]), false);
    let text = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKcopy\r\n\
                From: <sip:101@example.com>;tag=f\r\nTo: <sip:101@example.com>\r\nCall-ID: copy\r\n\
                CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:192.0.2.99>\r\nContent-Length: 0\r\n\r\n";
    for other in [text.to_owned(), text.to_owned(), text.replace("Kcopy", "Kother")] {
        world.inject(STRANGER.parse().unwrap(), Bytes::from(other));
        world.run_secs(2);
    }
    let tag = |(_, bytes): &(_, Bytes)| {
        let answer = std::str::from_utf8(bytes).unwrap();
        assert!(answer.starts_with("SIP/2.0 401"), "{answer}");
        answer.lines().find(|line| line.starts_with("To:")).unwrap().to_owned()
    };
    let tags: Vec<String> = world.sent_nowhere.iter().map(tag).collect();
    assert!(tags.len() == 3 && tags[0] == tags[1] && tags[1] != tags[2], "{tags:?}");
}

/// The same of refusals that leave nothing behind: of what is wrong, and of what cannot be read.
#[test]
fn copies_of_a_bad_request_are_refused_with_the_same_tag() {
    let (mut world, _) = world_with(WorldConfig::with_lines(1, &[]), true);
    let text = "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKcopy\r\n\
                From: <sip:101@example.com>;tag=f\r\nTo: <sip:101@example.com>\r\nCall-ID: copy\r\n\
                CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    let unreadable = text.replace("CSeq: 1 INVITE", "CSeq: one OPTIONS");
    let other = unreadable.replace("Kcopy", "Kother");
    for text in [text, text, unreadable.as_str(), unreadable.as_str(), other.as_str()] {
        world.inject(STRANGER.parse().unwrap(), Bytes::from(text.to_owned()));
        world.run_secs(2);
    }
    let tag = |(_, bytes): &(_, Bytes)| {
        let answer = std::str::from_utf8(bytes).unwrap();
        assert!(answer.starts_with("SIP/2.0 400"), "{answer}");
        answer.lines().find(|line| line.starts_with("To:")).unwrap().to_owned()
    };
    let tags: Vec<String> = world.sent_nowhere.iter().map(tag).collect();
    assert_eq!(tags.len(), 5);
    assert!(tags[0] == tags[1] && tags[2] == tags[3] && tags[3] != tags[4], "{tags:?}");
}

/// A stranger sends 5,000 INVITEs in a second, each another call. The guard lets a burst through and no more; phones that
/// are registered call each other all the while.
#[test]
fn a_flood_of_one_source_blocks_nobody_else() {
    let mut config = WorldConfig::with_lines(1, &[]);
    config.limits = EdgeLimits::default();
    let (mut world, phones) = world_with(config, false);
    let most = EdgeLimits::default().messages_burst + EdgeLimits::default().messages_per_second;
    for number in 0..5000 {
        let text = format!(
            "INVITE sip:101@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK{number}\r\n\
             From: <sip:x@example.com>;tag=f\r\nTo: <sip:101@example.com>\r\nCall-ID: flood-{number}\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:192.0.2.99>\r\nContent-Length: 0\r\n\r\n"
        );
        world.inject(STRANGER.parse().unwrap(), Bytes::from(text));
        world.run_for(Duration::from_micros(200));
    }
    let challenged = |bytes: &Bytes| bytes.starts_with(b"SIP/2.0 407");
    let answered = world.sent_nowhere.iter().filter(|(_, bytes)| challenged(bytes)).count();
    assert!(answered <= usize::try_from(2 * most).unwrap(), "{answered} challenges");
    assert!(world.gauges().transactions <= usize::try_from(2 * most).unwrap());
    let call = world.act(phones[2], |phone, now| phone.call("101", now));
    world.run_secs(6);
    assert!(world.phone(phones[2]).calls[call].heard > 1);
    for phone in &phones {
        for call in 0..world.phone(*phone).calls.len() {
            world.act(*phone, |phone, now| phone.hang_up(call, now));
        }
    }
    assert_settled(&mut world);
}

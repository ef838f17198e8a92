//! What comes from a carrier besides calls: messages, headers that cross or stop, and requests that are not built.

mod stage;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig, line, peer};
use offhook_sip::message::Message;
use offhook_switch::directory::Directory;
use stage::{assert_settled, header_of, stage_with};

const CARRIER: &str = "192.0.2.99:5060";

/// A carrier, and a phone of line 102 that rings for long.
fn world() -> (World, PhoneId) {
    let mut config = WorldConfig::with_lines(1, &[]);
    let mut tenant = (**config.directory.tenant("default").unwrap()).clone();
    tenant.domains.push("example.com".into());
    let carrier: SocketAddr = CARRIER.parse().unwrap();
    let lines = vec![line(1, "101"), line(2, "102")];
    config.directory = Directory::new(vec![tenant], vec![], vec![], lines, vec![peer(1, carrier.ip(), "00")]);
    let (world, phones) =
        stage_with(config, vec![("102", Habits::reacting(Reaction::Answer(Duration::from_secs(60))))]);
    (world, phones[0])
}

/// Sends a request of the carrier; the status of the node's last answer.
fn answer(world: &mut World, method: &str, user: &str, more: &str, body: &str) -> u16 {
    let text = format!(
        "{method} sip:{user}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bK{method}{user}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:0049301@carrier.example>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: {method}{user}\r\nCSeq: 1 {method}\r\nContact: <sip:0049301@{CARRIER}>\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let known = world.sent_nowhere.len();
    world.inject(CARRIER.parse().unwrap(), Bytes::from(text));
    world.run_secs(2);
    let statuses =
        world.sent_nowhere[known..].iter().filter_map(|(_, bytes)| match Message::parse(bytes.clone()) {
            Ok(Message::Response(response)) => Some(response.status().as_u16()),
            _ => None,
        });
    statuses.last().unwrap_or(0)
}

/// RFC 3428: the message reaches the phone with its body, and the phone's answer is the answer.
#[test]
fn a_message_outside_of_a_call_reaches_the_phone() {
    let (mut world, phone) = world();
    let status =
        answer(&mut world, "MESSAGE", "102", "Content-Type: text/plain\r\nSubject: tea\r\n", "At five?");
    assert_eq!(status, 200);
    assert_eq!(header_of(&world, phone, "< MESSAGE", "Content-Type").as_deref(), Some("text/plain"));
    assert_eq!(header_of(&world, phone, "< MESSAGE", "Subject").as_deref(), Some("tea"));
    assert_settled(&mut world);
    assert_eq!(world.gauges().messages, 0);
}

#[test]
fn a_message_for_nobody_is_refused_as_a_call_would_be() {
    let (mut world, _) = world();
    let plain = "Content-Type: text/plain\r\n";
    assert_eq!(answer(&mut world, "MESSAGE", "101", plain, "hello"), 480, "nobody is registered");
    assert_eq!(answer(&mut world, "MESSAGE", "999", plain, "hello"), 404);
    assert_settled(&mut world);
}

/// RFC 6665 §4.1.3, RFC 3261 §8.2.1: what is not built is refused as what it is.
#[test]
fn requests_that_are_not_built_get_the_refusal_of_their_rfc() {
    let (mut world, _) = world();
    assert_eq!(answer(&mut world, "SUBSCRIBE", "102", "Event: dialog\r\n", ""), 489);
    assert_eq!(answer(&mut world, "PUBLISH", "102", "Event: presence\r\n", ""), 489);
    assert_eq!(answer(&mut world, "REFER", "102", "Refer-To: <sip:101@example.com>\r\n", ""), 405);
    assert_eq!(answer(&mut world, "PING", "102", "", ""), 501);
    assert_settled(&mut world);
}

/// What tells how the call got here crosses; what only a trust domain may know, and what shows the path, does not.
#[test]
fn history_crosses_and_assertions_and_paths_stop() {
    let (mut world, phone) = world();
    let more = "History-Info: <sip:0049300@carrier.example>;index=1\r\n\
                P-Asserted-Identity: \"Anna\" <sip:0049301@carrier.example>\r\n\
                Record-Route: <sip:10.1.2.3;lr>\r\nUser-Agent: Switch 7\r\nX-Inside: 10.1.2.3\r\n";
    assert_eq!(answer(&mut world, "INVITE", "102", more, ""), 180);
    let seen = |name| header_of(&world, phone, "< INVITE", name);
    assert_eq!(seen("History-Info").as_deref(), Some("<sip:0049300@carrier.example>;index=1"));
    assert!(seen("From").is_some_and(|from| from.contains("Anna") && from.contains("0049301")));
    for stopped in ["P-Asserted-Identity", "Record-Route", "X-Inside"] {
        assert_eq!(seen(stopped), None, "{stopped}");
    }
    assert_eq!(seen("User-Agent").as_deref(), Some("Offhook"));
}

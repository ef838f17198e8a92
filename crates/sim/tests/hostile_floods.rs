//! Who forges an address, or asks without end, gets little out of the node and leaves nothing in it.

mod stage;

use std::net::SocketAddr;

use bytes::Bytes;
use offhook_sim::{Habits, World, WorldConfig};
use offhook_sip::message::Message;
use stage::assert_settled;

const STRANGER: &str = "192.0.2.99:5060";

/// A request from nowhere.
fn request(method: &str, number: usize, via: &str) -> Bytes {
    let contact = if method == "INVITE" { "Contact: <sip:x@192.0.2.99>\r\n" } else { "" };
    let text = format!(
        "{method} sip:101@example.org SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKflood{number}{via}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:102@example.org>;tag=f{number}\r\n\
         To: <sip:101@example.org>\r\n\
         Call-ID: flood-{number}@192.0.2.99\r\n\
         CSeq: 1 {method}\r\n\
         {contact}\
         Content-Length: 0\r\n\r\n"
    );
    Bytes::from(text)
}

fn world() -> World {
    let mut world = World::new(WorldConfig::with_lines(1, &["101", "102"]));
    world.add_phone("101", Habits::default());
    world.run_secs(1);
    world
}

/// Goal: no flood to a forged address (RFC 3261 §26.3.2.4). Method: one INVITE whose challenge nobody acknowledges.
#[test]
fn a_challenge_is_sent_once_and_costs_no_memory() {
    for method in ["INVITE", "REGISTER", "MESSAGE"] {
        let mut world = world();
        let before = world.gauges().transactions;
        let asked = request(method, 1, ";rport");
        world.inject(STRANGER.parse().unwrap(), asked.clone());
        world.run_for(std::time::Duration::from_millis(200));
        assert!(world.gauges().transactions <= before, "{method}");
        world.run_secs(60);
        let status = |bytes: &Bytes| match Message::parse(bytes.clone()) {
            Ok(Message::Response(response)) => response.status().as_u16(),
            _ => panic!("no response"),
        };
        let statuses: Vec<u16> = world.sent_nowhere.iter().map(|(_, bytes)| status(bytes)).collect();
        let expected: &[u16] = match method {
            // No 100 before: its sender would not repeat the INVITE if the challenge got lost.
            "REGISTER" => &[401],
            _ => &[407],
        };
        assert_eq!(statuses, expected, "{method}");
        let sent: usize = world.sent_nowhere.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(sent < 4 * asked.len(), "{method}: {sent} octets for {}", asked.len());
    }
}

/// Goal: nobody has the node answer a third party without even forging an address. Method: `maddr` in the top Via.
#[test]
fn an_answer_goes_to_where_the_request_came_from_whatever_its_via_says() {
    let mut world = world();
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    for (number, method) in ["OPTIONS", "INVITE", "REGISTER", "NOSUCH"].into_iter().enumerate() {
        world.inject(stranger, request(method, number, ";maddr=203.0.113.200"));
        world.run_secs(1);
    }
    assert!(world.sent_nowhere.len() >= 4);
    for (to, _) in &world.sent_nowhere {
        assert_eq!(to.ip(), stranger.ip());
    }
    world.run_secs(60);
    let phones: Vec<_> = world.phones().map(|(id, _)| id).collect();
    for id in phones {
        world.act(id, |phone, _| phone.crash());
    }
    assert_settled(&mut world);
}

//! A carrier and a line that mean no good: what they can do to numbers, ports and calls of others.

mod stage;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use offhook_sim::{Habits, Reaction, World, WorldConfig, line, peer};
use offhook_sip::{
    header::HeaderName,
    message::{Message, Method, Request},
};
use offhook_switch::directory::{CallPermission, Directory};
use stage::stage_with;

const CARRIER: &str = "192.0.2.10:5060";
const OTHER_CARRIER: &str = "192.0.2.20:5060";

/// Carrier 1 may call outside, which carrier 2 takes from `00` on.
fn carriers(calls_max: u32) -> WorldConfig {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap().ip();
    let mut first = peer(1, address(CARRIER), "1");
    first.may_call = CallPermission::Outside;
    let mut second = peer(2, address(OTHER_CARRIER), "00");
    second.calls_max = calls_max;
    let mut config = WorldConfig::with_lines(1, &[]);
    let tenant = (**config.directory.tenant("default").unwrap()).clone();
    let lines = vec![line(1, "101"), line(2, "102")];
    config.directory = Directory::new(vec![tenant], vec![], vec![], lines, vec![first, second]);
    config
}

fn invite(number: usize, user: &str) -> Bytes {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
               m=audio 40000 RTP/AVP 0\r\n";
    Bytes::from(format!(
        "INVITE sip:{user}@198.51.100.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CARRIER};branch=z9hG4bKcarrier{number};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:+491234@192.0.2.10>;tag=c{number}\r\n\
         To: <sip:{user}@198.51.100.1>\r\n\
         Call-ID: carrier-{number}@192.0.2.10\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:{CARRIER}>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    ))
}

fn requests_to(world: &World, address: &str) -> Vec<Request> {
    let address: SocketAddr = address.parse().unwrap();
    let request = |bytes: &Bytes| match Message::parse(bytes.clone()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    };
    world
        .sent_nowhere
        .iter()
        .filter(|(to, _)| *to == address)
        .filter_map(|(_, bytes)| request(bytes))
        .collect()
}

fn statuses_to(world: &World, address: &str, call: usize) -> Vec<u16> {
    let address: SocketAddr = address.parse().unwrap();
    let call_id = format!("carrier-{call}@192.0.2.10");
    let status = |bytes: &Bytes| match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) if response.headers().call_id() == Ok(&*call_id) => {
            Some(response.status().as_u16())
        }
        _ => None,
    };
    world
        .sent_nowhere
        .iter()
        .filter(|(to, _)| *to == address)
        .filter_map(|(_, bytes)| status(bytes))
        .collect()
}

/// Goal: a number is a number. Method: escapes that would be a host, a parameter, a header or a line end, unescaped.
#[test]
fn no_number_brings_its_own_host_or_header_along() {
    for user in
        ["0049%40evil.example", "0049%3Bx%3E", "0049%0D%0AX-Evil%3A%20yes%0D%0A", "00%20SIP", "00%3FRoute=x"]
    {
        let mut world = World::new(carriers(10));
        world.inject(CARRIER.parse().unwrap(), invite(1, user));
        world.run_secs(1);
        let invites = requests_to(&world, OTHER_CARRIER);
        let invite = invites.first().unwrap_or_else(|| panic!("{user}: nothing was sent"));
        let uri = invite.parsed_uri().unwrap_or_else(|_| panic!("{user}: {}", invite.uri()));
        assert_eq!(uri.host, "192.0.2.20", "{user}");
        let asked = offhook_sip::uri::unescape(user);
        assert_eq!(uri.user_unescaped().as_deref(), Some(&*asked), "{user}");
        assert!(invite.headers().get("X-Evil").is_none(), "{user}");
    }
}

#[test]
fn a_carrier_has_no_more_calls_than_it_may_in_either_direction() {
    let mut world = World::new(carriers(2));
    for number in 1..=3 {
        world.inject(CARRIER.parse().unwrap(), invite(number, "00491"));
        world.run_for(Duration::from_millis(100));
    }
    let calls: std::collections::BTreeSet<String> = requests_to(&world, OTHER_CARRIER)
        .iter()
        .filter(|request| *request.method() == Method::Invite)
        .filter_map(|request| request.headers().first(&HeaderName::CallId).map(str::to_string))
        .collect();
    assert_eq!(calls.len(), 2, "calls to the carrier");
    assert_eq!(statuses_to(&world, CARRIER, 3).last(), Some(&503));
    // When a call is over there is room again.
    world.run_secs(200);
    world.inject(CARRIER.parse().unwrap(), invite(4, "00491"));
    world.run_secs(1);
    assert_eq!(statuses_to(&world, CARRIER, 4), [100]);
}

/// Goal: one line does not take all ports. Method: a device that could be woken by push registers sixty addresses while
/// a call waits for it.
#[test]
fn a_device_that_registers_again_and_again_while_it_is_called_takes_a_bounded_share_of_ports() {
    let mut config = WorldConfig::with_lines(1, &["101", "102"]);
    config.registrar.push_providers = vec!["fcm".into()];
    let mute = Habits { push: Some("fcm"), ..Habits::reacting(Reaction::Never) };
    let (mut world, phones) = stage_with(config, vec![("101", Habits::default()), ("102", mute)]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(1);
    for generation in 1..=60 {
        world.act(phones[1], |phone, now| phone.unregister_all(now));
        world.run_for(Duration::from_millis(150));
        world.act(phones[1], |phone, _| phone.crash());
        world.come_back(phones[1], generation);
        world.run_for(Duration::from_millis(150));
    }
    let (endpoints, _) = world.media_sizes();
    assert!((2..=33).contains(&endpoints), "{endpoints} endpoints");
}

/// RFC 3261 §13.2.2.4: an ACK belongs to the INVITE whose CSeq it repeats. Method: the first ACK of a call comes once
/// more just when its re-INVITE waits for its own.
#[test]
fn an_old_ack_does_not_acknowledge_a_new_answer() {
    let config = WorldConfig::with_lines(1, &["101", "102"]);
    let (mut world, phones) =
        stage_with(config, vec![("101", Habits::default()), ("102", Habits::default())]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    let ack = |world: &World| {
        let steps = &world.phone(phones[0]).ladder;
        steps.iter().rfind(|step| step.to_string() == "> ACK").map(|step| step.bytes.clone()).expect("an ACK")
    };
    let old = ack(&world);
    world.act(phones[0], |phone, _| phone.clear_ladder());
    // The 200 to the re-INVITE is lost on its way: only repeats bring it.
    world.lose(phones[0], false, "200 INVITE", 0, 1);
    world.act(phones[0], |phone, now| phone.hold(0, true, now));
    world.run_for(Duration::from_millis(300));
    let from = world.phone(phones[0]).address;
    world.inject(from, old);
    world.run_secs(5);
    let ladder = world.phone(phones[0]).ladder_text();
    assert!(ladder.contains(&"< 200 INVITE".to_string()), "{ladder:?}");
    assert!(world.phone(phones[0]).is_talking());
}

/// Goal: a request that is refused moves nothing. Method: a re-INVITE from another address asks for a session interval
/// that is too short; then the other side hangs up.
#[test]
fn a_refused_request_from_elsewhere_does_not_take_a_leg_away() {
    let config = WorldConfig::with_lines(1, &["101", "102"]);
    let (mut world, phones) =
        stage_with(config, vec![("101", Habits::default()), ("102", Habits::default())]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(5);
    world.act(phones[0], |phone, now| phone.hold(0, true, now));
    world.run_secs(2);
    let ladder = &world.phone(phones[0]).ladder;
    let last = ladder.iter().rfind(|step| step.to_string() == "> INVITE").expect("a re-INVITE");
    let text = String::from_utf8(last.bytes.to_vec()).unwrap();
    let again = text
        .replacen("branch=z9hG4bK", "branch=z9hG4bKelsewhere", 1)
        .replacen("CSeq: ", "CSeq: 9", 1)
        .replacen("Max-Forwards:", "Supported: timer\r\nSession-Expires: 5\r\nMax-Forwards:", 1);
    world.inject("192.0.2.99:5060".parse().unwrap(), Bytes::from(again));
    world.run_secs(1);
    let answers: Vec<_> = world.sent_nowhere.iter().map(|(_, bytes)| bytes.slice(..11)).collect();
    assert_eq!(answers.last().map(|start| &start[..]), Some(&b"SIP/2.0 422"[..]));
    world.act(phones[1], |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    assert!(world.phone(phones[0]).ladder_text().contains(&"< BYE".to_string()));
}

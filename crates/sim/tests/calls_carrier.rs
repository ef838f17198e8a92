//! Calls with a carrier: what it challenges within a call, what does not fit a datagram, who its callers are shown as.

mod carrier;
mod stage;

use std::time::Duration;

use bytes::Bytes;
use carrier::{answer, carrier, config_with, latest, line_of, requests, talking_to_carrier};
use offhook_sim::{Habits, PhoneId, World};
use offhook_sip::{
    digest::DigestSession,
    message::{Message, Response},
};
use offhook_sip::{header::HeaderName, message::Method};
use stage::{assert_settled, header_of, stage_with};

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
const PROXY_CHALLENGE: &str =
    "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"\r\n";

/// The carrier challenges its latest request of this method; what the node sends then must prove itself.
#[track_caller]
fn challenge(world: &mut World, method: &Method, by_proxy: bool) {
    let first = latest(world, method);
    let (status, header) = match by_proxy {
        true => ("407 Proxy Authentication Required", PROXY_CHALLENGE),
        false => ("401 Unauthorized", CHALLENGE),
    };
    answer(world, &first, status, header, "");
    let second = latest(world, method);
    let number = |request: &offhook_sip::message::Request| request.headers().cseq().unwrap().number;
    assert!(number(&second) > number(&first), "{} was not sent again", method.as_str());
    let name = if by_proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
    let credentials = line_of(&second, name);
    assert!(credentials.contains("username=\"offhook\"") && credentials.contains("nonce="), "{credentials}");
    assert_eq!(second.body(), first.body());
    assert_eq!(second.uri(), first.uri());
    assert_eq!(line_of(&second, HeaderName::To), line_of(&first, HeaderName::To));
}

/// RFC 3261 §22.2: a carrier may challenge every request. Method: it does, in turn by 401 and 407.
#[test]
fn a_challenge_within_a_call_is_answered_with_the_carriers_login() {
    for by_proxy in [false, true] {
        let (mut world, anna) = talking_to_carrier(carrier(), Habits::default());
        world.act(anna, |phone, now| phone.hold(0, true, now));
        world.run_for(Duration::from_millis(100));
        challenge(&mut world, &Method::Invite, by_proxy);
        let invite = latest(&world, &Method::Invite);
        answer(&mut world, &invite, "200 OK", "", carrier::SDP);
        let ladder = world.phone(anna).ladder_text();
        assert!(ladder.contains(&"< 200 INVITE".to_string()), "{ladder:?}");
        let acks = requests(&world).iter().filter(|request| *request.method() == Method::Ack).count();
        // That of the call's 200, that of the challenge, that of the second 200.
        assert_eq!(acks, 3);
        let acknowledged = latest(&world, &Method::Ack).headers().cseq().unwrap().number;
        assert_eq!(acknowledged, invite.headers().cseq().unwrap().number);
        world.act(anna, |phone, now| phone.send_info(0, now));
        world.run_for(Duration::from_millis(100));
        challenge(&mut world, &Method::Info, by_proxy);
        let info = latest(&world, &Method::Info);
        answer(&mut world, &info, "200 OK", "", "");
        assert!(world.phone(anna).ladder_text().contains(&"< 200 INFO".to_string()));
        world.act(anna, |phone, now| phone.hang_up(0, now));
        world.run_for(Duration::from_millis(100));
        challenge(&mut world, &Method::Bye, by_proxy);
        let bye = latest(&world, &Method::Bye);
        answer(&mut world, &bye, "200 OK", "", "");
        assert_settled(&mut world);
    }
}

#[test]
fn a_login_that_is_refused_within_a_call_is_not_tried_again() {
    let (mut world, anna) = talking_to_carrier(carrier(), Habits::default());
    world.act(anna, |phone, now| phone.hold(0, true, now));
    world.run_for(Duration::from_millis(100));
    challenge(&mut world, &Method::Invite, false);
    let invite = latest(&world, &Method::Invite);
    answer(&mut world, &invite, "401 Unauthorized", CHALLENGE, "");
    let again = latest(&world, &Method::Invite);
    assert_eq!(again.headers().cseq().unwrap().number, invite.headers().cseq().unwrap().number);
    assert!(world.phone(anna).is_talking(), "the session stays as it was");
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_for(Duration::from_millis(100));
    let bye = latest(&world, &Method::Bye);
    answer(&mut world, &bye, "200 OK", "", "");
    assert_settled(&mut world);
}

/// The INFO that `phone` has sent last, once more with a body that fits no datagram.
fn send_large_info(world: &mut World, phone: PhoneId) {
    let ladder = &world.phone(phone).ladder;
    let last = ladder.iter().rfind(|step| step.to_string() == "> INFO").expect("an INFO");
    let text = String::from_utf8(last.bytes.to_vec()).unwrap();
    let text = text.replacen("branch=z9hG4bK", "branch=z9hG4bKlarge", 1).replacen("CSeq: ", "CSeq: 9", 1);
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("Content-Length")).collect();
    let body = "x".repeat(1500);
    let text = format!("{}\r\nContent-Length: {}\r\n\r\n{body}", head.join("\r\n"), body.len());
    let from = world.phone(phone).address;
    world.inject(from, Bytes::from(text));
}

/// RFC 3261 §18.1.1: what does not fit a datagram goes by TCP within a call too, and over UDP where that fails.
#[test]
fn a_request_within_a_call_that_does_not_fit_a_datagram_goes_by_tcp_where_it_can() {
    for speaks_tcp in [true, false] {
        let mut peer = carrier();
        peer.sources = vec!["203.0.113.1".parse().unwrap()];
        peer.host = Some("203.0.113.1".into());
        let habits = Habits { registers: false, tcp: speaks_tcp, ..Habits::default() };
        let (mut world, phones) =
            stage_with(config_with(peer), vec![("0049", habits), ("101", Habits::default())]);
        world.act(phones[1], |phone, now| phone.call("0049", now));
        world.run_secs(5);
        assert!(world.phone(phones[0]).is_talking());
        world.act(phones[1], |phone, now| phone.send_info(0, now));
        world.run_secs(1);
        send_large_info(&mut world, phones[1]);
        world.run_secs(2);
        let infos = world.phone(phones[0]).ladder_text().iter().filter(|step| *step == "< INFO").count();
        assert_eq!(infos, 2);
        let ladder = &world.phone(phones[0]).ladder;
        let large = ladder.iter().rfind(|step| step.to_string() == "< INFO").unwrap();
        let via = large.header("Via").unwrap();
        assert_eq!(via.contains("/TCP"), speaks_tcp, "{via}");
        assert_eq!(large.message().body().len(), 1500);
        let answers =
            world.phone(phones[1]).ladder_text().iter().filter(|step| *step == "< 200 INFO").count();
        assert_eq!(answers, 2);
        world.act(phones[0], |phone, now| phone.hang_up(0, now));
        assert_settled(&mut world);
    }
}

/// Goal: an outside caller passes for no line of ours. Method: a carrier names callers in our domain and at our address.
#[test]
fn a_carriers_caller_is_shown_neither_as_a_line_nor_in_our_domain() {
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    for (from, asserted, shown) in [
        ("\"Boss\" <sip:101@example.org>", "", anonymous),
        ("<sip:101@198.51.100.1>", "", anonymous),
        ("<sip:+49123@carrier.example>", "P-Asserted-Identity: <sip:101@example.org>\r\n", anonymous),
        ("<sip:+49123@198.51.100.1>", "", "<sip:+49123@192.0.2.10>"),
        ("<sip:+49123@carrier.example>", "", "<sip:+49123@carrier.example>"),
    ] {
        let (mut world, phones) = stage_with(config_with(carrier()), vec![("102", Habits::default())]);
        world.inject(carrier::CARRIER.parse().unwrap(), carrier::invite(1, "102", from, asserted));
        world.run_secs(1);
        let seen = header_of(&world, phones[0], "< INVITE", "From").unwrap();
        assert_eq!(seen.split(";tag=").next(), Some(shown), "{from}");
    }
}

#[test]
fn how_to_ring_is_not_told_from_outside_and_how_the_call_came_is() {
    let (mut world, phones) = stage_with(config_with(carrier()), vec![("102", Habits::default())]);
    let headers = "Alert-Info: <http://192.0.2.10/x>;info=alert-autoanswer\r\nCall-Info: <sip:x>;answer-after=0\r\n\
                   Diversion: <sip:+49@carrier.example>;reason=unconditional\r\n";
    let invite = carrier::invite(1, "102", "<sip:+49123@carrier.example>", headers);
    world.inject(carrier::CARRIER.parse().unwrap(), invite);
    world.run_secs(1);
    let header = |name| header_of(&world, phones[0], "< INVITE", name);
    assert_eq!((header("Alert-Info"), header("Call-Info")), (None, None));
    assert!(header("Diversion").is_some());
}

/// A trunk that is known by its login, not by its address: its callers are its own, even if they name our domain.
#[test]
fn a_peer_proves_itself_by_its_login_wherever_it_is() {
    for (password, rings) in [("trunk-password", true), ("wrong", false)] {
        let mut peer = carrier();
        peer.sources = vec![];
        let (mut world, phones) = stage_with(config_with(peer), vec![("102", Habits::default())]);
        let from = "<sip:777@example.org>";
        world.inject(carrier::CARRIER.parse().unwrap(), carrier::invite(1, "102", from, ""));
        world.run_secs(1);
        let challenge = response_to_carrier(&world);
        assert_eq!(challenge.status().as_u16(), 407);
        let ha1 =
            |hash: offhook_sip::digest::HashFunction, realm: &str| Some(hash.ha1("offhook", realm, password));
        let challenges = challenge.headers().proxy_authenticate();
        let mut session = DigestSession::answer_to("offhook", challenges, ha1).expect("a challenge");
        let mut random = offhook_base::Random::from_number(1);
        let value = session.authorize(&Method::Invite, "sip:102@198.51.100.1", &[], &mut random);
        let credentials = format!("Proxy-Authorization: {value}\r\n");
        world.inject(carrier::CARRIER.parse().unwrap(), carrier::invite(2, "102", from, &credentials));
        world.run_secs(1);
        let seen = header_of(&world, phones[0], "< INVITE", "From");
        assert_eq!(seen.is_some(), rings);
        if let Some(seen) = seen {
            assert!(seen.starts_with("<sip:777@192.0.2.10>"), "{seen}");
        }
    }
}

fn response_to_carrier(world: &World) -> Response {
    let found = world.sent_nowhere.iter().rev().find_map(|(_, bytes)| match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) => Some(response),
        _ => None,
    });
    found.expect("a response")
}

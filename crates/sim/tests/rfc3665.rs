//! The flows of RFC 3665, as each endpoint sees them with the node between.
//!
//! The RFC's proxies become one back-to-back user agent: what a phone sends and gets is the same but for the addresses.
//! `>` is what the phone sends, `<` what it gets.

mod stage;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::BytesMut;
use offhook_sim::{Habits, PhoneId, Reaction, World, WorldConfig};
use offhook_sip::{
    header::HeaderName,
    message::{Message, Request, StatusCode},
};
use offhook_switch::{
    directory::{Directory, Secret},
    record::{EndCause, EndedBy},
};
use stage::{
    SETTLE_SECS, assert_ended, assert_ladder, assert_settled, header_of, heard, pair, stage, stage_with,
    the_record,
};

/// How every call of a line begins: the node asks for credentials.
const CHALLENGED: &str = "> INVITE | < 407 INVITE | > ACK | > INVITE |";

#[track_caller]
fn assert_caller(world: &World, phone: PhoneId, then: &str) {
    assert_ladder(world, phone, &format!("{CHALLENGED}< 100 INVITE | {then}"));
}

/// What can be answered at once needs no 100 before.
#[track_caller]
fn assert_caller_refused(world: &World, phone: PhoneId, status: u16) {
    assert_ladder(world, phone, &format!("{CHALLENGED}< {status} INVITE | > ACK"));
}

fn contacts(world: &World, phone: PhoneId) -> Vec<String> {
    let ladder = &world.phone(phone).ladder;
    let answer = ladder.iter().rev().find(|step| step.label == "200 REGISTER").expect("an answer").message();
    answer.headers().values(&HeaderName::Contact).map(str::to_string).collect()
}

fn unregistered() -> Habits {
    Habits { registers: false, ..Habits::default() }
}

#[test]
fn section_2_1_a_new_registration_is_challenged_and_granted() {
    let (mut world, phones) = stage(vec![("101", unregistered())]);
    world.act(phones[0], |phone, now| phone.register(now));
    world.run_secs(1);
    assert_ladder(&world, phones[0], "> REGISTER | < 401 REGISTER | > REGISTER | < 200 REGISTER");
    assert_eq!(contacts(&world, phones[0]).len(), 1);
    assert!(contacts(&world, phones[0])[0].contains("expires=3600"));
}

#[test]
fn section_2_2_a_second_contact_joins_the_list() {
    let (mut world, phones) = stage(vec![("101", Habits::default()), ("101", unregistered())]);
    world.act(phones[1], |phone, now| phone.register(now));
    world.run_secs(1);
    assert_ladder(&world, phones[1], "> REGISTER | < 401 REGISTER | > REGISTER | < 200 REGISTER");
    assert_eq!(contacts(&world, phones[1]).len(), 2);
}

#[test]
fn section_2_3_a_query_shows_the_list_and_changes_nothing() {
    let (mut world, phones) = stage(vec![("101", Habits::default())]);
    world.act(phones[0], |phone, now| phone.query_registration(now));
    world.run_secs(1);
    assert_ladder(&world, phones[0], "> REGISTER | < 200 REGISTER");
    assert_eq!(contacts(&world, phones[0]).len(), 1);
    assert_eq!(world.gauges().bindings, 1);
}

#[test]
fn section_2_4_a_registration_is_cancelled() {
    let (mut world, phones) = stage(vec![("101", Habits::default())]);
    world.act(phones[0], |phone, now| phone.unregister_all(now));
    world.run_secs(1);
    assert_ladder(&world, phones[0], "> REGISTER | < 200 REGISTER");
    assert_eq!(contacts(&world, phones[0]), [""; 0]);
    assert_eq!((world.gauges().bindings, world.state().bindings.len()), (0, 0));
}

#[test]
fn section_2_5_a_wrong_password_registers_nothing() {
    let (mut world, phones) = stage(vec![("101", unregistered())]);
    world.act(phones[0], |phone, now| {
        phone.password = "wrong".into();
        phone.register(now);
    });
    world.run_secs(1);
    assert_ladder(&world, phones[0], "> REGISTER | < 401 REGISTER | > REGISTER | < 401 REGISTER");
    assert_eq!(world.gauges().bindings, 0);
}

#[test]
fn section_3_1_and_3_2_a_session_is_established_and_ended() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    world.act(bert, |phone, now| phone.hang_up(0, now));
    world.run_secs(5);
    assert_caller(&world, anna, "< 180 INVITE | < 200 INVITE | > ACK | < BYE | > 200 BYE");
    assert_ladder(&world, bert, "< INVITE | > 180 INVITE | > 200 INVITE | < ACK | > BYE | < 200 BYE");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::HungUp, 200, 16);
    let record = the_record(&world);
    assert_eq!(record.talk_millis(), record.ended.0 - record.answered.unwrap().0);
    assert!(record.ringing < record.answered);
}

/// A carrier without a phone's logic: the test reads what comes and answers by hand.
struct Carrier {
    address: SocketAddr,
    read: usize,
}

impl Carrier {
    fn world() -> (World, PhoneId, Self) {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let mut peer = offhook_sim::peer(1, ip, "00");
        peer.host = Some("carrier.example".into());
        (peer.username, peer.secret) = (Some("offhook".into()), Some(Secret::new("trunk password")));
        let mut config = WorldConfig::with_directory(1, &["101"], vec![peer.clone()]);
        let mut line = (**config.directory.line("default", "101").unwrap()).clone();
        line.may_call = offhook_switch::directory::CallPermission::Outside;
        let tenants = config.directory.tenants().iter().map(|tenant| (**tenant).clone()).collect();
        config.directory = Directory::new(tenants, Vec::new(), Vec::new(), vec![line], vec![peer]);
        let (mut world, phones) = stage_with(config, vec![("101", Habits::default())]);
        let addresses = [7, 8].map(|last| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 5060));
        world.names.insert("carrier.example".into(), addresses.to_vec());
        (world, phones[0], Self { address: SocketAddr::new(ip, 5060), read: 0 })
    }

    /// The next request to it.
    fn request(&mut self, world: &World) -> Option<Request> {
        let (_, bytes) = world.sent_nowhere.get(self.read)?;
        self.read += 1;
        match Message::parse(bytes.clone()).unwrap() {
            Message::Request(request) => Some(request),
            Message::Response(_) => self.request(world),
        }
    }

    fn answer(&self, world: &mut World, request: &Request, status: u16, headers: &[(&str, &str)], sdp: &str) {
        let mut buffer = BytesMut::new();
        let status = StatusCode::new(status).unwrap();
        let mut writer = request.respond(&mut buffer, status, Some("carrier"));
        for (name, value) in headers {
            writer.header_text(name, value);
        }
        if !sdp.is_empty() {
            writer.body("application/sdp", sdp.as_bytes());
        }
        let bytes = writer.finish();
        world.inject(self.address, bytes);
    }
}

#[test]
fn section_3_3_the_node_answers_the_challenge_of_the_next_server_itself() {
    let (mut world, anna, mut carrier) = Carrier::world();
    world.act(anna, |phone, now| phone.call("004930123456", now));
    world.run_for(Duration::from_millis(100));
    let invite = carrier.request(&world).unwrap();
    let challenge = "Digest realm=\"carrier.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";
    carrier.answer(&mut world, &invite, 407, &[("Proxy-Authenticate", challenge)], "");
    world.run_for(Duration::from_millis(100));
    assert_eq!(carrier.request(&world).unwrap().method().as_str(), "ACK");
    let again = carrier.request(&world).unwrap();
    let login = again.headers().proxy_authorization().next().unwrap();
    assert_eq!((&*login.username, &*login.realm, &*login.nonce), ("offhook", "carrier.example", "n1"));
    assert!(again.headers().cseq().unwrap().number > invite.headers().cseq().unwrap().number);
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    carrier.answer(&mut world, &again, 200, &[("Contact", "<sip:192.0.2.7:5060>")], sdp);
    world.run_secs(1);
    assert_eq!(carrier.request(&world).unwrap().method().as_str(), "ACK");
    assert_caller(&world, anna, "< 200 INVITE | > ACK");
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    let bye = carrier.request(&world).unwrap();
    assert_eq!(bye.method().as_str(), "BYE");
    carrier.answer(&mut world, &bye, 200, &[], "");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    assert_eq!(the_record(&world).legs[1].peer.as_deref(), Some("peer1"));
}

#[test]
fn section_3_4_when_one_way_fails_the_next_is_taken() {
    let broken = Habits { q: Some("1.0"), ..Habits::reacting(Reaction::Refuse(503, Duration::ZERO)) };
    let good = Habits { q: Some("0.5"), ..Habits::default() };
    let (mut world, phones) = stage(vec![
        ("101", Habits::default()),
        ("102", Habits { rings_after: None, ..broken }),
        ("102", good),
    ]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(10);
    assert_caller(&world, phones[0], "< 180 INVITE | < 200 INVITE | > ACK");
    assert_ladder(&world, phones[1], "< INVITE | > 503 INVITE | < ACK");
    assert_ladder(&world, phones[2], "< INVITE | > 180 INVITE | > 200 INVITE | < ACK");
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
    let statuses: Vec<_> = the_record(&world).legs.iter().map(|leg| leg.status).collect();
    assert_eq!(statuses, [Some(200), Some(503), Some(200)]);
}

#[test]
fn a_carriers_second_address_is_tried_when_the_first_is_out_of_order_and_not_when_it_says_no() {
    for (status, heard, tried) in [(503, "< 480 INVITE", 2), (486, "< 486 INVITE", 1)] {
        let (mut world, anna, mut carrier) = Carrier::world();
        world.act(anna, |phone, now| phone.call("004930123456", now));
        world.run_for(Duration::from_millis(100));
        let mut servers = Vec::new();
        for answer in [status, 480] {
            world.run_for(Duration::from_millis(100));
            while let Some(request) = carrier.request(&world) {
                if request.method().as_str() == "INVITE" {
                    servers.push(world.sent_nowhere[carrier.read - 1].0.ip());
                    carrier.answer(&mut world, &request, answer, &[], "");
                }
            }
        }
        world.run_secs(1);
        assert_eq!(servers.len(), tried, "{status}");
        assert!(world.phone(anna).ladder_text().contains(&heard.to_string()), "{status}");
        assert_settled(&mut world);
    }
}

#[test]
fn section_3_5_media_passes_the_node_both_ways() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    for (phone, step) in [(anna, "< 200 INVITE"), (bert, "< INVITE")] {
        let ladder = &world.phone(phone).ladder;
        let message = ladder.iter().rev().find(|known| known.to_string() == step).unwrap().message();
        let text = String::from_utf8(message.body().to_vec()).unwrap();
        assert!(text.contains("c=IN IP4 198.51.100.1") && !text.contains("203.0.113."), "{text}");
    }
    assert!(heard(&world, anna, 0) >= 6 && heard(&world, bert, 0) >= 6);
    world.act(anna, |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn section_3_6_a_late_offer_is_answered_in_the_ack_after_a_redirection() {
    let caller = Habits { late_offer: true, ..Habits::default() };
    let away = Habits {
        rings_after: None,
        ..Habits::reacting(Reaction::Redirect("sip:103@example.org".into(), Duration::ZERO))
    };
    let (mut world, phones) = stage(vec![("101", caller), ("102", away), ("103", Habits::default())]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    world.run_secs(10);
    assert_caller(&world, phones[0], "< 180 INVITE | < 200 INVITE | > ACK");
    assert_ladder(&world, phones[1], "< INVITE | > 302 INVITE | < ACK");
    assert_ladder(&world, phones[2], "< INVITE | > 180 INVITE | > 200 INVITE | < ACK");
    assert!(heard(&world, phones[0], 0) >= 5 && heard(&world, phones[2], 0) >= 5);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    assert_settled(&mut world);
}

#[test]
fn section_3_7_a_phone_that_moves_is_followed() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(5);
    world.move_phone(bert, 9, 0);
    world.run_secs(10);
    assert_ladder(
        &world,
        bert,
        "< INVITE | > 180 INVITE | > 200 INVITE | < ACK | > INVITE | < 100 INVITE | < 200 INVITE | > ACK",
    );
    assert_caller(&world, anna, "< 180 INVITE | < 200 INVITE | > ACK | < INVITE | > 200 INVITE | < ACK");
    let before = (heard(&world, anna, 0), heard(&world, bert, 0));
    world.run_secs(5);
    assert_eq!((heard(&world, anna, 0), heard(&world, bert, 0)), (before.0 + 5, before.1 + 5));
    world.act(anna, |phone, now| phone.hang_up(0, now));
    world.run_secs(1);
    assert!(!world.phone(bert).is_talking(), "the BYE has followed as well");
    assert_settled(&mut world);
}

#[test]
fn section_3_8_the_caller_gives_up_what_nobody_answers() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::reacting(Reaction::Never));
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    world.act(anna, |phone, now| phone.cancel(0, now));
    world.run_secs(1);
    assert_caller(&world, anna, "< 180 INVITE | > CANCEL | < 200 CANCEL | < 487 INVITE | > ACK");
    assert_ladder(&world, bert, "< INVITE | > 180 INVITE | < CANCEL | > 200 CANCEL | > 487 INVITE | < ACK");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Caller, EndCause::Cancelled, 487, 16);
    assert_eq!(the_record(&world).answered, None);
    assert_eq!(the_record(&world).legs[1].status, Some(487));
}

#[test]
fn section_3_9_a_busy_phone_is_heard_of() {
    let busy =
        Habits { rings_after: None, ..Habits::reacting(Reaction::Refuse(486, Duration::from_millis(50))) };
    let (mut world, anna, bert) = pair(Habits::default(), busy);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(1);
    assert_caller(&world, anna, "< 486 INVITE | > ACK");
    assert_ladder(&world, bert, "< INVITE | > 486 INVITE | < ACK");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::Busy, 486, 17);
}

#[test]
fn section_3_10_a_phone_that_does_not_answer_at_all_is_given_up() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::reacting(Reaction::Mute));
    world.act(bert, |phone, _| phone.crash());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(40);
    assert_caller(&world, anna, "< 480 INVITE | > ACK");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::NoAnswer, 480, 19);
}

#[test]
fn section_3_11_a_phone_that_is_not_available_says_so() {
    let away = Habits { rings_after: None, ..Habits::reacting(Reaction::Refuse(480, Duration::ZERO)) };
    let (mut world, anna, bert) = pair(Habits::default(), away);
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(1);
    assert_caller(&world, anna, "< 480 INVITE | > ACK");
    assert_ladder(&world, bert, "< INVITE | > 480 INVITE | < ACK");
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Callee, EndCause::NoAnswer, 480, 19);
}

#[test]
fn a_line_that_is_not_registered_and_one_that_does_not_exist_are_told_apart() {
    let (mut world, anna, _) = pair(Habits::default(), unregistered());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(1);
    assert_caller_refused(&world, anna, 480);
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::NotRegistered, 480, 20);

    let (mut world, anna, _) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("999", now));
    world.run_secs(1);
    assert_caller_refused(&world, anna, 404);
    assert_settled(&mut world);
    assert_ended(&world, EndedBy::Node, EndCause::NotFound, 404, 1);
}

#[test]
fn neither_side_learns_the_others_address() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(SETTLE_SECS / 2);
    let own = world.phone(anna).address.ip().to_string();
    let seen = world.phone(bert).ladder.iter().filter(|step| !step.sent);
    let leaks = seen.filter(|step| String::from_utf8_lossy(&step.bytes).contains(&own)).count();
    assert_eq!(leaks, 0);
    assert_eq!(header_of(&world, bert, "< INVITE", "User-Agent").as_deref(), Some("Offhook"));
}

//! Dialogs: how they are made, what they write, what they refuse (RFC 3261 §12).

use bytes::{Bytes, BytesMut};
use offhook_base::{HostPort, Random};
use offhook_sip::{
    dialog::{Dialog, DialogError, DialogId, DialogIndex, OutOfOrder, OutgoingVia, Phase},
    message::{Message, Method, Request, Response},
    transport::Transport,
};

fn text(lines: &[&str]) -> Bytes {
    Bytes::from(lines.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

fn request(lines: &[&str]) -> Request {
    match Message::parse(text(lines)).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

fn response(lines: &[&str]) -> Response {
    match Message::parse(text(lines)).unwrap() {
        Message::Response(response) => response,
        Message::Request(_) => panic!("a request"),
    }
}

fn invite(extra: &[&str]) -> Request {
    let mut lines = vec![
        "INVITE sip:bob@example.org SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1",
        "From: \"Alice, A.\" <sip:alice@example.org>;tag=a1",
        "To: <sip:bob@example.org>",
        "Call-ID: c1",
        "CSeq: 314159 INVITE",
    ];
    lines.extend(extra);
    request(&lines)
}

fn ok(status: &str, extra: &[&str]) -> Response {
    let status = format!("SIP/2.0 {status}");
    let mut lines = vec![
        status.as_str(),
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        "From: <sip:us@example.org>;tag=ours",
        "To: \"Bob\" <sip:bob@example.org>;tag=b1;x=y",
        "Call-ID: c2",
        "CSeq: 5 INVITE",
    ];
    lines.extend(extra);
    response(&lines)
}

const CONTACT: &str = "Contact: <sip:bob@198.51.100.8:5070;transport=tcp>;expires=60";

fn written(dialog: &mut Dialog, method: &Method) -> Request {
    let sent_by = HostPort { host: "192.0.2.1".into(), port: Some(5060) };
    let via = OutgoingVia { transport: Transport::Udp, sent_by: &sent_by, branch: "z9hG4bKnew" };
    let mut buffer = BytesMut::new();
    match Message::parse(dialog.request(method, via, &mut buffer).finish()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

fn routes(request: &Request) -> Vec<String> {
    request.headers().routes().map(|route| route.unwrap().uri.to_owned()).collect()
}

#[test]
fn the_called_side_takes_routes_in_order_and_answers_to_the_contact() {
    let invite = invite(&[
        "Record-Route: <sip:p2.example.org;lr>, <sip:p1.example.org;lr>",
        "Contact: \"A\" <sip:alice@198.51.100.7:5062>;q=1",
    ]);
    let mut dialog = Dialog::uas(&invite, "ours", false, Phase::Early).unwrap();
    assert_eq!(dialog.id(), DialogId { call_id: "c1", local_tag: "ours", remote_tag: "a1" });
    assert_eq!(dialog.next_hop(), "sip:p2.example.org;lr");
    let bye = written(&mut dialog, &Method::Bye);
    assert_eq!(bye.uri(), "sip:alice@198.51.100.7:5062");
    assert_eq!(routes(&bye), ["sip:p2.example.org;lr", "sip:p1.example.org;lr"]);
    let headers = bye.headers();
    assert_eq!(headers.get("From"), Some("<sip:bob@example.org>;tag=ours"));
    assert_eq!(headers.get("To"), Some("\"Alice, A.\" <sip:alice@example.org>;tag=a1"));
    assert_eq!((headers.get("CSeq"), headers.get("Call-ID")), (Some("1 BYE"), Some("c1")));
    assert_eq!(headers.get("Via"), Some("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnew;rport"));
    assert_eq!(headers.max_forwards(), Some(70));
    assert_eq!(written(&mut dialog, &Method::Info).headers().get("CSeq"), Some("2 INFO"));
}

#[test]
fn the_calling_side_reverses_the_routes_and_counts_on() {
    let answer = ok(
        "200 OK",
        &["Record-Route: <sip:p2.example.org;lr>", "Record-Route: <sip:p1.example.org;lr>", CONTACT],
    );
    let mut dialog = Dialog::uac(&answer, "c2", "ours", false).unwrap();
    assert_eq!(dialog.phase(), Phase::Confirmed);
    let bye = written(&mut dialog, &Method::Bye);
    assert_eq!(bye.uri(), "sip:bob@198.51.100.8:5070;transport=tcp");
    assert_eq!(routes(&bye), ["sip:p1.example.org;lr", "sip:p2.example.org;lr"]);
    assert_eq!(bye.headers().get("CSeq"), Some("6 BYE"));
    assert_eq!(bye.headers().get("To"), Some("\"Bob\" <sip:bob@example.org>;x=y;tag=b1"));
}

/// §12.2.1.1: a first route without `lr` becomes the Request-URI, the target goes to the end.
#[test]
fn a_strict_router_gets_its_own_uri_and_the_target_last() {
    let answer = ok(
        "200 OK",
        &["Record-Route: <sip:p2.example.org;lr>", "Record-Route: <sip:p1.example.org>", CONTACT],
    );
    let mut dialog = Dialog::uac(&answer, "c2", "ours", false).unwrap();
    let bye = written(&mut dialog, &Method::Bye);
    assert_eq!((bye.uri(), dialog.next_hop()), ("sip:p1.example.org", "sip:p1.example.org"));
    assert_eq!(routes(&bye), ["sip:p2.example.org;lr", "sip:bob@198.51.100.8:5070;transport=tcp"]);
}

#[test]
fn the_ack_of_a_2xx_has_the_number_of_its_invite() {
    let mut dialog = Dialog::uac(&ok("200 OK", &[CONTACT]), "c2", "ours", false).unwrap();
    written(&mut dialog, &Method::Info);
    let mut buffer = BytesMut::new();
    let ack = dialog.ack(5, "SIP/2.0/TCP x;branch=z9hG4bKa", &mut buffer).finish();
    let Message::Request(ack) = Message::parse(ack).unwrap() else { panic!() };
    assert_eq!((ack.method(), ack.headers().get("CSeq")), (&Method::Ack, Some("5 ACK")));
    assert_eq!(ack.uri(), "sip:bob@198.51.100.8:5070;transport=tcp");
}

#[test]
fn an_early_dialog_is_confirmed_with_the_routes_of_the_2xx() {
    let early = ok("183 Session Progress", &["Record-Route: <sip:p1.example.org;lr>", CONTACT]);
    let mut dialog = Dialog::uac(&early, "c2", "ours", false).unwrap();
    assert_eq!(dialog.phase(), Phase::Early);
    let answer =
        ok("200 OK", &["Record-Route: <sip:other.example.org;lr>", "Contact: <sip:bob@203.0.113.9>"]);
    dialog.confirm_by(&answer).unwrap();
    assert_eq!((dialog.phase(), dialog.next_hop()), (Phase::Confirmed, "sip:other.example.org;lr"));
    assert_eq!(written(&mut dialog, &Method::Bye).uri(), "sip:bob@203.0.113.9");
    // Later 2xx move the target, not the routes.
    dialog
        .confirm_by(&ok(
            "200 OK",
            &["Record-Route: <sip:p9.example.org;lr>", "Contact: <sip:bob@203.0.113.10>"],
        ))
        .unwrap();
    assert_eq!(dialog.next_hop(), "sip:other.example.org;lr");
    assert_eq!(dialog.state().remote_target.as_ref(), "sip:bob@203.0.113.10");
}

#[test]
fn requests_out_of_order_are_refused_and_target_refreshes_move_the_target() {
    let mut dialog =
        Dialog::uas(&invite(&["Contact: <sip:a@198.51.100.7>"]), "ours", false, Phase::Confirmed).unwrap();
    let within = |method: &str, number: u32, contact: &str| {
        request(&[
            &format!("{method} sip:us@192.0.2.1 SIP/2.0"),
            "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK2",
            "From: <sip:alice@example.org>;tag=a1",
            "To: <sip:bob@example.org>;tag=ours",
            "Call-ID: c1",
            &format!("CSeq: {number} {method}"),
            &format!("Contact: <{contact}>"),
        ])
    };
    let info = within("INFO", 314_160, "sip:x@198.51.100.99");
    assert_eq!(dialog.take_request(&info), Ok(()));
    dialog.refresh_target(&info);
    assert_eq!(dialog.state().remote_target.as_ref(), "sip:a@198.51.100.7", "INFO refreshes no target");
    assert_eq!(dialog.take_request(&within("INVITE", 314_159, "sip:x@198.51.100.99")), Err(OutOfOrder));
    assert_eq!(dialog.state().remote_target.as_ref(), "sip:a@198.51.100.7");
    let update = within("UPDATE", 400_000, "sip:a@198.51.100.50");
    assert_eq!(dialog.take_request(&update), Ok(()), "gaps are allowed");
    assert_eq!(dialog.state().remote_target.as_ref(), "sip:a@198.51.100.7", "not before it is accepted");
    dialog.refresh_target(&update);
    assert_eq!(dialog.state().remote_target.as_ref(), "sip:a@198.51.100.50");
}

#[test]
fn what_makes_no_dialog_says_why() {
    assert_eq!(Dialog::uas(&invite(&[]), "ours", false, Phase::Early), Err(DialogError::NoContact));
    assert_eq!(
        Dialog::uas(&invite(&["Contact: <sip:a@x>, <sip:b@x>"]), "ours", false, Phase::Early),
        Err(DialogError::NoContact)
    );
    assert_eq!(
        Dialog::uas(&invite(&["Contact: *"]), "ours", false, Phase::Early),
        Err(DialogError::NoContact)
    );
    let answer = ok("200 OK", &[CONTACT]);
    assert_eq!(Dialog::uac(&answer, "c2", "forged", false), Err(DialogError::OtherDialog));
    assert_eq!(Dialog::uac(&answer, "c9", "ours", false), Err(DialogError::OtherDialog));
    let many = format!("Record-Route: {}", vec!["<sip:p;lr>"; 71].join(","));
    assert_eq!(
        Dialog::uac(&ok("200 OK", &[CONTACT, &many]), "c2", "ours", false),
        Err(DialogError::TooManyRoutes)
    );
}

#[test]
fn a_peer_without_a_tag_gets_none_back() {
    let invite = request(&[
        "INVITE sip:bob@example.org SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7",
        "From: sip:alice@example.org",
        "To: <sip:bob@example.org>",
        "Call-ID: c1",
        "CSeq: 1 INVITE",
        "Contact: sip:alice@198.51.100.7",
    ]);
    let mut dialog = Dialog::uas(&invite, "ours", false, Phase::Confirmed).unwrap();
    assert_eq!(written(&mut dialog, &Method::Bye).headers().get("To"), Some("<sip:alice@example.org>"));
}

#[test]
fn a_dialog_written_down_goes_on_elsewhere_and_shows_nobody() {
    let dialog = Dialog::uac(&ok("200 OK", &[CONTACT]), "c2", "ours", true).unwrap();
    let again = Dialog::from_state(dialog.state().clone());
    assert_eq!(again, dialog);
    let shown = format!("{dialog:?} {:?}", dialog.id());
    assert!(!shown.contains("bob") && !shown.contains("198.51") && !shown.contains("c2"), "{shown}");
}

#[test]
fn an_index_finds_dialogs_from_either_kind_of_message() {
    let mut index = DialogIndex::new(&mut Random::from_number(1));
    let ours = DialogId { call_id: "c2", local_tag: "ours", remote_tag: "b1" };
    assert_eq!(index.insert(&ours, 7), None);
    let answer = ok("200 OK", &[]);
    assert_eq!(DialogId::of_response(&answer).unwrap().and_then(|id| index.get(&id)), Some(7));
    let bye = request(&[
        "BYE sip:us@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK2",
        "From: <sip:bob@example.org>;tag=b1",
        "To: <sip:us@example.org>;tag=ours",
        "Call-ID: c2",
        "CSeq: 1 BYE",
    ]);
    assert_eq!(DialogId::of_request(&bye).unwrap().and_then(|id| index.get(&id)), Some(7));
    // The parts do not run into each other.
    assert_eq!(index.get(&DialogId { call_id: "c2o", local_tag: "urs", remote_tag: "b1" }), None);
    assert_eq!(DialogId::of_request(&invite(&[])).unwrap(), None);
    assert_eq!((index.remove(&ours), index.len()), (Some(7), 0));
}

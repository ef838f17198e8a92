//! Writing messages: what comes out, and what cannot.

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::{HeaderName, Quoted},
    message::{Message, Method, Request, Response, StatusCode},
    write::MessageWriter,
};

fn request(text: &str) -> Request {
    match Message::parse(Bytes::from(text.replace('\n', "\r\n"))) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn response(bytes: Bytes) -> Response {
    match Message::parse(bytes) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

const INVITE: &str = "INVITE sip:b@example.com SIP/2.0
Via: SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bKa , SIP/2.0/TCP p.example.com;branch=z9hG4bKb
Via: SIP/2.0/TCP q.example.com;branch=z9hG4bKc
Record-Route: <sip:p.example.com;lr>
From: \"A\" <sip:a@example.com>;tag=1
To: sip:b@example.com
Call-ID: x@10.0.0.1
CSeq: 7 INVITE
Timestamp: 54.2
Max-Forwards: 70
Content-Length: 0

";

#[test]
fn a_request_is_written_line_by_line_with_its_length() {
    let mut buf = BytesMut::new();
    let bytes = MessageWriter::request(&mut buf, &Method::Message, "sip:b@example.com")
        .header(&HeaderName::From, format_args!("{} <sip:a@example.com>;tag=1", Quoted("A \"B\" \\")))
        .header_text("X-Mine", 7_u8)
        .body("text/plain", b"hello")
        .header(&HeaderName::MaxForwards, 70_u8)
        .finish();
    let expected = "MESSAGE sip:b@example.com SIP/2.0\nFrom: \"A \\\"B\\\" \\\\\" <sip:a@example.com>;tag=1\nX-Mine: 7\n\
                    Content-Type: text/plain\nMax-Forwards: 70\nContent-Length: 5\n\nhello";
    assert_eq!(bytes, expected.replace('\n', "\r\n"));
    assert!(buf.is_empty());
}

#[test]
fn a_response_carries_back_what_rfc_3261_8_2_6_says() {
    let mut request = request(INVITE);
    request.set_source("192.0.2.9:1024".parse().unwrap());
    let mut buf = BytesMut::new();
    let ringing = response(request.respond(&mut buf, StatusCode::RINGING, Some("t1")).finish());
    assert_eq!((ringing.status(), ringing.reason()), (StatusCode::RINGING, "Ringing"));
    let vias: Vec<_> = ringing.headers().all(&HeaderName::Via).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 10.0.0.1:5062;rport=1024;branch=z9hG4bKa;received=192.0.2.9, SIP/2.0/TCP p.example.com;branch=z9hG4bKb",
            "SIP/2.0/TCP q.example.com;branch=z9hG4bKc",
        ]
    );
    let value = |name| ringing.headers().first(&name);
    assert_eq!(value(HeaderName::To), Some("sip:b@example.com;tag=t1"));
    assert_eq!(value(HeaderName::From), Some("\"A\" <sip:a@example.com>;tag=1"));
    assert_eq!((value(HeaderName::CallId), value(HeaderName::CSeq)), (Some("x@10.0.0.1"), Some("7 INVITE")));
    assert_eq!(
        (value(HeaderName::RecordRoute), value(HeaderName::Timestamp)),
        (Some("<sip:p.example.com;lr>"), None)
    );
}

#[test]
fn trying_has_no_tag_and_a_refusal_no_route() {
    let request = request(INVITE);
    let mut buf = BytesMut::new();
    let trying = response(request.respond(&mut buf, StatusCode::TRYING, Some("t1")).finish());
    assert_eq!(trying.headers().to().unwrap().tag(), None);
    assert_eq!(
        (trying.headers().get("timestamp"), trying.headers().contains(&HeaderName::RecordRoute)),
        (Some("54.2"), false)
    );
    let busy = response(request.respond(&mut buf, StatusCode::BUSY_HERE, Some("t1")).finish());
    assert_eq!(
        (busy.headers().to().unwrap().tag(), busy.headers().contains(&HeaderName::RecordRoute)),
        (Some("t1"), false)
    );
}

#[test]
fn nothing_written_can_add_a_line() {
    let evil = "x\r\nEvil: 1\r\n\r\nbody\0";
    let mut buf = BytesMut::new();
    let bytes = MessageWriter::request(&mut buf, &Method::Extension(evil.into()), evil)
        .header(&HeaderName::Subject, evil)
        .header_text("Evil: 1\r\nX", "y")
        .header_text("", "y")
        .body(evil, b"")
        .finish();
    let text = std::str::from_utf8(&bytes).unwrap();
    let names: Vec<_> =
        text.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    assert_eq!(names, ["Subject", "Content-Type", "Content-Length"]);
    assert!(!text.contains('\0') && text.ends_with("\r\n\r\n"));
    let bytes = MessageWriter::response(&mut buf, StatusCode::OK, Some(evil)).finish();
    assert_eq!(response(bytes).headers().len(), 1);
}

#[test]
fn a_uri_with_a_space_stays_one_word() {
    let mut buf = BytesMut::new();
    let bytes = MessageWriter::request(&mut buf, &Method::Bye, "sip:a b@c\r\nd").finish();
    assert!(bytes.starts_with(b"BYE sip:a%20b@c%20%20d SIP/2.0\r\n"));
}

#[test]
fn lines_are_copied_as_received() {
    let original =
        request("OPTIONS sip:a@b SIP/2.0\nv: SIP/2.0/UDP x\nSUBJECT: a\n  b\nX-Odd : ;;,\ns: c\n\n");
    let mut buf = BytesMut::from(&b"already there"[..]);
    let bytes = MessageWriter::request(&mut buf, &Method::Options, "sip:a@b")
        .copy_from(original.headers(), &HeaderName::Subject)
        .copy_lines(original.headers(), |known, name| known.is_none() && name == "X-Odd")
        .finish();
    assert_eq!(
        bytes,
        "OPTIONS sip:a@b SIP/2.0\r\nSubject: a\r\n  b\r\nSubject: c\r\nX-Odd: ;;,\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(&buf[..], b"already there");
}

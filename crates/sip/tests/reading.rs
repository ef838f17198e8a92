//! How faults are graded: which status answers them, and what gets no answer at all. And the bounds.

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::{HEADER_BYTES_MAX, HEADERS_MAX, HeaderError, HeaderName, VIAS_MAX},
    message::{Fault, MESSAGE_BYTES_MAX, Message, Method, ParseError, Request, StatusCode, validate},
};

const SOUND: &str = "OPTIONS sip:a@b SIP/2.0
Via: SIP/2.0/UDP x;branch=z9hG4bKa
From: <sip:c@d>;tag=1
To: <sip:a@b>
Call-ID: x
CSeq: 1 OPTIONS
";

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::from(text.replace('\n', "\r\n")))
}

fn request(text: &str) -> Request {
    match parse(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// The sound request with `from` replaced by `to`.
fn with(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from));
    format!("{}\n", SOUND.replace(from, to))
}

fn parse_fault(text: &str) -> (Fault, Option<u16>) {
    let error = parse(text).expect_err("should not parse");
    (error.fault(), error.status().map(StatusCode::as_u16))
}

#[test]
fn a_sound_request_passes_and_debug_shows_nobody() {
    let request = request(&format!("{SOUND}Content-Length: 0\n\n"));
    assert!(validate(&request).is_ok());
    assert_eq!(format!("{request:?}"), "Request(OPTIONS, 6 headers, 0 octets of body)");
    assert_eq!(format!("{:?}", request.parsed_uri().unwrap()), "sip:***");
}

#[test]
fn unreadable_requests_are_graded() {
    let refused = |fault: Fault| (fault, Some(fault.status().as_u16()));
    for (from, to, fault) in [
        (" sip:a@b SIP", "  sip:a@b SIP", Fault::RequestLine),
        (" SIP/2.0\nVia", " SIP/2.0 \nVia", Fault::RequestLine),
        ("sip:a@b SIP", "<sip:a@b> SIP", Fault::RequestUri),
        ("sip:a@b SIP", "sip:a@b; lr SIP", Fault::RequestUri),
        ("SIP/2.0\nVia", "SIP/3.0\nVia", Fault::Version),
        ("To: <", "To <", Fault::HeaderLine),
        ("To: <", ": <", Fault::HeaderLine),
        ("To: <", "T\0o: <", Fault::HeaderLine),
        ("x\nCSeq", "x\rCSeq", Fault::HeaderLine),
        ("1 OPTIONS", "1 OPTIONS\nl: -1", Fault::ContentLength),
        ("1 OPTIONS", "1 OPTIONS\nl: 1\nContent-Length: 2", Fault::ContentLength),
        ("1 OPTIONS", "1 OPTIONS\nl: 1", Fault::BodyTruncated),
    ] {
        assert_eq!(parse_fault(&with(from, to)), refused(fault), "{to}");
    }
    assert_eq!(parse_fault(SOUND), refused(Fault::Truncated));
    let mut bytes = with("x\nCSeq", "x\nSubject: \u{1}\nCSeq").into_bytes();
    let place = bytes.iter().position(|octet| *octet == 1).unwrap();
    bytes[place] = 0xff;
    let bytes: Vec<u8> = bytes
        .iter()
        .flat_map(|&octet| if octet == b'\n' { vec![b'\r', b'\n'] } else { vec![octet] })
        .collect();
    assert_eq!(Message::parse(Bytes::from(bytes)).unwrap_err().fault(), Fault::Encoding);
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    for (text, fault) in [
        ("", Fault::KeepAlive),
        ("\n\n", Fault::KeepAlive),
        ("\0\0", Fault::StartLine),
        ("GET / HTTP/1.1\nVia: SIP/2.0/UDP x\n\n", Fault::StartLine),
        ("hello\n\n", Fault::StartLine),
        ("OPTIONS sip:a@b SIP/3.0\nFrom: x\n\n", Fault::Version), // no Via: an answer finds no way
        ("SIP/3.0 200 OK\nVia: SIP/2.0/UDP x\n\n", Fault::Version),
        ("SIP/2.0 99 Low\nVia: SIP/2.0/UDP x\n\n", Fault::StatusLine),
        ("SIP/2.0 0200 OK\nVia: SIP/2.0/UDP x\n\n", Fault::StatusLine),
        ("SIP/2.0 200 OK\nVia: SIP/2.0/UDP x\nl: 7\n\n", Fault::BodyTruncated),
    ] {
        assert_eq!(parse_fault(text), (fault, None), "{text}");
    }
    // RFC 3261 §17: an ACK is never answered.
    assert_eq!(
        parse_fault(&format!("{}l: 7\n\n", SOUND.replace("OPTIONS", "ACK"))),
        (Fault::BodyTruncated, None)
    );
}

#[test]
fn readable_requests_are_validated() {
    use HeaderError::{Malformed, Missing, Repeated};
    for (from, to, fault) in [
        ("Call-ID: x\n", "", Missing(HeaderName::CallId).into()),
        ("Via: SIP/2.0/UDP x;branch=z9hG4bKa\n", "", Missing(HeaderName::Via).into()),
        ("From: <sip:c@d>;tag=1\n", "", Missing(HeaderName::From).into()),
        ("CSeq: 1 OPTIONS\n", "", Missing(HeaderName::CSeq).into()),
        ("Call-ID: x", "Call-ID: x y", Malformed(HeaderName::CallId).into()),
        ("Call-ID: x", "Call-ID: x\ni: x", Repeated(HeaderName::CallId).into()),
        ("1 OPTIONS", "4294967296 OPTIONS", Malformed(HeaderName::CSeq).into()),
        ("1 OPTIONS", "-1 OPTIONS", Malformed(HeaderName::CSeq).into()),
        ("1 OPTIONS", "1", Malformed(HeaderName::CSeq).into()),
        ("1 OPTIONS", "1 options", Fault::CSeqMismatch),
        ("Call-ID", "Max-Forwards: 256\nCall-ID", Malformed(HeaderName::MaxForwards).into()),
        ("SIP/2.0/UDP x;", "SIP/3.0/UDP x;", Malformed(HeaderName::Via).into()),
        ("SIP/2.0/UDP x;", "SIP/2.0/UDP x,;", Malformed(HeaderName::Via).into()),
        ("sip:c@d", "sip:c@d@e", Malformed(HeaderName::From).into()),
        ("sip:a@b SIP", "sip:a@b:99999 SIP", Fault::RequestUri),
        ("sip:a@b SIP", "sip:a@b?x=y SIP", Fault::RequestUri),
        ("sip:a@b SIP", "a@b SIP", Fault::RequestUri),
        ("Call-ID", "Contact: *, <sip:a@b>\nCall-ID", Malformed(HeaderName::Contact).into()),
        ("Call-ID", "Contact: <sip:a@>\nCall-ID", Malformed(HeaderName::Contact).into()),
        ("Call-ID", "Route: sip:a@b, c\nCall-ID", Malformed(HeaderName::Route).into()),
        ("Call-ID", "Content-Type: text\nCall-ID", Malformed(HeaderName::ContentType).into()),
        ("Call-ID", "Session-Expires: 90;refresher=x\nCall-ID", Malformed(HeaderName::SessionExpires).into()),
        ("Call-ID", "Replaces: x;to-tag=1\nCall-ID", Malformed(HeaderName::Replaces).into()),
    ] {
        let rejection = validate(&request(&with(from, to))).expect_err(to);
        assert_eq!((rejection.fault, rejection.status), (fault, StatusCode::BAD_REQUEST), "{to}");
    }
    for (from, to) in [
        ("Call-ID", "Date: yesterday\nCall-ID"),
        ("Call-ID", "Contact: *\nCall-ID"),
        ("Call-ID", "Subject: \"never closed\nCall-ID"),
        ("sip:a@b SIP", "urn:service:sos SIP"),
        ("1 OPTIONS", "4294967295 OPTIONS"),
        ("1 OPTIONS", "1 OPTIONS\nl: 0\nContent-Length: 00"),
    ] {
        assert!(validate(&request(&with(from, to))).is_ok(), "{to}");
    }
}

#[test]
fn headers_vias_lines_and_messages_are_bounded() {
    let many = |line: &str, count: usize| format!("{SOUND}{}\n", format!("{line}\n").repeat(count));
    let own = SOUND.lines().count() - 1;
    assert!(parse(&many("X: y", HEADERS_MAX - own)).is_ok());
    assert_eq!(parse_fault(&many("X: y", HEADERS_MAX - own + 1)), (Fault::TooManyHeaders, Some(513)));
    assert_eq!(
        parse_fault(&many(&format!("X: {}", "y".repeat(HEADER_BYTES_MAX)), 1)),
        (Fault::TooManyHeaders, Some(513))
    );
    let vias = |count| validate(&request(&many("v: SIP/2.0/UDP x, SIP/2.0/UDP y", count)));
    assert!(vias((VIAS_MAX - 1) / 2).is_ok());
    assert_eq!(vias(VIAS_MAX / 2 + 1).unwrap_err().status, StatusCode::MESSAGE_TOO_LARGE);
    let large = format!("{SOUND}\n{}", "x".repeat(MESSAGE_BYTES_MAX));
    assert_eq!(parse_fault(&large), (Fault::TooLarge, None));
}

#[test]
fn a_refusal_of_what_could_not_be_read_carries_what_could() {
    let text = with("To: <sip:a@b>", "To <sip:a@b>");
    let Err(ParseError::Rejected(mut rejection)) = parse(&text) else { panic!() };
    let mut partial = rejection.request.take().unwrap();
    partial.set_source("192.0.2.7:5060".parse().unwrap());
    assert_eq!((partial.method(), partial.headers().len()), (&Method::Options, 4));
    let mut buf = BytesMut::new();
    let answer = partial.respond(&mut buf, &rejection, Some("t")).finish();
    let expected = "SIP/2.0 400 Bad Header Line\nVia: SIP/2.0/UDP x;branch=z9hG4bKa;received=192.0.2.7\n\
                    From: <sip:c@d>;tag=1\nCall-ID: x\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n";
    assert_eq!(answer, expected.replace('\n', "\r\n"));
}

#[test]
fn a_body_is_shared_with_its_message_and_what_follows_is_ignored() {
    let request = request(&format!("{SOUND}Content-Length: 5\n\nhello, world"));
    assert_eq!((request.body(), &request.body_bytes()[..]), (&b"hello"[..], &b"hello"[..]));
    assert!(request.bytes().ends_with(b"world"));
}

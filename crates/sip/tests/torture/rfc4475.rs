//! The torture test messages of RFC 4475: what parser and validation make of each of the 49.

use std::collections::BTreeSet;

use crate::outcome::{Outcome, expected_names, outcome, vector};
use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::{HeaderName, Headers, unfold},
    message::{
        Message, Method, ParseError, Request, Response, StatusCode, multipart,
        validate::{accepts, body_refusal, has_known_scheme, unsupported_extensions},
    },
    transport::Transport,
    uri::Uri,
};

/// What is asserted of a vector.
enum Expect {
    /// A request that passes, and what is seen in it.
    Request(fn(&Request)),
    /// A response that passes, and what is seen in it.
    Response(fn(&Response)),
    /// A request answered with this status and reason phrase.
    Refused(u16, &'static str),
    /// Silence, for this reason.
    Dropped(&'static str),
}

use Expect::{Dropped, Refused};

/// One line per file. Where RFC 4475 leaves a choice, this is ours.
const TABLE: &[(&str, Expect)] = &[
    // 3.1.1: valid messages
    ("wsinv", Expect::Request(wsinv)),
    ("intmeth", Expect::Request(intmeth)),
    ("esc01", Expect::Request(esc01)),
    ("escnull", Expect::Request(escnull)),
    ("esc02", Expect::Request(esc02)),
    ("lwsdisp", Expect::Request(lwsdisp)),
    ("longreq", Expect::Request(longreq)),
    ("dblreq", Expect::Request(dblreq)),
    ("semiuri", Expect::Request(semiuri)),
    ("transports", Expect::Request(transports)),
    ("mpart01", Expect::Request(mpart01)),
    ("unreason", Expect::Response(unreason)),
    (
        "noreason",
        Expect::Response(|response| {
            assert_eq!((response.status(), response.reason()), (StatusCode::TRYING, ""));
        }),
    ),
    // 3.1.2: invalid messages
    ("badinv01", Refused(400, "Bad Via")),
    ("clerr", Refused(400, "Body Shorter Than Content-Length")),
    ("ncl", Refused(400, "Bad Content-Length")),
    ("scalar02", Refused(400, "Bad CSeq")),
    ("scalarlg", Dropped("Bad CSeq")),
    ("quotbal", Refused(400, "Bad To")),
    ("ltgtruri", Refused(400, "Bad Request-URI")),
    ("lwsruri", Refused(400, "Bad Request-URI")),
    ("lwsstart", Refused(400, "Bad Request Line")),
    ("trws", Refused(400, "Bad Request Line")),
    ("escruri", Refused(400, "Bad Request-URI")),
    (
        "baddate",
        Expect::Request(|request| {
            assert!(request.headers().contains(&HeaderName::Date) && request.headers().date().is_none());
        }),
    ),
    ("regbadct", Refused(400, "Bad Contact")),
    ("badaspec", Refused(400, "Bad To")),
    ("baddn", Refused(400, "Truncated Head")), // the file ends before the empty line; with it: see below
    ("badvers", Refused(505, "Version Not Supported")),
    ("mismatch01", Refused(400, "CSeq Method Mismatch")),
    ("mismatch02", Refused(400, "CSeq Method Mismatch")),
    ("bigcode", Dropped("Bad Status Line")),
    // 3.2: transaction layer
    (
        "badbranch",
        Expect::Request(|request| {
            let via = request.headers().via().unwrap();
            assert_eq!((via.branch(), via.rfc3261_branch()), (Some("z9hG4bK"), None));
        }),
    ),
    // 3.3: application layer
    ("insuf", Refused(400, "Missing Call-ID")),
    ("unkscm", Expect::Request(|request| assert!(!has_known_scheme(request)))), // 416
    ("novelsc", Expect::Request(|request| assert!(!has_known_scheme(request)))), // 416
    ("unksm2", Expect::Request(unksm2)),
    ("bext01", Expect::Request(bext01)),
    (
        "invut",
        Expect::Request(|request| {
            assert_eq!(body_refusal(request, &["application/sdp"]), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }),
    ),
    (
        "regaut01",
        Expect::Request(|request| {
            assert_eq!(request.headers().authorization().count(), 0); // so it is challenged
            assert_eq!(
                request.headers().credentials(&HeaderName::Authorization).next().unwrap().scheme,
                "NoOneKnowsThisScheme"
            );
        }),
    ),
    ("multi01", Refused(400, "Repeated CSeq")),
    ("mcl01", Refused(400, "Bad Content-Length")),
    (
        "bcast",
        Expect::Response(|response| {
            let hosts: Vec<_> = response.headers().vias().map(|via| via.unwrap().host()).collect();
            assert_eq!(hosts, ["192.0.2.198", "255.255.255.255"]); // the transport sees that the top one is not ours
        }),
    ),
    ("zeromf", Expect::Request(|request| assert_eq!(request.headers().max_forwards(), Some(0)))),
    (
        "cparam01",
        Expect::Request(|request| {
            let contact = contacts(request.headers())[0];
            assert_eq!(
                (contact.uri, contact.param("unknownparam")),
                ("sip:+19725552222@gw1.example.net", Some(None))
            );
        }),
    ),
    (
        "cparam02",
        Expect::Request(|request| {
            let contact = contacts(request.headers())[0];
            assert_eq!(contact.param("unknownparam"), None);
            assert_eq!(contact.parsed_uri().unwrap().param("unknownparam"), Some(None));
        }),
    ),
    (
        "regescrt",
        Expect::Request(|request| {
            let uri = contacts(request.headers())[0].parsed_uri().unwrap();
            assert_eq!(uri.header_params().collect::<Vec<_>>(), [("Route", "%3Csip:sip.example.com%3E")]);
        }),
    ),
    (
        "sdp01",
        Expect::Request(|request| {
            assert!(!accepts(request, "application/sdp") && accepts(request, "text/nobodyKnowsThis")); // 406
        }),
    ),
    // 3.4: backward compatibility
    (
        "inv2543",
        Expect::Request(|request| {
            let headers = request.headers();
            assert_eq!(
                (headers.via().unwrap().branch(), headers.from().unwrap().tag(), headers.max_forwards()),
                (None, None, None)
            );
            assert!(request.body().starts_with(b"v=0\r\n") && request.body().ends_with(b"RTP/AVP 0\r\n"));
        }),
    ),
];

#[test]
fn every_message_has_its_outcome() {
    let tested: BTreeSet<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!((tested.len(), &tested), (49, &expected_names("rfc4475")));
    for (name, expect) in TABLE {
        match (expect, outcome(vector("rfc4475", name))) {
            (Expect::Request(check), Outcome::Request(request)) => check(&request),
            (Expect::Response(check), Outcome::Response(response)) => check(&response),
            (Refused(status, reason), Outcome::Refused(got, text)) => {
                assert_eq!((got, text.as_str()), (*status, *reason), "{name}");
            }
            (Dropped(reason), Outcome::Dropped(text)) => assert_eq!(text, *reason, "{name}"),
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

/// A refusal must find its way back: it carries what could be read of the headers RFC 3261 §8.2.6.2 has copied.
#[test]
fn what_the_parser_refuses_can_be_answered() {
    for (name, expect) in TABLE {
        let bytes = vector("rfc4475", name);
        let (Refused(status, reason), Err(ParseError::Rejected(rejection))) = (expect, Message::parse(bytes))
        else {
            continue;
        };
        let mut buf = BytesMut::new();
        let partial = rejection.request.as_ref().unwrap();
        let answer = partial.respond(&mut buf, &rejection, Some("refused")).finish();
        let Ok(Message::Response(answer)) = Message::parse(answer) else {
            panic!("{name}: the refusal does not parse")
        };
        assert_eq!((answer.status().as_u16(), answer.reason()), (*status, *reason), "{name}");
        for header in [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
            assert!(answer.headers().all(&header).eq(partial.headers().all(&header)), "{name}: {header}");
        }
        assert!(answer.headers().first(&HeaderName::To).unwrap().contains("tag="), "{name}");
    }
}

/// What is copied line by line and written again reads the same.
#[test]
fn every_valid_request_survives_being_written_again() {
    for (name, expect) in TABLE {
        if !matches!(expect, Expect::Request(_)) {
            continue;
        }
        let Ok(Message::Request(request)) = Message::parse(vector("rfc4475", name)) else { panic!("{name}") };
        let mut buf = BytesMut::new();
        let again = offhook_sip::write::MessageWriter::request(&mut buf, request.method(), request.uri())
            .copy_lines(request.headers(), |known, _| known != Some(HeaderName::ContentLength))
            .body("", request.body())
            .finish();
        let Ok(Message::Request(again)) = Message::parse(again) else {
            panic!("{name} does not parse again")
        };
        let lines = |request: &Request| {
            let lines =
                request.headers().lines().filter(|(known, ..)| *known != Some(HeaderName::ContentLength));
            lines.map(|(_, name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()), "{name}");
        assert_eq!((lines(&again), again.body()), (lines(&request), request.body()), "{name}");
    }
}

fn contacts(headers: &Headers) -> Vec<offhook_sip::header::NameAddr<'_>> {
    headers.contacts().unwrap().as_slice().iter().map(|contact| contact.name_addr).collect()
}

fn wsinv(request: &Request) {
    let headers = request.headers();
    assert_eq!(request.uri(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    let to = headers.to().unwrap();
    assert_eq!((to.uri, to.tag()), ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n")));
    let from = headers.from().unwrap();
    assert_eq!((from.display_name().unwrap().as_ref(), from.tag()), ("J Rosenberg \\\"", Some("98asjd8")));
    let cseq = headers.cseq().unwrap();
    assert_eq!((headers.max_forwards(), cseq.number, cseq.method), (Some(68), 9, "INVITE"));
    assert_eq!(headers.first(&HeaderName::Subject), Some(""));
    assert_eq!(
        unfold(headers.get("newfangledheader").unwrap()),
        "newfangled value continued newfangled value"
    );
    assert_eq!(headers.get("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let vias: Vec<_> = headers
        .vias()
        .map(|via| via.unwrap())
        .map(|via| (via.transport().unwrap(), via.host(), via.branch().unwrap()))
        .collect();
    assert_eq!(
        vias,
        [
            (Transport::Udp, "192.0.2.2", "390skdjuw"),
            (Transport::Tcp, "spindle.example.com", "z9hG4bK9ikj8"),
            (Transport::Udp, "192.168.255.111", "z9hG4bK30239"),
        ]
    );
    let route = headers.routes().next().unwrap().unwrap().parsed_uri().unwrap();
    assert!(route.is_loose_router());
    assert_eq!(
        (route.param("unknownwith"), route.param("unknown-no-value")),
        (Some(Some("value")), Some(None))
    );
    let contacts = headers.contacts().unwrap();
    let contacts = contacts.as_slice();
    assert_eq!(contacts[0].name_addr.display_name().unwrap(), "Quoted string \"\"");
    assert_eq!((contacts[0].q(), contacts[0].params().value("newparam")), (Some(330), Some("newvalue")));
    assert_eq!(contacts[0].params().get("secondparam"), Some(None));
    assert!(request.body().len() == 150 && headers.content_type().unwrap().is("application/sdp"));
}

fn intmeth(request: &Request) {
    assert_eq!(request.method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let uri = request.parsed_uri().unwrap();
    assert_eq!(uri.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password, Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!((uri.host, uri.to_string().as_str()), ("example.com", request.uri()));
    let headers = request.headers();
    assert_eq!(headers.to().unwrap().display_name().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    let from = headers.from().unwrap();
    assert_eq!(from.display_name().unwrap(), "token1~` token2'+_ token3*%!.-");
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(from.params.text("fromParam''~+*_!.-%").unwrap(), "работающий");
    assert_eq!(headers.call_id().unwrap(), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!((headers.cseq().unwrap().number, headers.max_forwards()), (139_122_385, Some(255)));
    assert_eq!(headers.get("extensionHeader-!.%*+_`'~").unwrap(), "\u{feff}大停電");
}

fn esc01(request: &Request) {
    let headers = request.headers();
    let uri = request.parsed_uri().unwrap();
    assert_eq!((uri.user_unescaped().unwrap().as_ref(), uri.host), ("sips:user@example.com", "example.net"));
    assert_eq!(headers.from().unwrap().parsed_uri().unwrap().user_unescaped().unwrap(), "I have spaces");
    assert_eq!(headers.to().unwrap().parsed_uri().unwrap(), Uri::parse("sip:user@EXAMPLE.com").unwrap());
    let contact = contacts(headers)[0].parsed_uri().unwrap();
    assert_eq!(contact.user_unescaped().unwrap(), "caller");
    assert!(contact.is_loose_router());
    assert_eq!(contact.param("name"), Some(Some("v%61lue%25%34%31"))); // unescapes once, to "value%41"
    assert_eq!(contact, Uri::parse("sip:caller@host5.example.net;lr;name=value%2541").unwrap());
}

fn escnull(request: &Request) {
    let contacts = contacts(request.headers());
    let (one, two) = (contacts[0].parsed_uri().unwrap(), contacts[1].parsed_uri().unwrap());
    assert!(one != two && !one.same_user(&two));
    assert_eq!((one.user_unescaped().unwrap().len(), two.user_unescaped().unwrap().len()), (1, 2));
}

fn esc02(request: &Request) {
    let headers = request.headers();
    assert_eq!(*request.method(), Method::Extension("RE%47IST%45R".into()));
    assert_eq!(headers.from().unwrap().display_name().unwrap(), "%Z%45");
    assert_eq!(contacts(headers).len(), 2); // C%6Fntact is another header
    assert_eq!(headers.get("c%6fNTACT"), Some("<sip:alias2@host2.example.com>"));
}

fn lwsdisp(request: &Request) {
    let from = request.headers().from().unwrap();
    assert_eq!((from.display_name().unwrap().as_ref(), from.uri), ("caller", "sip:caller@example.com"));
}

fn longreq(request: &Request) {
    let headers = request.headers();
    assert_eq!(headers.vias().filter(Result::is_ok).count(), 34);
    assert_eq!(headers.via().unwrap().host(), "sip33.example.com");
    let last = headers.vias().last().unwrap().unwrap();
    assert_eq!(
        (last.received(), last.branch().unwrap().len() > 100),
        (Some("192.0.2.5".parse().unwrap()), true)
    );
    assert!(
        headers.from().unwrap().tag().unwrap().len() > 100
            && headers.to().unwrap().parsed_uri().unwrap().port == Some(6000)
    );
    assert_eq!(request.body().len(), 150);
}

fn dblreq(request: &Request) {
    assert_eq!((request.method(), request.body().len()), (&Method::Register, 0));
    assert_eq!(request.headers().call_id(), Ok("dblreq.0ha0isndaksdj99sdfafnl3lk233412"));
    assert_eq!(request.headers().vias().count(), 1);
}

fn semiuri(request: &Request) {
    let uri = request.parsed_uri().unwrap();
    assert_eq!(
        (uri.user_unescaped().unwrap().as_ref(), uri.params, uri.host),
        ("user;par=u@example.net", "", "example.com")
    );
    assert_eq!(request.headers().accept().unwrap().count(), 6);
}

fn transports(request: &Request) {
    let vias: Vec<_> = request
        .headers()
        .vias()
        .map(|via| via.unwrap())
        .map(|via| (via.transport_text(), via.transport()))
        .collect();
    assert_eq!(
        vias,
        [
            ("UDP", Some(Transport::Udp)),
            ("SCTP", None),
            ("TLS", Some(Transport::Tls)),
            ("UNKNOWN", None),
            ("TCP", Some(Transport::Tcp)),
        ]
    );
}

fn mpart01(request: &Request) {
    let content_type = request.headers().content_type().unwrap();
    let parts: Vec<_> = multipart::parts(request.body(), &content_type).collect();
    assert_eq!(parts.len(), 2);
    assert_eq!(
        (parts[0].body(), parts[0].content_type().unwrap().to_string().as_str()),
        (&b"Hello"[..], "text/plain")
    );
    // The second part is DER: 0x30 0x82, then the length of what follows.
    let der = parts[1].body();
    assert_eq!(&der[..2], [0x30, 0x82]);
    assert_eq!(der.len(), 4 + usize::from(u16::from_be_bytes([der[2], der[3]])));
    assert_eq!(multipart::find(request.body(), &content_type, "application/octet-stream"), Some(der));
    assert_eq!(body_refusal(request, &["multipart/mixed"]), None);
}

fn unreason(response: &Response) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.reason(), "= 2**3 * 5**2 но сто девяносто девять - простое");
}

fn unksm2(request: &Request) {
    let headers = request.headers();
    assert_eq!(headers.to().unwrap().uri, "isbn:2983792873");
    assert_eq!(headers.from().unwrap().parsed_uri().unwrap().scheme.as_str(), "http");
    assert_eq!(contacts(headers)[0].parsed_uri().unwrap().opaque(), "John_Smith");
}

fn bext01(request: &Request) {
    let unsupported: Vec<_> = unsupported_extensions(request, &["100rel"]).collect(); // 420
    assert_eq!(unsupported, ["nothingSupportsThis", "nothingSupportsThisEither"]);
    assert_eq!(request.headers().proxy_require().count(), 2);
}

/// §3.1.1.8: what stands behind the first message of a datagram is not looked at, whatever it is.
#[test]
fn octets_behind_the_body_are_ignored() {
    let mut bytes = vector("rfc4475", "lwsdisp").to_vec();
    bytes.extend_from_slice(b"\xff\0 no message");
    assert!(matches!(outcome(Bytes::from(bytes)), Outcome::Request(request) if request.body().is_empty()));
}

/// §3.1.2.15: an unquoted display name with a comma is two values.
#[test]
fn a_display_name_that_must_be_quoted_is_a_bad_from() {
    let mut bytes = vector("rfc4475", "baddn").to_vec();
    bytes.extend_from_slice(b"\r\n");
    assert!(matches!(outcome(Bytes::from(bytes)), Outcome::Refused(400, reason) if reason == "Bad From"));
}

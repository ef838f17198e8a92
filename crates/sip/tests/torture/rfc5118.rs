//! The IPv6 torture test messages of RFC 5118.

use std::{collections::BTreeSet, net::IpAddr};

use crate::outcome::{Outcome, expected_names, outcome, vector};
use offhook_sip::{
    header::Via,
    message::Request,
    uri::{Uri, UriError},
};

/// Looks at a message that passes.
type Check = fn(&Request);

/// One line per file: the check of a message that passes, or `None` for one that is answered with 400.
const TABLE: &[(&str, Option<Check>)] = &[
    (
        "ipv6-good",
        Some(|request| {
            let uri = request.parsed_uri().unwrap();
            assert_eq!(
                (uri.host, uri.port, uri.host_address()),
                ("[2001:db8::10]", None, Some(address("2001:db8::10")))
            );
            assert_eq!(top_via(request).host(), "[2001:db8::9:1]");
            assert_eq!(contact(request).host_address(), Some(address("2001:db8::1")));
        }),
    ),
    ("ipv6-bad", None),
    (
        "port-ambiguous",
        Some(|request| {
            let uri = request.parsed_uri().unwrap();
            assert_eq!((uri.port, uri.host_address()), (None, Some(address("2001:db8::10:5070"))));
        }),
    ),
    (
        "port-unambiguous",
        Some(|request| {
            let uri = request.parsed_uri().unwrap();
            assert_eq!((uri.port, uri.host_address()), (Some(5070), Some(address("2001:db8::10"))));
        }),
    ),
    (
        "via-received-param-with-delim",
        Some(|request| assert_eq!(top_via(request).received(), Some(address("2001:db8::9:255")))),
    ),
    (
        "via-received-param-no-delim",
        Some(|request| assert_eq!(top_via(request).received(), Some(address("2001:db8::9:255")))),
    ),
    ("ipv6-in-sdp", Some(|request| assert!(body(request).contains("c=IN IP6 2001:db8::20\r\n")))),
    (
        "mult-ip-in-header",
        Some(|request| {
            let vias: Vec<_> = request.headers().vias().map(|via| via.unwrap()).collect();
            let places: Vec<_> = vias.iter().map(|via| (via.host(), via.port(), via.received())).collect();
            assert_eq!(
                places,
                [
                    ("[2001:db8::9:1]", Some(6050), None),
                    ("192.0.2.1", None, None),
                    ("[2001:db8::9:255]", None, Some(address("192.0.2.200"))),
                ]
            );
        }),
    ),
    (
        "mult-ip-in-sdp",
        Some(|request| {
            assert!(
                body(request).contains("c=IN IP4 192.0.2.1\r\n")
                    && body(request).contains("c=IN IP6 2001:db8::1\r\n")
            );
        }),
    ),
    (
        "ipv4-mapped-ipv6",
        Some(|request| {
            assert_eq!(
                (top_via(request).host(), top_via(request).port()),
                ("[::ffff:192.0.2.10]", Some(19823))
            );
            assert_eq!(contact(request).host_address(), Some(address("::ffff:192.0.2.2")));
            assert!(body(request).contains("c=IN IP6 ::ffff:192.0.2.2\r\n"));
        }),
    ),
    ("ipv6-bug-abnf-3-colons", None),
];

#[test]
fn every_message_has_its_outcome() {
    let tested: BTreeSet<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tested, expected_names("rfc5118"));
    for (name, check) in TABLE {
        match (check, outcome(vector("rfc5118", name))) {
            (Some(check), Outcome::Request(request)) => check(&request),
            (None, Outcome::Refused(400, reason)) => assert_eq!(reason, "Bad Request-URI", "{name}"),
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

/// RFC 5118 §4.3: an address without brackets cannot be told from a port; RFC 5954 §4.2: two spellings are one address.
#[test]
fn ipv6_references_compare_as_addresses_and_need_brackets() {
    let uri = |text| Uri::parse(text).unwrap();
    assert_eq!(uri("sip:a@[2001:DB8:0:0::1]"), uri("sip:a@[2001:db8::1]"));
    assert!(uri("sip:a@[2001:db8::1]") != uri("sip:a@[2001:db8::2]"));
    for (text, error) in [
        ("sip:2001:db8::1", UriError::Port),
        ("sip:[2001:db8::1", UriError::Host),
        ("sip:[2001:db8::1]x", UriError::Host),
        ("sip:[192.0.2.1]", UriError::Host),
        ("sip:[]", UriError::Host),
    ] {
        assert_eq!(Uri::parse(text).unwrap_err(), error, "{text}");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn top_via(request: &Request) -> Via<'_> {
    request.headers().via().unwrap()
}

fn contact(request: &Request) -> Uri<'_> {
    request.headers().contacts().unwrap().first().unwrap().name_addr.parsed_uri().unwrap()
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(request.body()).unwrap()
}

//! URIs: comparison by RFC 3261 §19.1.4, telephone numbers by RFC 3966, and how they are changed.

use offhook_sip::uri::{OwnedUri, Scheme, Uri, UriError};

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The pairs RFC 3261 §19.1.4 gives as equivalent, and those of RFC 3966 §4.
#[test]
fn equivalent_uris_are_equal() {
    for (one, other) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@b;p;p=x", "sip:a@b;p;p=x"),
        ("tel:+1-201-555-0123", "tel:+1(201)5550123"),
        ("tel:7042;phone-context=example.com", "tel:7042;Phone-Context=EXAMPLE.com"),
    ] {
        assert!(uri(one) == uri(other) && uri(other) == uri(one), "{one} {other}");
    }
}

/// The pairs RFC 3261 §19.1.4 gives as different.
#[test]
fn different_uris_are_not_equal() {
    for (one, other) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com;transport=udp", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:carol@chicago.com", "sips:carol@chicago.com"),
        ("sip:carol@chicago.com", "sip:chicago.com"),
        ("sip:carol@chicago.com", "sip:carol:pw@chicago.com"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;maddr=192.0.2.1"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;user=phone"),
        ("tel:+1234", "tel:1234"),
        ("tel:1234;phone-context=a", "tel:1234"),
        ("tel:1234", "sip:1234@a"),
    ] {
        assert!(uri(one) != uri(other) && uri(other) != uri(one), "{one} {other}");
    }
}

#[test]
fn parts_are_found_whatever_stands_in_the_user() {
    let parsed = uri("sip:a;b?c&d=e:pw%20;x@[::1]:5061;lr;transport=tcp?h=1&i=");
    assert_eq!((parsed.user, parsed.password), (Some("a;b?c&d=e"), Some("pw%20;x")));
    assert_eq!((parsed.host, parsed.host_without_brackets(), parsed.port), ("[::1]", "::1", Some(5061)));
    assert!(parsed.is_loose_router() && parsed.transport() == Some("tcp"));
    assert_eq!(parsed.header_params().collect::<Vec<_>>(), [("h", "1"), ("i", "")]);
    assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme, Scheme::Other("soap.beep"));
    assert!(uri("tel:+49-30-1;isub=2").is_phone() && uri("sip:+49301@x;user=PHONE").is_phone());
}

#[test]
fn broken_uris_name_their_fault() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("sip", UriError::Scheme),
        (":x", UriError::Scheme),
        ("1a:x", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:a@", UriError::Host),
        ("sip:@b", UriError::User),
        ("sip:a@b@c", UriError::User),
        ("sip:a b@c", UriError::Octet),
        ("sip:a@b>", UriError::Octet),
        ("sip:a@b\r\nX: y", UriError::Octet),
        ("sip:a%4@b", UriError::Escape),
        ("sip:a%zz@b", UriError::Escape),
        ("sip:a@b:", UriError::Port),
        ("sip:a@b:65536", UriError::Port),
        ("sip:a@b:+1", UriError::Port),
        ("sip:a@b;", UriError::Param),
        ("sip:a@b;=c", UriError::Param),
        ("sip:a@b;c=", UriError::Param),
        ("sip:a@b?c", UriError::Header),
        ("sip:a@b!c", UriError::Host),
        ("tel:", UriError::Number),
        ("tel:+-", UriError::Number),
        ("tel:hello", UriError::Number),
        ("x:", UriError::Host),
    ] {
        assert_eq!(Uri::parse(text).unwrap_err(), error, "{text}");
    }
    assert_eq!(Uri::parse(&format!("sip:{}", "a".repeat(10_000))).unwrap_err(), UriError::TooLong);
    assert_eq!(Uri::parse(&format!("sip:a{}", ";b".repeat(65))).unwrap_err(), UriError::TooLong);
}

#[test]
fn a_uri_is_built_and_changed_in_place() {
    let built = OwnedUri::sip(true, "example.com").unwrap().with_user("a b@c").with_port(Some(5061));
    assert_eq!(built.as_str(), "sips:a%20b%40c@example.com:5061");
    let params = built.with_param("lr", None).with_param("x", Some("1;2")).with_param("LR", Some("on"));
    assert_eq!(params.as_str(), "sips:a%20b%40c@example.com:5061;LR=on;x=1%3B2");
    assert_eq!(params.clone().without_param("X").to_string(), "sips:a%20b%40c@example.com:5061;LR=on");
    assert_eq!(params.without_params().with_port(None).as_str(), "sips:a%20b%40c@example.com");
    let tel: OwnedUri = "tel:7042".parse().unwrap();
    assert_eq!(
        tel.with_param("phone-context", Some("example.com")).as_str(),
        "tel:7042;phone-context=example.com"
    );
    let escaped: OwnedUri = "sip:a@b?Route=x".parse().unwrap();
    assert_eq!(escaped.without_headers().as_str(), "sip:a@b");
    for host in ["a b", "x?y=z", "x;lr", "a@x", "x:1", "::1", ""] {
        assert_eq!(OwnedUri::sip(false, host).unwrap_err(), UriError::Host, "{host}");
    }
}

//! What is written reads the same, for made-up messages and URIs; what is read at all never panics.

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::{Credentials, HeaderName, MediaType, NameAddr, Quoted, Via, parse_date, unfold},
    message::{Message, Method, StatusCode, multipart, validate, validate_response},
    uri::{Escaped, OwnedUri, Uri, unescape},
    write::MessageWriter,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn token() -> impl Strategy<Value = String> {
    "[-a-zA-Z0-9.!%*_+`'~]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z][a-z0-9]{0,5}){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ]
}

fn param() -> impl Strategy<Value = String> {
    ("[a-z][a-z0-9-]{0,6}", option::of("[a-zA-Z0-9_.~%41+/:-]{0,6}x")).prop_map(|(name, value)| {
        value.map_or(name.clone(), |value| format!("{name}={}", value.replace('%', "%25")))
    })
}

fn uri() -> impl Strategy<Value = String> {
    (
        any::<bool>(),
        option::of("\\PC{1,12}"),
        host(),
        option::of(any::<u16>()),
        vec(param(), 0..4),
        option::of("[a-z]{1,5}=[a-z%]{0,4}"),
    )
        .prop_map(|(secure, user, host, port, params, headers)| {
            let user = user.map(|user| format!("{}@", Escaped(&user))).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let params: String = params.iter().map(|param| format!(";{param}")).collect();
            let headers =
                headers.map(|headers| format!("?{}", headers.replace('%', "%41"))).unwrap_or_default();
            format!("{}:{user}{host}{port}{params}{headers}", if secure { "sips" } else { "sip" })
        })
}

/// A header value: anything printable, not white at its ends.
fn value() -> impl Strategy<Value = String> {
    "\\PC{0,40}".prop_map(|text| text.trim().to_owned())
}

fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![select(HeaderName::ALL).prop_map(|name| name.as_str().to_owned()), token()];
    vec((name, value()), 0..20).prop_map(|lines| {
        let is_length = |name: &str| HeaderName::parse(name) == Some(HeaderName::ContentLength);
        lines.into_iter().filter(|(name, _)| !is_length(name)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_request_reads_the_same(method in token(), uri in uri(), lines in lines(), body in vec(any::<u8>(), 0..60)) {
        let method = Method::from_token(&method);
        let mut buf = BytesMut::new();
        let mut writer = MessageWriter::request(&mut buf, &method, &uri);
        for (name, value) in &lines {
            writer.header_text(name, value);
        }
        let bytes = writer.body("", &body).finish();
        let Ok(Message::Request(request)) = Message::parse(bytes) else { panic!("does not parse") };
        prop_assert_eq!((request.method(), request.uri(), request.body()), (&method, uri.as_str(), &body[..]));
        let read: Vec<_> = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(&read[..lines.len()], &lines[..]);
        for (name, _) in &lines {
            prop_assert!(request.headers().get(name).is_some());
        }
    }

    #[test]
    fn a_written_response_reads_the_same(code in 100u16..700, reason in value(), lines in lines(), body in vec(any::<u8>(), 0..60)) {
        let status = StatusCode::new(code).unwrap();
        let mut buf = BytesMut::new();
        let mut writer = MessageWriter::response(&mut buf, status, Some(&reason));
        for (name, value) in &lines {
            writer.header_text(name, value);
        }
        let bytes = writer.body("", &body).finish();
        let Ok(Message::Response(response)) = Message::parse(bytes) else { panic!("does not parse") };
        prop_assert_eq!((response.status(), response.reason(), response.body()), (status, reason.as_str(), &body[..]));
        prop_assert_eq!(response.headers().len(), lines.len() + 1);
    }

    #[test]
    fn a_uri_is_written_back_as_it_was_and_equals_itself(text in uri()) {
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!(uri.to_string(), text.as_str());
        prop_assert!(uri == uri.to_owned_uri().as_uri());
    }

    #[test]
    fn a_changed_uri_says_what_was_set(text in uri(), user in "\\PC{1,20}", name in "[a-z]{3,8}", value in "\\PC{1,12}", port in any::<u16>()) {
        let uri: OwnedUri = text.parse().unwrap();
        let changed = uri.with_user(&user).with_param(&name, Some(&value)).with_port(Some(port));
        prop_assert_eq!(changed.as_uri().user_unescaped().unwrap(), user);
        prop_assert_eq!(changed.as_uri().param(&name).flatten().map(unescape).unwrap(), value);
        prop_assert_eq!(changed.as_uri().port, Some(port));
        let without = changed.clone().without_param(&name);
        prop_assert!(!without.as_uri().has_param(&name));
        prop_assert!(changed.without_params().as_uri().params.is_empty());
    }

    #[test]
    fn a_display_name_survives_quoting(name in "\\PC{1,20}", uri in uri(), tag in "[a-z0-9]{1,9}") {
        let text = format!("{} <{uri}>;tag={tag}", Quoted(&name));
        let parsed = NameAddr::parse(&text).unwrap();
        let display = parsed.display_name().unwrap_or_default();
        prop_assert_eq!(display.trim(), name.trim());
        prop_assert_eq!((parsed.uri, parsed.tag()), (uri.as_str(), Some(tag.as_str())));
        let again = parsed.to_string();
        prop_assert_eq!(NameAddr::parse(&again).unwrap().uri, uri);
    }

    #[test]
    fn no_octets_make_the_parser_panic(bytes in vec(any::<u8>(), 0..400)) {
        look_at_everything(Bytes::from(bytes));
    }

    /// Sound messages with a few octets changed reach deeper than noise.
    #[test]
    fn no_damage_to_a_message_makes_the_parser_panic(at in vec((0usize..1200, any::<u8>()), 0..6), cut in 0usize..1200) {
        let mut bytes = include_bytes!("vectors/rfc4475/wsinv.dat").to_vec();
        for (index, octet) in at {
            if let Some(place) = bytes.get_mut(index) {
                *place = octet;
            }
        }
        bytes.truncate(cut.max(60));
        look_at_everything(Bytes::from(bytes));
    }

    #[test]
    fn no_text_makes_a_value_parser_panic(text in "\\PC{0,30}|[ -~]{0,30}|[<>\";,=:@ \\\\\r\na%\\[\\]]{0,16}") {
        let _ = (Uri::parse(&text), NameAddr::parse(&text), Via::parse(&text), MediaType::parse(&text));
        let _ = (Credentials::parse(&text), parse_date(&text), unfold(&text), unescape(&text));
    }
}

/// Parses, validates, and calls every kind of accessor.
fn look_at_everything(bytes: Bytes) {
    let Ok(message) = Message::parse(bytes) else { return };
    let headers = message.headers();
    let _ = match &message {
        Message::Request(request) => validate(request).is_ok(),
        Message::Response(response) => validate_response(response).is_ok(),
    };
    let _ =
        (headers.contacts(), headers.session_expires(), headers.rack(), headers.replaces(), headers.event());
    let _ = (
        headers.warnings().count(),
        headers.reason().count(),
        headers.authorization().count(),
        headers.date(),
    );
    for name in HeaderName::ALL {
        let _ = (headers.values(name).count(), headers.addresses(name).count());
    }
    if let Some(content_type) = headers.content_type() {
        let _ =
            multipart::parts(message.body(), &content_type).map(|part| part.headers().count()).sum::<usize>();
    }
}

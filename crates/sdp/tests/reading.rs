//! What is read, what is refused and how the refusal names the line.

use bytes::BytesMut;
use offhook_sdp::{Fault, SdpError, SessionDescription};
use proptest::prelude::*;

const MINIMAL: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

fn fault_of(text: &str) -> (u32, Fault) {
    let SdpError { line, fault } = SessionDescription::parse_slice(text.as_bytes()).unwrap_err();
    (line, fault)
}

#[test]
fn faults_name_the_line_and_what_is_wrong() {
    let with = |line: &str| format!("{MINIMAL}{line}\r\n");
    for (text, expected) in [
        (String::new(), (1, Fault::Empty)),
        ("\r\n\r\n".into(), (1, Fault::Empty)),
        ("v=1\r\n".into(), (1, Fault::BadVersion)),
        ("o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n".into(), (1, Fault::BadVersion)),
        ("v=0\r\ns=-\r\n".into(), (2, Fault::NoOrigin)),
        ("v=0\r\no=- 1 x IN IP4 192.0.2.1\r\n".into(), (2, Fault::BadOrigin)),
        ("v=0\r\no=- 1 1 ATM NSAP 47.0091\r\n".into(), (2, Fault::BadOrigin)),
        (with("v=0"), (6, Fault::Misplaced)),
        (with("o=- 2 2 IN IP4 192.0.2.1"), (6, Fault::Misplaced)),
        (with("c=IN IP4"), (6, Fault::BadConnection)),
        (with("c=IN IP4 <script>"), (6, Fault::BadConnection)),
        (with("m=audio"), (6, Fault::BadMedia)),
        (with("m=audio 4000 RTP/AVP"), (6, Fault::BadMedia)),
        (with(&format!("m=audio 4000 RTP/AVP{}", " 0".repeat(129))), (6, Fault::TooManyFormats)),
        (with("m=audio 65536 RTP/AVP 0"), (6, Fault::BadPort)),
        (with("m=audio -1 RTP/AVP 0"), (6, Fault::BadPort)),
        (with("m=audio 4000/0 RTP/AVP 0"), (6, Fault::BadPort)),
        (with("m=audio 4000 RTP/AVP 0\r\no=- 2 2 IN IP4 192.0.2.1"), (7, Fault::Misplaced)),
        (with("A=upper"), (6, Fault::NotALine)),
        (with(" a=blank"), (6, Fault::NotALine)),
        (with("\r\na=after a blank line"), (6, Fault::NotALine)),
        (with("a=x\rc=IN IP4 10.0.0.1"), (6, Fault::ControlByte)),
        (with("a=x\0"), (6, Fault::ControlByte)),
        ("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n".into(), (3, Fault::NoConnection)),
        (with(&"m=audio 4000 RTP/AVP 0\r\n".repeat(65)), (70, Fault::TooManyMedia)),
        (with(&"a=x\r\n".repeat(512)), (513, Fault::TooManyLines)),
        (with(&format!("a={}", "x".repeat(65536))), (1, Fault::BodyTooLong)),
    ] {
        assert_eq!(fault_of(&text), expected, "{text}");
    }
}

#[test]
fn the_message_of_a_fault_repeats_nothing_of_the_line() {
    let error = SessionDescription::parse_slice(b"v=0\r\no=jane 1 1 IN IP4 10.1.2.3:9\r\n").unwrap_err();
    assert_eq!(error.to_string(), "session description, line 2: the o= line is malformed");
}

#[test]
fn text_that_is_not_utf8_matters_only_where_it_must_be_read() {
    let latin = [MINIMAL.as_bytes(), b"i=caf\xe9\r\na=note:caf\xe9\r\na=sendonly\r\n"].concat();
    let sdp = SessionDescription::parse_slice(&latin).unwrap();
    assert_eq!(sdp.attributes().count(), 1);
    let broken = [MINIMAL.as_bytes(), b"m=audio 4000 RTP/AVP \xe9\r\n"].concat();
    assert_eq!(SessionDescription::parse_slice(&broken).unwrap_err().fault, Fault::NotUtf8);
}

#[test]
fn debug_shows_no_address_and_no_name() {
    let text = "v=0\r\no=jane 1 1 IN IP4 10.1.2.3\r\ns=-\r\nc=IN IP6 2001:db8::5\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n\
        a=rtcp:5 IN IP4 pc9.example\r\n";
    let sdp = SessionDescription::parse(text).unwrap();
    let media = sdp.media_at(0).unwrap();
    let shown = format!(
        "{sdp:?} {:?} {:?} {media:?} {:?} {:?} {:?}",
        sdp.origin(),
        sdp.connection(),
        sdp.streams(),
        media.rtcp(),
        media.attribute("rtcp")
    );
    for secret in ["jane", "10.1", "2001", "pc9"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// A description of arbitrary lines in plausible order, with either line end.
fn description() -> impl Strategy<Value = String> {
    let attribute = prop_oneof![
        "a=[a-z-]{1,12}(:[ -~]{0,40})?",
        "a=rtpmap:[0-9]{1,3} [A-Za-z0-9-]{1,8}/[0-9]{1,6}(/[0-9])?",
        "a=(sendrecv|sendonly|recvonly|inactive)",
        "a=crypto:[0-9] AES_CM_128_HMAC_SHA1_80 inline:[A-Za-z0-9+/]{40}",
        "b=[A-Z]{2,4}:[0-9]{1,6}",
        "[g-l]=[ -~]{0,30}",
    ];
    let host = prop_oneof![
        "IP4 [1-9][0-9]?\\.[0-9]\\.[0-9]\\.[0-9]",
        "IP6 2001:db8::[0-9a-f]{1,4}",
        "IP4 [a-z]{3,8}\\.example"
    ];
    let media = (
        "m=(audio|video|image|x-new) [0-9]{1,4} (RTP/AVP|RTP/SAVPF|udptl|TCP/X) [0-9]{1,3}( [0-9]{1,3}){0,4}",
        prop::option::of(host.clone()),
        prop::collection::vec(attribute.clone(), 0..8),
    );
    let session =
        (host.clone(), host, prop::collection::vec(attribute, 0..6), prop::collection::vec(media, 0..5));
    (session, any::<bool>()).prop_map(|((origin, connection, attributes, media), crlf)| {
        let mut lines = vec!["v=0".to_string(), format!("o=- 1 2 IN {origin}"), "s=-".into()];
        lines.extend([format!("c=IN {connection}"), "t=0 0".into()]);
        lines.extend(attributes);
        for (line, connection, attributes) in media {
            lines.push(line);
            lines.extend(connection.map(|host| format!("c=IN {host}")));
            lines.extend(attributes);
        }
        let end = if crlf { "\r\n" } else { "\n" };
        lines.join(end) + end
    })
}

proptest! {
    #[test]
    fn what_is_read_writes_back_to_the_byte(text in description()) {
        let sdp = SessionDescription::parse_slice(text.as_bytes()).unwrap();
        let mut out = BytesMut::new();
        sdp.write(&mut out);
        prop_assert_eq!(&out[..], text.as_bytes());
        let lines = text.lines().filter(|line| line.starts_with("a=")).count();
        let seen: usize = sdp.attributes().count() + sdp.media().map(|media| media.attributes().count()).sum::<usize>();
        prop_assert_eq!(seen, lines);
    }

    #[test]
    fn formats_and_ports_are_those_of_the_line(port in 1u16.., types in prop::collection::vec(0u8..128, 1..20)) {
        let list: Vec<String> = types.iter().map(u8::to_string).collect();
        let text = format!("{MINIMAL}m=audio {port} RTP/AVP {}\r\n", list.join(" "));
        let sdp = SessionDescription::parse(text).unwrap();
        let media = sdp.media_at(0).unwrap();
        prop_assert_eq!(media.port(), port);
        prop_assert!(media.payload_types().map(|pt| pt.number()).eq(types));
    }
}

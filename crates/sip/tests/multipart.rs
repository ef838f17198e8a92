//! Multipart bodies: RFC 2046 §5.1.

use offhook_sip::{
    header::MediaType,
    message::multipart::{DEPTH_MAX, PARTS_MAX, find, parts},
};

fn bodies<'a>(body: &'a [u8], content_type: &'a str) -> Vec<&'a [u8]> {
    parts(body, &MediaType::parse(content_type).unwrap()).map(|part| part.body()).collect()
}

#[test]
fn parts_keep_their_octets_and_preamble_and_epilogue_are_left_out() {
    let body = b"preamble\r\n--b \t\r\nContent-Type: a/b\r\n\r\n\0\r\n--bc\r\n\r\n--b\r\n\r\nno headers\r\n--b--\r\nepilogue\r\n--b\r\n";
    assert_eq!(bodies(body, "multipart/mixed;boundary=b"), [&b"\0\r\n--bc\r\n"[..], b"no headers"]);
    assert_eq!(bodies(b"--b\r\n\r\n\r\n--b--", "Multipart/Mixed;boundary=\"b\""), [b""]);
}

#[test]
fn what_is_no_multipart_has_no_parts() {
    assert!(bodies(b"--b\r\n\r\nx\r\n--b--", "text/plain;boundary=b").is_empty());
    assert!(bodies(b"--b\r\n\r\nx\r\n--b--", "multipart/mixed").is_empty());
    assert!(bodies(b"--b\r\n\r\nx\r\n--b--", "multipart/mixed;boundary=\"\"").is_empty());
    assert!(bodies(b"--b\r\n\r\nnever closed", "multipart/mixed;boundary=b").is_empty());
    assert!(bodies(b"", "multipart/mixed;boundary=b").is_empty());
}

#[test]
fn a_type_is_found_within_nested_parts() {
    let inner = "--i\r\nContent-Type: text/plain\r\n\r\nx\r\n--i\r\nContent-Type: application/\r\n sdp\r\n\r\nv=0\r\n\r\n--i--";
    let outer = format!("--o\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n{inner}\r\n--o--\r\n");
    let content_type = MediaType::parse("multipart/mixed;boundary=o").unwrap();
    assert_eq!(find(outer.as_bytes(), &content_type, "application/sdp"), Some(&b"v=0\r\n"[..]));
    assert_eq!(find(outer.as_bytes(), &content_type, "image/png"), None);
    let plain = MediaType::parse("application/sdp").unwrap();
    assert_eq!(find(b"v=0", &plain, "application/sdp"), Some(&b"v=0"[..]));
}

#[test]
fn number_and_depth_are_bounded() {
    let many = format!("{}--b--", "--b\r\n\r\nx\r\n".repeat(PARTS_MAX + 5));
    assert_eq!(bodies(many.as_bytes(), "multipart/mixed;boundary=b").len(), PARTS_MAX);
    let nest = |levels: usize| {
        (0..levels).fold("v=0".to_owned(), |body, level| {
            let kind = if level == 0 {
                "application/sdp".to_owned()
            } else {
                format!("multipart/mixed;boundary=b{}", level - 1)
            };
            format!("--b{level}\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--b{level}--")
        })
    };
    for (levels, is_found) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false)] {
        let (body, kind) = (nest(levels), format!("multipart/mixed;boundary=b{}", levels - 1));
        let content_type = MediaType::parse(&kind).unwrap();
        assert_eq!(
            find(body.as_bytes(), &content_type, "application/sdp").is_some(),
            is_found,
            "{levels} levels"
        );
    }
}

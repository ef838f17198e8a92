//! Cutting a stream into messages: RFC 3261 §18.3, RFC 5626 §3.5.1.

use offhook_sip::message::{
    MESSAGE_BYTES_MAX,
    stream::{Framer, Framing, StreamError},
};

/// What a peer's octets become when they arrive in pieces of `size`: frames as text, keep-alives as words.
fn read_in_pieces(sent: &[u8], size: usize) -> Vec<String> {
    let (mut framer, mut buffered, mut seen) = (Framer::new(), Vec::new(), Vec::new());
    for piece in sent.chunks(size) {
        buffered.extend_from_slice(piece);
        loop {
            let (taken, what) = match framer.poll(&buffered) {
                Framing::Incomplete => break,
                Framing::Ping(len) => (len, "ping".to_owned()),
                Framing::Pong(len) => (len, "pong".to_owned()),
                Framing::Frame(len) => (len, String::from_utf8_lossy(&buffered[..len]).into_owned()),
                Framing::Error(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            };
            seen.push(what);
            buffered.drain(..taken);
        }
    }
    if !buffered.is_empty() {
        seen.push("rest".to_owned());
    }
    seen
}

const ONE: &str =
    "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKa\r\nL : 5\r\nCall-ID: a\r\n\r\nhello";
const TWO: &str = "SIP/2.0 200 OK\r\nContent-Length:\r\n 0\r\nContact: <sip:a@b>\r\n\r\n";
const NO_LENGTH: &str = "BYE sip:a@b SIP/2.0\r\nCall-Info: l\r\n\r\n";

/// Goal: framing does not depend on how TCP cuts the octets. Method: every piece size from one octet to the whole.
#[test]
fn messages_come_out_whole_however_the_stream_is_cut() {
    let sent = [ONE, TWO, NO_LENGTH, ONE].concat();
    for size in 1..=sent.len() {
        assert_eq!(read_in_pieces(sent.as_bytes(), size), [ONE, TWO, NO_LENGTH, ONE], "pieces of {size}");
    }
}

#[test]
fn a_ping_between_messages_is_seen_however_it_is_cut() {
    let sent = [ONE, "\r\n\r\n", TWO].concat();
    for size in 1..=sent.len() {
        let seen = read_in_pieces(sent.as_bytes(), size);
        // A ping cut in the middle is a pong, then the ping's second half: it is answered once all the same.
        let pings = seen.iter().filter(|what| *what == "ping").count();
        assert_eq!(
            (pings, seen.first().unwrap().as_str(), seen.last().unwrap().as_str()),
            (1, ONE, TWO),
            "pieces of {size}"
        );
    }
}

#[test]
fn a_single_line_end_is_a_pong_and_does_not_wait_for_more() {
    assert_eq!(read_in_pieces(b"\r\n", 2), ["pong"]);
    assert_eq!(read_in_pieces([b"\r\n", ONE.as_bytes()].concat().as_slice(), 2)[..], ["pong", ONE]);
}

#[test]
fn a_message_waits_for_its_body_and_no_longer() {
    let (mut framer, octets) = (Framer::new(), ONE.as_bytes());
    for len in 0..octets.len() {
        assert_eq!(framer.poll(&octets[..len]), Framing::Incomplete, "after {len}");
    }
    assert_eq!(framer.poll(octets), Framing::Frame(octets.len()));
}

#[test]
fn contradictory_or_malformed_lengths_end_the_connection() {
    for lengths in
        ["l: 5\r\nContent-Length: 6\r\n", "l: -1\r\n", "l: \r\n", "l: 99999999999999999999\r\n", "l: 1x\r\n"]
    {
        let sent = format!("BYE sip:a@b SIP/2.0\r\n{lengths}\r\n");
        let expected = Framing::Error(StreamError::ContentLength { head: sent.len() });
        assert_eq!(Framer::new().poll(sent.as_bytes()), expected, "{lengths}");
    }
}

#[test]
fn head_and_body_are_bounded() {
    let endless = vec![b'a'; MESSAGE_BYTES_MAX + 1];
    assert_eq!(Framer::new().poll(&endless), Framing::Error(StreamError::TooLarge));
    let claims = format!("BYE sip:a@b SIP/2.0\r\nl: {MESSAGE_BYTES_MAX}\r\n\r\n");
    assert_eq!(Framer::new().poll(claims.as_bytes()), Framing::Error(StreamError::TooLarge));
}

//! Fuzz target: any octets as a stream, in pieces. The framer always moves on, never past what it was given, and finds the
//! same frames in pieces as at once.

use offhook_sip::message::stream::{Framer, Framing};

/// The frames, and whether the stream ended in an error.
fn frames(octets: &[u8], piece: usize) -> (Vec<usize>, bool) {
    let (mut framer, mut start, mut end, mut frames) = (Framer::new(), 0, 0, Vec::new());
    while end < octets.len() {
        end = (end + piece).min(octets.len());
        loop {
            match framer.poll(&octets[start..end]) {
                Framing::Incomplete => break,
                Framing::Error(_) => return (frames, true),
                Framing::Ping(len) | Framing::Pong(len) => start += len,
                Framing::Frame(len) => {
                    frames.push(len);
                    start += len;
                }
            }
            assert!(start <= end, "took more than there was");
        }
    }
    (frames, false)
}

#[test]
fn fuzz_stream() {
    bolero::check!().with_iterations(2_000).for_each(|octets: &[u8]| {
        let Some((&piece, octets)) = octets.split_first() else { return };
        assert_eq!(frames(octets, usize::from(piece).max(1)), frames(octets, octets.len().max(1)));
    });
}

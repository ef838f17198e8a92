//! Finds the end of each message in a stream of octets (RFC 3261 §18.3) and the keep-alives between (RFC 5626 §3.5.1).

use memchr::memmem;

/// What stands at the beginning of the octets received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole message of this many octets.
    Message(usize),
    /// A double CRLF, to be answered with a single one; this many octets.
    Ping(usize),
    /// A single CRLF: the answer to a ping, or what RFC 3261 §7.5 allows before a start line; this many octets.
    Filler(usize),
    /// The beginning of a message.
    Partial,
    /// Nothing, or not yet enough to tell a ping from a pong.
    Empty,
}

/// The stream cannot be split any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    /// The message is or will be over the limit.
    #[error("a message over the size limit")]
    TooLarge,
    /// Content-Length is no number, or is there twice with different values: nobody can say where the message ends.
    #[error("no usable Content-Length")]
    ContentLength,
}

/// Remembers how far it has searched, so that a message in a thousand pieces is read once.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// No end of the headers begins before this octet.
    searched: usize,
    /// The whole length, once the headers are complete.
    message_length: Option<usize>,
}

impl Framer {
    /// Looks at all octets not yet taken. After a [`Frame`] with a length the caller takes that many away.
    pub(super) fn next(&mut self, octets: &[u8], message_bytes_max: usize) -> Result<Frame, FramingError> {
        if self.searched == 0
            && let Some(frame) = between_messages(octets)
        {
            return Ok(frame);
        }
        let length = match self.message_length {
            Some(length) => length,
            None => match memmem::find(&octets[self.searched..], b"\r\n\r\n") {
                Some(at) => {
                    let headers = self.searched + at;
                    let length = (headers + 4).saturating_add(content_length(&octets[..headers])?);
                    *self.message_length.insert(length)
                }
                None if octets.len() > message_bytes_max => return Err(FramingError::TooLarge),
                None => {
                    // The end may have begun with the last three octets.
                    self.searched = octets.len().saturating_sub(3);
                    return Ok(Frame::Partial);
                }
            },
        };
        if length > message_bytes_max {
            return Err(FramingError::TooLarge);
        }
        if octets.len() < length {
            return Ok(Frame::Partial);
        }
        *self = Self::default();
        Ok(Frame::Message(length))
    }
}

/// The line ends that may stand before a message.
fn between_messages(octets: &[u8]) -> Option<Frame> {
    match octets {
        [] | [b'\r'] | b"\r\n" | b"\r\n\r" => Some(Frame::Empty),
        [b'\r', b'\n', b'\r', b'\n', ..] => Some(Frame::Ping(4)),
        [b'\r', b'\n', ..] => Some(Frame::Filler(2)),
        [b'\n', ..] => Some(Frame::Filler(1)),
        _ => None,
    }
}

/// The value of Content-Length or `l` among `headers`. Absent counts as zero: RFC 3261 §20.14 demands it on streams, but
/// a peer that forgets it has no body.
fn content_length(headers: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    let mut rest = headers;
    while !rest.is_empty() {
        let (line, after) = match memmem::find(rest, b"\r\n") {
            Some(at) => (&rest[..at], &rest[at + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let value = decimal(line[colon + 1..].trim_ascii()).ok_or(FramingError::ContentLength)?;
        if found.is_some_and(|other| other != value) {
            return Err(FramingError::ContentLength);
        }
        found = Some(value);
    }
    Ok(found.unwrap_or(0))
}

/// Digits only; `None` past what a usize holds.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 200;
    const INFO: &[u8] = b"INFO sip:a@b SIP/2.0\r\nVia: x\r\nl : 4\r\n\r\nbody";

    /// Feeds `stream` in pieces that end at `cuts` and gives the frames.
    fn frames(stream: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, FramingError> {
        let (mut framer, mut taken, mut frames) = (Framer::default(), 0, Vec::new());
        for end in cuts.iter().copied().chain([stream.len()]) {
            loop {
                match framer.next(&stream[taken..end], MAX)? {
                    Frame::Partial | Frame::Empty => break,
                    frame @ (Frame::Message(length) | Frame::Ping(length) | Frame::Filler(length)) => {
                        taken += length;
                        frames.push(frame);
                    }
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn two_messages_and_a_ping_are_found_wherever_the_stream_is_cut() {
        let stream = [INFO, b"\r\n\r\n", INFO].concat();
        let whole = [Frame::Message(INFO.len()), Frame::Ping(4), Frame::Message(INFO.len())];
        for cut in 0..stream.len() {
            assert_eq!(frames(&stream, &[cut]).unwrap(), whole, "cut at {cut}");
        }
        let every: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(frames(&stream, &every).unwrap(), whole);
    }

    #[test]
    fn a_single_crlf_is_filler_once_something_follows() {
        let stream = [b"\r\n", INFO].concat();
        assert_eq!(frames(&stream, &[]).unwrap(), [Frame::Filler(2), Frame::Message(INFO.len())]);
        assert_eq!(frames(b"\r\n", &[]).unwrap(), []);
    }

    #[test]
    fn contradicting_or_unreadable_lengths_end_the_stream() {
        for lengths in ["l: 4\r\nContent-Length: 5", "l: -1", "l: 4x", "l:", "l: 99999999999999999999999"] {
            let message = format!("INFO sip:a@b SIP/2.0\r\n{lengths}\r\n\r\n");
            assert_eq!(frames(message.as_bytes(), &[]), Err(FramingError::ContentLength), "{lengths}");
        }
        assert!(frames(b"A b c\r\nl: 0\r\ncontent-length: 0\r\n\r\n", &[]).is_ok());
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_stored() {
        let announced = b"INFO sip:a@b SIP/2.0\r\nl: 200\r\n\r\n";
        assert_eq!(frames(announced, &[]), Err(FramingError::TooLarge));
        assert_eq!(frames(&[b'a'; MAX + 1], &[]), Err(FramingError::TooLarge));
        let huge = format!("A b c\r\nl: {}\r\n\r\n", usize::MAX);
        assert_eq!(frames(huge.as_bytes(), &[]), Err(FramingError::TooLarge));
    }
}

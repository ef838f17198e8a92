//! Finding messages in a stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use memchr::{memchr, memmem};

use super::MESSAGE_BYTES_MAX;
use crate::header::{
    HeaderName,
    scan::{number, trim},
};

/// Octets a head may have before its end must have been seen.
pub const HEAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// What the buffered octets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Read more.
    Incomplete,
    /// CR LF CR LF: answer with CR LF. Take this many octets off the front.
    Ping(usize),
    /// CR LF: the answer to our ping, or the first half of a ping whose second half is on its way. Take this many octets off.
    Pong(usize),
    /// A message of this many octets. Take them off and parse them.
    Frame(usize),
    /// The stream cannot be followed any further: close it.
    Error(StreamError),
}

/// Why a stream cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No empty line within [`HEAD_BYTES_MAX`], or the whole message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("message on a stream is larger than {MESSAGE_BYTES_MAX} octets")]
    TooLarge,
    /// Content-Length is no number, or two of them differ: where the next message begins is anybody's guess. The head ends
    /// after this many octets; parse them to answer 400 before closing.
    #[error("message on a stream has a malformed Content-Length")]
    ContentLength {
        /// Octets of the head, its empty line included.
        head: usize,
    },
}

/// Cuts one stream into messages. Remembers how far it has looked, so each octet is looked at once.
///
/// Call [`Framer::poll`] with all buffered octets, take off what it says, and call again until it is
/// [`Framing::Incomplete`]. A message without Content-Length is taken to have no body: RFC 3261 §20.14 demands the header on
/// streams, and what follows then is no start line and ends the connection.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// Octets at the front known to hold no end of head.
    scanned: usize,
    /// Length of the message whose head is complete.
    frame: Option<usize>,
    /// The last thing taken off was a single CR LF.
    half_ping: bool,
}

impl Framer {
    /// For a fresh connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `buffered` begins with.
    pub fn poll(&mut self, buffered: &[u8]) -> Framing {
        if self.frame.is_none() && self.scanned == 0 {
            match buffered {
                [] | [b'\r'] => return Framing::Incomplete,
                [b'\r', b'\n', b'\r', b'\n', ..] if !self.half_ping => return Framing::Ping(4),
                [b'\r', b'\n', ..] if self.half_ping => {
                    self.half_ping = false;
                    return Framing::Ping(2);
                }
                // With exactly one CR more, the second half of a ping is arriving.
                [b'\r', b'\n', b'\r'] => return Framing::Incomplete,
                [b'\r', b'\n', ..] => {
                    self.half_ping = true;
                    return Framing::Pong(2);
                }
                _ => self.half_ping = false,
            }
        }
        let len = match self.frame {
            Some(len) => len,
            None => match self.find_frame(buffered) {
                Ok(Some(len)) => len,
                Ok(None) => return Framing::Incomplete,
                Err(error) => return Framing::Error(error),
            },
        };
        if buffered.len() < len {
            self.frame = Some(len);
            return Framing::Incomplete;
        }
        *self = Self::default();
        Framing::Frame(len)
    }

    /// Looks for the empty line in what has not been looked at, then for Content-Length.
    fn find_frame(&mut self, buffered: &[u8]) -> Result<Option<usize>, StreamError> {
        // The empty line may straddle what came earlier and what came now.
        let from = self.scanned.saturating_sub(3).min(buffered.len());
        let Some(found) = memmem::find(&buffered[from..], b"\r\n\r\n") else {
            self.scanned = buffered.len();
            return if buffered.len() > HEAD_BYTES_MAX { Err(StreamError::TooLarge) } else { Ok(None) };
        };
        let head = from + found + 4;
        let body = content_length(&buffered[..head]).ok_or(StreamError::ContentLength { head })?;
        match head.checked_add(body) {
            Some(len) if len <= MESSAGE_BYTES_MAX => Ok(Some(len)),
            _ => Err(StreamError::TooLarge),
        }
    }
}

/// The Content-Length of a head: 0 if there is none; `None` if malformed or contradictory.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let Some(colon) = memchr(b':', line).filter(|_| matches!(line[0], b'c' | b'C' | b'l' | b'L')) else {
            continue;
        };
        if HeaderName::from_bytes(line[..colon].trim_ascii_end()) != Some(HeaderName::ContentLength) {
            continue;
        }
        // A number on a folded line is legal, and unheard of: it is read here so that parser and framer agree.
        let folded = memchr(b'\n', rest)
            .filter(|_| matches!(rest.first(), Some(b' ' | b'\t')))
            .map_or(0, |end| end + 1);
        let value = &head[head.len() - rest.len() - line.len() + colon + 1..head.len() - rest.len() + folded];
        let value: u32 = number(trim(std::str::from_utf8(value).ok()?))?;
        if found.is_some_and(|found| found != value) {
            return None;
        }
        found = Some(value);
    }
    Some(found.unwrap_or(0) as usize)
}

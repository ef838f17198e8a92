//! Percent escapes (RFC 3261 §19.1.2, RFC 3986 §2.1).

use std::{borrow::Cow, fmt};

/// `text` without escapes. Octets that make no UTF-8 become U+FFFD; a broken escape stays as it is.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(String::from_utf8_lossy(&octets(text).collect::<Vec<u8>>()).into_owned())
}

/// The octets of `text` with escapes resolved.
pub(super) fn octets(text: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || match rest {
        [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            rest = after;
            Some(hex(*high) << 4 | hex(*low))
        }
        [first, after @ ..] => {
            rest = after;
            Some(*first)
        }
        [] => None,
    })
}

/// Whether each `%` in `text` is followed by two hex digits.
pub(super) fn is_well_escaped(text: &str) -> bool {
    let octets = text.as_bytes();
    memchr::memchr_iter(b'%', octets)
        .all(|at| octets.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Writes text as a URI's user part: whatever may not stand there is escaped (RFC 3261 §25.1, `user`).
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.bytes() {
            if octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&octet) {
                fmt::Write::write_char(f, char::from(octet))?;
            } else {
                write!(f, "%{octet:02X}")?;
            }
        }
        Ok(())
    }
}

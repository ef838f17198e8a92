//! A received message, looked at just as far as a scenario needs.
//!
//! Not `offhook-sip`'s parser: a tester must take what is wrong too, and look at nothing that nobody asks for.

/// What a message starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request with this method.
    Request(&'a [u8]),
    /// A response with this code.
    Response(u16),
}

/// A message and where the essential things are in it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Request or response.
    pub start: Start<'a>,
    /// Call-ID, as it stands.
    pub call_id: &'a [u8],
    /// The number of CSeq; 0 without one.
    pub cseq: u32,
    /// The method of CSeq; empty without one.
    pub cseq_method: &'a [u8],
}

impl<'a> View<'a> {
    /// `None`: it is no SIP message, or has no Call-ID.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = Lines { rest: bytes };
        let start = start(lines.next()?)?;
        let mut view = Self { bytes, start, call_id: b"", cseq: 0, cseq_method: b"" };
        let mut wanted = 2_u8;
        for line in lines {
            let Some(first) = line.first() else { break };
            match first | 0x20 {
                b'c' | b'i' => {}
                _ => continue,
            }
            if let Some(value) = value_of(line, b"Call-ID").or_else(|| value_of(line, b"i")) {
                view.call_id = value;
                wanted -= 1;
            } else if let Some(value) = value_of(line, b"CSeq") {
                let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
                view.cseq = number(&value[..digits]);
                view.cseq_method = value[digits..].trim_ascii();
                wanted -= 1;
            }
            if wanted == 0 {
                break;
            }
        }
        (!view.call_id.is_empty()).then_some(view)
    }

    /// The headers, without the start line; ends before the body.
    fn headers(&self) -> Lines<'a> {
        let mut lines = Lines { rest: self.bytes };
        lines.next();
        lines
    }

    /// What follows the empty line.
    pub fn body(&self) -> &'a [u8] {
        body(self.bytes)
    }

    /// The value of the first header `name`, compact forms included.
    pub fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        let compact = compact(name);
        self.headers()
            .take_while(|line| !line.is_empty())
            .find_map(|line| value_of(line, name).or_else(|| compact.and_then(|short| value_of(line, short))))
    }

    /// The values of all headers `name`, in order.
    pub fn all(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let compact = compact(name);
        self.headers().take_while(|line| !line.is_empty()).filter_map(move |line| {
            value_of(line, name).or_else(|| compact.and_then(|short| value_of(line, short)))
        })
    }

    /// The start line.
    pub fn start_line(&self) -> &'a [u8] {
        Lines { rest: self.bytes }.next().unwrap_or_default()
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> Option<&'a [u8]> {
        parameter(self.header(b"Via")?, b"branch")
    }
}

/// What follows the empty line of a message.
pub fn body(bytes: &[u8]) -> &[u8] {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(at) => &bytes[at + 4..],
        None => &[],
    }
}

/// The parameter `;name=value` of a header's first element, quotes left alone.
pub fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let outside = memchr::memchr(b'>', value).map_or(0, |at| at + 1);
    value[outside..].split(|octet| *octet == b';').skip(1).find_map(|part| {
        let part = part.trim_ascii();
        let (found, value) = part.split_at_checked(name.len())?;
        let value = value.trim_ascii_start().strip_prefix(b"=")?;
        let end = value.iter().position(|octet| b", \t\r\n".contains(octet)).unwrap_or(value.len());
        found.eq_ignore_ascii_case(name).then_some(&value[..end])
    })
}

/// The URI of a From, To or Contact: what stands between `<` and `>`, or what stands before parameters.
pub fn uri_of(value: &[u8]) -> &[u8] {
    match (memchr::memchr(b'<', value), memchr::memchr(b'>', value)) {
        (Some(from), Some(to)) if from < to => &value[from + 1..to],
        _ => {
            let end = value.iter().position(|octet| b";, ".contains(octet)).unwrap_or(value.len());
            &value[..end]
        }
    }
}

fn start(line: &[u8]) -> Option<Start<'_>> {
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let code = number(rest.get(..3)?);
        return (100..=999).contains(&code).then_some(Start::Response(code as u16));
    }
    let method = memchr::memchr(b' ', line).map(|at| &line[..at])?;
    (!method.is_empty() && line.ends_with(b"SIP/2.0")).then_some(Start::Request(method))
}

fn number(digits: &[u8]) -> u32 {
    let digit = |sum: u32, octet: &u8| sum.wrapping_mul(10).wrapping_add(u32::from(octet.wrapping_sub(b'0')));
    digits.iter().take(10).fold(0, digit)
}

/// Lines without their ends. A line that is continued (RFC 3261 §7.3.1) comes whole.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &self.rest[end..]).map_or(self.rest.len() - end, |at| at + 1);
            let is_continued = end > 2 && matches!(self.rest.get(end), Some(b' ' | b'\t'));
            if !is_continued {
                break;
            }
        }
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The value, if `line` is a header `name`.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// The compact form of a header's name (RFC 3261 §7.3.3, and IANA's table).
fn compact(name: &[u8]) -> Option<&'static [u8]> {
    const FORMS: [(&[u8], &[u8]); 18] = [
        (b"Via", b"v"),
        (b"From", b"f"),
        (b"To", b"t"),
        (b"Call-ID", b"i"),
        (b"Contact", b"m"),
        (b"Content-Length", b"l"),
        (b"Content-Type", b"c"),
        (b"Content-Encoding", b"e"),
        (b"Subject", b"s"),
        (b"Supported", b"k"),
        (b"Event", b"o"),
        (b"Allow-Events", b"u"),
        (b"Refer-To", b"r"),
        (b"Referred-By", b"b"),
        (b"Session-Expires", b"x"),
        (b"Identity", b"y"),
        (b"Accept-Contact", b"a"),
        (b"Reject-Contact", b"j"),
    ];
    FORMS.iter().find(|(long, _)| long.eq_ignore_ascii_case(name)).map(|(_, short)| *short)
}

/// A hash of octets, for tables and for telling repetitions: fast, not secret. The table compares what it finds.
pub fn hash(octets: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = FACTOR ^ octets.len() as u64;
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(FACTOR);
        state ^= state >> 29;
    };
    let (words, rest) = octets.as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1;rport\r\nVia: SIP/2.0/UDP b\r\n\
        To: \"x;tag=no\" <sip:b;tag=no@c>;q=1;tag=abc\r\nContact: <sip:d>;expires=3\r\n\
        call-id:  1-2@h \r\nCSeq: 17 INVITE\r\nX: a\r\n  b\r\n\r\nTo: body";

    #[test]
    fn a_message_is_found_its_way_about() {
        let view = View::parse(OK).expect("it is SIP");
        assert_eq!(view.start, Start::Response(200));
        assert_eq!((view.call_id, view.cseq, view.cseq_method), (&b"1-2@h"[..], 17, &b"INVITE"[..]));
        assert_eq!(view.branch(), Some(&b"z9hG4bK1"[..]));
        assert_eq!(view.all(b"Via").count(), 2);
        assert_eq!(view.header(b"to").and_then(|to| parameter(to, b"tag")), Some(&b"abc"[..]));
        assert_eq!(view.header(b"Contact").map(uri_of), Some(&b"sip:d"[..]));
        assert_eq!(view.header(b"X"), Some(&b"a\r\n  b"[..]));
        assert_eq!(view.body(), b"To: body");
        assert_eq!(view.header(b"Foo"), None);
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in
            ["", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "BYE sip:a SIP/2.0\r\nTo: x\r\n\r\n", "SIP/2.0 20"]
        {
            assert!(View::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}

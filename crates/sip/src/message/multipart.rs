//! Multipart bodies (RFC 2046 §5.1, RFC 5621). Parts keep their octets.

use std::borrow::Cow;

use memchr::memmem;

use crate::header::{
    HeaderName, MediaType,
    scan::{is_token, trim},
};

/// Parts one body may hold.
pub const PARTS_MAX: usize = 32;

/// How deep [`find`] looks into multipart within multipart.
pub const DEPTH_MAX: usize = 4;

/// Header lines one part may have.
pub const PART_HEADERS_MAX: usize = 32;

/// One part of a multipart body.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    head: &'a str,
    body: &'a [u8],
}

impl<'a> Part<'a> {
    /// Its header lines: names and trimmed values as received.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.head;
        let lines = std::iter::from_fn(move || {
            let mut end = rest.find("\r\n")?;
            while rest[end + 2..].starts_with([' ', '\t']) {
                end += 2 + rest[end + 2..].find("\r\n")?;
            }
            let line = &rest[..end];
            rest = &rest[end + 2..];
            Some(line)
        });
        lines.take(PART_HEADERS_MAX).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.trim_end_matches([' ', '\t']);
            is_token(name).then_some((name, trim(value)))
        })
    }

    /// The first header of that name.
    pub fn header(&self, name: &HeaderName) -> Option<&'a str> {
        self.headers().find(|(text, _)| text.eq_ignore_ascii_case(name.as_str())).map(|(_, value)| value)
    }

    /// Its Content-Type; `None` if absent (which means `text/plain`) or malformed.
    pub fn content_type(&self) -> Option<MediaType<'a>> {
        MediaType::parse(self.header(&HeaderName::ContentType)?)
    }

    /// Its content, octet for octet.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} octets)", self.body.len())
    }
}

/// The parts of `body`, [`PARTS_MAX`] at most. A part that is not closed by a delimiter is left out, as are preamble and
/// epilogue.
pub fn parts<'a>(body: &'a [u8], content_type: &MediaType<'a>) -> impl Iterator<Item = Part<'a>> + use<'a> {
    let boundary = content_type.boundary().filter(|boundary| {
        content_type.main.eq_ignore_ascii_case("multipart") && (1..=70).contains(&boundary.len())
    });
    Parts { rest: boundary.and_then(|boundary| Delimiter(boundary).skip_preamble(body)) }.take(PARTS_MAX)
}

/// The first part of type `wanted` (as `application/sdp`), looked for depth first; a body that is no multipart is itself
/// the only candidate.
pub fn find<'a>(body: &'a [u8], content_type: &MediaType<'a>, wanted: &str) -> Option<&'a [u8]> {
    find_within(body, content_type, wanted, DEPTH_MAX)
}

fn find_within<'a>(
    body: &'a [u8],
    content_type: &MediaType<'a>,
    wanted: &str,
    depth: usize,
) -> Option<&'a [u8]> {
    if content_type.is(wanted) {
        return Some(body);
    }
    let depth = depth.checked_sub(1)?;
    parts(body, content_type).find_map(|part| find_within(part.body, &part.content_type()?, wanted, depth))
}

/// `--boundary` at the start of a line.
#[derive(Clone)]
struct Delimiter<'a>(Cow<'a, str>);

impl<'a> Delimiter<'a> {
    /// What follows the first delimiter's line.
    fn skip_preamble(self, body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_, rest) = self.cut(body)?;
        Some((self, rest?))
    }

    /// Cuts at the first delimiter line: what stands before its line end, and what follows it (`None` behind the closing one).
    fn cut<'b>(&self, octets: &'b [u8]) -> Option<(&'b [u8], Option<&'b [u8]>)> {
        let boundary = self.0.as_bytes();
        for at in memmem::find_iter(octets, boundary) {
            let Some(start) = at.checked_sub(2).filter(|&start| &octets[start..at] == b"--") else {
                continue;
            };
            let before = match &octets[..start] {
                [] => &octets[..0],
                [before @ .., b'\r', b'\n'] => before,
                _ => continue,
            };
            let after = &octets[at + boundary.len()..];
            if after.starts_with(b"--") {
                return Some((before, None));
            }
            // Only white space may stand between the boundary and its line end; else it was a longer boundary's start.
            let line_end =
                after.iter().position(|octet| !matches!(octet, b' ' | b'\t')).unwrap_or(after.len());
            if let Some(rest) = after[line_end..].strip_prefix(b"\r\n") {
                return Some((before, Some(rest)));
            }
        }
        None
    }
}

struct Parts<'a> {
    rest: Option<(Delimiter<'a>, &'a [u8])>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (delimiter, octets) = self.rest.take()?;
        let (content, after) = delimiter.cut(octets)?;
        self.rest = after.map(|after| (delimiter, after));
        // An empty first line means no headers (RFC 2046 §5.1).
        let (head, body) = match content.strip_prefix(b"\r\n") {
            Some(body) => (&content[..0], body),
            None => match memmem::find(content, b"\r\n\r\n") {
                Some(end) => (&content[..end + 2], &content[end + 4..]),
                None => (&content[..0], content),
            },
        };
        Some(Part { head: std::str::from_utf8(head).unwrap_or_default(), body })
    }
}

//! From octets to a message: one pass over the head, one notch per header line.

use bytes::Bytes;
use bytestring::ByteString;
use memchr::{memchr, memchr2};

use super::{
    Fault, MESSAGE_BYTES_MAX, Message, Method, ParseError, PartialRequest, Range, Rejection, Request,
    Response, StatusCode,
};
use crate::header::{
    HEADER_BYTES_MAX, HEADERS_MAX, HeaderName, Headers, Slot,
    scan::{is_token, is_token_octet, number},
};

/// Discriminant of a name that is not known.
const UNKNOWN: u8 = u8::MAX;

/// What the first line says.
enum StartLine {
    Request {
        method: Method,
        uri: Range,
    },
    Response {
        status: StatusCode,
        reason: Range,
    },
    /// A request by its looks, but not by the grammar: answered if its headers can be read.
    BrokenRequest {
        method: Method,
        fault: Fault,
    },
}

pub(super) fn message(bytes: Bytes) -> Result<Message, ParseError> {
    let octets: &[u8] = &bytes;
    let start = octets
        .iter()
        .position(|octet| !matches!(octet, b'\r' | b'\n'))
        .ok_or(ParseError::Dropped(Fault::KeepAlive))?;
    // What is larger than a datagram can only be our own framer's mistake, or a caller's: it is not looked into.
    if octets.len() > MESSAGE_BYTES_MAX {
        return Err(ParseError::Dropped(Fault::TooLarge));
    }
    let line_len = memchr2(b'\r', b'\n', &octets[start..]).ok_or(ParseError::Dropped(Fault::StartLine))?;
    let line_end = start + line_len;
    let start_line = std::str::from_utf8(&octets[start..line_end])
        .map_err(|_| Fault::Encoding)
        .and_then(|line| start_line(line, start))
        .map_err(ParseError::Dropped)?;
    let slots = Vec::with_capacity(Headers::EXPECTED);
    let mut index = Index { slots, fault: None, body: 0, head: ByteString::new() };
    index.read(&bytes, line_end);
    let Index { slots, fault, body, head } = index;
    let headers = Headers::new(bytes, head, slots);
    let (fault, body) = match fault {
        Some(fault) => (Some(fault), Range::default()),
        None => match body_range(&headers, body) {
            Ok(range) => (None, range),
            Err(fault) => (Some(fault), Range::default()),
        },
    };
    match (start_line, fault) {
        (StartLine::Request { method, uri }, None) => {
            Ok(Message::Request(Request { method, uri, body, source: None, overload: None, headers }))
        }
        (StartLine::Response { status, reason }, None) => {
            Ok(Message::Response(Response { status, reason, body, headers }))
        }
        (StartLine::Response { .. }, Some(fault)) => Err(ParseError::Dropped(fault)),
        (StartLine::Request { method, .. }, Some(fault))
        | (StartLine::BrokenRequest { method, fault }, _) => Err(refuse(fault, method, headers)),
    }
}

fn refuse(fault: Fault, method: Method, headers: Headers) -> ParseError {
    let request = PartialRequest { method, headers, source: None };
    if request.is_answerable() {
        ParseError::Rejected(Box::new(Rejection { request: Some(request), ..Rejection::new(fault) }))
    } else {
        ParseError::Dropped(fault)
    }
}

/// `line` begins at octet `at` of the message.
fn start_line(line: &str, at: usize) -> Result<StartLine, Fault> {
    let range = |part: &str, offset: usize| Range {
        start: (at + offset) as u32,
        end: (at + offset + part.len()) as u32,
    };
    // A method is a token and holds no slash, so this cannot be a request.
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return status_line(line, range);
    }
    let method_end = memchr(b' ', line.as_bytes()).ok_or(Fault::StartLine)?;
    let method = &line[..method_end];
    // Without a SIP version at its end (`GET / HTTP/1.1`) it is no request that waits for a SIP answer.
    let last_word = line.trim_end_matches([' ', '\t']).rsplit(' ').next().unwrap_or_default();
    if !is_token(method) || !last_word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return Err(Fault::StartLine);
    }
    let method = Method::from_token(method);
    let rest = &line[method_end + 1..];
    let Some(uri_end) = memchr::memrchr(b' ', rest.as_bytes()) else {
        return Ok(StartLine::BrokenRequest { method, fault: Fault::RequestLine });
    };
    let (uri, version) = (&rest[..uri_end], &rest[uri_end + 1..]);
    Ok(match version {
        _ if version.is_empty() || uri.is_empty() || uri.starts_with(' ') || uri.ends_with(' ') => {
            StartLine::BrokenRequest { method, fault: Fault::RequestLine }
        }
        // White space or a bracket inside: what the URI ends with is anybody's guess.
        _ if uri.bytes().any(|octet| octet <= b' ' || matches!(octet, b'<' | b'>' | b'"' | 0x7f)) => {
            StartLine::BrokenRequest { method, fault: Fault::RequestUri }
        }
        _ if version.eq_ignore_ascii_case("SIP/2.0") => {
            StartLine::Request { method, uri: range(uri, method_end + 1) }
        }
        _ => StartLine::BrokenRequest { method, fault: Fault::Version },
    })
}

/// `SIP/2.0 SP three digits SP reason`. A missing space behind the code is let through: it is common with empty reasons.
fn status_line(line: &str, range: impl Fn(&str, usize) -> Range) -> Result<StartLine, Fault> {
    let (version, rest) = line.split_once(' ').ok_or(Fault::StatusLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(Fault::Version);
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = Some(code).filter(|code| code.len() == 3).and_then(number).and_then(StatusCode::new);
    let status = status.ok_or(Fault::StatusLine)?;
    Ok(StartLine::Response { status, reason: range(reason, line.len() - reason.len()) })
}

/// The index under construction. After a fault the lines read so far stay, and reading goes on where that is possible, so that
/// a refusal finds its Via.
struct Index {
    slots: Vec<Slot>,
    fault: Option<Fault>,
    /// Where the body begins.
    body: usize,
    /// The head as text.
    head: ByteString,
}

impl Index {
    /// Reads all header lines; `line_end` is where the start line's text ends.
    fn read(&mut self, octets: &Bytes, line_end: usize) {
        let mut at = line_end;
        loop {
            // `at` stands on the end of a line: CR LF must follow.
            if octets.get(at..at + 2) != Some(b"\r\n") {
                let truncated = at >= octets.len();
                self.fail(if truncated { Fault::Truncated } else { Fault::HeaderLine });
                match memchr(b'\n', octets.get(at..).unwrap_or_default()) {
                    // A bare CR or LF: the rest of the line is lost, the next one may be sound.
                    Some(newline) => at += newline + 1,
                    None => break,
                }
            } else {
                at += 2;
            }
            if octets.get(at..at + 2) == Some(b"\r\n") {
                self.body = at + 2;
                break;
            }
            if at >= octets.len() {
                self.fail(Fault::Truncated);
                break;
            }
            at = self.header(octets, at);
            if self.slots.len() > HEADERS_MAX {
                self.slots.pop();
                self.fail(Fault::TooManyHeaders);
                break;
            }
        }
        let head_end = if self.body > 0 { self.body } else { at.min(octets.len()) };
        self.head = ByteString::try_from(octets.slice(..head_end)).unwrap_or_else(|_| {
            self.fail(Fault::Encoding);
            self.slots.retain(|slot| {
                std::str::from_utf8(&octets[slot.name_start as usize..slot.value_end as usize]).is_ok()
            });
            readable(&octets[..head_end]).into()
        });
    }

    /// Reads one line with its folds; answers where its text ends.
    fn header(&mut self, octets: &[u8], start: usize) -> usize {
        let mut end = line_text_end(octets, start);
        // A fold: the line end is followed by white space, and that by something (an empty line ends the head).
        while matches!(octets.get(end..end + 3), Some([b'\r', b'\n', b' ' | b'\t'])) {
            end = line_text_end(octets, end + 2);
        }
        match slot(&octets[start..end], start) {
            Some(slot) if end - start <= HEADER_BYTES_MAX => self.slots.push(slot),
            Some(_) => self.fail(Fault::TooManyHeaders),
            None => self.fail(Fault::HeaderLine),
        }
        end
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// `head` with `?` for each octet that makes no UTF-8, so that every other one stays in its place.
fn readable(head: &[u8]) -> String {
    let mut text = String::with_capacity(head.len());
    for chunk in head.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

fn line_text_end(octets: &[u8], start: usize) -> usize {
    memchr2(b'\r', b'\n', &octets[start..]).map_or(octets.len(), |len| start + len)
}

/// `name *white ":" value`; `at` is the line's place in the message.
fn slot(line: &[u8], at: usize) -> Option<Slot> {
    let name_len = line.iter().position(|&octet| !is_token_octet(octet))?;
    let name = &line[..name_len];
    let colon = name_len + line[name_len..].iter().position(|octet| !matches!(octet, b' ' | b'\t'))?;
    if name.is_empty() || line[colon] != b':' {
        return None;
    }
    let is_white = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    let value = &line[colon + 1..];
    let leading = value.iter().position(|octet| !is_white(octet)).unwrap_or(value.len());
    let trailing = value[leading..].iter().rev().position(|octet| !is_white(octet)).unwrap_or(0);
    Some(Slot {
        name_start: at as u32,
        value_start: (at + colon + 1 + leading) as u32,
        value_end: (at + line.len() - trailing) as u32,
        name_len: u16::try_from(name_len).ok()?,
        kind: HeaderName::from_bytes(name).map_or(UNKNOWN, |name| name as u8),
    })
}

/// Where the body lies: from `start`, as long as Content-Length says, to the end if nothing says so (RFC 3261 §18.3).
fn body_range(headers: &Headers, start: usize) -> Result<Range, Fault> {
    let available = headers.bytes().len().saturating_sub(start);
    let mut lengths =
        headers.all(&HeaderName::ContentLength).map(|value| number::<u32>(value).ok_or(Fault::ContentLength));
    let len = lengths.next().transpose()?;
    for other in lengths {
        if Some(other?) != len {
            return Err(Fault::ContentLength);
        }
    }
    let len = len.map_or(available, |len| len as usize);
    if len > available {
        return Err(Fault::BodyTruncated);
    }
    Ok(Range { start: start as u32, end: (start + len) as u32 })
}

//! Writing messages, straight into a buffer.
//!
//! Nothing written can add a header line: CR, LF and NUL in any name, value, URI or reason become spaces, whoever made
//! them. Only [`MessageWriter::copy_from`] and its kin keep the folds of a received line, which the parser has checked.

use std::{
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    header::{HeaderName, Headers, scan},
    message::{Method, StatusCode},
};

/// Writes one message behind whatever the buffer holds. Headers stand in the order of the calls; Content-Type, Content-Length
/// and the body follow when [`MessageWriter::finish`] is called.
pub struct MessageWriter<'b> {
    buf: &'b mut BytesMut,
    /// Where this message begins in the buffer.
    start: usize,
    /// Type and octets.
    body: &'b [u8],
    finished: bool,
}

impl<'b> MessageWriter<'b> {
    /// Begins a request.
    pub fn request(buf: &'b mut BytesMut, method: &Method, uri: impl fmt::Display) -> Self {
        let mut writer = Self::begin(buf);
        writer.text(method.as_str());
        writer.buf.put_u8(b' ');
        // A space in a URI would end it.
        writer.sanitized(uri, b' ', b"%20");
        writer.buf.put_slice(b" SIP/2.0\r\n");
        writer
    }

    /// Begins a response; `reason` `None` writes the usual phrase.
    pub fn response(buf: &'b mut BytesMut, status: StatusCode, reason: Option<&str>) -> Self {
        let writer = Self::begin(buf);
        writer.buf.put_slice(b"SIP/2.0 ");
        let reason = reason.unwrap_or(status.default_reason());
        Value(writer.buf).number(status.as_u16().into()).text(" ").text(reason);
        writer.buf.put_slice(b"\r\n");
        writer
    }

    /// Begins a response whose reason phrase is made on the spot.
    pub fn response_with(buf: &'b mut BytesMut, status: StatusCode, reason: impl fmt::Display) -> Self {
        let writer = Self::begin(buf);
        writer.buf.put_slice(b"SIP/2.0 ");
        Value(writer.buf).number(status.as_u16().into()).text(" ").display(reason);
        writer.buf.put_slice(b"\r\n");
        writer
    }

    /// Adds a header line.
    pub fn header(&mut self, name: &HeaderName, value: impl fmt::Display) -> &mut Self {
        self.line(name.as_str(), value)
    }

    /// Adds a header line whose value is a text: as [`MessageWriter::header`], without the detour of formatting.
    pub fn header_str(&mut self, name: &HeaderName, value: &str) -> &mut Self {
        self.header_with(name, |line| {
            line.text(value);
        })
    }

    /// Adds a header line whose value `write` puts together.
    pub fn header_with(&mut self, name: &HeaderName, write: impl FnOnce(&mut Value<'_>)) -> &mut Self {
        self.buf.put_slice(name.as_str().as_bytes());
        self.buf.put_slice(b": ");
        write(&mut Value(self.buf));
        self.buf.put_slice(b"\r\n");
        self
    }

    /// Adds a header line of any name. A name that is no token is left out, with its value: no peer could read it.
    pub fn header_text(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        if scan::is_token(name) { self.line(name, value) } else { self }
    }

    /// Adds every line of that name from a received message, values as received.
    pub fn copy_from(&mut self, headers: &Headers, name: &HeaderName) -> &mut Self {
        for value in headers.all(name) {
            self.verbatim(name.as_str(), value);
        }
        self
    }

    /// Adds every line of a received message for which `wanted` holds, names and values as received.
    pub fn copy_lines(
        &mut self,
        headers: &Headers,
        mut wanted: impl FnMut(Option<HeaderName>, &str) -> bool,
    ) -> &mut Self {
        for (known, name, value) in headers.lines() {
            if wanted(known, name) {
                self.verbatim(name, value);
            }
        }
        self
    }

    /// Sets the body. `content_type` empty writes no Content-Type, for a caller that copied it.
    pub fn body(&mut self, content_type: impl fmt::Display, body: &'b [u8]) -> &mut Self {
        let before = self.buf.len();
        self.line("Content-Type", content_type);
        if self.buf.len() == before + "Content-Type: \r\n".len() {
            self.buf.truncate(before);
        }
        self.body = body;
        self
    }

    /// Writes Content-Length, the empty line and the body, and takes the message off the buffer, which keeps what it held
    /// before. A buffer that was empty at the beginning keeps its spare room too, so it serves message after message.
    pub fn finish(&mut self) -> Bytes {
        debug_assert!(!self.finished, "a message is finished once");
        self.finished = true;
        let length = self.body.len() as u64;
        self.header_with(&HeaderName::ContentLength, |line| {
            line.number(length);
        });
        self.buf.put_slice(b"\r\n");
        self.buf.put_slice(self.body);
        match self.start {
            0 => self.buf.split().freeze(),
            start => self.buf.split_off(start).freeze(),
        }
    }

    fn begin(buf: &'b mut BytesMut) -> Self {
        let start = buf.len();
        Self { buf, start, body: &[], finished: false }
    }

    fn line(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.buf.put_slice(name.as_bytes());
        self.buf.put_slice(b": ");
        Value(self.buf).display(value);
        self.buf.put_slice(b"\r\n");
        self
    }

    /// A line of a received message: what the parser let through holds CR and LF as folds only.
    fn verbatim(&mut self, name: &str, value: &str) {
        self.buf.put_slice(name.as_bytes());
        self.buf.put_slice(b": ");
        self.buf.put_slice(value.as_bytes());
        self.buf.put_slice(b"\r\n");
    }

    fn text(&mut self, text: &str) {
        put_sanitized(self.buf, text, b'\r', b" ");
    }

    fn sanitized(&mut self, value: impl fmt::Display, also: u8, replacement: &'static [u8]) {
        // A Display that fails writes what it wrote so far: the line ends there, the message stays whole.
        let _ = write!(Sanitizer { buf: self.buf, also, replacement }, "{value}");
    }

    /// See [`Request::respond`](crate::message::Request::respond).
    pub(crate) fn copy_response_headers(
        &mut self,
        headers: &Headers,
        method: &Method,
        status: StatusCode,
        to_tag: Option<&str>,
        source: Option<SocketAddr>,
    ) {
        self.copy_vias(headers, source);
        if method.forms_dialog() && status != StatusCode::TRYING && status.as_u16() < 300 {
            self.copy_from(headers, &HeaderName::RecordRoute);
        }
        self.copy_from(headers, &HeaderName::From);
        self.copy_to(headers, to_tag.filter(|_| status != StatusCode::TRYING));
        self.copy_from(headers, &HeaderName::CallId);
        self.copy_from(headers, &HeaderName::CSeq);
        if status == StatusCode::TRYING {
            self.copy_from(headers, &HeaderName::Timestamp);
        }
    }

    /// To, with `tag` unless it has one.
    fn copy_to(&mut self, headers: &Headers, tag: Option<&str>) {
        let Some(to) = headers.first(&HeaderName::To) else { return };
        let has_tag = match headers.to() {
            Ok(to) => to.tag().is_some(),
            // Where a tag stands in a malformed To, if at all, can only be guessed at; the refusal needs one all the same.
            Err(_) => to.to_ascii_lowercase().contains(";tag"),
        };
        self.buf.put_slice(b"To: ");
        self.buf.put_slice(to.as_bytes());
        if let Some(tag) = tag.filter(|_| !has_tag) {
            self.buf.put_slice(b";tag=");
            self.text(tag);
        }
        self.buf.put_slice(b"\r\n");
    }

    /// All Via lines, the topmost value stamped with where the request came from.
    fn copy_vias(&mut self, headers: &Headers, source: Option<SocketAddr>) {
        for (index, line) in headers.all(&HeaderName::Via).enumerate() {
            match (headers.via(), source) {
                (Ok(via), Some(source)) if index == 0 => {
                    let end = scan::top_level(line, b',').unwrap_or(line.len());
                    self.buf.put_slice(b"Via: ");
                    via.write_stamped(source, &mut Value(self.buf));
                    self.buf.put_slice(&line.as_bytes()[end..]);
                    self.buf.put_slice(b"\r\n");
                }
                _ => self.verbatim("Via", line),
            }
        }
    }
}

/// Adds `text` with `replacement` for `also` and for what would end a line.
fn put_sanitized(buf: &mut BytesMut, text: &str, also: u8, replacement: &[u8]) {
    let is_bad = |octet: u8| ENDS_LINE[usize::from(octet)] || octet == also;
    if !text.bytes().any(is_bad) {
        buf.put_slice(text.as_bytes());
        return;
    }
    for octet in text.bytes() {
        if is_bad(octet) {
            buf.put_slice(replacement);
        } else {
            buf.put_u8(octet);
        }
    }
}

/// CR, LF and NUL.
const ENDS_LINE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'\r' as usize] = true;
    table[b'\n' as usize] = true;
    table[0] = true;
    table
};

/// A header value under construction, for what is made of several parts.
pub struct Value<'b>(&'b mut BytesMut);

impl Value<'_> {
    /// What `write` writes, for tests.
    #[cfg(test)]
    pub(crate) fn written(write: impl FnOnce(&mut Value<'_>)) -> String {
        let mut buf = BytesMut::new();
        write(&mut Value(&mut buf));
        String::from_utf8(buf.to_vec()).expect("only text is written")
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        put_sanitized(self.0, text, b'\r', b" ");
        self
    }

    /// Adds a number in decimal digits.
    pub fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.put_slice(&digits[start..]);
        self
    }

    /// Adds an address, IPv6 without brackets.
    pub fn ip(&mut self, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(ip) => {
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.text(".");
                    }
                    self.number(octet.into());
                }
                self
            }
            IpAddr::V6(ip) => self.display(ip),
        }
    }

    /// Adds `host:port`, an IPv6 address in brackets.
    pub fn socket_address(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            ip @ IpAddr::V4(_) => self.ip(ip),
            ip @ IpAddr::V6(_) => self.text("[").ip(ip).text("]"),
        };
        self.text(":").number(address.port().into())
    }

    /// Adds whatever can be shown.
    pub fn display(&mut self, value: impl fmt::Display) -> &mut Self {
        // A Display that fails writes what it wrote so far: the line ends there, the message stays whole.
        let _ = write!(Sanitizer { buf: self.0, also: b'\r', replacement: b" " }, "{value}");
        self
    }
}

/// Replaces what would end a line.
struct Sanitizer<'a> {
    buf: &'a mut BytesMut,
    also: u8,
    replacement: &'static [u8],
}

impl Write for Sanitizer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_sanitized(self.buf, text, self.also, self.replacement);
        Ok(())
    }
}

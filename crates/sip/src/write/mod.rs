//! Writing messages, straight into a buffer.
//!
//! Nothing written can add a header line: CR, LF and NUL in any name, value, URI or reason become spaces, whoever made
//! them. Only [`MessageWriter::copy_from`] and its kin keep the folds of a received line, which the parser has checked.

mod line;

pub use line::{HeaderValue, Line};

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    header::{HeaderName, Headers, scan},
    message::{Method, StatusCode},
    overload::OverloadFeedback,
};

/// What a response says in the topmost Via besides what stood there.
#[derive(Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) source: Option<SocketAddr>,
    pub(crate) overload: Option<&'a OverloadFeedback>,
}

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
    pub fn request(buf: &'b mut BytesMut, method: &Method, uri: impl HeaderValue) -> Self {
        let writer = Self::begin(buf);
        Line::new(writer.buf).text(method.as_str()).text(" ");
        uri.write(&mut Line::uri(writer.buf));
        writer.buf.put_slice(b" SIP/2.0\r\n");
        writer
    }

    /// Begins a response; `reason` `None` writes the usual phrase.
    pub fn response(buf: &'b mut BytesMut, status: StatusCode, reason: Option<&str>) -> Self {
        let writer = Self::begin(buf);
        writer.buf.put_slice(b"SIP/2.0 ");
        let reason = reason.unwrap_or(status.default_reason());
        Line::new(writer.buf).number(status.as_u16().into()).text(" ").text(reason);
        writer.buf.put_slice(b"\r\n");
        writer
    }

    /// Begins a response whose reason phrase is made on the spot.
    pub fn response_with(buf: &'b mut BytesMut, status: StatusCode, reason: impl std::fmt::Display) -> Self {
        let writer = Self::begin(buf);
        writer.buf.put_slice(b"SIP/2.0 ");
        Line::new(writer.buf).number(status.as_u16().into()).text(" ").display(reason);
        writer.buf.put_slice(b"\r\n");
        writer
    }

    /// Adds a header line.
    pub fn header(&mut self, name: &HeaderName, value: impl HeaderValue) -> &mut Self {
        self.line(name.as_str(), value)
    }

    /// Adds a header line whose value `write` puts together.
    pub fn header_with(&mut self, name: &HeaderName, write: impl FnOnce(&mut Line<'_>)) -> &mut Self {
        self.buf.put_slice(name.as_str().as_bytes());
        self.buf.put_slice(b": ");
        write(&mut Line::new(self.buf));
        self.buf.put_slice(b"\r\n");
        self
    }

    /// Adds a header line of any name. A name that is no token is left out, with its value: no peer could read it.
    pub fn header_text(&mut self, name: &str, value: impl HeaderValue) -> &mut Self {
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
    pub fn body(&mut self, content_type: impl HeaderValue, body: &'b [u8]) -> &mut Self {
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
        self.header(&HeaderName::ContentLength, length);
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

    fn line(&mut self, name: &str, value: impl HeaderValue) -> &mut Self {
        self.buf.put_slice(name.as_bytes());
        self.buf.put_slice(b": ");
        value.write(&mut Line::new(self.buf));
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

    /// See [`Request::respond`](crate::message::Request::respond).
    pub(crate) fn copy_response_headers(
        &mut self,
        headers: &Headers,
        method: &Method,
        status: StatusCode,
        to_tag: Option<&str>,
        stamp: Stamp<'_>,
    ) {
        self.copy_vias(headers, stamp);
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
            Line::new(self.buf).text(tag);
        }
        self.buf.put_slice(b"\r\n");
    }

    /// All Via lines, the topmost value stamped with where the request came from and what its sender is told of our load.
    fn copy_vias(&mut self, headers: &Headers, stamp: Stamp<'_>) {
        for (index, line) in headers.all(&HeaderName::Via).enumerate() {
            match (headers.via(), stamp.source) {
                (Ok(via), Some(source)) if index == 0 => {
                    let end = scan::top_level(line, b',').unwrap_or(line.len());
                    self.buf.put_slice(b"Via: ");
                    via.write_stamped(source, stamp.overload, &mut Line::new(self.buf));
                    self.buf.put_slice(&line.as_bytes()[end..]);
                    self.buf.put_slice(b"\r\n");
                }
                _ => self.verbatim("Via", line),
            }
        }
    }
}

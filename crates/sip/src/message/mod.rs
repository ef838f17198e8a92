//! SIP messages over the octets they came in (RFC 3261 §7).
//!
//! [`Message::parse`] reads the start line and indexes the headers; it copies nothing and judges little: only what makes
//! the message unreadable. [`validate()`] then says whether a request is one that RFC 3261 lets a server work on, and
//! [`Rejection`] carries enough to answer even one that could not be read whole.

mod error;
mod method;
pub mod multipart;
mod parse;
mod status;
pub mod stream;
pub mod validate;

pub use error::{Fault, ParseError, PartialRequest, Rejection};
pub use method::Method;
pub use status::StatusCode;
pub use validate::{validate, validate_response};

use std::{fmt, net::SocketAddr};

use bytes::{Bytes, BytesMut};

use crate::{
    header::Headers,
    overload::OverloadFeedback,
    uri::{Uri, UriError},
    write::{MessageWriter, Stamp},
};

/// Octets of one message, head and body: what fits a UDP datagram; streams get the same bound, so that a message can move
/// between transports.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A request or a response.
#[derive(Clone)]
pub enum Message {
    /// Asks for something.
    Request(Request),
    /// Answers.
    Response(Response),
}

impl Message {
    /// Reads a whole message: a datagram, or a frame that [`stream::Framer`] cut out of a stream.
    ///
    /// Empty lines before the start line and octets behind the body are ignored (RFC 3261 §7.5, §18.3).
    ///
    /// # Errors
    /// [`ParseError::Rejected`] for a request to be answered, [`ParseError::Dropped`] for what gets no answer.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        parse::message(bytes)
    }

    /// Its header lines.
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => request.headers(),
            Self::Response(response) => response.headers(),
        }
    }

    /// Its body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Request(request) => request.body(),
            Self::Response(response) => response.body(),
        }
    }

    /// The octets it was read from.
    pub fn bytes(&self) -> &Bytes {
        self.headers().bytes()
    }
}

/// Where a part of the message lies. Messages are shorter than 2^32 octets, see [`MESSAGE_BYTES_MAX`].
#[derive(Clone, Copy, Default)]
struct Range {
    start: u32,
    end: u32,
}

impl Range {
    fn octets(self, bytes: &Bytes) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn slice(self, bytes: &Bytes) -> Bytes {
        // `Bytes::slice` panics beyond the end; the ranges are the parser's own, but nothing here shall hang on that.
        let end = (self.end as usize).min(bytes.len());
        bytes.slice((self.start as usize).min(end)..end)
    }
}

/// A request. Clones share headers and text.
#[derive(Clone)]
pub struct Request {
    method: Method,
    uri: Range,
    body: Range,
    source: Option<SocketAddr>,
    /// Boxed: few clients ask for it.
    overload: Option<Box<OverloadFeedback>>,
    headers: Headers,
}

impl Request {
    /// Its method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as received.
    pub fn uri(&self) -> &str {
        self.headers.text(self.uri.start as usize, self.uri.end as usize)
    }

    /// The Request-URI by part.
    ///
    /// # Errors
    /// See [`UriError`].
    pub fn parsed_uri(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(self.uri())
    }

    /// Its header lines.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Its body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        self.body.octets(self.bytes())
    }

    /// Its body, shared with the message.
    pub fn body_bytes(&self) -> Bytes {
        self.body.slice(self.bytes())
    }

    /// The octets it was read from.
    pub fn bytes(&self) -> &Bytes {
        self.headers.bytes()
    }

    /// Remembers where it came from, so that [`Request::respond`] stamps `received` and `rport` into the topmost Via
    /// (RFC 3261 §18.2.1, RFC 3581 §4).
    pub const fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// Where it came from, if that was set.
    pub const fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Remembers what to tell the client of our load, so that [`Request::respond`] writes it into the topmost Via
    /// (RFC 7339 §5.3).
    pub fn set_overload_feedback(&mut self, feedback: OverloadFeedback) {
        self.overload = Some(Box::new(feedback));
    }

    /// Begins a response (RFC 3261 §8.2.6): Via values, From, To, Call-ID and CSeq are copied. `to_tag` is added to a To
    /// without tag unless the status is 100. 101 to 299 to a request that forms dialogs carry Record-Route (§12.1.1), 100
    /// carries Timestamp.
    pub fn respond<'b>(
        &self,
        buf: &'b mut BytesMut,
        status: StatusCode,
        to_tag: Option<&str>,
    ) -> MessageWriter<'b> {
        let mut writer = MessageWriter::response(buf, status, None);
        writer.copy_response_headers(&self.headers, &self.method, status, to_tag, self.stamp());
        writer
    }

    pub(crate) fn stamp(&self) -> Stamp<'_> {
        Stamp { source: self.source, overload: self.overload.as_deref() }
    }

    /// As [`Request::respond`], with a reason phrase of its own.
    pub fn respond_because<'b>(
        &self,
        buf: &'b mut BytesMut,
        status: StatusCode,
        reason: impl fmt::Display,
        to_tag: Option<&str>,
    ) -> MessageWriter<'b> {
        let mut writer = MessageWriter::response_with(buf, status, reason);
        writer.copy_response_headers(&self.headers, &self.method, status, to_tag, self.stamp());
        writer
    }
}

/// A response. Clones share headers and text.
#[derive(Clone)]
pub struct Response {
    status: StatusCode,
    reason: Range,
    body: Range,
    headers: Headers,
}

impl Response {
    /// Its status code.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its reason phrase as received; may be empty.
    pub fn reason(&self) -> &str {
        self.headers.text(self.reason.start as usize, self.reason.end as usize)
    }

    /// Its header lines.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Its body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        self.body.octets(self.bytes())
    }

    /// Its body, shared with the message.
    pub fn body_bytes(&self) -> Bytes {
        self.body.slice(self.bytes())
    }

    /// The octets it was read from.
    pub fn bytes(&self) -> &Bytes {
        self.headers.bytes()
    }
}

/// Shape only: URIs, headers and bodies are personal. An extension method is a peer's text, so it does not show either.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method =
            if let Method::Extension(_) = self.method { "(extension)" } else { self.method.as_str() };
        write!(f, "Request({method}, {} headers, {} octets of body)", self.headers.len(), self.body().len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Response({}, {} headers, {} octets of body)",
            self.status,
            self.headers.len(),
            self.body().len()
        )
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => request.fmt(f),
            Self::Response(response) => response.fmt(f),
        }
    }
}

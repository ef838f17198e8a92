//! What is wrong with a message, and how it is answered.

use std::{fmt, net::SocketAddr};

use bytes::BytesMut;

use super::{Method, StatusCode};
use crate::{
    header::{HeaderError, HeaderName, Headers},
    write::{MessageWriter, Stamp},
};

/// What is wrong with a message. The text of a fault is fit for a reason phrase: it repeats nothing the peer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1), no message.
    #[error("Keep-Alive")]
    KeepAlive,
    /// Neither a request line nor a status line.
    #[error("Bad Start Line")]
    StartLine,
    /// Malformed method, several spaces, or the like.
    #[error("Bad Request Line")]
    RequestLine,
    /// A status code that is not three digits in 100..=699.
    #[error("Bad Status Line")]
    StatusLine,
    /// The Request-URI is malformed, or carries headers or is in brackets.
    #[error("Bad Request-URI")]
    RequestUri,
    /// Not `SIP/2.0`.
    #[error("Version Not Supported")]
    Version,
    /// A header line without name or colon, or with a bare CR or LF.
    #[error("Bad Header Line")]
    HeaderLine,
    /// The head is no UTF-8.
    #[error("Not UTF-8")]
    Encoding,
    /// The empty line behind the headers is missing.
    #[error("Truncated Head")]
    Truncated,
    /// Content-Length is no number, or two of them differ.
    #[error("Bad Content-Length")]
    ContentLength,
    /// The body is shorter than Content-Length says.
    #[error("Body Shorter Than Content-Length")]
    BodyTruncated,
    /// The method of CSeq is another one.
    #[error("CSeq Method Mismatch")]
    CSeqMismatch,
    /// Larger than [`MESSAGE_BYTES_MAX`](super::MESSAGE_BYTES_MAX).
    #[error("Message Too Large")]
    TooLarge,
    /// More or longer header lines than allowed.
    #[error("Too Many Headers")]
    TooManyHeaders,
    /// A header a typed accessor refuses.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Fault {
    /// The status that answers it, if it is a request's: 505, 513 or 400.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::VERSION_NOT_SUPPORTED,
            Self::TooLarge | Self::TooManyHeaders | Self::Header(HeaderError::TooMany(_)) => {
                StatusCode::MESSAGE_TOO_LARGE
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why bytes gave no message.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// A request that is to be answered.
    #[error("request refused: {}", .0.fault)]
    Rejected(Box<Rejection>),
    /// A response, an ACK, or something so broken that nobody can be answered.
    #[error("message dropped: {0}")]
    Dropped(Fault),
}

impl ParseError {
    /// What is wrong.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Rejected(rejection) => rejection.fault,
            Self::Dropped(fault) => *fault,
        }
    }

    /// The status that answers it; `None` if nothing does.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Rejected(rejection) => Some(rejection.status),
            Self::Dropped(_) => None,
        }
    }
}

/// A request that is refused before it is looked at further.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The status that answers it.
    pub status: StatusCode,
    /// Why; its text is the reason phrase.
    pub fault: Fault,
    /// What was read of a request that [`Message::parse`](super::Message::parse) gave up. `None` from
    /// [`validate`](super::validate()), whose caller has the request.
    pub request: Option<PartialRequest>,
}

impl Rejection {
    /// A rejection of a request the caller holds.
    pub const fn new(fault: Fault) -> Self {
        Self { status: fault.status(), fault, request: None }
    }

    /// The reason phrase: names the fault (RFC 3261 §21.4.1).
    pub fn reason(&self) -> impl fmt::Display + '_ {
        self.fault
    }
}

impl From<HeaderError> for Rejection {
    fn from(error: HeaderError) -> Self {
        Self::new(Fault::Header(error))
    }
}

/// The best that could be read of a broken request: enough to answer it.
#[derive(Clone)]
pub struct PartialRequest {
    pub(super) method: Method,
    pub(super) headers: Headers,
    pub(super) source: Option<SocketAddr>,
}

impl PartialRequest {
    /// Its method; an empty extension if the request line could not be read.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The header lines that could be read.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// See [`Request::set_source`](super::Request::set_source).
    pub const fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// Begins the refusal, with what of Via, From, To, Call-ID and CSeq could be read (RFC 3261 §8.2.6.2).
    pub fn respond<'b>(
        &self,
        buf: &'b mut BytesMut,
        rejection: &Rejection,
        to_tag: Option<&str>,
    ) -> MessageWriter<'b> {
        let mut writer = MessageWriter::response_with(buf, rejection.status, rejection.fault);
        let stamp = Stamp { source: self.source, overload: None };
        writer.copy_response_headers(&self.headers, &self.method, rejection.status, to_tag, stamp);
        writer
    }

    /// Whether a refusal can find its way: there is a readable Via, and it is no ACK (which is never answered).
    pub(super) fn is_answerable(&self) -> bool {
        self.method != Method::Ack && self.headers.contains(&HeaderName::Via)
    }
}

impl fmt::Debug for PartialRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartialRequest({} headers)", self.headers.len())
    }
}

//! Why a description cannot be read.

use thiserror::Error;

/// The first fault met while reading a description. The peer is to blame: a SIP element answers an offer with it
/// by 400 (or 488 where the body is read but cannot be served). Names the line, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("session description, line {line}: {fault}")]
pub struct SdpError {
    /// Line number, the first is 1. Faults of the whole body name the last line read.
    pub line: u32,
    /// What is wrong with it.
    pub fault: Fault,
}

impl SdpError {
    /// Status that refuses a request with such a body.
    pub const fn status(self) -> u16 {
        400
    }
}

/// What is wrong with a line of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The body is longer than [`SessionDescription::MAX_BYTES`](crate::SessionDescription::MAX_BYTES).
    #[error("the body is longer than the limit")]
    BodyTooLong,
    /// More media sections than [`SessionDescription::MAX_MEDIA`](crate::SessionDescription::MAX_MEDIA).
    #[error("too many media sections")]
    TooManyMedia,
    /// More lines in one section than [`SessionDescription::MAX_SECTION_LINES`](crate::SessionDescription::MAX_SECTION_LINES).
    #[error("too many lines in one section")]
    TooManyLines,
    /// More formats in an `m=` line than [`SessionDescription::MAX_FORMATS`](crate::SessionDescription::MAX_FORMATS).
    #[error("too many formats")]
    TooManyFormats,
    /// The body is empty.
    #[error("the body is empty")]
    Empty,
    /// Not of the form `letter=value`.
    #[error("not of the form letter=value")]
    NotALine,
    /// A NUL or a carriage return inside a line: it would read as another line elsewhere.
    #[error("forbidden control byte")]
    ControlByte,
    /// A line whose value must be read is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The first line is not `v=0`.
    #[error("the first line must be v=0")]
    BadVersion,
    /// A line that stands once per section, or only before the media, stands again.
    #[error("the line must not stand here (again)")]
    Misplaced,
    /// No `o=` line.
    #[error("no o= line")]
    NoOrigin,
    /// `o=` is not `username id version IN IP4|IP6 address`.
    #[error("the o= line is malformed")]
    BadOrigin,
    /// `c=` is not `IN IP4|IP6 address`.
    #[error("the c= line is malformed")]
    BadConnection,
    /// `m=` is not `media port protocol formats`.
    #[error("the m= line is malformed")]
    BadMedia,
    /// The port of an `m=` line is not 0 to 65535, or its count not 1 to 255.
    #[error("the port of the m= line is out of range")]
    BadPort,
    /// A stream in use has no address: neither its section nor the session has a `c=` line (RFC 8866 §5.7).
    #[error("a stream in use has no c= line")]
    NoConnection,
}

//! The session description in a message, alone or within a multipart body.

use offhook_sdp::SessionDescription;
use offhook_sip::{header::Headers, message::multipart};

/// The Content-Type of a description (RFC 8866 §8.1).
pub const SDP: &str = "application/sdp";

/// What a message says of the session.
#[derive(Debug)]
pub enum Description {
    /// Nothing.
    None,
    /// This.
    Sdp(SessionDescription),
    /// Something that cannot be read.
    Malformed,
}

/// The description in a body, if there is one that can be read.
pub fn sdp(headers: &Headers, body: &[u8]) -> Option<SessionDescription> {
    match description(headers, body) {
        Description::Sdp(sdp) => Some(sdp),
        Description::None | Description::Malformed => None,
    }
}

/// Finds the description in a body.
pub fn description(headers: &Headers, body: &[u8]) -> Description {
    if body.is_empty() {
        return Description::None;
    }
    let Some(content_type) = headers.content_type() else { return Description::None };
    let text = if content_type.is(SDP) { Some(body) } else { multipart::find(body, &content_type, SDP) };
    match text.map(SessionDescription::parse_slice) {
        None => Description::None,
        Some(Ok(sdp)) => Description::Sdp(sdp),
        Some(Err(error)) => {
            tracing::debug!(%error, "description cannot be read");
            Description::Malformed
        }
    }
}

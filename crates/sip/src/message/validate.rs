//! Whether a readable request is one a server may work on: the checks of RFC 3261 §8.1.1 and §8.2 that need no state.

use super::{Fault, Method, Rejection, Request, Response, StatusCode};
use crate::{
    header::{HeaderError, HeaderName, Headers, MediaType, VIAS_MAX},
    uri::Uri,
};

/// Headers whose value may stand in a message once (RFC 3261 §7.3.1, §20, and the RFCs of the extensions).
const SINGLE: &[HeaderName] = &[
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::Expires,
    HeaderName::ContentType,
    HeaderName::SessionExpires,
    HeaderName::MinSe,
    HeaderName::RAck,
    HeaderName::Replaces,
    HeaderName::ReferTo,
    HeaderName::Event,
];

/// [`SINGLE`] as a set.
const SINGLE_SET: u128 = {
    let (mut set, mut index) = (0, 0);
    while index < SINGLE.len() {
        set |= SINGLE[index].bit();
        index += 1;
    }
    set
};

/// Checks a request.
///
/// # Errors
/// The first fault found, with the status that answers it. An ACK is never answered: drop it instead.
pub fn validate(request: &Request) -> Result<(), Rejection> {
    let headers = request.headers();
    request_uri(request.uri()).map_err(Rejection::new)?;
    common(headers).map_err(Rejection::new)?;
    if headers.cseq()?.method != request.method().as_str() {
        return Err(Rejection::new(Fault::CSeqMismatch));
    }
    // RFC 2543 peers send no Max-Forwards; one that is there must be 0..=255.
    if headers.contains(&HeaderName::MaxForwards) && headers.max_forwards().is_none() {
        return Err(HeaderError::Malformed(HeaderName::MaxForwards).into());
    }
    extensions(headers)?;
    Ok(())
}

/// Checks a response; one with a fault is dropped (RFC 3261 §8.1.3.3, RFC 4475 §3.1.2.5).
///
/// # Errors
/// The first fault found.
pub fn validate_response(response: &Response) -> Result<(), Fault> {
    common(response.headers())
}

/// What requests and responses share.
fn common(headers: &Headers) -> Result<(), Fault> {
    if let Some(name) = headers.first_repeated(SINGLE_SET) {
        return Err(HeaderError::Repeated(name).into());
    }
    headers.call_id()?;
    headers.cseq()?;
    for (name, address) in [(HeaderName::From, headers.from()?), (HeaderName::To, headers.to()?)] {
        address.parsed_uri().map_err(|_| HeaderError::Malformed(name))?;
    }
    vias(headers)?;
    for contact in headers.contacts()?.as_slice() {
        contact.name_addr.parsed_uri().map_err(|_| HeaderError::Malformed(HeaderName::Contact))?;
    }
    Ok(())
}

/// All are well-formed and speak SIP/2.0.
fn vias(headers: &Headers) -> Result<(), HeaderError> {
    let malformed = HeaderError::Malformed(HeaderName::Via);
    if !headers.via()?.is_sip_2() {
        return Err(malformed);
    }
    for (index, via) in headers.further_vias().enumerate() {
        if index + 1 == VIAS_MAX {
            return Err(HeaderError::TooMany(HeaderName::Via));
        }
        if !via?.is_sip_2() {
            return Err(malformed);
        }
    }
    Ok(())
}

/// A SIP Request-URI carries no headers (RFC 3261 §19.1.1, RFC 4475 §3.1.2.11).
fn request_uri(text: &str) -> Result<(), Fault> {
    let uri = Uri::parse(text).map_err(|_| Fault::RequestUri)?;
    if uri.headers.is_empty() { Ok(()) } else { Err(Fault::RequestUri) }
}

/// Headers that are optional, but well-formed where they are.
fn extensions(headers: &Headers) -> Result<(), HeaderError> {
    for name in [HeaderName::Route, HeaderName::RecordRoute, HeaderName::Path, HeaderName::ReferTo] {
        for address in headers.addresses(&name) {
            address?;
        }
    }
    if headers.contains(&HeaderName::ContentType) && headers.content_type().is_none() {
        return Err(HeaderError::Malformed(HeaderName::ContentType));
    }
    for (name, is_missing) in
        [(HeaderName::Expires, headers.expires().is_none()), (HeaderName::MinSe, headers.min_se().is_none())]
    {
        if headers.contains(&name) && is_missing {
            return Err(HeaderError::Malformed(name));
        }
    }
    headers.session_expires()?;
    headers.rack()?;
    headers.replaces()?;
    headers.target_dialog()?;
    headers.event()?;
    Ok(())
}

/// Whether a server that knows `sip`, `sips` and `tel` can serve the Request-URI: else 416 (RFC 3261 §8.2.2.1).
pub fn has_known_scheme(request: &Request) -> bool {
    request.parsed_uri().is_ok_and(|uri| !matches!(uri.scheme, crate::uri::Scheme::Other(_)))
}

/// The option tags of Require that `known` does not hold: if there is one, the answer is 420 with them in Unsupported
/// (RFC 3261 §8.2.2.3). Not to be asked for ACK and CANCEL.
pub fn unsupported_extensions<'a>(request: &'a Request, known: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let is_exempt = matches!(request.method(), Method::Ack | Method::Cancel);
    request
        .headers()
        .require()
        .filter(move |tag| !is_exempt && !known.iter().any(|other| other.eq_ignore_ascii_case(tag)))
}

/// 415 if the body is of none of the `known` types (as `application/sdp`) or is encoded (RFC 3261 §8.2.3); a body whose
/// Content-Disposition says `handling=optional` is never refused.
pub fn body_refusal(request: &Request, known: &[&str]) -> Option<StatusCode> {
    if request.body().is_empty() {
        return None;
    }
    let headers = request.headers();
    let is_optional = headers
        .first(&HeaderName::ContentDisposition)
        .is_some_and(|value| value.to_ascii_lowercase().replace(' ', "").contains("handling=optional"));
    let is_encoded = headers
        .values(&HeaderName::ContentEncoding)
        .any(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    let is_known = |kind: MediaType<'_>| known.iter().any(|name| kind.is(name));
    (!is_optional && (is_encoded || !headers.content_type().is_some_and(is_known)))
        .then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// Whether the sender takes a body of type `name` (as `application/sdp`) in the answer: no Accept header means SDP only
/// (RFC 3261 §20.1).
pub fn accepts(request: &Request, name: &str) -> bool {
    let Some(wanted) = MediaType::parse(name) else { return false };
    match request.headers().accept() {
        Some(mut ranges) => ranges.any(|range| range.covers(&wanted)),
        None => wanted.is("application/sdp"),
    }
}

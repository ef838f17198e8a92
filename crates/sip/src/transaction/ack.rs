//! The requests a transaction builds itself from its INVITE: the ACK of a failure (§17.1.1.3) and the CANCEL (§9.1).

use bytes::{Bytes, BytesMut};

use crate::{
    header::{HeaderError, HeaderName},
    message::{Message, Method, Request, Response},
    write::MessageWriter,
};

/// The ACK of a 300-699: hop by hop, on the INVITE's branch, with the response's To. `None` if the INVITE lacks what it
/// is built from, which a request of ours does not.
pub(super) fn for_failure(invite: &Bytes, response: &Response) -> Option<Bytes> {
    let Ok(Message::Request(invite)) = Message::parse(invite.clone()) else { return None };
    let to = response.headers().first(&HeaderName::To)?;
    let mut buffer = BytesMut::with_capacity(ACK_BYTES);
    write_sibling(&invite, &Method::Ack, to, None, &mut buffer).ok()
}

/// The CANCEL of an INVITE, and its branch: the INVITE's.
pub(super) fn cancel_of(
    invite: &Bytes,
    reason: Option<&str>,
    buffer: &mut BytesMut,
) -> Option<(Box<str>, Bytes)> {
    let Ok(Message::Request(invite)) = Message::parse(invite.clone()) else { return None };
    let to = invite.headers().first(&HeaderName::To)?;
    let branch = invite.headers().via().ok()?.branch()?.into();
    let cancel = write_sibling(&invite, &Method::Cancel, to, reason, buffer).ok()?;
    Some((branch, cancel))
}

/// A usual ACK; a longer one grows the buffer.
const ACK_BYTES: usize = 512;

/// Same Request-URI, top Via, From, Call-ID, CSeq number and Route as the INVITE; no body.
fn write_sibling(
    invite: &Request,
    method: &Method,
    to: &str,
    reason: Option<&str>,
    buffer: &mut BytesMut,
) -> Result<Bytes, HeaderError> {
    let headers = invite.headers();
    let missing = |name: HeaderName| move || HeaderError::Missing(name);
    let top_via = headers.values(&HeaderName::Via).next().ok_or_else(missing(HeaderName::Via))?;
    let from = headers.first(&HeaderName::From).ok_or_else(missing(HeaderName::From))?;
    let number = headers.cseq()?.number;
    let mut writer = MessageWriter::request(buffer, method, invite.uri());
    writer.header(&HeaderName::Via, top_via);
    writer.header(&HeaderName::MaxForwards, 70_u8);
    for route in headers.all(&HeaderName::Route) {
        writer.header(&HeaderName::Route, route);
    }
    writer.header(&HeaderName::From, from);
    writer.header(&HeaderName::To, to);
    writer.header(&HeaderName::CallId, headers.call_id()?);
    writer.header(&HeaderName::CSeq, format_args!("{number} {}", method.as_str()));
    if let Some(reason) = reason {
        writer.header(&HeaderName::Reason, reason);
    }
    Ok(writer.finish())
}

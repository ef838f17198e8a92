//! A Binding server and the request of a client. RFC 8489 §6.3.

use std::net::SocketAddr;

use super::{AttributeType, Class, METHOD_BINDING, Message, MessageWriter, StunWriteError, TransactionId};

/// Longest answer in bytes: header, address of IPv6, ERROR-CODE with a short phrase, a list of unknown
/// attributes, FINGERPRINT.
const ANSWER_LEN_MAX: usize = 128;
/// Most unknown attributes named in a refusal: enough to diagnose, too few to amplify.
const UNKNOWN_LISTED_MAX: usize = 8;

/// The bytes that answer a request, on the stack.
#[derive(Clone, Copy)]
pub struct Answer {
    bytes: [u8; ANSWER_LEN_MAX],
    len: usize,
}

impl Answer {
    /// What goes back to the asker.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for Answer {
    /// Without the bytes: they hold the asker's address.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Answers a Binding request that came from `source`: where we see it, or 420 for attributes we do not know
/// (RFC 8489 §6.3.1). None for anything but a sound Binding request: indications and answers get no answer.
///
/// Credentials are not asked for, so USERNAME and MESSAGE-INTEGRITY in the request are ignored.
pub fn answer_binding(request: &[u8], source: SocketAddr) -> Option<Answer> {
    let message = Message::parse(request).ok()?;
    if message.method() != METHOD_BINDING || message.class() != Class::Request {
        return None;
    }
    let mut bytes = [0; ANSWER_LEN_MAX];
    let len = write_answer(&message, source, &mut bytes).ok()?;
    Some(Answer { bytes, len })
}

fn write_answer(
    request: &Message<'_>,
    source: SocketAddr,
    buffer: &mut [u8],
) -> Result<usize, StunWriteError> {
    let mut unknown = [0; 2 * UNKNOWN_LISTED_MAX];
    let mut unknown_len = 0;
    let types = request.attributes().map(|attribute| attribute.attribute_type);
    for (place, AttributeType(number)) in
        unknown.chunks_exact_mut(2).zip(types.filter(|t| t.must_be_understood() && !t.is_known()))
    {
        place.copy_from_slice(&number.to_be_bytes());
        unknown_len += 2;
    }
    let class = if unknown_len == 0 { Class::Success } else { Class::Error };
    let mut writer = MessageWriter::new(buffer, METHOD_BINDING, class, request.transaction_id())?;
    if unknown_len == 0 {
        // A dual-stack socket shows IPv4 askers as mapped IPv6; they asked over IPv4.
        let seen = SocketAddr::new(source.ip().to_canonical(), source.port());
        writer.xor_mapped_address(seen)?;
    } else {
        writer.error_code(420, "Unknown Attribute")?;
        writer.attribute(AttributeType::UNKNOWN_ATTRIBUTES, &unknown[..unknown_len])?;
    }
    // §7: an answer carries a fingerprint where the request did.
    if request.attribute(AttributeType::FINGERPRINT).is_some() {
        writer.fingerprint()
    } else {
        Ok(writer.finish())
    }
}

/// A Binding request as a client keeps a flow open with it (RFC 5626 §4.4.2): no attributes at all.
pub fn binding_request(transaction_id: TransactionId) -> [u8; super::HEADER_LEN] {
    let mut bytes = [0; super::HEADER_LEN];
    let written = MessageWriter::new(&mut bytes, METHOD_BINDING, Class::Request, transaction_id);
    debug_assert!(written.is_ok(), "a header fits a buffer of its length");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId(*b"123456789012");

    fn ask(attributes: &[(u16, &[u8])], fingerprint: bool) -> Vec<u8> {
        let mut buffer = [0; 512];
        let mut writer = MessageWriter::new(&mut buffer, METHOD_BINDING, Class::Request, ID).unwrap();
        for &(number, value) in attributes {
            writer.attribute(AttributeType(number), value).unwrap();
        }
        let len = if fingerprint { writer.fingerprint().unwrap() } else { writer.finish() };
        buffer[..len].to_vec()
    }

    #[test]
    fn the_asker_learns_where_it_is_seen() {
        for source in ["192.0.2.1:32853", "[2001:db8::1]:7"] {
            let source = source.parse().unwrap();
            let answer = answer_binding(&binding_request(ID), source).unwrap();
            let message = Message::parse(answer.as_bytes()).unwrap();
            assert_eq!((message.class(), message.transaction_id()), (Class::Success, ID));
            let address = message.attribute(AttributeType::XOR_MAPPED_ADDRESS).unwrap().address();
            assert_eq!(address, Some(source));
            assert!(message.attribute(AttributeType::FINGERPRINT).is_none());
        }
    }

    #[test]
    fn an_ipv4_asker_on_a_dual_stack_socket_sees_its_ipv4_address() {
        let answer = answer_binding(&binding_request(ID), "[::ffff:192.0.2.1]:9".parse().unwrap()).unwrap();
        let message = Message::parse(answer.as_bytes()).unwrap();
        let address = message.attribute(AttributeType::XOR_MAPPED_ADDRESS).unwrap().address();
        assert_eq!(address, Some("192.0.2.1:9".parse().unwrap()));
    }

    #[test]
    fn unknown_attributes_that_must_be_understood_are_refused_by_name() {
        let request = ask(&[(0x8022, b"x"), (0x7001, b""), (0xc001, b""), (0x0025, b"")], true);
        let answer = answer_binding(&request, "192.0.2.1:9".parse().unwrap()).unwrap();
        let message = Message::parse(answer.as_bytes()).unwrap();
        assert_eq!(message.class(), Class::Error);
        let code = message.attribute(AttributeType::ERROR_CODE).unwrap().error_code().unwrap();
        assert_eq!((code.code, code.reason), (420, b"Unknown Attribute".as_slice()));
        let listed = message.attribute(AttributeType::UNKNOWN_ATTRIBUTES).unwrap();
        let listed: Vec<_> = listed.unknown_attributes().map(|t| t.0).collect();
        assert_eq!(listed, [0x7001, 0x0025]);
        assert!(message.attribute(AttributeType::FINGERPRINT).is_some());
    }

    #[test]
    fn a_request_full_of_unknown_attributes_is_still_answered_shortly() {
        let attributes: Vec<(u16, &[u8])> = (0..30).map(|n| (0x7000 + n, b"".as_slice())).collect();
        let answer = answer_binding(&ask(&attributes, true), "[2001:db8::1]:7".parse().unwrap()).unwrap();
        let message = Message::parse(answer.as_bytes()).unwrap();
        let listed = message.attribute(AttributeType::UNKNOWN_ATTRIBUTES).unwrap();
        assert_eq!(listed.unknown_attributes().count(), UNKNOWN_LISTED_MAX);
    }

    #[test]
    fn only_sound_binding_requests_are_answered() {
        let source = "192.0.2.1:9".parse().unwrap();
        let answer = answer_binding(&binding_request(ID), source).unwrap();
        assert!(answer_binding(answer.as_bytes(), source).is_none(), "an answer to an answer would loop");
        let mut indication = binding_request(ID);
        indication[1] |= 0x10;
        assert!(answer_binding(&indication, source).is_none());
        let mut broken = ask(&[], true);
        *broken.last_mut().unwrap() ^= 1;
        assert!(answer_binding(&broken, source).is_none());
    }
}

//! STUN Binding (RFC 8489): the question "from where do you see me?" and its answer.
//!
//! Phones ask it on a SIP flow to keep their NAT open (RFC 5626 §4.4.2) and on RTP ports before they call. Short-term
//! credentials are checked and written for ICE-like uses; TURN and long-term credentials are not spoken here.

mod attribute;
mod binding;
mod fingerprint;
mod writer;

pub use attribute::{Attribute, AttributeType, Attributes, ErrorCode};
pub use binding::{Answer, answer_binding, binding_request};
pub use writer::{MessageWriter, StunWriteError};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::read;

/// Length of the header, in bytes. RFC 8489 §5.
pub const HEADER_LEN: usize = 20;
/// Longest message read or written, in bytes: RFC 8489 §6.1 keeps requests below the smallest IPv6 MTU.
pub const MESSAGE_LEN_MAX: usize = 1280;
/// Most attributes in a message we read: the RFC's own requests carry fewer than ten.
pub const ATTRIBUTE_COUNT_MAX: usize = 32;

/// RFC 8489 §5.
const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Bytes of an HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;

/// 96 random bits that bind an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// What a message is within its method. RFC 8489 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The answer.
    Success,
    /// The refusal.
    Error,
}

/// The method of RFC 8489; others are TURN's.
pub const METHOD_BINDING: u16 = 1;

/// Why bytes are not a STUN message. The peer's doing: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Shorter than a header, longer than we read, or not as long as the header says.
    #[error("STUN message of {0} bytes has a wrong length")]
    Length(usize),
    /// The first two bits or the magic cookie say that it is something else. RFC 3489 clients are among these.
    #[error("not a STUN message")]
    NotStun,
    /// An attribute reaches past the end, or there are more than [`ATTRIBUTE_COUNT_MAX`].
    #[error("STUN attributes do not fit their message")]
    Attributes,
    /// FINGERPRINT is there and wrong, or not the last attribute. RFC 8489 §14.7.
    #[error("STUN fingerprint does not match")]
    Fingerprint,
}

/// A message whose bounds and fingerprint (if it has one) hold.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    method: u16,
    class: Class,
}

impl std::fmt::Debug for Message<'_> {
    /// Without attributes: they hold addresses and user names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, class, .. } = self;
        f.debug_struct("Message").field("method", method).field("class", class).finish_non_exhaustive()
    }
}

impl<'a> Message<'a> {
    /// Checks the message that is all of `bytes`. RFC 8489 §6.3.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let len = bytes.len();
        if !(HEADER_LEN..=MESSAGE_LEN_MAX).contains(&len) {
            return Err(StunError::Length(len));
        }
        let message_type = u16::from_be_bytes([bytes[0], bytes[1]]);
        if message_type & 0xc000 != 0 || read(bytes, 4) != Some(MAGIC_COOKIE.to_be_bytes()) {
            return Err(StunError::NotStun);
        }
        let body_len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        if body_len + HEADER_LEN != len || body_len % 4 != 0 {
            return Err(StunError::Length(len));
        }
        let (method, class) = split_type(message_type);
        let message = Self { bytes, method, class };
        message.check_attributes()?;
        Ok(message)
    }

    fn check_attributes(&self) -> Result<(), StunError> {
        let mut at = HEADER_LEN;
        let mut count = 0;
        for attribute in self.raw_attributes() {
            count += 1;
            if count > ATTRIBUTE_COUNT_MAX {
                return Err(StunError::Attributes);
            }
            let end = attribute.offset + 4 + attribute.value.len().next_multiple_of(4);
            if attribute.attribute_type == AttributeType::FINGERPRINT {
                let sum = fingerprint::of(&self.bytes[..attribute.offset]);
                if end != self.bytes.len() || attribute.value != sum.to_be_bytes() {
                    return Err(StunError::Fingerprint);
                }
            }
            at = end;
        }
        if at == self.bytes.len() { Ok(()) } else { Err(StunError::Attributes) }
    }

    /// [`METHOD_BINDING`] or another.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Request, indication, success or error.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The transaction.
    pub fn transaction_id(&self) -> TransactionId {
        TransactionId(read(self.bytes, 8).unwrap_or_default())
    }

    /// The attributes in order, each with the first of its type counting (RFC 8489 §14). Those after
    /// MESSAGE-INTEGRITY, except FINGERPRINT, are not covered by it and are left out (§14.5).
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes, self.transaction_id(), true)
    }

    fn raw_attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes, self.transaction_id(), false)
    }

    /// The value of the first attribute of this type.
    pub fn attribute(&self, attribute_type: AttributeType) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.attribute_type == attribute_type)
    }

    /// True if the sender proves that it knows `password` (short-term credential, RFC 8489 §9.1), in constant time;
    /// false also where there is no MESSAGE-INTEGRITY.
    pub fn verify_integrity(&self, password: &[u8]) -> bool {
        let Some(attribute) = self.attribute(AttributeType::MESSAGE_INTEGRITY) else { return false };
        let covered = &self.bytes[..attribute.offset];
        integrity_mac(password, covered).is_some_and(|mac| mac.verify_slice(attribute.value).is_ok())
    }
}

/// The MAC over a message up to MESSAGE-INTEGRITY, with the length it has when it ends with that attribute.
fn integrity_mac(password: &[u8], covered: &[u8]) -> Option<Hmac<Sha1>> {
    let (header, body) = covered.split_first_chunk::<HEADER_LEN>()?;
    let mut header = *header;
    let len = u16::try_from(body.len() + 4 + INTEGRITY_LEN).ok()?;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    // HMAC takes keys of any length; the password is OpaqueString-prepared by the caller (RFC 8489 §9.1.1).
    let mut mac = Hmac::<Sha1>::new_from_slice(password).ok()?;
    mac.update(&header);
    mac.update(body);
    Some(mac)
}

/// Method and class share fourteen bits: the class sits at bits 4 and 8. RFC 8489 §5 figure 3.
const fn split_type(message_type: u16) -> (u16, Class) {
    let method = message_type & 0xf | (message_type & 0xe0) >> 1 | (message_type & 0x3e00) >> 2;
    let class = match message_type & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    (method, class)
}

const fn join_type(method: u16, class: Class) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    method & 0xf | (method & 0x70) << 1 | (method & 0xf80) << 2 | class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_class_are_woven_as_rfc_8489_figure_3_says() {
        assert_eq!(join_type(METHOD_BINDING, Class::Success), 0x0101);
        assert_eq!(join_type(METHOD_BINDING, Class::Error), 0x0111);
        for method in 0..0x1000 {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                assert_eq!(split_type(join_type(method, class)), (method, class));
            }
        }
    }

    #[test]
    fn more_attributes_than_the_bound_are_refused() {
        let message = |count: usize| {
            let mut bytes = vec![0, 1, 0, (4 * count) as u8, 0x21, 0x12, 0xa4, 0x42];
            bytes.extend([7; 12]);
            (0..count).for_each(|_| bytes.extend([0x80, 0x22, 0, 0]));
            bytes
        };
        assert!(Message::parse(&message(ATTRIBUTE_COUNT_MAX)).is_ok());
        assert_eq!(Message::parse(&message(ATTRIBUTE_COUNT_MAX + 1)).unwrap_err(), StunError::Attributes);
    }
}

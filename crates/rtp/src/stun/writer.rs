//! Writing a STUN message into a caller's buffer.

use std::net::{IpAddr, SocketAddr};

use hmac::Mac;

use super::{
    AttributeType, Class, HEADER_LEN, INTEGRITY_LEN, MAGIC_COOKIE, TransactionId, attribute::xor_address,
    fingerprint, integrity_mac, join_type,
};

/// Why a message could not be written. Ours, never the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunWriteError {
    /// The buffer is full.
    #[error("STUN buffer of {0} bytes is full")]
    NoRoom(usize),
}

/// Appends attributes to a message; MESSAGE-INTEGRITY comes last but for FINGERPRINT (RFC 8489 §14.5).
#[derive(Debug)]
pub struct MessageWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
    transaction_id: TransactionId,
}

impl<'b> MessageWriter<'b> {
    /// Begins a message at the start of `buffer`.
    pub fn new(
        buffer: &'b mut [u8],
        method: u16,
        class: Class,
        transaction_id: TransactionId,
    ) -> Result<Self, StunWriteError> {
        let no_room = StunWriteError::NoRoom(buffer.len());
        let header = buffer.first_chunk_mut::<HEADER_LEN>().ok_or(no_room)?;
        header[..2].copy_from_slice(&join_type(method, class).to_be_bytes());
        header[2..4].fill(0);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&transaction_id.0);
        Ok(Self { buffer, len: HEADER_LEN, transaction_id })
    }

    /// Appends an attribute with any value; padded with zeros, though RFC 8489 §14 lets padding be anything.
    pub fn attribute(&mut self, attribute_type: AttributeType, value: &[u8]) -> Result<(), StunWriteError> {
        let no_room = StunWriteError::NoRoom(self.buffer.len());
        let value_len = u16::try_from(value.len()).map_err(|_| no_room)?;
        let end = self.len + 4 + value.len().next_multiple_of(4);
        let body_len = u16::try_from(end - HEADER_LEN).map_err(|_| no_room)?;
        let place = self.buffer.get_mut(self.len..end).ok_or(no_room)?;
        place[..2].copy_from_slice(&attribute_type.0.to_be_bytes());
        place[2..4].copy_from_slice(&value_len.to_be_bytes());
        place[4..4 + value.len()].copy_from_slice(value);
        place[4 + value.len()..].fill(0);
        self.buffer[2..4].copy_from_slice(&body_len.to_be_bytes());
        self.len = end;
        Ok(())
    }

    /// Appends XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> Result<(), StunWriteError> {
        let hidden = xor_address(address, self.transaction_id);
        self.address(AttributeType::XOR_MAPPED_ADDRESS, hidden)
    }

    /// Appends MAPPED-ADDRESS.
    pub fn mapped_address(&mut self, address: SocketAddr) -> Result<(), StunWriteError> {
        self.address(AttributeType::MAPPED_ADDRESS, address)
    }

    fn address(&mut self, attribute_type: AttributeType, address: SocketAddr) -> Result<(), StunWriteError> {
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&address.port().to_be_bytes());
        let len = match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&ip.octets());
                20
            }
        };
        self.attribute(attribute_type, &value[..len])
    }

    /// Appends ERROR-CODE with a code of 300–699 and a phrase of at most 124 bytes, the rest of it cut off.
    pub fn error_code(&mut self, code: u16, reason: &str) -> Result<(), StunWriteError> {
        let mut value = [0; 128];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        let reason_len = reason.floor_char_boundary(value.len() - 4);
        value[4..4 + reason_len].copy_from_slice(&reason.as_bytes()[..reason_len]);
        self.attribute(AttributeType::ERROR_CODE, &value[..4 + reason_len])
    }

    /// Appends MESSAGE-INTEGRITY with the short-term `password`. RFC 8489 §14.5.
    pub fn message_integrity(&mut self, password: &[u8]) -> Result<(), StunWriteError> {
        let no_room = StunWriteError::NoRoom(self.buffer.len());
        let mac = integrity_mac(password, &self.buffer[..self.len]).ok_or(no_room)?;
        let value: [u8; INTEGRITY_LEN] = mac.finalize().into_bytes().into();
        self.attribute(AttributeType::MESSAGE_INTEGRITY, &value)
    }

    /// Appends FINGERPRINT, after which nothing may follow. RFC 8489 §14.7.
    pub fn fingerprint(mut self) -> Result<usize, StunWriteError> {
        let start = self.len;
        // Placed first, so that the length field counts it before the sum is taken.
        self.attribute(AttributeType::FINGERPRINT, &[0; 4])?;
        let sum = fingerprint::of(&self.buffer[..start]);
        self.buffer[start + 4..self.len].copy_from_slice(&sum.to_be_bytes());
        Ok(self.len)
    }

    /// Ends the message and returns its length in bytes.
    pub const fn finish(self) -> usize {
        self.len
    }
}

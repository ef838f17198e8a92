//! Attributes: type, length, value, padded to words. RFC 8489 §14.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{HEADER_LEN, MAGIC_COOKIE, TransactionId};
use crate::read;

/// An attribute's type. Those below 0x8000 must be understood. RFC 8489 §18.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// Where the asker is seen, in clear; kept for old clients. §14.1.
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// Who asks, with short-term or long-term credentials. §14.3.
    pub const USERNAME: Self = Self(0x0006);
    /// HMAC-SHA1 of what stands before it. §14.5.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// Why a request is refused. §14.8.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// Which attributes were not understood. §14.13.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// Where the asker is seen, hidden from NATs that rewrite addresses in payloads. §14.2.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// What the sender runs. §14.14.
    pub const SOFTWARE: Self = Self(0x8022);
    /// CRC-32 of the message. §14.7.
    pub const FINGERPRINT: Self = Self(0x8028);

    /// False where a receiver may ignore what it does not know.
    pub const fn must_be_understood(self) -> bool {
        self.0 < 0x8000
    }

    /// True for the attributes of RFC 8489 itself: REALM, NONCE and the SHA-256 family are known, though not used.
    pub const fn is_known(self) -> bool {
        matches!(
            self.0,
            0x0001 | 0x0006 | 0x0008 | 0x0009 | 0x000a | 0x0014 | 0x0015 | 0x001c | 0x001d | 0x001e | 0x0020
        )
    }
}

/// A refusal: 300–699 and a phrase. RFC 8489 §14.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// 300–699.
    pub code: u16,
    /// For a diagnosing reader; UTF-8 by the RFC, unchecked here.
    pub reason: &'a [u8],
}

/// An attribute as it lies in its message. Values hold user names and addresses: hence no `Debug`.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    /// What it is.
    pub attribute_type: AttributeType,
    /// Without padding.
    pub value: &'a [u8],
    /// Where it starts in the message, in bytes.
    pub(super) offset: usize,
    transaction_id: TransactionId,
}

impl<'a> Attribute<'a> {
    /// The address of a MAPPED-ADDRESS or XOR-MAPPED-ADDRESS; none for others and for broken ones.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.attribute_type {
            AttributeType::MAPPED_ADDRESS => decode_address(self.value),
            AttributeType::XOR_MAPPED_ADDRESS => {
                decode_address(self.value).map(|address| xor_address(address, self.transaction_id))
            }
            _ => None,
        }
    }

    /// The refusal of an ERROR-CODE; none for others and for broken ones.
    pub fn error_code(&self) -> Option<ErrorCode<'a>> {
        let (&[_, _, class, number], reason) = self.value.split_first_chunk()?;
        let class = class & 7;
        let whole =
            self.attribute_type == AttributeType::ERROR_CODE && (3..=6).contains(&class) && number < 100;
        whole.then(|| ErrorCode { code: u16::from(class) * 100 + u16::from(number), reason })
    }

    /// The types listed in an UNKNOWN-ATTRIBUTES; empty for others.
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + use<'a> {
        let listed = self.attribute_type == AttributeType::UNKNOWN_ATTRIBUTES;
        let types = if listed { self.value } else { &[] };
        types.chunks_exact(2).map(|pair| AttributeType(u16::from_be_bytes([pair[0], pair[1]])))
    }
}

fn decode_address(value: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(read(value, 2)?);
    let ip = match (value[1], value.len()) {
        (1, 8) => IpAddr::V4(Ipv4Addr::from(read::<4>(value, 4)?)),
        (2, 20) => IpAddr::V6(Ipv6Addr::from(read::<16>(value, 4)?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Hides an address from NATs, or shows it again: port and IPv4 by the cookie, IPv6 by cookie and transaction. §14.2.
pub(super) fn xor_address(address: SocketAddr, transaction_id: TransactionId) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() ^ MAGIC_COOKIE)),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&transaction_id.0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)))
        }
    };
    SocketAddr::new(ip, address.port() ^ (MAGIC_COOKIE >> 16) as u16)
}

/// Iterator over [`Attribute`]s; ends at the first that does not fit.
#[derive(Clone)]
pub struct Attributes<'a> {
    message: &'a [u8],
    transaction_id: TransactionId,
    at: usize,
    /// Leave out what MESSAGE-INTEGRITY does not cover.
    covered_only: bool,
    past_integrity: bool,
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(message: &'a [u8], transaction_id: TransactionId, covered_only: bool) -> Self {
        Self { message, transaction_id, at: HEADER_LEN, covered_only, past_integrity: false }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let offset = self.at;
            let attribute_type = AttributeType(u16::from_be_bytes(read(self.message, offset)?));
            let len = usize::from(u16::from_be_bytes(read(self.message, offset + 2)?));
            let padded = self.message.get(offset + 4..offset + 4 + len.next_multiple_of(4))?;
            self.at = offset + 4 + padded.len();
            let uncovered = self.past_integrity && attribute_type != AttributeType::FINGERPRINT;
            self.past_integrity |= attribute_type == AttributeType::MESSAGE_INTEGRITY;
            if !(uncovered && self.covered_only) {
                let transaction_id = self.transaction_id;
                return Some(Attribute { attribute_type, value: &padded[..len], offset, transaction_id });
            }
        }
    }
}

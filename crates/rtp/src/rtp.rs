//! RTP packets (RFC 3550 §5.1) as views over received bytes, rewritten where they lie.
//!
//! [`Header`] checks what is in clear even under SRTP: the fixed header, the CSRC list and the extension.
//! [`Packet`] adds the padding, which SRTP encrypts. [`HeaderMut`] changes the fields a relay may change, and
//! [`PacketWriter`] makes a packet from nothing.

mod extension;
mod field;
mod writer;

pub use extension::{ExtensionElement, ExtensionElements, HeaderExtension};
pub use field::{PayloadType, SequenceNumber, Ssrc, Timestamp};
pub use writer::{FixedHeader, PacketWriter, RtpWriteError};

use crate::read;

/// Length of the part every packet has, in bytes. RFC 3550 §5.1.
pub const FIXED_HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet. The peer's doing: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// The datagram ends within the header that its own bits announce.
    #[error("RTP packet of {len} bytes ends before its header does")]
    Truncated {
        /// Bytes received.
        len: usize,
    },
    /// RFC 3550 §5.1: two.
    #[error("RTP version {0} where 2 is spoken")]
    Version(u8),
    /// RFC 3550 §5.1: the padding count includes itself and lies within the payload.
    #[error("RTP padding of {padding} bytes in {available} bytes of payload")]
    Padding {
        /// What the last byte says.
        padding: u8,
        /// Bytes after the header.
        available: usize,
    },
}

/// Where the parts of a checked header end, in bytes from the start.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    csrc_end: usize,
    header_end: usize,
}

impl Bounds {
    fn check(bytes: &[u8]) -> Result<Self, RtpError> {
        let truncated = RtpError::Truncated { len: bytes.len() };
        if bytes.len() < FIXED_HEADER_LEN {
            return Err(truncated);
        }
        let version = bytes[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version(version));
        }
        let csrc_end = FIXED_HEADER_LEN + 4 * usize::from(bytes[0] & 0x0f);
        let header_end = if bytes[0] & 0x10 == 0 {
            csrc_end
        } else {
            let words = read::<2>(bytes, csrc_end + 2).ok_or(truncated)?;
            csrc_end + 4 + 4 * usize::from(u16::from_be_bytes(words))
        };
        if bytes.len() < header_end { Err(truncated) } else { Ok(Self { csrc_end, header_end }) }
    }
}

/// A header whose bounds hold. What follows it may be encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    bytes: &'a [u8],
    bounds: Bounds,
}

impl<'a> Header<'a> {
    /// Checks version and bounds of the header at the start of `bytes`. Constant time.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        Ok(Self { bytes, bounds: Bounds::check(bytes)? })
    }

    /// Length in bytes with CSRC list and extension: where the payload begins.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        self.bounds.header_end
    }

    /// The marker bit; its meaning is the profile's (RFC 3551 §4.1: first packet after silence).
    pub const fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// True if the payload ends in padding.
    pub const fn has_padding(&self) -> bool {
        self.bytes[0] & 0x20 != 0
    }

    /// What the payload is.
    pub const fn payload_type(&self) -> PayloadType {
        PayloadType::from_low_bits(self.bytes[1])
    }

    /// Counts packets, modulo 2^16.
    pub const fn sequence_number(&self) -> SequenceNumber {
        SequenceNumber(u16::from_be_bytes([self.bytes[2], self.bytes[3]]))
    }

    /// Sampling instant of the first payload byte, in units of the payload type's clock.
    pub const fn timestamp(&self) -> Timestamp {
        Timestamp(u32::from_be_bytes([self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]]))
    }

    /// Who sends.
    pub const fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from_be_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]]))
    }

    /// Whose sources a mixer put together: 0 to 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + use<'a> {
        let list = &self.bytes[FIXED_HEADER_LEN..self.bounds.csrc_end];
        list.chunks_exact(4).map(|csrc| Ssrc(u32::from_be_bytes([csrc[0], csrc[1], csrc[2], csrc[3]])))
    }

    /// The header extension, if the X bit is set. RFC 3550 §5.3.1.
    pub fn extension(&self) -> Option<HeaderExtension<'a>> {
        let extension = self.bytes.get(self.bounds.csrc_end..self.bounds.header_end)?;
        let (start, data) = extension.split_at_checked(4)?;
        Some(HeaderExtension { profile: u16::from_be_bytes([start[0], start[1]]), data })
    }
}

/// A whole packet in clear.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: Header<'a>,
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// Checks header and padding of the packet that is all of `bytes`. Constant time.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let header = Header::parse(bytes)?;
        let available = bytes.len() - header.len();
        if !header.has_padding() {
            return Ok(Self { header, payload_end: bytes.len() });
        }
        // With nothing after the header, the last byte would be the header's own.
        let padding = if available == 0 { 0 } else { bytes[bytes.len() - 1] };
        if padding == 0 || usize::from(padding) > available {
            return Err(RtpError::Padding { padding, available });
        }
        Ok(Self { header, payload_end: bytes.len() - usize::from(padding) })
    }

    /// The header.
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The payload without padding; may be empty (a packet of padding alone is a keep-alive, RFC 6263 §4.6).
    pub fn payload(&self) -> &'a [u8] {
        &self.header.bytes[self.header.len()..self.payload_end]
    }

    /// Bytes of padding, with the count byte.
    pub const fn padding_len(&self) -> usize {
        self.header.bytes.len() - self.payload_end
    }
}

/// A checked header that is rewritten in place: what a relay does so that two streams become one (RFC 3550 §7.1
/// calls it a translator).
#[derive(Debug)]
pub struct HeaderMut<'a> {
    bytes: &'a mut [u8],
    bounds: Bounds,
}

impl<'a> HeaderMut<'a> {
    /// Checks version and bounds of the header at the start of `bytes`.
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, RtpError> {
        let bounds = Bounds::check(bytes)?;
        Ok(Self { bytes, bounds })
    }

    /// The header as it now stands.
    pub const fn as_header(&self) -> Header<'_> {
        Header { bytes: self.bytes, bounds: self.bounds }
    }

    /// Sets the marker bit.
    pub fn set_marker(&mut self, marker: bool) {
        self.bytes[1] = self.bytes[1] & 0x7f | u8::from(marker) << 7;
    }

    /// Sets the payload type.
    pub fn set_payload_type(&mut self, payload_type: PayloadType) {
        self.bytes[1] = self.bytes[1] & 0x80 | payload_type.as_u8();
    }

    /// Sets the sequence number.
    pub fn set_sequence_number(&mut self, sequence_number: SequenceNumber) {
        self.bytes[2..4].copy_from_slice(&sequence_number.0.to_be_bytes());
    }

    /// Sets the timestamp.
    pub fn set_timestamp(&mut self, timestamp: Timestamp) {
        self.bytes[4..8].copy_from_slice(&timestamp.0.to_be_bytes());
    }

    /// Sets the source.
    pub fn set_ssrc(&mut self, ssrc: Ssrc) {
        self.bytes[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3550 figure of §5.1 with one CSRC, an extension of one word and two bytes of padding.
    const FULL: [u8; 28] = [
        0xb1, 0xe0, 0xf1, 0x7b, 0x80, 0x41, 0xf8, 0xd3, 0x55, 0x01, 0xa0, 0xb2, 0, 0, 0, 7, 0xbe, 0xde, 0, 1,
        0x10, 0x2a, 0, 0, b'h', b'i', 0, 2,
    ];

    #[test]
    fn every_field_is_read_from_its_place() {
        let packet = Packet::parse(&FULL).unwrap();
        let header = packet.header();
        assert!(header.marker() && header.has_padding());
        assert_eq!(header.payload_type().as_u8(), 96);
        assert_eq!(header.sequence_number(), SequenceNumber(0xf17b));
        assert_eq!(header.timestamp(), Timestamp(0x8041_f8d3));
        assert_eq!(header.ssrc(), Ssrc(0x5501_a0b2));
        assert_eq!(header.csrcs().collect::<Vec<_>>(), [Ssrc(7)]);
        let extension = header.extension().unwrap();
        assert_eq!((extension.profile, extension.data), (0xbede, [0x10, 0x2a, 0, 0].as_slice()));
        assert_eq!((packet.payload(), packet.padding_len()), (b"hi".as_slice(), 2));
    }

    #[test]
    fn every_shorter_prefix_is_refused() {
        for len in 0..FULL.len() - 4 {
            assert!(Header::parse(&FULL[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn padding_that_reaches_into_the_header_is_refused() {
        let mut bytes = FULL;
        for (padding, accepted) in [(0, false), (1, true), (4, true), (5, false), (255, false)] {
            bytes[27] = padding;
            assert_eq!(Packet::parse(&bytes).is_ok(), accepted, "padding {padding}");
        }
        assert_eq!(Packet::parse(&FULL[..24]).unwrap_err(), RtpError::Padding { padding: 0, available: 0 });
    }

    #[test]
    fn only_version_2_is_spoken() {
        let mut bytes = FULL;
        for version in [0, 1, 3] {
            bytes[0] = version << 6;
            assert_eq!(Header::parse(&bytes).unwrap_err(), RtpError::Version(version));
        }
    }

    #[test]
    fn rewriting_touches_nothing_but_the_field() {
        let mut bytes = FULL;
        let mut header = HeaderMut::parse(&mut bytes).unwrap();
        header.set_payload_type(PayloadType::new(8).unwrap());
        header.set_sequence_number(SequenceNumber(1));
        header.set_timestamp(Timestamp(2));
        header.set_ssrc(Ssrc(3));
        assert!(header.as_header().marker());
        header.set_marker(false);
        assert_eq!(bytes[..12], [0xb1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(bytes[12..], FULL[12..]);
    }
}

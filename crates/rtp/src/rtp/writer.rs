//! Writing a packet from nothing: tones, announcements, telephone events, keep-alives.

use super::{FIXED_HEADER_LEN, HeaderExtension, PayloadType, SequenceNumber, Ssrc, Timestamp};

/// The fields every packet has. RFC 3550 §5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// First packet after silence, for audio. RFC 3551 §4.1.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// One more than that of the packet before.
    pub sequence_number: SequenceNumber,
    /// Sampling instant of the first payload byte.
    pub timestamp: Timestamp,
    /// Who sends.
    pub ssrc: Ssrc,
}

/// Most CSRCs a header can name: the count has four bits.
const CSRC_COUNT_MAX: usize = 15;

/// Why a packet could not be written. Ours, never the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpWriteError {
    /// The buffer is too short for the packet.
    #[error("RTP packet needs {needed} bytes, the buffer has {available}")]
    NoRoom {
        /// Bytes the packet takes.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// More than 15 CSRCs.
    #[error("RTP packet with {0} CSRCs where 15 fit")]
    TooManyCsrcs(usize),
    /// The extension is not whole words, or more than 65535 of them.
    #[error("RTP header extension of {0} bytes is not 0 to 65535 whole words")]
    ExtensionLength(usize),
}

/// A packet to be written. Everything but the fixed header is optional.
#[derive(Clone, Copy, Debug)]
pub struct PacketWriter<'a> {
    header: FixedHeader,
    csrcs: &'a [Ssrc],
    extension: Option<HeaderExtension<'a>>,
    payload: &'a [u8],
    padding_len: u8,
}

impl<'a> PacketWriter<'a> {
    /// A packet of a header and `payload`.
    pub const fn new(header: FixedHeader, payload: &'a [u8]) -> Self {
        Self { header, csrcs: &[], extension: None, payload, padding_len: 0 }
    }

    /// Names the sources that were mixed, at most 15.
    pub const fn csrcs(self, csrcs: &'a [Ssrc]) -> Self {
        Self { csrcs, ..self }
    }

    /// Adds a header extension.
    pub const fn extension(self, extension: HeaderExtension<'a>) -> Self {
        Self { extension: Some(extension), ..self }
    }

    /// Appends `len` bytes of padding, its count byte included; 0, the default, is none.
    pub const fn padding(self, len: u8) -> Self {
        Self { padding_len: len, ..self }
    }

    /// Bytes the packet takes.
    pub fn written_len(&self) -> usize {
        FIXED_HEADER_LEN
            + 4 * self.csrcs.len()
            + self.extension.map_or(0, |extension| 4 + extension.data.len())
            + self.payload.len()
            + usize::from(self.padding_len)
    }

    /// Writes the packet to the start of `buffer` and returns its length.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, RtpWriteError> {
        if self.csrcs.len() > CSRC_COUNT_MAX {
            return Err(RtpWriteError::TooManyCsrcs(self.csrcs.len()));
        }
        let extension_len = self.extension.map_or(0, |extension| extension.data.len());
        let words = u16::try_from(extension_len / 4).ok().filter(|_| extension_len.is_multiple_of(4));
        let words = words.ok_or(RtpWriteError::ExtensionLength(extension_len))?;
        let needed = self.written_len();
        let available = buffer.len();
        let Some(out) = buffer.get_mut(..needed) else {
            return Err(RtpWriteError::NoRoom { needed, available });
        };
        let FixedHeader { marker, payload_type, sequence_number, timestamp, ssrc } = self.header;
        let (fixed, mut rest) = out.split_at_mut(FIXED_HEADER_LEN);
        fixed[0] = 0x80
            | u8::from(self.padding_len > 0) << 5
            | u8::from(self.extension.is_some()) << 4
            | self.csrcs.len() as u8;
        fixed[1] = u8::from(marker) << 7 | payload_type.as_u8();
        fixed[2..4].copy_from_slice(&sequence_number.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&timestamp.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
        let mut put = |bytes: &[u8]| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            here.copy_from_slice(bytes);
            rest = after;
        };
        self.csrcs.iter().for_each(|csrc| put(&csrc.0.to_be_bytes()));
        if let Some(extension) = self.extension {
            put(&extension.profile.to_be_bytes());
            put(&words.to_be_bytes());
            put(extension.data);
        }
        put(self.payload);
        if let Some((count, zeros)) = rest.split_last_mut() {
            zeros.fill(0);
            *count = self.padding_len;
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FixedHeader = FixedHeader {
        marker: true,
        payload_type: PayloadType::PCMA,
        sequence_number: SequenceNumber(1),
        timestamp: Timestamp(2),
        ssrc: Ssrc(3),
    };

    #[test]
    fn a_plain_packet_is_twelve_bytes_and_its_payload() {
        let mut buffer = [0xff; 16];
        assert_eq!(PacketWriter::new(HEADER, b"abcd").write(&mut buffer), Ok(16));
        assert_eq!(buffer, *b"\x80\x88\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03abcd");
    }

    #[test]
    fn what_does_not_fit_is_refused_before_a_byte_is_written() {
        let mut buffer = [0xff; 15];
        let no_room = RtpWriteError::NoRoom { needed: 16, available: 15 };
        assert_eq!(PacketWriter::new(HEADER, b"abcd").write(&mut buffer), Err(no_room));
        let odd = HeaderExtension { profile: 0xbede, data: &[1, 2, 3] };
        let written = PacketWriter::new(HEADER, b"").extension(odd).write(&mut buffer);
        assert_eq!(written, Err(RtpWriteError::ExtensionLength(3)));
        let csrcs = [Ssrc(1); 16];
        let written = PacketWriter::new(HEADER, b"").csrcs(&csrcs).write(&mut buffer);
        assert_eq!(written, Err(RtpWriteError::TooManyCsrcs(16)));
        assert_eq!(buffer, [0xff; 15]);
    }
}

//! Writing a compound packet into a caller's buffer.

use super::{HEADER_LEN, ReportBlock, SenderInfo, packet_type};
use crate::rtp::Ssrc;

/// Most report blocks, chunks or sources in one packet: the count has five bits.
const COUNT_MAX: usize = 31;
/// Longest text of an SDES item or a BYE reason, in bytes: its length has eight bits.
const TEXT_LEN_MAX: usize = 255;

/// Why a compound could not be written. Ours, never the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpWriteError {
    /// The buffer is full. Packets written before stay.
    #[error("RTCP buffer of {0} bytes is full")]
    NoRoom(usize),
    /// More than 31 report blocks or sources.
    #[error("RTCP packet with {0} entries where 31 fit")]
    TooMany(usize),
    /// More than 255 bytes of text.
    #[error("RTCP text of {0} bytes where 255 fit")]
    TextLength(usize),
}

/// Appends packets to a compound. The order is the caller's: a report comes first (RFC 3550 §6.1).
///
/// ```
/// # use offhook_rtp::{rtcp::{Compound, CompoundRules, CompoundWriter}, rtp::Ssrc};
/// let mut buffer = [0; 128];
/// let mut writer = CompoundWriter::new(&mut buffer);
/// writer.receiver_report(Ssrc(1), &[])?;
/// writer.source_description(Ssrc(1), "k3x9")?;
/// assert_eq!(Compound::parse(writer.written(), CompoundRules::Full).unwrap().packets().count(), 2);
/// # Ok::<(), offhook_rtp::rtcp::RtcpWriteError>(())
/// ```
#[derive(Debug)]
pub struct CompoundWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> CompoundWriter<'b> {
    /// Writes to the start of `buffer`.
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// What has been written.
    pub fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Its length in bytes.
    pub const fn written_len(&self) -> usize {
        self.len
    }

    /// Appends a sender report with at most 31 blocks.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<(), RtcpWriteError> {
        self.packet(packet_type::SENDER_REPORT, blocks.len(), |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            body.put(&info.to_bytes())?;
            blocks.iter().try_for_each(|block| body.put(&block.to_bytes()))
        })
    }

    /// Appends a receiver report with at most 31 blocks.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<(), RtcpWriteError> {
        self.packet(packet_type::RECEIVER_REPORT, blocks.len(), |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            blocks.iter().try_for_each(|block| body.put(&block.to_bytes()))
        })
    }

    /// Appends a source description of one source with its canonical name, at most 255 bytes. RFC 7022 asks for a
    /// random one: a name or address here would follow the user from call to call.
    pub fn source_description(&mut self, ssrc: Ssrc, canonical_name: &str) -> Result<(), RtcpWriteError> {
        let len = text_len(canonical_name)?;
        self.packet(packet_type::SOURCE_DESCRIPTION, 1, |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            body.put(&[1, len])?;
            body.put(canonical_name.as_bytes())?;
            // The list of items ends with a zero even where it would end at a word.
            body.put(&[0])
        })
    }

    /// Appends a goodbye of at most 31 sources with a reason of at most 255 bytes; none if empty.
    pub fn goodbye(&mut self, sources: &[Ssrc], reason: &str) -> Result<(), RtcpWriteError> {
        let len = text_len(reason)?;
        self.packet(packet_type::GOODBYE, sources.len(), |body| {
            sources.iter().try_for_each(|ssrc| body.put(&ssrc.0.to_be_bytes()))?;
            if reason.is_empty() {
                return Ok(());
            }
            body.put(&[len])?;
            body.put(reason.as_bytes())
        })
    }

    /// Writes header and body, fills the last word with zeros and sets the length; nothing is kept on failure.
    fn packet(
        &mut self,
        packet_type: u8,
        count: usize,
        write_body: impl FnOnce(&mut Body<'_>) -> Result<(), RtcpWriteError>,
    ) -> Result<(), RtcpWriteError> {
        if count > COUNT_MAX {
            return Err(RtcpWriteError::TooMany(count));
        }
        let mut body = Body { bytes: &mut self.buffer[self.len..], len: 0 };
        body.put(&[0x80 | count as u8, packet_type, 0, 0])?;
        write_body(&mut body)?;
        body.put(&[0; 3][..body.len.next_multiple_of(4) - body.len])?;
        let len = body.len;
        // 31 blocks of 24 bytes are 192 words: far within sixteen bits.
        let words = ((len - HEADER_LEN) / 4) as u16;
        body.bytes[2..4].copy_from_slice(&words.to_be_bytes());
        self.len += len;
        Ok(())
    }
}

fn text_len(text: &str) -> Result<u8, RtcpWriteError> {
    debug_assert_eq!(TEXT_LEN_MAX, usize::from(u8::MAX));
    u8::try_from(text.len()).map_err(|_| RtcpWriteError::TextLength(text.len()))
}

struct Body<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Body<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), RtcpWriteError> {
        let end = self.len + bytes.len();
        let size = self.bytes.len();
        self.bytes.get_mut(self.len..end).ok_or(RtcpWriteError::NoRoom(size))?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_does_not_fit_leaves_those_before_it() {
        let mut buffer = [0; 20];
        let mut writer = CompoundWriter::new(&mut buffer);
        writer.receiver_report(Ssrc(7), &[]).unwrap();
        assert_eq!(writer.goodbye(&[Ssrc(7)], "gone for good"), Err(RtcpWriteError::NoRoom(12)));
        assert_eq!(writer.written(), [0x80, 201, 0, 1, 0, 0, 0, 7]);
        writer.goodbye(&[Ssrc(7)], "bye").unwrap();
        assert_eq!(writer.written()[8..], *b"\x81\xcb\0\x02\0\0\0\x07\x03bye");
    }

    #[test]
    fn counts_and_texts_are_bounded() {
        let mut buffer = [0; 2048];
        let mut writer = CompoundWriter::new(&mut buffer);
        let blocks = [ReportBlock::default(); 32];
        assert_eq!(writer.receiver_report(Ssrc(1), &blocks), Err(RtcpWriteError::TooMany(32)));
        assert_eq!(writer.receiver_report(Ssrc(1), &blocks[..31]), Ok(()));
        let long = "x".repeat(256);
        assert_eq!(writer.goodbye(&[], &long), Err(RtcpWriteError::TextLength(256)));
        assert_eq!(writer.source_description(Ssrc(1), &long[..255]), Ok(()));
    }
}

//! Sender and receiver reports. RFC 3550 §6.4.

use offhook_base::UtcMillis;

use crate::{
    read,
    rtp::{Ssrc, Timestamp},
};

/// Length of a report block, in bytes.
pub(super) const REPORT_BLOCK_LEN: usize = 24;
/// Length of the sender information, in bytes.
pub(super) const SENDER_INFO_LEN: usize = 20;

/// Wall-clock time as RTCP carries it: seconds since 1900-01-01 and a 32-bit fraction. RFC 3550 §4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTimestamp(pub u64);

impl NtpTimestamp {
    /// Seconds from 1900-01-01 to 1970-01-01.
    const UNIX_EPOCH_SECS: i64 = 2_208_988_800;

    /// Wraps in 2036, as NTP does.
    pub const fn from_utc(utc: UtcMillis) -> Self {
        let secs = (utc.as_secs() + Self::UNIX_EPOCH_SECS) as u64;
        let millis = utc.0.rem_euclid(1000) as u64;
        Self((secs << 32) | ((millis << 32) / 1000))
    }

    /// The middle 32 bits, in 1/65536 s: what LSR carries back.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// What a sender says of its own stream. RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was sent.
    pub ntp: NtpTimestamp,
    /// The same instant in units of the media clock.
    pub rtp: Timestamp,
    /// Packets sent, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent, modulo 2^32.
    pub octets: u32,
}

impl SenderInfo {
    fn parse(body: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            ntp: NtpTimestamp(u64::from_be_bytes(read(body, at)?)),
            rtp: Timestamp(u32::from_be_bytes(read(body, at + 8)?)),
            packets: u32::from_be_bytes(read(body, at + 12)?),
            octets: u32::from_be_bytes(read(body, at + 16)?),
        })
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> [u8; SENDER_INFO_LEN] {
        let mut bytes = [0; SENDER_INFO_LEN];
        bytes[..8].copy_from_slice(&self.ntp.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.rtp.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.packets.to_be_bytes());
        bytes[16..].copy_from_slice(&self.octets.to_be_bytes());
        bytes
    }
}

/// What a receiver says of one stream. RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whose stream.
    pub ssrc: Ssrc,
    /// Lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning, −8388608..=8388607; duplicates make it negative.
    pub cumulative_lost: i32,
    /// Turns of the sequence number in the upper half, the highest number received in the lower.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in units of the media clock.
    pub jitter: u32,
    /// LSR: middle 32 bits of the NTP time of the last sender report, 0 if there was none.
    pub last_sender_report: u32,
    /// DLSR: time since that report, in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// Reads the block's 24 bytes.
    pub fn from_bytes(bytes: &[u8; REPORT_BLOCK_LEN]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            ssrc: Ssrc(word(0)),
            fraction_lost: bytes[4],
            // Shifting up and down again extends the sign of the 24 bits.
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            extended_highest_sequence: word(8),
            jitter: word(12),
            last_sender_report: word(16),
            delay_since_last_sender_report: word(20),
        }
    }

    /// The bytes on the wire; a loss outside 24 bits is clamped (RFC 3550 §A.3).
    pub fn to_bytes(&self) -> [u8; REPORT_BLOCK_LEN] {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        let words = [
            self.ssrc.0,
            u32::from(self.fraction_lost) << 24 | lost as u32 & 0xff_ffff,
            self.extended_highest_sequence,
            self.jitter,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        ];
        let mut bytes = [0; REPORT_BLOCK_LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The report blocks of a report: 0 to 31.
#[derive(Clone, Copy, Debug)]
pub struct ReportBlocks<'a> {
    blocks: &'a [[u8; REPORT_BLOCK_LEN]],
    extension: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    fn parse(count: u8, bytes: &'a [u8]) -> Option<Self> {
        let (blocks, extension) = bytes.split_at_checked(REPORT_BLOCK_LEN * usize::from(count))?;
        Some(Self { blocks: blocks.as_chunks().0, extension })
    }

    /// The blocks in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReportBlock> + use<'a> {
        self.blocks.iter().map(ReportBlock::from_bytes)
    }

    /// Profile-specific bytes after the blocks; empty with the profiles in use here.
    pub const fn extension(&self) -> &'a [u8] {
        self.extension
    }
}

/// SR: a sender's account of its stream, and of those it receives.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// Its own stream.
    pub info: SenderInfo,
    /// Those it receives.
    pub blocks: ReportBlocks<'a>,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let ssrc = Ssrc(u32::from_be_bytes(read(body, 0)?));
        let info = SenderInfo::parse(body, 4)?;
        Some(Self { ssrc, info, blocks: ReportBlocks::parse(count, body.get(4 + SENDER_INFO_LEN..)?)? })
    }
}

/// RR: the account of one who only receives.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// The streams it receives.
    pub blocks: ReportBlocks<'a>,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let ssrc = Ssrc(u32::from_be_bytes(read(body, 0)?));
        Some(Self { ssrc, blocks: ReportBlocks::parse(count, body.get(4..)?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulative_loss_keeps_its_sign_in_24_bits() {
        for lost in [0, 1, -1, 0x7f_ffff, -0x80_0000] {
            let block = ReportBlock { cumulative_lost: lost, fraction_lost: 255, ..ReportBlock::default() };
            assert_eq!(ReportBlock::from_bytes(&block.to_bytes()), block);
        }
        let block = ReportBlock { cumulative_lost: 0x100_0000, ..ReportBlock::default() };
        assert_eq!(ReportBlock::from_bytes(&block.to_bytes()).cumulative_lost, 0x7f_ffff);
    }

    #[test]
    fn ntp_time_of_the_unix_epoch_is_2208988800() {
        assert_eq!(NtpTimestamp::from_utc(UtcMillis(500)).0, 2_208_988_800 << 32 | 1 << 31);
        assert_eq!(NtpTimestamp(0x1122_3344_5566_7788).middle(), 0x3344_5566);
    }
}

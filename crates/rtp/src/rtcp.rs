//! RTCP compound packets (RFC 3550 §6): read by iteration over views, written into a caller's buffer.
//!
//! [`Compound::parse`] checks the whole datagram once by the rules of RFC 3550 appendix A.2, so that the iteration
//! after it cannot fail half-way. Types this crate does not act on (feedback, extended reports) stay opaque and pass.

mod report;
mod source_description;
mod writer;

pub use report::{NtpTimestamp, ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport};
pub use source_description::{SourceDescription, SourceDescriptionItem, SourceDescriptionItemKind};
pub use writer::{CompoundWriter, RtcpWriteError};

use crate::{read, rtp::Ssrc};

/// Packet types. RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2.
mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const GOODBYE: u8 = 203;
    pub const APPLICATION: u8 = 204;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
    pub const EXTENDED_REPORT: u8 = 207;
}

/// Common header of every RTCP packet, in bytes. RFC 3550 §6.4.1.
const HEADER_LEN: usize = 4;

/// Why a datagram is not RTCP. The peer's doing: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet's length does not lie within the datagram, or bytes are left over.
    #[error("RTCP packet at byte {at} does not fit its datagram")]
    Length {
        /// Where the packet starts.
        at: usize,
    },
    /// RFC 3550 §6.4.1: two.
    #[error("RTCP version {0} where 2 is spoken")]
    Version(u8),
    /// RFC 3550 §6.1: every compound packet begins with a report.
    #[error("RTCP compound packet begins with type {0} where a report must stand")]
    FirstType(u8),
    /// RFC 3550 §6.4.1: only the last packet is padded, by whole words within it.
    #[error("RTCP padding is misplaced or longer than its packet")]
    Padding,
    /// A packet is too short for what its type and count announce.
    #[error("RTCP packet of type {0} is shorter than its count says")]
    Body(u8),
}

/// Which compound packets are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompoundRules {
    /// The first packet is a sender or receiver report. RFC 3550 §6.1.
    #[default]
    Full,
    /// Any packet may come first: `a=rtcp-rsize`. RFC 5506 §3.2.
    ReducedSize,
}

/// A datagram of RTCP packets that has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks all packets in `bytes`. Linear in their number, which the datagram's size bounds.
    pub fn parse(bytes: &'a [u8], rules: CompoundRules) -> Result<Self, RtcpError> {
        let mut at = 0;
        loop {
            let (packet, rest) = split_packet(&bytes[at..]).ok_or(RtcpError::Length { at })?;
            let [first, packet_type, ..] = *packet else { return Err(RtcpError::Length { at }) };
            if first >> 6 != 2 {
                return Err(RtcpError::Version(first >> 6));
            }
            let is_report = matches!(packet_type, packet_type::SENDER_REPORT | packet_type::RECEIVER_REPORT);
            if at == 0 && rules == CompoundRules::Full && !is_report {
                return Err(RtcpError::FirstType(packet_type));
            }
            if first & 0x20 != 0 && !rest.is_empty() {
                return Err(RtcpError::Padding);
            }
            RtcpPacket::parse(packet)?;
            if rest.is_empty() {
                return Ok(Self { bytes });
            }
            at += packet.len();
        }
    }

    /// The packets in order.
    pub fn packets(&self) -> impl Iterator<Item = RtcpPacket<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (packet, after) = split_packet(rest)?;
            rest = after;
            RtcpPacket::parse(packet).ok()
        })
    }

    /// Who sent the datagram: the SSRC of its first packet.
    pub fn sender(&self) -> Option<Ssrc> {
        read::<4>(self.bytes, HEADER_LEN).map(|ssrc| Ssrc(u32::from_be_bytes(ssrc)))
    }
}

/// The packet at the start of `bytes` by its own length field, and what follows it.
fn split_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let words = u16::from_be_bytes(read::<2>(bytes, 2)?);
    bytes.split_at_checked(HEADER_LEN + 4 * usize::from(words))
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum RtcpPacket<'a> {
    /// SR, type 200.
    SenderReport(SenderReport<'a>),
    /// RR, type 201.
    ReceiverReport(ReceiverReport<'a>),
    /// SDES, type 202.
    SourceDescription(SourceDescription<'a>),
    /// BYE, type 203.
    Goodbye(Goodbye<'a>),
    /// APP, type 204.
    Application(Application<'a>),
    /// RTPFB, type 205: NACK, transport-wide congestion control. RFC 4585 §6.2.
    TransportFeedback(Feedback<'a>),
    /// PSFB, type 206: PLI, FIR, REMB. RFC 4585 §6.3.
    PayloadFeedback(Feedback<'a>),
    /// XR, type 207, with its blocks untouched. RFC 3611.
    ExtendedReport(ExtendedReport<'a>),
    /// Any other type, whole.
    Unknown {
        /// The packet type, 192–223 on a multiplexed port.
        packet_type: u8,
        /// All bytes of the packet.
        bytes: &'a [u8],
    },
}

impl<'a> RtcpPacket<'a> {
    /// Reads the packet that is all of `bytes`; its length field has been honoured.
    fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        let [first, packet_type, _, _, body @ ..] = bytes else { return Err(RtcpError::Length { at: 0 }) };
        let count = first & 0x1f;
        let body = if first & 0x20 == 0 { body } else { without_padding(body)? };
        let packet = match *packet_type {
            packet_type::SENDER_REPORT => SenderReport::parse(count, body).map(Self::SenderReport),
            packet_type::RECEIVER_REPORT => ReceiverReport::parse(count, body).map(Self::ReceiverReport),
            packet_type::SOURCE_DESCRIPTION => {
                SourceDescription::parse(count, body).map(Self::SourceDescription)
            }
            packet_type::GOODBYE => Goodbye::parse(count, body).map(Self::Goodbye),
            packet_type::APPLICATION => Application::parse(count, body).map(Self::Application),
            packet_type::TRANSPORT_FEEDBACK => Feedback::parse(count, body).map(Self::TransportFeedback),
            packet_type::PAYLOAD_FEEDBACK => Feedback::parse(count, body).map(Self::PayloadFeedback),
            packet_type::EXTENDED_REPORT => ExtendedReport::parse(body).map(Self::ExtendedReport),
            packet_type => Some(Self::Unknown { packet_type, bytes }),
        };
        packet.ok_or(RtcpError::Body(*packet_type))
    }
}

fn without_padding(body: &[u8]) -> Result<&[u8], RtcpError> {
    let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
    if padding == 0 || padding % 4 != 0 {
        return Err(RtcpError::Padding);
    }
    body.len().checked_sub(padding).map(|end| &body[..end]).ok_or(RtcpError::Padding)
}

/// Sources that leave. RFC 3550 §6.6.
#[derive(Clone, Copy, Debug)]
pub struct Goodbye<'a> {
    sources: &'a [u8],
    reason: &'a [u8],
}

impl<'a> Goodbye<'a> {
    fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let (sources, rest) = body.split_at_checked(4 * usize::from(count))?;
        let reason = match rest {
            [] => &[],
            [len, rest @ ..] => rest.get(..usize::from(*len))?,
        };
        Some(Self { sources, reason })
    }

    /// The sources that leave: 0 to 31.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Ssrc> + use<'a> {
        let sources = self.sources.chunks_exact(4);
        sources.map(|ssrc| Ssrc(u32::from_be_bytes([ssrc[0], ssrc[1], ssrc[2], ssrc[3]])))
    }

    /// Why they leave: UTF-8 by the RFC, unchecked here; empty if not said. Free text of a peer: not for logs.
    pub const fn reason(&self) -> &'a [u8] {
        self.reason
    }
}

/// An application's own packet. RFC 3550 §6.7.
#[derive(Clone, Copy, Debug)]
pub struct Application<'a> {
    /// 0–31, the application's.
    pub subtype: u8,
    /// Who sends.
    pub ssrc: Ssrc,
    /// Four ASCII letters.
    pub name: [u8; 4],
    /// Whole words.
    pub data: &'a [u8],
}

impl<'a> Application<'a> {
    fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let ssrc = Ssrc(u32::from_be_bytes(read(body, 0)?));
        Some(Self { subtype: count, ssrc, name: read(body, 4)?, data: body.get(8..)? })
    }
}

/// A feedback message, its control information untouched. RFC 4585 §6.1.
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    /// FMT, 0–31: 1 is NACK for transport feedback and PLI for payload feedback.
    pub format: u8,
    /// Who sends the feedback.
    pub sender: Ssrc,
    /// Whose stream it is about; zero where the FCI says it.
    pub media_source: Ssrc,
    /// Feedback control information.
    pub control_information: &'a [u8],
}

impl<'a> Feedback<'a> {
    fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let sender = Ssrc(u32::from_be_bytes(read(body, 0)?));
        let media_source = Ssrc(u32::from_be_bytes(read(body, 4)?));
        Some(Self { format: count, sender, media_source, control_information: body.get(8..)? })
    }
}

/// Extended reports, opaque. RFC 3611 §2.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// The report blocks as they lie on the wire.
    pub blocks: &'a [u8],
}

impl<'a> ExtendedReport<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self { ssrc: Ssrc(u32::from_be_bytes(read(body, 0)?)), blocks: body.get(4..)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

    fn parse(bytes: &[u8]) -> Result<usize, RtcpError> {
        Compound::parse(bytes, CompoundRules::Full).map(|compound| compound.packets().count())
    }

    #[test]
    fn a_compound_begins_with_a_report_unless_reduced_size_was_agreed() {
        let goodbye = [0x81, 203, 0, 1, 0, 0, 0, 9];
        assert_eq!(parse(&goodbye), Err(RtcpError::FirstType(203)));
        let compound = Compound::parse(&goodbye, CompoundRules::ReducedSize).unwrap();
        assert_eq!((compound.packets().count(), compound.sender()), (1, Some(Ssrc(9))));
        assert_eq!(parse(&[EMPTY_RR, goodbye].concat()), Ok(2));
    }

    #[test]
    fn lengths_must_add_up_to_the_datagram() {
        assert_eq!(parse(&[]), Err(RtcpError::Length { at: 0 }));
        assert_eq!(parse(&EMPTY_RR[..7]), Err(RtcpError::Length { at: 0 }));
        assert_eq!(parse(&[EMPTY_RR.as_slice(), &[0x80]].concat()), Err(RtcpError::Length { at: 8 }));
        assert_eq!(parse(&[0x81, 201, 0, 1, 0, 0, 0, 9]), Err(RtcpError::Body(201)));
    }

    #[test]
    fn only_the_last_packet_is_padded() {
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4];
        assert_eq!(parse(&padded), Ok(1));
        assert_eq!(parse(&[EMPTY_RR.as_slice(), &padded].concat()), Ok(2));
        assert_eq!(parse(&[padded.as_slice(), &EMPTY_RR].concat()), Err(RtcpError::Padding));
        for count in [0, 3, 12, 255] {
            let mut wrong = padded;
            wrong[11] = count;
            assert_eq!(parse(&wrong), Err(RtcpError::Padding), "padding {count}");
        }
    }

    #[test]
    fn feedback_and_extended_reports_pass_opaque() {
        let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let xr = [0x80, 207, 0, 2, 0, 0, 0, 1, 9, 9, 0, 0];
        let app = [0x85, 204, 0, 2, 0, 0, 0, 1, b't', b'e', b's', b't'];
        let bytes = [EMPTY_RR.as_slice(), &pli, &xr, &app].concat();
        let compound = Compound::parse(&bytes, CompoundRules::Full).unwrap();
        let mut packets = compound.packets().skip(1);
        let Some(RtcpPacket::PayloadFeedback(feedback)) = packets.next() else { panic!("PLI expected") };
        assert_eq!((feedback.format, feedback.sender, feedback.media_source), (1, Ssrc(1), Ssrc(2)));
        let Some(RtcpPacket::ExtendedReport(report)) = packets.next() else { panic!("XR expected") };
        assert_eq!(report.blocks, [9, 9, 0, 0]);
        let Some(RtcpPacket::Application(application)) = packets.next() else { panic!("APP expected") };
        assert_eq!((application.subtype, application.name), (5, *b"test"));
    }
}

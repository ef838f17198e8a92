//! A capture that calls play: packets with their times, shared by all of them.

use offhook_codec::G711;
use offhook_rtp::{
    rtp::{FixedHeader, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp},
    telephone_event::{EventCode, TelephoneEvent},
};

use super::{audio::Packing, capture};

/// What is played.
#[derive(Clone, PartialEq, Eq)]
pub struct Clip {
    /// In order.
    pub packets: Vec<ClipPacket>,
}

/// A packet of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipPacket {
    /// When, ms after the clip's start.
    pub at_ms: u64,
    /// To the described port, or to the one after it, which is RTCP's.
    pub is_control: bool,
    /// The datagram.
    pub bytes: Box<[u8]>,
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clip").field("packets", &self.packets.len()).finish()
    }
}

impl Clip {
    /// The datagrams of a capture that went to the lowest port, and to the one after it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let datagrams = capture::read(file).map_err(|error| error.to_string())?;
        let base = datagrams.iter().map(|datagram| datagram.to.port()).min();
        let base = base.ok_or("there is no UDP in the capture")?;
        let packets = datagrams.into_iter().filter(|datagram| datagram.to.port() - base <= 1);
        let packets = packets.map(|datagram| ClipPacket {
            at_ms: datagram.at.as_millis() as u64,
            is_control: datagram.to.port() != base,
            bytes: datagram.payload,
        });
        Ok(Self { packets: packets.collect() })
    }

    /// Stands in for the captures that come with SIPp and that its `uac_pcap` plays: eight seconds of a tone in A-law, and
    /// the key `1`. `None` for other names.
    pub fn standard(name: &str) -> Option<Self> {
        match name {
            "g711a.pcap" => Some(Self { packets: tone() }),
            "dtmf_2833_1.pcap" => Some(Self { packets: key('1') }),
            _ => None,
        }
    }
}

fn packet(index: u64, header: (bool, u8, u32), payload: &[u8]) -> Box<[u8]> {
    let (marker, payload_type, timestamp) = header;
    let header = FixedHeader {
        marker,
        payload_type: PayloadType::new(payload_type).unwrap_or(PayloadType::PCMA),
        sequence_number: SequenceNumber(index as u16),
        timestamp: Timestamp(timestamp),
        ssrc: Ssrc(0x6f66_6668),
    };
    let writer = PacketWriter::new(header, payload);
    let mut bytes = vec![0; writer.written_len()];
    // There is room for what it says it takes.
    let _ = writer.write(&mut bytes);
    bytes.into()
}

fn tone() -> Vec<ClipPacket> {
    const PACKETS: u64 = 400;
    let Some(packing) = Packing::of(8, None) else { return Vec::new() };
    let sines = [(440.0, offhook_codec::Dbm0(-13.0))];
    let Some(mut generator) = offhook_codec::ToneGenerator::new(8000, &sines) else { return Vec::new() };
    let mut samples = vec![0; packing.bytes];
    let mut payload = vec![0; packing.bytes];
    let one = |index: u64| {
        generator.fill(&mut samples);
        G711::ALaw.encode(&samples, &mut payload);
        let header = (index == 0, packing.payload_type, packing.ticks * index as u32);
        ClipPacket { at_ms: index * packing.ms, is_control: false, bytes: packet(index, header, &payload) }
    };
    (0..PACKETS).map(one).collect()
}

fn key(digit: char) -> Vec<ClipPacket> {
    const EVENT_TYPE: u8 = 101;
    let Some(code) = EventCode::from_digit(digit) else { return Vec::new() };
    let one = |index: u64| {
        let (step, end) = (index.min(9), index >= 9);
        let event = TelephoneEvent { code, end, volume: 10, duration: 160 * (step as u16 + 1) };
        let header = (index == 0, EVENT_TYPE, 0);
        ClipPacket { at_ms: step * 20, is_control: false, bytes: packet(index, header, &event.to_bytes()) }
    };
    (0..12).map(one).collect()
}

#[cfg(test)]
mod tests {
    use offhook_rtp::rtp::Packet;

    use super::*;

    #[test]
    fn the_standard_clips_are_streams() {
        for (name, count) in [("g711a.pcap", 400), ("dtmf_2833_1.pcap", 12)] {
            let clip = Clip::standard(name).expect("it is there");
            assert_eq!(clip.packets.len(), count);
            for (index, one) in clip.packets.iter().enumerate() {
                let packet = Packet::parse(&one.bytes).expect("it is RTP");
                assert_eq!(usize::from(packet.header().sequence_number().0), index);
            }
        }
        assert_eq!(Clip::standard("other.pcap"), None);
    }
}

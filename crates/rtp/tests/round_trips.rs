//! What is written is read back as it was, whatever it was.

use std::net::SocketAddr;

use offhook_rtp::{
    rtcp::{Compound, CompoundRules, CompoundWriter, NtpTimestamp, ReportBlock, RtcpPacket, SenderInfo},
    rtp::{FixedHeader, HeaderExtension, Packet, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp},
    stun::{AttributeType, Class, Message, MessageWriter, TransactionId, answer_binding, binding_request},
    telephone_event::{EventCode, TelephoneEvent},
};
use proptest::{collection::vec, prelude::*};

fn fixed_header() -> impl Strategy<Value = FixedHeader> {
    (any::<bool>(), 0..128u8, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(marker, payload_type, sequence_number, timestamp, ssrc)| FixedHeader {
            marker,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence_number: SequenceNumber(sequence_number),
            timestamp: Timestamp(timestamp),
            ssrc: Ssrc(ssrc),
        },
    )
}

fn report_block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000).prop_map(|(words, fraction_lost, lost)| {
        ReportBlock {
            ssrc: Ssrc(words[0]),
            fraction_lost,
            cumulative_lost: lost,
            extended_highest_sequence: words[1],
            jitter: words[2],
            last_sender_report: words[3],
            delay_since_last_sender_report: words[4],
        }
    })
}

proptest! {
    #[test]
    fn rtp(
        header in fixed_header(),
        csrcs in vec(any::<u32>().prop_map(Ssrc), 0..=15),
        extension in proptest::option::of((any::<u16>(), vec(any::<[u8; 4]>(), 0..20))),
        payload in vec(any::<u8>(), 0..200),
        padding in any::<u8>(),
    ) {
        let extension = extension.map(|(profile, words)| (profile, words.concat()));
        let mut writer = PacketWriter::new(header, &payload).csrcs(&csrcs).padding(padding);
        if let Some((profile, data)) = &extension {
            writer = writer.extension(HeaderExtension { profile: *profile, data });
        }
        let mut buffer = [0xaa; 1024];
        let len = writer.write(&mut buffer).unwrap();
        let packet = Packet::parse(&buffer[..len]).unwrap();
        let read = packet.header();
        prop_assert_eq!(read.marker(), header.marker);
        prop_assert_eq!(read.payload_type(), header.payload_type);
        prop_assert_eq!(read.sequence_number(), header.sequence_number);
        prop_assert_eq!(read.timestamp(), header.timestamp);
        prop_assert_eq!(read.ssrc(), header.ssrc);
        prop_assert_eq!(read.csrcs().collect::<Vec<_>>(), csrcs);
        prop_assert_eq!(read.extension().map(|e| (e.profile, e.data.to_vec())), extension);
        prop_assert_eq!(packet.payload(), payload);
        prop_assert_eq!(packet.padding_len(), usize::from(padding));
    }

    #[test]
    fn rtcp(
        ssrc in any::<u32>().prop_map(Ssrc),
        words in any::<(u64, u32, u32, u32)>(),
        blocks in vec(report_block(), 0..=31),
        name in "[a-z0-9@.]{0,255}",
        leaving in vec(any::<u32>().prop_map(Ssrc), 0..=31),
        reason in "[a-z ]{0,255}",
    ) {
        let info = SenderInfo {
            ntp: NtpTimestamp(words.0),
            rtp: Timestamp(words.1),
            packets: words.2,
            octets: words.3,
        };
        let mut buffer = [0xaa; 4096];
        let mut writer = CompoundWriter::new(&mut buffer);
        writer.sender_report(ssrc, &info, &blocks).unwrap();
        writer.receiver_report(ssrc, &blocks).unwrap();
        writer.source_description(ssrc, &name).unwrap();
        writer.goodbye(&leaving, &reason).unwrap();
        let packets: Vec<_> = Compound::parse(writer.written(), CompoundRules::Full).unwrap().packets().collect();
        let [
            RtcpPacket::SenderReport(sender),
            RtcpPacket::ReceiverReport(receiver),
            RtcpPacket::SourceDescription(description),
            RtcpPacket::Goodbye(goodbye),
        ] = packets[..] else { panic!("{packets:?}") };
        prop_assert_eq!((sender.ssrc, sender.info, receiver.ssrc), (ssrc, info, ssrc));
        prop_assert_eq!(sender.blocks.iter().collect::<Vec<_>>(), &blocks[..]);
        prop_assert_eq!(receiver.blocks.iter().collect::<Vec<_>>(), blocks);
        let names: Vec<_> = description.items().map(|item| item.text).collect();
        prop_assert_eq!(names, [name.as_bytes()]);
        prop_assert_eq!(goodbye.sources().collect::<Vec<_>>(), leaving);
        prop_assert_eq!(goodbye.reason(), reason.as_bytes());
    }

    #[test]
    fn stun(
        id in any::<[u8; 12]>().prop_map(TransactionId),
        source in any::<SocketAddr>(),
        attributes in vec((0x8000..0x8020u16, vec(any::<u8>(), 0..40)), 0..10),
        password in vec(any::<u8>(), 0..80),
    ) {
        let mut buffer = [0xaa; 1024];
        let mut writer = MessageWriter::new(&mut buffer, 1, Class::Success, id).unwrap();
        for (number, value) in &attributes {
            writer.attribute(AttributeType(*number), value).unwrap();
        }
        writer.mapped_address(source).unwrap();
        writer.xor_mapped_address(source).unwrap();
        writer.error_code(487, "Role Conflict").unwrap();
        writer.message_integrity(&password).unwrap();
        let len = writer.fingerprint().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        let read: Vec<_> = message.attributes().take(attributes.len())
            .map(|attribute| (attribute.attribute_type.0, attribute.value.to_vec())).collect();
        prop_assert_eq!(read, attributes);
        let same = SocketAddr::new(source.ip(), source.port());
        for attribute_type in [AttributeType::MAPPED_ADDRESS, AttributeType::XOR_MAPPED_ADDRESS] {
            prop_assert_eq!(message.attribute(attribute_type).unwrap().address(), Some(same));
        }
        prop_assert_eq!(message.attribute(AttributeType::ERROR_CODE).unwrap().error_code().unwrap().code, 487);
        prop_assert!(message.verify_integrity(&password));
        let answer = answer_binding(&binding_request(id), source).unwrap();
        prop_assert_eq!(Message::parse(answer.as_bytes()).unwrap().transaction_id(), id);
    }

    #[test]
    fn telephone_event(code in any::<u8>(), end in any::<bool>(), volume in 0..64u8, duration in any::<u16>()) {
        let event = TelephoneEvent { code: EventCode(code), end, volume, duration };
        prop_assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Some(event));
    }
}

//! Any bytes as an RTCP compound: no panic, and what was checked can be walked to its end.

use std::time::Duration;

use offhook_rtp::rtcp::{Compound, CompoundRules, RtcpPacket};

const TIME_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn fuzz_rtcp() {
    bolero::check!().with_test_time(TIME_LIMIT).for_each(|bytes: &[u8]| {
        let Ok(compound) = Compound::parse(bytes, CompoundRules::ReducedSize) else {
            assert!(Compound::parse(bytes, CompoundRules::Full).is_err(), "full rules are the stricter");
            return;
        };
        let mut packets = 0;
        for packet in compound.packets() {
            packets += 1;
            match packet {
                RtcpPacket::SenderReport(report) => assert!(report.blocks.iter().count() <= 31),
                RtcpPacket::ReceiverReport(report) => assert!(report.blocks.iter().count() <= 31),
                RtcpPacket::SourceDescription(description) => {
                    assert!(description.items().map(|item| item.text.len()).sum::<usize>() <= bytes.len());
                }
                RtcpPacket::Goodbye(goodbye) => assert!(goodbye.sources().len() <= 31),
                _ => {}
            }
        }
        assert!(packets >= 1 && packets <= bytes.len() / 4);
    });
}

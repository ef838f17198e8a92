//! Any bytes as an RTP packet: no panic, and every part lies within them.

use std::time::Duration;

use offhook_base::Instant;
use offhook_rtp::{
    demux::classify,
    rtp::{HeaderMut, Packet, SequenceNumber},
    statistics::{StreamStatistics, Timing},
    telephone_event::{TelephoneEvent, Tracker},
};

/// The rest of the budget of two seconds is the corpus.
const TIME_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn fuzz_rtp() {
    bolero::check!().with_test_time(TIME_LIMIT).for_each(|bytes: &[u8]| {
        classify(bytes);
        let Ok(packet) = Packet::parse(bytes) else { return };
        let header = packet.header();
        assert_eq!(header.len() + packet.payload().len() + packet.padding_len(), bytes.len());
        assert!(header.csrcs().len() <= 15);
        let elements = header.extension().map_or(0, |extension| extension.elements().count());
        assert!(elements <= bytes.len());
        // The payload as a stream of its own: two bytes a sequence number.
        let mut statistics = StreamStatistics::new(8000);
        let mut tracker = Tracker::new(8000);
        let mut copy = bytes.to_vec();
        for (n, chunk) in packet.payload().chunks_exact(2).enumerate() {
            let mut header = HeaderMut::parse(&mut copy).unwrap();
            header.set_sequence_number(SequenceNumber(u16::from_be_bytes([chunk[0], chunk[1]])));
            let now = Instant::from_driver_nanos(20_000_000 * n as u64);
            let header = header.as_header();
            statistics.handle_packet(&header, chunk.len(), Timing::Sampled, now);
            if let Some(event) = TelephoneEvent::parse(packet.payload()) {
                assert!(
                    tracker.handle_packet(header.ssrc(), false, header.timestamp(), event, now).count() <= 3
                );
            }
        }
        let report = statistics.report();
        assert!(report.lost <= report.expected && report.burst_ratio >= 1.0);
        assert_eq!(report.packets, packet.payload().len() as u64 / 2);
        statistics.report_block();
    });
}

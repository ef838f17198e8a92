//! Round trip from sender reports and the reports that answer them. RFC 3550 §6.4.1, figure 2.
//!
//! It needs only to have seen the sender report pass: our own, or one that was relayed. So a relay measures the way to
//! each side.

use std::time::Duration;

use offhook_base::Instant;

use crate::rtcp::{NtpTimestamp, ReportBlock};

/// Sender reports that wait for an answer: the newest is answered; more than a few are reordering.
const PENDING_REPORTS: usize = 4;
/// Longer than any round trip: such an answer is to a report of the same number from long ago, or invented.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

/// Measures the round trip to the party that receives the sender reports.
#[derive(Clone, Debug, Default)]
pub struct RoundTripMeter {
    sent: [Option<(u32, Instant)>; PENDING_REPORTS],
    next: usize,
    latest: Option<Duration>,
    longest: Option<Duration>,
}

impl RoundTripMeter {
    /// A sender report went out to the party.
    pub fn sender_report_sent(&mut self, ntp: NtpTimestamp, now: Instant) {
        self.sent[self.next] = Some((ntp.middle(), now));
        self.next = (self.next + 1) % PENDING_REPORTS;
    }

    /// A report block came from the party: the round trip, if it answers a report we remember.
    pub fn report_block_received(&mut self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_sender_report == 0 {
            return None;
        }
        let matching = |(middle, _): &(u32, Instant)| *middle == block.last_sender_report;
        let (_, sent) = self.sent.iter().flatten().copied().find(matching)?;
        let held =
            Duration::from_nanos((u64::from(block.delay_since_last_sender_report) * 1_000_000_000) >> 16);
        let elapsed = now - sent;
        // Rounding of DLSR may make it seem longer than the whole by a little; more than that is a lie.
        if held > elapsed + Duration::from_millis(1) || elapsed > ROUND_TRIP_MAX {
            return None;
        }
        let round_trip = elapsed.saturating_sub(held);
        self.latest = Some(round_trip);
        self.longest = self.longest.max(Some(round_trip));
        Some(round_trip)
    }

    /// The newest measurement.
    pub const fn latest(&self) -> Option<Duration> {
        self.latest
    }

    /// The longest of all.
    pub const fn longest(&self) -> Option<Duration> {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_driver_nanos(millis * 1_000_000)
    }

    fn block(last_sender_report: u32, held_ms: u32) -> ReportBlock {
        let delay_since_last_sender_report = held_ms * 65_536 / 1000;
        ReportBlock { last_sender_report, delay_since_last_sender_report, ..ReportBlock::default() }
    }

    #[test]
    fn the_time_the_report_was_held_is_taken_off() {
        let mut meter = RoundTripMeter::default();
        meter.sender_report_sent(NtpTimestamp(7 << 16), at(1000));
        let round_trip = meter.report_block_received(&block(7, 4000), at(5080)).unwrap();
        assert!(round_trip.abs_diff(Duration::from_millis(80)) < Duration::from_micros(20), "{round_trip:?}");
        assert_eq!(meter.longest(), Some(round_trip));
    }

    #[test]
    fn answers_to_unknown_reports_and_lies_are_not_measurements() {
        let mut meter = RoundTripMeter::default();
        meter.sender_report_sent(NtpTimestamp(7 << 16), at(1000));
        assert_eq!(meter.report_block_received(&block(0, 0), at(1100)), None);
        assert_eq!(meter.report_block_received(&block(8, 0), at(1100)), None);
        assert_eq!(meter.report_block_received(&block(7, 200), at(1100)), None, "held longer than all");
        assert_eq!(meter.report_block_received(&block(7, 0), at(70_000)), None);
        (0..PENDING_REPORTS as u64).for_each(|n| meter.sender_report_sent(NtpTimestamp(n << 40), at(2000)));
        assert_eq!(meter.report_block_received(&block(7, 0), at(2100)), None, "forgotten");
        assert_eq!(meter.latest(), None);
    }
}

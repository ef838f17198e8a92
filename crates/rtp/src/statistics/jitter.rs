//! Interarrival jitter: how unevenly packets arrive against how evenly they were sampled. RFC 3550 §6.4.1, §A.8.

use offhook_base::Instant;

use crate::rtp::Timestamp;

/// The estimate of one source, in units of its clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter {
    /// Arrival less timestamp, modulo 2^32, of the packet before.
    pub(super) transit: Option<u32>,
    /// Sixteen times the jitter, as the RFC's integer arithmetic keeps it.
    pub(super) scaled: u64,
}

impl Jitter {
    pub(super) fn handle_packet(&mut self, timestamp: Timestamp, now: Instant, clock_rate: u32) {
        let arrival = u128::from(now.as_nanos()) * u128::from(clock_rate) / 1_000_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp.0);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // J += (|D| - J) / 16, rounded as in §A.8.
            self.scaled = self.scaled + u64::from(difference) - (self.scaled + 8) / 16;
        }
    }

    /// For a report block.
    pub(super) fn units(&self) -> u32 {
        u32::try_from(self.scaled / 16).unwrap_or(u32::MAX)
    }

    pub(super) fn millis(&self, clock_rate: u32) -> f64 {
        self.scaled as f64 / 16.0 * 1000.0 / f64::from(clock_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_driver_nanos(millis * 1_000_000)
    }

    #[test]
    fn even_arrival_has_none_even_where_the_timestamp_turns() {
        let mut jitter = Jitter::default();
        for n in 0..100u32 {
            jitter.handle_packet(
                Timestamp(u32::MAX - 800).wrapping_add(160 * n),
                at(20 * u64::from(n)),
                8000,
            );
        }
        assert_eq!(jitter.units(), 0);
    }

    #[test]
    fn packets_late_by_5_ms_every_other_time_settle_at_5_ms() {
        let mut jitter = Jitter::default();
        for n in 0..1000u32 {
            let late = if n % 2 == 0 { 0 } else { 5 };
            jitter.handle_packet(Timestamp(160 * n), at(20 * u64::from(n) + late), 8000);
        }
        assert!((jitter.millis(8000) - 5.0).abs() < 0.1, "{}", jitter.millis(8000));
    }

    #[test]
    fn one_late_packet_counts_a_sixteenth_twice() {
        let mut jitter = Jitter::default();
        jitter.handle_packet(Timestamp(0), at(0), 8000);
        jitter.handle_packet(Timestamp(160), at(40), 8000);
        assert_eq!(jitter.units(), 10);
        jitter.handle_packet(Timestamp(320), at(40), 8000);
        assert_eq!(jitter.units(), 19);
    }
}

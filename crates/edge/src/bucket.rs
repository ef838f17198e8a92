//! A token bucket in one number.
//!
//! Instead of counting tokens it keeps the time at which the bucket will be full again (the theoretical arrival time
//! of ITU-T I.371's generic cell rate algorithm). Taking a token moves that time on by one interval; a token is there
//! while the time is less than a whole bucket ahead. Exact, without a refill step and without rounding.

use std::time::Duration;

use offhook_base::Instant;

/// How a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds per token; 0 never runs out.
    interval: u64,
    /// Nanoseconds for a whole bucket.
    depth: u64,
}

impl Rate {
    /// `tokens` per `period`, at most `burst` at once (at least one). No tokens: no limit.
    pub fn new(tokens: u32, period: Duration, burst: u32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = if tokens == 0 { 0 } else { (period / u64::from(tokens)).max(1) };
        Self { interval, depth: interval.saturating_mul(burst.max(1).into()) }
    }

    /// Whether there is no limit.
    pub(crate) const fn is_off(self) -> bool {
        self.interval == 0
    }
}

/// One source's bucket; a new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// A bucket that will be full at this time, in nanoseconds: all that there is to it.
    pub(crate) const fn full_at(nanos: u64) -> Self {
        Self { full_at: nanos }
    }

    /// When it will be full, or was.
    pub(crate) const fn is_full_at(self) -> u64 {
        self.full_at
    }

    /// Takes `tokens` at once, whether or not they are there; whether they were.
    pub(crate) fn charge(&mut self, rate: Rate, tokens: u32, now: Instant) -> bool {
        let price = rate.interval.saturating_mul(tokens.into());
        let next = self.full_at.max(now.as_nanos()).saturating_add(price);
        let is_covered = next.saturating_sub(now.as_nanos()) <= rate.depth;
        // Not deeper than empty: what is owed past that is punished by other means.
        self.full_at = next.min(now.as_nanos().saturating_add(rate.depth));
        is_covered
    }

    /// Takes a token, or says after how long there will be one.
    ///
    /// # Errors
    /// There is none yet.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let next = self.full_at.max(now.as_nanos()).saturating_add(rate.interval);
        let wait = next.saturating_sub(now.as_nanos()).saturating_sub(rate.depth);
        if wait > 0 {
            return Err(Duration::from_nanos(wait));
        }
        self.full_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_driver_nanos(nanos)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_exactly_its_rate() {
        let rate = Rate::new(10, Duration::from_secs(1), 5);
        let mut bucket = Bucket::default();
        let start = 7 * SECOND;
        for _ in 0..5 {
            assert_eq!(bucket.take(rate, at(start)), Ok(()));
        }
        assert_eq!(bucket.take(rate, at(start)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(rate, at(start + SECOND / 10 - 1)), Err(Duration::from_nanos(1)));
        assert_eq!(bucket.take(rate, at(start + SECOND / 10)), Ok(()));
        assert_eq!(bucket.take(rate, at(start + SECOND / 10)), Err(Duration::from_millis(100)));
        // After a long rest it holds a burst, not more.
        let rested = start + 1000 * SECOND;
        assert_eq!((0..9).filter(|_| bucket.take(rate, at(rested)).is_ok()).count(), 5);
    }

    #[test]
    fn a_rate_of_zero_never_runs_out() {
        let rate = Rate::new(0, Duration::from_secs(1), 0);
        let mut bucket = Bucket::default();
        assert!(rate.is_off());
        assert!((0..100_000).all(|_| bucket.take(rate, at(1)).is_ok()));
    }

    #[test]
    fn the_end_of_time_refuses_instead_of_overflowing() {
        let rate = Rate::new(1, Duration::MAX, u32::MAX);
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            let _ = bucket.take(rate, at(u64::MAX));
        }
    }
}

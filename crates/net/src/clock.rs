//! The one place where a driver reads the clocks of the host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use offhook_base::{Instant, Moment, UtcMillis};

/// Makes the [`Instant`]s and [`Moment`]s that drivers hand to the cores. Copies share one origin, so instants of all
/// threads that were given a copy compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now. One per process: instants of two clocks do not compare.
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The monotonic clock.
    pub fn instant(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_driver_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The wall clock. A host whose clock stands before 1970 gives negative numbers.
    pub fn utc(&self) -> UtcMillis {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        UtcMillis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }

    /// Both clocks.
    pub fn moment(&self) -> Moment {
        Moment { instant: self.instant(), utc: self.utc() }
    }

    /// The time left until `deadline`; zero if it has passed.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_since(self.instant())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_clock_share_one_origin_and_never_step_back() {
        let clock = Clock::new();
        let copy = clock;
        let first = clock.instant();
        let second = copy.instant();
        assert!(second >= first);
        assert_eq!(clock.until(first), Duration::ZERO);
    }

    #[test]
    fn the_wall_clock_reads_this_century() {
        let (year, ..) = Clock::new().moment().utc.civil();
        assert!((2024..2100).contains(&year), "{year}");
    }
}

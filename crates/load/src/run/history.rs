//! How a run went over time: one sample a second, fewer when it lasts long.

use std::time::Duration;

use crate::stats::{Counter, Stats};

/// Most samples. When they are reached every second one goes, and from then on they are taken half as often.
const SAMPLES_MAX: usize = 1200;

/// What was counted in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Its end, seconds after the start.
    pub at: f64,
    /// Calls begun, a second.
    pub rate: f64,
    /// Calls that failed, a second.
    pub failed: f64,
    /// Calls under way at its end.
    pub current: f64,
    /// The first response time: half, 95 and 99 of a hundred took no longer, ms.
    pub setup_ms: [f64; 3],
}

/// The samples so far.
#[derive(Debug)]
pub struct History {
    samples: Vec<Sample>,
    every: Duration,
    taken: Duration,
    before: Stats,
}

impl History {
    /// None yet; `before` is what was counted before the start.
    pub const fn new(before: Stats) -> Self {
        Self { samples: Vec::new(), every: Duration::from_secs(1), taken: Duration::ZERO, before }
    }

    /// Whether it is time for the next sample.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.taken + self.every
    }

    /// Takes one.
    pub fn take(&mut self, elapsed: Duration, stats: Stats) {
        let seconds = (elapsed - self.taken.min(elapsed)).as_secs_f64().max(0.001);
        let added = |counter: Counter| stats.get(counter).saturating_sub(self.before.get(counter)) as f64;
        let begun = added(Counter::IncomingCalls) + added(Counter::OutgoingCalls);
        let setup = stats.response_times.first().zip(self.before.response_times.first());
        let setup_ms = setup.map_or([0.0; 3], |(now, then)| {
            let period = now.since(then);
            [0.5, 0.95, 0.99].map(|share| period.percentile(share) as f64 / 1000.0)
        });
        self.samples.push(Sample {
            at: elapsed.as_secs_f64(),
            rate: begun / seconds,
            failed: added(Counter::FailedCalls) / seconds,
            current: stats.current as f64,
            setup_ms,
        });
        self.taken = elapsed;
        self.before = stats;
        if self.samples.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
    }

    /// In order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_fewer_samples_but_all_of_its_time() {
        let mut history = History::new(Stats::default());
        let mut stats = Stats::default();
        for second in 1..=5000 {
            let elapsed = Duration::from_secs(second);
            stats.add(Counter::OutgoingCalls, 10);
            if history.is_due(elapsed) {
                history.take(elapsed, stats.clone());
            }
        }
        let samples = history.samples();
        assert!((SAMPLES_MAX / 2 - 1..SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        assert!(samples.iter().all(|sample| (sample.rate - 10.0).abs() < 0.01));
        assert!(samples.last().is_some_and(|sample| sample.at > 4990.0));
    }
}

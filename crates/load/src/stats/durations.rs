//! How long something took: average, deviation, SIPp's ranges, and percentiles.

/// Buckets per doubling of a duration: percentiles are right to 3 percent.
const BUCKETS_PER_OCTAVE: usize = 32;
/// Up to 2^36 microseconds, 19 hours; longer ones count as that.
const OCTAVES: usize = 32;
const BUCKETS: usize = BUCKETS_PER_OCTAVE * OCTAVES;

/// Many durations.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// How many.
    pub count: u64,
    sum_micros: u64,
    sum_squares: f64,
    /// Upper ends of the ranges, ms.
    limits: Vec<u32>,
    /// How many in each range, and above the last.
    pub ranges: Vec<u64>,
    /// For percentiles; empty until the first.
    buckets: Vec<u32>,
    max_micros: u64,
}

impl Durations {
    /// None yet, to be counted in ranges with these upper ends.
    pub fn new(limits: &[u32]) -> Self {
        Self { limits: limits.to_vec(), ranges: vec![0; limits.len() + 1], ..Self::default() }
    }

    /// One more.
    pub fn record(&mut self, micros: u64) {
        self.count += 1;
        self.sum_micros += micros;
        self.sum_squares += micros as f64 * micros as f64;
        self.max_micros = self.max_micros.max(micros);
        let ms = micros / 1000;
        let range = self.limits.iter().position(|limit| ms < u64::from(*limit)).unwrap_or(self.limits.len());
        if let Some(count) = self.ranges.get_mut(range) {
            *count += 1;
        }
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        self.buckets[bucket_of(micros)] += 1;
    }

    /// Upper ends of the ranges, ms.
    pub fn limits(&self) -> &[u32] {
        &self.limits
    }

    /// The average, in microseconds.
    pub fn mean(&self) -> u64 {
        self.sum_micros.checked_div(self.count).unwrap_or(0)
    }

    /// The standard deviation, in microseconds.
    pub fn deviation(&self) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let mean = self.sum_micros as f64 / self.count as f64;
        (self.sum_squares / self.count as f64 - mean * mean).max(0.0).sqrt() as u64
    }

    /// The duration, in microseconds, that `share` (0 to 1) of all do not exceed, to 3 percent.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (share * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && *count > 0 {
                return upper_end(bucket).min(self.max_micros);
            }
        }
        self.max_micros
    }

    /// The longest, in microseconds.
    pub const fn max(&self) -> u64 {
        self.max_micros
    }

    /// Adds those of another shard.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_micros += other.sum_micros;
        self.sum_squares += other.sum_squares;
        self.max_micros = self.max_micros.max(other.max_micros);
        for (sum, count) in self.ranges.iter_mut().zip(&other.ranges) {
            *sum += count;
        }
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
                *sum += count;
            }
        }
    }

    /// Those since `earlier` was taken of the same. The longest is that of all: it is not known when it was.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count - earlier.count,
            sum_micros: self.sum_micros - earlier.sum_micros,
            sum_squares: (self.sum_squares - earlier.sum_squares).max(0.0),
            limits: self.limits.clone(),
            ranges: self.ranges.iter().zip(&earlier.ranges).map(|(now, then)| now - then).collect(),
            buckets: self
                .buckets
                .iter()
                .enumerate()
                .map(|(at, count)| count - earlier.buckets.get(at).copied().unwrap_or(0))
                .collect(),
            max_micros: self.max_micros,
        }
    }
}

fn bucket_of(micros: u64) -> usize {
    let shift = BUCKETS_PER_OCTAVE.trailing_zeros();
    if micros < BUCKETS_PER_OCTAVE as u64 {
        return micros as usize;
    }
    let octave = 63 - micros.leading_zeros() - shift;
    let within = (micros >> octave) as usize - BUCKETS_PER_OCTAVE;
    ((octave as usize + 1) * BUCKETS_PER_OCTAVE + within).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> u64 {
    if bucket < BUCKETS_PER_OCTAVE {
        return bucket as u64;
    }
    let octave = bucket / BUCKETS_PER_OCTAVE - 1;
    let within = (bucket % BUCKETS_PER_OCTAVE + BUCKETS_PER_OCTAVE) as u64;
    ((within + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_ranges_and_percentiles_are_right() {
        let mut durations = Durations::new(&[10, 20]);
        for ms in 1..=100 {
            durations.record(ms * 1000);
        }
        assert_eq!(durations.mean(), 50_500);
        assert_eq!(durations.ranges, [9, 10, 81]);
        for (share, wanted) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = durations.percentile(share) as f64;
            assert!((found / wanted - 1.0).abs() < 0.04, "{share}: {found}");
        }
        assert!((durations.deviation() as f64 / 28_866.0 - 1.0).abs() < 0.01);
        let later = {
            let mut later = durations.clone();
            later.record(500_000);
            later
        };
        assert_eq!(later.since(&durations).mean(), 500_000);
    }

    #[test]
    fn every_duration_falls_into_a_bucket_that_holds_it() {
        for micros in (0..2000).chain([5_000, 123_456, 9_999_999, 1 << 33, u64::MAX]) {
            let bucket = bucket_of(micros);
            assert!(bucket < BUCKETS);
            assert!(upper_end(bucket) >= micros || bucket == BUCKETS - 1, "{micros}");
            assert!(bucket == 0 || upper_end(bucket - 1) < micros, "{micros}");
        }
    }
}

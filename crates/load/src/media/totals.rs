//! What is counted of media, and added up over threads and streams.

/// Least, most and mean of what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Takes a value.
    pub fn take(&mut self, value: f64) {
        self.merge(&Self { count: 1, sum: value, min: value, max: value });
    }

    /// Takes the values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let is_first = self.count == 0;
        self.min = if is_first { other.min } else { self.min.min(other.min) };
        self.max = if is_first { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
    }

    /// How many values there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least; 0 without values.
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// The most; 0 without values.
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaTotals {
    /// Packets sent, echoes left out.
    pub sent: u64,
    /// Their octets, headers of IP and UDP left out.
    pub sent_octets: u64,
    /// Packets that went back where they came from.
    pub echoed: u64,
    /// RTP packets received.
    pub received: u64,
    /// Received streams that were long enough to be judged.
    pub streams: u64,
    /// Packets that received streams should have had.
    pub expected: u64,
    /// Those that never came.
    pub lost: u64,
    /// Those that came too late to be of use.
    pub late: u64,
    /// Those that came twice.
    pub duplicates: u64,
    /// Packets that the kernel would not take.
    pub unsent: u64,
    /// Packets that could not be decrypted: their keys are others, or they were sent in clear.
    pub undecrypted: u64,
    /// The most jitter of each stream, ms.
    pub jitter_ms: Spread,
    /// The opinion score of each stream.
    pub mos: Spread,
    /// The mean level of each stream, dBm0.
    pub level_dbm0: Spread,
    /// How much of each stream that should say a pattern did say it, percent.
    pub pattern_percent: Spread,
}

impl MediaTotals {
    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_octets += other.sent_octets;
        self.echoed += other.echoed;
        self.received += other.received;
        self.streams += other.streams;
        self.expected += other.expected;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.unsent += other.unsent;
        self.undecrypted += other.undecrypted;
        self.jitter_ms.merge(&other.jitter_ms);
        self.mos.merge(&other.mos);
        self.level_dbm0.merge(&other.level_dbm0);
        self.pattern_percent.merge(&other.pattern_percent);
    }

    /// Share of expected packets that never came, percent.
    pub fn loss_percent(&self) -> f64 {
        100.0 * self.lost as f64 / self.expected.max(1) as f64
    }

    /// Whether anything was sent or received at all.
    pub const fn is_empty(&self) -> bool {
        self.sent + self.received + self.echoed + self.unsent == 0
    }
}

//! What a run counts. Each shard counts for itself; reports add up.

mod durations;
pub mod names;
pub mod report;
pub mod screen;

pub use durations::Durations;

use crate::{media::MediaTotals, scenario::Scenario};

/// The counters, in the order of SIPp's statistics file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented in docs/reference/load-sipp.md under SIPp's name")]
pub enum Counter {
    IncomingCalls,
    OutgoingCalls,
    SuccessfulCalls,
    FailedCalls,
    FailedCannotSend,
    FailedMaxRetransmissions,
    FailedTcpConnect,
    FailedTcpClosed,
    FailedUnexpected,
    FailedCallRejected,
    FailedCommandNotSent,
    FailedRegexp,
    FailedRegexpShouldNot,
    FailedRegexpHeader,
    FailedOutboundCongestion,
    FailedTimeoutOnRecv,
    FailedTimeoutOnSend,
    FailedTest,
    FailedTestShouldNot,
    FailedStrcmp,
    FailedStrcmpShouldNot,
    OutOfCallMessages,
    DeadCallMessages,
    Retransmissions,
    AutoAnswered,
    Warnings,
    FatalErrors,
}

/// How many there are.
pub const COUNTERS: usize = Counter::FatalErrors as usize + 1;

/// What happened at one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Sent, received, begun.
    pub done: u64,
    /// Sent or received again.
    pub repeated: u64,
    /// Waited for in vain.
    pub timeouts: u64,
    /// Surprised by another message.
    pub unexpected: u64,
    /// Thrown away on purpose.
    pub lost: u64,
}

/// What a shard, or all of them, counted.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    counters: [u64; COUNTERS],
    /// One for each step of the scenario.
    pub steps: Vec<StepCounts>,
    /// One for each response time.
    pub response_times: Vec<Durations>,
    /// Of calls that succeeded.
    pub call_length: Durations,
    /// The scenario's own counters.
    pub generic: Vec<u64>,
    /// Calls under way.
    pub current: u64,
    /// Most of them at once.
    pub peak: u64,
    /// When that was, ms.
    pub peak_at: u64,
    /// Of the media threads.
    pub media: MediaTotals,
}

impl Stats {
    /// Nothing yet, for this scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let limits = &scenario.response_time_limits;
        Self {
            counters: [0; COUNTERS],
            steps: vec![StepCounts::default(); scenario.steps.len()],
            response_times: scenario.rtds.iter().map(|_| Durations::new(limits)).collect(),
            call_length: Durations::new(&scenario.call_length_limits),
            generic: vec![0; scenario.counters.len()],
            current: 0,
            peak: 0,
            peak_at: 0,
            media: MediaTotals::default(),
        }
    }

    /// Counts.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.counters[counter as usize] += amount;
    }

    /// The count.
    pub const fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// All counts, in the order of [`Counter`].
    pub const fn counters(&self) -> &[u64; COUNTERS] {
        &self.counters
    }

    /// Calls begun, in both directions.
    pub const fn created(&self) -> u64 {
        self.get(Counter::IncomingCalls) + self.get(Counter::OutgoingCalls)
    }

    pub(crate) fn step(&mut self, out_of_call: bool, index: usize, change: impl FnOnce(&mut StepCounts)) {
        // Steps of the out-of-call scenario have no columns.
        if !out_of_call && let Some(counts) = self.steps.get_mut(index) {
            change(counts);
        }
    }

    pub(crate) fn response_time(&mut self, out_of_call: bool, rtd: usize, micros: u64) {
        if !out_of_call && let Some(durations) = self.response_times.get_mut(rtd) {
            durations.record(micros);
        }
    }

    pub(crate) fn generic(&mut self, out_of_call: bool, counter: usize) {
        if !out_of_call && let Some(count) = self.generic.get_mut(counter) {
            *count += 1;
        }
    }

    pub(crate) fn began(&mut self, millis: u64) {
        self.current += 1;
        if self.current > self.peak {
            self.peak = self.current;
            self.peak_at = millis;
        }
    }

    pub(crate) fn ended(&mut self) {
        self.current = self.current.saturating_sub(1);
    }

    /// A call that had succeeded fails after all.
    pub(crate) fn took_back_success(&mut self) {
        let successes = &mut self.counters[Counter::SuccessfulCalls as usize];
        *successes = successes.saturating_sub(1);
        self.current += 1;
    }

    /// Adds what another shard counted.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counters.iter_mut().zip(other.counters) {
            *sum += count;
        }
        for (sum, counts) in self.steps.iter_mut().zip(&other.steps) {
            sum.done += counts.done;
            sum.repeated += counts.repeated;
            sum.timeouts += counts.timeouts;
            sum.unexpected += counts.unexpected;
            sum.lost += counts.lost;
        }
        for (sum, durations) in self.response_times.iter_mut().zip(&other.response_times) {
            sum.merge(durations);
        }
        self.call_length.merge(&other.call_length);
        for (sum, count) in self.generic.iter_mut().zip(&other.generic) {
            *sum += count;
        }
        self.current += other.current;
        // Shards peak at about the same time; the sum is the most there can have been.
        self.peak += other.peak;
        self.peak_at = self.peak_at.max(other.peak_at);
        self.media.merge(&other.media);
    }
}

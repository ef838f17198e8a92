//! Penalties that grow: one source's account.

use std::time::Duration;

use offhook_base::Instant;

use crate::{
    bucket::{Bucket, Rate},
    limits::EdgeLimits,
};

/// How long penalties last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PenaltyRule {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

/// The penalties of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Penalty {
    /// When its last one ends or ended.
    until: Instant,
    /// How many it had without a long enough rest after one.
    count: u8,
}

impl Penalty {
    /// How long the present one lasts yet.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until.saturating_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// When it ends or ended.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    /// Begins one, twice as long as the one before if that is not long ago.
    pub(crate) fn begin(&mut self, rule: &PenaltyRule, now: Instant) {
        if now.saturating_since(self.until) >= rule.max {
            self.count = 0;
        }
        // The exponent is bounded: 2^31 times any penalty is past every sensible maximum.
        let doubled = rule.first.saturating_mul(1 << self.count.min(31));
        self.until = now + doubled.min(rule.max);
        self.count = self.count.saturating_add(1);
    }

    /// Begins one of exactly this length, unless a longer one runs.
    pub(crate) fn begin_for(&mut self, time: Duration, now: Instant) {
        self.until = self.until.max(now + time);
    }
}

/// What is remembered of a source that sent wrong credentials.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    bucket: Bucket,
    penalty: Penalty,
}

/// How failures are counted and punished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailureRule {
    rate: Rate,
    penalty: PenaltyRule,
}

impl FailureRule {
    pub(crate) fn new(limits: &EdgeLimits) -> Self {
        let tokens = u32::from(limits.failures_burst > 0);
        Self {
            rate: Rate::new(tokens, limits.failure_forgiven_after, limits.failures_burst),
            penalty: PenaltyRule { first: limits.penalty_first, max: limits.penalty_max },
        }
    }

    /// Whether failures are counted at all.
    pub(crate) const fn is_off(&self) -> bool {
        self.rate.is_off()
    }
}

impl Failures {
    /// How long its credentials will not be looked at.
    pub(crate) fn penalty(&self, now: Instant) -> Option<Duration> {
        self.penalty.left(now)
    }

    /// Counts a failure; past the allowance a penalty begins: then its end.
    pub(crate) fn count(&mut self, rule: &FailureRule, now: Instant) -> Option<Instant> {
        if self.bucket.take(rule.rate, now).is_ok() || self.penalty(now).is_some() {
            return None;
        }
        self.penalty.begin(&rule.penalty, now);
        Some(self.penalty.until())
    }
}

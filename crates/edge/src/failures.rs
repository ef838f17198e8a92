//! The penalty for guessing passwords: one source's account.

use std::time::Duration;

use offhook_base::Instant;

use crate::{
    bucket::{Bucket, Rate},
    limits::EdgeLimits,
};

/// What is remembered of a source that sent wrong credentials.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    bucket: Bucket,
    /// When its last penalty ends or ended.
    penalty_until: Instant,
    /// How many penalties it had without a long enough rest after one.
    penalties: u8,
}

/// How failures are counted and punished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailureRule {
    rate: Rate,
    penalty_first: Duration,
    penalty_max: Duration,
}

impl FailureRule {
    pub(crate) fn new(limits: &EdgeLimits) -> Self {
        let tokens = u32::from(limits.failures_burst > 0);
        Self {
            rate: Rate::new(tokens, limits.failure_forgiven_after, limits.failures_burst),
            penalty_first: limits.penalty_first,
            penalty_max: limits.penalty_max,
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
        let left = self.penalty_until.saturating_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure; past the allowance a penalty begins.
    pub(crate) fn count(&mut self, rule: &FailureRule, now: Instant) {
        if self.bucket.take(rule.rate, now).is_ok() || self.penalty(now).is_some() {
            return;
        }
        if now.saturating_since(self.penalty_until) >= rule.penalty_max {
            self.penalties = 0;
        }
        // The exponent is bounded: 2^31 times any penalty is past every sensible maximum.
        let doubled = rule.penalty_first.saturating_mul(1 << self.penalties.min(31));
        self.penalty_until = now + doubled.min(rule.penalty_max);
        self.penalties = self.penalties.saturating_add(1);
    }
}

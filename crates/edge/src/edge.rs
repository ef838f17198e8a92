//! The guard itself.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;

use crate::{
    bucket::{Bucket, Rate},
    failures::{FailureRule, Failures},
    limits::EdgeLimits,
    table::SourceTable,
};

/// Refusals per second that one source over its rate is answered with, and how many at once; the rest is dropped, so
/// that a forged source is not flooded through us.
const REFUSALS_PER_SECOND: u32 = 1;
const REFUSALS_BURST: u32 = 10;

/// The least `Retry-After` we name: shorter waits only bring the crowd back at once.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// The status of every refusal: the sender is to come back later (RFC 3261 §21.5.4).
const SERVICE_UNAVAILABLE: u16 = 503;

/// What shall become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Pass,
    /// Throw it away without a word.
    Drop(Reason),
    /// If it is a request that may be answered, answer it with `status`; otherwise throw it away.
    Refuse {
        /// Why, for the counters and the fact.
        reason: Reason,
        /// The SIP status to answer with.
        status: u16,
        /// The value of `Retry-After`: whole seconds, at least 1.
        retry_after: Duration,
    },
}

/// Why a message did not pass: one counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Larger than [`EdgeLimits::message_bytes_max`].
    TooLarge,
    /// More than [`EdgeLimits::messages_per_second`].
    Rate,
    /// Credentials while a penalty for wrong ones runs.
    AuthenticationRate,
}

/// How often each thing happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages let in.
    pub passed: u64,
    /// Messages dropped or refused for their size.
    pub too_large: u64,
    /// Messages dropped or refused for their rate.
    pub rate: u64,
    /// Credentials refused while a penalty ran.
    pub authentication_rate: u64,
    /// Wrong credentials reported.
    pub authentication_failures: u64,
    /// Sources forgotten to make room for others.
    pub sources_forgotten: u64,
}

impl Counters {
    fn count(&mut self, reason: Reason) {
        match reason {
            Reason::TooLarge => self.too_large += 1,
            Reason::Rate => self.rate += 1,
            Reason::AuthenticationRate => self.authentication_rate += 1,
        }
    }
}

/// What is remembered of a source that sends.
#[derive(Debug, Default)]
struct Sender {
    messages: Bucket,
    refusals: Bucket,
    /// Until when a registration from there is valid.
    registered_until: Instant,
}

/// The guard of one worker. Memory is bounded by [`EdgeLimits::sources_max`].
#[derive(Debug)]
pub struct Edge {
    message_bytes_max: usize,
    messages: Rate,
    refusals: Rate,
    failure_rule: FailureRule,
    senders: SourceTable<Sender>,
    failures: SourceTable<Failures>,
    counters: Counters,
}

impl Edge {
    /// A guard that knows nobody yet.
    pub fn new(limits: &EdgeLimits) -> Self {
        let second = Duration::from_secs(1);
        Self {
            message_bytes_max: if limits.message_bytes_max == 0 {
                usize::MAX
            } else {
                limits.message_bytes_max
            },
            messages: Rate::new(limits.messages_per_second, second, limits.messages_burst),
            refusals: Rate::new(REFUSALS_PER_SECOND, second, REFUSALS_BURST),
            failure_rule: FailureRule::new(limits),
            senders: SourceTable::new(limits.sources_max),
            failures: SourceTable::new(limits.sources_max),
            counters: Counters::default(),
        }
    }

    /// Judges a message before it is parsed. `is_peer` says whether `source` is a known peer; it is only asked when
    /// the answer matters. Keep-alives need not come here.
    pub fn admit(
        &mut self,
        message: &[u8],
        source: SocketAddr,
        is_peer: impl FnOnce() -> bool,
        now: Instant,
    ) -> Verdict {
        if message.len() > self.message_bytes_max {
            return self.drop(Reason::TooLarge);
        }
        if self.messages.is_off() {
            self.counters.passed += 1;
            return Verdict::Pass;
        }
        let (sender, forgot) = self.senders.touch(source.ip().into());
        self.counters.sources_forgotten += u64::from(forgot);
        let Err(wait) = sender.messages.take(self.messages, now) else {
            self.counters.passed += 1;
            return Verdict::Pass;
        };
        if now < sender.registered_until || is_peer() {
            self.counters.passed += 1;
            return Verdict::Pass;
        }
        // An answer makes no sense to a response or an ACK (RFC 3261 §17.1.1.3).
        let may_answer = !message.starts_with(b"SIP/") && !message.starts_with(b"ACK ");
        if may_answer && sender.refusals.take(self.refusals, now).is_ok() {
            self.refuse(Reason::Rate, wait)
        } else {
            self.drop(Reason::Rate)
        }
    }

    /// Whether credentials from `source` may be checked now. Ask before checking any: what comes during a penalty must
    /// not be answered by whether it was right.
    pub fn admit_credentials(&mut self, source: SocketAddr, now: Instant) -> Verdict {
        let known = self.failures.peek(source.ip().into());
        match known.and_then(|failures| failures.penalty(now)) {
            None => Verdict::Pass,
            Some(left) => self.refuse(Reason::AuthenticationRate, left),
        }
    }

    /// Notes that credentials from `source` were wrong. A stale nonce with right credentials is not wrong.
    pub fn authentication_failed(&mut self, source: SocketAddr, now: Instant) {
        self.counters.authentication_failures += 1;
        if !self.failure_rule.is_off() {
            let (failures, forgot) = self.failures.touch(source.ip().into());
            failures.count(&self.failure_rule, now);
            self.counters.sources_forgotten += u64::from(forgot);
        }
    }

    /// Notes that a device at `source` is registered until then, so that its messages are not limited.
    pub fn registered(&mut self, source: SocketAddr, until: Instant) {
        if !self.messages.is_off() {
            let (sender, forgot) = self.senders.touch(source.ip().into());
            sender.registered_until = sender.registered_until.max(until);
            self.counters.sources_forgotten += u64::from(forgot);
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sources remembered now: by their messages, by their failures.
    pub fn sources(&self) -> (usize, usize) {
        (self.senders.len(), self.failures.len())
    }

    fn drop(&mut self, reason: Reason) -> Verdict {
        self.counters.count(reason);
        Verdict::Drop(reason)
    }

    fn refuse(&mut self, reason: Reason, wait: Duration) -> Verdict {
        self.counters.count(reason);
        // Rounded up: an obedient sender must not come back a moment too early.
        let whole = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Verdict::Refuse { reason, status: SERVICE_UNAVAILABLE, retry_after: whole.max(RETRY_AFTER_MIN) }
    }
}

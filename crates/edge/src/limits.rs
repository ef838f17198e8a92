//! What the guard lets through.

use std::time::Duration;

use crate::OverloadLimits;

/// The limits of an [`Edge`](crate::Edge). The defaults suit a public node with phones behind shared addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeLimits {
    /// The largest message. Bytes, default 65,535: what a UDP datagram can hold; a stream's framer may allow less.
    /// 0: no limit.
    pub message_bytes_max: usize,
    /// Messages per second of one source that is neither a peer nor registered. Default 100; 0: no limit.
    pub messages_per_second: u32,
    /// Messages that such a source may send at once. Default 400: a hundred phones of an office that come back after
    /// a power cut. At least 1.
    pub messages_burst: u32,
    /// Wrong credentials that one source may send at once. Default 20; 0: no limit, no penalties.
    pub failures_burst: u32,
    /// The time after which one more wrong attempt is forgiven. Default 20 s: a phone with an old password that tries
    /// every half minute is never penalised, so it does not take its whole office down with it.
    pub failure_forgiven_after: Duration,
    /// The first penalty. Default 30 s. Each further one is twice as long, up to `penalty_max`.
    pub penalty_first: Duration,
    /// The longest penalty. Default 1 h. A source that was quiet for that long after a penalty begins anew.
    pub penalty_max: Duration,
    /// Sources known at once, in each of the two tables; the idlest makes room. Default
    /// [`EdgeLimits::SOURCES_MAX`].
    pub sources_max: u32,
    /// When more comes than can be done.
    pub overload: OverloadLimits,
}

impl EdgeLimits {
    /// 65,536 sources: about 8 MB per table when full, and more parties than one node serves.
    pub const SOURCES_MAX: u32 = 65_536;

    /// No limits at all, for load tests from one address.
    pub const OFF: Self = Self {
        message_bytes_max: 0,
        messages_per_second: 0,
        messages_burst: 0,
        failures_burst: 0,
        failure_forgiven_after: Duration::ZERO,
        penalty_first: Duration::ZERO,
        penalty_max: Duration::ZERO,
        sources_max: 1,
        overload: OverloadLimits { wait_target: Duration::ZERO },
    };
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 65_535,
            messages_per_second: 100,
            messages_burst: 400,
            failures_burst: 20,
            failure_forgiven_after: Duration::from_secs(20),
            penalty_first: Duration::from_secs(30),
            penalty_max: Duration::from_secs(3600),
            sources_max: Self::SOURCES_MAX,
            overload: OverloadLimits::default(),
        }
    }
}

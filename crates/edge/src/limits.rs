//! What the guard lets through.

use std::time::Duration;

use crate::{OverloadLimits, Scanners};

/// The limits of an [`Edge`](crate::Edge). The defaults suit a public node with phones behind shared addresses.
#[derive(Clone, Debug)]
pub struct EdgeLimits {
    /// The largest message. Bytes, default 65,535: what a UDP datagram can hold; a stream's framer may allow less.
    /// 0: no limit.
    pub message_bytes_max: usize,
    /// Messages per second of one source that is neither a peer nor registered. Default 100; 0: no limit.
    pub messages_per_second: u32,
    /// Messages that such a source may send at once. Default 400: a hundred phones of an office that come back after
    /// a power cut. At least 1.
    pub messages_burst: u32,
    /// Messages per second of all such sources of one network, an IPv4 /24 or an IPv6 /48. Default 1,000; 0: no limit.
    /// Four times as many may come at once.
    pub network_messages_per_second: u32,
    /// Requests per second of some methods from one such source. Default: 10 OPTIONS, 10 SUBSCRIBE. Four times as many may come
    /// at once.
    pub method_rates: Vec<(Box<str>, u32)>,
    /// Requests per second of one account, wherever they come from. Default 100, as many as one source; 0: no limit. Four
    /// times as many may come at once.
    pub account_requests_per_second: u32,
    /// Wrong credentials that one source may send at once. Default 20; 0: no limit, no penalties.
    pub failures_burst: u32,
    /// Wrong credentials for one account, from wherever, that may come at once; past them strangers' are not looked at.
    /// Default 100; 0: no limit.
    pub account_failures_burst: u32,
    /// The time after which one more wrong attempt is forgiven. Default 20 s: a phone with an old password that tries
    /// every half minute is never penalised, so it does not take its whole office down with it.
    pub failure_forgiven_after: Duration,
    /// The first penalty or ban. Default 30 s. Each further one is twice as long, up to `penalty_max`.
    pub penalty_first: Duration,
    /// The longest penalty or ban. Default 1 h. A source that was quiet for that long after one begins anew.
    pub penalty_max: Duration,
    /// What a stranger may get wrong before he is banned, in points: see [`Stray`](crate::Stray). One point is forgiven each
    /// second. Default 400, an office's phones that all ask for a challenge at once; 0: nobody is banned for it.
    pub stray_points: u32,
    /// Names of scanners.
    pub scanners: Scanners,
    /// Whether strangers are told what is wrong with a request that is neither a call nor a registration for us. Default false:
    /// they hear nothing, so that a scanner learns nothing.
    pub answer_strangers: bool,
    /// Sources known at once in each table of rates. Default [`EdgeLimits::SOURCES_MAX`].
    pub sources_max: u32,
    /// Sources with a penalty, a ban or a registration known at once, in each of these tables; the idlest makes room. Default
    /// [`EdgeLimits::NOTED_MAX`].
    pub noted_max: u32,
    /// When more comes than can be done.
    pub overload: OverloadLimits,
}

impl EdgeLimits {
    /// A million sources: 13 MB per table if all of them send at once.
    pub const SOURCES_MAX: u32 = 1 << 20;

    /// 65,536 sources: about 8 MB per table when full, and more offices than one node serves.
    pub const NOTED_MAX: u32 = 1 << 16;

    /// No limits at all, for load tests from one address.
    pub fn off() -> Self {
        Self {
            message_bytes_max: 0,
            messages_per_second: 0,
            messages_burst: 0,
            network_messages_per_second: 0,
            method_rates: Vec::new(),
            account_requests_per_second: 0,
            failures_burst: 0,
            account_failures_burst: 0,
            failure_forgiven_after: Duration::ZERO,
            penalty_first: Duration::ZERO,
            penalty_max: Duration::ZERO,
            stray_points: 0,
            scanners: Scanners::new([]),
            answer_strangers: true,
            sources_max: 1,
            noted_max: 1,
            overload: OverloadLimits { wait_target: Duration::ZERO },
        }
    }
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 65_535,
            messages_per_second: 100,
            messages_burst: 400,
            network_messages_per_second: 1000,
            method_rates: vec![("OPTIONS".into(), 10), ("SUBSCRIBE".into(), 10)],
            account_requests_per_second: 100,
            failures_burst: 20,
            account_failures_burst: 100,
            failure_forgiven_after: Duration::from_secs(20),
            penalty_first: Duration::from_secs(30),
            penalty_max: Duration::from_secs(3600),
            stray_points: 400,
            scanners: Scanners::default(),
            answer_strangers: false,
            sources_max: Self::SOURCES_MAX,
            noted_max: Self::NOTED_MAX,
            overload: OverloadLimits::default(),
        }
    }
}

//! The routing of some tenants as people write it. What it says is checked when it becomes a [`Routing`](super::Routing).

use std::{collections::BTreeMap, time::Duration};

use offhook_edge::Rate;
use serde::Deserialize;

use super::numbers::{NumberForm, NumberPlan};
use crate::rules::RuleDocument;

/// All tenants' routing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingDocument {
    /// By the tenant's name.
    #[serde(default)]
    pub tenants: BTreeMap<Box<str>, TenantDocument>,
}

/// One tenant's routing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantDocument {
    /// How numbers are dialled there. Without it they stay as they are dialled.
    pub numbers: Option<NumberPlan>,
    /// Minutes that its clocks are ahead of UTC, for times of day; -840..=840, default 0.
    pub utc_offset_minutes: i16,
    /// What holds for calls to and from a peer, by its name.
    pub peers: BTreeMap<Box<str>, PeerRules>,
    /// Sets of peers, by their names.
    pub sets: BTreeMap<Box<str>, SetDocument>,
    /// Where calls go.
    pub routes: Vec<RouteDocument>,
}

/// What holds for calls to and from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerRules {
    /// How it wants the numbers that it is called with.
    pub numbers: NumberForm,
    /// New calls a second, both directions; 1..=100,000, default unlimited.
    pub calls_per_second: Option<u32>,
    /// Whether and how it is asked if it is there.
    pub probe: Option<ProbeRules>,
    /// New calls at once; 1..=100,000, default as many as a second has.
    pub burst: Option<u32>,
    /// What is done to headers and URIs of INVITEs to and from it, in this order.
    pub rules: Vec<RuleDocument>,
}

/// How a peer is asked whether it is there, by OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeRules {
    /// How often; 1..=3600 s, default 30.
    pub every_secs: u16,
    /// After how many questions without answer it is down; 1..=100, default 3.
    pub fail_after: u16,
    /// After how many answers it is up again; 1..=100, default 2.
    pub recover_after: u16,
    /// How long it then takes until it has all its calls again; 0..=3600 s, default 60.
    pub slow_start_secs: u16,
}

impl Default for ProbeRules {
    fn default() -> Self {
        Self { every_secs: 30, fail_after: 3, recover_after: 2, slow_start_secs: 60 }
    }
}

impl ProbeRules {
    /// The time from question to question.
    pub const fn interval(self) -> Duration {
        Duration::from_secs(self.every_secs as u64)
    }

    /// Whether its values are allowed.
    pub(super) fn is_sound(self) -> bool {
        let times = 1..=100;
        (1..=3600).contains(&self.every_secs)
            && times.contains(&self.fail_after)
            && times.contains(&self.recover_after)
            && self.slow_start_secs <= 3600
    }
}

impl PeerRules {
    /// How fast new calls may come, if that is limited.
    pub fn rate(&self) -> Option<Rate> {
        let tokens = self.calls_per_second?;
        Some(Rate::new(tokens, Duration::from_secs(1), self.burst.unwrap_or(tokens)))
    }
}

/// A set of peers as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDocument {
    /// Who of equal priority comes first.
    #[serde(default)]
    pub order: Order,
    /// The peers.
    pub members: Vec<Member>,
}

/// Who of a set is asked first, among those of equal priority. The others follow when it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they are written: the default.
    #[default]
    Listed,
    /// Each in turn.
    RoundRobin,
    /// By chance, in proportion to their weights: weights that make 100 are percentages.
    Weight,
    /// The same for the same caller, as long as there is no other set.
    Hash,
    /// Who has the smallest part of its calls taken.
    LeastLoad,
}

/// A peer of a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub peer: Box<str>,
    /// 1..=10,000, default 1.
    #[serde(default = "one")]
    pub weight: u16,
    /// The lowest is asked first; default 1.
    #[serde(default = "one")]
    pub priority: u16,
}

const fn one() -> u16 {
    1
}

/// A route as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteDocument {
    /// For people: what `offhook route test` calls it.
    pub name: Box<str>,
    /// Beginnings of numbers, written as with `numbers` they are after translation: `+49`.
    pub prefixes: Vec<Box<str>>,
    /// A table of prefixes in place of `prefixes` and `to`.
    pub table: Option<Box<str>>,
    /// Who must call: `lines`, `peers`, `line:101`, `peer:carrier`, or the beginning of the caller's number. Default: anybody.
    pub from: Vec<Box<str>>,
    /// On which days: `mon` to `sun`. Default: all.
    pub days: Vec<Day>,
    /// At what times of day: `08:00-12:30`; one whose end is before its begin goes over midnight. Default: always.
    pub hours: Vec<Box<str>>,
    /// Where to, in turn: peers, sets, or `line:101`.
    pub to: Vec<Box<str>>,
    /// Symbols of the number that are taken away, from the front; 0..=32.
    pub strip: u8,
    /// What is then put in front.
    pub add: Box<str>,
    /// After which answers the next is asked: `503`, `5xx`, `timeout`. Default: 408, 500, 502, 503, 504 and `timeout`.
    pub retry_on: Option<Vec<Box<str>>>,
    /// How long one may take until it rings, before the next is asked; 1..=60 s, default 12.
    pub ring_within_secs: Option<u16>,
}

impl RouteDocument {
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.ring_within_secs.unwrap_or(RING_WITHIN_SECS).into())
    }
}

/// How long a peer may take until it rings: a gateway that sets up a call abroad takes up to ten seconds.
const RING_WITHIN_SECS: u16 = 12;

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

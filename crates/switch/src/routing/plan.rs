//! The routing as calls read it: checked, names resolved, prefixes in one map per tenant.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    time::Duration,
};

use super::{
    conditions::{From, RetryOn, Times},
    document::{Member, Order, PeerRules, RouteDocument, RoutingDocument, SetDocument, TenantDocument},
    numbers::{NumberForm, NumberPlan},
    prefixes::{Key, PREFIX_SYMBOLS_MAX, PrefixMap},
    table::PrefixTable,
};
use crate::rules::HeaderRules;

/// Routes of one tenant at most: those of one prefix are looked at one after the other.
pub const ROUTES_MAX: usize = 10_000;
/// Sets of one tenant at most.
pub const SETS_MAX: usize = 1_000;
/// Members of one set, and targets of one route, at most.
pub const MEMBERS_MAX: usize = 64;
/// Symbols that a route puts in front of a number at most.
const ADD_MAX: usize = 32;

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingFault {
    /// The path in the document: `tenants.default.routes[2].to[0]`.
    pub path: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl fmt::Display for RoutingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// All tenants' routing.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    tenants: BTreeMap<Box<str>, TenantRouting>,
}

/// One tenant's routing.
#[derive(Clone, Debug, Default)]
pub struct TenantRouting {
    pub(super) numbers: Option<NumberPlan>,
    pub(super) utc_offset: i16,
    pub(super) peers: BTreeMap<Box<str>, PeerRules>,
    /// Of the peers that have any.
    header_rules: BTreeMap<Box<str>, HeaderRules>,
    pub(super) sets: Vec<TrunkSet>,
    pub(super) routes: Vec<Rule>,
    /// All targets that routes and tables name.
    pub(super) targets: Vec<Target>,
    /// What tables offer.
    pub(super) offers: Vec<Offer>,
    prefixes: PrefixMap,
    /// Of each prefix, its part of `hits`.
    entries: Vec<Range<u32>>,
    /// The routes of each prefix, in the order of the document.
    hits: Vec<Hit>,
}

/// A set of peers.
#[derive(Clone, Debug)]
pub(super) struct TrunkSet {
    pub name: Box<str>,
    pub order: Order,
    /// By rising priority.
    pub members: Vec<Member>,
}

/// A route.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: Box<str>,
    pub from: Vec<From>,
    pub times: Times,
    /// Places in the targets.
    pub to: Vec<u16>,
    pub strip: u8,
    pub add: Box<str>,
    pub retry: RetryOn,
    pub patience: Duration,
}

/// Where a route may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Peer(Box<str>),
    /// The place of the set.
    Set(usize),
    Line(Box<str>),
}

/// One line of a table: a target and its price in millionths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub target: u16,
    pub price: u32,
}

/// A route that has a prefix, and what a table offers for it; an empty part of the offers: the route says itself.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub route: u32,
    pub offers: Range<u32>,
}

impl Routing {
    /// What `document` says, with the tables that `table` finds by tenant and name.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new<'t>(
        document: &RoutingDocument,
        table: impl Fn(&str, &str) -> Option<&'t PrefixTable>,
        known: &impl Known,
    ) -> Result<Self, Vec<RoutingFault>> {
        let mut faults = Vec::new();
        let tenants = document.tenants.iter().map(|(name, tenant)| {
            let builder = Builder {
                tenant: name,
                known,
                faults: &mut faults,
                names: HashMap::new(),
                built: TenantRouting::default(),
                entries: Vec::new(),
            };
            (name.clone(), builder.build(tenant, &|wanted| table(name, wanted)))
        });
        let tenants = tenants.collect();
        if faults.is_empty() { Ok(Self { tenants }) } else { Err(faults) }
    }

    /// The routing of this tenant.
    pub fn of(&self, tenant: &str) -> Option<&TenantRouting> {
        self.tenants.get(tenant)
    }
}

impl TenantRouting {
    /// What holds for calls of this peer.
    pub fn rules_of(&self, peer: &str) -> Option<&PeerRules> {
        self.peers.get(peer)
    }

    /// What is done to headers of calls to and from this peer, if anything.
    pub fn header_rules_of(&self, peer: &str) -> Option<&HeaderRules> {
        self.header_rules.get(peer)
    }

    /// How many prefixes lead anywhere.
    pub fn prefix_count(&self) -> usize {
        self.prefixes.count()
    }

    /// The routes for `number`: those of the longest prefix first, of one prefix in the order of the document.
    pub(super) fn hits(&self, number: &str) -> impl Iterator<Item = &Hit> {
        let entries = self.prefixes.matches(number).filter_map(|prefix| self.entries.get(prefix as usize));
        entries.flat_map(|entry| &self.hits[entry.start as usize..entry.end as usize])
    }
}

/// What there is besides the routing.
pub trait Known {
    /// Whether there is this peer.
    fn is_peer(&self, tenant: &str, name: &str) -> bool;
    /// Whether there is this line.
    fn is_line(&self, tenant: &str, name: &str) -> bool;
    /// Whether no set may bear this name, as a peer does.
    fn is_taken(&self, tenant: &str, name: &str) -> bool {
        self.is_peer(tenant, name)
    }
}

/// Anything may be there: for routing that was checked when it was set. What is gone since is passed over.
#[derive(Clone, Copy, Debug)]
pub struct Anything;

impl Known for Anything {
    fn is_peer(&self, _: &str, _: &str) -> bool {
        true
    }

    fn is_line(&self, _: &str, _: &str) -> bool {
        true
    }

    fn is_taken(&self, _: &str, _: &str) -> bool {
        false
    }
}

/// Makes one tenant's routing.
struct Builder<'a, K> {
    tenant: &'a str,
    known: &'a K,
    faults: &'a mut Vec<RoutingFault>,
    /// Targets by what is written.
    names: HashMap<Box<str>, u16>,
    built: TenantRouting,
    /// A route's prefixes, before they are sorted.
    entries: Vec<(Key, Hit)>,
}

impl<K: Known> Builder<'_, K> {
    fn build<'t>(
        mut self,
        tenant: &TenantDocument,
        table: &dyn Fn(&str) -> Option<&'t PrefixTable>,
    ) -> TenantRouting {
        if let Some(what) = tenant.numbers.as_ref().and_then(NumberPlan::fault) {
            self.fault("numbers", what);
        }
        if !(-840..=840).contains(&tenant.utc_offset_minutes) {
            self.fault("utc_offset_minutes", "allowed is -840 to 840");
        }
        self.built.numbers.clone_from(&tenant.numbers);
        self.built.utc_offset = tenant.utc_offset_minutes;
        for (name, rules) in &tenant.peers {
            self.add_peer(name, rules, tenant.numbers.is_some());
        }
        if tenant.sets.len() > SETS_MAX || tenant.routes.len() > ROUTES_MAX {
            self.fault("routes", &format!("at most {ROUTES_MAX} routes and {SETS_MAX} sets"));
            return self.built;
        }
        for (name, set) in &tenant.sets {
            self.add_set(name, set);
        }
        for (number, route) in (0_u32..).zip(&tenant.routes) {
            self.add_route(number, route, table);
        }
        self.finish()
    }

    fn fault(&mut self, place: &str, what: &str) {
        let path = format!("tenants.{}.{place}", self.tenant);
        self.faults.push(RoutingFault { path, what: what.into() });
    }

    fn add_peer(&mut self, name: &str, rules: &PeerRules, has_plan: bool) {
        let place = format!("peers.{name}");
        self.check_peer(&place, name);
        if rules.numbers != NumberForm::AsDialled && !has_plan {
            let what = "numbers cannot be translated without the tenant's `numbers` (country, national, international)";
            self.fault(&format!("{place}.numbers"), what);
        }
        for (setting, value) in [("calls_per_second", rules.calls_per_second), ("burst", rules.burst)] {
            if value.is_some_and(|value| !(1..=100_000).contains(&value)) {
                self.fault(&format!("{place}.{setting}"), "allowed is 1 to 100000");
            }
        }
        if rules.probe.is_some_and(|probe| !probe.is_sound()) {
            let what =
                "every_secs is 1 to 3600, fail_after and recover_after 1 to 100, slow_start_secs 0 to 3600";
            self.fault(&format!("{place}.probe"), what);
        }
        if !rules.rules.is_empty() {
            match HeaderRules::new(&rules.rules, self.built.numbers.as_ref()) {
                Ok(built) => drop(self.built.header_rules.insert(name.into(), built)),
                Err(faults) => {
                    for fault in faults {
                        self.fault(&format!("{place}.rules{}", fault.place), &fault.what);
                    }
                }
            }
        }
        self.built.peers.insert(name.into(), rules.clone());
    }

    fn check_peer(&mut self, place: &str, name: &str) {
        if !self.known.is_peer(self.tenant, name) {
            let what = format!("there is no peer {name:?}; `offhook peer list` shows what there is");
            self.fault(place, &what);
        }
    }

    fn add_set(&mut self, name: &str, set: &SetDocument) {
        let place = format!("sets.{name}");
        if self.known.is_taken(self.tenant, name) || name.contains(':') {
            self.fault(&place, "a set must not have the name of a peer, nor a ':' in it");
        }
        if set.members.is_empty() || set.members.len() > MEMBERS_MAX {
            self.fault(&format!("{place}.members"), &format!("a set has 1 to {MEMBERS_MAX} members"));
        }
        for (number, member) in set.members.iter().enumerate() {
            let place = format!("{place}.members[{number}]");
            self.check_peer(&place, &member.peer);
            if !(1..=10_000).contains(&member.weight) {
                self.fault(&format!("{place}.weight"), "allowed is 1 to 10000");
            }
        }
        let mut members = set.members.clone();
        members.sort_by_key(|member| member.priority);
        self.built.sets.push(TrunkSet { name: name.into(), order: set.order, members });
    }

    /// The place of the target that is written so.
    fn target(&mut self, place: &str, written: &str) -> Option<u16> {
        if let Some(known) = self.names.get(written) {
            return Some(*known);
        }
        let set = self.built.sets.iter().position(|set| *set.name == *written);
        let target = match (written.split_once(':'), set) {
            (Some(("line", name)), _) if self.known.is_line(self.tenant, name) => Target::Line(name.into()),
            (None, Some(set)) => Target::Set(set),
            (None, None) if self.known.is_peer(self.tenant, written) => Target::Peer(written.into()),
            _ => {
                let what = format!("there is no peer, set or line {written:?}; a line is written line:NAME");
                self.fault(place, &what);
                return None;
            }
        };
        let number = u16::try_from(self.built.targets.len()).ok()?;
        self.built.targets.push(target);
        self.names.insert(written.into(), number);
        Some(number)
    }

    fn add_route<'t>(
        &mut self,
        number: u32,
        route: &RouteDocument,
        table: &dyn Fn(&str) -> Option<&'t PrefixTable>,
    ) {
        let place = format!("routes[{number}]");
        let at = |setting: &str| format!("{place}.{setting}");
        let mut rule = Rule {
            name: if route.name.is_empty() { format!("{number}").into() } else { route.name.clone() },
            from: Vec::new(),
            times: Times::default(),
            to: Vec::new(),
            strip: route.strip,
            add: route.add.clone(),
            retry: RetryOn::default(),
            patience: route.patience(),
        };
        for (position, word) in route.from.iter().enumerate() {
            match From::parse(word) {
                Some(from) => rule.from.push(from),
                None => self.fault(
                    &at(&format!("from[{position}]")),
                    "write lines, peers, line:NAME, peer:NAME, or the beginning of a number",
                ),
            }
        }
        match Times::new(&route.days, &route.hours) {
            Ok(times) => rule.times = times,
            Err(word) => self.fault(&at("hours"), &format!("{word:?} is no time; write 08:00-17:30")),
        }
        match route.retry_on.as_deref().map(RetryOn::parse) {
            Some(Ok(retry)) => rule.retry = retry,
            Some(Err(word)) => {
                self.fault(&at("retry_on"), &format!("{word:?} is none; write 503, 5xx or timeout"));
            }
            None => {}
        }
        if route.ring_within_secs.is_some_and(|secs| !(1..=60).contains(&secs)) {
            self.fault(&at("ring_within_secs"), "allowed is 1 to 60");
        }
        let is_dialled = |symbol: u8| symbol.is_ascii_digit() || b"+*#".contains(&symbol);
        if route.strip > 32 || route.add.len() > ADD_MAX || !route.add.bytes().all(is_dialled) {
            self.fault(&at("add"), "strip is at most 32; add has at most 32 digits, '+', '*' and '#'");
        }
        if route.to.len() > MEMBERS_MAX {
            self.fault(&at("to"), &format!("at most {MEMBERS_MAX} targets"));
        }
        for (position, written) in route.to.iter().enumerate() {
            let target = self.target(&at(&format!("to[{position}]")), written);
            rule.to.extend(target);
        }
        self.built.routes.push(rule);
        match (&route.table, route.prefixes.is_empty(), route.to.is_empty()) {
            (Some(name), true, true) => match table(name) {
                Some(table) => self.add_table(number, &at("table"), table),
                None => {
                    let what = format!("there is no table {name:?}; `offhook route table set` makes one");
                    self.fault(&at("table"), &what);
                }
            },
            (None, false, false) => self.add_prefixes(number, &at("prefixes"), &route.prefixes),
            _ => self
                .fault(&place, "a route has prefixes and to, or a table alone; prefixes = [\"\"] takes all"),
        }
    }

    fn add_prefixes(&mut self, route: u32, place: &str, prefixes: &[Box<str>]) {
        for (position, prefix) in prefixes.iter().enumerate() {
            match Key::of_prefix(prefix) {
                Some(key) => self.entries.push((key, Hit { route, offers: 0..0 })),
                None => self.fault(
                    &format!("{place}[{position}]"),
                    &format!("a prefix has at most {PREFIX_SYMBOLS_MAX} digits, '+', '*' and '#'"),
                ),
            }
        }
    }

    fn add_table(&mut self, route: u32, place: &str, table: &PrefixTable) {
        let targets: Vec<_> = table.names.iter().map(|name| self.target(place, name)).collect();
        for lines in table.lines.chunk_by(|left, right| left.key == right.key) {
            let begin = self.built.offers.len();
            for line in lines.iter().take(MEMBERS_MAX) {
                if let Some(Some(target)) = targets.get(usize::from(line.name)) {
                    self.built.offers.push(Offer { target: *target, price: line.price });
                }
            }
            let offers = offset(begin)..offset(self.built.offers.len());
            self.entries.push((lines[0].key, Hit { route, offers }));
        }
    }

    /// Sorts the prefixes of all routes into one map.
    fn finish(mut self) -> TenantRouting {
        self.entries.sort_by_key(|(key, hit)| (*key, hit.route));
        let mut keys = Vec::with_capacity(self.entries.len());
        self.built.hits.reserve(self.entries.len());
        for same in self.entries.chunk_by(|left, right| left.0 == right.0) {
            let begin = self.built.hits.len();
            self.built.hits.extend(same.iter().map(|(_, hit)| hit.clone()));
            keys.push(same[0].0);
            self.built.entries.push(offset(begin)..offset(self.built.hits.len()));
        }
        self.built.prefixes = PrefixMap::new(&keys);
        self.built
    }
}

/// A place in a list whose length the tables' bounds keep below 2^32.
fn offset(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

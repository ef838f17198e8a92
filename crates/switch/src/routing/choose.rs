//! From a number to the peers that a call may be given to, step by step.

use std::{
    collections::VecDeque,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use offhook_base::{Instant, Random};
use rustc_hash::FxHasher;

use super::{
    conditions::RetryOn,
    document::{Member, Order},
    numbers::NumberForm,
    plan::{Hit, Offer, Rule, Target, TenantRouting, TrunkSet},
    probes::{Probes, Standing},
    turns::Turns,
};
use crate::{
    directory::{Line, Peer},
    peer_calls::PeerCalls,
    route::Query,
};

/// Peers that one call is given to at most: a caller does not wait for more.
const TRUNKS_MAX: usize = 16;

/// Is told how a decision is made.
pub trait Teller {
    /// One step. Its text has numbers and names: it is for the operator who asks.
    fn tell(&mut self, step: impl FnOnce() -> String);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Teller for Silent {
    fn tell(&mut self, _: impl FnOnce() -> String) {}
}

impl Teller for Vec<String> {
    fn tell(&mut self, step: impl FnOnce() -> String) {
        self.push(step());
    }
}

/// How the peers stand, and what chance says.
#[derive(Debug)]
pub struct Fleet<'a> {
    /// The calls that they have.
    pub calls: &'a PeerCalls,
    /// Whose turn it is.
    pub turns: &'a mut Turns,
    /// Who answers.
    pub probes: &'a Probes,
    /// When.
    pub now: Instant,
    /// For weights.
    pub random: &'a mut Random,
}

/// A peer that a call may be given to, and the number for it.
#[derive(Clone)]
pub struct Trunk {
    /// The peer.
    pub peer: Arc<Peer>,
    /// The number as it wants it.
    pub number: Box<str>,
}

/// Numbers are personal data: only the peer shows.
impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trunk").field(&self.peer.name).finish()
    }
}

/// Whom a call may be given to, one after the other.
#[derive(Clone, Debug)]
pub struct Trunks {
    /// Not asked yet; the first is next.
    pub untried: VecDeque<Trunk>,
    /// After which answers the next is asked.
    pub retry: RetryOn,
    /// How long one may take until it rings.
    pub patience: Duration,
}

/// What a route leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// A line.
    Line(Arc<Line>),
    /// Peers.
    Trunks(Trunks),
}

/// The first route for the call that leads anywhere.
pub(crate) fn routed(
    query: &Query<'_>,
    routing: &TenantRouting,
    fleet: &mut Fleet<'_>,
    teller: &mut impl Teller,
) -> Option<Found> {
    let plan = routing.numbers.as_ref();
    let translated = plan.and_then(|plan| plan.canonical(query.number));
    let matched = translated.as_deref().unwrap_or(query.number);
    if translated.as_deref().is_some_and(|translated| translated != query.number) {
        teller.tell(|| format!("number: {} is {matched}", query.number));
    }
    let calling = plan.and_then(|plan| plan.canonical(query.caller_number));
    let calling = calling.as_deref().unwrap_or(query.caller_number);
    let mut hits = 0;
    for hit in routing.hits(matched) {
        let rule = &routing.routes[hit.route as usize];
        hits += 1;
        if !rule.from.is_empty() && !rule.from.iter().any(|from| from.holds(query.caller, calling)) {
            teller.tell(|| format!("route {}: not for this caller", rule.name));
            continue;
        }
        if !rule.times.hold(query.at, routing.utc_offset) {
            teller.tell(|| format!("route {}: not at this time", rule.name));
            continue;
        }
        teller.tell(|| format!("route {}: holds", rule.name));
        let mut chooser = Chooser { query, routing, rule, fleet, teller, chosen: VecDeque::new() };
        if let Some(line) = chooser.follow(hit) {
            return Some(Found::Line(line));
        }
        let chosen = chooser.by_standing();
        if chosen.is_empty() {
            teller.tell(|| format!("route {}: nobody of it can be called; on to the next", rule.name));
            continue;
        }
        let untried = chosen
            .into_iter()
            .map(|peer| {
                let number = number_for(query, routing, rule, matched, &peer).into();
                Trunk { peer, number }
            })
            .collect();
        return Some(Found::Trunks(Trunks { untried, retry: rule.retry.clone(), patience: rule.patience }));
    }
    if hits == 0 {
        teller.tell(|| {
            format!("routes: none of {} prefixes is the beginning of {matched}", routing.prefix_count())
        });
    }
    None
}

/// The number as `peer` gets it: what was matched, changed by the route, in the peer's form.
fn number_for(query: &Query<'_>, routing: &TenantRouting, rule: &Rule, matched: &str, peer: &Peer) -> String {
    let form = routing.rules_of(&peer.name).map_or(NumberForm::AsDialled, |rules| rules.numbers);
    if rule.strip == 0 && rule.add.is_empty() && form == NumberForm::AsDialled {
        return query.number.to_string();
    }
    let rest = matched.get(usize::from(rule.strip)..).unwrap_or_default();
    let changed = format!("{}{rest}", rule.add);
    match &routing.numbers {
        Some(plan) if changed.starts_with('+') => plan.write(&changed, form),
        _ => changed,
    }
}

/// Gathers peers.
struct Chooser<'a, 'f, T> {
    query: &'a Query<'a>,
    routing: &'a TenantRouting,
    rule: &'a Rule,
    fleet: &'a mut Fleet<'f>,
    teller: &'a mut T,
    chosen: VecDeque<Arc<Peer>>,
}

impl<T: Teller> Chooser<'_, '_, T> {
    /// Takes the targets of a route, or of its table; a line ends it.
    fn follow(&mut self, hit: &Hit) -> Option<Arc<Line>> {
        let routing = self.routing;
        let offers = &routing.offers[hit.offers.start as usize..hit.offers.end as usize];
        if offers.is_empty() {
            return self.rule.to.iter().find_map(|&target| self.take(target, None));
        }
        offers.iter().find_map(|&Offer { target, price }| self.take(target, Some(price)))
    }

    /// Who answers comes before who answers again since not long, and that before who does not answer: asking it is still
    /// better than refusing the call.
    fn by_standing(self) -> VecDeque<Arc<Peer>> {
        let (mut up, mut later, mut down) = (VecDeque::new(), Vec::new(), Vec::new());
        for peer in self.chosen {
            match self.fleet.probes.standing(&peer, self.fleet.now) {
                Standing::Down => {
                    self.teller.tell(|| format!("  peer {} does not answer: it comes last", peer.name));
                    down.push(peer);
                }
                Standing::Recovering(part) if self.fleet.random.below(1000) >= part.into() => {
                    self.teller.tell(|| format!("  peer {} has just come back: not its turn yet", peer.name));
                    later.push(peer);
                }
                Standing::Recovering(_) | Standing::Up => up.push_back(peer),
            }
        }
        up.extend(later);
        up.extend(down);
        up
    }

    fn take(&mut self, target: u16, price: Option<u32>) -> Option<Arc<Line>> {
        match self.routing.targets.get(usize::from(target))? {
            Target::Line(name) if self.chosen.is_empty() => {
                let line = self.query.directory.line(self.query.caller.tenant(), name);
                let line = line.filter(|line| line.enabled);
                self.teller.tell(|| match line {
                    Some(_) => format!("  to line {name}"),
                    None => format!("  line {name}: there is none any more"),
                });
                return line.cloned();
            }
            // Where peers come first, a line is not rung after them.
            Target::Line(_) => {}
            Target::Peer(name) => self.take_peer(name, price, None),
            Target::Set(set) => {
                let set = self.routing.sets.get(*set)?;
                for member in self.in_order(set) {
                    self.take_peer(&member.peer, price, Some(set));
                }
            }
        }
        None
    }

    fn take_peer(&mut self, name: &str, price: Option<u32>, set: Option<&TrunkSet>) {
        let peer = self.query.directory.peer_named(self.query.caller.tenant(), name);
        let why_not = match peer {
            None => Some("there is none any more"),
            Some(peer) if !peer.enabled => Some("it is disabled"),
            Some(peer) if peer.host.is_none() => Some("it has no host: it only calls us"),
            // Its own number sent back to it would loop between the two.
            Some(peer) if self.query.caller.peer().is_some_and(|caller| caller.id == peer.id) => {
                Some("the call comes from it")
            }
            Some(peer) if self.chosen.iter().any(|known| known.id == peer.id) => return,
            Some(_) if self.chosen.len() >= TRUNKS_MAX => Some("enough are there already"),
            Some(_) => None,
        };
        let position = self.chosen.len() + 1;
        self.teller.tell(|| match why_not {
            Some(why) => format!("  peer {name}: left out, {why}"),
            None => {
                let of =
                    set.map_or(String::new(), |set| format!(", of set {} ({})", set.name, words(set.order)));
                let price = price.filter(|price| *price > 0);
                let price = price.map_or(String::new(), |price| format!(", at {}", f64::from(price) / 1e6));
                format!("  {position}. peer {name}{of}{price}")
            }
        });
        if let (Some(peer), None) = (peer, why_not) {
            self.chosen.push_back(Arc::clone(peer));
        }
    }

    /// The members of a set as they are to be asked now.
    fn in_order<'s>(&mut self, set: &'s TrunkSet) -> Vec<&'s Member> {
        let mut ordered = Vec::with_capacity(set.members.len());
        // One turn for the call, whatever the number of priorities.
        let turn = match set.order {
            Order::RoundRobin => self.fleet.turns.next(self.query.caller.tenant(), &set.name),
            _ => 0,
        };
        for equals in set.members.chunk_by(|left, right| left.priority == right.priority) {
            let begin = ordered.len();
            ordered.extend(equals);
            self.arrange(set, turn, &mut ordered[begin..]);
        }
        ordered
    }

    fn arrange(&mut self, set: &TrunkSet, turn: u32, members: &mut [&Member]) {
        match set.order {
            Order::Listed => {}
            Order::RoundRobin => members.rotate_left(turn as usize % members.len().max(1)),
            Order::Weight => self.draw(members),
            Order::Hash => members.sort_by_key(|member| {
                // Highest random weight: with one member more or less, only that one's callers move.
                let mut hasher = FxHasher::default();
                (&*member.peer, self.query.caller_number).hash(&mut hasher);
                std::cmp::Reverse(hasher.finish())
            }),
            Order::LeastLoad => members.sort_by_key(|member| {
                let peer = self.query.directory.peer_named(self.query.caller.tenant(), &member.peer);
                peer.map_or(u64::MAX, |peer| self.fleet.calls.load_ppm(peer))
            }),
        }
    }

    /// Draws one after the other by weight (as RFC 2782 does for servers of one priority).
    fn draw(&mut self, members: &mut [&Member]) {
        for first in 0..members.len() {
            let left = &mut members[first..];
            let total: u64 = left.iter().map(|member| u64::from(member.weight)).sum();
            let mut ticket = self.fleet.random.below(total.max(1));
            let drawn = left.iter().position(|member| {
                let weight = u64::from(member.weight);
                let is_it = ticket < weight;
                ticket = ticket.saturating_sub(weight);
                is_it
            });
            left.swap(0, drawn.unwrap_or(0));
        }
    }
}

const fn words(order: Order) -> &'static str {
    match order {
        Order::Listed => "as listed",
        Order::RoundRobin => "round robin",
        Order::Weight => "by weight",
        Order::Hash => "by caller",
        Order::LeastLoad => "least load",
    }
}

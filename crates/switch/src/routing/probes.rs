//! Which peers answer: asked by OPTIONS every so often (RFC 3261 §11), so that a call need not find out.
//!
//! Pure: who is to be asked comes out, whether it answered goes in. A peer that misses several questions in a row is down,
//! and up again after several answers; then it gets its calls back little by little.

use std::{collections::BTreeMap, time::Duration};

use offhook_base::{Instant, Random};

use super::document::ProbeRules;
use crate::directory::{Directory, Peer, PeerId};

/// Within this time of their first being heard of all peers are asked: nobody is flooded at a start, and nobody waits long.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers, or is not asked.
    Up,
    /// It answers again; it gets this part of its calls, 0..1000 thousandths.
    Recovering(u16),
    /// It does not answer.
    Down,
}

/// All peers that are asked.
#[derive(Debug, Default)]
pub struct Probes {
    peers: BTreeMap<PeerId, Probe>,
    /// The soonest question.
    next_at: Option<Instant>,
    counters: ProbeCounters,
}

/// What has come of the questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounters {
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that were not, or with 408 or 503.
    pub missed: u64,
    /// Peers that are down now.
    pub down: usize,
}

#[derive(Debug)]
struct Probe {
    rules: ProbeRules,
    next_at: Instant,
    /// A question is out.
    is_asked: bool,
    /// In a row.
    missed: u16,
    answered: u16,
    is_down: bool,
    up_since: Option<Instant>,
}

impl Probes {
    /// Takes up the peers that the routing of `directory` has asked, and forgets the others.
    pub fn directory_changed(&mut self, directory: &Directory, random: &mut Random, now: Instant) {
        let wanted = directory.peers().iter().filter(|peer| peer.enabled && peer.host.is_some());
        let wanted: BTreeMap<PeerId, ProbeRules> =
            wanted.filter_map(|peer| Some((peer.id, directory.rules_of(peer)?.probe?))).collect();
        self.peers.retain(|id, probe| wanted.get(id).is_some_and(|rules| *rules == probe.rules));
        for (id, rules) in wanted {
            self.peers.entry(id).or_insert_with(|| Probe {
                rules,
                next_at: now + FIRST_WITHIN.mul_f64(random.below(1000) as f64 / 1000.0),
                is_asked: false,
                missed: 0,
                answered: 0,
                is_down: false,
                up_since: None,
            });
        }
        self.look_ahead();
    }

    /// When someone is to be asked next.
    pub const fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Who is to be asked now. Who has not answered the question before has missed it.
    pub fn due(&mut self, now: Instant) -> Vec<(PeerId, Option<Turned>)> {
        let mut due = Vec::new();
        for (id, probe) in self.peers.iter_mut().filter(|(_, probe)| probe.next_at <= now) {
            let turned = if probe.is_asked { probe.missed(&mut self.counters) } else { None };
            probe.is_asked = true;
            probe.next_at = now + probe.rules.interval();
            due.push((*id, turned));
        }
        self.look_ahead();
        due
    }

    /// The peer has answered the question that is out, or it is certain that it will not.
    pub fn heard(&mut self, peer: PeerId, answered: bool, now: Instant) -> Option<Turned> {
        let probe = self.peers.get_mut(&peer).filter(|probe| probe.is_asked)?;
        probe.is_asked = false;
        if !answered {
            let turned = probe.missed(&mut self.counters);
            self.look_ahead();
            return turned;
        }
        self.counters.answered += 1;
        probe.missed = 0;
        probe.answered = probe.answered.saturating_add(1);
        if !probe.is_down || probe.answered < probe.rules.recover_after {
            return None;
        }
        probe.is_down = false;
        probe.up_since = Some(now);
        self.look_ahead();
        Some(Turned::Up)
    }

    /// How a peer stands.
    pub fn standing(&self, peer: &Peer, now: Instant) -> Standing {
        let Some(probe) = self.peers.get(&peer.id) else { return Standing::Up };
        let slow = Duration::from_secs(probe.rules.slow_start_secs.into());
        match probe.up_since {
            _ if probe.is_down => Standing::Down,
            Some(since) if now < since + slow => {
                let part = now.saturating_since(since).as_millis() * 1000 / slow.as_millis().max(1);
                Standing::Recovering(u16::try_from(part).unwrap_or(1000))
            }
            _ => Standing::Up,
        }
    }

    /// What it has counted.
    pub const fn counters(&self) -> ProbeCounters {
        self.counters
    }

    fn look_ahead(&mut self) {
        self.next_at = self.peers.values().map(|probe| probe.next_at).min();
        self.counters.down = self.peers.values().filter(|probe| probe.is_down).count();
    }
}

/// A peer's state has turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It does not answer any more.
    Down,
    /// It answers again.
    Up,
}

impl Probe {
    fn missed(&mut self, counters: &mut ProbeCounters) -> Option<Turned> {
        counters.missed += 1;
        self.answered = 0;
        self.missed = self.missed.saturating_add(1);
        let falls = !self.is_down && self.missed >= self.rules.fail_after;
        self.is_down |= falls;
        falls.then_some(Turned::Down)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{route::tests::peer, routing::Routing};

    fn at(secs: u64) -> Instant {
        Instant::default() + Duration::from_secs(secs)
    }

    fn directory(document: &str) -> Directory {
        let document = toml::from_str(document).unwrap();
        let routing = Routing::new(&document, |_, _| None, &crate::routing::Anything).unwrap();
        Directory::new(vec![], vec![], vec![], vec![], vec![peer(1, &[])]).with_routing(Arc::new(routing))
    }

    #[test]
    fn a_peer_falls_after_several_misses_and_comes_back_little_by_little() {
        let document = "[tenants.default.peers.peer1.probe]\nevery_secs = 10\nfail_after = 2\n\
                        recover_after = 2\nslow_start_secs = 100\n";
        let (mut probes, mut random, peer) = (Probes::default(), Random::from_number(1), peer(1, &[]));
        probes.directory_changed(&directory(document), &mut random, at(0));
        assert!(probes.next_at().is_some_and(|next| next < at(1)));
        assert_eq!(probes.due(at(1)), [(peer.id, None)]);
        assert_eq!(probes.heard(peer.id, false, at(2)), None);
        assert_eq!(probes.standing(&peer, at(2)), Standing::Up, "once is no time");
        assert_eq!(probes.due(at(11)), [(peer.id, None)]);
        // Silence: the next question is due, and the one before was not answered.
        assert_eq!(probes.due(at(21)), [(peer.id, Some(Turned::Down))]);
        assert_eq!(probes.standing(&peer, at(21)), Standing::Down);
        assert_eq!(probes.heard(peer.id, true, at(22)), None);
        assert_eq!(probes.due(at(31)), [(peer.id, None)]);
        assert_eq!(probes.heard(peer.id, true, at(32)), Some(Turned::Up));
        assert_eq!(probes.standing(&peer, at(82)), Standing::Recovering(500));
        assert_eq!(probes.standing(&peer, at(132)), Standing::Up);
        let ProbeCounters { answered, missed, down } = probes.counters();
        assert_eq!((answered, missed, down), (2, 2, 0));
        assert_eq!(probes.heard(peer.id, true, at(33)), None, "nobody asked");
        probes.directory_changed(&directory(""), &mut random, at(200));
        assert_eq!((probes.next_at(), probes.standing(&peer, at(200))), (None, Standing::Up));
    }
}

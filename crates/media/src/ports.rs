//! Which port pairs are free: an even port for RTP and the next one for RTCP (RFC 3550 §11).
//!
//! Pairs are drawn at random, since a range walked in order tells an attacker which ports carry calls (RFC 6056 §3.3).
//! A pair that was given back rests a while: late packets of its old call must not reach a new one.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use offhook_base::{Instant, Random};

/// How long a pair rests after its call. A few seconds outlast what networks hold back, and cost few ports.
pub const QUARANTINE: Duration = Duration::from_secs(5);

/// An RTP port and, one above it, an RTCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Even.
    pub rtp: u16,
}

impl PortPair {
    /// RTP's port and one.
    pub const fn rtcp(self) -> u16 {
        self.rtp + 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Taken,
    Resting,
}

/// The pairs of a range. Constant memory; drawing is constant time until the range is nearly full.
#[derive(Debug)]
pub struct PortPool {
    first: u16,
    pairs: Vec<State>,
    free: usize,
    /// In the order in which they were given back.
    resting: VecDeque<(Instant, usize)>,
    random: Random,
}

impl PortPool {
    /// All pairs that lie within `range` whole.
    pub fn new(range: RangeInclusive<u16>, random: Random) -> Self {
        let first = range.start().checked_next_multiple_of(2).unwrap_or(u16::MAX);
        let ports = usize::from(*range.end()).saturating_add(1).saturating_sub(usize::from(first));
        let pairs = vec![State::Free; ports / 2];
        Self { first, free: pairs.len(), pairs, resting: VecDeque::new(), random }
    }

    /// Draws a free pair; none if there is none.
    pub fn take(&mut self, now: Instant) -> Option<PortPair> {
        self.wake(now);
        if self.free == 0 {
            return None;
        }
        let start = self.random.below(self.pairs.len() as u64) as usize;
        let order = (start..self.pairs.len()).chain(0..start);
        let index = order.into_iter().find(|&index| self.pairs[index] == State::Free)?;
        self.pairs[index] = State::Taken;
        self.free -= 1;
        Some(PortPair { rtp: self.first + 2 * index as u16 })
    }

    /// Takes the pair of this RTP port, which another process had before. None if it is not a pair of the range, or taken.
    pub fn take_again(&mut self, rtp: u16) -> Option<PortPair> {
        let index = usize::from(rtp.checked_sub(self.first)? / 2);
        let state = self.pairs.get_mut(index).filter(|_| rtp.is_multiple_of(2))?;
        match state {
            State::Taken => return None,
            State::Free => self.free -= 1,
            // It rested for want of a call; now it has one.
            State::Resting => self.resting.retain(|(_, resting)| *resting != index),
        }
        *state = State::Taken;
        Some(PortPair { rtp })
    }

    /// Takes a pair back, to rest for [`QUARANTINE`]. Also for pairs that another program turned out to hold.
    pub fn give_back(&mut self, pair: PortPair, now: Instant) {
        let index = usize::from(pair.rtp.wrapping_sub(self.first) / 2);
        if let Some(state) = self.pairs.get_mut(index).filter(|state| **state == State::Taken) {
            *state = State::Resting;
            self.resting.push_back((now + QUARANTINE, index));
        }
    }

    /// Pairs taken now.
    pub fn taken(&self) -> usize {
        self.pairs.len() - self.free - self.resting.len()
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(until, index)) = self.resting.front()
            && until <= now
        {
            self.resting.pop_front();
            self.pairs[index] = State::Free;
            self.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pool(range: RangeInclusive<u16>, seed: u64) -> PortPool {
        PortPool::new(range, Random::from_number(seed))
    }

    #[test]
    fn every_pair_of_the_range_is_drawn_once_and_is_even() {
        let mut pool = pool(30_001..=30_020, 1);
        let drawn: BTreeSet<u16> =
            std::iter::from_fn(|| pool.take(Instant::default())).map(|pair| pair.rtp).collect();
        let expected: Vec<u16> = (30_002..30_020).step_by(2).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(pool.taken(), 9);
    }

    #[test]
    fn a_pair_given_back_rests_before_it_is_drawn_again() {
        let mut pool = pool(30_000..=30_001, 1);
        let start = Instant::default();
        let pair = pool.take(start).unwrap();
        pool.give_back(pair, start);
        pool.give_back(pair, start);
        assert_eq!(pool.taken(), 0);
        assert_eq!(pool.take(start + (QUARANTINE - Duration::from_nanos(1))), None);
        assert_eq!(pool.take(start + QUARANTINE), Some(pair));
    }

    #[test]
    fn a_pair_of_an_earlier_process_is_taken_once_and_only_of_the_range() {
        let mut pool = pool(30_000..=30_005, 1);
        let now = Instant::default();
        assert_eq!(pool.take_again(30_002), Some(PortPair { rtp: 30_002 }));
        assert_eq!([30_002, 30_003, 29_998, 30_006].map(|port| pool.take_again(port)), [None; 4]);
        let rest: BTreeSet<u16> = std::iter::from_fn(|| pool.take(now)).map(|pair| pair.rtp).collect();
        assert_eq!(rest, BTreeSet::from([30_000, 30_004]));
        pool.give_back(PortPair { rtp: 30_004 }, now);
        assert_eq!(pool.take_again(30_004), Some(PortPair { rtp: 30_004 }), "even while it rests");
        assert_eq!(pool.take(now + QUARANTINE), None);
        assert_eq!(pool.taken(), 3);
    }

    #[test]
    fn the_first_pair_cannot_be_foretold() {
        let firsts: BTreeSet<u16> =
            (0..50).map(|seed| pool(10_000..=60_000, seed).take(Instant::default()).unwrap().rtp).collect();
        assert!(firsts.len() > 45, "{}", firsts.len());
    }

    #[test]
    fn ranges_without_a_pair_and_the_last_port_of_all_are_no_trouble() {
        let now = Instant::default();
        assert_eq!(pool(5001..=5002, 1).take(now), None);
        assert_eq!(pool(u16::MAX..=u16::MAX, 1).take(now), None);
        assert_eq!(pool(65_534..=65_535, 1).take(now), Some(PortPair { rtp: 65_534 }));
    }
}

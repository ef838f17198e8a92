//! The timer values of RFC 3261 §17 and the queue that all machines of one owner wait in.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use offhook_base::Instant;

/// The base values every transaction timer is derived from (RFC 3261 §17.1.1.1, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerConfig {
    /// Estimated round trip. 500 ms in the RFC; larger on slow links, smaller only on private networks.
    pub t1: Duration,
    /// The longest interval between repeats of a non-INVITE request or an INVITE response. 4 s in the RFC.
    pub t2: Duration,
    /// How long a message may stay in the network. 5 s in the RFC.
    pub t4: Duration,
}

impl TimerConfig {
    /// The values of RFC 3261: T1 500 ms, T2 4 s, T4 5 s.
    pub const RFC3261: Self =
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) };

    /// 64*T1: Timers B, F, H, J, L, M, and the wait for a PRACK or an ACK. 32 s with the RFC's T1.
    pub fn patience(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: how long a failed INVITE's client answers repeats over UDP. At least 32 s whatever T1 is
    /// (§17.1.1.2).
    pub fn wait_d(&self) -> Duration {
        self.patience().max(Duration::from_secs(32))
    }

    /// The interval after one of `interval`: doubled, up to T2 (Timers E and G).
    pub fn back_off(&self, interval: Duration) -> Duration {
        interval.saturating_mul(2).min(self.t2)
    }
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self::RFC3261
    }
}

/// Rows that deadlines line up in: one for each length of time that is in use, and some for those in between.
const ROWS: usize = 12;

/// Deadlines of many keyed machines, soonest first.
///
/// Deletion is lazy: an entry is a promise to look at a key, not an order to act. The owner keeps beside each
/// machine when its earliest entry fires and calls [`TimerQueue::schedule`] only for something sooner; at a pop it
/// compares with the machine's real deadline and schedules again if that is later. A key then has one or two
/// entries, however often its deadline moves away, and the queue never grows past twice its owner's table.
///
/// Transactions wait for a handful of times (T1, T4, 64*T1 …), and of those who wait equally long the first to come is
/// the first to fire: each such time makes a row that is in order by itself. An entry goes to the row that ends closest
/// before it, so rows find their times without being told. A hundred thousand entries are written and read in their
/// order, where a heap would touch a cold line of memory at each of its levels. What fits no row goes to a heap.
#[derive(Debug)]
pub struct TimerQueue<K> {
    rows: [VecDeque<(Instant, K)>; ROWS],
    strays: BinaryHeap<Reverse<(Instant, K)>>,
    /// When the soonest entry of all fires, and where it is: that is asked for after every message.
    soonest: Option<(Instant, Place)>,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Row(usize),
    Strays,
}

impl<K: Ord + Copy> TimerQueue<K> {
    /// An empty queue; allocates on first use.
    pub const fn new() -> Self {
        Self { rows: [const { VecDeque::new() }; ROWS], strays: BinaryHeap::new(), soonest: None }
    }

    /// Asks for a look at `key` when `at` has come.
    pub fn schedule(&mut self, at: Instant, key: K) {
        let last = |row: &VecDeque<(Instant, K)>| row.back().map(|&(last, _)| last);
        let rows = self.rows.iter().enumerate().map(|(index, row)| (last(row), index));
        // An empty row has no last entry, and so is taken only where no other fits.
        let closest = rows.filter(|&(last, _)| last.is_none_or(|last| last <= at)).max();
        let place = match closest {
            Some((_, index)) => {
                self.rows[index].push_back((at, key));
                Place::Row(index)
            }
            None => {
                self.strays.push(Reverse((at, key)));
                Place::Strays
            }
        };
        // Of equal instants the one that was there before stays: it is the one at the front of its row.
        if self.soonest.is_none_or(|(soonest, _)| at < soonest) {
            self.soonest = Some((at, place));
        }
    }

    fn find_soonest(&self) -> Option<(Instant, Place)> {
        let strays = self.strays.peek().map(|&Reverse(entry)| (entry, Place::Strays));
        let fronts = self.rows.iter().enumerate().filter_map(|(index, row)| {
            let &entry = row.front()?;
            Some((entry, Place::Row(index)))
        });
        fronts.chain(strays).min_by_key(|&(entry, _)| entry).map(|((at, _), place)| (at, place))
    }

    /// When the soonest entry fires. It may turn out to be stale.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.soonest.map(|(at, _)| at)
    }

    /// Takes the soonest entry that has fired at `now`. Entries of one instant come in an order that depends only on what
    /// was scheduled, so a run repeats exactly.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let (_, place) = self.soonest.filter(|&(at, _)| at <= now)?;
        let entry = match place {
            Place::Row(index) => self.rows[index].pop_front(),
            Place::Strays => self.strays.pop().map(|Reverse(entry)| entry),
        };
        self.soonest = self.find_soonest();
        entry
    }

    /// How many entries wait, stale ones included.
    pub fn len(&self) -> usize {
        self.rows.iter().map(VecDeque::len).sum::<usize>() + self.strays.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Ord + Copy> Default for TimerQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_fire_in_order_of_time_and_never_early() {
        let at = |ms| Instant::default() + Duration::from_millis(ms);
        let mut queue = TimerQueue::new();
        for (ms, key) in [(30, 'c'), (10, 'a'), (20, 'b'), (10, 'z')] {
            queue.schedule(at(ms), key);
        }
        assert_eq!(queue.pop_due(at(9)), None);
        assert_eq!(queue.pop_due(at(20)), Some((at(10), 'a')));
        assert_eq!(queue.pop_due(at(20)), Some((at(10), 'z')));
        assert_eq!(queue.pop_due(at(20)), Some((at(20), 'b')));
        assert_eq!(queue.pop_due(at(20)), None);
        assert_eq!(queue.next_deadline(), Some(at(30)));
    }

    /// Goal: whatever the mix of times and keys, the order of time is the heap's and nothing is lost. Method: more lengths of
    /// time than there are rows, instants that many keys share, and pops in between, beside a sorted list.
    #[test]
    fn any_mix_of_times_fires_in_order() {
        let at = |ms: u64| Instant::default() + Duration::from_millis(ms);
        let (mut queue, mut model) = (TimerQueue::new(), Vec::new());
        let mut random = offhook_base::Random::from_number(7);
        for step in 0..20_000_u64 {
            let wait = match random.next_u64() % 24 {
                kind @ 0..20 => 100 * kind,
                _ => random.next_u64() % 3_000,
            };
            let key = random.next_u64();
            queue.schedule(at(step + wait), key);
            model.push((at(step + wait), key));
            if step % 100 == 0 {
                model.sort_unstable();
                let due = model.partition_point(|&(when, _)| when <= at(step));
                let mut fired: Vec<_> = std::iter::from_fn(|| queue.pop_due(at(step))).collect();
                assert!(fired.is_sorted_by_key(|&(when, _)| when));
                fired.sort_unstable();
                assert_eq!(fired, model.drain(..due).collect::<Vec<_>>());
                assert_eq!(queue.next_deadline(), model.first().map(|&(when, _)| when));
                assert_eq!(queue.len(), model.len());
            }
        }
        assert!(!queue.strays.is_empty(), "more lengths of time than rows were in play");
    }

    #[test]
    fn equal_waits_need_no_heap() {
        let mut queue = TimerQueue::new();
        for step in 0..10_000_u64 {
            let now = Instant::default() + Duration::from_millis(step);
            for wait in [500, 5_000, 32_000, 4_000, 180_000] {
                queue.schedule(now + Duration::from_millis(wait), step);
            }
            while queue.pop_due(now).is_some() {}
        }
        assert!(queue.strays.is_empty());
    }

    #[test]
    fn timer_d_is_never_below_32_s() {
        let quick = TimerConfig { t1: Duration::from_millis(50), ..TimerConfig::RFC3261 };
        assert_eq!(quick.wait_d(), Duration::from_secs(32));
        assert_eq!(quick.patience(), Duration::from_millis(3200));
    }
}

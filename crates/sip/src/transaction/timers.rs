//! The timer values of RFC 3261 §17 and the queue that all machines of one owner wait in.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

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

/// Deadlines of many keyed machines, soonest first.
///
/// Deletion is lazy: an entry is a promise to look at a key, not an order to act. The owner keeps beside each
/// machine when its earliest entry fires and calls [`TimerQueue::schedule`] only for something sooner; at a pop it
/// compares with the machine's real deadline and schedules again if that is later. A key then has one or two
/// entries, however often its deadline moves away, and the queue never grows past twice its owner's table.
#[derive(Debug)]
pub struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> TimerQueue<K> {
    /// An empty queue; allocates on first use.
    pub const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Asks for a look at `key` when `at` has come.
    pub fn schedule(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// When the soonest entry fires. It may turn out to be stale.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|&Reverse((at, _))| at)
    }

    /// Takes the soonest entry that has fired at `now`. Entries of one instant come in the order of their keys, so a
    /// run repeats exactly.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// How many entries wait, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
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

    #[test]
    fn timer_d_is_never_below_32_s() {
        let quick = TimerConfig { t1: Duration::from_millis(50), ..TimerConfig::RFC3261 };
        assert_eq!(quick.wait_d(), Duration::from_secs(32));
        assert_eq!(quick.patience(), Duration::from_millis(3200));
    }
}

//! Packets that came before one that is still missing, and how long it is waited for.
//!
//! On a network that only loses packets, waiting helps nobody: what is missing is concealed at once. Where packets overtake
//! each other it is worth the wait, and how late they come says how long. So patience starts at zero, grows to what the
//! last late packet would have needed, and shrinks with every gap that nothing ever filled.

use std::time::Duration;

use offhook_base::Instant;

/// Packets that wait at most. More than the longest patience holds at 10 ms a packet.
const HELD_MAX: usize = 8;
/// The longest patience: three packets of 20 ms. A phone's jitter buffer seldom has room for more.
const PATIENCE_MAX: Duration = Duration::from_millis(60);
/// A shorter one ends: it would seldom see the next packet.
const PATIENCE_MIN: Duration = Duration::from_millis(5);
/// Beyond what the last late packet needed: the next will not come at the same moment.
const MARGIN: Duration = Duration::from_millis(5);

/// A packet that waits for one before it.
#[derive(Debug, Default)]
pub struct Held {
    /// Its number.
    pub sequence: u16,
    /// Its time.
    pub timestamp: u32,
    /// Its payload.
    pub payload: Vec<u8>,
    since: Instant,
}

/// A gap that was concealed: what was missing, and since when.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u16,
    count: u16,
    noticed: Instant,
}

/// The packets of one stream that wait.
#[derive(Debug, Default)]
pub struct Hold {
    /// The next one first.
    packets: Vec<Held>,
    /// Used up; their buffers serve again.
    spare: Vec<Held>,
    patience: Duration,
    gap: Option<Gap>,
}

impl Hold {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether a packet is worth waiting for.
    pub fn is_patient(&self) -> bool {
        !self.patience.is_zero()
    }

    /// Keeps a packet; false if the same waits already.
    pub fn keep(&mut self, sequence: u16, timestamp: u32, payload: &[u8], now: Instant) -> bool {
        let is_before = |held: &Held| (held.sequence.wrapping_sub(sequence) as i16) < 0;
        let at = self.packets.partition_point(is_before);
        if self.packets.get(at).is_some_and(|held| held.sequence == sequence) {
            return false;
        }
        let mut held = self.spare.pop().unwrap_or_default();
        held.payload.clear();
        held.payload.extend_from_slice(payload);
        (held.sequence, held.timestamp, held.since) = (sequence, timestamp, now);
        self.packets.insert(at, held);
        true
    }

    /// The packet to go on with: the one that `expected` names, or the first one if patience is at its end.
    pub fn next(&mut self, expected: u16, now: Instant) -> Option<Held> {
        let first = self.packets.first()?;
        let is_missing = first.sequence != expected;
        // A packet that waits longer than the first came before it: both wait for the same one.
        let since = self.packets.iter().map(|held| held.since).min()?;
        if is_missing && now - since < self.patience && self.packets.len() < HELD_MAX {
            return None;
        }
        if is_missing {
            self.conceals(expected, first.sequence.wrapping_sub(expected), since);
        }
        Some(self.packets.remove(0))
    }

    /// Takes back what is used up.
    pub fn recycle(&mut self, held: Held) {
        self.spare.push(held);
    }

    /// `count` packets from `first` on are concealed; that they are missing was noticed at `noticed`.
    pub fn conceals(&mut self, first: u16, count: u16, noticed: Instant) {
        // Nothing of the gap before has come: it was a loss.
        if self.gap.is_some() {
            self.patience = self.patience * 7 / 8;
            if self.patience < PATIENCE_MIN {
                self.patience = Duration::ZERO;
            }
        }
        self.gap = Some(Gap { first, count, noticed });
    }

    /// A packet has come after its place was filled.
    pub fn came_late(&mut self, sequence: u16, now: Instant) {
        let Some(gap) = self.gap.filter(|gap| sequence.wrapping_sub(gap.first) < gap.count) else { return };
        let needed = now - gap.noticed + MARGIN;
        // What comes later than anybody would wait for is as good as lost.
        if needed <= PATIENCE_MAX {
            self.patience = self.patience.max(needed);
            self.gap = None;
        }
    }

    /// The stream begins anew.
    pub fn clear(&mut self) {
        self.spare.append(&mut self.packets);
        self.gap = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_driver_nanos(ms * 1_000_000 + 1)
    }

    #[test]
    fn patience_grows_with_what_comes_late_and_shrinks_with_what_never_comes() {
        let mut hold = Hold::default();
        assert!(!hold.is_patient());
        hold.conceals(7, 1, at(100));
        hold.came_late(6, at(104));
        assert!(!hold.is_patient(), "not of the gap");
        hold.came_late(7, at(112));
        assert_eq!(hold.patience, Duration::from_millis(17));
        for number in 0..12 {
            hold.conceals(100 + 2 * number, 1, at(200));
        }
        assert!(!hold.is_patient());
        hold.conceals(200, 1, at(300));
        hold.came_late(200, at(400));
        assert!(!hold.is_patient(), "too late to wait for");
    }

    #[test]
    fn packets_leave_in_order_when_the_missing_one_comes_or_patience_ends() {
        let mut hold = Hold { patience: Duration::from_millis(30), ..Hold::default() };
        assert!(hold.keep(u16::MAX, 0, &[1], at(0)) && hold.keep(1, 320, &[3], at(10)));
        assert!(hold.keep(0, 160, &[2], at(20)) && !hold.keep(0, 160, &[2], at(20)));
        assert!(hold.next(u16::MAX - 1, at(29)).is_none());
        let order: Vec<u16> = [u16::MAX, 0, 1]
            .iter()
            .filter_map(|expected| hold.next(*expected, at(29)))
            .map(|held| held.sequence)
            .collect();
        assert_eq!(order, [u16::MAX, 0, 1]);
        hold.keep(5, 0, &[], at(40));
        assert!(hold.next(4, at(69)).is_none());
        assert_eq!(hold.next(4, at(70)).map(|held| held.sequence), Some(5));
    }

    #[test]
    fn a_full_hold_waits_no_longer() {
        let mut hold = Hold { patience: PATIENCE_MAX, ..Hold::default() };
        for number in 0..HELD_MAX as u16 {
            assert!(hold.next(1, at(0)).is_none());
            hold.keep(2 + number, 0, &[], at(0));
        }
        assert!(hold.next(1, at(0)).is_some());
    }
}

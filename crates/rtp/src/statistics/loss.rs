//! Which sequence numbers came, which came twice, and which never did. RFC 3550 §A.1, §A.3.

use super::Progress;
use crate::rtp::SequenceNumber;

/// Packets behind the newest after which one that has not come is lost for good.
pub const SETTLE_PACKETS: u64 = 64;
/// A step ahead by this much or more is a leap, not a loss: MAX_DROPOUT of RFC 3550 §A.1.
const DROPOUT_MAX: u16 = 3000;
/// A step back by this much or more is a leap, not a late packet: MAX_MISORDER of RFC 3550 §A.1.
const MISORDER_MAX: u16 = 100;

/// What a sequence number tells of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Ahead of all before.
    InOrder,
    /// Behind, and missed until now.
    Reordered,
    /// Behind so far that it was settled: counted as lost, or a copy.
    Late,
    /// Seen before.
    Duplicate,
    /// A leap; alone it proves nothing.
    Suspect,
    /// The second of two that leapt to the same place: the sender began anew.
    Restart,
}

/// Settled losses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossTally {
    pub(super) expected: u64,
    pub(super) lost: u64,
    pub(super) bursts: u64,
    pub(super) burst_max: u64,
    /// Length of the run of losses that the newest settled packet belongs to.
    run: u64,
}

impl LossTally {
    fn settle(&mut self, received: bool) {
        if received {
            self.expected += 1;
            self.run = 0;
        } else {
            self.settle_lost(1);
        }
    }

    fn settle_lost(&mut self, count: u64) {
        self.expected += count;
        self.lost += count;
        self.bursts += u64::from(self.run == 0 && count > 0);
        self.run += count;
        self.burst_max = self.burst_max.max(self.run);
    }

    /// In the order of the fields.
    pub(super) const fn to_numbers(self) -> [u64; 5] {
        [self.expected, self.lost, self.bursts, self.burst_max, self.run]
    }

    pub(super) const fn from_numbers([expected, lost, bursts, burst_max, run]: [u64; 5]) -> Self {
        Self { expected, lost, bursts, burst_max, run }
    }

    /// Mean run over 1 / (1 − loss), what random loss of the same rate would show; 1.0 where it is less.
    pub(super) fn burst_ratio(&self) -> f64 {
        if self.bursts == 0 {
            return 1.0;
        }
        let mean_run = self.lost as f64 / self.bursts as f64;
        let received_share = (self.expected - self.lost) as f64 / self.expected as f64;
        (mean_run * received_share).max(1.0)
    }
}

/// The newest packets of one source.
#[derive(Clone, Debug)]
pub(super) struct SequenceWindow {
    /// Newest number, with its turns above 16 bits, counted from that of the first packet.
    pub(super) newest: u64,
    /// That of the first packet.
    pub(super) first: u64,
    /// Bit n: `newest - n` came. Bits before the first packet are never settled.
    pub(super) seen: u64,
    pub(super) received: u64,
    /// Where a leap would go on.
    expected_after_leap: Option<SequenceNumber>,
}

impl SequenceWindow {
    pub(super) fn starting_at(sequence_number: SequenceNumber) -> Self {
        // One turn ahead, so that a packet from before the first one has a number too.
        let first = u64::from(sequence_number.0) + (1 << 16);
        Self { newest: first, first, seen: 1, received: 1, expected_after_leap: None }
    }

    pub(super) const fn from_progress(progress: &Progress) -> Self {
        let &Progress { newest, first, seen, received, .. } = progress;
        Self { newest, first, seen, received, expected_after_leap: None }
    }

    /// False after a leap that may be a restart.
    pub(super) const fn is_undisturbed(&self) -> bool {
        self.expected_after_leap.is_none()
    }

    pub(super) fn insert(&mut self, sequence_number: SequenceNumber, tally: &mut LossTally) -> Arrival {
        let newest = SequenceNumber(self.newest as u16);
        let ahead = sequence_number.steps_since(newest);
        let behind = newest.steps_since(sequence_number);
        let arrival = if ahead == 0 {
            Arrival::Duplicate
        } else if ahead < DROPOUT_MAX {
            self.advance(u64::from(ahead), tally);
            Arrival::InOrder
        } else if behind < MISORDER_MAX {
            self.fill(u64::from(behind))
        } else if self.expected_after_leap == Some(sequence_number) {
            return Arrival::Restart;
        } else {
            self.expected_after_leap = Some(sequence_number.next());
            return Arrival::Suspect;
        };
        self.expected_after_leap = None;
        self.received += u64::from(!matches!(arrival, Arrival::Duplicate | Arrival::Late));
        arrival
    }

    /// Moves the window on and settles what falls out of it.
    fn advance(&mut self, steps: u64, tally: &mut LossTally) {
        for age in (SETTLE_PACKETS.saturating_sub(steps)..SETTLE_PACKETS).rev() {
            self.settle(age, tally);
        }
        // Numbers that the leap jumped over so far that they never entered the window.
        tally.settle_lost(steps.saturating_sub(SETTLE_PACKETS));
        self.seen = if steps < SETTLE_PACKETS { self.seen << steps | 1 } else { 1 };
        self.newest += steps;
    }

    /// Settles the packet `age` behind the newest, unless it is from before the first.
    fn settle(&self, age: u64, tally: &mut LossTally) {
        if self.newest - self.first >= age {
            tally.settle(self.seen >> age & 1 == 1);
        }
    }

    fn fill(&mut self, behind: u64) -> Arrival {
        if behind >= SETTLE_PACKETS {
            return Arrival::Late;
        }
        let bit = 1 << behind;
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        // What was sent before the packet that happened to come first belongs to the stream too.
        self.first = self.first.min(self.newest - behind);
        Arrival::Reordered
    }

    /// Settles what is still in the window, as at the end of the source.
    pub(super) fn settle_all(&self, tally: &mut LossTally) {
        for age in (0..SETTLE_PACKETS).rev() {
            self.settle(age, tally);
        }
    }

    /// Packets that the numbers say were sent.
    pub(super) const fn expected(&self) -> u64 {
        self.newest - self.first + 1
    }

    /// Packets received, copies and very late ones left out.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// For a report block: turns and newest number.
    pub(super) const fn extended_highest(&self) -> u32 {
        (self.newest - (1 << 16)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(numbers: impl IntoIterator<Item = u16>) -> (LossTally, Vec<Arrival>) {
        let mut tally = LossTally::default();
        let mut numbers = numbers.into_iter();
        let mut window = SequenceWindow::starting_at(SequenceNumber(numbers.next().unwrap()));
        let arrivals = numbers.map(|number| window.insert(SequenceNumber(number), &mut tally)).collect();
        window.settle_all(&mut tally);
        (tally, arrivals)
    }

    #[test]
    fn a_stream_without_loss_has_none_over_the_turn_of_the_number() {
        let (tally, arrivals) = run((0..1000u16).map(|n| n.wrapping_add(65_000)));
        assert_eq!((tally.expected, tally.lost, tally.bursts), (1000, 0, 0));
        assert!(arrivals.iter().all(|arrival| *arrival == Arrival::InOrder));
    }

    #[test]
    fn runs_of_losses_are_counted_whole_however_long() {
        let missing = |n: &u16| !matches!(n, 10 | 20..=22 | 100..=299);
        let (tally, _) = run((0..1000).filter(missing));
        assert_eq!((tally.expected, tally.lost, tally.bursts, tally.burst_max), (1000, 204, 3, 200));
        assert!((tally.burst_ratio() - 68.0 * 0.796).abs() < 1e-9);
    }

    #[test]
    fn a_late_packet_within_the_window_is_not_a_loss() {
        let (tally, arrivals) = run([0, 1, 3, 2, 4, 4, 3]);
        assert_eq!((tally.expected, tally.lost), (5, 0));
        use Arrival::{Duplicate, InOrder, Reordered};
        assert_eq!(arrivals, [InOrder, InOrder, Reordered, InOrder, Duplicate, Duplicate]);
    }

    #[test]
    fn a_packet_from_before_the_first_belongs_to_the_stream() {
        let (tally, arrivals) = run([2, 0, 1, 3]);
        assert_eq!((tally.expected, tally.lost), (4, 0));
        assert_eq!(arrivals, [Arrival::Reordered, Arrival::Reordered, Arrival::InOrder]);
    }

    #[test]
    fn one_stray_number_is_suspect_and_two_in_a_row_a_restart() {
        let (_, arrivals) = run([0, 30_000, 1, 30_001, 30_002]);
        use Arrival::{InOrder, Restart, Suspect};
        assert_eq!(arrivals, [Suspect, InOrder, Suspect, Restart]);
    }

    #[test]
    fn very_late_packets_stay_lost() {
        let (tally, arrivals) = run((0..100).filter(|n| *n != 5).chain([5]));
        assert_eq!((tally.lost, *arrivals.last().unwrap()), (1, Arrival::Late));
    }
}

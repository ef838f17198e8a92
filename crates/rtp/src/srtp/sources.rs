//! Which packets were already seen, for each source: the packet index (RFC 3711 §3.3.1) and the replay list (§3.3.2).

use crate::rtp::{SequenceNumber, Ssrc};

/// Most sources in one direction under one key. An audio call has one, a simulcast video a handful.
pub const SOURCES_MAX: usize = 16;
/// Packets behind the newest that are still accepted once. RFC 3711 §3.3.2 asks for at least 64.
pub const REPLAY_WINDOW_PACKETS: u64 = 128;

/// The newest index of a stream and, as bits, which of the [`REPLAY_WINDOW_PACKETS`] up to it were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReplayWindow {
    newest: u64,
    /// Bit n: index `newest - n` was seen.
    seen: u128,
}

impl ReplayWindow {
    const fn starting_at(index: u64) -> Self {
        Self { newest: index, seen: 1 }
    }

    const fn is_fresh(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(age) => age < REPLAY_WINDOW_PACKETS && self.seen >> age & 1 == 0,
        }
    }

    const fn insert(&mut self, index: u64) {
        if let Some(age) = self.newest.checked_sub(index) {
            self.seen |= 1 << age;
        } else {
            let ahead = index - self.newest;
            self.seen = if ahead < REPLAY_WINDOW_PACKETS { self.seen << ahead | 1 } else { 1 };
            self.newest = index;
        }
    }
}

/// What becomes of the least recently used source when another comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It is forgotten. For receiving: the newcomer has proved that it holds the key.
    ForgetOldest,
    /// The newcomer is refused. For sending: a source that came back with its rollover counter at zero would use
    /// keystream twice.
    Refuse,
}

/// Packets of a source after which it is worth noting again how far it has come (see [`Progress`]).
pub const NOTE_EVERY_PACKETS: u64 = 1 << 13;

/// How far a key has come with one source: what another process must know to go on under that key.
///
/// It is noted once in [`NOTE_EVERY_PACKETS`], and not for each packet. RFC 3711 §3.3.1 and appendix A find the index of a
/// packet from any newest index that lies less than 2^15 packets from the true one. So from a note on there are 2^15 - 2^13
/// packets that may pass unseen before the rollover counter is misjudged: at 50 packets a second eight minutes, more than an
/// outage after which calls are gone on with. Sequence numbers that were used since the note are not known as used: a replay
/// of one is opened, or closed, as it was the first time, with the same result. No index is used for another packet, as a
/// sender's numbers rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The source.
    pub ssrc: Ssrc,
    /// The newest packet index: rollover counter and sequence number.
    pub index: u64,
}

/// A source and what was seen of it.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: Ssrc,
    /// The index that was noted last.
    noted: u64,
    window: ReplayWindow,
    /// Turn at which it was last used.
    used: u64,
}

/// A packet index that may be used, and where it will be noted once the packet proves to be sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    ssrc: Ssrc,
    /// The packet's index: 48 bits for RTP, 31 for RTCP.
    pub(super) index: u64,
    slot: Option<usize>,
}

/// Why a packet is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Seen before, or too far behind to tell.
    Replayed,
    /// No place for another source.
    TooManySources,
}

/// The sources of one direction, in a fixed table.
#[derive(Debug)]
pub(super) struct Sources {
    table: [Option<Source>; SOURCES_MAX],
    when_full: WhenFull,
    turn: u64,
    /// A source has come so far since it was noted, or is new.
    note_due: bool,
}

impl Sources {
    pub(super) const fn new(when_full: WhenFull) -> Self {
        Self { table: [None; SOURCES_MAX], when_full, turn: 0, note_due: false }
    }

    /// Whether it is time to note how far the sources have come.
    pub(super) const fn is_note_due(&self) -> bool {
        self.note_due
    }

    /// How far each source has come, to be noted now.
    pub(super) fn note_progress(&mut self) -> impl Iterator<Item = Progress> {
        self.note_due = false;
        self.table.iter_mut().flatten().map(|source| {
            source.noted = source.window.newest;
            Progress { ssrc: source.ssrc, index: source.window.newest }
        })
    }

    /// Goes on with a source of another process.
    pub(super) fn resume(&mut self, Progress { ssrc, index }: Progress) {
        if let Ok(admission) = self.admit(ssrc, index) {
            self.note(admission);
        }
    }

    /// The newest index of a source, if there is one.
    pub(super) fn newest(&self, ssrc: Ssrc) -> Option<u64> {
        self.slot(ssrc).and_then(|slot| self.table[slot]).map(|source| source.window.newest)
    }

    fn slot(&self, ssrc: Ssrc) -> Option<usize> {
        self.table.iter().position(|source| source.is_some_and(|source| source.ssrc == ssrc))
    }

    /// Estimates the index of an RTP packet and checks that it is fresh.
    pub(super) fn admit_rtp(
        &self,
        ssrc: Ssrc,
        sequence_number: SequenceNumber,
    ) -> Result<Admission, NotAdmitted> {
        let index = match self.newest(ssrc) {
            // RFC 3711 §3.3.1: the first packet of a source starts with a rollover counter of zero.
            None => u64::from(sequence_number.0),
            Some(newest) => estimate_index(newest, sequence_number).ok_or(NotAdmitted::Replayed)?,
        };
        self.admit(ssrc, index)
    }

    /// Checks that an index is fresh. Changes nothing: the packet may yet be forged.
    pub(super) fn admit(&self, ssrc: Ssrc, index: u64) -> Result<Admission, NotAdmitted> {
        let slot = self.slot(ssrc);
        match slot.and_then(|slot| self.table[slot]) {
            Some(source) if !source.window.is_fresh(index) => Err(NotAdmitted::Replayed),
            None if self.when_full == WhenFull::Refuse && self.table.iter().all(Option::is_some) => {
                Err(NotAdmitted::TooManySources)
            }
            _ => Ok(Admission { ssrc, index, slot }),
        }
    }

    /// Notes that the packet was sound.
    pub(super) fn note(&mut self, admission: Admission) {
        let Admission { ssrc, index, slot } = admission;
        self.turn += 1;
        let slot = slot.unwrap_or_else(|| self.free_or_oldest());
        match &mut self.table[slot] {
            Some(source) if source.ssrc == ssrc => {
                source.window.insert(index);
                source.used = self.turn;
                self.note_due |= index >= source.noted + NOTE_EVERY_PACKETS;
            }
            place => {
                let window = ReplayWindow::starting_at(index);
                *place = Some(Source { ssrc, noted: index, window, used: self.turn });
                self.note_due = true;
            }
        }
    }

    fn free_or_oldest(&self) -> usize {
        let used = |slot: &usize| self.table[*slot].map_or(0, |source| source.used);
        (0..SOURCES_MAX).min_by_key(used).unwrap_or_default()
    }
}

/// The index closest to `newest` that ends in `sequence_number`; none if it would lie before zero or past 2^48.
/// RFC 3711 §3.3.1 and appendix A.
fn estimate_index(newest: u64, sequence_number: SequenceNumber) -> Option<u64> {
    let rollovers = newest >> 16;
    let (highest, sequence_number) = (newest as u16, sequence_number.0);
    let rollovers = if highest < 0x8000 {
        if sequence_number.saturating_sub(highest) > 0x8000 { rollovers.checked_sub(1)? } else { rollovers }
    } else if highest - 0x8000 > sequence_number {
        rollovers + 1
    } else {
        rollovers
    };
    (rollovers < 1 << 32).then_some(rollovers << 16 | u64::from(sequence_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(1);

    #[test]
    fn the_index_is_the_closest_that_fits() {
        let estimate = |newest, sequence| estimate_index(newest, SequenceNumber(sequence));
        assert_eq!(estimate(100, 101), Some(101));
        assert_eq!(estimate(0xffff, 0), Some(0x1_0000));
        assert_eq!(estimate(0x1_0000, 0xffff), Some(0xffff));
        assert_eq!(estimate(0x1_8000, 0), Some(0x1_0000));
        assert_eq!(estimate(0x1_8001, 0), Some(0x2_0000));
        assert_eq!(estimate(0, 0xffff), None, "before the beginning");
        assert_eq!(estimate(0xffff_ffff_ffff, 0), None, "past the end of the key's life");
    }

    #[test]
    fn an_index_is_accepted_once_and_not_behind_the_window() {
        let mut window = ReplayWindow::starting_at(1000);
        for index in [1000, 1000 - REPLAY_WINDOW_PACKETS, 0] {
            assert!(!window.is_fresh(index), "{index}");
        }
        window.insert(1000 - REPLAY_WINDOW_PACKETS + 1);
        assert!(!window.is_fresh(1000 - REPLAY_WINDOW_PACKETS + 1));
        assert!(window.is_fresh(999));
        window.insert(1002);
        assert!(window.is_fresh(1001) && !window.is_fresh(1000) && !window.is_fresh(1002));
        window.insert(5000);
        assert!(window.is_fresh(4999) && !window.is_fresh(1001));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_or_refuses_the_newcomer() {
        for when_full in [WhenFull::ForgetOldest, WhenFull::Refuse] {
            let mut sources = Sources::new(when_full);
            for ssrc in 0..SOURCES_MAX as u32 {
                sources.note(sources.admit(Ssrc(ssrc), 7).unwrap());
            }
            sources.note(sources.admit(Ssrc(0), 8).unwrap());
            match sources.admit(Ssrc(99), 0) {
                Ok(admission) => {
                    assert_eq!(when_full, WhenFull::ForgetOldest);
                    sources.note(admission);
                    assert_eq!(sources.newest(Ssrc(0)), Some(8), "used since");
                    assert_eq!(sources.newest(Ssrc(1)), None, "the oldest");
                }
                Err(refused) => {
                    assert_eq!((when_full, refused), (WhenFull::Refuse, NotAdmitted::TooManySources));
                }
            }
        }
    }

    #[test]
    fn asking_changes_nothing() {
        let mut sources = Sources::new(WhenFull::ForgetOldest);
        sources.admit_rtp(SSRC, SequenceNumber(5)).unwrap();
        assert_eq!(sources.newest(SSRC), None);
        sources.note(sources.admit_rtp(SSRC, SequenceNumber(5)).unwrap());
        assert_eq!(sources.admit_rtp(SSRC, SequenceNumber(5)).unwrap_err(), NotAdmitted::Replayed);
    }
}

//! Deadlines of calls, to the millisecond: setting one and finding the next cost the same for ten calls and a million.
//!
//! A call whose deadline moves back leaves its entry where it is; when that comes up too early it is put in again. So a
//! call whose retransmission is never needed costs one entry.

/// Milliseconds that the wheel spans. What lies beyond waits in its last place and is put in again from there.
const SPAN_MS: u64 = 8192;

/// A call's place in its table, and which of the calls that had the place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub slot: u32,
    /// Counts the calls that had the place.
    pub generation: u32,
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<Entry>>,
    /// One bit for each bucket that has entries.
    filled: [u64; SPAN_MS as usize / 64],
    /// All before this are due or gone, ms.
    now: u64,
}

impl Wheel {
    /// Starts at `now`, ms.
    pub fn new(now: u64) -> Self {
        Self { buckets: vec![Vec::new(); SPAN_MS as usize], filled: [0; SPAN_MS as usize / 64], now }
    }

    /// Puts in an entry for `at`, ms. Returns when it will really come up: never later, but perhaps earlier.
    pub fn insert(&mut self, at: u64, entry: Entry) -> u64 {
        let at = at.clamp(self.now, self.now + SPAN_MS - 1);
        let bucket = (at % SPAN_MS) as usize;
        self.buckets[bucket].push(entry);
        self.filled[bucket / 64] |= 1 << (bucket % 64);
        at
    }

    /// When the first entry comes up, ms.
    pub fn next(&self) -> Option<u64> {
        let start = (self.now % SPAN_MS) as usize;
        let words = self.filled.len();
        // The word of `start` is looked at twice: its upper bits first, its lower bits last.
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mask = match step {
                0 => u64::MAX << (start % 64),
                step if step == words => !(u64::MAX << (start % 64)),
                _ => u64::MAX,
            };
            let bits = self.filled[word] & mask;
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (bucket + SPAN_MS as usize - start) % SPAN_MS as usize;
                return Some(self.now + ahead as u64);
            }
        }
        None
    }

    /// Moves on to `now` and takes out one bucket that is due; `None` when there is none left. Give its vector back with
    /// [`Wheel::recycle`].
    pub fn take_due(&mut self, now: u64) -> Option<Vec<Entry>> {
        match self.next() {
            Some(at) if at <= now => {
                self.now = at;
                let bucket = (at % SPAN_MS) as usize;
                self.filled[bucket / 64] &= !(1 << (bucket % 64));
                Some(std::mem::take(&mut self.buckets[bucket]))
            }
            _ => {
                self.now = self.now.max(now);
                None
            }
        }
    }

    /// Gives back an emptied vector, so that its memory is used again.
    pub fn recycle(&mut self, mut entries: Vec<Entry>) {
        entries.clear();
        let bucket = &mut self.buckets[(self.now % SPAN_MS) as usize];
        if bucket.capacity() == 0 {
            *bucket = entries;
        }
    }
}

#[cfg(test)]
mod tests {
    use offhook_base::Random;

    use super::*;

    #[test]
    fn entries_come_up_in_time_and_none_is_lost() {
        let mut random = Random::from_number(3);
        let mut wheel = Wheel::new(1000);
        let mut wanted: Vec<(u64, u32)> = (0..500).map(|slot| (1000 + random.below(30_000), slot)).collect();
        for &(at, slot) in &wanted {
            wheel.insert(at, Entry { slot, generation: 0 });
        }
        let mut found = Vec::new();
        let mut now = 1000;
        while let Some(next) = wheel.next() {
            assert!(next >= now, "time goes forward");
            now = next + random.below(40);
            while let Some(due) = wheel.take_due(now) {
                for entry in &due {
                    let (at, slot) = wanted[entry.slot as usize];
                    if at > now {
                        wheel.insert(at, *entry);
                    } else {
                        assert!(now - at < 41, "{slot} is late");
                        found.push(slot);
                    }
                }
                wheel.recycle(due);
            }
        }
        wanted.sort_unstable();
        assert_eq!(found.len(), wanted.len());
    }
}

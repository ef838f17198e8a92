//! Rates of a great many parties in a table of fixed size.
//!
//! A party's bucket is one number ([`Bucket`](crate::bucket::Bucket)), and one that is full again tells no more than one
//! that was never used. So a table of a few cells per place is enough: who finds no cell takes that of the bucket that is
//! soonest full. A flood of forged sources, each with a message or two, pushes out its like, and not those who send much.
//!
//! A place is one cache line, so that a message costs one miss.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use offhook_base::Instant;

use crate::bucket::{Bucket, Rate};

/// Cells of one place: as many as 64 octets hold, 8 octets of time and 4 octets of a mark each.
const CELLS: usize = 5;

/// A place: five times, then five marks of 32 bits, two to a word.
type Place = [u64; 8];

/// Buckets of many parties, all of one rate.
pub(crate) struct Meter {
    rate: Rate,
    places: Vec<Place>,
    seed: u64,
    forgotten: u64,
}

impl Meter {
    /// For at least `parties` at once, in 13 octets each. Memory is touched as it is needed. `seed` must not be known
    /// outside: who knew it could aim at the place of another one.
    pub(crate) fn new(rate: Rate, parties: u32, seed: u64) -> Self {
        let parties = if rate.is_off() { 0 } else { parties };
        let places = usize::try_from(parties).unwrap_or(usize::MAX).div_ceil(CELLS);
        Self { rate, places: vec![[0; 8]; places], seed, forgotten: 0 }
    }

    /// Parties that were forgotten before their buckets were full.
    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes a token of `party`'s, or says after how long there will be one.
    pub(crate) fn take(&mut self, party: impl Hash, now: Instant) -> Result<(), Duration> {
        let rate = self.rate;
        self.with_bucket(party, now, |bucket| bucket.take(rate, now)).unwrap_or(Ok(()))
    }

    /// Takes so many tokens, whether or not they are there; whether they were.
    pub(crate) fn charge(&mut self, party: impl Hash, tokens: u32, now: Instant) -> bool {
        let rate = self.rate;
        self.with_bucket(party, now, |bucket| bucket.charge(rate, tokens, now)).unwrap_or(true)
    }

    /// Whether `party` has a token left.
    pub(crate) fn has_token(&mut self, party: impl Hash, now: Instant) -> bool {
        let rate = self.rate;
        self.with_bucket(party, now, |&mut mut bucket| bucket.take(rate, now).is_ok()).unwrap_or(true)
    }

    /// Gives `party` all its tokens back.
    pub(crate) fn forgive(&mut self, party: impl Hash, now: Instant) {
        self.with_bucket(party, now, |bucket| *bucket = Bucket::default());
    }

    fn with_bucket<T>(
        &mut self,
        party: impl Hash,
        now: Instant,
        work: impl FnOnce(&mut Bucket) -> T,
    ) -> Option<T> {
        if self.rate.is_off() || self.places.is_empty() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, party).hash(&mut hasher);
        let hash = hasher.finish();
        // The mark and the place come from different bits; 0 is an unused cell.
        let mark = ((hash >> 32) as u32).max(1);
        let at = (u64::from(hash as u32) * self.places.len() as u64) >> 32;
        let place = &mut self.places[at as usize];
        let cell = match (0..CELLS).find(|&cell| mark_of(place, cell) == mark) {
            Some(cell) => cell,
            None => {
                let soonest = (0..CELLS).min_by_key(|&cell| place[cell]).unwrap_or_default();
                if place[soonest] > now.as_nanos() {
                    self.forgotten += 1;
                }
                place[soonest] = 0;
                set_mark(place, soonest, mark);
                soonest
            }
        };
        let mut bucket = Bucket::full_at(place[cell]);
        let done = work(&mut bucket);
        place[cell] = bucket.is_full_at();
        Some(done)
    }
}

const fn mark_of(place: &Place, cell: usize) -> u32 {
    (place[CELLS + cell / 2] >> (32 * (cell % 2))) as u32
}

const fn set_mark(place: &mut Place, cell: usize, mark: u32) {
    let (word, shift) = (CELLS + cell / 2, 32 * (cell % 2));
    place[word] = place[word] & !(0xffff_ffff << shift) | (mark as u64) << shift;
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({:?}, {} places)", self.rate, self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_driver_nanos(millis * 1_000_000)
    }

    fn ten_a_second() -> Rate {
        Rate::new(10, Duration::from_secs(1), 5)
    }

    #[test]
    fn each_party_has_a_bucket_of_its_own() {
        let mut meter = Meter::new(ten_a_second(), 1000, 7);
        for party in 0..100_u32 {
            assert!((0..5).all(|_| meter.take(party, at(1)).is_ok()), "{party}");
        }
        assert!((0..100_u32).all(|party| meter.take(party, at(1)).is_err()));
        assert!((0..100_u32).all(|party| meter.take(party, at(101)).is_ok()));
        assert_eq!(meter.forgotten(), 0);
    }

    #[test]
    fn a_million_parties_take_megabytes() {
        let meter = Meter::new(ten_a_second(), 1_000_000, 7);
        assert!(meter.places.len() * size_of::<Place>() <= 13 << 20);
    }

    /// Goal: forged sources do not make the table forget who floods. Method: a table that is far too small for a hundred
    /// thousand parties of one message each, and one party that sends all the time.
    #[test]
    fn a_flood_of_strangers_pushes_out_its_like() {
        let mut meter = Meter::new(ten_a_second(), 500, 7);
        let mut let_in = 0;
        for number in 0..100_000_u32 {
            let _ = meter.take(number, at(1000 + u64::from(number) / 100));
            if number % 10 == 0 {
                let_in += u32::from(meter.take(u32::MAX, at(1000 + u64::from(number) / 100)).is_ok());
            }
        }
        // A second passed: ten thousand messages, of which five at once and ten a second may pass.
        assert!(let_in <= 20, "{let_in}");
        assert!(meter.forgotten() > 0);
    }

    #[test]
    fn what_is_off_takes_no_memory_and_lets_all_pass() {
        let mut meter = Meter::new(Rate::new(0, Duration::from_secs(1), 1), 1_000_000, 7);
        assert!(meter.places.is_empty());
        assert!((0..1000).all(|_| meter.take(1_u8, at(0)).is_ok()));
    }
}

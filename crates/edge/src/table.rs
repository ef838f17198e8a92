//! A table of sources that never grows past its bound: the one that was idle longest makes room.

use std::collections::HashMap;

use crate::source::Source;

/// State per source. Entries stand in a list by last use, so finding the idlest one is a step, not a search.
///
/// Memory grows with use up to about 100 bytes per source plus `size_of::<T>()`, and stays.
#[derive(Debug)]
pub(crate) struct SourceTable<T> {
    places: HashMap<Source, u32>,
    entries: Vec<Entry<T>>,
    /// The place used last and the one idle longest; meaningless while `entries` is empty.
    newest: u32,
    oldest: u32,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<T> {
    source: Source,
    /// The neighbours in the list: used later, used earlier. An end points at itself.
    newer: u32,
    older: u32,
    value: T,
}

impl<T: Default> SourceTable<T> {
    /// A table for `capacity` sources (at least one).
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX).max(1);
        Self { places: HashMap::new(), entries: Vec::new(), newest: 0, oldest: 0, capacity }
    }

    /// How many sources it knows.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All that are known, the one used last first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Source, &T)> {
        let first = (!self.entries.is_empty()).then_some(self.newest);
        let older = |&place: &u32| Some(self.entry(place).older).filter(|&older| older != place);
        std::iter::successors(first, older).map(|place| {
            let entry = self.entry(place);
            (entry.source, &entry.value)
        })
    }

    /// Forgets what is known of `source`; it keeps its place.
    pub(crate) fn reset(&mut self, source: Source) -> Option<T> {
        let place = *self.places.get(&source)?;
        Some(std::mem::take(&mut self.entry_mut(place).value))
    }

    /// The state of `source` if it is known, without marking it as used.
    pub(crate) fn peek(&self, source: Source) -> Option<&T> {
        self.places.get(&source).map(|&place| &self.entry(place).value)
    }

    /// The state of `source`, fresh if it was not known, and marks it as used. The second is whether another source
    /// was forgotten for it.
    pub(crate) fn touch(&mut self, source: Source) -> (&mut T, bool) {
        if let Some(&place) = self.places.get(&source) {
            self.unlink(place);
            self.link_newest(place);
            return (&mut self.entry_mut(place).value, false);
        }
        let full = self.entries.len() >= self.capacity;
        let place = if full { self.recycle_oldest(source) } else { self.append(source) };
        self.places.insert(source, place);
        self.link_newest(place);
        (&mut self.entry_mut(place).value, full)
    }

    fn append(&mut self, source: Source) -> u32 {
        let place = u32::try_from(self.entries.len()).expect("a table's capacity is a u32");
        self.entries.push(Entry { source, newer: place, older: place, value: T::default() });
        if place == 0 {
            self.newest = 0;
            self.oldest = 0;
        }
        place
    }

    fn recycle_oldest(&mut self, source: Source) -> u32 {
        let place = self.oldest;
        self.unlink(place);
        let entry = self.entry_mut(place);
        let forgotten = std::mem::replace(&mut entry.source, source);
        entry.value = T::default();
        self.places.remove(&forgotten);
        place
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = *self.entry(place);
        match (newer == place, older == place) {
            (true, true) => {}
            (true, false) => {
                self.newest = older;
                self.entry_mut(older).newer = older;
            }
            (false, true) => {
                self.oldest = newer;
                self.entry_mut(newer).older = newer;
            }
            (false, false) => {
                self.entry_mut(newer).older = older;
                self.entry_mut(older).newer = newer;
            }
        }
    }

    /// Puts an unlinked place at the front.
    fn link_newest(&mut self, place: u32) {
        let front = self.newest;
        if front == place {
            // It is alone: the first of its table, or one that was both ends.
            let entry = self.entry_mut(place);
            entry.newer = place;
            entry.older = place;
            self.oldest = place;
            return;
        }
        self.entry_mut(front).newer = place;
        let entry = self.entry_mut(place);
        entry.newer = place;
        entry.older = front;
        self.newest = place;
    }

    fn entry(&self, place: u32) -> &Entry<T> {
        &self.entries[place as usize]
    }

    fn entry_mut(&mut self, place: u32) -> &mut Entry<T> {
        &mut self.entries[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn source(number: u32) -> Source {
        Source::from(IpAddr::V4(Ipv4Addr::from(number)))
    }

    #[test]
    fn a_table_of_one_forgets_the_only_one() {
        let mut table = SourceTable::<u8>::new(1);
        *table.touch(source(1)).0 = 7;
        assert_eq!(table.touch(source(1)), (&mut 7, false));
        assert_eq!(table.touch(source(2)), (&mut 0, true));
        assert_eq!((table.peek(source(1)), table.len()), (None, 1));
    }

    proptest! {
        /// Goal: the list is a least-recently-used list. Method: the same touches on a vector that is searched.
        #[test]
        fn the_idlest_source_makes_room(capacity in 1_u32..6, touches in proptest::collection::vec(0_u32..9, 0..80)) {
            let mut table = SourceTable::<u32>::new(capacity);
            let mut model: Vec<(u32, u32)> = Vec::new();
            for number in touches {
                let known = model.iter().position(|(n, _)| *n == number).map(|at| model.remove(at));
                if known.is_none() && model.len() == capacity as usize {
                    model.remove(0);
                }
                let count = known.map_or(0, |(_, count)| count) + 1;
                model.push((number, count));
                let (value, _) = table.touch(source(number));
                *value += 1;
                prop_assert_eq!(*value, count);
                prop_assert_eq!(table.len(), model.len());
                for (n, count) in &model {
                    prop_assert_eq!(table.peek(source(*n)), Some(count));
                }
            }
        }
    }
}

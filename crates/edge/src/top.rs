//! Who sends most, and who is refused most: a few counters however many there are (the Space-Saving sketch of Metwally,
//! Agrawal and El Abbadi). Who has no counter takes that of the least; so a count may be too high, and nobody who sends
//! much is missing.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use offhook_base::{DataSubject, Instant, Personal};

use crate::source::Source;

/// Counters. 128 are more than a screen shows, and 5 KB.
const ENTRIES_MAX: usize = 128;

/// Counts are of the present window and of the one before it.
const WINDOW: Duration = Duration::from_secs(5);

/// One of those who send most.
#[derive(Clone, Debug, PartialEq)]
pub struct TopSource {
    /// Its address, the first one of the /64 for IPv6.
    pub source: Personal<IpAddr>,
    /// Messages a second in the last 5 to 10 seconds; at most too high by the rate of those who are not shown.
    pub messages_per_second: f64,
    /// How many of them a second were dropped or refused.
    pub refused_per_second: f64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Source,
    /// In the present window, and in the one before.
    messages: [u32; 2],
    refused: [u32; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Top {
    places: HashMap<Source, u8>,
    entries: Vec<Entry>,
    window_began: Instant,
}

impl Top {
    /// Counts a message of `source`.
    pub(crate) fn message(&mut self, source: Source, now: Instant) {
        self.turn_window(now);
        let count = &mut self.entry(source).messages[0];
        *count = count.saturating_add(1);
    }

    /// Counts that one was refused.
    pub(crate) fn refused(&mut self, source: Source) {
        let count = &mut self.entry(source).refused[0];
        *count = count.saturating_add(1);
    }

    /// All that are counted, most messages first.
    pub(crate) fn list(&mut self, now: Instant) -> Vec<TopSource> {
        self.turn_window(now);
        let seconds = (WINDOW + now.saturating_since(self.window_began)).as_secs_f64();
        let rate = |[present, before]: [u32; 2]| (f64::from(present) + f64::from(before)) / seconds;
        let mut list: Vec<_> = self.entries.iter().filter(|entry| entry.messages != [0; 2]).collect();
        list.sort_by_key(|entry| std::cmp::Reverse((sum(entry.messages), entry.source.address())));
        list.into_iter()
            .map(|entry| TopSource {
                source: Personal::new(entry.source.address(), DataSubject::RemoteParty),
                messages_per_second: rate(entry.messages),
                refused_per_second: rate(entry.refused),
            })
            .collect()
    }

    fn turn_window(&mut self, now: Instant) {
        let age = now.saturating_since(self.window_began);
        if age < WINDOW {
            return;
        }
        let is_idle = age >= 2 * WINDOW;
        for entry in &mut self.entries {
            for count in [&mut entry.messages, &mut entry.refused] {
                *count = [0, if is_idle { 0 } else { count[0] }];
            }
        }
        self.window_began = now;
    }

    fn entry(&mut self, source: Source) -> &mut Entry {
        let place = match self.places.get(&source) {
            Some(&place) => usize::from(place),
            None => self.place_for(source),
        };
        &mut self.entries[place]
    }

    fn place_for(&mut self, source: Source) -> usize {
        let place = if self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry { source, messages: [0; 2], refused: [0; 2] });
            self.entries.len() - 1
        } else {
            let least = (0..ENTRIES_MAX).min_by_key(|&at| sum(self.entries[at].messages)).unwrap_or_default();
            let entry = &mut self.entries[least];
            self.places.remove(&entry.source);
            *entry = Entry { source, refused: [0; 2], messages: entry.messages };
            least
        };
        self.places.insert(source, u8::try_from(place).unwrap_or_default());
        place
    }
}

fn sum([present, before]: [u32; 2]) -> u64 {
    u64::from(present) + u64::from(before)
}

#[cfg(test)]
mod tests {
    use offhook_base::Purpose;

    use super::*;

    fn source(number: u32) -> Source {
        Source::from(IpAddr::V4(number.into()))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_driver_nanos(millis * 1_000_000)
    }

    /// Goal: who sends much is found among a hundred thousand who send little. Method: one in twenty messages is his.
    #[test]
    fn who_sends_most_stands_first_among_very_many() {
        let mut top = Top::default();
        for number in 0..100_000_u32 {
            let now = at(60_000 + u64::from(number) / 10);
            top.message(source(number), now);
            if number % 20 == 0 {
                top.message(source(u32::MAX), now);
                top.refused(source(u32::MAX));
            }
        }
        let list = top.list(at(70_000));
        assert_eq!(list.len(), ENTRIES_MAX);
        assert_eq!(*list[0].source.disclose(Purpose::Operation), IpAddr::from([255; 4]));
        assert!((400.0..1500.0).contains(&list[0].messages_per_second), "{:?}", list[0]);
        assert!(list[0].refused_per_second > 0.0 && list[1].refused_per_second == 0.0);
        assert_eq!(format!("{:?}", list[0].source), "***(ipv4)");
    }

    #[test]
    fn who_is_silent_is_not_listed_after_two_windows() {
        let mut top = Top::default();
        top.message(source(1), at(60_000));
        assert_eq!(top.list(at(64_000)).len(), 1);
        assert_eq!(top.list(at(66_000)).len(), 1);
        assert_eq!(top.list(at(90_000)).len(), 0);
    }
}

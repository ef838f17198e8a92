//! The longest known beginning of a number, out of a million.
//!
//! A number is read as a fraction: its first sixteen symbols, four bits each, the first in the highest bits. A prefix is then a
//! stretch of the line of numbers, and prefixes either nest or lie apart, so together they cut the line into stretches with
//! one longest match each. Finding it is a binary search in one sorted array, begun at a table of the first four symbols:
//! some twenty steps for a million prefixes, no allocation, 12 octets a stretch.

/// Symbols of a prefix at most: `+` and the fifteen digits of E.164. What a number has beyond does not matter.
pub const PREFIX_SYMBOLS_MAX: usize = 16;

/// No prefix.
const NONE: u32 = u32::MAX;

/// Stretches are first looked up by so many leading bits: four symbols.
const INDEX_BITS: u32 = 16;

/// Prefixes, numbered in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct PrefixMap {
    /// Where each stretch begins; ascending.
    starts: Vec<u64>,
    /// The prefix of each stretch, or [`NONE`].
    values: Vec<u32>,
    /// Of each prefix, the longest shorter one that it begins with, or [`NONE`].
    parents: Vec<u32>,
    /// The first stretch of each of the 2^16 parts of the line, and the number of stretches.
    index: Vec<u32>,
}

/// A prefix as it is compared: its symbols, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    bits: u64,
    length: u8,
}

impl Key {
    /// The key of a prefix: digits, `*`, `#`, `+`, at most [`PREFIX_SYMBOLS_MAX`]. `None` for anything else.
    pub fn of_prefix(prefix: &str) -> Option<Self> {
        if prefix.len() > PREFIX_SYMBOLS_MAX || prefix.bytes().any(|symbol| code(symbol) == OTHER) {
            return None;
        }
        Some(Self { bits: bits_of(prefix), length: u8::try_from(prefix.len()).ok()? })
    }

    /// The last number that begins with it.
    fn end(self) -> u64 {
        self.bits | u64::MAX.checked_shr(4 * u32::from(self.length)).unwrap_or(0)
    }
}

/// Any symbol that is none of a number's.
const OTHER: u64 = 14;

const fn code(symbol: u8) -> u64 {
    match symbol {
        b'0'..=b'9' => (symbol - b'0') as u64 + 1,
        b'*' => 11,
        b'#' => 12,
        b'+' => 13,
        _ => OTHER,
    }
}

fn bits_of(number: &str) -> u64 {
    let mut bits = 0;
    let mut shift = 64;
    for symbol in number.bytes().take(PREFIX_SYMBOLS_MAX) {
        shift -= 4;
        bits |= code(symbol) << shift;
    }
    bits
}

impl PrefixMap {
    /// A map of `keys`, which must be ascending and without repeats; prefix `n` is the `n`th of them.
    pub fn new(keys: &[Key]) -> Self {
        let mut map = Self { parents: Vec::with_capacity(keys.len()), ..Self::default() };
        map.starts.reserve(keys.len() + keys.len() / 2);
        let mut open: Vec<(u64, u32)> = Vec::with_capacity(PREFIX_SYMBOLS_MAX + 1);
        for (number, key) in (0_u32..).zip(keys) {
            map.close_before(&mut open, Some(key.bits));
            map.parents.push(open.last().map_or(NONE, |&(_, outer)| outer));
            map.begin(key.bits, number);
            open.push((key.end(), number));
        }
        map.close_before(&mut open, None);
        map.starts.shrink_to_fit();
        map.values.shrink_to_fit();
        map.build_index();
        map
    }

    /// Ends the open prefixes that end before `start`; with none, all.
    fn close_before(&mut self, open: &mut Vec<(u64, u32)>, start: Option<u64>) {
        while let Some(&(end, _)) = open.last()
            && start.is_none_or(|start| end < start)
        {
            open.pop();
            // What ends with the line has nothing behind it.
            if let Some(behind) = end.checked_add(1) {
                self.begin(behind, open.last().map_or(NONE, |&(_, outer)| outer));
            }
        }
    }

    /// A stretch begins; of several that begin at one place the last counts.
    fn begin(&mut self, start: u64, value: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        self.starts.push(start);
        self.values.push(value);
    }

    fn build_index(&mut self) {
        let mut stretch = 0;
        for part in 0..=(1_u64 << INDEX_BITS) {
            let from = part.checked_shl(64 - INDEX_BITS).filter(|_| part < 1 << INDEX_BITS);
            while let (Some(&start), Some(from)) = (self.starts.get(stretch), from)
                && start < from
            {
                stretch += 1;
            }
            let first = if from.is_some() { stretch } else { self.starts.len() };
            self.index.push(u32::try_from(first).unwrap_or(NONE));
        }
    }

    /// The prefixes that `number` begins with, the longest first.
    pub fn matches(&self, number: &str) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.longest(number), |&prefix| {
            self.parents.get(prefix as usize).copied().filter(|&outer| outer != NONE)
        })
    }

    fn longest(&self, number: &str) -> Option<u32> {
        let bits = bits_of(number);
        let part = usize::try_from(bits >> (64 - INDEX_BITS)).ok()?;
        let (from, until) = (*self.index.get(part)? as usize, *self.index.get(part + 1)? as usize);
        let behind = from + self.starts.get(from..until)?.partition_point(|&start| start <= bits);
        self.values.get(behind.checked_sub(1)?).copied().filter(|&prefix| prefix != NONE)
    }

    /// How many prefixes there are.
    pub fn count(&self) -> usize {
        self.parents.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(prefixes: &[&str]) -> (Vec<String>, PrefixMap) {
        let mut sorted: Vec<(Key, String)> =
            prefixes.iter().map(|prefix| (Key::of_prefix(prefix).unwrap(), prefix.to_string())).collect();
        sorted.sort();
        sorted.dedup();
        let keys: Vec<Key> = sorted.iter().map(|(key, _)| *key).collect();
        (sorted.into_iter().map(|(_, text)| text).collect(), PrefixMap::new(&keys))
    }

    fn found(prefixes: &[&str], number: &str) -> Vec<String> {
        let (texts, map) = map(prefixes);
        map.matches(number).map(|prefix| texts[prefix as usize].clone()).collect()
    }

    #[test]
    fn the_longest_comes_first_and_then_those_that_it_begins_with() {
        let known = ["", "+49", "+4930", "+493012", "00", "*43", "+"];
        assert_eq!(found(&known, "+4930129"), ["+493012", "+4930", "+49", "+", ""]);
        assert_eq!(found(&known, "+4931"), ["+49", "+", ""]);
        assert_eq!(found(&known, "*43"), ["*43", ""]);
        assert_eq!(found(&known, "anna"), [""]);
        assert_eq!(found(&["+49"], "+4"), [""; 0]);
        assert_eq!(found(&["9999999999999999"], "99999999999999991"), ["9999999999999999"]);
        assert!(Key::of_prefix("12345678901234567").is_none() && Key::of_prefix("+49 30").is_none());
    }

    proptest! {
        /// Goal: the search finds what trying every prefix finds. Method: few symbols, so that prefixes nest.
        #[test]
        fn it_finds_what_a_look_at_every_prefix_finds(
            prefixes in prop::collection::vec("[019+#]{0,5}", 0..60),
            number in "[019+#a]{0,7}",
        ) {
            let known: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let mut expected: Vec<String> =
                prefixes.iter().filter(|prefix| number.starts_with(prefix.as_str())).cloned().collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            expected.dedup();
            prop_assert_eq!(found(&known, &number), expected);
        }
    }
}

//! The longest matching network, in memory that is counted in octets.
//!
//! Networks either nest or lie apart, so a set of them cuts the line of all addresses into stretches, each with one
//! longest match. Kept are only where stretches begin and what holds there: two sorted arrays, at most two entries per
//! network, and a binary search. Where there are many, an index by the first 16 bits makes that search short for IPv4.
//!
//! A million IPv4 networks take at most 10 MB, and as many of IPv6 34 MB; a lookup is a few reads.

use std::net::IpAddr;

use crate::prefix::Prefix;

/// What holds for an address, by the longest network that it lies in. It is made whole and never changed.
#[derive(Clone, Debug, Default)]
pub struct PrefixMap<V> {
    ipv4: Stretches<u32, V>,
    ipv6: Stretches<u128, V>,
    /// For the first 16 bits of an IPv4 address: how many stretches begin before all addresses with these bits. Empty where
    /// there are few.
    index: Box<[u32]>,
}

/// Stretches from which on there is an index: for fewer its 256 KiB would be most of the map.
const INDEXED_MIN: usize = 4096;

/// Places of the index, and one for the end.
const INDEX_LEN: usize = (1 << 16) + 1;

impl<V: Copy + Eq + Default> PrefixMap<V> {
    /// A map of these networks. Of equal ones the last counts.
    pub fn new(networks: impl IntoIterator<Item = (Prefix, V)>) -> Self {
        Self::indexed_from(INDEXED_MIN, networks)
    }

    fn indexed_from(indexed_min: usize, networks: impl IntoIterator<Item = (Prefix, V)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (network, value) in networks {
            let length = network.length();
            match network.address() {
                IpAddr::V4(address) => {
                    let first = u32::from(address);
                    let last = first | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                    ipv4.push(Span { first, last, value });
                }
                IpAddr::V6(address) => {
                    let first = u128::from(address);
                    let last = first | u128::MAX.checked_shr(length.into()).unwrap_or(0);
                    ipv6.push(Span { first, last, value });
                }
            }
        }
        let ipv4 = Stretches::new(ipv4, |last| last.checked_add(1));
        let index = if ipv4.starts.len() < indexed_min {
            Box::default()
        } else {
            let before = |bits: usize| {
                let first = u64::try_from(bits).unwrap_or(u64::MAX) << 16;
                ipv4.starts.partition_point(|&start| u64::from(start) < first) as u32
            };
            (0..INDEX_LEN).map(before).collect()
        };
        Self { ipv4, ipv6: Stretches::new(ipv6, |last| last.checked_add(1)), index }
    }

    /// What holds for `address`; the default where no network holds it.
    pub fn get(&self, address: IpAddr) -> V {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let address = u32::from(address);
                let bits = (address >> 16) as usize;
                let (from, to) = match (self.index.get(bits), self.index.get(bits + 1)) {
                    (Some(&from), Some(&to)) => (from as usize, to as usize),
                    _ => (0, self.ipv4.starts.len()),
                };
                let at = from + self.ipv4.starts[from..to].partition_point(|&start| start <= address);
                self.ipv4.value_before(at)
            }
            IpAddr::V6(address) => {
                let address = u128::from(address);
                self.ipv6.value_before(self.ipv6.starts.partition_point(|&start| start <= address))
            }
        }
    }

    /// The stretches of addresses for which `value` holds: the first and the last of each, IPv4 before IPv6.
    pub(crate) fn stretches(&self, value: V) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let ipv4 = self.ipv4.of(value).map(|(first, next)| {
            let last = next.map_or(u32::MAX, |next| next - 1);
            (IpAddr::V4(first.into()), IpAddr::V4(last.into()))
        });
        let ipv6 = self.ipv6.of(value).map(|(first, next)| {
            let last = next.map_or(u128::MAX, |next| next - 1);
            (IpAddr::V6(first.into()), IpAddr::V6(last.into()))
        });
        ipv4.chain(ipv6)
    }

    /// Octets that it takes.
    pub(crate) fn octets(&self) -> usize {
        self.ipv4.octets() + self.ipv6.octets() + size_of_val(&*self.index)
    }
}

/// One network while the map is made.
struct Span<A, V> {
    first: A,
    last: A,
    value: V,
}

#[derive(Clone, Debug, Default)]
struct Stretches<A, V> {
    starts: Box<[A]>,
    values: Box<[V]>,
}

impl<A: Copy + Ord, V: Copy + Eq + Default> Stretches<A, V> {
    fn new(mut spans: Vec<Span<A, V>>, after: impl Fn(A) -> Option<A>) -> Self {
        // Wider ones first, so that a narrower one is begun within it; the sort keeps the order of equal ones.
        spans.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut line = Line { starts: Vec::new(), values: Vec::new() };
        // The networks that the present place lies in, the narrowest last.
        let mut within: Vec<(A, V)> = Vec::new();
        for span in spans {
            line.end_before(&mut within, Some(span.first), &after);
            line.begin(span.first, span.value);
            within.push((span.last, span.value));
        }
        line.end_before(&mut within, None, &after);
        Self { starts: line.starts.into(), values: line.values.into() }
    }

    fn value_before(&self, at: usize) -> V {
        at.checked_sub(1).and_then(|at| self.values.get(at)).copied().unwrap_or_default()
    }

    /// Where `value` begins to hold, and where something else begins.
    fn of(&self, value: V) -> impl Iterator<Item = (A, Option<A>)> {
        let all = self.starts.iter().zip(&self.values).enumerate();
        all.filter(move |(_, (_, held))| **held == value)
            .map(|(at, (&start, _))| (start, self.starts.get(at + 1).copied()))
    }

    fn octets(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.values)
    }
}

/// The line of addresses as it is drawn, from its beginning.
struct Line<A, V> {
    starts: Vec<A>,
    values: Vec<V>,
}

impl<A: Copy + Ord, V: Copy + Eq + Default> Line<A, V> {
    /// Ends the networks that end before `next`, or all of them.
    fn end_before(&mut self, within: &mut Vec<(A, V)>, next: Option<A>, after: &impl Fn(A) -> Option<A>) {
        while let Some(&(last, _)) = within.last()
            && next.is_none_or(|next| last < next)
        {
            within.pop();
            let outer = within.last().map_or(V::default(), |&(_, value)| value);
            if let Some(start) = after(last) {
                self.begin(start, outer);
            }
        }
    }

    fn begin(&mut self, start: A, value: V) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last().copied().unwrap_or_default() != value {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> impl Strategy<Value = Prefix> {
        // Few bits, so that networks nest and touch.
        let ipv4 = (any::<u8>(), any::<u8>(), 0_u8..=32).prop_map(|(first, last, length)| {
            Prefix::of(IpAddr::from([first & 0x83, 0, 0, last & 0x83]), length)
        });
        let ipv6 = (any::<u8>(), any::<u8>(), 0_u8..=128).prop_map(|(first, last, length)| {
            let bits = u128::from(first & 0x83) << 120 | u128::from(last & 0x83);
            Prefix::of(IpAddr::V6(bits.into()), length)
        });
        prop_oneof![ipv4, ipv6]
    }

    proptest! {
        /// Goal: the longest network wins, the later of equal ones. Method: a search through all of them.
        #[test]
        fn the_longest_match_counts(
            networks in proptest::collection::vec((network(), 1_u8..4), 0..40),
            indexed in any::<bool>(),
        ) {
            let map = PrefixMap::indexed_from(if indexed { 0 } else { usize::MAX }, networks.clone());
            let edges = networks.iter().flat_map(|(network, _)| {
                let first = network.address();
                let neighbours = |first: IpAddr| match first {
                    IpAddr::V4(a) => [u32::from(a), u32::from(a).wrapping_sub(1), u32::from(a) | 0xff]
                        .map(|bits| IpAddr::V4(bits.into())),
                    IpAddr::V6(a) => [u128::from(a), u128::from(a).wrapping_sub(1), u128::from(a) | 0xff]
                        .map(|bits| IpAddr::V6(bits.into())),
                };
                neighbours(first)
            });
            for address in edges {
                let longest = networks.iter().enumerate().filter(|(_, (network, _))| network.contains(address))
                    .max_by_key(|(at, (network, _))| (network.length(), *at));
                prop_assert_eq!(map.get(address), longest.map_or(0, |(_, (_, value))| *value));
            }
        }
    }

    #[test]
    fn a_million_networks_take_megabytes() {
        let networks = (0..1_000_000_u32).map(|number| {
            let address = IpAddr::V4((number.wrapping_mul(2_654_435_761) & !0xff).into());
            (Prefix::of(address, 24), 1_u8)
        });
        let map = PrefixMap::new(networks);
        assert!(map.octets() < 11 << 20, "{} octets", map.octets());
        assert_eq!(map.get("0.0.0.1".parse().unwrap()), 1);
    }

    #[test]
    fn an_empty_map_holds_nobody() {
        let map = PrefixMap::<u8>::new([]);
        assert_eq!((map.get("192.0.2.1".parse().unwrap()), map.get("::1".parse().unwrap())), (0, 0));
        assert_eq!(map.octets(), 0);
    }
}

//! Whom the operator lets in and whom not, by networks.

use std::{fmt, net::IpAddr};

use crate::{
    prefix::{BadPrefix, Prefix},
    prefix_map::PrefixMap,
};

/// What the lists say of an address. The longest network that holds it decides; if it is on both lists, it is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    /// Nothing: it is a stranger until it proves itself.
    #[default]
    No,
    /// It is never let in, and never answered.
    Denied,
    /// It is let in without limits and is never banned. It still has to prove who it is.
    Allowed,
}

/// All lists, made into one table that is never changed: a change makes another one.
pub struct Lists {
    map: PrefixMap<Listed>,
    allowed: usize,
    denied: usize,
}

impl Lists {
    /// The table of these networks.
    pub fn new(allowed: Vec<Prefix>, denied: Vec<Prefix>) -> Self {
        let counts = (allowed.len(), denied.len());
        let networks = denied.into_iter().map(|network| (network, Listed::Denied));
        // Behind the others: of equal networks the last counts.
        let networks = networks.chain(allowed.into_iter().map(|network| (network, Listed::Allowed)));
        Self { map: PrefixMap::new(networks), allowed: counts.0, denied: counts.1 }
    }

    /// What they say of `address`.
    pub fn of(&self, address: IpAddr) -> Listed {
        self.map.get(address)
    }

    /// The stretches of addresses that are denied: the first and the last of each.
    pub fn denied(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.map.stretches(Listed::Denied)
    }

    /// Networks that were given: allowed, denied.
    pub const fn sizes(&self) -> (usize, usize) {
        (self.allowed, self.denied)
    }

    /// Octets that the table takes.
    pub fn octets(&self) -> usize {
        self.map.octets()
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lists({} allowed, {} denied)", self.allowed, self.denied)
    }
}

/// A line of a list that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: BadPrefix,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

/// Reads a list: a network or address a line; what follows `#` or `;` is a remark, as in the lists that are offered for
/// firewalls.
///
/// # Errors
/// The first line that is neither empty nor a network.
pub fn read_list(text: &str) -> Result<Vec<Prefix>, BadLine> {
    let mut networks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if !line.is_empty() {
            networks.push(line.parse().map_err(|why| BadLine { line: index + 1, why })?);
        }
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_network_decides_and_of_equal_ones_the_allowed() {
        let read = |text| read_list(text).unwrap();
        let lists = Lists::new(
            read("192.0.2.7\n198.51.100.0/24"),
            read("192.0.2.0/24\n198.51.100.0/24\n2001:db8::/32"),
        );
        let said = |address: &str| lists.of(address.parse().unwrap());
        assert_eq!(said("192.0.2.8"), Listed::Denied);
        assert_eq!(said("192.0.2.7"), Listed::Allowed);
        assert_eq!(said("198.51.100.1"), Listed::Allowed);
        assert_eq!(said("2001:db8:ffff::"), Listed::Denied);
        assert_eq!(said("203.0.113.1"), Listed::No);
        assert_eq!(format!("{lists:?}"), "Lists(2 allowed, 3 denied)");
        let denied: Vec<_> =
            lists.denied().map(|(first, last)| [first, last].map(|address| address.to_string())).collect();
        assert_eq!(
            denied,
            [
                ["192.0.2.0", "192.0.2.6"],
                ["192.0.2.8", "192.0.2.255"],
                ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]
            ]
        );
    }

    #[test]
    fn a_list_may_have_remarks_and_its_first_bad_line_is_named() {
        let text = "# droplist\n\n192.0.2.0/24 ; SBL1\r\n  2001:db8::/32 # x\n";
        assert_eq!(read_list(text).unwrap().len(), 2);
        let bad = read_list("192.0.2.0/24\nexample.org\n").unwrap_err();
        assert_eq!(bad.to_string(), "line 2: not an IPv4 or IPv6 address");
    }
}

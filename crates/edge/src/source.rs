//! Whom a rate is counted for.

use std::{fmt, net::IpAddr};

use crate::prefix::Prefix;

/// The party behind an address, as far as an address tells: an IPv4 address, or the /64 network of an IPv6 address,
/// since whoever holds one address of it holds them all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(Key);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(u32),
    Network(u64),
}

impl From<IpAddr> for Source {
    /// An IPv4 address mapped into IPv6 counts as IPv4.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Key::Address(address.into()),
            IpAddr::V6(address) => Key::Network((u128::from(address) >> 64) as u64),
        })
    }
}

impl Source {
    /// The address, or the first one of the network.
    pub(crate) fn address(self) -> IpAddr {
        match self.0 {
            Key::Address(bits) => IpAddr::V4(bits.into()),
            Key::Network(bits) => IpAddr::V6((u128::from(bits) << 64).into()),
        }
    }

    /// All addresses of it.
    pub(crate) fn prefix(self) -> Prefix {
        Prefix::of(self.address(), if matches!(self.0, Key::Network(_)) { 64 } else { 32 })
    }

    /// The network around it that is mostly in one hand: an IPv4 /24, an IPv6 /48.
    pub(crate) fn surroundings(self) -> Self {
        Self(match self.0 {
            Key::Address(bits) => Key::Address(bits & !0xff),
            Key::Network(bits) => Key::Network(bits & !0xffff),
        })
    }
}

/// An address is personal data: only its family shows.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Address(_) => "Source(ipv4)",
            Key::Network(_) => "Source(ipv6)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn one_ipv6_network_is_one_source_and_a_mapped_ipv4_address_is_that_address() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(format!("{:?}", source("192.0.2.1")), "Source(ipv4)");
    }
}

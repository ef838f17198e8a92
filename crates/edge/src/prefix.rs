//! Networks: what lists are made of.

use std::{fmt, net::IpAddr, str::FromStr};

use offhook_base::PersonalData;

/// A network: an address and how many of its leading bits count. An IPv4 network mapped into IPv6 is that IPv4 network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPrefix {
    /// What stands before the `/` is no IPv4 or IPv6 address.
    Address,
    /// What stands behind the `/` is no number from 0 to 32 (IPv4) or 128 (IPv6).
    Length,
    /// The address has bits behind the length: `192.0.2.1/24` may mean one host or all 256.
    HostBits,
}

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an IPv4 or IPv6 address",
            Self::Length => "the length must be 0 to 32 for IPv4, 0 to 128 for IPv6",
            Self::HostBits => "the address has bits behind its length; write the network's first address",
        })
    }
}

impl std::error::Error for BadPrefix {}

/// Bits before an IPv4 address that is mapped into IPv6 (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl Prefix {
    /// The network of `length` bits that `address` lies in. A length past the address's counts as all of it.
    pub fn of(address: IpAddr, length: u8) -> Self {
        let canonical = address.to_canonical();
        let length = if address.is_ipv6() && canonical.is_ipv4() {
            length.saturating_sub(MAPPED_BITS)
        } else {
            length
        };
        match canonical {
            IpAddr::V4(address) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
                Self { address: IpAddr::V4((u32::from(address) & mask).into()), length }
            }
            IpAddr::V6(address) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
                Self { address: IpAddr::V6((u128::from(address) & mask).into()), length }
            }
        }
    }

    /// The network of one address alone.
    pub fn host(address: IpAddr) -> Self {
        Self::of(address, u8::MAX)
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether it is one address.
    pub const fn is_host(&self) -> bool {
        self.length == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::of(address, self.length) == *self
    }

    /// As it is written in lists, `192.0.2.0/24`; one address without its length. It names parties: for operators and
    /// their lists, not for logs.
    pub fn to_text(&self) -> String {
        if self.is_host() { self.address.to_string() } else { format!("{}/{}", self.address, self.length) }
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadPrefix::Address)?;
        let Some(length) = length else { return Ok(Self::host(address)) };
        // `parse` would take a sign.
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = length.parse().ok().filter(|_| digits).ok_or(BadPrefix::Length)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        if length > max || (mapped && length < MAPPED_BITS) {
            return Err(BadPrefix::Length);
        }
        let prefix = Self::of(address, length);
        if prefix.address == address.to_canonical() { Ok(prefix) } else { Err(BadPrefix::HostBits) }
    }
}

impl PersonalData for Prefix {
    fn fmt_masked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.address.is_ipv4() { "***(ipv4)" } else { "***(ipv6)" })
    }
}

/// An address is personal data: only family and size show.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.address.is_ipv4() { "ipv4" } else { "ipv6" };
        write!(f, "Prefix({family}/{})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "::/0", "2001:db8::1"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_text(), text);
        }
        assert_eq!("192.0.2.7/32".parse::<Prefix>().unwrap().to_text(), "192.0.2.7");
        assert_eq!("::ffff:192.0.2.0/120".parse::<Prefix>().unwrap().to_text(), "192.0.2.0/24");
    }

    #[test]
    fn what_is_no_network_is_told_why() {
        for (text, why) in [
            ("192.0.2/24", BadPrefix::Address),
            ("", BadPrefix::Address),
            ("192.0.2.0/33", BadPrefix::Length),
            ("192.0.2.0/+8", BadPrefix::Length),
            ("192.0.2.0/", BadPrefix::Length),
            ("::ffff:0:0/64", BadPrefix::Length),
            ("192.0.2.1/24", BadPrefix::HostBits),
            ("2001:db8::1/64", BadPrefix::HostBits),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_and_shows_none() {
        let network: Prefix = "192.0.2.0/24".parse().unwrap();
        assert!(network.contains("192.0.2.255".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!network.contains("192.0.3.0".parse().unwrap()));
        assert!(!network.contains("2001:db8::1".parse().unwrap()));
        assert_eq!(format!("{network:?}"), "Prefix(ipv4/24)");
    }
}

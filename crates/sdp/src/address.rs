//! Where a description comes from and where it wants its media: `o=` and `c=`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// An address as a description writes it. Personal data: `Debug` masks it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// An IP literal.
    Ip(IpAddr),
    /// A name, to be resolved before media can be sent to it.
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// Reads `IN IP4 address[/ttl[/count]]`, as tokens. DEVIATION RFC 8866 §9: the address type need not fit the
    /// literal; the literal itself decides.
    pub(crate) fn read(tokens: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let (net, kind, address) = (tokens.next()?, tokens.next()?, tokens.next()?);
        if !net.eq_ignore_ascii_case("IN")
            || !(kind.eq_ignore_ascii_case("IP4") || kind.eq_ignore_ascii_case("IP6"))
        {
            return None;
        }
        // A multicast address carries a time to live (RFC 8866 §5.7), which says nothing to a relay.
        let address = address.split('/').next().filter(|address| !address.is_empty())?;
        let literal = address.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(ip) => Some(Self::Ip(ip)),
            Err(_) if address.bytes().all(is_name_byte) => Some(Self::Name(address)),
            Err(_) => None,
        }
    }

    /// The IP, unless this is a name.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }

    /// `0.0.0.0` or `::`: "send me nothing", the hold of RFC 2543 (RFC 3264 §8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip(IpAddr::V4(_)) => "***(ipv4)",
            Self::Ip(IpAddr::V6(_)) => "***(ipv6)",
            Self::Name(_) => "***(name)",
        })
    }
}

/// A host and port of a peer's media. Personal data: `Debug` masks the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MediaAddress<'a> {
    /// Host.
    pub host: Host<'a>,
    /// UDP port, 1 to 65535.
    pub port: u16,
}

impl MediaAddress<'_> {
    /// As a socket address; `None` for a name, and for the unspecified address of a hold.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host.ip() {
            Some(ip) if !ip.is_unspecified() => Some(SocketAddr::new(ip, self.port)),
            _ => None,
        }
    }
}

/// A `c=` line. RFC 8866 §5.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection<'a> {
    /// Where media is wanted.
    pub host: Host<'a>,
}

impl<'a> Connection<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        Host::read(&mut value.split_ascii_whitespace()).map(|host| Self { host })
    }
}

/// An `o=` line: who wrote the description, and which version of it this is. RFC 8866 §5.2.
///
/// The numbers stay text: phones write more digits than 64 bits hold, and all we do with them is compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin<'a> {
    /// User name, `-` where there is none.
    pub username: &'a str,
    /// Session id, digits.
    pub session_id: &'a str,
    /// Session version, digits; grows with each change.
    pub version: &'a str,
    /// Where the session was made.
    pub host: Host<'a>,
}

impl<'a> Origin<'a> {
    /// Digits of an id or version we keep. RFC 3264 §5 allows 63 bits, which is 19; phones write a few more.
    pub const MAX_DIGITS: usize = 40;

    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let tokens: Vec<&str> = value.split_ascii_whitespace().collect();
        // Read from the right: some phones write a display name with spaces as the user name.
        let [username @ .., session_id, version, net, kind, address] = tokens.as_slice() else { return None };
        let number = |text: &str| {
            !text.is_empty() && text.len() <= Self::MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
        };
        if !number(session_id) || !number(version) {
            return None;
        }
        let host = Host::read(&mut [*net, *kind, *address].into_iter())?;
        Some(Self { username: username.first().copied().unwrap_or("-"), session_id, version, host })
    }
}

/// The user name may be a number or a person's name, the host is an address: both are masked.
impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o=*** {} {} {:?}", self.session_id, self.version, self.host)
    }
}

/// The origin of descriptions we write. The user name is always `node`: `-`, which RFC 8866 §5.2 has for hosts without
/// user names, is too much for readers that expect letters, SIPp's own `regexp` scenario among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnOrigin {
    /// Session id, drawn at random for a dialog and kept for its life. At most 63 bits (RFC 3264 §5).
    pub session_id: u64,
    /// Version: one more than before whenever the description changes, the same when it does not (RFC 3264 §8).
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

impl OwnOrigin {
    /// A fresh origin. The session id has 53 bits: some phones keep it as a floating-point number.
    pub fn new(random: &mut offhook_base::Random, address: IpAddr) -> Self {
        Self { session_id: random.next_u64() >> 11, version: 1, address }
    }

    /// The origin of the next, changed description.
    #[must_use]
    pub const fn next_version(self) -> Self {
        Self { version: self.version.wrapping_add(1), ..self }
    }
}

impl fmt::Display for OwnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} {} {}", self.session_id, self.version, WireAddress(self.address))
    }
}

/// `IN IP4 192.0.2.1`: an address of ours as `o=`, `c=` and `a=rtcp` write it.
pub(crate) struct WireAddress(pub(crate) IpAddr);

impl fmt::Display for WireAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IN {} {}", if self.0.is_ipv4() { "IP4" } else { "IP6" }, self.0)
    }
}

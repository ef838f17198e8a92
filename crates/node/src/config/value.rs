//! Values that know their own bounds: what parses is usable, and what does not says what would.

use std::{fmt, str::FromStr};

use offhook_codec::Country;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::section::Describe;

/// A whole number in `MIN..=MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranged<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Ranged<MIN, MAX> {
    /// A value that is known when the program is built.
    ///
    /// # Panics
    /// At build time, where used in a constant, if it is out of range.
    pub const fn of(value: u64) -> Self {
        assert!(MIN <= value && value <= MAX, "a default lies in its own range");
        Self(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as seconds.
    pub const fn secs(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }

    /// The number as milliseconds.
    pub const fn millis(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// The number where an `usize` is wanted; saturates on machines with fewer than 64 bits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number where an `u32` is wanted; saturates.
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Describe for Ranged<MIN, MAX> {
    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Ranged<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Ranged<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(RangedVisitor)
    }
}

/// A visitor, so that a value of another type is told the range, too.
struct RangedVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> de::Visitor<'_> for RangedVisitor<MIN, MAX> {
    type Value = Ranged<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Ranged::<MIN, MAX>::allowed())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        match u64::try_from(value) {
            Ok(value) if (MIN..=MAX).contains(&value) => Ok(Ranged(value)),
            _ => {
                Err(E::custom(format_args!("{value} is out of range: allowed is {}", Self::Value::allowed())))
            }
        }
    }
}

/// UDP ports for media, `first-last`: pairs of an even port for RTP and the next one for RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Even.
    pub first: u16,
    /// Odd, greater than `first`.
    pub last: u16,
}

/// Ports below this one belong to the system (RFC 6335 §6).
const FIRST_USER_PORT: u16 = 1024;

impl PortRange {
    /// How many RTP and RTCP pairs fit in.
    pub const fn pairs(self) -> u16 {
        // No overflow: `first` is at least 1024.
        (self.last - self.first).div_ceil(2)
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = BadPortRange;

    fn from_str(text: &str) -> Result<Self, BadPortRange> {
        let (first, last) = text.split_once('-').ok_or(BadPortRange)?;
        let first: u16 = first.trim().parse().map_err(|_| BadPortRange)?;
        let last: u16 = last.trim().parse().map_err(|_| BadPortRange)?;
        let sound =
            first >= FIRST_USER_PORT && first.is_multiple_of(2) && !last.is_multiple_of(2) && first < last;
        if sound { Ok(Self { first, last }) } else { Err(BadPortRange) }
    }
}

/// The text is no usable range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a port range: allowed is an even port from 1024, a hyphen, and a higher odd port, as in \"20000-49999\""
)]
pub struct BadPortRange;

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Describe for PortRange {
    fn allowed() -> String {
        "`\"first-last\"`: an even port from 1024 and a higher odd port".into()
    }
}

/// Where a webhook is sent: `https://…`, or `http://` to this host itself.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The whole URL. It may hold a secret of the receiver's: not for logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = BadWebhookUrl;

    fn from_str(text: &str) -> Result<Self, BadWebhookUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadWebhookUrl)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let clean = !authority.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match scheme {
            "https" if clean => Ok(Self(text.into())),
            "http" if clean && is_this_host(authority) => Ok(Self(text.into())),
            _ => Err(BadWebhookUrl),
        }
    }
}

fn is_this_host(authority: &str) -> bool {
    let host = authority.parse::<std::net::SocketAddr>().map(|address| address.ip()).or_else(|_| {
        let name = authority.split_once(':').map_or(authority, |(name, _port)| name);
        if name == "localhost" { Ok(std::net::Ipv4Addr::LOCALHOST.into()) } else { authority.parse() }
    });
    host.is_ok_and(|address| address.is_loopback())
}

/// The text is no URL that personal data may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a webhook address: allowed is https://…, or http:// to localhost, because it carries personal data"
)]
pub struct BadWebhookUrl;

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(***)")
    }
}

impl Describe for WebhookUrl {
    fn allowed() -> String {
        "`\"https://…\"`, or `\"http://…\"` to this host".into()
    }
}

/// A country whose signals are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountryCode(pub Country);

impl FromStr for CountryCode {
    type Err = UnknownCountry;

    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        Country::parse(text).map(Self).ok_or(UnknownCountry)
    }
}

/// The signals of this country are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a country whose signals are known: allowed is {}", CountryCode::allowed())]
pub struct UnknownCountry;

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code())
    }
}

impl Describe for CountryCode {
    fn allowed() -> String {
        Country::codes().map(|code| format!("`\"{code}\"`")).collect::<Vec<_>>().join(", ")
    }
}

/// What a clock is ahead of UTC, minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset(pub i16);

/// As far as zones go: fourteen hours.
const UTC_OFFSET_MINUTES_MAX: i16 = 14 * 60;

impl FromStr for UtcOffset {
    type Err = BadUtcOffset;

    fn from_str(text: &str) -> Result<Self, BadUtcOffset> {
        let (sign, time) = match text.split_at_checked(1).ok_or(BadUtcOffset)? {
            ("+", time) => (1, time),
            ("-", time) => (-1, time),
            _ => return Err(BadUtcOffset),
        };
        let number = |text: &str| match text.as_bytes() {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
                Ok(i16::from(tens - b'0') * 10 + i16::from(ones - b'0'))
            }
            _ => Err(BadUtcOffset),
        };
        let (hours, minutes) = time.split_once(':').ok_or(BadUtcOffset)?;
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let all = hours * 60 + minutes;
        if minutes < 60 && all <= UTC_OFFSET_MINUTES_MAX { Ok(Self(sign * all)) } else { Err(BadUtcOffset) }
    }
}

/// The text is no distance of a clock from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an offset from UTC: allowed is a sign, hours and minutes up to 14:00, as in \"+01:00\"")]
pub struct BadUtcOffset;

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", self.0.abs() / 60, self.0.abs() % 60)
    }
}

impl Describe for UtcOffset {
    fn allowed() -> String {
        "a sign, hours and minutes, as in `\"+01:00\"`".into()
    }
}

/// Serde by `FromStr` and `Display`: the error of the former is what the operator reads.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_as_text!(CountryCode, PortRange, UtcOffset, WebhookUrl);

pub(super) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_range_is_made_of_whole_pairs() {
        let range: PortRange = "20000-49999".parse().unwrap();
        assert_eq!(range.pairs(), 15_000);
        assert!(range.contains(20_000) && range.contains(49_999) && !range.contains(50_000));
        for bad in
            ["", "20000", "20001-30001", "20000-30000", "30000-20001", "1000-2001", "20000-70001", "-1-5"]
        {
            assert_eq!(bad.parse::<PortRange>(), Err(BadPortRange), "{bad}");
        }
    }

    #[test]
    fn an_offset_and_a_country_are_read_as_they_are_written() {
        for good in ["+00:00", "-03:30", "+14:00", "+05:45"] {
            assert_eq!(good.parse::<UtcOffset>().unwrap().to_string(), good);
        }
        assert_eq!("-03:30".parse::<UtcOffset>(), Ok(UtcOffset(-210)));
        for bad in ["", "01:00", "+1:00", "+01:60", "+14:01", "+99:99", "+0a:00", "±01:00"] {
            assert_eq!(bad.parse::<UtcOffset>(), Err(BadUtcOffset), "{bad}");
        }
        assert_eq!("de".parse::<CountryCode>().unwrap().to_string(), "de");
        assert!("xx".parse::<CountryCode>().unwrap_err().to_string().contains("`\"de\"`"));
    }

    #[test]
    fn a_webhook_goes_encrypted_or_stays_on_this_host() {
        for good in [
            "https://push.example.org/wake?key=1",
            "http://localhost:9000/",
            "http://127.0.0.1",
            "http://[::1]:80/x",
        ] {
            assert_eq!(good.parse::<WebhookUrl>().map(|url| url.reveal().to_string()), Ok(good.to_string()));
        }
        for bad in
            ["http://push.example.org/", "push.example.org", "https://", "ftp://localhost/", "https://a b/"]
        {
            assert_eq!(bad.parse::<WebhookUrl>(), Err(BadWebhookUrl), "{bad}");
        }
    }
}

//! Whether two URIs are the same (RFC 3261 §19.1.4; hosts by RFC 5954 §4.2; `tel` by RFC 3966 §4).

use super::{Scheme, Uri, escape::octets};

/// Parameters that must stand in both URIs or in none.
const DECISIVE_PARAMS: [&str; 4] = ["user", "ttl", "method", "maddr"];

pub(super) fn same_uri(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    match (left.scheme, right.scheme) {
        (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => same_sip(left, right),
        (Scheme::Tel, Scheme::Tel) => same_tel(left, right),
        (Scheme::Other(one), Scheme::Other(other)) => {
            one.eq_ignore_ascii_case(other) && left.opaque == right.opaque
        }
        _ => false,
    }
}

fn same_sip(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    left.port == right.port
        && same_host(left.host, right.host)
        && same_optional_escaped(left.user, right.user)
        && same_optional_escaped(left.password, right.password)
        && DECISIVE_PARAMS.iter().all(|name| left.has_param(name) == right.has_param(name))
        && shared_params_agree(left, right)
        && same_headers(left, right)
}

/// Numbers are equal if their digits are; separators and case do not count. Parameters must be the same set.
fn same_tel(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let digits = |uri: &Uri<'_>| {
        let number = uri.user.unwrap_or_default();
        number
            .bytes()
            .filter(|octet| !b"-.()".contains(octet))
            .map(|octet| octet.to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    left.params().count() == right.params().count()
        && left.params().all(|(name, _)| right.has_param(name))
        && shared_params_agree(left, right)
        && digits(left) == digits(right)
}

/// Names compare without case, IPv6 references as addresses.
pub(crate) fn same_host(left: &str, right: &str) -> bool {
    if left.eq_ignore_ascii_case(right) {
        return true;
    }
    let address = |host: &str| host.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
    matches!((address(left), address(right)), (Some(left), Some(right)) if left == right)
}

/// Of a name that stands there twice, which RFC 3261 §19.1.1 forbids, the first one counts.
fn shared_params_agree(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    left.params().all(|(name, _)| match (left.param(name).flatten(), right.param(name)) {
        (_, None) | (None, Some(None)) => true,
        (Some(value), Some(Some(other))) => same_escaped(value, other, false),
        _ => false,
    })
}

/// Headers are never ignored: both must have the same ones, in any order.
fn same_headers(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    left.header_params().count() == right.header_params().count()
        && left.header_params().all(|(name, value)| {
            right
                .header_params()
                .any(|(other, text)| same_escaped(name, other, false) && same_escaped(value, text, true))
        })
}

pub(super) fn same_optional_escaped(left: Option<&str>, right: Option<&str>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same_escaped(left, right, true),
        (None, None) => true,
        _ => false,
    }
}

/// Equal octets after unescaping. `%00` is an octet like any other: it ends nothing.
pub(super) fn same_escaped(left: &str, right: &str, case_matters: bool) -> bool {
    let fold = |octet: u8| if case_matters { octet } else { octet.to_ascii_lowercase() };
    octets(left).map(fold).eq(octets(right).map(fold))
}

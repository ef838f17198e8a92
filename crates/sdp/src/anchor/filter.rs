//! Which attributes pass from one leg to the other.
//!
//! Four lists stop by name; everything else passes unless its value holds an address of the writer, or an IP
//! literal at all, or, for `a=ssrc`, the user name of a CNAME:
//! - ICE and other alternative addresses: we are the only path to the writer;
//! - bundling and capability negotiation: both would change, behind our back, what we relay;
//! - the name of the writer's software;
//! - keys and DTLS, when encryption ends with us.

use std::net::Ipv6Addr;

use crate::{Attribute, Host, SessionDescription};

/// Other ways to reach the writer: ICE (RFC 8839), `altc` (RFC 6947), `ccap` (RFC 7006), MSRP paths, multicast sources.
const OTHER_PATHS: [&str; 15] = [
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-mismatch",
    "ice-pacing",
    "altc",
    "ccap",
    "path",
    "source-filter",
    "alt",
    "rtcp-mux-only",
];

/// Bundling (RFC 8843) puts streams of several ports on one, capability negotiation (RFC 5939, RFC 6871) swaps
/// profiles and keys: the relay does neither. `a=group` of other semantics (LS, FID) passes, and so does `a=mid`.
const BEHIND_OUR_BACK: [&str; 15] = [
    "bundle-only",
    "pcfg",
    "acfg",
    "tcap",
    "acap",
    "csup",
    "creq",
    "mcap",
    "mscap",
    "mfcap",
    "rmcap",
    "omcap",
    "lcfg",
    "sescap",
    "bcap",
];

/// Keys and their negotiation: SDES, DTLS-SRTP, MIKEY, ZRTP.
const KEYS: [&str; 9] = [
    "crypto",
    "fingerprint",
    "setup",
    "connection",
    "tls-id",
    "dtls-id",
    "key-mgmt",
    "zrtp-hash",
    "identity",
];

/// What the writer's software is called (RFC 8866 §6.4): nobody's business, as its User-Agent is.
const SOFTWARE: [&str; 1] = ["tool"];

/// Longest attribute that is searched for addresses, bytes; longer ones stop. A real one is below 1000.
const MAX_SEARCHED_BYTES: usize = 4096;

/// The names by which a writer could be recognised: hosts of its `o=`, `c=` and `a=rtcp` lines.
pub(super) struct Filter<'a> {
    names: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(sdp: &'a SessionDescription) -> Self {
        let connections =
            sdp.media().filter_map(|media| media.connection()).map(|connection| connection.host);
        let rtcp = sdp.media().filter_map(|media| media.rtcp()?.host);
        let mut names: Vec<&str> = std::iter::once(sdp.origin().host)
            .chain(sdp.connection().map(|connection| connection.host))
            .chain(connections)
            .chain(rtcp)
            .filter_map(|host| match host {
                Host::Name(name) => Some(name),
                Host::Ip(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    /// Whether `attribute` passes. `keeps_keys`: encryption does not end with us.
    pub(super) fn passes(&self, attribute: &Attribute<'_>, keeps_keys: bool) -> bool {
        let listed = |list: &[&str]| list.iter().any(|name| attribute.is(name));
        let value = attribute.value.unwrap_or_default();
        let stops = listed(&OTHER_PATHS) || listed(&BEHIND_OUR_BACK) || listed(&SOFTWARE);
        if stops || (!keeps_keys && listed(&KEYS)) {
            return false;
        }
        if attribute.is("group") && value.trim_start().to_ascii_uppercase().starts_with("BUNDLE") {
            return false;
        }
        if attribute.is("ssrc") && value.contains('@') {
            return false; // `cname:user@host` (RFC 3550 §6.5.1)
        }
        !self.reveals_address(attribute.name) && !self.reveals_address(value)
    }

    /// Whether `text` holds an IP literal or a host name of the writer.
    pub(super) fn reveals_address(&self, text: &str) -> bool {
        text.len() > MAX_SEARCHED_BYTES
            || holds_ip_literal(text)
            || self.names.iter().any(|name| holds_word(text, name))
    }
}

/// Whether `name` stands in `text` as a whole word, whatever its case.
fn holds_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
        .any(|word| word.trim_matches('.').eq_ignore_ascii_case(name.trim_matches('.')))
}

fn holds_ip_literal(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).any(is_ipv4_run)
        || text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ':' | '.'))).any(is_ipv6_run)
}

/// Four numbers up to 255; unlike the standard parser, with leading zeros too, as some phones write them.
fn is_ipv4_run(run: &str) -> bool {
    let octets = run.trim_matches('.').split('.');
    octets.clone().count() == 4
        && octets.into_iter().all(|octet| octet.len() <= 3 && octet.parse::<u8>().is_ok())
}

/// A run of hexadecimal digits, colons and dots. A word before it may have ended in such a letter
/// (`bad:2001:db8::1`), so every tail that starts after a colon is tried; fingerprints (`AB:CD:...`) have too many groups,
/// but their tails of eight do parse, hence the test for a run of pairs.
fn is_ipv6_run(run: &str) -> bool {
    let trimmed = if run.starts_with("::") { run } else { run.trim_start_matches(':') };
    let colons = trimmed.bytes().filter(|byte| *byte == b':').count();
    if !(2..=12).contains(&colons) {
        return false; // no address, or the fingerprint of a certificate (15 colons and more)
    }
    let tails = trimmed.match_indices(':').map(|(at, _)| &trimmed[at + 1..]);
    std::iter::once(trimmed).chain(tails).any(|tail| {
        let without_port = tail.rsplit_once(':').map_or("", |(head, _)| head);
        let parses = |text: &str| text.trim_end_matches('.').parse::<Ipv6Addr>().is_ok();
        parses(tail) || parses(without_port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ip_literals_are_found_wherever_they_hide() {
        for text in [
            "192.0.2.1",
            "192.000.002.001",
            "x192.0.2.1:5060",
            "to=[2001:db8::1]:4000",
            "2001:db8::1",
            "bad:2001:db8::1",
            "::1",
            "fe80::1%eth0",
            "::ffff:192.0.2.1",
            "1:2:3:4:5:6:7:8",
        ] {
            assert!(holds_ip_literal(text), "{text}");
        }
        let fingerprint = "sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
        for text in [
            "",
            "baresip 1.0.0",
            "0-15",
            "profile-level-id=42e01f;q=1.2.3",
            fingerprint,
            "10:20:30",
            ":",
            "...",
        ] {
            assert!(!holds_ip_literal(text), "{text}");
        }
    }
}

//! SIP messages for people who need to see what happened and not to whom.
//!
//! What is shown is listed; everything else is masked. A header that nobody thought of is hidden, not leaked.

use std::fmt::Write as _;

use offhook_sip::message::StatusCode;

/// What stands for a masked value.
const MASK: &str = "***";

/// Headers, lower case, whose values say nothing of anybody.
const OPEN_HEADERS: &[&str] = &[
    "accept",
    "allow",
    "allow-events",
    "content-encoding",
    "content-length",
    "content-type",
    "cseq",
    "date",
    "event",
    "expires",
    "max-forwards",
    "mime-version",
    "min-expires",
    "min-se",
    "priority",
    "privacy",
    "proxy-require",
    "rack",
    "reason",
    "require",
    "retry-after",
    "rseq",
    "server",
    "session-expires",
    "subscription-state",
    "supported",
    "timestamp",
    "unsupported",
    "user-agent",
    "warning",
    "c",
    "k",
    "l",
    "o",
    "u",
    "x",
];

/// Headers whose address is masked and whose named parameters stay: they tell dialogs and transactions apart.
const TAGGED_HEADERS: &[(&str, &str)] =
    &[("from", "tag"), ("f", "tag"), ("to", "tag"), ("t", "tag"), ("via", "branch"), ("v", "branch")];

/// Headers that hold secrets: masked even in clear sight.
const SECRET_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"];

/// Session description attributes that say nothing of anybody.
const OPEN_ATTRIBUTES: &[&str] = &[
    "fmtp",
    "group",
    "inactive",
    "maxptime",
    "mid",
    "ptime",
    "recvonly",
    "rtcp-fb",
    "rtcp-mux",
    "rtcp-rsize",
    "rtpmap",
    "sendonly",
    "sendrecv",
    "setup",
];

/// `text` without numbers, names, addresses and keys.
pub(crate) fn masked(text: &str) -> String {
    let (head, body) = split(text);
    let mut lines = head.lines();
    let mut out = start_line(lines.next().unwrap_or_default());
    let mut hidden = false;
    for line in lines {
        if line.starts_with([' ', '\t']) {
            // A folded line belongs to the header above it (RFC 3261 §7.3.1).
            let _ = write!(out, "\r\n {}", if hidden { MASK } else { line.trim() });
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let key = name.trim().to_ascii_lowercase();
        hidden = !OPEN_HEADERS.contains(&key.as_str());
        let _ = match TAGGED_HEADERS.iter().find(|(tagged, _)| *tagged == key) {
            Some((_, parameter)) => write!(out, "\r\n{name}: {}", tagged(value, parameter)),
            None if hidden => write!(out, "\r\n{name}: {MASK}"),
            None => write!(out, "\r\n{name}:{value}"),
        };
    }
    out.push_str("\r\n\r\n");
    out.push_str(&masked_body(body));
    out
}

/// `text` with everything but secrets.
pub(crate) fn without_secrets(text: &str) -> String {
    let (head, body) = split(text);
    let mut out = String::with_capacity(text.len());
    let mut hidden = false;
    for line in head.lines() {
        if !line.starts_with([' ', '\t']) {
            let name = line.split_once(':').map_or("", |(name, _)| name).trim().to_ascii_lowercase();
            hidden = SECRET_HEADERS.contains(&name.as_str());
        }
        match line.split_once(':') {
            Some((name, _)) if hidden && !line.starts_with([' ', '\t']) => {
                let _ = write!(out, "{name}: {MASK}\r\n");
            }
            _ if hidden => {}
            _ => {
                let _ = write!(out, "{line}\r\n");
            }
        }
    }
    out.push_str("\r\n");
    for line in body.lines() {
        let keys = line.starts_with("a=crypto:") || line.starts_with("a=ice-pwd:") || line.starts_with("k=");
        let shown = if keys { line.split_once(':').map_or("k", |(name, _)| name) } else { line };
        let _ = if keys { write!(out, "{shown}:{MASK}\r\n") } else { write!(out, "{shown}\r\n") };
    }
    out
}

fn split(text: &str) -> (&str, &str) {
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")).unwrap_or((text, ""))
}

/// A response's line says nothing of anybody but by a phrase of its own; of a request's the method and the version stay.
fn start_line(line: &str) -> String {
    if line.starts_with("SIP/") {
        let mut words = line.splitn(3, ' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some(code) = status.parse().ok().and_then(StatusCode::new) else {
            return format!("{version} {MASK}");
        };
        let (said, usual) = (words.next().unwrap_or_default(), code.default_reason());
        // Any other phrase is free text of the other side.
        return match said {
            "" => format!("{version} {status}"),
            said if said.eq_ignore_ascii_case(usual) => format!("{version} {status} {usual}"),
            _ => format!("{version} {status} {MASK} ({usual})"),
        };
    }
    let method: String =
        line.split(' ').next().unwrap_or_default().chars().filter(char::is_ascii_uppercase).collect();
    format!("{method} {MASK} SIP/2.0")
}

fn tagged(value: &str, parameter: &str) -> String {
    let found = value.split(';').skip(1).find_map(|part| {
        let (name, token) = part.trim().split_once('=')?;
        // A token of letters and digits; a tag that holds an address is no token of ours to show.
        let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && token.len() <= 64;
        (name.eq_ignore_ascii_case(parameter) && plain).then_some(token)
    });
    found.map_or_else(|| MASK.into(), |token| format!("{MASK};{parameter}={token}"))
}

/// Shows a session description's media and codecs; of any other body its length.
fn masked_body(body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    if !body.starts_with("v=") {
        return format!("{MASK} ({} octets)", body.len());
    }
    let mut out = String::new();
    for line in body.lines() {
        let (kind, value) = line.split_once('=').unwrap_or((line, ""));
        let attribute = value.split_once(':').map_or(value, |(name, _)| name);
        let shown = match kind {
            "v" | "t" | "m" | "b" => value.to_string(),
            "a" if OPEN_ATTRIBUTES.contains(&attribute) => value.to_string(),
            "a" if attribute.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                format!("{attribute}:{MASK}")
            }
            _ => MASK.to_string(),
        };
        let _ = write!(out, "{kind}={shown}\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:+4930123456@192.0.2.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKabc;rport\r\n\
        From: \"Anna\" <sip:anna@example.org>;tag=x1\r\n\
        To: <sip:+4930123456@192.0.2.1>\r\n\
        Call-ID: 77@192.0.2.7\r\n\
        CSeq: 1 INVITE\r\n\
        X-Customer: 4711\r\n\
        \x20 folded secret of Anna\r\n\
        Authorization: Digest username=\"anna\", response=\"c0ffee\"\r\n\
        Content-Type: application/sdp\r\n\r\n\
        v=0\r\no=anna 1 1 IN IP4 192.0.2.7\r\ns=Anna\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8\r\n\
        a=rtpmap:8 PCMA/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n";

    #[test]
    fn a_masked_message_tells_what_happened_and_not_to_whom() {
        let shown = masked(INVITE);
        for secret in ["anna", "Anna", "4930", "192.0.2", "4711", "c0ffee", "c2VjcmV0", "folded"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in [
            "INVITE *** SIP/2.0",
            "branch=z9hG4bKabc",
            "tag=x1",
            "CSeq: 1 INVITE",
            "m=audio 4000",
            "PCMA/8000",
        ] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
    }

    #[test]
    fn a_message_in_clear_still_hides_passwords_and_keys() {
        let shown = without_secrets(INVITE);
        for secret in ["c0ffee", "c2VjcmV0"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in ["+4930123456", "Anna", "X-Customer: 4711", "folded secret of Anna", "a=crypto:***"] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
    }

    #[test]
    fn a_standard_reason_phrase_is_shown() {
        for phrase in ["404 Not Found", "180 Ringing", "486 Busy Here", "200 OK"] {
            assert_eq!(masked(&format!("SIP/2.0 {phrase}\r\n\r\n")), format!("SIP/2.0 {phrase}\r\n\r\n"));
        }
        assert_eq!(masked("SIP/2.0 Anna\r\n\r\n"), "SIP/2.0 ***\r\n\r\n");
    }

    #[test]
    fn a_callers_reason_phrase_and_strange_headers_stay_hidden() {
        let shown = masked(
            "SIP/2.0 404 No Anna here\r\nP-Asserted-Identity: <sip:anna@example.org>\r\n\r\nhello Anna",
        );
        assert_eq!(shown, "SIP/2.0 404 *** (Not Found)\r\nP-Asserted-Identity: ***\r\n\r\n*** (10 octets)");
    }
}

//! Whom a SIP message names, read without a full parse: a trace shows broken messages, too.

use std::borrow::Cow;

/// Somebody who is named in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The user and host of a SIP URI, percent signs resolved.
    Address {
        /// Before the `@`, without password and parameters.
        user: String,
        /// Behind it, without the port.
        host: String,
    },
    /// The user and realm of digest credentials.
    Credentials {
        /// Who says to be there.
        user: String,
        /// Where.
        realm: String,
    },
}

/// Headers whose URIs say who is meant, lower case.
const ADDRESSES: [&str; 6] = ["from", "f", "to", "t", "p-asserted-identity", "p-preferred-identity"];

/// Headers with credentials, lower case.
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];

/// Header lines that are looked at: more are in no message of a phone.
const LINES_MAX: usize = 256;

/// Everybody whom the message names, in its order: as the target, in its addresses, in its credentials.
pub fn in_message(bytes: &[u8]) -> impl Iterator<Item = Named> {
    let lines = unfolded(bytes);
    let target = lines.first().filter(|line| !line.starts_with("SIP/")).and_then(|line| address(line));
    let mut named: Vec<Named> = target.into_iter().collect();
    for line in lines.iter().skip(1) {
        let Some((field, value)) = line.split_once(':') else { continue };
        let field = field.trim().to_ascii_lowercase();
        if ADDRESSES.contains(&field.as_str()) {
            named.extend(address(value));
        } else if CREDENTIALS.contains(&field.as_str()) {
            named.extend(credentials(value));
        }
    }
    named.into_iter()
}

/// The message's Call-ID header.
pub fn call_id(bytes: &[u8]) -> Option<String> {
    unfolded(bytes).iter().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end();
        (name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i")).then(|| value.trim().into())
    })
}

/// The lines of the head, each with what is folded under it (RFC 3261 §7.3.1). Octets that are no UTF-8, as in an old
/// phone's display name, hide nothing else.
fn unfolded(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n').take(LINES_MAX) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(line);
        match lines.last_mut() {
            Some(above) if text.starts_with([' ', '\t']) => above.push_str(&text),
            _ => lines.push(text.into_owned()),
        }
    }
    lines
}

/// The first SIP URI of a text that has a user.
fn address(text: &str) -> Option<Named> {
    let lower = text.to_ascii_lowercase();
    // Behind a display name in quotes, which may hold anything.
    let from = if lower.trim_start().starts_with('"') { lower.rfind('<').unwrap_or(0) } else { 0 };
    let start = ["sip:", "sips:"]
        .iter()
        .filter_map(|scheme| Some(lower[from..].find(scheme)? + from + scheme.len()))
        .min()?;
    let uri = text.get(start..)?.split(['>', ' ', '\t', '"']).next()?;
    let (user, host) = uri.split_once('@')?;
    let user = user.split([':', ';']).next()?;
    let host = host.split([';', '?']).next()?;
    let host = match host.strip_prefix('[').and_then(|literal| literal.split_once(']')) {
        Some((literal, _port)) => literal,
        None => host.split(':').next()?,
    };
    Some(Named::Address { user: resolved(user).into_owned(), host: host.into() })
}

fn credentials(text: &str) -> Option<Named> {
    let parameter = |name: &str| {
        text.split([',', ' ']).find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_string())
        })
    };
    Some(Named::Credentials { user: parameter("username")?, realm: parameter("realm")? })
}

/// `%31` as `1`; what is no escape stays.
fn resolved(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = if first == b'%' { behind.get(..2) } else { None };
        let code = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(code.unwrap_or(first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let shown = |named| match named {
            Named::Address { user, host } => format!("{user}@{host}"),
            Named::Credentials { user, realm } => format!("{user} of {realm}"),
        };
        in_message(text.as_bytes()).map(shown).collect()
    }

    #[test]
    fn everybody_is_found_however_it_is_written() {
        let text = "MESSAGE sips:%31%301@voice.example;x=y SIP/2.0\r\nf: \"sip:no@no\" <SIP:102:pw@[2001:db8::1]:5060>\r\n\
            To:\r\n <sip:103;phone-context=x@h:99?a=b>;tag=1\r\nX: <sip:no@no>\r\n\
            P-Asserted-Identity: sip:104@h\r\nAuthorization: Digest realm=\"r\",username=\"105\", nonce=\"\"\r\n\r\nTo: <sip:no@no>";
        assert_eq!(named(text), ["101@voice.example", "102@2001:db8::1", "103@h", "104@h", "105 of r"]);
    }

    #[test]
    fn a_name_in_an_old_character_set_hides_no_header() {
        let mut bytes = b"OPTIONS sip:x SIP/2.0\r\nFrom: \"M".to_vec();
        bytes.extend_from_slice(b"\xfcller\" <sip:101@h>;tag=1\r\ni: abc\r\n\r\n");
        assert_eq!(in_message(&bytes).count(), 1);
        assert_eq!(call_id(&bytes).as_deref(), Some("abc"));
    }

    #[test]
    fn nonsense_names_nobody() {
        for text in
            ["", "\r\n\r\n", "To: <sip:@>", "X\r\nTo: <sip:%@%>\r\nAuthorization: x", "a\r\nTo: \"<sip:"]
        {
            let _ = named(text);
            assert_eq!(call_id(text.as_bytes()), None);
        }
    }
}

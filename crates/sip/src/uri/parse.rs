//! From text to [`Uri`].

use super::{Scheme, URI_BYTES_MAX, URI_PARAMS_MAX, Uri, UriError, escape::is_well_escaped};

/// What an octet means in a URI.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing but itself.
    Plain,
    /// It separates, or begins an escape.
    Sign,
    /// It must not stand there: white space, a control octet, `<`, `>` or `"`.
    Barred,
}

/// UTF-8 is let through because phones write it unescaped.
const CLASSES: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut octet = 0;
    while octet < table.len() {
        table[octet] = match octet as u8 {
            0..=b' ' | b'<' | b'>' | b'"' | 0x7f => Class::Barred,
            b'%' | b'@' | b':' | b';' | b'?' => Class::Sign,
            _ => Class::Plain,
        };
        octet += 1;
    }
    table
};

/// What host names are made of. `_` is no letter of theirs, but of many real ones.
const HOST_OCTET: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < table.len() {
        table[octet] = (octet as u8).is_ascii_alphanumeric() || matches!(octet as u8, b'-' | b'.' | b'_');
        octet += 1;
    }
    table
};

/// Whether `octet` may stand in a URI: printable, and none of the signs that end one.
pub(crate) const fn is_uri_octet(octet: u8) -> bool {
    !matches!(CLASSES[octet as usize], Class::Barred)
}

/// Where the signs of a URI stand, from one look at each octet.
#[derive(Default)]
struct Signs {
    /// The first `@`.
    at: Option<usize>,
    /// Another `@`.
    second_at: bool,
    /// The first `:` before the first `@`.
    password: Option<usize>,
    /// The first `?` and the first `;` behind the `@`; behind the beginning if there is none.
    question: Option<usize>,
    semicolon: Option<usize>,
}

impl Signs {
    fn read(opaque: &str) -> Result<Self, UriError> {
        let octets = opaque.as_bytes();
        let mut signs = Self::default();
        let mut is_escaped = false;
        for (index, &octet) in octets.iter().enumerate() {
            match CLASSES[usize::from(octet)] {
                Class::Plain => {}
                Class::Barred => return Err(UriError::Octet),
                Class::Sign => match octet {
                    b'%' => is_escaped = true,
                    b'@' if signs.at.is_some() => signs.second_at = true,
                    // Neither a host, a parameter nor a header may hold a bare `@`, so the first one ends the user part,
                    // whatever `;` or `?` stand before it.
                    b'@' => (signs.at, signs.question, signs.semicolon) = (Some(index), None, None),
                    b':' if signs.at.is_none() => {
                        signs.password.get_or_insert(index);
                    }
                    b'?' => {
                        signs.question.get_or_insert(index);
                    }
                    // A `;` within the headers separates nothing.
                    b';' if signs.question.is_none() => {
                        signs.semicolon.get_or_insert(index);
                    }
                    _ => {}
                },
            }
        }
        if is_escaped && !is_well_escaped(opaque) { Err(UriError::Escape) } else { Ok(signs) }
    }
}

pub(super) fn uri(text: &str) -> Result<Uri<'_>, UriError> {
    if text.len() > URI_BYTES_MAX {
        return Err(UriError::TooLong);
    }
    let colon = text.bytes().position(|octet| octet == b':').ok_or(UriError::Scheme)?;
    let (scheme, opaque) = (&text[..colon], &text[colon + 1..]);
    if !is_scheme(scheme) {
        return Err(UriError::Scheme);
    }
    match Scheme::parse(scheme) {
        scheme @ (Scheme::Sip | Scheme::Sips) => sip(scheme, opaque, &Signs::read(opaque)?),
        Scheme::Tel => {
            Signs::read(opaque)?;
            tel(opaque)
        }
        Scheme::Other(_) if !opaque.bytes().all(is_uri_octet) => Err(UriError::Octet),
        scheme @ Scheme::Other(_) if !opaque.is_empty() => Ok(bare(scheme, opaque)),
        Scheme::Other(_) => Err(UriError::Host),
    }
}

/// `userinfo@host:port;params?headers` (RFC 3261 §25.1).
fn sip<'a>(scheme: Scheme<'a>, opaque: &'a str, signs: &Signs) -> Result<Uri<'a>, UriError> {
    if signs.second_at {
        return Err(UriError::User);
    }
    let (user, password) = match (signs.at, signs.password) {
        (Some(at), Some(colon)) => (Some(&opaque[..colon]), Some(&opaque[colon + 1..at])),
        (Some(at), None) => (Some(&opaque[..at]), None),
        (None, _) => (None, None),
    };
    if user.is_some_and(str::is_empty) {
        return Err(UriError::User);
    }
    let begin = signs.at.map_or(0, |at| at + 1);
    let end = signs.question.unwrap_or(opaque.len());
    let headers = signs.question.map_or("", |question| &opaque[question + 1..]);
    let hosts_end = signs.semicolon.unwrap_or(end);
    let (hostport, params) = (&opaque[begin..hosts_end], &opaque[hosts_end..end]);
    let (host, port) = host_port(hostport)?;
    check_params(params)?;
    check_headers(headers)?;
    Ok(Uri { user, password, host, port, params, headers, ..bare(scheme, opaque) })
}

/// `number;params` (RFC 3966 §3).
fn tel(opaque: &str) -> Result<Uri<'_>, UriError> {
    let (number, params) = opaque.split_at(memchr::memchr(b';', opaque.as_bytes()).unwrap_or(opaque.len()));
    let digits = number.strip_prefix('+').unwrap_or(number);
    let is_dial_octet = |octet: u8| octet.is_ascii_hexdigit() || b"*#-.()".contains(&octet);
    if !digits.bytes().all(is_dial_octet)
        || !digits.bytes().any(|octet| octet.is_ascii_hexdigit() || b"*#".contains(&octet))
    {
        return Err(UriError::Number);
    }
    check_params(params)?;
    Ok(Uri { user: Some(number), params, ..bare(Scheme::Tel, opaque) })
}

/// `text` before and behind the first `separator`, an ASCII octet.
fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

const fn bare<'a>(scheme: Scheme<'a>, opaque: &'a str) -> Uri<'a> {
    Uri { scheme, user: None, password: None, host: "", port: None, params: "", headers: "", opaque }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
}

/// `host[:port]`, the host in one of its three forms.
pub(crate) fn host_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or(UriError::Host)? + 1;
        let (host, rest) = text.split_at(end);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(UriError::Host),
        }
    } else {
        match cut(text, b':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if !is_host(host) {
        return Err(UriError::Host);
    }
    let port = match port {
        Some(port) => Some(crate::header::scan::number(port).ok_or(UriError::Port)?),
        None => None,
    };
    Ok((host, port))
}

/// An IPv6 reference in brackets, or a name or IPv4 address.
pub(crate) fn is_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    !host.is_empty() && host.bytes().all(|octet| HOST_OCTET[usize::from(octet)])
}

/// `params` is empty or begins with `;`; each parameter has a name, and a value behind each `=`.
fn check_params(params: &str) -> Result<(), UriError> {
    if params.is_empty() {
        return Ok(());
    }
    let mut count = 0;
    for param in params.split(';').skip(1) {
        let (name, value) = param.split_once('=').unwrap_or((param, "-"));
        count += 1;
        if name.is_empty() || value.is_empty() {
            return Err(UriError::Param);
        }
        if count > URI_PARAMS_MAX {
            return Err(UriError::TooLong);
        }
    }
    Ok(())
}

fn check_headers(headers: &str) -> Result<(), UriError> {
    if headers.is_empty() {
        return Ok(());
    }
    let mut count = 0;
    for header in headers.split('&') {
        count += 1;
        if header.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return Err(UriError::Header);
        }
        if count > URI_PARAMS_MAX {
            return Err(UriError::TooLong);
        }
    }
    Ok(())
}

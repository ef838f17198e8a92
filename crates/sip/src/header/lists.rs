//! Headers that are lists or typed texts: option tags, addresses, media types, reasons, warnings.

use std::{borrow::Cow, fmt};

use super::{
    HeaderError, HeaderName, Headers, Slot,
    name_addr::NameAddr,
    params::{Params, split_params, unquote},
    scan::{Split, is_token, number, take_quoted, take_token, trim, trim_start},
};

/// The values of all lines of one name, split at top-level commas, empty ones left out: see [`Headers::values`].
#[derive(Clone)]
pub struct Values<'a> {
    headers: &'a Headers,
    lines: std::slice::Iter<'a, Slot>,
    kind: u8,
    line: Option<Split<'a>>,
}

impl<'a> Values<'a> {
    pub(super) fn of(headers: &'a Headers, name: HeaderName) -> Self {
        Self { headers, lines: headers.slots_of(name), kind: name as u8, line: None }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            if let Some(value) = self.line.as_mut().and_then(|line| line.find(|value| !value.is_empty())) {
                return Some(value);
            }
            let slot = self.lines.find(|slot| slot.kind == self.kind)?;
            self.line = Some(Split::new(self.headers.value(slot), b','));
        }
    }
}

/// The tokens of a list header (Require, Supported, Allow, ...), in order.
pub type Tokens<'a> = Values<'a>;

/// The addresses of a list header (Route, Record-Route, Path, ...), in order; each one may be malformed.
#[derive(Clone)]
pub struct Addresses<'a> {
    values: Values<'a>,
    name: HeaderName,
}

impl<'a> Addresses<'a> {
    pub(super) fn of(headers: &'a Headers, name: HeaderName) -> Self {
        Self { values: Values::of(headers, name), name }
    }
}

impl<'a> Iterator for Addresses<'a> {
    type Item = Result<NameAddr<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.values.next().map(|value| NameAddr::parse(value).ok_or(HeaderError::Malformed(self.name)))
    }
}

/// A media type with parameters: Content-Type, and the ranges of Accept (RFC 3261 §20.1, §20.15).
#[derive(Clone, Copy, Debug)]
pub struct MediaType<'a> {
    /// `application`, or `*` in a range.
    pub main: &'a str,
    /// `sdp`, or `*` in a range.
    pub sub: &'a str,
    /// `boundary`, `charset`, `q`, ...
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Takes one value apart; `None` if it does not follow the grammar.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (kind, params) = split_params(value);
        let (main, rest) = take_token(trim(kind));
        let sub = trim_start(trim_start(rest).strip_prefix('/')?);
        (is_token(main) && is_token(sub)).then_some(Self { main, sub, params: Params::parse(params)? })
    }

    /// Whether it is `name`, as `application/sdp`, in any case, whatever its parameters.
    pub fn is(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(main, sub)| {
            self.main.eq_ignore_ascii_case(main) && self.sub.eq_ignore_ascii_case(sub)
        })
    }

    /// Whether this range of an Accept header covers `other`.
    pub fn covers(&self, other: &MediaType<'_>) -> bool {
        let covers = |range: &str, name: &str| range == "*" || range.eq_ignore_ascii_case(name);
        covers(self.main, other.main) && covers(self.sub, other.sub)
    }

    /// The `boundary` of a multipart type, without quotes.
    pub fn boundary(&self) -> Option<Cow<'a, str>> {
        self.params.text("boundary")
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.main, self.sub, self.params.as_str())
    }
}

/// One Reason value (RFC 3326).
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, ...
    pub protocol: &'a str,
    /// `cause` and `text`.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (protocol, params) = split_params(value);
        let protocol = trim(protocol);
        is_token(protocol).then_some(Self { protocol, params: Params::parse(params)? })
    }

    /// The cause, if it is a number: a SIP status or a Q.850 cause.
    pub fn cause(&self) -> Option<u16> {
        number(self.params.value("cause")?)
    }

    /// The text without quotes.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.text("text")
    }
}

/// One Warning value (RFC 3261 §20.43).
#[derive(Clone)]
pub struct Warning<'a> {
    /// 300..=399 are SIP's.
    pub code: u16,
    /// Who warns: a host or a pseudonym.
    pub agent: &'a str,
    /// What for.
    pub text: Cow<'a, str>,
}

impl<'a> Warning<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (code, rest) = trim(value).split_once(' ')?;
        let (agent, text) = trim_start(rest).split_once(' ')?;
        let text = trim(text);
        let ("", true) = (take_quoted(text)?.1, code.len() == 3) else { return None };
        Some(Self { code: number(code)?, agent, text: unquote(text) })
    }
}

impl fmt::Debug for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Warning({})", self.code)
    }
}

/// One History-Info entry (RFC 7044 §5).
#[derive(Clone, Copy, Debug)]
pub struct HistoryEntry<'a> {
    /// The target, with Reason and Privacy escaped in its URI's headers.
    pub address: NameAddr<'a>,
}

impl<'a> HistoryEntry<'a> {
    /// The `index`, as `1.1.2`.
    pub fn index(&self) -> Option<&'a str> {
        self.address.params.value("index")
    }

    /// How the target was found (`rc`, `mp`, `np`) and the index it came from.
    pub fn mapped_from(&self) -> Option<(&'static str, &'a str)> {
        ["rc", "mp", "np"].into_iter().find_map(|kind| Some((kind, self.address.params.value(kind)?)))
    }
}

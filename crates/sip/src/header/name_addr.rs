//! `name-addr / addr-spec` with parameters: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use std::{borrow::Cow, fmt};

use super::{
    essentials::{AddressSpans, Span},
    params::{Params, split_params},
    scan::{delta_seconds, take_quoted, trim, trim_start, unescape_quoted, unfold},
};
use crate::uri::{Uri, UriError, is_uri_octet};

/// An address with an optional display name and header parameters.
#[derive(Clone, Copy)]
pub struct NameAddr<'a> {
    /// As received: tokens, or the inside of a quoted string with its escapes.
    display: Option<&'a str>,
    /// The URI as received, without angle brackets. Not yet parsed: see [`NameAddr::parsed_uri`].
    pub uri: &'a str,
    /// The header's parameters (not the URI's).
    pub params: Params<'a>,
    tag: Option<&'a str>,
}

impl<'a> NameAddr<'a> {
    /// Takes one value apart; `None` if it does not follow the grammar. Unquoted display names may hold more than the
    /// grammar's tokens (UTF-8, dots, colons), as many phones send them, but no comma, semicolon or quote.
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = trim(value);
        if let Some((display, rest)) = take_quoted(value) {
            return Some(Self { display: Some(display), ..bracketed(trim_start(rest))? });
        }
        if let Some(start) = memchr::memchr(b'<', value.as_bytes()) {
            let (display, rest) = value.split_at(start);
            let display = trim(display);
            if display.bytes().any(|octet| matches!(octet, b'"' | b',' | b';' | b'>' | b'@')) {
                return None;
            }
            let display = Some(display).filter(|display| !display.is_empty());
            return Some(Self { display, ..bracketed(rest)? });
        }
        // Without brackets all parameters are the header's, and `,` `;` `?` cannot be the URI's (RFC 3261 §20.10).
        let (uri, params) = split_params(value);
        let uri = trim(uri);
        if memchr::memchr2(b'?', b',', uri.as_bytes()).is_some() || uri_end(uri) != Some(uri.len()) {
            return None;
        }
        Self::bare(uri, params)
    }

    fn bare(uri: &'a str, params: &'a str) -> Option<Self> {
        let mut tag = None;
        let params = Params::parse_noting(params, |name, value| {
            if name.eq_ignore_ascii_case("tag") {
                tag.get_or_insert(value);
            }
        })?;
        Some(Self { display: None, uri, params, tag: tag.flatten() })
    }

    /// Where its parts are in `head`, of which it is a piece.
    pub(super) fn spans(&self, head: &str) -> AddressSpans {
        let span = |part| Span::of(part, head);
        AddressSpans {
            display: self.display.map(span),
            uri: span(self.uri),
            params: span(self.params.as_str()),
            tag: self.tag.map(span),
        }
    }

    /// The address whose parts are there in `head`.
    pub(super) fn at(spans: &AddressSpans, head: &'a str) -> Self {
        Self {
            display: spans.display.map(|display| display.text(head)),
            uri: spans.uri.text(head),
            params: Params::checked(spans.params.text(head)),
            tag: spans.tag.map(|tag| tag.text(head)),
        }
    }

    /// The display name without quotes, escapes and folds; `None` if there is none or it is empty.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        let display = self.display?;
        let name = if memchr::memchr(b'\\', display.as_bytes()).is_some() {
            unescape_quoted(display)
        } else {
            unfold(display)
        };
        (!name.is_empty()).then_some(name)
    }

    /// The URI, by part.
    ///
    /// # Errors
    /// See [`UriError`].
    pub fn parsed_uri(&self) -> Result<Uri<'a>, UriError> {
        Uri::parse(self.uri)
    }

    /// The `tag` parameter (RFC 3261 §19.3).
    pub const fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// A header parameter: `None` if absent, `Some(None)` without value; a quoted value keeps its quotes.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }
}

/// `<uri>` and parameters.
fn bracketed(text: &str) -> Option<NameAddr<'_>> {
    let text = text.strip_prefix('<')?;
    let end = uri_end(text)?;
    let params = text[end..].strip_prefix('>')?;
    NameAddr::bare(&text[..end], params)
}

/// How far `text` looks like a URI: a scheme, and no white space. A fold inside would end up in a request line.
fn uri_end(text: &str) -> Option<usize> {
    let end = text.bytes().position(|octet| !is_uri_octet(octet)).unwrap_or(text.len());
    let colon = text[..end].bytes().position(|octet| octet == b':')?;
    (colon > 0).then_some(end)
}

/// Writes it back with brackets around the URI, as received otherwise.
impl fmt::Display for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.display_name() {
            write!(f, "{} ", Quoted(&name))?;
        }
        write!(f, "<{}>{}", self.uri, self.params.as_str())
    }
}

/// Names and URIs stay hidden.
impl fmt::Debug for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameAddr(***{:?})", self.params)
    }
}

/// Writes text as a quoted string: `"` and `\` are escaped, control octets become spaces (RFC 3261 §25.1).
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                control if control.is_ascii_control() => f.write_char(' ')?,
                plain => f.write_char(plain)?,
            }
        }
        f.write_char('"')
    }
}

/// One Contact value (RFC 3261 §20.10).
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Address and all parameters.
    pub name_addr: NameAddr<'a>,
}

impl<'a> Contact<'a> {
    /// Preference in thousandths, 0..=1000; `None` if there is no `q`. Malformed values count as none.
    pub fn q(&self) -> Option<u16> {
        self.name_addr.params.value("q").and_then(q_value)
    }

    /// Lifetime in seconds; `None` if there is no `expires`. A malformed one counts as 3600 (RFC 3261 §20.10), one above
    /// 2^32-1 as 2^32-1.
    pub fn expires(&self) -> Option<u32> {
        self.name_addr.params.value("expires").map(|text| delta_seconds(text).unwrap_or(3600))
    }

    /// All header parameters.
    pub const fn params(&self) -> Params<'a> {
        self.name_addr.params
    }

    /// The URI as received.
    pub const fn uri(&self) -> &'a str {
        self.name_addr.uri
    }

    /// The device: `+sip.instance` without quotes and angle brackets, mostly a `urn:uuid:` (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<Cow<'a, str>> {
        let text = self.name_addr.params.text("+sip.instance")?;
        Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(without_angles(text)),
            Cow::Owned(text) => Cow::Owned(without_angles(&text).to_owned()),
        })
    }

    /// Which of the device's flows this is: 1..=2^31-1 (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        let number: u32 = super::scan::number(self.name_addr.params.value("reg-id")?)?;
        (1..=0x7fff_ffff).contains(&number).then_some(number)
    }

    /// Public GRUU a registrar gave (RFC 5627 §4.2).
    pub fn pub_gruu(&self) -> Option<Cow<'a, str>> {
        self.name_addr.params.text("pub-gruu")
    }

    /// Temporary GRUU a registrar gave (RFC 5627 §4.2).
    pub fn temp_gruu(&self) -> Option<Cow<'a, str>> {
        self.name_addr.params.text("temp-gruu")
    }

    /// Whether the URI asks that requests use the flow (`ob`, RFC 5626 §5.3).
    pub fn is_outbound(&self) -> bool {
        self.name_addr.parsed_uri().is_ok_and(|uri| uri.has_param("ob"))
    }

    /// Push service of the URI's `pn-provider`, `pn-param`, `pn-prid` and `pn-purr` (RFC 8599 §14).
    pub fn push(&self) -> Option<PushParams<'a>> {
        let uri = self.name_addr.parsed_uri().ok()?;
        let value = |name| uri.param(name).flatten();
        Some(PushParams {
            provider: uri.param("pn-provider")?,
            param: value("pn-param"),
            prid: value("pn-prid"),
            purr: value("pn-purr"),
        })
    }
}

/// How a sleeping device is woken (RFC 8599 §4.1). Values are escaped as received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PushParams<'a> {
    /// The service, as `apns`; `None` when the device only asks which ones are known.
    pub provider: Option<&'a str>,
    /// Service-specific, as an app id.
    pub param: Option<&'a str>,
    /// The device's token: a secret.
    pub prid: Option<&'a str>,
    /// Reference of a registrar that can wake within a dialog.
    pub purr: Option<&'a str>,
}

/// Push tokens let others wake a phone: hidden.
impl fmt::Debug for PushParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushParams").field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn without_angles(text: &str) -> &str {
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

/// `qvalue` in thousandths.
pub(crate) fn q_value(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let thousandths = fraction
        .bytes()
        .fold((0, 100), |(sum, place), digit| (sum + u16::from(digit - b'0') * place, place / 10))
        .0;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("", _) if !fraction.is_empty() => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// What the Contact headers of a message say.
#[derive(Clone, Debug)]
pub enum Contacts<'a> {
    /// `Contact: *`: all bindings (RFC 3261 §10.2.2).
    Star,
    /// No Contact header, or one contact, as in all messages but a registrar's.
    One(Option<Contact<'a>>),
    /// Several contacts, in order.
    Many(Vec<Contact<'a>>),
}

impl<'a> Contacts<'a> {
    /// The contacts; none for `*`.
    pub fn as_slice(&self) -> &[Contact<'a>] {
        match self {
            Self::Star => &[],
            Self::One(contact) => contact.as_slice(),
            Self::Many(contacts) => contacts,
        }
    }

    /// The first contact.
    pub fn first(&self) -> Option<Contact<'a>> {
        self.as_slice().first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_are_unquoted_and_brackets_decide_whose_parameters() {
        let parsed =
            NameAddr::parse("\"J Rosenberg \\\\\\\"\"  <sip:j@example.com;x=y>\r\n ;\r\n tag = 98").unwrap();
        assert_eq!(parsed.display_name().unwrap(), "J Rosenberg \\\"");
        assert_eq!((parsed.uri, parsed.tag()), ("sip:j@example.com;x=y", Some("98")));
        let bare = NameAddr::parse("sip:j@example.com;tag=1").unwrap();
        assert_eq!((bare.uri, bare.tag()), ("sip:j@example.com", Some("1")));
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        for value in [
            "",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            "\"a <sip:a@b>",
            "Bell, A <sip:a@b>",
            "< sip:a@b >",
            "sip:a@b?c=d",
            "\"a\" sip:a@b",
            "sip:a@b;;tag=1",
            "<sip:a@b> x",
            "<sip:a@b>;tag=",
            "a@b",
            "<sip:a\r\n b@c>",
        ] {
            assert!(NameAddr::parse(value).is_none(), "{value}");
        }
    }

    #[test]
    fn q_values_are_thousandths() {
        let values = ["0.33", "1", "1.000", "0", ".5", "0.001", "1.1", "2", "0.1234", "x", ""].map(q_value);
        assert_eq!(
            values,
            [Some(330), Some(1000), Some(1000), Some(0), Some(500), Some(1), None, None, None, None, None]
        );
    }
}

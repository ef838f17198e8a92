//! URIs within header values are changed in place; all around them stays as it is.

use std::fmt::Write as _;

use offhook_sip::uri::{Escaped, Uri, unescape};

use crate::routing::{NumberForm, NumberPlan};

/// What is done to a URI.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Its number is written in another form, if it is one.
    Number(NumberPlan, NumberForm),
    /// Its user begins otherwise.
    User { strip: Box<str>, prepend: Box<str> },
    /// It has another host, and no port. A `tel` URI has none.
    Host(Box<str>),
}

/// A URI, cut where it may be changed. The parts make the whole again.
struct Parts<'a> {
    /// With its colon.
    scheme: &'a str,
    /// The user or the number, without parameters.
    user: &'a str,
    /// Parameters and password of the user, and the `@`.
    user_rest: &'a str,
    host: &'a str,
    port: &'a str,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` for what is neither `sip`, `sips` nor `tel`, or broken.
    fn new(uri: &'a str) -> Option<Self> {
        let scheme = Uri::parse(uri).ok()?.scheme;
        let (name, opaque) = uri.split_at(uri.find(':')? + 1);
        let cut = |text: &'a str, signs: &[char]| text.split_at(text.find(signs).unwrap_or(text.len()));
        if name.eq_ignore_ascii_case("tel:") {
            let (user, rest) = cut(opaque, &[';']);
            return Some(Self { scheme: name, user, user_rest: "", host: "", port: "", rest });
        }
        if !scheme.is_sip() {
            return None;
        }
        let (user, place) = opaque.split_at(opaque.find('@').map_or(0, |at| at + 1));
        let (user, user_rest) = cut(user, &[';', ':', '@']);
        let (host, rest) = match place.find(']') {
            Some(end) if place.starts_with('[') => place.split_at(end + 1),
            _ => cut(place, &[':', ';', '?']),
        };
        let (port, rest) = if rest.starts_with(':') { cut(rest, &[';', '?']) } else { ("", rest) };
        Some(Self { scheme: name, user, user_rest, host, port, rest })
    }

    fn with_user(&self, user: &str) -> String {
        let Self { scheme, user_rest, host, port, rest, .. } = self;
        format!("{scheme}{}{user_rest}{host}{port}{rest}", Escaped(user))
    }
}

impl Change {
    /// `uri` changed; `None`: it stays as it is.
    pub fn of_uri(&self, uri: &str) -> Option<String> {
        let parts = Parts::new(uri)?;
        let is_tel = parts.host.is_empty();
        let changed = match self {
            Self::Number(plan, form) => {
                // RFC 3966 §5.1.4: a number that is not global needs a context, which nobody has told.
                let form = if is_tel { NumberForm::Plus } else { *form };
                parts.with_user(&plan.write(&plan.canonical(&unescape(parts.user))?, form))
            }
            Self::User { strip, prepend } => {
                let user = unescape(parts.user);
                let kept = user.strip_prefix(&**strip).filter(|_| !user.is_empty())?;
                let user = format!("{prepend}{kept}");
                if user.is_empty() {
                    return None;
                }
                parts.with_user(&user)
            }
            Self::Host(_) if is_tel => return None,
            Self::Host(host) => {
                let Parts { scheme, user, user_rest, rest, .. } = parts;
                format!("{scheme}{user}{user_rest}{host}{rest}")
            }
        };
        (changed != uri).then_some(changed)
    }
}

/// The value of a header that lists addresses, each URI in it changed; `None`: it stays as it is.
pub(crate) fn change_addresses(value: &str, change: &Change) -> Option<String> {
    let (mut written, mut is_changed) = (String::with_capacity(value.len()), false);
    for (number, element) in elements(value).enumerate() {
        if number > 0 {
            written.push(',');
        }
        let (before, uri, after) = address(element);
        let changed = change.of_uri(uri);
        is_changed |= changed.is_some();
        let _ = write!(written, "{before}{}{after}", changed.as_deref().unwrap_or(uri));
    }
    is_changed.then_some(written)
}

/// The parts of a list between its commas.
fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let list = rest?;
        let end = outside(list, b',');
        rest = end.map(|end| &list[end + 1..]);
        Some(&list[..end.unwrap_or(list.len())])
    })
}

/// What stands before, within and behind the URI of an address (RFC 3261 §20.10): without brackets it ends at `;`.
fn address(element: &str) -> (&str, &str, &str) {
    if let Some(open) = outside(element, b'<')
        && let Some(length) = element[open..].find('>')
    {
        return (&element[..=open], &element[open + 1..open + length], &element[open + length..]);
    }
    let start = element.len() - element.trim_start().len();
    let end = element.find(';').unwrap_or(element.len()).max(start);
    let uri = element[start..end].trim_end();
    (&element[..start], uri, &element[start + uri.len()..])
}

/// Where `sign` first stands in neither quotes nor brackets.
fn outside(text: &str, sign: u8) -> Option<usize> {
    let (mut is_quoted, mut is_escaped, mut is_within) = (false, false, false);
    text.bytes().position(|octet| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match octet {
            b'\\' if is_quoted => is_escaped = true,
            b'"' if !is_within => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ if octet == sign && !is_within => return true,
            b'<' => is_within = true,
            b'>' => is_within = false,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(form: NumberForm) -> Change {
        let plan = NumberPlan { country: "49".into(), national: "0".into(), international: "00".into() };
        Change::Number(plan, form)
    }

    #[test]
    fn only_the_part_that_is_meant_changes() {
        let value = "\"Anna, <sip:x@y>\" <sip:030123;npdi:pw@[2001:db8::1]:5070;user=phone?Reason=a>;p=1, <tel:0049301;x=1>";
        assert_eq!(
            change_addresses(value, &number(NumberForm::Plus)).as_deref(),
            Some(
                "\"Anna, <sip:x@y>\" <sip:+4930123;npdi:pw@[2001:db8::1]:5070;user=phone?Reason=a>;p=1, <tel:+49301;x=1>"
            )
        );
        assert_eq!(
            change_addresses(value, &Change::Host("h.example".into())).as_deref(),
            Some(
                "\"Anna, <sip:x@y>\" <sip:030123;npdi:pw@h.example;user=phone?Reason=a>;p=1, <tel:0049301;x=1>"
            )
        );
    }

    #[test]
    fn an_address_without_brackets_ends_at_its_parameters() {
        let national = number(NumberForm::National);
        assert_eq!(
            change_addresses("sip:+49301@a.example;tag=7", &national).as_deref(),
            Some("sip:0301@a.example;tag=7")
        );
        let user = Change::User { strip: "00".into(), prepend: "+".into() };
        assert_eq!(change_addresses("sip:0049@a, sip:1@b", &user).as_deref(), Some("sip:+49@a, sip:1@b"));
    }

    #[test]
    fn what_is_no_address_stays() {
        for value in
            ["", "<", "\"", "<>", "*", "urn:service:sos", "<sip:@>", ",,;", "\"a\\\"<sip:01@b>", "sip:anna@b"]
        {
            assert_eq!(change_addresses(value, &number(NumberForm::E164)), None, "{value}");
        }
    }
}

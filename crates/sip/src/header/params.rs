//! Parameters: `;name`, `;name=value`, `;name="quoted"` behind a header value.

use std::{borrow::Cow, fmt};

use super::scan::{take_quoted, take_token, top_level, trim, trim_start, unescape_quoted};

/// Parameters one header value may carry: more is an attack, the longest we know of carry about 20.
pub const PARAMS_MAX: usize = 64;

/// The checked parameters of one header value (`generic-param` of RFC 3261 §25.1). Order and spelling are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// Either empty or beginning with `;`.
    raw: &'a str,
}

impl<'a> Params<'a> {
    /// Checks `raw`: white space, then nothing or `;` parameter, as often as [`PARAMS_MAX`].
    pub(crate) fn parse(raw: &'a str) -> Option<Self> {
        Self::parse_noting(raw, |_, _| ())
    }

    /// As [`Params::parse`]; `note` sees each parameter on the way.
    pub(crate) fn parse_noting(raw: &'a str, mut note: impl FnMut(&'a str, Option<&'a str>)) -> Option<Self> {
        let raw = trim(raw);
        let (mut rest, mut count) = (raw, 0);
        while !rest.is_empty() {
            let ((name, value), after) = take_param(rest.strip_prefix(';')?)?;
            note(name, value);
            rest = after;
            count += 1;
            if count > PARAMS_MAX {
                return None;
            }
        }
        Some(Self { raw })
    }

    /// Those that [`Params::parse`] has found good before.
    pub(super) const fn checked(raw: &'a str) -> Self {
        Self { raw }
    }

    /// The parameters as received, from the first `;` on; empty if there are none.
    pub const fn as_str(&self) -> &'a str {
        self.raw
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Name and value as received; a quoted value keeps its quotes and escapes.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (param, after) = take_param(rest.strip_prefix(';')?)?;
            rest = after;
            Some(param)
        })
    }

    /// The first parameter of that name, in any case: `None` if absent, `Some(None)` if it has no value.
    pub fn get(&self, name: &str) -> Option<Option<&'a str>> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of that parameter as received, `None` if it is absent or has no value.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.get(name).flatten()
    }

    /// The value of that parameter without quotes and escapes.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.value(name).map(unquote)
    }

    /// Whether the parameter is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Values may name people: only the names of parameters show.
impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A value without its quotes and escapes; as it is if it has none.
pub(crate) fn unquote(value: &str) -> Cow<'_, str> {
    match take_quoted(value) {
        Some((inside, "")) => unescape_quoted(inside),
        _ => Cow::Borrowed(value),
    }
}

/// A parameter's name and value, as received.
type Param<'a> = (&'a str, Option<&'a str>);

/// One parameter and the rest, which is empty or begins with `;`.
fn take_param(text: &str) -> Option<(Param<'_>, &str)> {
    let (name, rest) = take_token(trim_start(text));
    let rest = trim_start(rest);
    if name.is_empty() {
        return None;
    }
    let Some(value) = rest.strip_prefix('=') else {
        return ends_here(rest).then_some(((name, None), rest));
    };
    let value = trim_start(value);
    let (value, rest) = match take_quoted(value) {
        Some((inside, rest)) => (&value[..inside.len() + 2], rest),
        None => value.split_at(value.bytes().position(|octet| !is_value_octet(octet)).unwrap_or(value.len())),
    };
    let rest = trim_start(rest);
    (!value.is_empty() && ends_here(rest)).then_some(((name, Some(value)), rest))
}

fn ends_here(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(';')
}

/// Token and host octets, and those that phones write unquoted although the grammar forbids it (`/`, `@`, `<urn:...>`,
/// UTF-8): they harm nobody as long as nothing that separates is among them.
const fn is_value_octet(octet: u8) -> bool {
    VALUE[octet as usize]
}

const VALUE: [bool; 256] = {
    let mut table = [true; 256];
    let mut octet = 0;
    while octet < table.len() {
        table[octet] = octet > b' ' as usize && !matches!(octet as u8, b';' | b',' | b'"' | 0x7f);
        octet += 1;
    }
    table
};

/// Cuts `value` where its parameters begin: at the first `;` outside quotes and brackets.
pub(crate) fn split_params(value: &str) -> (&str, &str) {
    value.split_at(top_level(value, b';').unwrap_or(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_folds_around_the_signs_do_not_count() {
        let params =
            Params::parse(" ; newparam =\r\n  newvalue ;\r\n secondparam ; q = \"0.\\\"33\"").unwrap();
        assert_eq!(params.get("NEWPARAM"), Some(Some("newvalue")));
        assert_eq!(params.get("secondparam"), Some(None));
        assert_eq!(params.text("q").unwrap(), "0.\"33");
        assert_eq!(params.get("third"), None);
    }

    #[test]
    fn empty_and_unfinished_parameters_are_refused() {
        for raw in [";", ";;a", ";a;", ";a=", ";a=\"b", ";a b", "a", ";a=b c", ";a=b,c"] {
            assert!(Params::parse(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        assert!(Params::parse(&";a=b".repeat(PARAMS_MAX)).is_some());
        assert!(Params::parse(&";a=b".repeat(PARAMS_MAX + 1)).is_none());
    }
}

//! `a=` lines.

use std::fmt;

/// One attribute: `a=name` (a property) or `a=name:value`. RFC 8866 §5.13.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Name as written; names compare without regard to case here, as phones write `a=SendRecv` too.
    pub name: &'a str,
    /// What follows the first colon, untrimmed. `None` for a property.
    pub value: Option<&'a str>,
}

impl<'a> Attribute<'a> {
    /// Splits the value of an `a=` line.
    pub(crate) fn split(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((name, value)) => Self { name, value: Some(value) },
            None => Self { name: text.trim_end(), value: None },
        }
    }

    /// Whether this is the attribute `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Values hold addresses and keys: only the name is shown.
impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a={}{}", self.name, if self.value.is_some() { ":***" } else { "" })
    }
}

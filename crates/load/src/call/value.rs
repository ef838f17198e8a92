//! What a variable holds.

/// A value. SIPp's types: text, the match of a regular expression, a number, a truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Never set.
    #[default]
    Unset,
    /// A text.
    Text(Box<[u8]>),
    /// What an expression found; `None` if it did not match.
    Match(Option<Box<[u8]>>),
    /// A number.
    Number(f64),
    /// A truth.
    Truth(bool),
}

impl Value {
    /// Whether `test="variable"` takes it for set.
    pub fn is_set(&self) -> bool {
        match self {
            Self::Unset => false,
            Self::Match(found) => found.is_some(),
            Self::Truth(truth) => *truth,
            Self::Text(_) | Self::Number(_) => true,
        }
    }

    /// Writes it as `[$variable]` shows it.
    pub fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Unset | Self::Match(None) => {}
            Self::Text(text) | Self::Match(Some(text)) => into.extend_from_slice(text),
            Self::Number(number) => into.extend_from_slice(format!("{number:.6}").as_bytes()),
            Self::Truth(truth) => into.extend_from_slice(if *truth { b"true" } else { b"false" }),
        }
    }

    /// As a number: a number is itself, a text is read. `None` if it is none.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Truth(truth) => Some(f64::from(u8::from(*truth))),
            Self::Text(text) | Self::Match(Some(text)) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Self::Unset | Self::Match(None) => None,
        }
    }

    /// As text.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_and_tested_as_sipp_does() {
        assert_eq!(Value::Number(3.0).text(), b"3.000000");
        assert_eq!(Value::Truth(true).text(), b"true");
        assert!(!Value::Match(None).is_set() && !Value::Truth(false).is_set() && !Value::Unset.is_set());
        assert!(Value::Number(0.0).is_set() && Value::Text(Box::default()).is_set());
        assert_eq!(Value::Text((*b" 4.5").into()).number(), Some(4.5));
    }
}

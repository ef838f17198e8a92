//! Who the caller is towards the called side: proven, and hidden where the caller asked for it.

use std::fmt;

use offhook_base::{DataSubject, Personal};

/// What the From header shows of a caller who wants to stay unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS_URI: &str = "sip:anonymous@anonymous.invalid";
const ANONYMOUS_NAME: &str = "Anonymous";

/// The caller's identity as the node vouches for it.
#[derive(Clone, Debug)]
pub struct Identity {
    uri: Personal<String>,
    name: Option<Personal<String>>,
    hidden: bool,
}

impl Identity {
    /// An identity that was proved. `hidden`: the caller asked for privacy (RFC 3323 `id`, `user` or `header`, or an
    /// anonymous From).
    pub fn new(uri: String, name: Option<String>, hidden: bool) -> Self {
        Self {
            uri: Personal::new(uri, DataSubject::Caller),
            name: name.map(|name| Personal::new(name, DataSubject::Caller)),
            hidden,
        }
    }

    /// The proven address of record or number.
    pub const fn uri(&self) -> &Personal<String> {
        &self.uri
    }

    /// The name shown with it.
    pub const fn name(&self) -> Option<&Personal<String>> {
        self.name.as_ref()
    }

    /// What the called side sees in From, without the tag.
    pub fn shown(&self) -> Shown<'_> {
        Shown { identity: self, asserted: false }
    }

    /// What a trusted peer sees in P-Asserted-Identity (RFC 3325 §9.1): the identity even if it is hidden; the Privacy
    /// header tells the peer not to pass it on.
    pub fn asserted(&self) -> Shown<'_> {
        Shown { identity: self, asserted: true }
    }
}

/// Writes an identity as a name-addr.
pub struct Shown<'a> {
    identity: &'a Identity,
    asserted: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use offhook_base::Purpose::Signalling;
        if self.identity.hidden && !self.asserted {
            return write!(f, "\"{ANONYMOUS_NAME}\" <{ANONYMOUS_URI}>");
        }
        if let Some(name) = &self.identity.name {
            write_quoted(f, name.disclose(Signalling))?;
            f.write_str(" ")?;
        }
        write!(f, "<{}>", self.identity.uri.disclose(Signalling))
    }
}

/// A quoted-string (RFC 3261 §25.1): backslash before quote and backslash; control characters become spaces.
fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            control if control.is_control() => f.write_char(' ')?,
            plain => f.write_char(plain)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_caller_shows_in_the_assertion_only() {
        let identity = Identity::new("sip:101@example.org".into(), Some("An\"na".into()), true);
        assert_eq!(identity.shown().to_string(), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
        assert_eq!(identity.asserted().to_string(), "\"An\\\"na\" <sip:101@example.org>");
    }
}

//! Who the caller is towards the called side: proven, and hidden where the caller asked for it.

use offhook_base::{DataSubject, Personal};
use offhook_sip::write::{HeaderValue, Line};

/// What the From header shows of a caller who wants to stay unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

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

    /// Whether the caller wants to stay unknown to the called side.
    pub const fn is_hidden(&self) -> bool {
        self.hidden
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

impl HeaderValue for Shown<'_> {
    fn write(&self, line: &mut Line<'_>) {
        use offhook_base::Purpose::Signalling;
        if self.identity.hidden && !self.asserted {
            line.text(ANONYMOUS);
            return;
        }
        if let Some(name) = &self.identity.name {
            line.quoted(name.disclose(Signalling)).text(" ");
        }
        line.text("<").text(self.identity.uri.disclose(Signalling)).text(">");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_caller_shows_in_the_assertion_only() {
        let identity = Identity::new("sip:101@example.org".into(), Some("An\"na".into()), true);
        let text = |shown: Shown<'_>| Line::written(|line| shown.write(line));
        assert_eq!(text(identity.shown()), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
        assert_eq!(text(identity.asserted()), "\"An\\\"na\" <sip:101@example.org>");
    }
}

//! Who the caller is towards the called side: proven, and hidden where the caller asked for it.

use offhook_base::{DataSubject, Personal};
use offhook_sip::{
    uri::Uri,
    write::{HeaderValue, Line},
};

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
        Shown { identity: self, asserted: false, host: None }
    }

    /// What a trusted peer sees in P-Asserted-Identity (RFC 3325 §9.1): the identity even if it is hidden; the Privacy
    /// header tells the peer not to pass it on.
    pub fn asserted(&self) -> Shown<'_> {
        Shown { identity: self, asserted: true, host: None }
    }
}

/// Writes an identity as a name-addr.
pub struct Shown<'a> {
    identity: &'a Identity,
    asserted: bool,
    host: Option<&'a dyn HeaderValue>,
}

impl<'a> Shown<'a> {
    /// The same at `host`, if given: the host that the caller's side writes is nobody's business beyond.
    pub fn at(self, host: Option<&'a dyn HeaderValue>) -> Self {
        Self { host, ..self }
    }

    /// Writes the URI with the host that is to be shown; false if its own one stays.
    fn write_at_other_host(&self, uri: &str, line: &mut Line<'_>) -> bool {
        let (Some(host), Ok(parsed)) = (self.host, Uri::parse(uri)) else { return false };
        // RFC 3323 §4.1.1.3: these name nobody.
        if parsed.host.is_empty() || parsed.host.ends_with(".invalid") {
            return false;
        }
        line.text("<sip:");
        if let Some(user) = parsed.user {
            line.text(user).text("@");
        }
        host.write(line);
        line.text(">");
        true
    }
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
        let uri = self.identity.uri.disclose(Signalling);
        if !self.write_at_other_host(uri, line) {
            line.text("<").text(uri).text(">");
        }
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
        let elsewhere = "\"An\\\"na\" <sip:101@198.51.100.1>";
        assert_eq!(text(identity.asserted().at(Some(&"198.51.100.1".to_string()))), elsewhere);
        let unknown = Identity::new("sip:unknown@unknown.invalid".into(), None, false);
        assert_eq!(
            text(unknown.shown().at(Some(&"198.51.100.1".to_string()))),
            "<sip:unknown@unknown.invalid>"
        );
    }
}

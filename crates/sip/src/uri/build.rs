//! URIs that own their text and can be changed.

use std::{fmt, str::FromStr};

use super::{Escaped, Scheme, Uri, UriError, is_host};

/// A URI that owns its text: what a binding or a dialog keeps. `==` compares as [`Uri`] does; the text decides `Hash`-like
/// uses, see [`OwnedUri::as_str`].
#[derive(Clone)]
pub struct OwnedUri {
    /// Always parses.
    text: String,
}

impl OwnedUri {
    /// `sip:host` or `sips:host`, to be completed by the setters.
    ///
    /// # Errors
    /// [`UriError::Host`] if `host` is no name, IPv4 address or IPv6 reference in brackets.
    pub fn sip(secure: bool, host: &str) -> Result<Self, UriError> {
        if !is_host(host) {
            return Err(UriError::Host);
        }
        format!("{}:{host}", if secure { "sips" } else { "sip" }).parse()
    }

    /// The URI by part.
    pub fn as_uri(&self) -> Uri<'_> {
        Uri::parse(&self.text).expect("an OwnedUri holds text that was parsed")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Sets the user part from plain text; what may not stand there is escaped. Nothing happens for other schemes than
    /// `sip` and `sips`, nor for an empty `user`.
    #[must_use]
    pub fn with_user(self, user: &str) -> Self {
        if user.is_empty() {
            return self;
        }
        let escaped = Escaped(user).to_string();
        let text = Uri { user: Some(&escaped), password: None, ..self.as_uri() }.to_string();
        self.replaced(&text)
    }

    /// Sets or removes the port.
    #[must_use]
    pub fn with_port(self, port: Option<u16>) -> Self {
        let text = Uri { port, ..self.as_uri() }.to_string();
        self.replaced(&text)
    }

    /// Sets a parameter in place, or adds it at the end. What may not stand in a parameter is escaped.
    #[must_use]
    pub fn with_param(self, name: &str, value: Option<&str>) -> Self {
        let (mut params, mut done) = (String::new(), false);
        let uri = self.as_uri();
        for (candidate, old) in uri.params() {
            if !candidate.eq_ignore_ascii_case(name) {
                push_param(&mut params, candidate, old);
            } else if !done {
                push_escaped_param(&mut params, name, value);
                done = true;
            }
        }
        if !done && !name.is_empty() {
            push_escaped_param(&mut params, name, value);
        }
        self.with_params(&params)
    }

    /// Removes every parameter of that name.
    #[must_use]
    pub fn without_param(self, name: &str) -> Self {
        let mut params = String::new();
        for (candidate, value) in
            self.as_uri().params().filter(|(other, _)| !other.eq_ignore_ascii_case(name))
        {
            push_param(&mut params, candidate, value);
        }
        self.with_params(&params)
    }

    /// Removes all parameters.
    #[must_use]
    pub fn without_params(self) -> Self {
        self.with_params("")
    }

    /// Removes the headers behind `?`: they may not stand in a Request-URI or an address of record (RFC 3261 §19.1.1).
    #[must_use]
    pub fn without_headers(self) -> Self {
        let text = Uri { headers: "", ..self.as_uri() }.to_string();
        self.replaced(&text)
    }

    fn with_params(self, params: &str) -> Self {
        if self.as_uri().scheme == Scheme::Tel {
            let text = format!("tel:{}{params}", self.as_uri().user.unwrap_or_default());
            return self.replaced(&text);
        }
        let text = Uri { params, ..self.as_uri() }.to_string();
        self.replaced(&text)
    }

    /// Takes the changed text if it still is a URI; else (it grew past its bounds) all stays as it was.
    fn replaced(self, text: &str) -> Self {
        text.parse().unwrap_or(self)
    }
}

fn push_param(params: &mut String, name: &str, value: Option<&str>) {
    params.push(';');
    params.push_str(name);
    if let Some(value) = value {
        params.push('=');
        params.push_str(value);
    }
}

fn push_escaped_param(params: &mut String, name: &str, value: Option<&str>) {
    push_param(params, &escape_param(name), value.map(escape_param).as_deref());
}

/// `paramchar` of RFC 3261 §25.1; all else is escaped.
fn escape_param(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    escaped
}

impl FromStr for OwnedUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Uri::parse(text)?;
        Ok(Self { text: text.to_owned() })
    }
}

impl From<Uri<'_>> for OwnedUri {
    fn from(uri: Uri<'_>) -> Self {
        Self { text: uri.to_string() }
    }
}

impl fmt::Display for OwnedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OwnedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_uri(), f)
    }
}

impl PartialEq for OwnedUri {
    fn eq(&self, other: &Self) -> bool {
        self.as_uri() == other.as_uri()
    }
}

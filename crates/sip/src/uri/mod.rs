//! URIs: `sip`, `sips` (RFC 3261 §19.1) and `tel` (RFC 3966) by part, every other scheme kept whole.

mod build;
mod compare;
mod escape;
mod parse;

pub use build::OwnedUri;
pub use escape::{Escaped, unescape};
pub(crate) use parse::{is_host, is_uri_octet};

use std::{borrow::Cow, fmt};

/// Octets of one URI: fits every Contact seen in the wild (push tokens included) and a Request-URI in one datagram.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Parameters or headers one URI may carry.
pub const URI_PARAMS_MAX: usize = 64;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel` (RFC 3966)
    Tel,
    /// Anything else, as written.
    Other(&'a str),
}

impl<'a> Scheme<'a> {
    /// The scheme named so, in any case.
    pub fn parse(text: &'a str) -> Self {
        if text.eq_ignore_ascii_case("sip") {
            Self::Sip
        } else if text.eq_ignore_ascii_case("sips") {
            Self::Sips
        } else if text.eq_ignore_ascii_case("tel") {
            Self::Tel
        } else {
            Self::Other(text)
        }
    }

    /// The name in its canonical case; that of an unknown one as written.
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(name) => name,
        }
    }

    /// `sip` or `sips`.
    pub const fn is_sip(&self) -> bool {
        matches!(self, Self::Sip | Self::Sips)
    }
}

/// Why a text is no URI. The text itself is not repeated: it may name a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme, or one with octets that are not allowed.
    #[error("URI has no valid scheme")]
    Scheme,
    /// White space, control octets, brackets or quotes.
    #[error("URI has an octet that must be escaped")]
    Octet,
    /// A `%` without two hex digits.
    #[error("URI has a broken escape")]
    Escape,
    /// Empty user or more than one `@`.
    #[error("URI has a malformed user part")]
    User,
    /// No host, or neither a name nor an address.
    #[error("URI has a malformed host")]
    Host,
    /// Not in 0..=65535.
    #[error("URI has a malformed port")]
    Port,
    /// An empty parameter.
    #[error("URI has a malformed parameter")]
    Param,
    /// A malformed header behind `?`.
    #[error("URI has a malformed header")]
    Header,
    /// A telephone number without digits, or with octets that are no visual separators.
    #[error("URI has a malformed telephone number")]
    Number,
    /// Longer than [`URI_BYTES_MAX`] or more parts than [`URI_PARAMS_MAX`].
    #[error("URI is too long")]
    TooLong,
}

/// A URI by part, borrowed from where it stands. `==` compares by RFC 3261 §19.1.4 (RFC 3966 §4 for `tel`).
#[derive(Clone, Copy)]
pub struct Uri<'a> {
    /// Its scheme.
    pub scheme: Scheme<'a>,
    /// `sip`: what stands before the host (and its password), escaped as received. `tel`: the number. Others: `None`.
    pub user: Option<&'a str>,
    /// Password, escaped as received. Deprecated by RFC 3261 §19.1.1, kept because it takes part in comparison.
    pub password: Option<&'a str>,
    /// Name, IPv4 address or IPv6 reference in brackets; empty for `tel` and unknown schemes.
    pub host: &'a str,
    /// Port as written; `None` if there is none.
    pub port: Option<u16>,
    /// From the first `;` on, or empty. See [`Uri::param`].
    pub params: &'a str,
    /// What follows `?`, without it, or empty. See [`Uri::header_params`].
    pub headers: &'a str,
    /// All behind the scheme's colon.
    opaque: &'a str,
}

impl<'a> Uri<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// See [`UriError`]. Of an unknown scheme only the scheme and the absence of white space, control octets, quotes and
    /// angle brackets are checked.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        parse::uri(text)
    }

    /// All behind the scheme's colon, as received.
    pub const fn opaque(&self) -> &'a str {
        self.opaque
    }

    /// The scheme.
    pub const fn scheme(&self) -> Scheme<'a> {
        self.scheme
    }

    /// The user part without escapes. Octets that make no UTF-8 become U+FFFD; compare with [`Uri::same_user`] instead.
    pub fn user_unescaped(&self) -> Option<Cow<'a, str>> {
        self.user.map(unescape)
    }

    /// Whether the user parts are equal after unescaping, octet for octet (RFC 3261 §19.1.4).
    pub fn same_user(&self, other: &Uri<'_>) -> bool {
        compare::same_optional_escaped(self.user, other.user)
    }

    /// The host without the brackets of an IPv6 reference.
    pub fn host_without_brackets(&self) -> &'a str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(self.host)
    }

    /// The host as an address, if it is one.
    pub fn host_address(&self) -> Option<std::net::IpAddr> {
        self.host_without_brackets().parse().ok()
    }

    /// The parameter of that name, in any case: `None` if absent, `Some(None)` if it has no value. Values are as received.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params()
            .find(|(candidate, _)| compare::same_escaped(candidate, name, false))
            .map(|(_, value)| value)
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has_param(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// All parameters, as received.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.split(';').skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// All headers behind `?`, names and values escaped as received.
    pub fn header_params(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.headers
            .split('&')
            .filter(|header| !header.is_empty())
            .map(|header| header.split_once('=').unwrap_or((header, "")))
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&'a str> {
        self.param("transport").flatten()
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a str> {
        self.param("maddr").flatten()
    }

    /// Whether it is a loose router's (`lr`, RFC 3261 §16.12; some write `lr=on`).
    pub fn is_loose_router(&self) -> bool {
        self.has_param("lr")
    }

    /// Whether it is a GRUU (`gr`, RFC 5627 §3.1).
    pub fn is_gruu(&self) -> bool {
        self.has_param("gr")
    }

    /// Whether the user part is a telephone number (`user=phone`), or the scheme is `tel`.
    pub fn is_phone(&self) -> bool {
        self.scheme == Scheme::Tel
            || self.param("user").flatten().is_some_and(|user| user.eq_ignore_ascii_case("phone"))
    }

    /// A copy that owns its text.
    pub fn to_owned_uri(&self) -> OwnedUri {
        OwnedUri::from(*self)
    }
}

/// Writes the URI back: octet for octet what was received, but for the scheme's case.
impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.as_str())?;
        f.write_str(":")?;
        if !self.scheme.is_sip() {
            return f.write_str(self.opaque);
        }
        if let Some(user) = self.user {
            f.write_str(user)?;
            if let Some(password) = self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        f.write_str(self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.params)?;
        if self.headers.is_empty() { Ok(()) } else { write!(f, "?{}", self.headers) }
    }
}

/// User and host name a person: only the scheme and the shape show.
impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.scheme.as_str())
    }
}

impl PartialEq for Uri<'_> {
    fn eq(&self, other: &Self) -> bool {
        compare::same_uri(self, other)
    }
}

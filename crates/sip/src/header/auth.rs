//! Challenges and credentials (RFC 3261 §20.7, §20.28, §20.44; RFC 8760): any scheme, and the fields of Digest.

use std::{borrow::Cow, fmt};

use super::{
    params::unquote,
    scan::{Split, is_token, take_quoted, take_token, trim, trim_start},
};

/// Parameters one challenge or credential may carry; Digest defines twelve.
pub const AUTH_PARAMS_MAX: usize = 32;

/// `name=value` pairs separated by commas, checked.
#[derive(Clone, Copy, Default)]
pub struct AuthParams<'a> {
    raw: &'a str,
}

impl<'a> AuthParams<'a> {
    /// `None` unless each element is `name=value` with a token or quoted string as value.
    pub fn parse(raw: &'a str) -> Option<Self> {
        let mut count = 0;
        for element in Split::new(raw, b',').filter(|element| !element.is_empty()) {
            split_pair(element)?;
            count += 1;
            if count > AUTH_PARAMS_MAX {
                return None;
            }
        }
        Some(Self { raw })
    }

    /// Names and values as received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        Split::new(self.raw, b',').filter_map(split_pair)
    }

    /// The value as received, quotes included; the first one of that name in any case.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value without quotes and escapes.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unquote)
    }

    /// All of them, read in one go; `None` if a name stands there more than once: no such credential is to be trusted.
    fn fields(&self) -> Option<Fields<'a>> {
        let mut fields = Fields { pairs: [("", ""); AUTH_PARAMS_MAX], count: 0 };
        for pair in self.iter() {
            if fields.raw(pair.0).is_some() {
                return None;
            }
            *fields.pairs.get_mut(fields.count)? = pair;
            fields.count += 1;
        }
        Some(fields)
    }
}

/// The pairs taken apart, for whoever asks for most of them: each look into [`AuthParams`] scans the line anew.
struct Fields<'a> {
    pairs: [(&'a str, &'a str); AUTH_PARAMS_MAX],
    count: usize,
}

impl<'a> Fields<'a> {
    fn raw(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.pairs.iter().take(self.count);
        pairs.find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|&(_, value)| value)
    }

    /// The value without quotes and escapes.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unquote)
    }
}

fn split_pair(element: &str) -> Option<(&str, &str)> {
    let equals = memchr::memchr(b'=', element.as_bytes())?;
    let (name, value) = (trim(&element[..equals]), trim(&element[equals + 1..]));
    let is_value = match take_quoted(value) {
        Some((_, rest)) => rest.is_empty(),
        // Token octets, and those of base64 and paths that some write unquoted.
        None => !value.is_empty() && !value.contains(['"', ' ', '\t', '\r', '\n']),
    };
    (is_token(name) && is_value).then_some((name, value))
}

/// Values are secrets or names: only parameter names show.
impl fmt::Debug for AuthParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// One Authorization or Proxy-Authorization value of any scheme.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// As written; compare without case.
    pub scheme: &'a str,
    /// What follows the scheme.
    pub params: AuthParams<'a>,
}

/// One WWW-Authenticate or Proxy-Authenticate value of any scheme.
pub type Challenge<'a> = Credentials<'a>;

impl<'a> Credentials<'a> {
    /// Takes a header line apart: one line is one value (RFC 3261 §7.3.1 forbids joining them). `None` if malformed.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (scheme, rest) = take_token(trim_start(value));
        if scheme.is_empty() || !(rest.is_empty() || rest.starts_with(super::scan::is_lws_char)) {
            return None;
        }
        Some(Self { scheme, params: AuthParams::parse(rest)? })
    }

    /// Whether the scheme is Digest.
    pub const fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }
}

/// Digest credentials by field (RFC 7616 §3.4, RFC 8760).
#[derive(Clone)]
pub struct DigestCredentials<'a> {
    /// Who asks; hashed if `userhash` is true.
    pub username: Cow<'a, str>,
    /// The protection space.
    pub realm: Cow<'a, str>,
    /// Ours, given back.
    pub nonce: Cow<'a, str>,
    /// The URI the hash covers.
    pub uri: Cow<'a, str>,
    /// The hash, in hex.
    pub response: Cow<'a, str>,
    /// As written; `None` means MD5.
    pub algorithm: Option<Cow<'a, str>>,
    /// Ours, given back.
    pub opaque: Option<Cow<'a, str>>,
    /// `auth` or `auth-int`.
    pub qop: Option<Cow<'a, str>>,
    /// The client's nonce.
    pub cnonce: Option<Cow<'a, str>>,
    /// Nonce count, eight hex digits.
    pub nc: Option<Cow<'a, str>>,
    /// Whether `username` is hashed.
    pub userhash: bool,
}

impl<'a> DigestCredentials<'a> {
    /// `None` if the scheme is not Digest, a mandatory field is missing, or a field stands there twice.
    pub fn from_credentials(credentials: &Credentials<'a>) -> Option<Self> {
        if !credentials.is_digest() {
            return None;
        }
        let params = credentials.params.fields()?;
        Some(Self {
            username: params.text("username")?,
            realm: params.text("realm")?,
            nonce: params.text("nonce")?,
            uri: params.text("uri")?,
            response: params.text("response")?,
            algorithm: params.text("algorithm"),
            opaque: params.text("opaque"),
            qop: params.text("qop"),
            cnonce: params.text("cnonce"),
            nc: params.text("nc"),
            userhash: is_true(params.text("userhash")),
        })
    }
}

impl fmt::Debug for DigestCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestCredentials").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A Digest challenge by field (RFC 7616 §3.3, RFC 8760).
#[derive(Clone)]
pub struct DigestChallenge<'a> {
    /// The protection space.
    pub realm: Cow<'a, str>,
    /// To be given back.
    pub nonce: Cow<'a, str>,
    /// To be given back.
    pub opaque: Option<Cow<'a, str>>,
    /// As written; `None` means MD5.
    pub algorithm: Option<Cow<'a, str>>,
    /// Comma-separated choices.
    pub qop: Option<Cow<'a, str>>,
    /// The old nonce expired; the password was right.
    pub stale: bool,
    /// Whether the server takes hashed user names.
    pub userhash: bool,
}

impl<'a> DigestChallenge<'a> {
    /// `None` if the scheme is not Digest, realm or nonce is missing, or a field stands there twice.
    pub fn from_challenge(challenge: &Challenge<'a>) -> Option<Self> {
        if !challenge.is_digest() {
            return None;
        }
        let params = challenge.params.fields()?;
        Some(Self {
            realm: params.text("realm")?,
            nonce: params.text("nonce")?,
            opaque: params.text("opaque"),
            algorithm: params.text("algorithm"),
            qop: params.text("qop"),
            stale: is_true(params.text("stale")),
            userhash: is_true(params.text("userhash")),
        })
    }
}

impl fmt::Debug for DigestChallenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestChallenge").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn is_true(text: Option<Cow<'_, str>>) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_credentials_are_read_with_commas_and_quotes_inside() {
        let line = "Digest username=\"a\\\"b\", realm=\"x, y\",\r\n nonce=\"n=1\", uri=\"sip:a@b\", response=\"00\", qop=auth, nc=00000001, cnonce=\"c\", algorithm=SHA-256, userhash=true";
        let credentials = Credentials::parse(line).unwrap();
        let digest = DigestCredentials::from_credentials(&credentials).unwrap();
        assert_eq!((&*digest.username, &*digest.realm, &*digest.nonce), ("a\"b", "x, y", "n=1"));
        assert_eq!(
            (digest.qop.as_deref(), digest.nc.as_deref(), digest.userhash),
            (Some("auth"), Some("00000001"), true)
        );
    }

    #[test]
    fn unknown_schemes_parse_and_repeated_or_missing_fields_are_no_digest() {
        let unknown = Credentials::parse("NoOneKnowsThisScheme opaque-data=here").unwrap();
        assert!(!unknown.is_digest() && DigestCredentials::from_credentials(&unknown).is_none());
        let twice =
            "Digest username=\"a\", username=\"b\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"0\"";
        assert!(DigestCredentials::from_credentials(&Credentials::parse(twice).unwrap()).is_none());
        assert!(
            DigestCredentials::from_credentials(&Credentials::parse("Digest realm=\"r\"").unwrap()).is_none()
        );
        assert!(Credentials::parse("Digest realm=\"r").is_none());
    }
}

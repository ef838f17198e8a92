//! Challenges and credentials (RFC 3261 §20.7, §20.28, §20.44; RFC 8760): any scheme, and the fields of Digest.

use std::{borrow::Cow, fmt};

use super::{
    params::unquote,
    scan::{is_lws, take_quoted, take_token, trim_start},
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
        let mut pairs = Pairs { rest: raw };
        let mut count = 0;
        while pairs.next().ok()?.is_some() {
            count += 1;
            if count > AUTH_PARAMS_MAX {
                return None;
            }
        }
        Some(Self { raw })
    }

    /// Names and values as received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut pairs = Pairs { rest: self.raw };
        std::iter::from_fn(move || pairs.next().ok().flatten())
    }

    /// The value as received, quotes included; the first one of that name in any case.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value without quotes and escapes.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unquote)
    }
}

/// The pairs that have not been read yet.
struct Pairs<'a> {
    rest: &'a str,
}

/// What stands there is no `name=value`.
struct NoPair;

impl<'a> Pairs<'a> {
    /// The next name and value; empty elements are passed over (RFC 9110 §5.6.1).
    fn next(&mut self) -> Result<Option<(&'a str, &'a str)>, NoPair> {
        let start = self.rest.bytes().position(|octet| octet != b',' && !is_lws(octet));
        let Some(start) = start else {
            self.rest = "";
            return Ok(None);
        };
        let (name, rest) = take_token(&self.rest[start..]);
        let value = trim_start(rest).strip_prefix('=').map(trim_start).ok_or(NoPair)?;
        let rest = match take_quoted(value) {
            Some((_, rest)) => rest,
            // Token octets, and those of base64 and paths that some write unquoted.
            None => {
                let end = value.bytes().position(|octet| octet == b',' || octet == b'"' || is_lws(octet));
                &value[end.unwrap_or(value.len())..]
            }
        };
        let value = &value[..value.len() - rest.len()];
        self.rest = trim_start(rest);
        let is_whole = self.rest.is_empty() || self.rest.starts_with(',');
        if name.is_empty() || value.is_empty() || !is_whole { Err(NoPair) } else { Ok(Some((name, value))) }
    }
}

/// The values of the parameters `names`, in one go over the line: each look into [`AuthParams`] scans it anew. `None` if one of
/// them stands there more than once: nothing that says two things is to be trusted.
fn fields<'a, const N: usize>(params: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut fields = [None; N];
    let mut pairs = Pairs { rest: params };
    while let Some((name, value)) = pairs.next().ok()? {
        if let Some(index) = names.iter().position(|known| known.eq_ignore_ascii_case(name))
            && fields[index].replace(value).is_some()
        {
            return None;
        }
    }
    Some(fields)
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
        let (scheme, params) = take_scheme(value)?;
        Some(Self { scheme, params: AuthParams::parse(params)? })
    }

    /// Whether the scheme is Digest.
    pub const fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }
}

/// The scheme of a header line, and what follows it.
fn take_scheme(value: &str) -> Option<(&str, &str)> {
    let (scheme, params) = take_token(trim_start(value));
    let is_whole = params.bytes().next().is_none_or(is_lws);
    (is_whole && !scheme.is_empty()).then_some((scheme, params))
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
    /// Takes a header line apart, as [`Credentials::parse`] does. `None` if it is malformed, the scheme is not Digest, a
    /// mandatory field is missing, or a field stands there twice.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (scheme, params) = take_scheme(value)?;
        if scheme.eq_ignore_ascii_case("Digest") { Self::from_params(params) } else { None }
    }

    /// `None` if the scheme is not Digest, a mandatory field is missing, or a field stands there twice.
    pub fn from_credentials(credentials: &Credentials<'a>) -> Option<Self> {
        if credentials.is_digest() { Self::from_params(credentials.params.raw) } else { None }
    }

    fn from_params(params: &'a str) -> Option<Self> {
        let names = [
            "username",
            "realm",
            "nonce",
            "uri",
            "response",
            "algorithm",
            "opaque",
            "qop",
            "cnonce",
            "nc",
            "userhash",
        ];
        let fields = fields(params, names)?.map(|value| value.map(unquote));
        let [username, realm, nonce, uri, response, algorithm, opaque, qop, cnonce, nc, userhash] = fields;
        Some(Self {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?,
            algorithm,
            opaque,
            qop,
            cnonce,
            nc,
            userhash: is_true(userhash),
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
        let names = ["realm", "nonce", "opaque", "algorithm", "qop", "stale", "userhash"];
        let fields = fields(challenge.params.raw, names)?.map(|value| value.map(unquote));
        let [realm, nonce, opaque, algorithm, qop, stale, userhash] = fields;
        Some(Self {
            realm: realm?,
            nonce: nonce?,
            opaque,
            algorithm,
            qop,
            stale: is_true(stale),
            userhash: is_true(userhash),
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

    #[test]
    fn what_is_no_pair_spoils_the_line() {
        for line in ["a", "a=", "=b", "a=b c=d", "a=\"b\"c", "a=b\"c\"", "a b=c", "a=b;c=d e"] {
            assert!(AuthParams::parse(line).is_none(), "{line}");
        }
        let params = AuthParams::parse(" ,a = b,, \r\n c=\"d, \\\"e\" ,f=/x+y==,").unwrap();
        let expected = [("a", "b"), ("c", "\"d, \\\"e\""), ("f", "/x+y==")];
        assert_eq!(params.iter().collect::<Vec<_>>(), expected);
    }
}

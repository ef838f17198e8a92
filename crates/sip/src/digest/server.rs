//! The server's side: challenges, and judging what comes back.

use offhook_base::{Random, UtcMillis};

use super::{
    algorithm::{Algorithm, HashFunction, HexHash, Protection, ResponseInput},
    nonce::{NonceCounts, NonceIssuer, NonceState},
};
use crate::{
    header::{DigestCredentials, HeaderName, Quoted},
    message::{Method, StatusCode},
    write::MessageWriter,
};

/// Who asks for credentials (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenger {
    /// A user agent or registrar: 401, WWW-Authenticate, Authorization.
    UserAgent,
    /// A proxy: 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Challenger {
    /// 401 or 407.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::UserAgent => StatusCode::UNAUTHORIZED,
            Self::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The header of the challenge.
    pub const fn challenge_header(self) -> HeaderName {
        match self {
            Self::UserAgent => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    /// The header of the credentials.
    pub const fn credentials_header(self) -> HeaderName {
        match self {
            Self::UserAgent => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// What credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right and this is no replay.
    Accepted,
    /// The password is right, but the nonce is too old, not ours, or used with that count before: challenge again with
    /// `stale=true`. A phone then answers without asking anybody.
    Stale,
    /// Challenge again, and count it against the source: the password is wrong or there is none to compare with.
    Wrong,
    /// Not to be judged: an algorithm or `qop` that was not offered, or a parameter is missing or malformed. Challenge
    /// again, as for [`Verdict::Wrong`].
    Unusable,
}

/// A server of digest authentication. One per worker; workers that share the issuer's key accept each other's nonces,
/// but each counts uses of its own, so requests of one source should stay with one worker.
#[derive(Debug)]
pub struct DigestServer {
    issuer: NonceIssuer,
    counts: NonceCounts,
    /// Strongest first (RFC 8760 §2.1).
    offered: Box<[HashFunction]>,
    /// Whether credentials without `qop` are taken. Replays are then possible as long as the nonce lives. Default false.
    pub allow_legacy: bool,
}

impl DigestServer {
    /// A server that offers these hash functions, in the order of RFC 8760: the strongest first, whatever order they are
    /// given in.
    pub fn new(issuer: NonceIssuer, counts: NonceCounts, offered: &[HashFunction]) -> Self {
        let mut offered = offered.to_vec();
        offered.sort_by(|one, other| other.cmp(one));
        offered.dedup();
        Self { issuer, counts, offered: offered.into(), allow_legacy: false }
    }

    /// Deals from now on with this asker only, as [`NonceIssuer::bind`] has it.
    pub fn bind(&mut self, asker: &[u8]) {
        self.issuer.bind(asker);
    }

    /// Writes one challenge per hash function, all with one new nonce.
    pub fn challenge(
        &self,
        writer: &mut MessageWriter<'_>,
        challenger: Challenger,
        realm: &str,
        stale: bool,
        random: &mut Random,
        now: UtcMillis,
    ) {
        let nonce = self.issuer.issue(random, now);
        let stale = if stale { ", stale=true" } else { "" };
        for &hash in &self.offered {
            let algorithm = Algorithm { hash, session: false };
            writer.header(
                &challenger.challenge_header(),
                format_args!(
                    "Digest realm={}, nonce=\"{nonce}\"{stale}, algorithm={algorithm}, qop=\"auth\"",
                    Quoted(realm)
                ),
            );
        }
    }

    /// Which stored hash `credentials` must be compared with; `None` if the algorithm was not offered.
    pub fn hash_function(&self, credentials: &DigestCredentials<'_>) -> Option<HashFunction> {
        let algorithm = algorithm_of(credentials)?;
        self.offered.contains(&algorithm.hash).then_some(algorithm.hash)
    }

    /// What the nonce of the credentials is worth.
    pub fn nonce(&self, credentials: &DigestCredentials<'_>, now: UtcMillis) -> NonceState {
        self.issuer.check(&credentials.nonce, now)
    }

    /// Judges the credentials of a request with `method` and `body`, whose nonce is worth so much ([`DigestServer::nonce`]),
    /// against the stored hash of name, realm and password under [`DigestServer::hash_function`]. `None` for `ha1`, where
    /// there is no such line or it is disabled, costs the same time and gives the same verdict as a wrong password.
    ///
    /// The caller has chosen the credentials by realm. Whether their `uri` is that of the request is not judged: a
    /// proxy on the way may have changed the Request-URI (RFC 3261 §22.4).
    pub fn judge(
        &mut self,
        credentials: &DigestCredentials<'_>,
        nonce: NonceState,
        method: &Method,
        body: &[u8],
        ha1: Option<&HexHash>,
        now: UtcMillis,
    ) -> Verdict {
        let (Some(_), Some(algorithm)) = (self.hash_function(credentials), algorithm_of(credentials)) else {
            return Verdict::Unusable;
        };
        let Some((protection, count)) = self.protection(credentials, body) else {
            return Verdict::Unusable;
        };
        let input = ResponseInput {
            algorithm,
            method: method.as_str(),
            uri: &credentials.uri,
            nonce: &credentials.nonce,
            protection,
        };
        let decoy;
        let stored = match ha1 {
            Some(ha1) => ha1,
            None => {
                decoy = algorithm.hash.joined(&[b"nobody"]);
                &decoy
            }
        };
        let matches = input.response(stored).matches(&credentials.response);
        if !matches || ha1.is_none() {
            return Verdict::Wrong;
        }
        match (nonce, count) {
            (NonceState::Fresh(nonce), Some(count)) if self.counts.accept(nonce, count, now) => {
                Verdict::Accepted
            }
            (NonceState::Fresh(_), None) => Verdict::Accepted,
            _ => Verdict::Stale,
        }
    }

    /// What the response covers, and the nonce count if there is one.
    fn protection<'a>(
        &self,
        credentials: &'a DigestCredentials<'_>,
        body: &'a [u8],
    ) -> Option<(Protection<'a>, Option<u32>)> {
        let Some(qop) = credentials.qop.as_deref() else {
            return self.allow_legacy.then_some((Protection::Legacy, None));
        };
        let (cnonce, count) = (credentials.cnonce.as_deref()?, credentials.nc.as_deref()?);
        let is_count = count.len() == 8 && count.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u32::from_str_radix(count, 16).ok().filter(|_| is_count)?;
        let protection = if qop.eq_ignore_ascii_case("auth") {
            Protection::Auth { count, cnonce }
        } else if qop.eq_ignore_ascii_case("auth-int") {
            Protection::AuthInt { count, cnonce, body }
        } else {
            return None;
        };
        Some((protection, Some(number)))
    }
}

/// `None` if it is one we do not know; MD5 if none is named.
fn algorithm_of(credentials: &DigestCredentials<'_>) -> Option<Algorithm> {
    credentials.algorithm.as_deref().map_or(Some(Algorithm::MD5), Algorithm::parse)
}

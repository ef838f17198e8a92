//! The check of one set of digest credentials.

use std::sync::Arc;

use offhook_base::Moment;
use offhook_sip::{
    digest::{Algorithm, HashFunction, HexHash, NonceState, Protection, ResponseInput},
    header::DigestCredentials,
    message::{Method, Request},
    uri::Uri,
};

use super::Gate;
use crate::directory::{Directory, Line, PasswordHashes, Tenant};

/// Credentials for our realm.
pub(super) struct Proof<'a>(DigestCredentials<'a>);

/// What they turned out to be.
pub(super) enum Outcome {
    /// This line's.
    Right(Arc<Line>),
    /// Made with a nonce that is not ours, too old, or used before.
    Stale,
    /// Nobody's.
    Wrong,
    /// Made for a request to somebody else.
    OtherUri,
}

impl<'a> Proof<'a> {
    /// The credentials of `request` for `realm`; others are other servers' business.
    pub(super) fn find(request: &'a Request, realm: &str) -> Option<Self> {
        let headers = request.headers();
        let ours = |credentials: &DigestCredentials<'_>| *credentials.realm == *realm;
        match request.method() {
            Method::Register => headers.authorization().find(ours),
            _ => headers.proxy_authorization().find(ours),
        }
        .map(Self)
    }

    /// Checks them.
    pub(super) fn check(
        &self,
        request: &Request,
        tenant: &Tenant,
        directory: &Directory,
        gate: &mut Gate,
        now: Moment,
    ) -> Outcome {
        let credentials = &self.0;
        // RFC 7616 §3.3: stale says that the nonce was not good, whatever the password. To check the password first
        // would let guesses be tried with made-up nonces, uncounted.
        let NonceState::Fresh(nonce) = gate.issuer.check(&credentials.nonce, now.utc) else {
            return Outcome::Stale;
        };
        if *request.method() != Method::Register && !is_for_same_user(&credentials.uri, request.uri()) {
            return Outcome::OtherUri;
        }
        let line = directory.line(&tenant.name, &credentials.username).filter(|line| line.enabled);
        let password = line.map_or(&gate.decoy, |line| &line.password);
        let (true, Some(line)) = (self.is_right(request, password), line) else { return Outcome::Wrong };
        match self.count() {
            Some(count) if gate.counts.accept(nonce, count, now.utc) => Outcome::Right(Arc::clone(line)),
            _ => Outcome::Stale,
        }
    }

    /// Whether the response follows from `password`. `qop=auth` is what we ask for, and RFC 3261 §22.4 obliges every
    /// device to do as it is asked; without it nothing would stop a replay.
    fn is_right(&self, request: &Request, password: &PasswordHashes) -> bool {
        let credentials = &self.0;
        let algorithm = credentials.algorithm.as_deref().map_or(Some(Algorithm::MD5), Algorithm::parse);
        let (Some(algorithm), Some("auth"), Some(cnonce), Some(count)) =
            (algorithm, credentials.qop.as_deref(), credentials.cnonce.as_deref(), credentials.nc.as_deref())
        else {
            return false;
        };
        let ha1 = match algorithm.hash {
            HashFunction::Md5 => std::str::from_utf8(&password.md5),
            HashFunction::Sha256 => std::str::from_utf8(&password.sha256),
            HashFunction::Sha512_256 => return false,
        };
        let Some(ha1) = ha1.ok().and_then(HexHash::parse) else { return false };
        let input = ResponseInput {
            algorithm,
            method: request.method().as_str(),
            uri: &credentials.uri,
            nonce: &credentials.nonce,
            protection: Protection::Auth { count, cnonce },
        };
        !credentials.userhash && input.response(&ha1).matches(&credentials.response)
    }

    /// The nonce count: eight hexadecimal digits.
    fn count(&self) -> Option<u32> {
        let digits = self.0.nc.as_deref()?;
        if digits.len() != 8 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }
}

/// Whether credentials made for `covered` may carry a request to `uri`. Proxies on the way change host and parameters
/// (RFC 3261 §16.5), but who takes the credentials from a request must not be able to call another number with them.
fn is_for_same_user(covered: &str, uri: &str) -> bool {
    match (Uri::parse(covered), Uri::parse(uri)) {
        (Ok(covered), Ok(uri)) => covered.same_user(&uri),
        _ => covered == uri,
    }
}

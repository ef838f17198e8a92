//! Authentication: who a request really comes from (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! A line proves itself by digest, with SHA-256 or MD5, against the hashes in the directory. The proof is a value,
//! [`Authenticated`], that only this module makes; what needs an identity asks for it.
//!
//! From outside, an unknown line, a disabled line and a wrong password are one case: the same answer after the same
//! work, since a decoy's password is checked where there is none. A nonce that is not fresh is answered with
//! `stale=true` before any password is looked at, so that it tells nothing about one either.

mod verify;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{Moment, Random};
use offhook_edge::{BannedSource, Edge, Verdict};
use offhook_sip::{
    digest::{HashFunction, NonceIssuer},
    header::{HeaderName, NameAddr},
    message::{Method, Request, StatusCode},
    uri::Uri,
};

use self::verify::{Outcome, Verifier};
use crate::{
    directory::{Directory, Line, Peer, Tenant},
    fact::Refusal,
};

/// The proof that a request comes from a line. Only [`Gate::authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct Authenticated {
    line: Arc<Line>,
}

impl Authenticated {
    /// The line, as the directory had it.
    pub const fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

/// Who has proved itself. Only [`Gate::authenticate_caller`] makes one.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A line, by its password.
    Line(Authenticated),
    /// A peer, by its login.
    Peer(Arc<Peer>),
}

/// Why a request may not go on, and the answer to it.
#[derive(Clone)]
pub struct Denied {
    /// The response to send.
    pub response: Bytes,
    /// Its status.
    pub status: StatusCode,
    /// What to count; `None` for a challenge that belongs to the normal course of things: the first one, and one for
    /// a nonce that is no longer fresh.
    pub refusal: Option<Refusal>,
    /// The ban that this was once too often for.
    pub banned: Option<BannedSource>,
}

/// What the gate must know besides the request.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where the request came from.
    pub source: SocketAddr,
    /// Who there is.
    pub directory: &'a Directory,
    /// Whether a host (without brackets) is an address or name of this node.
    pub is_our_host: &'a dyn Fn(&str) -> bool,
    /// Now.
    pub now: Moment,
}

/// Challenges requests and checks what comes back.
pub struct Gate {
    verifier: Verifier,
    random: Random,
}

impl Gate {
    /// A gate whose nonces are made with `key` and live for `nonce_lifetime`; it remembers the use of `nonces_max` of
    /// them. Workers that share a key accept each other's nonces, but count their uses apart: a device's requests must
    /// come to one worker. It challenges with the hash functions `offered`, of those that the directory has hashes for.
    pub fn new(
        key: &[u8; 32],
        nonce_lifetime: Duration,
        nonces_max: usize,
        offered: &[HashFunction],
        random: Random,
    ) -> Self {
        let issuer = NonceIssuer::with_key(key, nonce_lifetime);
        Self { verifier: Verifier::new(issuer, nonces_max, offered), random }
    }

    /// Finds out which line sent `request`, or answers it: 401 (REGISTER) or 407 with challenges, 403 if the line
    /// speaks for another, 404 for a foreign domain, 503 while the source is penalised for wrong passwords. Wrong
    /// credentials are reported to `edge`. Not for ACK and CANCEL, which cannot be challenged (RFC 3261 §22.1).
    ///
    /// # Errors
    /// [`Denied`] with the response, written by means of `out`.
    pub fn authenticate(
        &mut self,
        request: &Request,
        around: &Surroundings<'_>,
        edge: &mut Edge,
        to_tag: &str,
        out: &mut BytesMut,
    ) -> Result<Authenticated, Denied> {
        match self.authenticate_caller(request, around, edge, to_tag, out)? {
            Proof::Line(authenticated) => Ok(authenticated),
            Proof::Peer(_) => {
                Err(deny(request, StatusCode::FORBIDDEN, Refusal::NotPermitted, None, to_tag, out))
            }
        }
    }

    /// As [`Gate::authenticate`], for requests that a peer may send too: the credentials may be a peer's login. It speaks for
    /// whom it likes: what its callers are shown as is decided elsewhere.
    ///
    /// # Errors
    /// [`Denied`] with the response, written by means of `out`.
    pub fn authenticate_caller(
        &mut self,
        request: &Request,
        around: &Surroundings<'_>,
        edge: &mut Edge,
        to_tag: &str,
        out: &mut BytesMut,
    ) -> Result<Proof, Denied> {
        let Some(tenant) = tenant_of(request, around) else {
            return Err(deny(request, StatusCode::NOT_FOUND, Refusal::ForeignDomain, None, to_tag, out));
        };
        let now = around.now;
        self.verifier.bind(around.source.ip());
        let Some(credentials) = verify::find(request, &tenant.realm) else {
            return Err(self.challenge(request, tenant, Challenge::First, now, to_tag, out));
        };
        let account = (&tenant.name, &credentials.username);
        let limited = |verdict: Verdict, why: Refusal, out: &mut BytesMut| match verdict {
            Verdict::Refuse { retry_after, .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(deny(request, status, why, Some(retry_after), to_tag, out))
            }
            _ => Ok(()),
        };
        let admitted = edge.admit_credentials(around.source, account, now.instant);
        limited(admitted, Refusal::AuthenticationRate, out)?;
        let outcome = self.verifier.check(&credentials, request, tenant, around.directory, now);
        if matches!(outcome, Outcome::Right(_) | Outcome::RightPeer(_)) {
            let admitted = edge.authenticated(around.source, account, now.instant);
            limited(admitted, Refusal::Rate, out)?;
        }
        match outcome {
            Outcome::Right(line) if speaks_for_itself(request, tenant, &line, around) => {
                Ok(Proof::Line(Authenticated { line }))
            }
            Outcome::RightPeer(peer) => Ok(Proof::Peer(peer)),
            Outcome::Right(_) => {
                Err(deny(request, StatusCode::FORBIDDEN, Refusal::NotPermitted, None, to_tag, out))
            }
            Outcome::OtherUri => {
                Err(deny(request, StatusCode::BAD_REQUEST, Refusal::Malformed, None, to_tag, out))
            }
            Outcome::Stale => Err(self.challenge(request, tenant, Challenge::Stale, now, to_tag, out)),
            Outcome::Wrong => {
                let banned = edge.authentication_failed(around.source, account, now.instant);
                Err(Denied { banned, ..self.challenge(request, tenant, Challenge::Wrong, now, to_tag, out) })
            }
        }
    }

    fn challenge(
        &mut self,
        request: &Request,
        tenant: &Tenant,
        why: Challenge,
        now: Moment,
        to_tag: &str,
        out: &mut BytesMut,
    ) -> Denied {
        let method = request.method();
        let status = verify::challenger_of(method).status();
        let mut response = request.respond(out, status, Some(to_tag));
        let stale = why == Challenge::Stale;
        self.verifier.challenge(&mut response, method, tenant, stale, &mut self.random, now);
        let refusal = (why == Challenge::Wrong).then_some(Refusal::Unauthenticated);
        Denied { response: response.finish(), status, refusal, banned: None }
    }
}

/// Why a challenge is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Challenge {
    /// There were no credentials for us.
    First,
    /// The nonce was not fresh.
    Stale,
    /// The credentials were wrong. It looks like [`Challenge::First`].
    Wrong,
}

fn deny(
    request: &Request,
    status: StatusCode,
    refusal: Refusal,
    retry_after: Option<Duration>,
    to_tag: &str,
    out: &mut BytesMut,
) -> Denied {
    let mut response = request.respond(out, status, Some(to_tag));
    if let Some(wait) = retry_after {
        response.header(&HeaderName::RetryAfter, wait.as_secs());
    }
    Denied { response: response.finish(), status, refusal: Some(refusal), banned: None }
}

/// Whether the request is made in the name of a tenant: one that is not gets no challenge.
pub(crate) fn is_to_tenant(request: &Request, around: &Surroundings<'_>) -> bool {
    tenant_of(request, around).is_some()
}

/// The tenant in whose name the request is made: by the address of record for REGISTER (RFC 3261 §10.3), otherwise by
/// the caller's own domain, or by the Request-URI's where the caller hides its own (RFC 3323 §4.1).
fn tenant_of<'d>(request: &Request, around: &Surroundings<'d>) -> Option<&'d Arc<Tenant>> {
    let of_uri = |uri: &str| tenant_of_uri(&Uri::parse(uri).ok()?, around);
    let headers = request.headers();
    if *request.method() == Method::Register {
        return of_uri(headers.to().ok()?.uri);
    }
    headers.from().ok().and_then(|from| of_uri(from.uri)).or_else(|| of_uri(request.uri()))
}

fn tenant_of_uri<'d>(uri: &Uri<'_>, around: &Surroundings<'d>) -> Option<&'d Arc<Tenant>> {
    let host = uri.host_without_brackets();
    if host.is_empty() {
        return None;
    }
    around.directory.tenant_of_domain(host, || (around.is_our_host)(host))
}

/// A line registers only its own address of record, and calls under no other line's.
fn speaks_for_itself(request: &Request, tenant: &Tenant, line: &Line, around: &Surroundings<'_>) -> bool {
    let own_name = |uri: &Uri<'_>| uri.user_unescaped().is_some_and(|user| *user == *line.name);
    let parsed = |address: Option<NameAddr<'_>>| {
        address.and_then(|address| Uri::parse(address.uri).ok()).map(|uri| {
            (own_name(&uri), tenant_of_uri(&uri, around).is_some_and(|owner| owner.name == tenant.name))
        })
    };
    let headers = request.headers();
    if *request.method() == Method::Register {
        return parsed(headers.to().ok()) == Some((true, true));
    }
    // Outside of our domains it may call itself what it likes: what the callee sees is made from the line.
    parsed(headers.from().ok()) != Some((false, true))
}

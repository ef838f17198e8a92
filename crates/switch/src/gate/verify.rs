//! The check of one set of digest credentials.

use std::{net::IpAddr, sync::Arc};

use offhook_base::{Moment, Random};
use offhook_sip::{
    digest::{
        Challenger, DigestServer, HashFunction, HexHash, NonceCounts, NonceIssuer, NonceState, Verdict,
    },
    header::DigestCredentials,
    message::{Method, Request},
    uri::Uri,
    write::MessageWriter,
};

use crate::directory::{Directory, Line, Peer, Tenant};

/// Octets of an IPv6 address that name its network (RFC 4291 §2.5.4).
const NETWORK_OCTETS: usize = 8;

/// Digest against the lines of the directory.
pub(super) struct Verifier {
    server: DigestServer,
}

/// What credentials turned out to be.
pub(super) enum Outcome {
    /// This line's.
    Right(Arc<Line>),
    /// This peer's.
    RightPeer(Arc<Peer>),
    /// Made with a nonce that is not ours, too old, or used before.
    Stale,
    /// Nobody's.
    Wrong,
    /// Made for a request to somebody else.
    OtherUri,
}

/// Who asks for credentials: a registrar of its own, for calls as the proxy that we are to the phone.
pub(super) fn challenger_of(method: &Method) -> Challenger {
    if *method == Method::Register { Challenger::UserAgent } else { Challenger::Proxy }
}

/// The credentials of `request` for `realm`; others are other servers' business.
pub(super) fn find<'a>(request: &'a Request, realm: &str) -> Option<DigestCredentials<'a>> {
    let header = challenger_of(request.method()).credentials_header();
    request
        .headers()
        .all(&header)
        .filter_map(DigestCredentials::parse)
        .find(|credentials| *credentials.realm == *realm)
}

impl Verifier {
    pub(super) fn new(issuer: NonceIssuer, nonces_max: usize, offered: &[HashFunction]) -> Self {
        Self { server: DigestServer::new(issuer, NonceCounts::new(nonces_max), offered) }
    }

    /// Deals from now on with whoever is at `source`. Its nonces are good only there: so nobody has passwords counted
    /// against an address that he forges, or registers one that never answered us.
    pub(super) fn bind(&mut self, source: IpAddr) {
        match source.to_canonical() {
            IpAddr::V4(address) => self.server.bind(&address.octets()),
            // A host may change its address within its network at will (RFC 8981).
            IpAddr::V6(address) => self.server.bind(&address.octets()[..NETWORK_OCTETS]),
        }
    }

    /// Adds the challenges to a response.
    pub(super) fn challenge(
        &self,
        response: &mut MessageWriter<'_>,
        method: &Method,
        tenant: &Tenant,
        stale: bool,
        random: &mut Random,
        now: Moment,
    ) {
        self.server.challenge(response, challenger_of(method), &tenant.realm, stale, random, now.utc);
    }

    /// Checks the credentials of a request in the name of `tenant`.
    pub(super) fn check(
        &mut self,
        credentials: &DigestCredentials<'_>,
        request: &Request,
        tenant: &Tenant,
        directory: &Directory,
        now: Moment,
    ) -> Outcome {
        // RFC 7616 §3.3: stale says that the nonce was not good, whatever the password. Looking at the password first
        // would count failures against whatever address somebody forges, without his ever having heard from us.
        let nonce = self.server.nonce(credentials, now.utc);
        if !matches!(nonce, NonceState::Fresh(_)) {
            return Outcome::Stale;
        }
        if *request.method() != Method::Register && !is_for_same_user(&credentials.uri, request.uri()) {
            return Outcome::OtherUri;
        }
        let line = directory.line(&tenant.name, &credentials.username).filter(|line| line.enabled);
        let hash = self.server.hash_function(credentials).filter(|_| !credentials.userhash);
        // A peer may call, as a line may; a name that both bear is the line's. A peer registers nothing.
        let peer = directory
            .peer_of_login(&tenant.name, &credentials.username)
            .filter(|_| line.is_none() && *request.method() != Method::Register);
        let ha1 = match (line, peer) {
            (Some(line), _) => hash.and_then(|hash| stored_hash(line, hash)),
            (None, Some(peer)) => hash.and_then(|hash| login_hash(peer, hash, &tenant.realm)),
            (None, None) => None,
        };
        let (method, body) = (request.method(), request.body());
        let verdict = self.server.judge(credentials, nonce, method, body, ha1.as_ref(), now.utc);
        match (verdict, line) {
            (Verdict::Accepted, Some(line)) => Outcome::Right(Arc::clone(line)),
            (Verdict::Accepted, None) => {
                peer.map_or(Outcome::Wrong, |peer| Outcome::RightPeer(Arc::clone(peer)))
            }
            (Verdict::Stale, _) => Outcome::Stale,
            (Verdict::Wrong | Verdict::Unusable, _) => Outcome::Wrong,
        }
    }
}

fn stored_hash(line: &Line, hash: HashFunction) -> Option<HexHash> {
    let digits = match hash {
        HashFunction::Md5 => std::str::from_utf8(&line.password.md5),
        HashFunction::Sha256 => std::str::from_utf8(&line.password.sha256),
        HashFunction::Sha512_256 => return None,
    };
    HexHash::parse(digits.ok()?)
}

/// A peer's secret is at hand in clear, as it answers the peer's own challenges too.
fn login_hash(peer: &Peer, hash: HashFunction, realm: &str) -> Option<HexHash> {
    let (username, secret) = (peer.username.as_deref()?, peer.secret.as_ref()?);
    Some(hash.ha1(username, realm, secret.reveal()))
}

/// Whether credentials made for `covered` may carry a request to `uri`. Proxies on the way change host and parameters
/// (RFC 3261 §16.5), but who takes the credentials from a request must not be able to call another number with them.
fn is_for_same_user(covered: &str, uri: &str) -> bool {
    match (Uri::parse(covered), Uri::parse(uri)) {
        (Ok(covered), Ok(uri)) => covered.same_user(&uri),
        _ => covered == uri,
    }
}

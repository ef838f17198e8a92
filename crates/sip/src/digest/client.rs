//! The client's side: answering the challenges of a trunk or another server.

use std::fmt;

use offhook_base::Random;

use super::algorithm::{Algorithm, HashFunction, HexHash, Protection, ResponseInput};
use crate::{
    header::{DigestChallenge, Quoted},
    message::Method,
};

/// What of a body a challenge wants covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    Legacy,
    Auth,
    AuthInt,
}

/// A challenge taken up: answers requests until the server wants a newer nonce.
///
/// Keep one per realm and server; a 401 or 407 with `stale=true` replaces it, one without it after an answer means that
/// the password is wrong.
#[derive(Clone)]
pub struct DigestSession {
    username: Box<str>,
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    /// Whether the challenge named the algorithm. If not, the answer names none either (RFC 3261 §22.4 peers may know no other).
    named: bool,
    algorithm: Algorithm,
    coverage: Coverage,
    /// Hash of name, realm and password.
    ha1: HexHash,
    /// Of the first answer: a `-sess` algorithm binds the session to it.
    cnonce: Option<Box<str>>,
    count: u32,
}

/// Names and secrets stay hidden.
impl fmt::Debug for DigestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestSession")
            .field("algorithm", &self.algorithm)
            .field("coverage", &self.coverage)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl DigestSession {
    /// Takes up the strongest of `challenges`, which are those of one response and realm, that can be answered: its
    /// algorithm is known and `ha1` has the stored hash for it (given hash function and realm). Of two equally strong ones
    /// the first, which the server prefers (RFC 8760 §2.4).
    pub fn answer_to<'a>(
        username: &str,
        challenges: impl IntoIterator<Item = DigestChallenge<'a>>,
        ha1: impl Fn(HashFunction, &str) -> Option<HexHash>,
    ) -> Option<Self> {
        let mut best: Option<Self> = None;
        for challenge in challenges {
            let known = challenge.algorithm.as_deref().map_or(Some(Algorithm::MD5), Algorithm::parse);
            let (Some(algorithm), Some(coverage)) = (known, coverage(challenge.qop.as_deref())) else {
                continue;
            };
            if best.as_ref().is_some_and(|best| best.algorithm.hash >= algorithm.hash) {
                continue;
            }
            let Some(ha1) = ha1(algorithm.hash, &challenge.realm) else { continue };
            best = Some(Self {
                username: username.into(),
                realm: (*challenge.realm).into(),
                nonce: (*challenge.nonce).into(),
                opaque: challenge.opaque.as_deref().map(Box::from),
                named: challenge.algorithm.is_some(),
                algorithm,
                coverage,
                ha1,
                cnonce: None,
                count: 0,
            });
        }
        best
    }

    /// The realm it answers for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The algorithm chosen.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value of an Authorization or Proxy-Authorization header for a request with this method, Request-URI and body.
    /// Each call uses the next nonce count.
    pub fn authorize(&mut self, method: &Method, uri: &str, body: &[u8], random: &mut Random) -> String {
        self.count += 1;
        if self.cnonce.is_none() || !self.algorithm.session {
            self.cnonce = Some(random.token::<16>().as_str().into());
        }
        let cnonce = self.cnonce.as_deref().unwrap_or_default();
        let digits = format!("{:08x}", self.count);
        let (protection, qop) = match self.coverage {
            Coverage::Legacy => (Protection::Legacy, ""),
            Coverage::Auth => (Protection::Auth { count: &digits, cnonce }, "auth"),
            Coverage::AuthInt => (Protection::AuthInt { count: &digits, cnonce, body }, "auth-int"),
        };
        let input = ResponseInput {
            algorithm: self.algorithm,
            method: method.as_str(),
            uri,
            nonce: &self.nonce,
            protection,
        };
        let response = input.response(&self.ha1);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            Quoted(&self.username),
            Quoted(&self.realm),
            Quoted(&self.nonce),
            Quoted(uri),
            response.as_str(),
        );
        if self.named {
            value += &format!(", algorithm={}", self.algorithm);
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(", opaque={}", Quoted(opaque));
        }
        if self.coverage != Coverage::Legacy {
            value += &format!(", qop={qop}, nc={digits}, cnonce=\"{cnonce}\"");
        }
        value
    }
}

/// `auth` if it is offered: bodies change on their way through back-to-back user agents. `None` if nothing offered is known.
fn coverage(qop: Option<&str>) -> Option<Coverage> {
    let Some(qop) = qop else { return Some(Coverage::Legacy) };
    let offers = |name: &str| qop.split(',').any(|offered| offered.trim().eq_ignore_ascii_case(name));
    match () {
        () if offers("auth") => Some(Coverage::Auth),
        () if offers("auth-int") => Some(Coverage::AuthInt),
        () => None,
    }
}

//! Which transaction a message belongs to: RFC 3261 §17.1.3, §17.2.3, and the merged requests of §8.2.2.2.
//!
//! What identifies a transaction is hashed to 128 bits under a secret of the layer, and the hash is the key: no text
//! is kept or compared. With a million transactions alive a false match has a probability below 2^-88, and nobody
//! without the secret can construct one.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use offhook_base::{Random, Token};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{
    header::{CSeq, HeaderError, HeaderName, Via},
    message::{Method, Request},
};

/// The identity of a transaction, or of a request that may arrive by several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatchKey(u64, u64);

impl MatchKey {
    /// A To tag that every copy of the request leads to, and that tells nothing of the request.
    pub fn tag(self) -> Token<12> {
        Token::from_number(self.1)
    }
}

impl Hash for MatchKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The map's hasher: the key is a hash already.
#[derive(Default)]
pub(crate) struct TakeAsIs(u64);

impl Hasher for TakeAsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

pub(crate) type TakeAsIsBuilder = BuildHasherDefault<TakeAsIs>;

/// Keeps the kinds of identity apart in the one map.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Client,
    Server,
    OldServer,
    Merged,
    Dialog,
}

/// The headers that identify a request, each read once.
pub(crate) struct Facts<'a> {
    pub via: Via<'a>,
    pub cseq: CSeq<'a>,
    from_tag: Option<&'a str>,
    call_id: &'a str,
    pub in_dialog: bool,
}

impl<'a> Facts<'a> {
    /// Every request needs these headers, and the method of CSeq is its own (§8.1.1).
    pub fn read(request: &'a Request) -> Result<Self, HeaderError> {
        let headers = request.headers();
        let cseq = headers.cseq()?;
        if cseq.method != request.method().as_str() {
            return Err(HeaderError::Malformed(HeaderName::CSeq));
        }
        Ok(Self {
            via: headers.via()?,
            cseq,
            from_tag: headers.from()?.tag(),
            call_id: headers.call_id()?,
            in_dialog: headers.to()?.tag().is_some(),
        })
    }
}

/// Makes match keys.
pub(crate) struct Matcher {
    /// SipHash-1-3 of 128 bits under the layer's secret, before the first octet.
    keyed: SipHasher13,
}

/// The secret stays hidden.
impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Matcher(***)")
    }
}

impl Matcher {
    pub fn new(random: &mut Random) -> Self {
        Self { keyed: SipHasher13::new_with_keys(random.next_u64(), random.next_u64()) }
    }

    /// For a client transaction: the branch we minted, and the method, because a CANCEL shares its INVITE's branch.
    pub fn client(&self, branch: &str, method: &str) -> MatchKey {
        self.key(Kind::Client, 0, &[branch, method])
    }

    /// For a server transaction. An ACK finds its INVITE; a CANCEL has a transaction of its own.
    pub fn server(&self, request: &Request, facts: &Facts<'_>) -> MatchKey {
        match request.method() {
            Method::Ack => self.server_as(request, facts, Method::Invite.as_str()),
            method => self.server_as(request, facts, method.as_str()),
        }
    }

    /// As if the request had `method`: the INVITE that a CANCEL is about.
    pub fn server_as(&self, request: &Request, facts: &Facts<'_>, method: &str) -> MatchKey {
        if let Some(branch) = facts.via.rfc3261_branch() {
            let port = u32::from(facts.via.port().unwrap_or(0));
            return self.key(Kind::Server, port, &[branch, facts.via.host(), method]);
        }
        // The rules for clients of RFC 2543 (§17.2.3). The To tag is left out: an ACK has one that its INVITE had not, and
        // within a dialog the CSeq tells requests apart.
        let via = request.headers().values(&HeaderName::Via).next().unwrap_or_default();
        let parts = [request.uri(), facts.from_tag.unwrap_or_default(), facts.call_id, via, method];
        self.key(Kind::OldServer, facts.cseq.number, &parts)
    }

    /// For a request outside a dialog: the same one by another way has the same From tag, Call-ID and CSeq (§8.2.2.2).
    /// `None` within a dialog, and for a CANCEL, which shares its INVITE's numbers.
    pub fn merged(&self, request: &Request, facts: &Facts<'_>) -> Option<MatchKey> {
        if facts.in_dialog || *request.method() == Method::Cancel {
            return None;
        }
        let parts = [facts.from_tag?, facts.call_id, request.method().as_str()];
        Some(self.key(Kind::Merged, facts.cseq.number, &parts))
    }

    pub fn key(&self, kind: Kind, number: u32, parts: &[&str]) -> MatchKey {
        // Secret first: to the outside, a keyed function.
        let mut hasher = self.keyed;
        hasher.write_u64(u64::from(number) << 8 | kind as u64);
        for part in parts {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff); // no text contains it, so parts cannot run into each other
        }
        let hash = hasher.finish128();
        MatchKey(hash.h1, hash.h2)
    }
}

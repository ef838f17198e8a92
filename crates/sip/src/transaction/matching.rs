//! Which transaction a message belongs to: RFC 3261 §17.1.3, §17.2.3, and the merged requests of §8.2.2.2.
//!
//! What identifies a transaction is hashed to 128 bits under a secret of the layer, and the hash is the key: no text
//! is kept or compared. With a million transactions alive a false match has a probability below 2^-88, and nobody
//! without the secret can construct one.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use offhook_base::Random;

use crate::header::{HeaderError, Via};
use crate::message::{Method, Request};

/// The identity of a transaction, or of a request that may arrive by several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatchKey(u64, u64);

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

/// Makes match keys.
#[derive(Debug)]
pub(crate) struct Matcher {
    secrets: [u128; 2],
}

impl Matcher {
    pub fn new(random: &mut Random) -> Self {
        let mut secret = || u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        Self { secrets: [secret(), secret()] }
    }

    /// For a client transaction: the branch we minted, and the method, because a CANCEL shares its INVITE's branch.
    pub fn client(&self, branch: &str, method: &str) -> MatchKey {
        self.key(Kind::Client, 0, &[branch, method])
    }

    /// For a server transaction. An ACK finds its INVITE; a CANCEL has a transaction of its own.
    pub fn server(&self, request: &Request, via: &Via<'_>) -> Result<MatchKey, HeaderError> {
        let method = match request.method() {
            Method::Ack => &Method::Invite,
            method => method,
        };
        self.server_as(request, via, method)
    }

    /// As if the request had `method`: the INVITE that a CANCEL is about.
    pub fn server_as(
        &self,
        request: &Request,
        via: &Via<'_>,
        method: &Method,
    ) -> Result<MatchKey, HeaderError> {
        match via.rfc3261_branch() {
            Some(branch) => {
                let port = u32::from(via.port().unwrap_or(0));
                Ok(self.key(Kind::Server, port, &[branch, via.host(), method.as_str()]))
            }
            None => self.old_server(request, method),
        }
    }

    /// The rules for clients of RFC 2543 (§17.2.3). The To tag is left out: an ACK has one that its INVITE had not, and
    /// within a dialog the CSeq tells requests apart.
    fn old_server(&self, request: &Request, method: &Method) -> Result<MatchKey, HeaderError> {
        let headers = request.headers();
        let number = headers.cseq()?.number;
        let from = headers.from()?;
        let from_tag = from.tag().unwrap_or_default();
        let via = headers.values(&crate::header::HeaderName::Via).next().unwrap_or_default();
        let call_id = headers.call_id()?;
        Ok(self.key(Kind::OldServer, number, &[request.uri(), from_tag, call_id, via, method.as_str()]))
    }

    /// For a request outside a dialog: the same one by another way has the same From tag, Call-ID and CSeq (§8.2.2.2).
    /// `None` within a dialog.
    pub fn merged(&self, request: &Request) -> Result<Option<MatchKey>, HeaderError> {
        let headers = request.headers();
        if headers.to()?.tag().is_some() {
            return Ok(None);
        }
        let from = headers.from()?;
        let Some(from_tag) = from.tag() else { return Ok(None) };
        let number = headers.cseq()?.number;
        let parts = [from_tag, headers.call_id()?, request.method().as_str()];
        Ok(Some(self.key(Kind::Merged, number, &parts)))
    }

    pub fn key(&self, kind: Kind, number: u32, parts: &[&str]) -> MatchKey {
        let [first, second] = self.secrets.map(|secret| {
            // Secret first: to the outside, a keyed function.
            let mut hasher = DefaultHasher::new();
            hasher.write_u128(secret);
            hasher.write_u8(kind as u8);
            hasher.write_u32(number);
            for part in parts {
                hasher.write(part.as_bytes());
                hasher.write_u8(0xff); // no text contains it, so parts cannot run into each other
            }
            hasher.finish()
        });
        MatchKey(first, second)
    }
}

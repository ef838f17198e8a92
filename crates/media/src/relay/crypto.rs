//! SRTP that ends here: keys from signalling (RFC 4568), one context per direction.

use offhook_rtp::srtp::{CryptoSuite, MasterKey, Protector, SrtcpMode, Unprotector};
use offhook_switch::media::StreamCrypto;

use super::stream::Kind;
use crate::DropReason;

/// What happens to a stream's packets between the wire and the relay.
#[derive(Debug, Default)]
pub(super) enum Crypto {
    /// Nothing: in clear, or closed from end to end.
    #[default]
    Through,
    /// SRTP on the wire, clear within.
    Terminated(Box<(Unprotector, Protector)>),
    /// Keys that fit no suite: nothing passes, since sending in clear would betray who asked for encryption.
    Broken,
}

impl Crypto {
    /// Derives the session keys.
    pub fn new(keys: Option<&StreamCrypto>) -> Self {
        let Some(keys) = keys else { return Self::Through };
        let contexts = CryptoSuite::from_name(&keys.suite).and_then(|suite| {
            let theirs = MasterKey::new(suite, &keys.theirs).ok()?;
            let ours = MasterKey::new(suite, &keys.ours).ok()?;
            let mode = SrtcpMode::Encrypted;
            Some(Self::Terminated(Box::new((Unprotector::new(&theirs, mode), Protector::new(&ours, mode)))))
        });
        contexts.unwrap_or_else(|| {
            tracing::error!(suite = %keys.suite.escape_debug(), "SRTP keys do not fit their suite: stream is silent");
            Self::Broken
        })
    }

    /// Opens the packet that is all of `packet` and returns its new length.
    pub fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, DropReason> {
        let opened = match self {
            Self::Through => return Ok(packet.len()),
            Self::Broken => return Err(DropReason::NotAuthentic),
            Self::Terminated(contexts) => match kind {
                Kind::Media => contexts.0.unprotect_rtp(packet),
                Kind::Control => contexts.0.unprotect_rtcp(packet),
            },
        };
        opened.map_err(|_| DropReason::NotAuthentic)
    }

    /// Closes the packet that is the first `len` bytes of `buffer` and returns its new length.
    pub fn protect(&mut self, kind: Kind, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let closed = match self {
            Self::Through => return Ok(len),
            Self::Broken => return Err(DropReason::Unprotectable),
            Self::Terminated(contexts) => match kind {
                Kind::Media => contexts.1.protect_rtp(buffer, len),
                Kind::Control => contexts.1.protect_rtcp(buffer, len),
            },
        };
        closed.map_err(|_| DropReason::Unprotectable)
    }
}

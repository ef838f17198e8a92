//! SRTP that ends here: keys from signalling (RFC 4568), one context per direction.

use offhook_rtp::{
    rtp::Ssrc,
    srtp::{CryptoSuite, MasterKey, Progress, Protector, SrtcpMode, Unprotector},
};
use offhook_switch::media::{RolloverNote, StreamCrypto, StreamNote};

use super::stream::Kind;
use crate::DropReason;

/// What happens to a stream's packets between the wire and the relay.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    mode: Mode,
    /// The contexts of the keys known last, even while they rest. What they count (rollovers, SRTCP packets) must never
    /// begin anew under the same key, or two packets would be closed alike (RFC 3711 §9.1).
    contexts: Option<Box<Contexts>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Nothing: in clear, or closed from end to end.
    #[default]
    Through,
    /// SRTP on the wire, clear within.
    Terminated,
    /// Keys that fit no suite: nothing passes, since sending in clear would betray who asked for encryption.
    Broken,
}

#[derive(Debug)]
struct Contexts {
    keys: StreamCrypto,
    theirs: Unprotector,
    ours: Protector,
}

impl Crypto {
    /// Takes new keys, or none. A direction whose key stays counts on: one side may take a new key alone.
    pub fn configure(&mut self, keys: Option<&StreamCrypto>) {
        let Some(keys) = keys else {
            self.mode = Mode::Through;
            return;
        };
        let Some(suite) = CryptoSuite::from_name(&keys.suite) else { return self.refuse(keys) };
        let (Ok(theirs), Ok(ours)) = (MasterKey::new(suite, &keys.theirs), MasterKey::new(suite, &keys.ours))
        else {
            return self.refuse(keys);
        };
        self.mode = Mode::Terminated;
        let srtcp = SrtcpMode::Encrypted;
        match self.contexts.as_deref_mut().filter(|known| known.keys.suite == keys.suite) {
            Some(known) => {
                if known.keys.theirs != keys.theirs {
                    known.theirs = Unprotector::new(&theirs, srtcp);
                }
                if known.keys.ours != keys.ours {
                    known.ours = Protector::new(&ours, srtcp);
                }
                known.keys = keys.clone();
            }
            None => {
                let (theirs, ours) = (Unprotector::new(&theirs, srtcp), Protector::new(&ours, srtcp));
                self.contexts = Some(Box::new(Contexts { keys: keys.clone(), theirs, ours }));
            }
        }
    }

    /// Goes on where another process has been under these keys.
    pub fn resume(&mut self, note: &StreamNote) {
        let Some(contexts) = self.contexts.as_deref_mut() else { return };
        contexts.theirs.resume(&progress(&note.received), &progress(&note.control_received));
        contexts.ours.resume(&progress(&note.sent), &progress(&note.control_sent));
    }

    /// Whether it is time to note how far the keys have come.
    pub fn is_note_due(&self) -> bool {
        self.contexts.as_deref().is_some_and(|known| known.theirs.is_note_due() || known.ours.is_note_due())
    }

    /// Notes how far the keys have come.
    pub fn note(&mut self, note: &mut StreamNote) {
        let Some(contexts) = self.contexts.as_deref_mut() else { return };
        let (received, control_received) = contexts.theirs.note_progress();
        let (sent, control_sent) = contexts.ours.note_progress();
        (note.received, note.control_received) = (notes(received), notes(control_received));
        (note.sent, note.control_sent) = (notes(sent), notes(control_sent));
    }

    /// True if packets cross as they are.
    pub fn is_through(&self) -> bool {
        self.mode == Mode::Through
    }

    fn refuse(&mut self, keys: &StreamCrypto) {
        tracing::error!(suite = %keys.suite.escape_debug(), "SRTP keys do not fit their suite: stream is silent");
        self.mode = Mode::Broken;
    }

    /// Opens the packet that is all of `packet` and returns its new length.
    pub fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, DropReason> {
        let opened = match (&self.mode, &mut self.contexts) {
            (Mode::Through, _) => return Ok(packet.len()),
            (Mode::Terminated, Some(contexts)) => match kind {
                Kind::Media => contexts.theirs.unprotect_rtp(packet),
                Kind::Control => contexts.theirs.unprotect_rtcp(packet),
            },
            _ => return Err(DropReason::NotAuthentic),
        };
        opened.map_err(|_| DropReason::NotAuthentic)
    }

    /// Closes the packet that is the first `len` bytes of `buffer` and returns its new length.
    pub fn protect(&mut self, kind: Kind, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let closed = match (&self.mode, &mut self.contexts) {
            (Mode::Through, _) => return Ok(len),
            (Mode::Terminated, Some(contexts)) => match kind {
                Kind::Media => contexts.ours.protect_rtp(buffer, len),
                Kind::Control => contexts.ours.protect_rtcp(buffer, len),
            },
            _ => return Err(DropReason::Unprotectable),
        };
        closed.map_err(|_| DropReason::Unprotectable)
    }
}

fn progress(notes: &[RolloverNote]) -> Vec<Progress> {
    notes.iter().map(|note| Progress { ssrc: Ssrc(note.ssrc), index: note.index }).collect()
}

fn notes(progress: Vec<Progress>) -> Vec<RolloverNote> {
    progress.into_iter().map(|Progress { ssrc, index }| RolloverNote { ssrc: ssrc.0, index }).collect()
}

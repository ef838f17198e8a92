//! SRTP that ends here: keys from signalling (RFC 4568), one context per direction.

use offhook_rtp::{
    rtp::Ssrc,
    srtp::{Progress, Protector, SrtcpMode, Unprotector},
};
use offhook_switch::media::{RolloverNote, StreamCrypto, StreamNote};

use super::stream::Kind;
use crate::DropReason;

/// What happens to a stream's packets between the wire and the relay.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    /// Whether SRTP on the wire is clear within. Else packets cross as they are: in clear, or closed from end to end.
    terminates: bool,
    /// The contexts of the keys known last, even while they rest. What they count (rollovers, SRTCP packets) must never
    /// begin anew under the same key, or two packets would be closed alike (RFC 3711 §9.1).
    contexts: Option<Box<Contexts>>,
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
        self.terminates = keys.is_some();
        let Some(keys) = keys else { return };
        let srtcp = SrtcpMode::Encrypted;
        match &mut self.contexts {
            Some(known) => {
                if known.keys.theirs != keys.theirs {
                    known.theirs = Unprotector::new(&keys.theirs, srtcp);
                }
                if known.keys.ours != keys.ours {
                    known.ours = Protector::new(&keys.ours, srtcp);
                }
                known.keys = keys.clone();
            }
            unknown => {
                let (theirs, ours) =
                    (Unprotector::new(&keys.theirs, srtcp), Protector::new(&keys.ours, srtcp));
                *unknown = Some(Box::new(Contexts { keys: keys.clone(), theirs, ours }));
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
        !self.terminates
    }

    fn working(&mut self) -> Option<&mut Contexts> {
        self.contexts.as_deref_mut().filter(|_| self.terminates)
    }

    /// Opens the packet that is all of `packet` and returns its new length.
    pub fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, DropReason> {
        let Some(contexts) = self.working() else { return Ok(packet.len()) };
        let opened = match kind {
            Kind::Media => contexts.theirs.unprotect_rtp(packet),
            Kind::Control => contexts.theirs.unprotect_rtcp(packet),
        };
        opened.map_err(|_| DropReason::NotAuthentic)
    }

    /// Closes the packet that is the first `len` bytes of `buffer` and returns its new length.
    pub fn protect(&mut self, kind: Kind, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let Some(contexts) = self.working() else { return Ok(len) };
        let closed = match kind {
            Kind::Media => contexts.ours.protect_rtp(buffer, len),
            Kind::Control => contexts.ours.protect_rtcp(buffer, len),
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

//! What is recorded, on its way from the media engine to whoever keeps it.
//!
//! A tape runs while somebody is there who has agreed to be recorded, and holds those only. The engine never waits for who
//! keeps it: where that one is too slow, sound is lost, and counted.

use offhook_base::UtcMillis;

use crate::{media::RoomId, record::CallId};

/// Rate of what is recorded, Hz: that of wide-band telephony.
pub const TAPE_RATE: u32 = 16_000;
/// Samples that are handed over at once: a second.
pub const TAPE_BLOCK_SAMPLES: usize = TAPE_RATE as usize;

/// A tape, by a number that is its own in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TapeId(pub u64);

/// That somebody has agreed to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// In which call.
    pub call: CallId,
    /// When.
    pub at: UtcMillis,
}

/// What happens to tapes.
#[derive(Clone, Debug)]
pub enum TapeEvent {
    /// A new one, of a room.
    Begun {
        /// Which.
        tape: TapeId,
        /// Of which room.
        room: RoomId,
    },
    /// Somebody on it has agreed to be.
    Agreed {
        /// Which.
        tape: TapeId,
        /// To what.
        consent: Consent,
    },
    /// Its next sound, at [`TAPE_RATE`].
    Sound {
        /// Which.
        tape: TapeId,
        /// At most [`TAPE_BLOCK_SAMPLES`].
        samples: Sound,
    },
    /// Nobody is left on it.
    Ended {
        /// Which.
        tape: TapeId,
    },
}

/// What people have said: it prints as its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sound(pub Vec<i16>);

impl std::fmt::Debug for Sound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sound({} samples)", self.0.len())
    }
}

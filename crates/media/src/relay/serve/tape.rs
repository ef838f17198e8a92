//! What is said in a room, handed over a second at a time to whoever keeps it.
//!
//! Only what members say who have agreed to it comes here ([`Room`](super::room::Room)).

use std::sync::mpsc::SyncSender;

use offhook_switch::{
    media::RoomId,
    tape::{Consent, Sound, TAPE_BLOCK_SAMPLES, TapeEvent, TapeId},
};

/// Where tapes go. Nothing here waits: what finds no room is lost, and counted.
#[derive(Debug, Default)]
pub struct Tapes {
    keeper: Option<SyncSender<TapeEvent>>,
    begun: u64,
    lost: u64,
}

impl Tapes {
    /// To be kept by whoever listens at the other end.
    pub const fn new(keeper: SyncSender<TapeEvent>) -> Self {
        Self { keeper: Some(keeper), begun: 0, lost: 0 }
    }

    /// What was lost since the start.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn tell(&mut self, event: TapeEvent) -> bool {
        let told = self.keeper.as_ref().is_some_and(|keeper| keeper.try_send(event).is_ok());
        self.lost += u64::from(!told);
        told
    }

    /// A new tape; `None` if nobody keeps it.
    pub fn begin(&mut self, room: &RoomId) -> Option<Tape> {
        self.begun += 1;
        let id = TapeId(self.begun);
        let told = self.tell(TapeEvent::Begun { tape: id, room: room.clone() });
        told.then(|| Tape { id, block: Vec::with_capacity(TAPE_BLOCK_SAMPLES) })
    }
}

/// A tape that runs.
#[derive(Debug)]
pub struct Tape {
    id: TapeId,
    block: Vec<i16>,
}

impl Tape {
    /// Somebody on it has agreed. False: that could not be noted, and so it may not be recorded.
    pub fn agree(&self, tapes: &mut Tapes, consent: Consent) -> bool {
        tapes.tell(TapeEvent::Agreed { tape: self.id, consent })
    }

    /// Takes the next sound.
    pub fn write(&mut self, tapes: &mut Tapes, samples: impl Iterator<Item = i16>) {
        self.block.extend(samples);
        if self.block.len() >= TAPE_BLOCK_SAMPLES {
            self.flush(tapes);
        }
    }

    /// The next block is new memory, once a second: the full one belongs to the keeper.
    fn flush(&mut self, tapes: &mut Tapes) {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(TAPE_BLOCK_SAMPLES));
        tapes.tell(TapeEvent::Sound { tape: self.id, samples: Sound(block) });
    }

    /// Nobody is left on it. A keeper that does not hear of it misses its sound.
    pub fn end(mut self, tapes: &mut Tapes) {
        if !self.block.is_empty() {
            self.flush(tapes);
        }
        tapes.tell(TapeEvent::Ended { tape: self.id });
    }
}

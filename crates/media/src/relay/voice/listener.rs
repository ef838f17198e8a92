//! What a leg says, decoded: one continuous sound out of packets that may be lost, late or repeated.
//!
//! What comes in order is decoded when it comes. The phone at the other end has a jitter buffer, and a second one on the way
//! would only add delay: what is missing is concealed as soon as a later packet shows it, unless this network has been seen
//! to reorder packets ([`Hold`]). What comes after its place was filled is left out. The sender's clock stays in force, so
//! that its drift is corrected where sound is played.

use offhook_base::Instant;
use offhook_codec::{Decoder, voice::PACKET_MS_MAX};
use offhook_rtp::rtp::{Header, Ssrc};

use super::hold::Hold;

/// A packet so many numbers behind is late; one further behind begins a new count.
const LATE_FROM: i16 = -200;
/// Packets that may be missing in a row before the sender is taken to have begun anew.
const LOST_PACKETS_MAX: i16 = 200;
/// Longest pause between two packets, s. Beyond it the sender is taken to have begun anew.
const PAUSE_SECS_MAX: u32 = 600;

/// Where the stream stands.
#[derive(Clone, Copy, Debug)]
struct Position {
    ssrc: Ssrc,
    /// The next packet's number and time, if nothing is lost.
    sequence: u16,
    timestamp: u32,
}

impl Position {
    /// The next packet's number is at least `sequence`.
    const fn count_to(&mut self, sequence: u16) {
        if sequence.wrapping_sub(self.sequence) as i16 > 0 {
            self.sequence = sequence;
        }
    }
}

/// What lies between two packets.
#[derive(Clone, Copy, Debug, Default)]
struct Skipped {
    packets: u16,
    /// In units of the sender's clock.
    time: u32,
}

/// Where a packet belongs.
enum Place {
    /// Its place is behind what was heard.
    Late,
    /// This lies before it.
    Ahead(Skipped),
    /// The sender has begun a new count.
    Anew,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its sound is there; before it the sender said nothing for so long, in units of its clock.
    Sound {
        /// The pause.
        pause: u32,
    },
    /// It waits for one before it.
    Held,
    /// It is late, a repeat, or none of this codec.
    Useless,
}

/// The decoder of one stream, with its place in it.
#[derive(Debug)]
pub struct Listener {
    decoder: Decoder,
    clock_rate: u32,
    position: Option<Position>,
    hold: Hold,
    sound: Vec<i16>,
}

impl Listener {
    /// For packets whose RTP clock is `clock_rate`, Hz.
    pub fn new(decoder: Decoder, clock_rate: u32) -> Self {
        // A loss of the longest length, and the packet after it.
        let room = (2 * PACKET_MS_MAX * decoder.rate() / 1000) as usize;
        Self { decoder, clock_rate, position: None, hold: Hold::default(), sound: Vec::with_capacity(room) }
    }

    /// Rate of the sound, Hz.
    pub const fn rate(&self) -> u32 {
        self.decoder.rate()
    }

    /// RTP clock, Hz.
    pub const fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The sound of the last packet, with what was concealed before it.
    pub fn sound(&self) -> &[i16] {
        &self.sound
    }

    /// The time of the next packet, in the sender's clock, once there was one.
    pub fn timestamp(&self) -> Option<u32> {
        self.position.map(|position| position.timestamp)
    }

    /// Takes a packet.
    pub fn hear(&mut self, header: &Header<'_>, payload: &[u8], now: Instant) -> Heard {
        let (ssrc, sequence, timestamp) = (header.ssrc(), header.sequence_number().0, header.timestamp().0);
        if self.decoder.samples_in(payload).is_none() {
            return Heard::Useless;
        }
        match self.place(ssrc, sequence, timestamp) {
            Place::Late => {
                self.hold.came_late(sequence, now);
                Heard::Useless
            }
            Place::Anew => {
                self.hold.clear();
                self.decode((ssrc, sequence, timestamp), Skipped::default(), payload)
            }
            Place::Ahead(skipped) => {
                // Whatever is missing beyond that is a pause, and nothing is worth waiting for.
                let is_gap = skipped.packets > 0 && (1..=self.concealed_max()).contains(&skipped.time);
                if !self.hold.is_empty() && skipped.packets > 0 || is_gap && self.hold.is_patient() {
                    let is_new = self.hold.keep(sequence, timestamp, payload, now);
                    return if is_new { Heard::Held } else { Heard::Useless };
                }
                if is_gap {
                    self.hold.conceals(sequence.wrapping_sub(skipped.packets), skipped.packets, now);
                }
                self.decode((ssrc, sequence, timestamp), skipped, payload)
            }
        }
    }

    /// Goes on with a packet that has waited long enough; `None` if there is none.
    pub fn next_held(&mut self, now: Instant) -> Option<Heard> {
        let Position { ssrc, sequence: expected, .. } = self.position?;
        let held = self.hold.next(expected, now)?;
        let skipped = match self.place(ssrc, held.sequence, held.timestamp) {
            Place::Ahead(skipped) => skipped,
            // A key that was pressed meanwhile has counted on.
            Place::Late | Place::Anew => Skipped::default(),
        };
        let heard = self.decode((ssrc, held.sequence, held.timestamp), skipped, &held.payload);
        self.hold.recycle(held);
        if let Some(position) = &mut self.position {
            position.count_to(expected);
        }
        Some(heard)
    }

    /// Whether a packet waits.
    pub fn holds(&self) -> bool {
        !self.hold.is_empty()
    }

    /// Where a packet belongs.
    fn place(&self, ssrc: Ssrc, sequence: u16, timestamp: u32) -> Place {
        let Some(position) = self.position.filter(|position| position.ssrc == ssrc) else {
            return Place::Anew;
        };
        let ahead = sequence.wrapping_sub(position.sequence) as i16;
        let time = timestamp.wrapping_sub(position.timestamp);
        match ahead {
            0..LOST_PACKETS_MAX if time < PAUSE_SECS_MAX * self.clock_rate => {
                Place::Ahead(Skipped { packets: ahead as u16, time })
            }
            LATE_FROM..0 => Place::Late,
            _ => Place::Anew,
        }
    }

    /// The longest that is concealed, in units of the clock. More is silence by any means of concealing, and may as well
    /// be a pause.
    const fn concealed_max(&self) -> u32 {
        PACKET_MS_MAX * self.clock_rate / 1000
    }

    fn decode(
        &mut self,
        (ssrc, sequence, timestamp): (Ssrc, u16, u32),
        skipped: Skipped,
        payload: &[u8],
    ) -> Heard {
        self.sound.clear();
        let concealed = if skipped.packets > 0 { skipped.time.min(self.concealed_max()) } else { 0 };
        let samples = u64::from(concealed) * u64::from(self.rate()) / u64::from(self.clock_rate);
        if samples > 0 {
            self.decoder.conceal(samples as usize, Some(payload), &mut self.sound);
        }
        let before = self.sound.len();
        if self.decoder.decode(payload, &mut self.sound).is_err() {
            return Heard::Useless;
        }
        let samples = (self.sound.len() - before) as u64;
        let units = (samples * u64::from(self.clock_rate) / u64::from(self.rate())) as u32;
        let (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(units));
        self.position = Some(Position { ssrc, sequence, timestamp });
        Heard::Sound { pause: skipped.time - concealed }
    }

    /// Takes note of a packet that holds no sound of the codec: a key, or comfort noise.
    pub fn skip(&mut self, header: &Header<'_>) {
        if let Some(position) = self.position.as_mut().filter(|position| position.ssrc == header.ssrc()) {
            position.count_to(header.sequence_number().0.wrapping_add(1));
        }
    }
}

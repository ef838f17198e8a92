//! What a leg says, decoded: one continuous sound out of packets that may be lost, late or repeated.
//!
//! Nothing waits here. The phone at the other end has a jitter buffer, and a second one on the way would only add delay: each
//! packet is decoded when it comes, what is missing before it is concealed in the same moment, and what comes too late is
//! left out, since its place has been filled.

use offhook_codec::{Decoder, voice::PACKET_MS_MAX};
use offhook_rtp::rtp::{Header, Ssrc};

/// A packet so many numbers behind is late; one further behind begins a new count.
const LATE_PACKETS_MAX: i16 = 200;
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

/// What a packet brought, beside its sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Time before the sound in which the sender said nothing, in units of its clock.
    pub pause: u32,
    /// The sender has begun a new count.
    pub anew: bool,
}

/// The decoder of one stream, with its place in it.
#[derive(Debug)]
pub struct Listener {
    decoder: Decoder,
    clock_rate: u32,
    position: Option<Position>,
    sound: Vec<i16>,
}

impl Listener {
    /// For packets whose RTP clock is `clock_rate`, Hz.
    pub fn new(decoder: Decoder, clock_rate: u32) -> Self {
        // A loss of the longest length, and the packet after it.
        let room = (2 * PACKET_MS_MAX * decoder.rate() / 1000) as usize;
        Self { decoder, clock_rate, position: None, sound: Vec::with_capacity(room) }
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

    /// Decodes a packet; `None` if it is late, a repeat, or none of this codec.
    pub fn hear(&mut self, header: &Header<'_>, payload: &[u8]) -> Option<Heard> {
        let samples = self.decoder.samples_in(payload)?;
        self.sound.clear();
        let (sequence, timestamp) = (header.sequence_number().0, header.timestamp().0);
        let known = self.position.filter(|position| position.ssrc == header.ssrc());
        let mut heard = Heard { pause: 0, anew: true };
        if let Some(position) = known {
            let ahead = sequence.wrapping_sub(position.sequence) as i16;
            if (-LATE_PACKETS_MAX..0).contains(&ahead) {
                return None;
            }
            let missing = timestamp.wrapping_sub(position.timestamp);
            if (0..LOST_PACKETS_MAX).contains(&ahead) && missing < PAUSE_SECS_MAX * self.clock_rate {
                let concealed = if ahead > 0 { self.conceal(missing, payload) } else { 0 };
                heard = Heard { pause: missing - concealed, anew: false };
            }
        }
        self.decoder.decode(payload, &mut self.sound).ok()?;
        let units = (samples as u64 * u64::from(self.clock_rate) / u64::from(self.rate())) as u32;
        self.position = Some(Position {
            ssrc: header.ssrc(),
            sequence: sequence.wrapping_add(1),
            timestamp: timestamp.wrapping_add(units),
        });
        Some(heard)
    }

    /// Fills `missing` units of the clock, as far as concealing reaches; how many it filled.
    fn conceal(&mut self, missing: u32, next: &[u8]) -> u32 {
        // More is silence by any means of concealing, and may as well be a pause.
        let units = missing.min(PACKET_MS_MAX * self.clock_rate / 1000);
        let samples = u64::from(units) * u64::from(self.rate()) / u64::from(self.clock_rate);
        self.decoder.conceal(samples as usize, Some(next), &mut self.sound);
        units
    }

    /// Takes note of a packet that holds no sound of the codec: a key, or comfort noise.
    pub fn skip(&mut self, header: &Header<'_>) {
        if let Some(position) = self.position.as_mut().filter(|position| position.ssrc == header.ssrc()) {
            let next = header.sequence_number().0.wrapping_add(1);
            if (next.wrapping_sub(position.sequence) as i16) > 0 {
                position.sequence = next;
            }
        }
    }
}

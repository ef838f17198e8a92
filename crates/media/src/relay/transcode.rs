//! Streams that are transcoded, as the engine sees them: what comes in, what goes out, what waits.

use std::net::SocketAddr;

use offhook_base::Instant;
use offhook_switch::media::{EndpointId, Key};

use super::{
    Component, PortId, Relay, Verdict, note_if_due,
    stream::{Kind, Stream},
    voice::Recoded,
};
use crate::DropReason;

/// Shortest and longest press that is made, ms: what every receiver finds (ITU-T Q.24), and what nobody needs.
const KEY_MS_MIN: u32 = 60;
const KEY_MS_MAX: u32 = 5000;

impl Relay {
    /// As [`Relay::handle_packet`], where the sides share no codec.
    pub(super) fn transcode(
        &mut self,
        port: PortId,
        partner: usize,
        kind: Kind,
        (buffer, len): (&mut [u8], usize),
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let (from, to) = self.pair(port, partner).ok_or(DropReason::Unbridged)?;
        let waited = from.waits();
        let recoded = from.transcode(kind, to, buffer, len, now);
        let through = |component| PortId::new(partner, port.stream(), component);
        let verdict = match recoded {
            Recoded::Said => Ok(Verdict::Say { through: through(Component::Rtp) }),
            Recoded::Written(len) => to
                .transmit(kind, buffer, len, now)
                .map(|(component, to, len)| Verdict::Forward { through: through(component), to, len }),
            Recoded::Nothing => Err(DropReason::Unplayable),
        };
        let (waits, is_note_due) = (from.waits() && !waited, to.is_note_due());
        if waits {
            self.waiting.push(port);
        }
        if is_note_due && !self.notes_due.contains(&partner) {
            self.notes_due.push(partner);
        }
        verdict
    }

    /// The streams of `port` and of the endpoint in the slot `partner`.
    fn pair(&mut self, port: PortId, partner: usize) -> Option<(&mut Stream, &mut Stream)> {
        let [Some(from), Some(to)] = self.slots.get_disjoint_mut([port.slot(), partner]).ok()? else {
            return None;
        };
        Some((from.streams.get_mut(port.stream())?, to.streams.get_mut(port.stream())?))
    }

    /// The next packet that a transcoded stream has for the leg of `through`, written into `buffer`: where to, and its length.
    /// `None` when all are taken.
    pub fn next_voice_packet(
        &mut self,
        through: PortId,
        buffer: &mut [u8],
        now: Instant,
    ) -> Option<Result<(SocketAddr, usize), DropReason>> {
        let stream = self.slots.get_mut(through.slot())?.as_mut()?.streams.get_mut(through.stream())?;
        let len = stream.next_voice_packet(buffer)?;
        let sent = stream.transmit(Kind::Media, buffer, len, now);
        note_if_due(&mut self.notes_due, through.slot(), stream);
        Some(sent.map(|(_, to, len)| (to, len)))
    }

    /// Presses a key towards a leg that is transcoded, in place of what is said to it in the next `ms`. Nothing happens to
    /// others: what is said to them is not ours.
    pub fn press(&mut self, id: EndpointId, key: Key, ms: u32) {
        let Some(endpoint) = self.by_id.get(&id).and_then(|slot| self.slots[*slot].as_mut()) else { return };
        let stream = endpoint.spoken_stream();
        if let Some(voice) = stream.and_then(|stream| endpoint.streams[stream].voice_mut()) {
            voice.press(key, ms.clamp(KEY_MS_MIN, KEY_MS_MAX));
        }
    }

    /// Tells of a second in which the thread was busy for this share of it. Encoders try less hard where it has little time
    /// left; how hard now.
    pub fn note_busy(&mut self, busy: f64) -> u8 {
        let effort = self.effort.after(busy);
        if effort != self.effort {
            self.effort = effort;
            let endpoints = self.slots.iter_mut().flatten();
            endpoints
                .flat_map(|endpoint| &mut endpoint.streams)
                .for_each(|stream| stream.set_effort(effort.level()));
        }
        effort.level()
    }

    /// Whether packets wait for others before them: [`Relay::go_on`] wants to be called every few ms.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Goes on with packets that have waited long enough. `say` is told of each port that
    /// [`next_voice_packet`](Self::next_voice_packet) may have packets for.
    pub fn go_on(&mut self, now: Instant, mut say: impl FnMut(PortId)) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|port| {
            let partner = self.slots.get(port.slot()).and_then(|slot| slot.as_ref()?.partner);
            let Some(partner) = partner else { return false };
            let Some((from, to)) = self.pair(*port, partner) else { return false };
            from.go_on(to, now);
            let waits = from.waits();
            say(PortId::new(partner, port.stream(), Component::Rtp));
            waits
        });
        self.waiting = waiting;
    }
}

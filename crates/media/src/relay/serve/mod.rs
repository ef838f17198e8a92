//! Legs that the node itself talks with: what they say is heard here, and what they hear is made here, a frame at each beat.
//!
//! The packets of such a leg have no partner to go to. Its [`Voice`] decodes them for whoever listens, and sends what is said
//! to it; the beat is the clock by which that goes.

mod player;
mod room;
mod tape;

use offhook_base::Instant;
use offhook_codec::KeyDetector;
use offhook_rtp::telephone_event::{EventFact, Tracker};
use offhook_switch::{
    media::{Act, EndpointId, EventsConfig, Key, MediaEvent, RoomId},
    tape::Consent,
};

use self::{
    player::Player,
    room::{MEMBERS_MAX, Member, Seat},
};
pub(super) use self::{room::Room, tape::Tapes};
use super::{
    Component, Endpoint, PortId, Relay, Verdict,
    stream::Kind,
    voice::{Heed, Voice},
};
use crate::{DropReason, sounds::SOUND_RATE};

/// Time between two beats, ms.
pub const BEAT_MS: u64 = 20;
/// Samples of a frame.
const FRAME: usize = (SOUND_RATE as u64 * BEAT_MS / 1000) as usize;
/// Events that wait to be told. They are told after each batch of packets; more come only of an attack, and are left out.
const EVENTS_MAX: usize = 1024;

/// What the node does for a leg.
#[derive(Debug)]
pub(super) struct Served {
    /// The source that the leg hears.
    source: u32,
    /// That source was heard already.
    has_spoken: bool,
    doing: Doing,
    keys: Keys,
}

#[derive(Debug)]
enum Doing {
    Listening,
    Echo,
    Playing(Player),
    Seated(Box<Seat>),
}

/// How keys are heard: as events where the leg has agreed to them, in the sound otherwise. One that sends both is heard once.
#[derive(Debug)]
enum Keys {
    /// Not known before the leg is configured.
    Unknown,
    Events(EventsConfig, Tracker),
    Sound(u32, KeyDetector),
}

impl Keys {
    /// Follows what was agreed on with the leg.
    fn follow(&mut self, voice: &Voice) {
        let config = voice.config();
        match (config.events, &self) {
            (Some(events), Self::Events(known, _)) if *known == events => {}
            (None, Self::Sound(rate, _)) if *rate == config.rate => {}
            (Some(events), _) => *self = Self::Events(events, Tracker::new(events.clock_rate)),
            (None, _) => {
                *self = KeyDetector::new(config.rate)
                    .map_or(Self::Unknown, |detector| Self::Sound(config.rate, detector));
            }
        }
    }

    fn hear(&mut self, heed: &Heed<'_>, now: Instant) -> Option<Key> {
        let letter = match (self, heed) {
            (Self::Events(_, tracker), Heed::Event { ssrc, marker, timestamp, event }) => {
                let facts = tracker.handle_packet(*ssrc, *marker, *timestamp, *event, now);
                facts.into_iter().find_map(|fact| match fact {
                    EventFact::Started { code, .. } => code.digit(),
                    EventFact::Ended { .. } => None,
                })
            }
            (Self::Sound(_, detector), Heed::Sound(samples)) => detector.feed(samples),
            _ => None,
        };
        letter.and_then(Key::new)
    }
}

impl Doing {
    fn hear(&mut self, heed: &Heed<'_>) {
        if let (Self::Seated(seat), Heed::Sound(sound)) = (self, heed) {
            seat.hear(sound);
        }
    }
}

impl Member for Endpoint {
    fn seat(&mut self) -> Option<(&mut Seat, &mut Voice, bool)> {
        let sends = self.streams[self.spoken_stream()?].sends();
        let (served, voice) = self.talk()?;
        match &mut served.doing {
            Doing::Seated(seat) => Some((seat, voice, sends)),
            _ => None,
        }
    }
}

impl Relay {
    /// Does something for a leg itself. Nothing happens if it is not open.
    pub fn serve(&mut self, id: EndpointId, source: u32, act: &Act) {
        let Some(&slot) = self.by_id.get(&id) else { return };
        self.part(slot);
        let left = self.stand_up(slot);
        let seat = match act {
            Act::Join { room, talks, hears, recorded } => {
                self.take_seat(slot, room, [*talks, *hears], *recorded)
            }
            _ => None,
        };
        // Not before: who only changes its seat, as a member does who mutes itself, does not end the room and its tape.
        self.close_if_empty(left);
        let Some(endpoint) = &mut self.slots[slot] else { return };
        let doing = match act {
            Act::Listen => Doing::Listening,
            Act::Echo => Doing::Echo,
            Act::Play { number, repeats, pieces } => {
                Doing::Playing(Player::new(*number, *repeats, pieces, &self.sounds))
            }
            Act::Join { .. } => match seat {
                Some(seat) => Doing::Seated(seat),
                None => {
                    note(&mut self.events, MediaEvent::Crowded { endpoint: id });
                    Doing::Listening
                }
            },
        };
        match &mut endpoint.served {
            Some(served) if served.source == source => served.doing = doing,
            served => {
                if served.is_none() {
                    self.served.push(slot);
                }
                *served = Some(Box::new(Served { source, has_spoken: false, doing, keys: Keys::Unknown }));
            }
        }
    }

    /// The node does nothing more for the leg of this slot.
    pub(super) fn dismiss(&mut self, slot: usize) {
        self.leave_room(slot);
        if self.slots[slot].as_mut().and_then(|endpoint| endpoint.served.take()).is_some() {
            self.served.retain(|served| *served != slot);
        }
    }

    /// A place in a room; `None` if there is none left, or no voice to take part with.
    fn take_seat(
        &mut self,
        slot: usize,
        id: &RoomId,
        [talks, hears]: [bool; 2],
        recorded: Option<Consent>,
    ) -> Option<Box<Seat>> {
        let endpoint = self.slots[slot].as_mut()?;
        let stream = endpoint.spoken_stream()?;
        let rate = endpoint.streams[stream].voice_mut()?.rate();
        let known = self.rooms.iter().position(|room| room.as_ref().is_some_and(|room| room.id == *id));
        let number = known.or_else(|| self.rooms.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.rooms.push(None);
            self.rooms.len() - 1
        });
        let room = self.rooms[number].get_or_insert_with(|| Room::new(id.clone()));
        if room.members.len() >= MEMBERS_MAX {
            return None;
        }
        room.members.push(slot);
        let is_recorded = recorded.is_some_and(|consent| room.record(&mut self.tapes, consent));
        Some(Box::new(Seat::new(number, talks, hears, rate).recorded(is_recorded)))
    }

    /// The leg of this slot is in no room any more; one that is empty is gone.
    fn leave_room(&mut self, slot: usize) {
        let left = self.stand_up(slot);
        self.close_if_empty(left);
    }

    /// The leg of this slot gives up its seat; the room that it was in.
    fn stand_up(&mut self, slot: usize) -> Option<usize> {
        let (seat, ..) = self.slots[slot].as_mut().and_then(Endpoint::seat)?;
        let number = seat.room;
        let room = self.rooms.get_mut(number).and_then(Option::as_mut)?;
        room.members.retain(|member| *member != slot);
        Some(number)
    }

    fn close_if_empty(&mut self, number: Option<usize>) {
        let Some(place) = number.and_then(|number| self.rooms.get_mut(number)) else { return };
        if let Some(mut room) = place.take_if(|room| room.members.is_empty()) {
            room.end_tape(&mut self.tapes);
        }
    }

    /// How many legs are in rooms.
    pub fn member_count(&self) -> usize {
        self.rooms.iter().flatten().map(|room| room.members.len()).sum()
    }

    /// Rooms that are recorded now, and blocks of sound that were lost since the start because who keeps them was too slow.
    pub fn tape_counts(&self) -> [u64; 2] {
        let recorded = self.rooms.iter().flatten().filter(|room| room.is_recorded()).count();
        [recorded as u64, self.tapes.lost()]
    }

    /// How many legs the node talks with; while there are any, [`Relay::beat`] wants to be called every [`BEAT_MS`].
    pub fn served_count(&self) -> usize {
        self.served.len()
    }

    /// The port by which the leg number `at` of those hears; `None` before its sound is agreed on.
    pub fn served_port(&self, at: usize) -> Option<PortId> {
        let slot = *self.served.get(at)?;
        let stream = self.slots.get(slot)?.as_ref()?.spoken_stream()?;
        Some(PortId::new(slot, stream, Component::Rtp))
    }

    /// Says a frame to each leg that the node talks with: [`next_voice_packet`](Self::next_voice_packet) has packets then.
    pub fn beat(&mut self, now: Instant) {
        for &slot in &self.served {
            let Some(endpoint) = &mut self.slots[slot] else { continue };
            endpoint.beat(&mut self.events, now);
        }
        for room in self.rooms.iter_mut().flatten() {
            room.beat(&mut self.slots, &mut self.tapes);
        }
    }

    /// Takes a packet of a leg that the node talks with.
    pub(super) fn attend(
        &mut self,
        port: PortId,
        kind: Kind,
        packet: &[u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let endpoint = self.slots.get_mut(port.slot()).and_then(Option::as_mut);
        let endpoint = endpoint.ok_or(DropReason::Unbridged)?;
        if kind == Kind::Control || endpoint.spoken_stream() != Some(port.stream()) {
            return Ok(Verdict::Taken);
        }
        let id = endpoint.id;
        let Some((served, voice)) = endpoint.talk() else { return Err(DropReason::Unbridged) };
        served.begin(voice);
        let is_echo = matches!(served.doing, Doing::Echo);
        let (keys, doing, events) = (&mut served.keys, &mut served.doing, &mut self.events);
        let understood = voice.attend(packet, now, is_echo, |heed| {
            doing.hear(&heed);
            if let Some(key) = keys.hear(&heed, now) {
                note(events, MediaEvent::Key { endpoint: id, key });
            }
        });
        match understood {
            true if is_echo => Ok(Verdict::Say { through: port }),
            true => Ok(Verdict::Taken),
            false => Err(DropReason::Unplayable),
        }
    }

    /// Tells what was heard and played since the last time. For the end of each batch of packets.
    pub fn tell_events(&mut self, tell: impl FnMut(MediaEvent)) {
        self.events.drain(..).for_each(tell);
    }
}

fn note(events: &mut Vec<MediaEvent>, event: MediaEvent) {
    if events.len() < EVENTS_MAX {
        events.push(event);
    }
}

impl Served {
    /// Speaks by a voice that is new: the first time by its source, after a change of codec by the next one, since the count
    /// begins anew and no key stream may be used twice (RFC 3711 §9.1).
    fn begin(&mut self, voice: &mut Voice) {
        if !voice.speaks() {
            if std::mem::replace(&mut self.has_spoken, true) {
                self.source = self.source.wrapping_add(1);
            }
            voice.speak_as(self.source);
        }
        self.keys.follow(voice);
        if let Doing::Seated(seat) = &mut self.doing {
            seat.follow(voice.rate());
        }
    }
}

impl Endpoint {
    /// The stream by which the node talks with the leg.
    pub(super) fn spoken_stream(&self) -> Option<usize> {
        self.streams.iter().position(|stream| stream.is_transcoded())
    }

    fn talk(&mut self) -> Option<(&mut Served, &mut Voice)> {
        let stream = self.spoken_stream()?;
        Some((self.served.as_mut()?, self.streams[stream].voice_mut()?))
    }

    fn beat(&mut self, events: &mut Vec<MediaEvent>, now: Instant) {
        let id = self.id;
        let sends = self.spoken_stream().is_some_and(|stream| self.streams[stream].sends());
        let Some((served, voice)) = self.talk() else { return };
        served.begin(voice);
        let is_echo = matches!(served.doing, Doing::Echo);
        let (keys, doing) = (&mut served.keys, &mut served.doing);
        // What waited for packets before it.
        voice.attend_held(now, is_echo, |heed| {
            doing.hear(&heed);
            if let Some(key) = keys.hear(&heed, now) {
                note(events, MediaEvent::Key { endpoint: id, key });
            }
        });
        if !sends && !matches!(served.doing, Doing::Seated(_)) {
            // On hold: what was being said goes on afterwards.
            return voice.rest(BEAT_MS as u32);
        }
        let mut frame = [0; FRAME];
        match &mut served.doing {
            Doing::Listening => voice.say(&frame, SOUND_RATE),
            // It speaks when the leg does, or the room.
            Doing::Echo | Doing::Seated(_) => {}
            Doing::Playing(player) => {
                let goes_on = player.fill(&mut frame);
                voice.say(&frame, SOUND_RATE);
                if !goes_on {
                    note(events, MediaEvent::Played { endpoint: id, number: player.number });
                    served.doing = Doing::Listening;
                }
            }
        }
    }
}

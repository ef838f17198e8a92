//! The relay's decisions, without its sockets: packets and commands in, verdicts out. The engine runs it on real
//! ports, tests on a virtual clock.
//!
//! Endpoints live in a slab, streams within their endpoint; a port's number ([`PortId`]) is its place, so finding what
//! a packet belongs to takes no search. A packet is opened, counted, and closed again for the partner where it lies.

mod carry;
mod crypto;
mod effort;
pub mod latch;
mod payloads;
mod serve;
mod stream;
mod transcode;
mod voice;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use offhook_base::Instant;
pub use offhook_rtp::srtp::OVERHEAD_MAX;
use offhook_switch::{
    media::{EndpointId, MediaEvent, STREAMS_MAX, StreamConfig, StreamNote, StreamQuality},
    tape::TapeEvent,
};

use crate::{DropReason, prefetch::prefetch, sounds::Sounds};
pub use carry::{CARRIED_PAYLOAD_TYPES, CarriedPayload, Course, Tally};
use effort::Effort;
pub use serve::BEAT_MS;
use serve::{Room, Served, Tapes};
use stream::{Received, Stream};

/// Which of a pair's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The even one; under rtcp-mux RTCP too.
    Rtp,
    /// The odd one.
    Rtcp,
}

/// A port by its place: endpoint, stream, component. Reused after its endpoint closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortId(u32);

/// Ports per endpoint, used or not: places are cheap and the arithmetic stays a shift.
const PORTS_PER_ENDPOINT: u32 = 2 * STREAMS_MAX as u32;

impl PortId {
    /// The port of a stream of the endpoint in this slot.
    fn new(slot: usize, stream: usize, component: Component) -> Self {
        Self(slot as u32 * PORTS_PER_ENDPOINT + 2 * stream as u32 + u32::from(component == Component::Rtcp))
    }

    /// For a table of ports: dense from zero, as many as there are endpoints times 16.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Back from [`PortId::index`].
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    pub(crate) const fn slot(self) -> usize {
        (self.0 / PORTS_PER_ENDPOINT) as usize
    }

    pub(crate) const fn stream(self) -> usize {
        (self.0 % PORTS_PER_ENDPOINT / 2) as usize
    }

    pub(crate) const fn component(self) -> Component {
        if self.0.is_multiple_of(2) { Component::Rtp } else { Component::Rtcp }
    }
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the first `len` bytes of the buffer through that port.
    Forward {
        /// The partner's port.
        through: PortId,
        /// Where to.
        to: SocketAddr,
        /// How much.
        len: usize,
    },
    /// Send the first `len` bytes of the buffer, a STUN answer now, back to where the datagram came from.
    Answer {
        /// How much.
        len: usize,
    },
    /// Its sound was taken: send what [`Relay::next_voice_packet`] gives for that port.
    Say {
        /// The partner's port.
        through: PortId,
    },
    /// Nothing: it was for the node itself.
    Taken,
    /// Nothing.
    Drop(DropReason),
}

#[derive(Debug)]
struct Endpoint {
    id: EndpointId,
    streams: Vec<Stream>,
    /// The slot of whom it is joined with.
    partner: Option<usize>,
    /// What the node does for it, where it is joined with nobody.
    served: Option<Box<Served>>,
    /// Since when silence counts: the bridge, or a description that was new.
    silent_since: Instant,
    told_silent: bool,
}

/// All endpoints of one media thread.
#[derive(Debug, Default)]
pub struct Relay {
    slots: Vec<Option<Endpoint>>,
    free: Vec<usize>,
    by_id: BTreeMap<EndpointId, usize>,
    silence: Option<Duration>,
    /// RTP ports of transcoded streams whose packets wait for others before them.
    waiting: Vec<PortId>,
    /// Slots of endpoints that another process would have to know more of than was noted.
    notes_due: Vec<usize>,
    effort: Effort,
    /// Slots of legs that the node talks with itself.
    served: Vec<usize>,
    /// What is to be told of them.
    events: Vec<MediaEvent>,
    sounds: Arc<Sounds>,
    tapes: Tapes,
    /// Rooms by number; a place that is free is taken by the next.
    rooms: Vec<Option<Room>>,
}

impl Relay {
    /// An empty one. `silence`: how long a bridge may be silent both ways before it is told of; none never tells.
    pub fn new(silence: Option<Duration>) -> Self {
        Self { silence, ..Self::default() }
    }

    /// The same, with what it can play.
    pub fn with_sounds(self, sounds: Arc<Sounds>) -> Self {
        Self { sounds, ..self }
    }

    /// The same, with whom to give what is recorded. Without one nothing is.
    pub fn with_keeper(self, keeper: Option<SyncSender<TapeEvent>>) -> Self {
        Self { tapes: keeper.map(Tapes::new).unwrap_or_default(), ..self }
    }

    /// Opens an endpoint with `streams` streams, or grows it to as many. The ports by stream: RTP, RTCP.
    pub fn open(&mut self, id: EndpointId, streams: usize, now: Instant) -> Vec<[PortId; 2]> {
        let slot = self.by_id.get(&id).copied().unwrap_or_else(|| {
            let endpoint = Endpoint::new(id, now);
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            self.slots[slot] = Some(endpoint);
            self.by_id.insert(id, slot);
            slot
        });
        let Some(endpoint) = &mut self.slots[slot] else { return Vec::new() };
        let wanted = streams.min(STREAMS_MAX).max(endpoint.streams.len());
        // Just as many: room for growth would take more than the one stream that most endpoints ever have.
        endpoint.streams.reserve_exact(wanted - endpoint.streams.len());
        endpoint.streams.resize_with(wanted, Stream::default);
        (0..wanted)
            .map(|stream| [Component::Rtp, Component::Rtcp].map(|half| PortId::new(slot, stream, half)))
            .collect()
    }

    /// The RTP port of an endpoint's first stream.
    pub fn first_port(&self, id: EndpointId) -> Option<PortId> {
        Some(PortId::new(*self.by_id.get(&id)?, 0, Component::Rtp))
    }

    /// Tells what has to be noted of endpoints since the last time: seldom anything. For the end of each batch of packets.
    pub fn tell_notes(&mut self, mut tell: impl FnMut(MediaEvent)) {
        while let Some(slot) = self.notes_due.pop() {
            let Some(endpoint) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            let notes = endpoint.streams.iter_mut().map(Stream::note).collect();
            tell(MediaEvent::Noted { endpoint: endpoint.id, notes });
        }
    }

    /// Takes over what another process had noted of an endpoint's streams, before their descriptions come.
    pub fn recall(&mut self, id: EndpointId, notes: &[StreamNote]) {
        let slot = self.by_id.get(&id).copied();
        let Some(endpoint) = slot.and_then(|slot| self.slots[slot].as_mut()) else { return };
        for (stream, note) in endpoint.streams.iter_mut().zip(notes) {
            stream.recall(note.clone());
        }
    }

    /// Streams of an endpoint; zero if it is not open.
    pub fn stream_count(&self, id: EndpointId) -> usize {
        self.endpoint(id).map_or(0, |endpoint| endpoint.streams.len())
    }

    /// Endpoints open now.
    pub fn endpoint_count(&self) -> usize {
        self.by_id.len()
    }

    /// Takes a new description of an endpoint's other end; a stream it does not mention falls silent.
    pub fn configure(&mut self, id: EndpointId, streams: Vec<StreamConfig>, now: Instant) {
        let Some(slot) = self.by_id.get(&id).copied() else { return };
        let Some(endpoint) = &mut self.slots[slot] else { return };
        let mut configs = streams.into_iter();
        for stream in &mut endpoint.streams {
            stream.configure(configs.next().unwrap_or_default(), now);
            stream.set_effort(self.effort.level());
        }
        endpoint.silent_since = now;
        // An answer on one side starts the other side's media too.
        if let Some(partner) = endpoint.partner.and_then(|partner| self.slots[partner].as_mut()) {
            partner.streams.iter_mut().for_each(|stream| stream.learn(now));
        }
    }

    /// Joins two endpoints, each parted from its former partner first. Nothing happens if one is not open or both
    /// are the same.
    pub fn bridge(&mut self, left: EndpointId, right: EndpointId, now: Instant) {
        let (Some(&left), Some(&right)) = (self.by_id.get(&left), self.by_id.get(&right)) else { return };
        if left == right {
            return;
        }
        for slot in [left, right] {
            self.part(slot);
            self.dismiss(slot);
        }
        for (slot, partner) in [(left, right), (right, left)] {
            if let Some(endpoint) = &mut self.slots[slot] {
                endpoint.partner = Some(partner);
                endpoint.silent_since = now;
                endpoint.told_silent = false;
                endpoint.streams.iter_mut().for_each(|stream| stream.learn(now));
            }
        }
    }

    fn part(&mut self, slot: usize) {
        let partner = self.slots[slot].as_mut().and_then(|endpoint| endpoint.partner.take());
        if let Some(partner) = partner.and_then(|partner| self.slots[partner].as_mut()) {
            partner.partner = None;
        }
    }

    /// Forgets an endpoint; its report by stream. None if it is not open.
    pub fn close(&mut self, id: EndpointId) -> Option<Vec<StreamQuality>> {
        let slot = self.by_id.remove(&id)?;
        self.part(slot);
        self.dismiss(slot);
        let endpoint = self.slots[slot].take()?;
        self.free.push(slot);
        Some(endpoint.streams.iter().map(Stream::quality).collect())
    }

    /// The reports of an endpoint as they stand now.
    pub fn quality(&self, id: EndpointId) -> Option<Vec<StreamQuality>> {
        Some(self.endpoint(id)?.streams.iter().map(Stream::quality).collect())
    }

    fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.slots.get(*self.by_id.get(&id)?)?.as_ref()
    }

    /// Decides on the datagram that is the first `len` bytes of `buffer`, which came to `port` from `source`. The
    /// buffer needs [`OVERHEAD_MAX`] bytes to spare where SRTP goes out; it holds what to send afterwards. Constant
    /// time, no allocation.
    pub fn handle_packet(
        &mut self,
        port: PortId,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Verdict {
        self.try_packet(port, source, buffer, len, now).unwrap_or_else(Verdict::Drop)
    }

    fn try_packet(
        &mut self,
        port: PortId,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let len = len.min(buffer.len());
        let endpoint = self.slots.get_mut(port.slot()).and_then(Option::as_mut);
        let endpoint = endpoint.ok_or(DropReason::Unbridged)?;
        let stream = endpoint.streams.get_mut(port.stream()).ok_or(DropReason::Unbridged)?;
        let (partner, is_served) = (endpoint.partner, endpoint.served.is_some());
        let received = stream.receive(port.component(), source, buffer, len, now);
        note_if_due(&mut self.notes_due, port.slot(), stream);
        let (kind, len) = match received? {
            Received::Pass(kind, len) => (kind, len),
            Received::Answer(len) => return Ok(Verdict::Answer { len }),
        };
        if is_served {
            return self.attend(port, kind, &buffer[..len], now);
        }
        let slot = partner.ok_or(DropReason::Unbridged)?;
        if stream.is_transcoded() {
            return self.transcode(port, slot, kind, (buffer, len), now);
        }
        let partner = self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(DropReason::Unbridged)?;
        let stream = partner.streams.get_mut(port.stream()).ok_or(DropReason::Unbridged)?;
        let (component, to, len) = stream.transmit(kind, buffer, len, now)?;
        note_if_due(&mut self.notes_due, slot, stream);
        Ok(Verdict::Forward { through: PortId::new(slot, port.stream(), component), to, len })
    }

    /// Asks for the memory where a packet of `port` will find its endpoint.
    pub fn prefetch_endpoint(&self, port: PortId) {
        if let Some(endpoint) = self.slots.get(port.slot()) {
            prefetch(endpoint);
        }
    }

    /// Asks for what else it will need; the partner's port that it will most likely leave by.
    pub fn prefetch_streams(&self, port: PortId) -> Option<PortId> {
        let endpoint = self.slots.get(port.slot())?.as_ref()?;
        prefetch(endpoint.streams.get(port.stream())?);
        let slot = endpoint.partner?;
        prefetch(self.slots.get(slot)?.as_ref()?.streams.get(port.stream())?);
        Some(PortId::new(slot, port.stream(), port.component()))
    }

    /// Whom an RTP port listens to, once somebody was heard.
    pub fn source(&self, port: PortId) -> Option<SocketAddr> {
        self.slots.get(port.slot())?.as_ref()?.streams.get(port.stream())?.source()
    }

    /// Where what comes to `port` is sent on to now; `None` if nowhere.
    pub fn onward(&self, port: PortId) -> Option<SocketAddr> {
        let endpoint = self.slots.get(port.slot())?.as_ref()?;
        let partner = self.slots.get(endpoint.partner?)?.as_ref()?;
        partner.streams.get(port.stream())?.destination(port.component())
    }

    /// Tells of bridges that have been silent too long, once each. Linear in the endpoints: for a tick per second.
    pub fn check_silence(&mut self, now: Instant, mut tell: impl FnMut(MediaEvent)) {
        let Some(limit) = self.silence else { return };
        for slot in 0..self.slots.len() {
            let Some((partner, since)) = self.silent_bridge(slot).or_else(|| self.silent_caller(slot)) else {
                continue;
            };
            let lasted = now - since;
            if lasted < limit {
                continue;
            }
            for side in [slot, partner] {
                if let Some(endpoint) = &mut self.slots[side] {
                    endpoint.told_silent = true;
                }
            }
            if let Some(endpoint) = &self.slots[slot] {
                tell(MediaEvent::Silent { endpoint: endpoint.id, lasted });
            }
        }
    }

    /// For the left slot of a bridge that should flow both ways and was not told of: the partner, and since when
    /// nothing came.
    fn silent_bridge(&self, slot: usize) -> Option<(usize, Instant)> {
        let left = self.slots[slot].as_ref().filter(|endpoint| !endpoint.told_silent)?;
        let partner = left.partner.filter(|partner| slot < *partner)?;
        let right = self.slots[partner].as_ref()?;
        // Whoever holds may send nothing for an hour: only sections that flow both ways must be heard.
        let mut both = left.streams.iter().zip(&right.streams).filter(|(l, r)| l.receives() && r.receives());
        let first = both.next()?;
        let heard =
            std::iter::once(first).chain(both).flat_map(|(l, r)| [l.heard_at(), r.heard_at()]).flatten();
        let since = heard.max().unwrap_or_default().max(left.silent_since).max(right.silent_since);
        Some((partner, since))
    }

    /// For the slot of a leg that the node talks with, which should speak and was not told of: since when nothing came, not
    /// even a report. Whoever listens to others may be silent by itself.
    fn silent_caller(&self, slot: usize) -> Option<(usize, Instant)> {
        let endpoint = self.slots[slot].as_ref().filter(|endpoint| !endpoint.told_silent)?;
        endpoint.served.as_ref()?;
        let stream = endpoint.streams.get(endpoint.spoken_stream()?).filter(|stream| stream.receives())?;
        Some((slot, stream.alive_at().unwrap_or_default().max(endpoint.silent_since)))
    }
}

impl Endpoint {
    const fn new(id: EndpointId, now: Instant) -> Self {
        Self { id, streams: Vec::new(), partner: None, served: None, silent_since: now, told_silent: false }
    }
}

/// The list is emptied after each batch: it is never longer than a batch.
fn note_if_due(due: &mut Vec<usize>, slot: usize, stream: &Stream) {
    if stream.is_note_due() && !due.contains(&slot) {
        due.push(slot);
    }
}

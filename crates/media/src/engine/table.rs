//! The bound ports by their places, and whose an address is.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::{
    epoll::Epoll,
    sockets::{BoundPair, connect_beside},
};
use crate::{
    ports::PortPair,
    prefetch::prefetch,
    relay::{Component, PortId},
};

/// Packets in a row from one address after which the stream gets a socket connected to it: half a second of audio, so that
/// neither short calls nor addresses that are still settling pay for it.
const DIRECT_AFTER_PACKETS: u32 = 25;

/// A socket with what the thread knows of it.
pub struct MediaSocket {
    pub socket: UdpSocket,
    /// Tells events of this socket from late ones of a predecessor at the same place.
    generation: u32,
    /// The last turn in which it had something to read.
    ready_in: u32,
    /// Packets come several at a time.
    in_bursts: bool,
}

/// A port pair of one stream.
struct Pair {
    ports: PortPair,
    local: IpAddr,
    rtp: MediaSocket,
    rtcp: MediaSocket,
    direct: Direct,
}

/// The way to a peer that keeps to one address: half the cost of a packet is finding sockets and routes.
enum Direct {
    /// Whom RTP came from of late, and how many packets.
    Watching(Option<SocketAddr>, u32),
    /// A socket on RTP's port that is connected to the peer.
    Open(MediaSocket, SocketAddr),
}

/// The pairs of an endpoint. Nearly all have one: it lies here, so that it takes one look to find.
#[derive(Default)]
struct Slot {
    first: Option<Pair>,
    others: Vec<Pair>,
}

/// All bound ports of one media thread.
pub struct PortTable {
    /// By [`PortId::slot`].
    slots: Vec<Slot>,
    /// By port number: [`PortId::index`] and one; 0 is not ours. A number is bound on one address at a time.
    places: Vec<u32>,
    generation: u32,
}

/// Names a socket in the epoll set: its generation above its place.
#[derive(Clone, Copy)]
pub struct Token(pub u64);

impl Token {
    fn new(place: PortId, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | place.index() as u64)
    }

    /// The place.
    pub const fn place(self) -> PortId {
        PortId::from_index(self.0 as u32)
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl PortTable {
    /// An empty one.
    pub fn new() -> Self {
        Self { slots: Vec::new(), places: vec![0; 1 + usize::from(u16::MAX)], generation: 0 }
    }

    /// Puts the next pair of an endpoint, whose places these are, and has it watched.
    pub fn install(&mut self, [rtp, rtcp]: [PortId; 2], bound: BoundPair, epoll: &Epoll) {
        if self.slots.len() <= rtp.slot() {
            self.slots.resize_with(rtp.slot() + 1, Slot::default);
        }
        for (place, port) in [(rtp, bound.pair.rtp), (rtcp, bound.pair.rtcp())] {
            self.places[usize::from(port)] = place.index() as u32 + 1;
        }
        let pair = Pair {
            ports: bound.pair,
            local: bound.local,
            rtp: self.watch(rtp, bound.rtp, epoll),
            rtcp: self.watch(rtcp, bound.rtcp, epoll),
            direct: Direct::Watching(None, 0),
        };
        let slot = &mut self.slots[rtp.slot()];
        match slot.first {
            None => slot.first = Some(pair),
            Some(_) => slot.others.push(pair),
        }
    }

    fn watch(&mut self, place: PortId, socket: UdpSocket, epoll: &Epoll) -> MediaSocket {
        self.generation = self.generation.wrapping_add(1);
        let token = Token::new(place, self.generation);
        if let Err(error) = epoll.add(&socket, token.0) {
            // The kernel is out of memory or watches: the port stays deaf, and the call ends by silence.
            tracing::error!(%error, "cannot watch a media port");
        }
        MediaSocket::new(socket, self.generation)
    }

    /// Closes the ports of the endpoint whose first place this is; they may be bound again.
    pub fn remove(&mut self, first: PortId) -> impl Iterator<Item = PortPair> + use<> {
        let slot = self.slots.get_mut(first.slot()).map(std::mem::take).unwrap_or_default();
        for pair in slot.first.iter().chain(&slot.others) {
            for port in [pair.ports.rtp, pair.ports.rtcp()] {
                self.places[usize::from(port)] = 0;
            }
        }
        slot.first.into_iter().chain(slot.others).map(|pair| pair.ports)
    }

    /// The RTP ports of the endpoint whose first place this is, by stream.
    pub fn rtp_ports(&self, first: PortId) -> Vec<u16> {
        let Some(slot) = self.slots.get(first.slot()) else { return Vec::new() };
        slot.first.iter().chain(&slot.others).map(|pair| pair.ports.rtp).collect()
    }

    /// Sends through a port; whether the network took it.
    pub fn send(&self, through: PortId, to: SocketAddr, packet: &[u8]) -> bool {
        let Some(pair) = self.pair(through) else { return false };
        match (through.component(), &pair.direct) {
            // What the network says of an earlier packet counts as a failure of this one: the other socket does not listen.
            (Component::Rtp, Direct::Open(direct, peer)) if *peer == to => {
                direct.socket.send(packet).is_ok() || pair.rtp.socket.send_to(packet, to).is_ok()
            }
            (Component::Rtp, _) => pair.rtp.socket.send_to(packet, to).is_ok(),
            (Component::Rtcp, _) => pair.rtcp.socket.send_to(packet, to).is_ok(),
        }
    }

    /// The socket that an event is of; none if it was closed before the event was looked at.
    pub fn ready(&mut self, token: Token) -> Option<&mut MediaSocket> {
        let place = token.place();
        let pair = self.pair_mut(place)?;
        let socket = match (place.component(), &mut pair.direct) {
            (Component::Rtp, Direct::Open(direct, _)) if direct.generation == token.generation() => direct,
            (Component::Rtp, _) => &mut pair.rtp,
            (Component::Rtcp, _) => &mut pair.rtcp,
        };
        (socket.generation == token.generation()).then_some(socket)
    }

    /// Notes that a packet of the leg was relayed that came to `place` by the socket for everybody, and whom that port
    /// listens to. True if a direct way should be opened: the leg has kept to one address for a while.
    pub fn note_source(&mut self, place: PortId, holder: SocketAddr) -> bool {
        if place.component() == Component::Rtcp {
            return false;
        }
        let Some(Pair { direct, .. }) = self.pair_mut(place) else { return false };
        match direct {
            Direct::Watching(Some(source), packets) if *source == holder => {
                *packets = packets.saturating_add(1);
                *packets == DIRECT_AFTER_PACKETS
            }
            Direct::Open(_, peer) if *peer == holder => false,
            _ => {
                *direct = Direct::Watching(Some(holder), 1);
                false
            }
        }
    }

    /// Connects a second socket of RTP's port at `place` to whom it was noted to listen to. The first one, which hears
    /// everybody, and the new one, to be watched once what waits at the first has been read.
    pub fn open_direct(&mut self, place: PortId, dscp: u8) -> Option<[Token; 2]> {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let pair = self.pair_mut(place)?;
        let Direct::Watching(Some(peer), _) = pair.direct else { return None };
        let socket = connect_beside(&pair.rtp.socket, peer, dscp)
            .inspect_err(|error| tracing::debug!(%error, "a stream stays without a connected socket"))
            .ok()?;
        pair.direct = Direct::Open(MediaSocket::new(socket, generation), peer);
        Some([Token::new(place, pair.rtp.generation), Token::new(place, generation)])
    }

    /// Has a direct way watched.
    pub fn watch_direct(&mut self, token: Token, epoll: &Epoll) {
        let Some(socket) = self.ready(token) else { return };
        if let Err(error) = epoll.add(&socket.socket, token.0) {
            tracing::error!(%error, "cannot watch a media port");
            if let Some(pair) = self.pair_mut(token.place()) {
                pair.direct = Direct::Watching(None, 0);
            }
        }
    }

    /// Closes all direct ways for good, so that their descriptors can be used for ports; whether there were any. A stream
    /// whose peer moves may get one again.
    pub fn close_direct_ways(&mut self) -> bool {
        let mut any = false;
        for pair in self.slots.iter_mut().flat_map(|slot| slot.first.iter_mut().chain(&mut slot.others)) {
            if let Direct::Open(_, peer) = pair.direct {
                pair.direct = Direct::Watching(Some(peer), DIRECT_AFTER_PACKETS);
                any = true;
            }
        }
        any
    }

    /// True unless the socket is a direct way.
    pub fn hears_everybody(&self, token: Token) -> bool {
        let pair = self.pair(token.place());
        pair.is_none_or(|pair| !matches!(&pair.direct, Direct::Open(socket, _) if socket.generation == token.generation()))
    }

    /// Asks for the memory of the pair at a place.
    pub fn prefetch(&self, place: PortId) {
        if let Some(slot) = self.slots.get(place.slot()) {
            prefetch(slot);
        }
    }

    fn pair(&self, place: PortId) -> Option<&Pair> {
        let slot = self.slots.get(place.slot())?;
        match place.stream().checked_sub(1) {
            None => slot.first.as_ref(),
            Some(other) => slot.others.get(other),
        }
    }

    fn pair_mut(&mut self, place: PortId) -> Option<&mut Pair> {
        let slot = self.slots.get_mut(place.slot())?;
        match place.stream().checked_sub(1) {
            None => slot.first.as_mut(),
            Some(other) => slot.others.get_mut(other),
        }
    }

    /// The address of an RTP port.
    pub fn local_of(&self, place: PortId) -> Option<SocketAddr> {
        self.pair(place).map(|pair| SocketAddr::new(pair.local, pair.ports.rtp))
    }

    /// The place of an address, if it is ours.
    pub fn place_of(&self, address: SocketAddr) -> Option<PortId> {
        let place = PortId::from_index(self.places[usize::from(address.port())].checked_sub(1)?);
        let pair = self.pair(place)?;
        (pair.local == address.ip()).then_some(place)
    }
}

impl MediaSocket {
    fn new(socket: UdpSocket, generation: u32) -> Self {
        Self { socket, generation, ready_in: 0, in_bursts: false }
    }

    /// Packets to read in this turn. Audio comes one by one, so looking for a second is a wasted system call; where the
    /// socket was ready in the turn before too, packets come faster than that.
    pub fn reads(&mut self, turn: u32, burst_max: usize) -> usize {
        self.in_bursts |= turn == self.ready_in.wrapping_add(1);
        self.ready_in = turn;
        if self.in_bursts { burst_max } else { 1 }
    }

    /// Tells how many packets there were of more that would have been read.
    pub fn found(&mut self, packets: usize) {
        self.in_bursts = packets > 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> MediaSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        MediaSocket::new(socket, 1)
    }

    #[test]
    fn a_socket_that_is_ready_turn_after_turn_is_read_in_bursts_until_they_end() {
        let mut socket = socket();
        assert_eq!(socket.reads(7, 32), 1);
        assert_eq!(socket.reads(9, 32), 1);
        assert_eq!(socket.reads(10, 32), 32);
        socket.found(5);
        assert_eq!(socket.reads(40, 32), 32);
        socket.found(1);
        assert_eq!(socket.reads(60, 32), 1);
    }
}

//! Ports for the streams of calls, bound before a description names them: what another program has is passed over.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
};

use offhook_net::DatagramSocket;

/// Buffer of a media socket in each direction, octets: a second of a hundred streams.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// Ports of a call in a row: audio and video, each with its RTCP.
pub const PORTS_OF_CALL: u16 = 4;

/// Places of `[auto_media_port]`: the port goes round after 10,000, as in SIPp.
const AUTO_PLACES_MAX: u16 = 2500;

/// Ports for calls, [`PORTS_OF_CALL`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: u16,
    /// Calls that fit in: at least one.
    places: u16,
}

impl Range {
    /// Those of `[rtpstream_audio_port]`: from an even one on.
    pub fn of_streams((first, last): (u16, u16)) -> Self {
        let first = first.checked_next_multiple_of(2).unwrap_or(u16::MAX - 1);
        Self { first, places: (last.saturating_sub(first).saturating_add(1) / PORTS_OF_CALL).max(1) }
    }

    /// Those of `[auto_media_port]`: from that of `-mp` on, and where ports end, from there again. SIPp goes on past 65535.
    pub fn of_calls(first: u16) -> Self {
        let places = (u16::MAX - first).saturating_add(1) / PORTS_OF_CALL;
        Self { first, places: places.clamp(1, AUTO_PLACES_MAX) }
    }

    /// That of the call `number`, if nothing stands in the way.
    pub fn port_of_call(self, number: u64) -> u16 {
        self.port(self.place(number))
    }

    fn place(self, number: u64) -> u16 {
        (number.saturating_sub(1) % u64::from(self.places)) as u16
    }

    fn port(self, place: u16) -> u16 {
        self.first + PORTS_OF_CALL * place
    }
}

/// Gives calls their ports.
pub trait MediaPorts: std::fmt::Debug + Send + Sync {
    /// The first of the [`PORTS_OF_CALL`] ports of the call `call`, until the call is over. If all ports are with calls, one is
    /// used twice.
    ///
    /// # Errors
    /// Why there is none: what stands in the way, for the user.
    fn take(&self, call: u64) -> Result<u16, String>;
}

/// The ports of a run: those that are given away in turn, so that a port rests before it is used again, or those that a call
/// has by its number.
#[derive(Debug)]
pub struct Pool {
    ip: IpAddr,
    range: Range,
    by_number: bool,
    /// A port that the run itself has bound, for all calls.
    own: Option<u16>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next search begins, if they are given away in turn.
    next: u16,
    /// The place of each call.
    of_call: HashMap<u64, u16>,
    /// Calls at each place.
    users: HashMap<u16, u32>,
    /// Bound, and not yet asked for by a media thread.
    waiting: HashMap<u16, DatagramSocket>,
}

impl Pool {
    /// The ports `range` at `ip`, in turn.
    pub fn in_turn(ip: IpAddr, range: Range) -> Self {
        Self { ip, range, by_number: false, own: None, state: Mutex::default() }
    }

    /// Those that calls have by their numbers. `own` is bound already, by the run itself.
    pub fn by_number(ip: IpAddr, range: Range, own: Option<u16>) -> Self {
        Self { ip, range, by_number: true, own, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in there is whole at any time, whatever became of another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds `port`; `None` if the run has it already.
    fn bind(&self, port: u16) -> io::Result<Option<DatagramSocket>> {
        if self.own == Some(port) {
            return Ok(None);
        }
        let socket = DatagramSocket::bind(SocketAddr::new(self.ip, port), false, BUFFER_BYTES)?;
        // Video is bound when it is sent; here it is only asked for.
        UdpSocket::bind(SocketAddr::new(self.ip, port.saturating_add(2)))?;
        Ok(Some(socket))
    }

    /// What chooses these ports.
    const fn option(&self) -> &'static str {
        if self.by_number { "-mp" } else { "-min_rtp_port and -max_rtp_port" }
    }

    /// The socket that was bound for a call with this port.
    pub(super) fn claim(&self, port: u16) -> Option<DatagramSocket> {
        self.lock().waiting.remove(&port)
    }

    /// The call needs its port no longer.
    pub(super) fn release(&self, call: u64) {
        let mut state = self.lock();
        let Some(place) = state.of_call.remove(&call) else { return };
        let left = state.users.get(&place).map_or(0, |users| users - 1);
        if left > 0 {
            state.users.insert(place, left);
        } else {
            state.users.remove(&place);
            state.waiting.remove(&self.range.port(place));
        }
    }
}

impl MediaPorts for Pool {
    fn take(&self, call: u64) -> Result<u16, String> {
        let mut state = self.lock();
        let mut taken = None;
        let mut next = if self.by_number { self.range.place(call) } else { state.next };
        for _ in 0..self.range.places {
            let place = next;
            next = (place + 1) % self.range.places;
            state.next = next;
            if state.users.contains_key(&place) {
                taken = taken.or(Some(place));
                continue;
            }
            let port = self.range.port(place);
            match self.bind(port) {
                Ok(socket) => {
                    state.waiting.extend(socket.map(|socket| (port, socket)));
                    state.users.insert(place, 1);
                    state.of_call.insert(call, place);
                    return Ok(port);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(format!(
                        "cannot bind media port {port}: {error}\nhint: raise `ulimit -n`, or choose others with {}",
                        self.option()
                    ));
                }
            }
        }
        let Some(place) = taken else {
            let last = self.range.port(self.range.places - 1).saturating_add(PORTS_OF_CALL - 1);
            return Err(format!(
                "other programs have all media ports from {} to {last}\nhint: choose others with {}",
                self.range.first,
                self.option()
            ));
        };
        *state.users.entry(place).or_default() += 1;
        state.of_call.insert(call, place);
        Ok(self.range.port(place))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Eight ports in a row that nobody has, no other test of this run either, and a pool of them.
    fn pool() -> (Pool, u16) {
        static NEXT: AtomicU16 = AtomicU16::new(30_000);
        let is_free = |port| UdpSocket::bind((HERE, port)).is_ok();
        let first = loop {
            let first = NEXT.fetch_add(8, Ordering::SeqCst);
            assert!(first < 32_000, "no ports are free");
            if (first..first + 8).all(is_free) {
                break first;
            }
        };
        (Pool::in_turn(HERE, Range::of_streams((first, first + 7))), first)
    }

    #[test]
    fn a_port_that_another_program_has_is_passed_over() {
        let (pool, first) = pool();
        for taken in [first, first + 2] {
            let other = UdpSocket::bind((HERE, taken)).expect("it is free");
            assert_eq!(pool.take(1), Ok(first + 4));
            pool.release(1);
            drop(other);
        }
        let _others = [first, first + 4].map(|port| UdpSocket::bind((HERE, port)).expect("it is free"));
        assert!(pool.take(1).is_err_and(|why| why.contains("other programs")));
    }

    #[test]
    fn calls_share_a_port_when_there_are_no_more_and_the_last_one_frees_it() {
        let (pool, first) = pool();
        assert_eq!((pool.take(1), pool.take(2)), (Ok(first), Ok(first + 4)));
        assert_eq!(pool.take(3), Ok(first));
        assert!(pool.claim(first).is_some() && pool.claim(first).is_none());
        pool.release(1);
        pool.release(2);
        assert_eq!(pool.take(4), Ok(first + 4), "the third call has the other one");
    }

    /// Goal: `[auto_media_port]` is what SIPp documents, four more for each call, and nothing that is no port or somebody
    /// else's.
    #[test]
    fn calls_have_the_port_of_their_number_or_the_next_that_is_free() {
        let range = Range::of_calls(6000);
        let ports = [1, 2, 2500, 2501].map(|number| range.port_of_call(number));
        assert_eq!(ports, [6000, 6004, 15_996, 6000]);
        let high = Range::of_calls(65_525);
        assert_eq!([1, 2, 3].map(|number| high.port_of_call(number)), [65_525, 65_529, 65_525]);
        assert_eq!(Range::of_calls(u16::MAX).port_of_call(9), u16::MAX);

        let (_, first) = pool();
        let range = Range { first, places: 2 };
        let pool = Pool::by_number(HERE, range, None);
        assert_eq!((pool.take(2), pool.take(3)), (Ok(first + 4), Ok(first)));
        pool.release(3);
        let other = UdpSocket::bind((HERE, first)).expect("it is free");
        pool.release(2);
        assert_eq!(pool.take(1), Ok(first + 4), "another program has the first");
        assert_eq!(pool.take(3), Ok(first + 4), "and so they share the second");
        drop(other);
        // The run echoes at that port, for whoever comes.
        let _echo = UdpSocket::bind((HERE, first)).expect("it is free");
        let pool = Pool::by_number(HERE, range, Some(first));
        assert!(pool.take(1) == Ok(first) && pool.claim(first).is_none());
    }
}

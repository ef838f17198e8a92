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

/// The first port, even, and how many calls fit into the ports from `first` to `last`: at least one.
pub fn places((first, last): (u16, u16)) -> (u16, u16) {
    let first = first.checked_next_multiple_of(2).unwrap_or(u16::MAX - 1);
    (first, (last.saturating_sub(first).saturating_add(1) / PORTS_OF_CALL).max(1))
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

/// All ports of a run.
#[derive(Debug)]
pub struct Pool {
    ip: IpAddr,
    first: u16,
    /// Calls that fit in.
    places: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next search begins, so that a port rests before it is used again.
    next: u16,
    /// The place of each call.
    of_call: HashMap<u64, u16>,
    /// Calls at each place.
    users: HashMap<u16, u32>,
    /// Bound, and not yet asked for by a media thread.
    waiting: HashMap<u16, DatagramSocket>,
}

impl Pool {
    /// The ports from `first` to `last` at `ip`.
    pub fn new(ip: IpAddr, range: (u16, u16)) -> Self {
        let (first, places) = places(range);
        Self { ip, first, places, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in there is whole at any time, whatever became of another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self, place: u16) -> u16 {
        self.first + PORTS_OF_CALL * place
    }

    fn bind(&self, port: u16) -> io::Result<DatagramSocket> {
        let socket = DatagramSocket::bind(SocketAddr::new(self.ip, port), false, BUFFER_BYTES)?;
        // Video is bound when it is sent; here it is only asked for.
        UdpSocket::bind(SocketAddr::new(self.ip, port.saturating_add(2)))?;
        Ok(socket)
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
            state.waiting.remove(&self.port(place));
        }
    }
}

impl MediaPorts for Pool {
    fn take(&self, call: u64) -> Result<u16, String> {
        let mut state = self.lock();
        let mut taken = None;
        for _ in 0..self.places {
            let place = state.next;
            state.next = (place + 1) % self.places;
            if state.users.contains_key(&place) {
                taken = taken.or(Some(place));
                continue;
            }
            match self.bind(self.port(place)) {
                Ok(socket) => {
                    state.waiting.insert(self.port(place), socket);
                    state.users.insert(place, 1);
                    state.of_call.insert(call, place);
                    return Ok(self.port(place));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    let port = self.port(place);
                    return Err(format!(
                        "cannot bind media port {port}: {error}\nhint: raise `ulimit -n`, or choose others with -min_rtp_port"
                    ));
                }
            }
        }
        let Some(place) = taken else {
            let (first, last) = (self.first, self.port(self.places - 1).saturating_add(PORTS_OF_CALL - 1));
            return Err(format!(
                "other programs have all media ports from {first} to {last}\nhint: -min_rtp_port and -max_rtp_port"
            ));
        };
        *state.users.entry(place).or_default() += 1;
        state.of_call.insert(call, place);
        Ok(self.port(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Four ports in a row that nobody has, and a pool of them and the four behind them.
    fn pool() -> (Pool, u16) {
        let bind = |port| UdpSocket::bind((HERE, port));
        let first =
            (20_000..30_000).step_by(8).find(|&first| (first..first + 8).all(|port| bind(port).is_ok()));
        let first = first.expect("some ports are free");
        (Pool::new(HERE, (first, first + 7)), first)
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
}

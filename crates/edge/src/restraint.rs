//! What to keep to oneself because the next server asks for it: the client's half of overload control (RFC 7339).
//!
//! A server that is overloaded says in its responses which part of the requests it would rather not see, and for how long that
//! holds. Whoever sends to it draws for each new request whether it belongs to that part. A request that is withheld costs the
//! other server nothing, which is the point: refusing it there costs a good part of serving it.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use offhook_base::Instant;

use crate::overload::{SHARE_MAX, draw};

/// Servers whose word is remembered. Only peers of the directory are asked for it, and each has few addresses. A word holds for
/// seconds, so what is forgotten beyond it comes back with the next response.
const SERVERS_MAX: usize = 1024;

/// The longest that a word holds, whatever its sender says. A server that is still overloaded repeats itself with every
/// response; one that is gone must not be spared for ever.
const VALIDITY_MAX: Duration = Duration::from_secs(30);

/// What a server has said of its load (RFC 7339 §4, the loss-based algorithm of §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plea {
    /// How many of a hundred requests it would rather not get; 0..=100.
    pub percent: u8,
    /// How long that holds; zero: it ends an earlier word at once.
    pub validity: Duration,
    /// Orders words of one server: a later one has more.
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    plea: Plea,
    until: Instant,
}

/// The words of all servers.
#[derive(Debug)]
pub struct Restraint {
    /// Keeps callers from choosing which of their calls pass.
    key: u64,
    servers: HashMap<SocketAddr, Known>,
    withheld: u64,
}

impl Restraint {
    /// Nobody has said anything yet. `key` is random.
    pub fn new(key: u64) -> Self {
        Self { key, servers: HashMap::new(), withheld: 0 }
    }

    /// Takes the word of `server`. One that was overtaken by a later one is ignored (§4.4).
    pub fn hear(&mut self, server: SocketAddr, plea: Plea, now: Instant) {
        let before = self.servers.get(&server).filter(|known| now < known.until);
        if before.is_some_and(|known| plea.sequence < known.plea.sequence) {
            return;
        }
        if plea.percent == 0 || plea.validity.is_zero() {
            self.servers.remove(&server);
            return;
        }
        if self.servers.len() >= SERVERS_MAX && !self.servers.contains_key(&server) {
            self.servers.retain(|_, known| now < known.until);
            if self.servers.len() >= SERVERS_MAX {
                return;
            }
        }
        let until = now + plea.validity.min(VALIDITY_MAX);
        self.servers.insert(server, Known { plea, until });
    }

    /// Whether a new request to `server` is to be withheld. `identity` is the request's own, such as its Call-ID.
    pub fn withholds(&mut self, server: SocketAddr, identity: &[u8], now: Instant) -> bool {
        let Some(known) = self.servers.get(&server).filter(|known| now < known.until) else { return false };
        let withheld = draw(self.key, identity) < u32::from(known.plea.percent) * (SHARE_MAX / 100);
        self.withheld += u64::from(withheld);
        withheld
    }

    /// Requests that were withheld since the start.
    pub const fn withheld(&self) -> u64 {
        self.withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "192.0.2.1:5060";

    fn plea(percent: u8, millis: u64, sequence: u64) -> Plea {
        Plea { percent, validity: Duration::from_millis(millis), sequence }
    }

    fn withheld_of_1000(restraint: &mut Restraint, now: Instant) -> usize {
        let server = SERVER.parse().unwrap();
        (0..1000_u32).filter(|call| restraint.withholds(server, &call.to_be_bytes(), now)).count()
    }

    #[test]
    fn the_part_asked_for_is_withheld_until_it_ends_or_is_taken_back() {
        let mut restraint = Restraint::new(7);
        let (server, start) = (SERVER.parse().unwrap(), Instant::default());
        assert_eq!(withheld_of_1000(&mut restraint, start), 0);
        restraint.hear(server, plea(30, 500, 10), start);
        let part = withheld_of_1000(&mut restraint, start);
        assert!((250..350).contains(&part), "{part}");
        assert_eq!(withheld_of_1000(&mut restraint, start + Duration::from_millis(500)), 0);
        restraint.hear(server, plea(100, 500, 11), start);
        restraint.hear(server, plea(0, 500, 9), start);
        assert_eq!(withheld_of_1000(&mut restraint, start), 1000, "an earlier word is none");
        assert!(
            !restraint.withholds("192.0.2.1:5070".parse().unwrap(), b"1", start),
            "that is another server"
        );
        restraint.hear(server, plea(100, 0, 12), start);
        assert_eq!(withheld_of_1000(&mut restraint, start), 0);
        assert_eq!(restraint.withheld(), 1000 + part as u64);
    }

    #[test]
    fn many_servers_take_no_more_room_and_no_word_holds_for_ever() {
        let mut restraint = Restraint::new(7);
        let start = Instant::default();
        for number in 0..3000_u16 {
            let server = SocketAddr::from(([192, 0, 2, 1], number));
            restraint.hear(server, plea(100, u64::MAX, 1), start);
        }
        assert_eq!(restraint.servers.len(), SERVERS_MAX);
        let later = start + VALIDITY_MAX;
        restraint.hear(SERVER.parse().unwrap(), plea(100, 500, 1), later);
        assert_eq!(withheld_of_1000(&mut restraint, later), 1000, "those whose time is over make room");
    }
}

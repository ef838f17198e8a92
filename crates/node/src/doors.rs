//! Who may not even connect: what the guard has found out, for the threads that accept connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use offhook_base::Purpose;
use offhook_edge::{BannedSource, Listed, Lists, Prefix};

use crate::wall::Wall;

/// Bans that are known here: as many as the guard keeps.
const BANS_MAX: usize = offhook_edge::EdgeLimits::NOTED_MAX as usize;

/// Octets of an IPv6 address that name its network: a source of the guard's.
const NETWORK_BITS: u8 = 64;

/// The lists, and the bans that run.
#[derive(Default)]
pub struct Doors {
    lists: RwLock<Arc<Lists>>,
    bans: Mutex<HashMap<Prefix, Instant>>,
    wall: OnceLock<Wall>,
}

impl Doors {
    /// Has the kernel keep out whom it can.
    pub fn build_wall(&self, wall: Wall) {
        let _ = self.wall.set(wall);
    }

    /// The part that the kernel takes.
    pub fn wall(&self) -> Option<&Wall> {
        self.wall.get()
    }

    /// Other lists are in force.
    pub fn set_lists(&self, lists: Arc<Lists>) {
        if let Some(wall) = self.wall() {
            wall.deny(Arc::clone(&lists));
        }
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// A source is banned. One that is spared may still connect.
    pub fn ban(&self, banned: &BannedSource) {
        if banned.is_spared {
            return;
        }
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if bans.len() >= BANS_MAX {
            bans.retain(|_, until| *until > now);
        }
        if bans.len() < BANS_MAX {
            let left = banned.left.min(Duration::from_secs(365 * 86_400));
            let source = *banned.source.disclose(Purpose::Protection);
            bans.insert(source, now + left);
            if let Some(wall) = self.wall() {
                wall.ban(source, left);
            }
        }
    }

    /// The ban of the source of `address` has ended.
    pub fn pardon(&self, address: IpAddr) {
        let source = source_of(address);
        self.bans.lock().unwrap_or_else(PoisonError::into_inner).remove(&source);
        if let Some(wall) = self.wall() {
            wall.pardon(source);
        }
    }

    /// Whether `address` may connect.
    pub fn may_connect(&self, address: IpAddr) -> bool {
        match self.lists.read().unwrap_or_else(PoisonError::into_inner).of(address) {
            Listed::Denied => false,
            Listed::Allowed => true,
            Listed::No => {
                let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
                bans.is_empty() || bans.get(&source_of(address)).is_none_or(|until| *until <= Instant::now())
            }
        }
    }
}

fn source_of(address: IpAddr) -> Prefix {
    match address.to_canonical() {
        IpAddr::V4(address) => Prefix::host(address.into()),
        IpAddr::V6(address) => Prefix::of(IpAddr::V6(Ipv6Addr::from(address.octets())), NETWORK_BITS),
    }
}

#[cfg(test)]
mod tests {
    use offhook_base::{DataSubject, Personal};
    use offhook_edge::{BanReason, read_list};

    use super::*;

    fn banned(network: &str, is_spared: bool) -> BannedSource {
        BannedSource {
            source: Personal::new(network.parse().unwrap(), DataSubject::RemoteParty),
            why: BanReason::Passwords,
            is_proven: true,
            is_spared,
            left: Duration::from_secs(60),
        }
    }

    #[test]
    fn the_denied_and_the_banned_may_not_connect() {
        let doors = Doors::default();
        let may = |address: &str| doors.may_connect(address.parse().unwrap());
        doors.set_lists(Arc::new(Lists::new(
            read_list("192.0.2.7").unwrap(),
            read_list("192.0.2.0/24").unwrap(),
        )));
        assert!(!may("192.0.2.1") && may("192.0.2.7") && may("198.51.100.1"));
        doors.ban(&banned("198.51.100.1", false));
        doors.ban(&banned("198.51.100.2", true));
        doors.ban(&banned("2001:db8:1:2::/64", false));
        assert!(!may("198.51.100.1") && may("198.51.100.2") && !may("2001:db8:1:2:3::4"));
        doors.pardon("198.51.100.1".parse().unwrap());
        assert!(may("198.51.100.1") && may("2001:db8:1:3::1"));
    }
}

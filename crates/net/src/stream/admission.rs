//! How many connections may be open, in all and from one source.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use super::StreamLimits;
use crate::NetCounters;

/// Counts open connections. The lock is taken when one opens or closes, never for a message.
pub(super) struct Admission {
    connections_max: usize,
    per_source_max: usize,
    counters: Arc<NetCounters>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// The right to hold one connection; given back when dropped.
pub(super) struct Permit {
    admission: Arc<Admission>,
    source: Option<IpAddr>,
}

impl Admission {
    pub(super) fn new(limits: &StreamLimits, counters: Arc<NetCounters>) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_source_max: limits.connections_per_source_max,
            counters,
            open: Mutex::default(),
        }
    }

    /// For one that came from `ip`; `None` (counted) if a limit is reached.
    pub(super) fn accept(self: &Arc<Self>, ip: IpAddr) -> Option<Permit> {
        let source = network(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.connections_max {
            self.counters.refused_total_limit.increment();
            return None;
        }
        if open.by_source.get(&source).is_some_and(|held| *held >= self.per_source_max) {
            self.counters.refused_source_limit.increment();
            return None;
        }
        *open.by_source.entry(source).or_default() += 1;
        open.total += 1;
        Some(self.permit(Some(source)))
    }

    /// For one of our own: only the total counts.
    pub(super) fn open(self: &Arc<Self>) -> Option<Permit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.connections_max {
            self.counters.refused_total_limit.increment();
            return None;
        }
        open.total += 1;
        Some(self.permit(None))
    }

    fn permit(self: &Arc<Self>, source: Option<IpAddr>) -> Permit {
        self.counters.connections_open.increment();
        Permit { admission: Arc::clone(self), source }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(source) = self.source
            && let Some(held) = open.by_source.get_mut(&source)
        {
            *held -= 1;
            if *held == 0 {
                open.by_source.remove(&source);
            }
        }
        self.admission.counters.connections_open.decrement();
    }
}

/// Who counts as one source: an IPv4 address, or an IPv6 /64, since a single host owns all addresses of one.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, per_source: usize) -> Arc<Admission> {
        let limits = StreamLimits {
            connections_max: total,
            connections_per_source_max: per_source,
            ..StreamLimits::default()
        };
        Arc::new(Admission::new(&limits, Arc::default()))
    }

    #[test]
    fn a_source_at_its_limit_is_refused_until_one_of_its_connections_closes() {
        let admission = admission(10, 2);
        let ip = "192.0.2.1".parse().unwrap();
        let first = admission.accept(ip).unwrap();
        let _second = admission.accept(ip).unwrap();
        assert!(admission.accept(ip).is_none());
        assert!(admission.accept("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(admission.accept(ip).is_some());
        assert_eq!(admission.counters.refused_source_limit.value(), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let admission = admission(10, 1);
        let _held = admission.accept("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.accept("2001:db8::ffff:1".parse().unwrap()).is_none());
        assert!(admission.accept("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn our_own_connections_count_in_the_total() {
        let admission = admission(1, 9);
        let own = admission.open().unwrap();
        assert!(admission.accept("192.0.2.1".parse().unwrap()).is_none());
        assert!(admission.open().is_none());
        drop(own);
        assert_eq!(admission.counters.connections_open.value(), 0);
        assert!(admission.open().is_some());
    }
}

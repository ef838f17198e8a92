//! What the kernel keeps out: the denied networks and the banned sources, as sets of nftables that are looked at before a
//! socket is. A flood from there then costs a hundred nanoseconds a packet, and none of the node's threads.
//!
//! Every process of the node has a table of its own, after its data directory, and only packets to its SIP ports come into it.
//! While nobody is denied or banned, none do: even an empty table costs each packet time. It goes with the process, however that ends. The node judges everything that comes through as before, so nothing depends
//! on it.

mod nft;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use offhook_edge::{Lists, Prefix};

use self::{nft::Nft, script::Table};
use crate::{
    config::{Config, KernelWall},
    kernel_plane,
};

/// Orders that may wait: a flood of bans must not wait for a program. What finds no room the node drops itself.
const ORDERS_MAX: usize = 4096;

/// Bans and pardons that are carried out at once.
const ORDERS_AT_ONCE: usize = 512;

/// How often the kernel is asked what it dropped.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// So many times as long as an order took there is none after it: with a hundred thousand denied networks nft takes a second
/// for a ban, and must not have a CPU for itself.
const REST: u32 = 9;

/// The kernel's part of the guard.
pub struct Wall {
    orders: SyncSender<Order>,
    state: Arc<State>,
}

/// What the wall's thread tells.
#[derive(Default)]
struct State {
    dropped: AtomicU64,
    fallen: AtomicBool,
}

enum Order {
    Deny(Arc<Lists>),
    Ban(Prefix, Duration),
    Pardon(Prefix),
    TakeDown(SyncSender<()>),
}

/// Sets it up for these ports; `None` where the operator or the system does not want it.
pub fn build(config: &Config, ports: &BTreeSet<u16>) -> Option<Wall> {
    if config.edge.kernel == KernelWall::Off || ports.is_empty() {
        return None;
    }
    let table = Table::new(&kernel_plane::own(&config.storage.data), process::id(), ports);
    let made = Nft::start().and_then(|mut nft| nft.order(&table.made()).map(|_| nft));
    let nft = match made {
        Ok(nft) => nft,
        Err(error) => {
            let hint = "install nftables and give the node CAP_NET_ADMIN, or set edge.kernel = \"off\"";
            tracing::info!(%error, hint, "the kernel does not keep out the banned: the node does it alone");
            return None;
        }
    };
    let (orders, receiver) = sync_channel(ORDERS_MAX);
    let state = Arc::<State>::default();
    let (shut_out, hooked) = (ShutOut::default(), false);
    let mason = Mason { nft, table, shut_out, hooked, orders: receiver, state: Arc::clone(&state) };
    thread::Builder::new().name("offhook-wall".into()).spawn(move || mason.work()).ok()?;
    Some(Wall { orders, state })
}

impl Wall {
    /// These lists are in force.
    pub fn deny(&self, lists: Arc<Lists>) {
        let _ = self.orders.try_send(Order::Deny(lists));
    }

    /// This source is banned for so long.
    pub fn ban(&self, source: Prefix, time: Duration) {
        let _ = self.orders.try_send(Order::Ban(source, time));
    }

    /// The ban of this source has ended.
    pub fn pardon(&self, source: Prefix) {
        // It must not stay out for want of room in the queue.
        let _ = self.orders.send(Order::Pardon(source));
    }

    /// Packets that were dropped, as the kernel said lately.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Whether it is still there.
    pub fn stands(&self) -> bool {
        !self.state.fallen.load(Ordering::Relaxed)
    }

    /// Takes it down; returns when that is done.
    pub fn take_down(&self) {
        let (done, is_done) = sync_channel(1);
        if self.orders.send(Order::TakeDown(done)).is_ok() {
            let _ = is_done.recv();
        }
    }
}

/// Who carries out the orders, in a thread of his own.
struct Mason {
    nft: Nft,
    table: Table,
    shut_out: ShutOut,
    /// Whether packets come into the table.
    hooked: bool,
    orders: Receiver<Order>,
    state: Arc<State>,
}

impl Mason {
    fn work(mut self) {
        let mut wishes = Wishes::default();
        let mut rested = Instant::now();
        let mut count_at = rested + COUNT_INTERVAL;
        loop {
            let next = if wishes.is_empty() { count_at.max(rested) } else { rested };
            match self.orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Order::TakeDown(done)) => {
                    drop(self.nft);
                    let _ = done.send(());
                    return;
                }
                Ok(order) => wishes.add(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let began = Instant::now();
            if began < next {
                continue;
            }
            let done = if wishes.is_empty() {
                count_at = began + COUNT_INTERVAL;
                self.count().and_then(|()| self.hook(began))
            } else {
                let line = wishes.next_line(&self.table, &mut self.shut_out, began);
                self.nft.order(&line).map(drop).and_then(|()| self.hook(began))
            };
            match done {
                Err(error) if error.kind() != io::ErrorKind::Other => {
                    self.state.fallen.store(true, Ordering::Relaxed);
                    tracing::warn!(%error, "the kernel keeps out the banned no more: the node does it alone");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the kernel did not take an order"),
                Ok(()) => {}
            }
            let ended = Instant::now();
            rested = ended + (ended - began) * REST;
        }
    }

    /// Has packets come into the table as long as it keeps anybody out.
    fn hook(&mut self, now: Instant) -> io::Result<()> {
        let wanted = self.shut_out.is_anybody(now);
        if wanted != self.hooked {
            self.nft.order(&if wanted { self.table.hooked() } else { self.table.unhooked() })?;
            self.hooked = wanted;
        }
        Ok(())
    }

    fn count(&mut self) -> io::Result<()> {
        let answer = self.nft.order(&self.table.count_question())?;
        if let Some(count) = script::count_in(&answer) {
            self.state.dropped.store(count, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether the kernel keeps anybody out.
#[derive(Default)]
struct ShutOut {
    denied: bool,
    /// When the last ban ends. One that is pardoned counts until then.
    banned_until: Option<Instant>,
}

impl ShutOut {
    fn is_anybody(&self, now: Instant) -> bool {
        self.denied || self.banned_until.is_some_and(|until| now < until)
    }
}

/// What has been ordered and not been done yet: of each source only the last word.
#[derive(Default)]
struct Wishes {
    deny: Option<Arc<Lists>>,
    /// Until when each is banned; `None` for a pardon.
    sources: BTreeMap<Prefix, Option<Instant>>,
}

impl Wishes {
    fn is_empty(&self) -> bool {
        self.deny.is_none() && self.sources.is_empty()
    }

    fn add(&mut self, order: Order) {
        match order {
            Order::Deny(lists) => self.deny = Some(lists),
            // A ban that finds no room is carried out by the node; a pardon has a ban before it, so there are no more of them.
            Order::Ban(source, time) if self.sources.len() < ORDERS_MAX => {
                self.sources.insert(source, Some(Instant::now() + time));
            }
            Order::Pardon(source) => {
                self.sources.insert(source, None);
            }
            Order::Ban(..) | Order::TakeDown(_) => {}
        }
    }

    /// Takes off what makes one order.
    fn next_line(&mut self, table: &Table, shut_out: &mut ShutOut, now: Instant) -> String {
        if let Some(lists) = self.deny.take() {
            let (line, left_out) = table.denied(&lists);
            shut_out.denied = lists.denied().next().is_some();
            if left_out > 0 {
                tracing::info!(
                    left_out,
                    "the kernel takes no more denied networks: the node drops these itself"
                );
            }
            return line;
        }
        let mut orders = Vec::new();
        while let Some((source, until)) = self.sources.pop_first() {
            shut_out.banned_until = shut_out.banned_until.max(until);
            orders.push(match until {
                Some(until) => table.banned(source, until.saturating_duration_since(now)),
                None => table.pardoned(source),
            });
            if orders.len() == ORDERS_AT_ONCE {
                break;
            }
        }
        orders.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn of_each_source_only_the_last_word_is_carried_out() {
        let table = Table::new("n", 1, &BTreeSet::from([5060]));
        let (first, other): (Prefix, Prefix) =
            ("192.0.2.1/32".parse().unwrap(), "192.0.2.2/32".parse().unwrap());
        let mut wishes = Wishes::default();
        wishes.add(Order::Ban(first, Duration::from_secs(30)));
        wishes.add(Order::Ban(other, Duration::from_secs(30)));
        wishes.add(Order::Pardon(first));
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        let line = wishes.next_line(&table, &mut shut_out, now);
        assert!(shut_out.is_anybody(now) && !shut_out.is_anybody(now + Duration::from_secs(31)));
        assert!(!line.contains("192.0.2.1 timeout") && line.contains("192.0.2.2 timeout"), "{line}");
        assert!(wishes.is_empty());
    }
}

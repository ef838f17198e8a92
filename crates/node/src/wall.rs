//! What the kernel keeps out: the denied networks and the banned sources, as sets of nftables that are looked at before a
//! socket is. A flood from there then costs a hundred nanoseconds a packet, and none of the node's threads.
//!
//! The node has a table of its own, after its data directory, and only packets to its SIP ports come into it. It is written
//! anew at each start, goes at an orderly end, and stays through a crash: bans end by themselves. The node judges
//! everything that comes through as before, so nothing depends on it.

mod script;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use offhook_edge::{Lists, Prefix};

use self::script::Table;
use crate::{
    config::{Config, KernelWall},
    kernel_plane,
};

/// Orders that may wait: a flood of bans must not wait for a program. What finds no room the node drops itself.
const ORDERS_MAX: usize = 4096;

/// Orders that are carried out by one run of the program.
const ORDERS_AT_ONCE: usize = 512;

/// How often the kernel is asked what it dropped.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// The kernel's part of the guard.
pub struct Wall {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

enum Order {
    Deny(Arc<Lists>),
    Ban(Prefix, Duration),
    Pardon(Prefix),
    TakeDown(SyncSender<()>),
}

/// Sets it up for these ports; `None` where the operator or the system does not want it.
pub fn build(config: &Config, ports: &BTreeSet<u16>) -> Option<Wall> {
    let table = Table::new(&kernel_plane::own(&config.storage.data), ports);
    if config.edge.kernel == KernelWall::Off {
        // What a node before this one left; there mostly is none.
        let _ = nft(&table.removed());
        return None;
    }
    if ports.is_empty() {
        return None;
    }
    if let Err(error) = nft(&table.made()) {
        let hint = "install nftables and give the node CAP_NET_ADMIN, or set edge.kernel = \"off\"";
        tracing::info!(%error, hint, "the kernel does not keep out the banned: the node does it alone");
        return None;
    }
    let (orders, receiver) = sync_channel(ORDERS_MAX);
    let dropped = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&dropped);
    let work = move || carry_out(&table, &receiver, &counter);
    thread::Builder::new().name("offhook-wall".into()).spawn(work).ok()?;
    Some(Wall { orders, dropped })
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
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes it down; returns when that is done.
    pub fn take_down(&self) {
        let (done, is_done) = sync_channel(1);
        if self.orders.send(Order::TakeDown(done)).is_ok() {
            let _ = is_done.recv();
        }
    }
}

fn carry_out(table: &Table, orders: &Receiver<Order>, dropped: &AtomicU64) {
    loop {
        let first = match orders.recv_timeout(COUNT_INTERVAL) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(count) =
                    nft_says(&table.count_question(), "").ok().as_deref().and_then(script::count_in)
                {
                    dropped.store(count, Ordering::Relaxed);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for order in std::iter::once(first).chain(orders.try_iter().take(ORDERS_AT_ONCE)) {
            let text = match order {
                Order::Deny(lists) => {
                    let (text, left_out) = table.denied(&lists);
                    if left_out > 0 {
                        tracing::info!(
                            left_out,
                            "the kernel takes no more denied networks: the node drops these itself"
                        );
                    }
                    text
                }
                Order::Ban(source, time) => table.banned(source, time),
                Order::Pardon(source) => table.pardoned(source),
                Order::TakeDown(done) => {
                    let _ = nft(&table.removed());
                    let _ = done.send(());
                    return;
                }
            };
            if let Err(error) = nft(&text) {
                tracing::debug!(%error, "the kernel did not take an order");
            }
        }
    }
}

/// Runs a script, all of it or nothing.
fn nft(script: &str) -> io::Result<()> {
    nft_says(&["-f", "-"], script).map(drop)
}

fn nft_says(words: &[&str], input: &str) -> io::Result<String> {
    let mut command = Command::new("nft");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("nft: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // It repeats the line that it complains of, which may name an address: only its first line is told.
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("nft failed");
    Err(io::Error::other(said.rsplit("Error: ").next().unwrap_or(said).to_string()))
}

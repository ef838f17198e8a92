//! A bad line: a UDP forwarder that loses and repeats datagrams, decided by a seed.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often a forwarding thread looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Forwards between one client and one server. The server sees [`Lossy::upstream`] as the client.
#[derive(Debug)]
pub struct Lossy {
    /// Where the client sends to.
    pub address: SocketAddr,
    lost: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Lossy {
    /// Loses and repeats so many percent of the datagrams in each direction.
    pub fn start(
        client: SocketAddr,
        server: SocketAddr,
        loss_percent: u64,
        repeat_percent: u64,
        seed: u64,
    ) -> Self {
        let bind = || {
            let socket = UdpSocket::bind((client.ip(), 0)).expect("a UDP port");
            socket.set_read_timeout(Some(LOOK_EVERY)).expect("sockets can");
            Arc::new(socket)
        };
        let (near, far) = (bind(), bind());
        let address = near.local_addr().expect("a bound socket");
        let (lost, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let forward = |from: &Arc<UdpSocket>, by: &Arc<UdpSocket>, to: SocketAddr, seed: u64| {
            let (from, by) = (Arc::clone(from), Arc::clone(by));
            let (lost, stop) = (Arc::clone(&lost), Arc::clone(&stop));
            thread::spawn(move || {
                let mut dice = Dice(seed);
                let mut datagram = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(length) = from.recv(&mut datagram) else { continue };
                    match dice.percent() {
                        roll if roll < loss_percent => {
                            lost.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        roll if roll < loss_percent + repeat_percent => {
                            let _ = by.send_to(&datagram[..length], to);
                        }
                        _ => {}
                    }
                    let _ = by.send_to(&datagram[..length], to);
                }
            })
        };
        let threads = vec![forward(&near, &far, server, seed), forward(&far, &near, client, !seed)];
        Self { address, lost, stop, threads }
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// SplitMix64: equal seeds, equal falls.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// 64 random bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// 0 to 99.
    pub const fn percent(&mut self) -> u64 {
        self.roll() % 100
    }
}

//! What a bad line makes of TCP: the octets all come and in order, but late, and cut where nobody meant them to be.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::lossy::Dice;

/// How often a thread looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Octets of the longest piece: most messages come in several, some pieces hold two ends.
const PIECE_BYTES_MAX: u64 = 400;

/// Of a hundred pieces so many are lost at first, and come after [`RETRANSMISSION`].
const LATE_PERCENT: u64 = 5;

/// How long TCP takes to send a lost segment again, as Linux does at best.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// Forwards every connection that is made to it to one server.
#[derive(Debug)]
pub struct Stuttering {
    /// Where clients connect to.
    pub address: SocketAddr,
    pieces: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Stuttering {
    /// Forwards to `server`, on an address of the same family.
    pub fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((server.ip(), 0)).expect("a TCP port");
        listener.set_nonblocking(true).expect("sockets can");
        let address = listener.local_addr().expect("a bound socket");
        let (pieces, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let way = Way { pieces: Arc::clone(&pieces), stop: Arc::clone(&stop) };
        let listening = Some(thread::spawn(move || way.listen(&listener, server, Dice(seed))));
        Self { address, pieces, stop, listening }
    }

    /// Pieces forwarded so far.
    pub fn pieces(&self) -> u32 {
        self.pieces.load(Ordering::Relaxed)
    }
}

impl Drop for Stuttering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

/// What the threads share.
struct Way {
    pieces: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Way {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes connections until the end, which is the end of all of them.
    fn listen(&self, listener: &TcpListener, server: SocketAddr, mut dice: Dice) {
        thread::scope(|scope| {
            while !self.is_over() {
                let Ok((near, _)) = listener.accept() else {
                    thread::sleep(LOOK_EVERY);
                    continue;
                };
                // The server may be gone: then the client finds its connection closed.
                let Ok(far) = TcpStream::connect(server) else { continue };
                let clone = |stream: &TcpStream| stream.try_clone().expect("sockets can");
                let (near_again, far_again, seeds) = (clone(&near), clone(&far), [dice.roll(), dice.roll()]);
                scope.spawn(move || self.forward(near, far, Dice(seeds[0])));
                scope.spawn(move || self.forward(far_again, near_again, Dice(seeds[1])));
            }
        });
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, mut dice: Dice) {
        let prepared = from.set_nonblocking(false).and(from.set_read_timeout(Some(LOOK_EVERY)));
        prepared.and(to.set_nodelay(true)).expect("sockets can");
        let mut octets = [0; 65_536];
        while !self.is_over() {
            let length = match from.read(&mut octets) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            let mut rest = &octets[..length];
            while !rest.is_empty() {
                let wanted = usize::try_from(1 + dice.roll() % PIECE_BYTES_MAX).expect("a small number");
                let (piece, later) = rest.split_at(wanted.min(rest.len()));
                if dice.percent() < LATE_PERCENT {
                    thread::sleep(RETRANSMISSION);
                }
                if to.write_all(piece).is_err() {
                    return;
                }
                self.pieces.fetch_add(1, Ordering::Relaxed);
                rest = later;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

//! A name server that knows one address, and can fall silent.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Octets of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// Type A, class IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// How soon the thread sees that it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Answers every question for an IPv4 address with the same one, and that there is nothing else. It ends with the value.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    answers: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that answers with `known`, to be asked again each time.
    pub fn start(known: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(LOOK)).expect("a time that is not zero");
        let address = socket.local_addr().expect("it is bound");
        let (answers, ends) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicBool>::default());
        let (does_answer, shall_end) = (Arc::clone(&answers), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !shall_end.load(Ordering::Acquire) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                if does_answer.load(Ordering::Acquire)
                    && let Some(answer) = answer(&question[..length], known)
                {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, answers, ends, thread: Some(thread) }
    }

    /// Where it is asked.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it answers from now on.
    pub fn answer(&self, answers: bool) {
        self.answers.store(answers, Ordering::Release);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The answer to a message with one question; what else it holds (EDNS) is left out.
fn answer(message: &[u8], known: Ipv4Addr) -> Option<Vec<u8>> {
    let name_end = HEADER + message.get(HEADER..)?.iter().position(|&octet| octet == 0)? + 1;
    let question = message.get(HEADER..name_end + 4)?;
    let is_known = question.ends_with(&ADDRESS);
    // A response with authority to a question that asked for recursion, without error.
    let mut answer =
        [&message[..2], &[0x85, 0x80, 0, 1, 0, u8::from(is_known), 0, 0, 0, 0], question].concat();
    if is_known {
        // The name of the question, not to be remembered (TTL 0), four octets.
        answer.extend(
            [0xC0, HEADER as u8].into_iter().chain(ADDRESS).chain([0, 0, 0, 0, 0, 4]).chain(known.octets()),
        );
    }
    Some(answer)
}

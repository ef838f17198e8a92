//! Ports for programs that cannot choose one themselves and tell it.
//!
//! They come from below the range that the system gives to outgoing connections, so nobody else takes them by chance. What
//! one test has, no other one gets, whichever run on this machine it belongs to: who hands ports out holds a claim, and
//! the system gives each claim to one process only, and takes it back at its end.

use std::{
    net::{TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
};

/// Where claims are held: TCP ports of an address of this host that no test uses for anything else.
const CLAIMS_AT: &str = "127.127.0.1";

/// Single ports, first and behind the last, and how many of them a run claims at once. It needs about 600.
const SINGLE: (u16, u16) = (10_000, 19_000);
const SINGLE_CLAIM: u16 = 1000;

/// Media ports of nodes: blocks of 50 calls with two legs, RTP and RTCP.
const NODE_MEDIA: (u16, u16) = (20_000, 28_000);
const NODE_BLOCK: u16 = 200;

/// Media ports of phones: SIPp takes six from the first on, baresip four for each call.
const PHONE_MEDIA: (u16, u16) = (28_000, 32_000);
const PHONE_BLOCK: u16 = 20;

/// The single ports of this run.
#[derive(Debug)]
struct Singles {
    /// For as long as the run lasts.
    claims: Vec<TcpListener>,
    next: u16,
    end: u16,
}

static SINGLES: Mutex<Singles> = Mutex::new(Singles { claims: Vec::new(), next: 0, end: 0 });

impl Singles {
    /// The next `count` ports in a row that are free for UDP and TCP, on IPv4 and IPv6.
    fn take(&mut self, count: u16) -> u16 {
        loop {
            if self.next + count > self.end {
                self.claim_more();
            }
            let first = self.next;
            self.next += count;
            if (first..self.next).all(is_free) {
                return first;
            }
        }
    }

    fn claim_more(&mut self) {
        let mut starts = (SINGLE.0..SINGLE.1).step_by(usize::from(SINGLE_CLAIM));
        let claimed = starts.find_map(|start| Some((start, TcpListener::bind((CLAIMS_AT, start)).ok()?)));
        let Some((start, claim)) = claimed else {
            panic!("other runs have all ports between {} and {}", SINGLE.0, SINGLE.1)
        };
        self.claims.push(claim);
        // The first one is where the claim is held.
        (self.next, self.end) = (start + 1, start + SINGLE_CLAIM);
    }
}

fn take(count: u16) -> u16 {
    // A test that failed while it took a port has harmed nobody.
    SINGLES.lock().unwrap_or_else(PoisonError::into_inner).take(count)
}

/// A port that is free for UDP and TCP, on IPv4 and IPv6.
pub fn free() -> u16 {
    take(1)
}

/// A free port whose successor is free, too: programs that take SIP on one take TLS on the next.
pub fn free_pair() -> u16 {
    take(2)
}

/// UDP ports in a row, for as long as the value lives.
#[derive(Debug)]
pub struct Block {
    /// The first one, even.
    pub first: u16,
    /// The last one, odd.
    pub last: u16,
    _claim: TcpListener,
}

/// The media ports of a node.
pub fn node_media() -> Block {
    block(NODE_MEDIA, NODE_BLOCK)
}

/// The media ports of one phone or tester.
pub fn phone_media() -> Block {
    block(PHONE_MEDIA, PHONE_BLOCK)
}

fn block((start, end): (u16, u16), length: u16) -> Block {
    for first in (start..end).step_by(usize::from(length)) {
        let last = first + length - 1;
        if let Ok(claim) = TcpListener::bind((CLAIMS_AT, first))
            && is_free(first)
        {
            return Block { first, last, _claim: claim };
        }
    }
    panic!("no {length} ports are free between {start} and {end}");
}

fn is_free(port: u16) -> bool {
    // Any address: `0.0.0.0` would not show who holds a single one.
    ["127.0.0.1", "::1"]
        .iter()
        .all(|&ip| UdpSocket::bind((ip, port)).is_ok() && TcpListener::bind((ip, port)).is_ok())
        && UdpSocket::bind(("0.0.0.0", port)).is_ok()
}

/// Whether somebody has the UDP or TCP port open: what a server that tells nothing is waited for by.
pub fn is_open(port: u16) -> bool {
    is_open_to("self", port)
}

/// The same in the network namespace of a process.
pub fn is_open_to(process: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        table.lines().any(|line| {
            let mut fields = line.split_whitespace();
            let local_ends = fields.nth(1).is_some_and(|local| local.ends_with(&wanted));
            // 07: UDP, not connected. 0A: TCP, listening.
            local_ends && matches!(fields.nth(1), Some("07" | "0A"))
        })
    })
}

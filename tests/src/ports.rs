//! Ports for programs that cannot choose one themselves and tell it.
//!
//! They come from below the range that the system gives to outgoing connections, so nobody else takes them by chance, and
//! none is given twice in a run. Several runs on one machine begin at different places.

use std::{
    net::{TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// Single ports.
const SINGLE: (u16, u16) = (10_000, 19_000);

/// Blocks of ports for media.
const MEDIA: (u16, u16) = (20_000, 32_000);

/// UDP ports of one block: 50 streams of two legs each.
const MEDIA_BLOCK: u16 = 200;

static NEXT_SINGLE: AtomicU16 = AtomicU16::new(0);
static NEXT_BLOCK: AtomicU16 = AtomicU16::new(0);

/// A port that is free for UDP and TCP, on IPv4 and IPv6.
pub fn free() -> u16 {
    let (first, last) = SINGLE;
    for _ in first..last {
        let step = NEXT_SINGLE.fetch_add(1, Ordering::Relaxed);
        let port = first + place().wrapping_add(step) % (last - first);
        if is_free(port) {
            return port;
        }
    }
    panic!("no port is free between {first} and {last}");
}

/// A free port whose successor is free, too: programs that take SIP on one take TLS on the next.
pub fn free_pair() -> u16 {
    let (first, last) = SINGLE;
    for _ in first..last {
        let step = NEXT_SINGLE.fetch_add(2, Ordering::Relaxed);
        let port = first + place().wrapping_add(step) % (last - first);
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
    panic!("no two ports are free between {first} and {last}");
}

/// A block of [`MEDIA_BLOCK`] UDP ports as first (even) and last (odd).
pub fn media_block() -> (u16, u16) {
    let (first, last) = MEDIA;
    let blocks = (last - first) / MEDIA_BLOCK;
    for _ in 0..blocks {
        let block = place().wrapping_add(NEXT_BLOCK.fetch_add(1, Ordering::Relaxed)) % blocks;
        let base = first + block * MEDIA_BLOCK;
        if is_free(base) {
            return (base, base + MEDIA_BLOCK - 1);
        }
    }
    panic!("no media ports are free between {first} and {last}");
}

/// Where this run begins.
fn place() -> u16 {
    // Truncation is meant: the low bits are what differs between two runs.
    (std::process::id() as u16).wrapping_mul(37)
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
    let wanted = format!(":{port:04X}");
    ["udp", "udp6", "tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        table.lines().any(|line| {
            let mut fields = line.split_whitespace();
            let local_ends = fields.nth(1).is_some_and(|local| local.ends_with(&wanted));
            // 07: UDP, not connected. 0A: TCP, listening.
            local_ends && matches!(fields.nth(1), Some("07" | "0A"))
        })
    })
}

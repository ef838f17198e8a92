//! The hot path asks the heap for nothing.

#![expect(unsafe_code, reason = "a global allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use common::{LOCAL, Phone, Stage, rtp};

/// Packets relayed under watch.
const PACKETS: u16 = 10_000;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test in this file: another would allocate beside it.
#[test]
fn ten_thousand_packets_are_relayed_without_an_allocation() {
    let stage = Stage::new(4);
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    let (left, right) = (stage.open(1, 1)[0], stage.open(2, 1)[0]);
    stage.configure(1, vec![alice.config()]);
    stage.configure(2, vec![bob.config()]);
    stage.bridge(1, 2);
    stage.settle();
    let mut packet = rtp(1, 0);
    let mut buffer = [0; 2048];
    let mut relay = |sequence_number: u16| {
        packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
        alice.rtp.send_to(&packet, (LOCAL, left)).unwrap();
        let (len, source) = bob.rtp.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source.port()), (&packet[..], right));
    };
    // The first packets may fill lazy places of the runtime.
    (0..10).for_each(&mut relay);
    let before = ALLOCATIONS.load(Relaxed);
    (10..10 + PACKETS).for_each(&mut relay);
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
}

//! What a call and a registration cost the exchange: blocks of memory taken, and octets kept while and after they last.
//! Instructions are counted by a profiler: `examples/cost.rs`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use offhook_sim::Bare;

/// Counts what is allocated by the thread that asks while the exchange works.
struct Counting;

thread_local! {
    static WORKING: Cell<bool> = const { Cell::new(false) };
    static BLOCKS: Cell<u64> = const { Cell::new(0) };
    static OCTETS: Cell<i64> = const { Cell::new(0) };
}

fn count(blocks: u64, octets: i64) {
    // A thread that is ending has no counters any more, and nobody to read them.
    let _ = OCTETS.try_with(|counter| counter.set(counter.get() + octets));
    if WORKING.try_with(Cell::get).unwrap_or(false) {
        let _ = BLOCKS.try_with(|counter| counter.set(counter.get() + blocks));
    }
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of it.
#[expect(
    unsafe_code,
    reason = "an allocator cannot be written otherwise, and this one is only a test's measure"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller keeps the contract of `dealloc`, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn bare() -> Bare {
    Bare::new(|working| WORKING.set(working))
}

/// Blocks taken per repetition of `one`, once tables and buffers have grown, and octets that each repetition leaves.
fn cost_of(bare: &mut Bare, one: fn(&mut Bare)) -> (f64, f64) {
    const TIMES: u32 = 2_000;
    for _ in 0..TIMES {
        one(bare);
    }
    let (blocks, octets) = (BLOCKS.get(), OCTETS.get());
    for _ in 0..TIMES {
        one(bare);
    }
    let each = |total: f64| total / f64::from(TIMES);
    (each((BLOCKS.get() - blocks) as f64), each((OCTETS.get() - octets) as f64))
}

/// Once the last timer has run out, nothing is left of what came since the last time it had.
fn assert_gives_back(bare: &mut Bare, one: fn(&mut Bare)) {
    let mut wave = || {
        for _ in 0..2_000 {
            one(bare);
        }
        bare.settle();
        OCTETS.get()
    };
    let (_, first, second) = (wave(), wave(), wave());
    assert!((second - first).abs() < 20_000, "{} octets are left of 2,000", second - first);
}

#[test]
fn a_call_takes_a_known_number_of_blocks_and_gives_all_back() {
    let mut bare = bare();
    let (blocks, octets) = cost_of(&mut bare, Bare::call);
    // Fourteen of them are for its kept form, written anew at six changes.
    assert!(blocks <= 121.0, "{blocks:.1} blocks per call");
    assert!(octets <= 2_050.0, "{octets:.0} octets per call that has just ended");
    assert_gives_back(&mut bare, Bare::call);
}

#[test]
fn a_registration_takes_a_known_number_of_blocks_and_gives_all_back() {
    let mut bare = bare();
    let (blocks, octets) = cost_of(&mut bare, Bare::registration);
    assert!(blocks <= 9.5, "{blocks:.1} blocks per registration");
    assert!(octets <= 820.0, "{octets:.0} octets per registration that has just ended");
    assert_gives_back(&mut bare, Bare::registration);
}

//! What a hundred thousand phones cost.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use offhook_sip::transport::Transport;
use offhook_switch::directory::LineId;

use crate::stage::{Stage, directory, stream};

/// Counts what is allocated by the thread that asks, so that tests beside it do not disturb.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counter any more, and nobody to read it.
    let _ = BYTES.try_with(|counter| counter.set(counter.get() + bytes));
}

/// What the system's allocator takes for a block: a header of 8 bytes, in steps of 16.
fn real_size(layout: Layout) -> isize {
    ((layout.size() + 8).next_multiple_of(16)).max(32) as isize
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of it.
#[expect(
    unsafe_code,
    reason = "an allocator cannot be written otherwise, and this one is only a test's measure"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(real_size(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-real_size(layout));
        // SAFETY: the caller keeps the contract of `dealloc`, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Goal: at most 0.9 KB per registered line with very many of them, over the costliest kind of flow. Method: let each
/// register with what a desk phone sends, each over its own TLS connection, and count what stays allocated.
#[test]
fn a_registered_line_takes_less_than_900_bytes() {
    const LINES: u64 = 28_000; // Just under the size at which the map doubles: as full as 112,000 would be.
    let mut stage = Stage::new();
    let names: Vec<String> = (1..=LINES).map(|number| number.to_string()).collect();
    let lines: Vec<_> =
        names.iter().zip(1..).map(|(name, number)| (name.as_str(), LineId(number), true)).collect();
    stage.directory = directory(&lines);
    let mut held = 0;
    for (name, number) in names.iter().zip(1..) {
        stage.flow = stream(Transport::Tls, number, "203.0.113.9:61000");
        let headers = "Supported: path, outbound, gruu\n\
            User-Agent: Yealink SIP-T46S 66.86.0.15 805ec0123456\n\
            Contact: <sip:101@192.168.100.101:12345;transport=tls;ob>;reg-id=1;\
            +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-805ec0123456>\";audio;\
            methods=\"INVITE,ACK,BYE,CANCEL,OPTIONS,INFO\"";
        held += stage.register_counting(name, "0_2783451234@192.168.100.101", headers, || BYTES.get());
    }
    assert_eq!(stage.registrar.len() as u64, LINES);
    let each = held as f64 / LINES as f64;
    assert!((400.0..900.0).contains(&each), "{each:.0} bytes per line");
}

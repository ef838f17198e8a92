//! Does nothing but calls or registrations, for a profiler that counts instructions:
//!
//!     cargo build --release -p offhook-sim --example cost
//!     valgrind --tool=callgrind --toggle-collect='*Bare::feed*' target/release/examples/cost calls 1000
//!
//! What is counted is the exchange alone: reading messages, deciding, writing messages.

use std::process::ExitCode;

use offhook_sim::Bare;

#[expect(clippy::print_stderr, reason = "a program for the command line")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, count) = (arguments.next(), arguments.next().and_then(|count| count.parse().ok()));
    let one: fn(&mut Bare) = match what.as_deref() {
        Some("calls") => Bare::call,
        Some("registrations") => Bare::registration,
        _ => {
            eprintln!("say what to do: `cost calls 1000` or `cost registrations 1000`");
            return ExitCode::from(2);
        }
    };
    let mut bare = Bare::new(|_| ());
    for _ in 0..count.unwrap_or(1000) {
        one(&mut bare);
    }
    // Their timers too: a transaction ends 32 s after its last message.
    bare.settle();
    ExitCode::SUCCESS
}

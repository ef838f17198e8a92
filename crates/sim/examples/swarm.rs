//! Runs worlds of the swarm outside of `cargo test`: `--seeds N` of them from `--seed S` on, and says how each ends; of one
//! alone, all that happens in it.
#![allow(clippy::print_stdout, reason = "a command line tool")]

#[path = "../tests/swarm_world/mod.rs"]
mod swarm_world;

use std::{panic, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1)?.parse::<u64>().ok()
    };
    let (first, count) = (number("--seed").unwrap_or(1), number("--seeds").unwrap_or(1));
    let mut failed = 0;
    for seed in first..first.saturating_add(count) {
        let ended = if count == 1 {
            let (story, ended) = swarm_world::story(seed);
            println!("{story}");
            ended
        } else {
            panic::catch_unwind(|| drop(swarm_world::run(seed)))
        };
        if ended.is_err() {
            println!("seed {seed} failed; replay: cargo run -p offhook-sim --example swarm -- --seed {seed}");
            failed += 1;
        }
    }
    println!("{count} worlds from seed {first}: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

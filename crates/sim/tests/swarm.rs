//! Many worlds, each from its own seed: first everything goes wrong, then it must come right.
//!
//! `SEEDS=n` runs n worlds, `SEED=n` replays one and tells what happens in it
//! (with `-- --nocapture` even if all goes well).

mod swarm_world;

use std::{
    panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Worlds of one run, unless `SEEDS` says otherwise: some fifteen seconds of two cores.
const SEEDS: u64 = 1000;

/// Failed worlds after which a run ends: what is common to them shows by then.
const FAILED_MAX: usize = 20;

#[test]
#[expect(clippy::disallowed_methods, reason = "which world to replay is asked of the environment")]
#[expect(clippy::print_stdout, reason = "who replays a world wants to read what happens in it")]
fn whatever_goes_wrong_nobody_hears_a_stranger_and_everything_settles() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        let (story, ended) = swarm_world::story(seed);
        println!("{story}");
        return ended.unwrap_or_else(|broken| panic::resume_unwind(broken));
    }
    let mut failed = failing_seeds(number("SEEDS").unwrap_or(SEEDS));
    failed.sort_unstable();
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}. Replay one: SEED={} cargo test -p offhook-sim --test swarm",
        failed.len(),
        failed[0]
    );
}

/// The seeds from 1 to `last` whose worlds broke a rule. Each core takes the next one.
fn failing_seeds(last: u64) -> Vec<u64> {
    let next = AtomicU64::new(1);
    let work = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let fails = |seed: &u64| panic::catch_unwind(|| swarm_world::run(*seed)).is_err();
        seeds.take_while(|seed| *seed <= last).filter(fails).take(FAILED_MAX).collect::<Vec<u64>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a world that fails is caught")).collect()
    })
}

#[test]
fn a_seed_repeats_exactly() {
    let story = |seed| {
        let world = swarm_world::run(seed);
        let ladders: Vec<_> = world
            .phones()
            .flat_map(|(_, phone)| &phone.ladder)
            .map(|step| (step.at, step.sent, step.bytes.clone()))
            .collect();
        let facts: Vec<_> = world.state().facts.iter().map(|fact| format!("{fact:?}")).collect();
        (ladders, facts)
    };
    for seed in [1, 2, 3] {
        assert!(story(seed) == story(seed), "seed {seed} told two stories");
    }
}

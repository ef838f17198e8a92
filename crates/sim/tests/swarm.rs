//! Many worlds, each from its own seed: first everything goes wrong, then it must come right.
//!
//! `SEEDS=n` runs n worlds, `SEED=n` replays one and tells what happens in it.

mod swarm_world;

use std::panic;

/// Worlds of one run, unless `SEEDS` says otherwise.
const SEEDS: u64 = 400;

#[test]
#[expect(clippy::disallowed_methods, reason = "which world to replay is asked of the environment")]
fn whatever_goes_wrong_nobody_hears_a_stranger_and_everything_settles() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        swarm_world::run(seed);
        return;
    }
    let failed: Vec<u64> = (1..=number("SEEDS").unwrap_or(SEEDS))
        .filter(|&seed| panic::catch_unwind(|| swarm_world::run(seed)).is_err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}. Replay one: SEED={} cargo test -p offhook-sim --test swarm",
        failed.len(),
        failed[0]
    );
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

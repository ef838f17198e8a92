//! Whose turn it is in the sets that go round.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
};

use rustc_hash::FxHasher;

/// Sets whose turns are remembered. More than there can be of one tenant; past it all begin anew.
const SETS_MAX: usize = 16_384;

/// The turns, by a hash of tenant and set: two that share one only take turns with each other.
#[derive(Clone, Debug, Default)]
pub struct Turns(HashMap<u64, u32>);

impl Turns {
    /// The next turn of this set.
    pub fn next(&mut self, tenant: &str, set: &str) -> u32 {
        let mut hasher = FxHasher::default();
        (tenant, set).hash(&mut hasher);
        if self.0.len() >= SETS_MAX {
            self.0.clear();
        }
        let turn = self.0.entry(hasher.finish()).or_default();
        let now = *turn;
        *turn = turn.wrapping_add(1);
        now
    }
}

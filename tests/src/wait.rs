//! Waiting for something to become true: the only place that looks at the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before it counts as never. Two busy cores need some room.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at what cannot tell by itself that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` finds something; panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain until {what}"))
}

/// Looks until `look` finds something or `limit` has passed.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let give_up_at = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > give_up_at {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

//! How densely turns follow each other. docs/decisions/0008-turns-are-spaced.md has the figures.

use std::time::Duration;

use offhook_base::Instant;

/// Turns that found something begin at least so far apart, as network cards space their interrupts. Waking costs as much
/// as carrying a message: the worker's own sleep, and that of whoever is written to. Under load one wake-up serves all
/// that came meanwhile; a lone message is served at once. It delays a message by up to so much.
const SPACING: Duration = Duration::from_millis(4);

/// Spaces turns.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last turn found something, until the rest after it.
    busy_at: Option<Instant>,
}

impl Pace {
    /// The turn found something to do.
    pub(crate) const fn found_work(&mut self, now: Instant) {
        self.busy_at = Some(now);
    }

    /// How long to rest before the next turn; zero if the last one found nothing, or took its time.
    pub(crate) fn rest(&mut self, now: Instant) -> Duration {
        self.busy_at.take().map_or(Duration::ZERO, |busy_at| (busy_at + SPACING).saturating_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Instant = Instant::from_driver_nanos(5_000_000);

    #[test]
    fn the_turn_after_a_busy_one_waits_and_the_one_after_an_idle_one_does_not() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(BEGIN), Duration::ZERO);
        pace.found_work(BEGIN);
        assert_eq!(pace.rest(BEGIN + Duration::from_micros(300)), SPACING - Duration::from_micros(300));
        assert_eq!(pace.rest(BEGIN + Duration::from_micros(300)), Duration::ZERO, "nothing was found since");
    }

    #[test]
    fn a_turn_that_took_longer_than_the_spacing_is_followed_at_once() {
        let mut pace = Pace::default();
        pace.found_work(BEGIN);
        assert_eq!(pace.rest(BEGIN + SPACING * 3), Duration::ZERO);
    }
}

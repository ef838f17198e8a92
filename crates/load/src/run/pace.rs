//! When calls start: the rate, the limits, the users. One for all workers, so that they hold exactly.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The pace of a run.
///
/// Calls are due on a fixed schedule, whether the other side is fast or slow: it does not slow the asking down
/// (coordinated omission). Only `-l` does; what it holds back is not made up for later, as with SIPp.
#[derive(Debug)]
pub struct Pace {
    /// When the next call is due, ns; `u64::MAX` while none is. Read without the lock.
    next_due: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Calls per second.
    rate: f64,
    /// Since when the rate is what it is, ns, and calls started since.
    since: u64,
    started_since: u64,
    started: u64,
    active: u64,
    calls_max: Option<u64>,
    limit: Option<u64>,
    /// Users without a call; `None`: there are no users.
    idle_users: Option<VecDeque<u32>>,
    paused: bool,
    closed: bool,
}

/// Most calls that a worker starts in one turn, so that others get theirs and answers are read meanwhile.
pub const CALLS_PER_TURN: u64 = 32;

/// Calls to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// None for now.
    None,
    /// So many.
    Calls(u64),
    /// One for each of these users.
    Users(Vec<u32>),
}

impl Pace {
    /// Nothing started; `now` in ns.
    pub fn new(rate: f64, limit: Option<u64>, calls_max: Option<u64>, users: Option<u32>, now: u64) -> Self {
        let state = State {
            rate,
            since: now,
            started_since: 0,
            started: 0,
            active: 0,
            calls_max,
            limit,
            idle_users: users.map(|users| (1..=users).collect()),
            paused: false,
            closed: false,
        };
        Self { next_due: AtomicU64::new(now), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a worker should ask again, ns; `None`: when something changes.
    pub fn next_due(&self) -> Option<u64> {
        Some(self.next_due.load(Ordering::Relaxed)).filter(|due| *due != u64::MAX)
    }

    /// Takes calls that are due at `now`, ns; they count as active until [`Pace::ended`].
    pub fn claim(&self, now: u64) -> Claim {
        if self.next_due.load(Ordering::Relaxed) > now {
            return Claim::None;
        }
        let mut state = self.lock();
        let claim = state.claim(now);
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
        claim
    }

    /// So many of the claimed calls are over. `true`: a worker that waited for room may go on.
    pub fn ended(&self, calls: u64, now: u64) -> bool {
        let mut state = self.lock();
        let was_full = state.is_full();
        state.active = state.active.saturating_sub(calls);
        if was_full && !state.is_full() {
            // What was due while there was no room is not made up for.
            state.restart(now);
        }
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
        was_full
    }

    /// A user has no call any more.
    pub fn user_free(&self, user: u32, now: u64) {
        let mut state = self.lock();
        if let Some(idle) = &mut state.idle_users {
            idle.push_back(user);
        }
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
    }

    /// Changes the rate; calls per second.
    pub fn set_rate(&self, rate: f64, now: u64) {
        let mut state = self.lock();
        state.rate = rate.max(0.0);
        state.restart(now);
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
    }

    /// Calls per second.
    pub fn rate(&self) -> f64 {
        self.lock().rate
    }

    /// Changes the limit of calls at once.
    pub fn set_limit(&self, limit: Option<u64>, now: u64) {
        let mut state = self.lock();
        state.limit = limit;
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
    }

    /// Most calls at once.
    pub fn limit(&self) -> Option<u64> {
        self.lock().limit
    }

    /// Starts no calls until it is called again. Returns whether it is paused now.
    pub fn toggle_pause(&self, now: u64) -> bool {
        let mut state = self.lock();
        state.paused = !state.paused;
        state.restart(now);
        self.next_due.store(state.next_due(now), Ordering::Relaxed);
        state.paused
    }

    /// Starts no more calls.
    pub fn close(&self) {
        self.lock().closed = true;
        self.next_due.store(u64::MAX, Ordering::Relaxed);
    }

    /// Calls that were claimed and are not over.
    pub fn active(&self) -> u64 {
        self.lock().active
    }

    /// Whether no more calls will start.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.closed || state.calls_max.is_some_and(|max| state.started >= max)
    }
}

impl State {
    fn restart(&mut self, now: u64) {
        self.since = now;
        self.started_since = 0;
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.active >= limit)
    }

    /// How many more there may be, whatever is due.
    fn room(&self) -> u64 {
        if self.closed || self.paused {
            return 0;
        }
        let calls = self.calls_max.map_or(u64::MAX, |max| max.saturating_sub(self.started));
        let limit = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.active));
        calls.min(limit).min(CALLS_PER_TURN)
    }

    fn claim(&mut self, now: u64) -> Claim {
        let room = self.room();
        if let Some(idle) = &mut self.idle_users {
            let count = (room as usize).min(idle.len());
            if count == 0 {
                return Claim::None;
            }
            let users: Vec<u32> = idle.drain(..count).collect();
            self.started += count as u64;
            self.active += count as u64;
            return Claim::Users(users);
        }
        let due = (now.saturating_sub(self.since) as f64 * self.rate / 1e9) as u64;
        let count = due.saturating_sub(self.started_since).min(room);
        if count == 0 {
            return Claim::None;
        }
        self.started += count;
        self.started_since += count;
        self.active += count;
        Claim::Calls(count)
    }

    fn next_due(&self, now: u64) -> u64 {
        if self.room() == 0 {
            return u64::MAX;
        }
        if let Some(idle) = &self.idle_users {
            return if idle.is_empty() { u64::MAX } else { now };
        }
        if self.rate <= 0.0 {
            return u64::MAX;
        }
        // One nanosecond more: the schedule rounds down.
        self.since + ((self.started_since + 1) as f64 * 1e9 / self.rate) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn started(pace: &Pace, now: u64) -> u64 {
        let mut sum = 0;
        while let Claim::Calls(count) = pace.claim(now) {
            sum += count;
        }
        sum
    }

    #[test]
    fn the_rate_is_exact_however_often_it_is_asked() {
        let pace = Pace::new(333.0, None, None, None, 0);
        let mut sum = 0;
        let mut now = 0;
        while now < 10 * SECOND {
            now = pace.next_due().expect("there is always a next one").max(now);
            sum += started(&pace, now);
        }
        assert!((3330..=3331).contains(&sum), "{sum}");
    }

    #[test]
    fn limits_hold_and_what_they_held_back_is_not_made_up_for() {
        let pace = Pace::new(100.0, Some(5), Some(8), None, 0);
        assert_eq!(started(&pace, SECOND), 5);
        assert_eq!(pace.next_due(), None);
        pace.ended(2, 2 * SECOND);
        assert_eq!(started(&pace, 2 * SECOND), 0);
        assert_eq!(started(&pace, 2 * SECOND + SECOND / 50 + 10), 2);
        pace.ended(5, 3 * SECOND);
        assert_eq!(started(&pace, 9 * SECOND), 1);
        assert!(pace.is_over());
    }

    #[test]
    fn users_get_their_next_call_when_the_last_is_over() {
        let pace = Pace::new(1.0, None, None, Some(2), 0);
        assert_eq!(pace.claim(0), Claim::Users(vec![1, 2]));
        assert_eq!(pace.claim(SECOND), Claim::None);
        pace.user_free(2, SECOND);
        assert_eq!(pace.claim(SECOND), Claim::Users(vec![2]));
    }

    #[test]
    fn a_pause_and_a_new_rate_start_the_schedule_again() {
        let pace = Pace::new(10.0, None, None, None, 0);
        assert!(pace.toggle_pause(0));
        assert_eq!(started(&pace, 5 * SECOND), 0);
        assert!(!pace.toggle_pause(5 * SECOND));
        assert_eq!(started(&pace, 6 * SECOND), 10);
        pace.set_rate(20.0, 6 * SECOND);
        assert_eq!(started(&pace, 7 * SECOND), 20);
    }
}

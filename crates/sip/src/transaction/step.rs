//! What an input makes of one transaction machine.
//!
//! The four machines return their outputs instead of queueing them for `poll_output`: one arrow of an RFC figure has
//! at most one send and one event, so a return value says it all, and an idle machine carries no queue. The layer
//! that owns them has the queue. Timers are not armed and disarmed: a machine's `deadline()` is a function of its
//! state, and its owner asks after every step.

use std::time::Duration;

use bytes::Bytes;
use offhook_base::Instant;

use super::timers::TimerConfig;

/// At most one message to put on the wire and one thing to tell the transaction user.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<E> {
    /// To the wire, by the transaction's own route. Comes before the event.
    pub send: Option<Bytes>,
    /// To the transaction user.
    pub event: Option<E>,
}

impl<E> Step<E> {
    /// The RFC's "-": the input changes nothing that others see.
    pub(super) const NOTHING: Self = Self { send: None, event: None };

    pub(super) const fn send(bytes: Bytes) -> Self {
        Self { send: Some(bytes), event: None }
    }

    pub(super) const fn event(event: E) -> Self {
        Self { send: None, event: Some(event) }
    }
}

/// The clockwork of a message that is repeated until it is answered or given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// Timer A, E or G; `None` over a reliable transport.
    pub resend_at: Option<Instant>,
    pub interval: Duration,
    /// Timer B, F or H.
    pub give_up_at: Instant,
}

impl Retry {
    pub fn start(timers: &TimerConfig, reliable: bool, now: Instant) -> Self {
        Self {
            resend_at: (!reliable).then_some(now + timers.t1),
            interval: timers.t1,
            give_up_at: now + timers.patience(),
        }
    }

    pub fn resend_due(&self, now: Instant) -> bool {
        self.resend_at.is_some_and(|at| at <= now)
    }

    /// The clockwork after a repeat at `now`, the next one `interval` away.
    pub fn again(self, interval: Duration, now: Instant) -> Self {
        Self { resend_at: Some(now + interval), interval, ..self }
    }

    pub fn deadline(&self) -> Instant {
        self.resend_at.map_or(self.give_up_at, |at| at.min(self.give_up_at))
    }
}

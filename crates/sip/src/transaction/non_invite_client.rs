//! Non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.
//!
//! The request is sent at once and repeated on Timer E, which doubles up to T2, until a final response comes or Timer
//! F gives up. After the final response it stays for Timer K to swallow repeats of it.

use std::mem;

use bytes::Bytes;
use offhook_base::Instant;

use super::{
    step::{Retry, Step},
    timers::TimerConfig,
};
use crate::message::StatusCode;

/// What may happen to it.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A response that matches the transaction.
    Response(StatusCode),
    /// The deadline may have come.
    Timeout,
    /// The request could not be sent.
    TransportFailed,
}

/// What the transaction user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The response of this step goes up.
    Response,
    /// Timer F: treat as 408 (RFC 3261 §8.1.3.1).
    TimedOut,
    /// Treat as 503 (§8.1.3.1).
    TransportFailed,
    /// The transaction is gone.
    Terminated,
}

/// The RFC's own states; each one owns only what means something in it.
#[derive(Debug)]
enum State {
    Trying(Bytes, Retry),
    Proceeding(Bytes, Retry),
    Completed { linger_until: Instant }, // Timer K
    Terminated,
}

/// One non-INVITE request on its way.
#[derive(Debug)]
pub struct NonInviteClient {
    state: State,
    reliable: bool,
}

impl NonInviteClient {
    /// Enters Trying; the caller puts `request` on the wire, repeats are the machine's.
    pub fn new(request: Bytes, reliable: bool, timers: &TimerConfig, now: Instant) -> Self {
        Self { state: State::Trying(request, Retry::start(timers, reliable, now)), reliable }
    }

    /// One arm per arrow of figure 6.
    pub fn handle_input(&mut self, input: Input, timers: &TimerConfig, now: Instant) -> Step<Event> {
        use State::{Completed, Proceeding, Terminated, Trying};
        let (state, step) = match (mem::replace(&mut self.state, Terminated), input) {
            (Trying(_, retry) | Proceeding(_, retry), Input::Timeout) if now >= retry.give_up_at => {
                (Terminated, Step::event(Event::TimedOut)) // Timer F
            }
            (Trying(request, retry), Input::Timeout) if retry.resend_due(now) => {
                // Unlike Timer A, Timer E stops doubling at T2 (§17.1.2.2).
                let retry = retry.again(timers.back_off(retry.interval), now);
                (Trying(request.clone(), retry), Step::send(request))
            }
            (Proceeding(request, retry), Input::Timeout) if retry.resend_due(now) => {
                (Proceeding(request.clone(), retry.again(timers.t2, now)), Step::send(request))
            }
            (Trying(request, retry) | Proceeding(request, retry), Input::Response(status))
                if status.is_provisional() =>
            {
                (Proceeding(request, retry), Step::event(Event::Response))
            }
            (Trying(..) | Proceeding(..), Input::Response(_)) => {
                // Timer K; zero over a reliable transport, where nothing is repeated.
                let linger_until = if self.reliable { now } else { now + timers.t4 };
                (Completed { linger_until }, Step::event(Event::Response))
            }
            (Trying(..) | Proceeding(..), Input::TransportFailed) => {
                (Terminated, Step::event(Event::TransportFailed))
            }
            (Completed { linger_until }, Input::Timeout) if now >= linger_until => {
                (Terminated, Step::event(Event::Terminated))
            }
            (unchanged, _) => (unchanged, Step::NOTHING), // an early timeout, a repeated final: stay
        };
        self.state = state;
        step
    }

    /// When to hand in [`Input::Timeout`]; `None` once terminated.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Trying(_, retry) | State::Proceeding(_, retry) => Some(retry.deadline()),
            State::Completed { linger_until } => Some(*linger_until),
            State::Terminated => None,
        }
    }

    /// Whether it has ended.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

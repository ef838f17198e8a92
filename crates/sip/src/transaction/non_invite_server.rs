//! Non-INVITE server transaction: RFC 3261 §17.2.2, figure 8.
//!
//! It remembers the last response so that a repeated request is answered from here and never reaches the transaction
//! user twice.

use std::mem;

use bytes::Bytes;
use offhook_base::Instant;

use super::{step::Step, timers::TimerConfig};
use crate::message::StatusCode;

/// What may happen to it.
#[derive(Clone, Debug)]
pub enum Input {
    /// The request came again.
    Request,
    /// The transaction user answers.
    Respond(StatusCode, Bytes),
    /// The deadline may have come.
    Timeout,
    /// The last response could not be sent.
    TransportFailed,
}

/// What the transaction user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// No answer was given in time; the client has given up (its Timer F) and so does the server.
    TimedOut,
    /// The response did not get out.
    TransportFailed,
    /// The transaction is gone.
    Terminated,
}

#[derive(Debug)]
enum State {
    Trying { answer_by: Instant },
    Proceeding { answer_by: Instant, provisional: Bytes },
    Completed { until: Instant, response: Bytes }, // Timer J
    Terminated,
}

/// One non-INVITE request to be answered.
#[derive(Debug)]
pub struct NonInviteServer {
    state: State,
    reliable: bool,
}

impl NonInviteServer {
    /// Enters Trying.
    ///
    /// The RFC lets the transaction user take forever. It may not here: after 64*T1 nobody waits for the answer.
    pub fn new(reliable: bool, timers: &TimerConfig, now: Instant) -> Self {
        Self { state: State::Trying { answer_by: now + timers.patience() }, reliable }
    }

    /// One arm per arrow of figure 8.
    pub fn handle_input(&mut self, input: Input, timers: &TimerConfig, now: Instant) -> Step<Event> {
        use State::{Completed, Proceeding, Terminated, Trying};
        let (state, step) = match (mem::replace(&mut self.state, Terminated), input) {
            (Trying { answer_by } | Proceeding { answer_by, .. }, Input::Respond(status, bytes))
                if status.is_provisional() =>
            {
                (Proceeding { answer_by, provisional: bytes.clone() }, Step::send(bytes))
            }
            (Trying { .. } | Proceeding { .. }, Input::Respond(_, bytes)) => {
                // Timer J; zero over a reliable transport.
                let until = if self.reliable { now } else { now + timers.patience() };
                // A copy: `bytes` is a piece of a buffer that other messages were written to, and would keep all of it, cold,
                // for 32 s.
                let response = Bytes::copy_from_slice(&bytes);
                (Completed { until, response }, Step::send(bytes))
            }
            (Proceeding { answer_by, provisional }, Input::Request) => {
                (Proceeding { answer_by, provisional: provisional.clone() }, Step::send(provisional))
            }
            (Completed { until, response }, Input::Request) => {
                (Completed { until, response: response.clone() }, Step::send(response))
            }
            (Proceeding { .. } | Completed { .. }, Input::TransportFailed) => {
                (Terminated, Step::event(Event::TransportFailed))
            }
            (Completed { until, .. }, Input::Timeout) if now >= until => {
                (Terminated, Step::event(Event::Terminated))
            }
            (Trying { answer_by } | Proceeding { answer_by, .. }, Input::Timeout) if now >= answer_by => {
                (Terminated, Step::event(Event::TimedOut))
            }
            // A repeat before any answer, a second final answer (§17.2.2: discarded), an early timeout.
            (unchanged, _) => (unchanged, Step::NOTHING),
        };
        self.state = state;
        step
    }

    /// What a repeat of the request would be answered with.
    pub fn last_response(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { provisional: bytes, .. } | State::Completed { response: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// When to hand in [`Input::Timeout`]; `None` once terminated.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Trying { answer_by } | State::Proceeding { answer_by, .. } => Some(answer_by),
            State::Completed { until, .. } => Some(until),
            State::Terminated => None,
        }
    }

    /// Whether a final answer can still be given.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    /// Whether it has ended.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

//! INVITE server transaction: RFC 3261 §17.2.1, figure 7, with the Accepted state of RFC 6026 §7.1.
//!
//! A repeated INVITE is answered with the last provisional or failure response. A failure is repeated on Timer G until
//! its ACK. After a 2xx the machine only swallows repeats of the INVITE: the 2xx itself is repeated end to end, by
//! the user agent (`dialog::AcceptedResponse`), because a proxy on the way would otherwise answer for it.

use std::{mem, time::Duration};

use bytes::Bytes;
use offhook_base::Instant;

use super::{
    step::{Retry, Step},
    timers::TimerConfig,
};
use crate::message::StatusCode;

/// How long an INVITE may stay unanswered after the transaction user's last sign of life. The RFC sets no bound; ours
/// is ten times the minute after which §13.3.1.1 wants a provisional response repeated.
pub const UNANSWERED_MAX: Duration = Duration::from_secs(600);

/// What may happen to it.
#[derive(Clone, Debug)]
pub enum Input {
    /// The INVITE came again.
    Invite,
    /// Its ACK came.
    Ack,
    /// The transaction user answers; after a 2xx also each repeat of the 2xx.
    Respond(StatusCode, Bytes),
    /// The deadline may have come.
    Timeout,
    /// The last response could not be sent.
    TransportFailed,
}

/// What the owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// No answer yet and the other side grows impatient: it is time for a 100 (handed back as [`Input::Respond`]).
    TryingDue,
    /// An ACK of a 2xx, for the dialog.
    Ack,
    /// Timer H: no ACK for a failure; or [`UNANSWERED_MAX`].
    TimedOut,
    /// A response did not get out. The transaction stays (RFC 6026 §7.1): a repeated INVITE may find a better route.
    TransportFailed,
    /// The transaction is gone.
    Terminated,
}

#[derive(Debug)]
enum State {
    /// Proceeding before anything was sent.
    Unanswered {
        trying_at: Option<Instant>,
        give_up_at: Instant,
    },
    Proceeding {
        provisional: Bytes,
        give_up_at: Instant,
    },
    Completed {
        response: Bytes,
        retry: Retry,
    }, // Timers G and H
    Confirmed {
        linger_until: Instant,
    }, // Timer I
    Accepted {
        linger_until: Instant,
    }, // Timer L
    Terminated,
}

/// One INVITE to be answered.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    reliable: bool,
}

impl InviteServer {
    /// Enters Proceeding. If nothing is answered within `trying_after` (200 ms in §17.2.1), [`Event::TryingDue`];
    /// `None`: the transaction user sends its own 100.
    pub fn new(reliable: bool, trying_after: Option<Duration>, now: Instant) -> Self {
        let trying_at = trying_after.map(|after| now + after);
        Self { state: State::Unanswered { trying_at, give_up_at: now + UNANSWERED_MAX }, reliable }
    }

    /// One that another process has begun, with the last provisional response it gave. The client has heard of us: no 100.
    pub fn resumed(reliable: bool, provisional: Option<Bytes>, now: Instant) -> Self {
        let give_up_at = now + UNANSWERED_MAX;
        let state = match provisional {
            Some(provisional) => State::Proceeding { provisional, give_up_at },
            None => State::Unanswered { trying_at: None, give_up_at },
        };
        Self { state, reliable }
    }

    /// One that another process has accepted: it swallows what comes late.
    pub fn accepted(reliable: bool, timers: &TimerConfig, now: Instant) -> Self {
        Self { state: State::Accepted { linger_until: now + timers.patience() }, reliable }
    }

    /// One arm per arrow of figure 7.
    pub fn handle_input(&mut self, input: Input, timers: &TimerConfig, now: Instant) -> Step<Event> {
        use State::{Accepted, Completed, Confirmed, Proceeding, Terminated, Unanswered};
        let (state, step) = match (mem::replace(&mut self.state, Terminated), input) {
            (Unanswered { .. } | Proceeding { .. }, Input::Respond(status, bytes)) => {
                self.answer(status, bytes, timers, now)
            }
            (Unanswered { give_up_at, .. } | Proceeding { give_up_at, .. }, Input::Timeout)
                if now >= give_up_at =>
            {
                (Terminated, Step::event(Event::TimedOut))
            }
            (Unanswered { trying_at: Some(at), give_up_at }, Input::Timeout) if now >= at => {
                (Unanswered { trying_at: None, give_up_at }, Step::event(Event::TryingDue))
            }
            // A repeat before any answer means that T1 has passed: a 100 calms the sender.
            (Unanswered { trying_at: Some(_), give_up_at }, Input::Invite) => {
                (Unanswered { trying_at: None, give_up_at }, Step::event(Event::TryingDue))
            }
            (Proceeding { provisional, give_up_at }, Input::Invite) => {
                (Proceeding { provisional: provisional.clone(), give_up_at }, Step::send(provisional))
            }
            (Completed { response, retry }, Input::Invite) => {
                (Completed { response: response.clone(), retry }, Step::send(response))
            }
            (Completed { retry, .. }, Input::Timeout) if now >= retry.give_up_at => {
                (Terminated, Step::event(Event::TimedOut)) // Timer H
            }
            (Completed { response, retry }, Input::Timeout) if retry.resend_due(now) => {
                let retry = retry.again(timers.back_off(retry.interval), now); // Timer G
                (Completed { response: response.clone(), retry }, Step::send(response))
            }
            (Completed { .. }, Input::Ack) => {
                let linger_until = if self.reliable { now } else { now + timers.t4 };
                (Confirmed { linger_until }, Step::NOTHING)
            }
            (Accepted { linger_until }, Input::Ack) => (Accepted { linger_until }, Step::event(Event::Ack)),
            (Accepted { linger_until }, Input::Respond(status, bytes)) if status.is_success() => {
                (Accepted { linger_until }, Step::send(bytes))
            }
            (Confirmed { linger_until } | Accepted { linger_until }, Input::Timeout)
                if now >= linger_until =>
            {
                (Terminated, Step::event(Event::Terminated))
            }
            (
                state @ (Unanswered { .. } | Proceeding { .. } | Completed { .. } | Accepted { .. }),
                Input::TransportFailed,
            ) => (state, Step::event(Event::TransportFailed)),
            (unchanged, _) => (unchanged, Step::NOTHING),
        };
        self.state = state;
        step
    }

    fn answer(
        &self,
        status: StatusCode,
        bytes: Bytes,
        timers: &TimerConfig,
        now: Instant,
    ) -> (State, Step<Event>) {
        let state = if status.is_provisional() {
            State::Proceeding { provisional: bytes.clone(), give_up_at: now + UNANSWERED_MAX }
        } else if status.is_success() {
            State::Accepted { linger_until: now + timers.patience() } // Timer L, over every transport
        } else {
            State::Completed { response: bytes.clone(), retry: Retry::start(timers, self.reliable, now) }
        };
        (state, Step::send(bytes))
    }

    /// Whether a final answer can still be given, so a CANCEL still means something (§9.2).
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Unanswered { .. } | State::Proceeding { .. })
    }

    /// Whether the 2xx is out and each repeat of it may still pass.
    pub fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted { .. })
    }

    /// The last provisional response: it has the tag that the answer to a CANCEL shall carry too (§9.2).
    pub fn last_provisional(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { provisional, .. } => Some(provisional),
            _ => None,
        }
    }

    /// What a repeat of the INVITE would be answered with.
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
        match &self.state {
            State::Unanswered { trying_at, give_up_at } => Some(trying_at.unwrap_or(*give_up_at)),
            State::Proceeding { give_up_at, .. } => Some(*give_up_at),
            State::Completed { retry, .. } => Some(retry.deadline()),
            State::Confirmed { linger_until } | State::Accepted { linger_until } => Some(*linger_until),
            State::Terminated => None,
        }
    }

    /// Whether it has ended.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

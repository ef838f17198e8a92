//! INVITE client transaction: RFC 3261 §17.1.1, figure 5, with the Accepted state of RFC 6026 §7.2.
//!
//! Until a first provisional response the INVITE is repeated on Timer A, which doubles without a cap. A failure is
//! acknowledged from here (hop by hop); a 2xx goes up, once from each branch the request was forked to and as often
//! as it is repeated, for the dialog to acknowledge end to end.

use std::{mem, time::Duration};

use bytes::Bytes;
use offhook_base::Instant;

use super::{
    ack,
    step::{Retry, Step},
    timers::TimerConfig,
};
use crate::message::Response;

/// How long an INVITE may ring without a new sign of life. The RFC sets no bound for a client (Timer C is a proxy's);
/// §13.3.1.1 has the other side repeat its 1xx every minute, so after ten silent minutes it has vanished.
pub const RINGING_MAX: Duration = Duration::from_secs(600);

/// What may happen to it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A response that matches the transaction.
    Response(&'a Response),
    /// The transaction user wants no answer any more.
    Cancel,
    /// The deadline may have come.
    Timeout,
    /// The INVITE or the ACK could not be sent.
    TransportFailed,
}

/// What the owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The response of this step goes up.
    Response,
    /// The response of this step goes up, and the CANCEL that waited for it goes out (§9.1).
    ResponseThenCancel,
    /// The CANCEL goes out now.
    Cancel,
    /// Timer B, or no final response within 64*T1 after a CANCEL (§9.1), or [`RINGING_MAX`]: treat as 408.
    TimedOut,
    /// Treat as 503 (§8.1.3.1).
    TransportFailed,
    /// The transaction is gone.
    Terminated,
}

/// How far giving up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancelling {
    No,
    /// §9.1: not before a provisional response has shown that the other side knows the INVITE.
    AtFirstProvisional,
    /// §9.1: without a final response by then, the INVITE counts as cancelled.
    Sent {
        give_up_at: Instant,
    },
}

#[derive(Debug)]
enum State {
    Calling { invite: Bytes, retry: Retry, cancelling: Cancelling },
    Proceeding { invite: Bytes, give_up_at: Instant, cancelling: Cancelling },
    Completed { ack: Option<Bytes>, linger_until: Instant }, // Timer D
    Accepted { linger_until: Instant },                      // Timer M
    Terminated,
}

/// One INVITE on its way.
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    reliable: bool,
}

impl InviteClient {
    /// Enters Calling; the caller puts `invite` on the wire, repeats are the machine's.
    pub fn new(invite: Bytes, reliable: bool, timers: &TimerConfig, now: Instant) -> Self {
        let retry = Retry::start(timers, reliable, now);
        Self { state: State::Calling { invite, retry, cancelling: Cancelling::No }, reliable }
    }

    /// One that another process has begun. It has had a provisional response: nothing is repeated, a CANCEL may go out.
    pub fn progressed(invite: Bytes, reliable: bool, now: Instant) -> Self {
        let give_up_at = now + RINGING_MAX;
        Self { state: State::Proceeding { invite, give_up_at, cancelling: Cancelling::No }, reliable }
    }

    /// Whether it has had a provisional response and waits for the final one.
    pub fn has_progressed(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// One arm per arrow of figure 5.
    pub fn handle_input(&mut self, input: Input<'_>, timers: &TimerConfig, now: Instant) -> Step<Event> {
        use State::{Accepted, Calling, Completed, Proceeding, Terminated};
        let (state, step) = match (mem::replace(&mut self.state, Terminated), input) {
            (Calling { retry, .. }, Input::Timeout) if now >= retry.give_up_at => {
                (Terminated, Step::event(Event::TimedOut)) // Timer B
            }
            (Calling { invite, retry, cancelling }, Input::Timeout) if retry.resend_due(now) => {
                // Timer A doubles without a cap (§17.1.1.2).
                let retry = retry.again(retry.interval.saturating_mul(2), now);
                (Calling { invite: invite.clone(), retry, cancelling }, Step::send(invite))
            }
            (Proceeding { give_up_at, .. }, Input::Timeout) if now >= give_up_at => {
                (Terminated, Step::event(Event::TimedOut))
            }
            (
                Calling { invite, cancelling, .. } | Proceeding { invite, cancelling, .. },
                Input::Response(response),
            ) => self.take_response(invite, cancelling, response, timers, now),
            (Calling { invite, retry, .. }, Input::Cancel) => {
                let cancelling = Cancelling::AtFirstProvisional;
                (Calling { invite, retry, cancelling }, Step::NOTHING)
            }
            (Proceeding { invite, cancelling: Cancelling::No, .. }, Input::Cancel) => {
                let give_up_at = now + timers.patience();
                let cancelling = Cancelling::Sent { give_up_at };
                (Proceeding { invite, give_up_at, cancelling }, Step::event(Event::Cancel))
            }
            (Calling { .. } | Proceeding { .. } | Completed { .. }, Input::TransportFailed) => {
                (Terminated, Step::event(Event::TransportFailed))
            }
            (Completed { ack, linger_until }, Input::Response(response)) if response.status().is_final() => {
                // A repeat: our ACK was lost. It is acknowledged again and goes no further.
                (Completed { ack: ack.clone(), linger_until }, Step { send: ack, event: None })
            }
            (Accepted { linger_until }, Input::Response(response)) if response.status().is_success() => {
                (Accepted { linger_until }, Step::event(Event::Response))
            }
            (Completed { linger_until, .. } | Accepted { linger_until }, Input::Timeout)
                if now >= linger_until =>
            {
                (Terminated, Step::event(Event::Terminated))
            }
            (unchanged, _) => (unchanged, Step::NOTHING),
        };
        self.state = state;
        step
    }

    /// The first final response, or any provisional one.
    fn take_response(
        &self,
        invite: Bytes,
        cancelling: Cancelling,
        response: &Response,
        timers: &TimerConfig,
        now: Instant,
    ) -> (State, Step<Event>) {
        let status = response.status();
        if status.is_success() {
            let linger_until = now + timers.patience(); // Timer M, over every transport (RFC 6026 §8.4)
            return (State::Accepted { linger_until }, Step::event(Event::Response));
        }
        if status.is_final() {
            let ack = ack::for_failure(&invite, response);
            let linger_until = if self.reliable { now } else { now + timers.wait_d() };
            let step = Step { send: ack.clone(), event: Some(Event::Response) };
            return (State::Completed { ack, linger_until }, step);
        }
        let (cancelling, event, give_up_at) = match cancelling {
            Cancelling::No => (cancelling, Event::Response, now + RINGING_MAX),
            Cancelling::AtFirstProvisional => {
                let give_up_at = now + timers.patience();
                (Cancelling::Sent { give_up_at }, Event::ResponseThenCancel, give_up_at)
            }
            // More ringing does not prolong the life of a call that nobody wants.
            Cancelling::Sent { give_up_at } => (cancelling, Event::Response, give_up_at),
        };
        (State::Proceeding { invite, give_up_at, cancelling }, Step::event(event))
    }

    /// The INVITE while it is unanswered: what a CANCEL is built from.
    pub fn pending_invite(&self) -> Option<&Bytes> {
        match &self.state {
            State::Calling { invite, .. } | State::Proceeding { invite, .. } => Some(invite),
            _ => None,
        }
    }

    /// When to hand in [`Input::Timeout`]; `None` once terminated.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Calling { retry, .. } => Some(retry.deadline()),
            State::Proceeding { give_up_at, .. } => Some(*give_up_at),
            State::Completed { linger_until, .. } | State::Accepted { linger_until } => Some(*linger_until),
            State::Terminated => None,
        }
    }

    /// Whether it has ended.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

//! A 2xx to an INVITE, repeated until its ACK comes: RFC 3261 §13.3.1.4.
//!
//! The transaction layer cannot do this: the ACK of a 2xx comes end to end and in no transaction.

use std::time::Duration;

use bytes::Bytes;
use offhook_base::Instant;

use crate::transaction::TimerConfig;

/// What a time-out asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptedEvent {
    /// Hand the response to the transaction layer again.
    Resend(Bytes),
    /// No ACK within 64*T1: the dialog stands, but the session should be ended with a BYE.
    GiveUp,
}

/// The clockwork of one 2xx. It runs over every transport: a later hop may be UDP.
#[derive(Debug)]
pub struct AcceptedResponse {
    /// `None` once acknowledged or given up.
    unacknowledged: Option<Unacknowledged>,
}

#[derive(Debug)]
struct Unacknowledged {
    response: Bytes,
    resend_at: Instant,
    interval: Duration,
    give_up_at: Instant,
}

impl AcceptedResponse {
    /// Starts with `response`, which was just sent for the first time.
    pub fn new(response: Bytes, timers: &TimerConfig, now: Instant) -> Self {
        let unacknowledged = Unacknowledged {
            response,
            resend_at: now + timers.t1,
            interval: timers.t1,
            give_up_at: now + timers.patience(),
        };
        Self { unacknowledged: Some(unacknowledged) }
    }

    /// The response, while its ACK is awaited.
    pub fn response(&self) -> Option<&Bytes> {
        self.unacknowledged.as_ref().map(|waiting| &waiting.response)
    }

    /// The ACK came; true the first time.
    pub fn handle_ack(&mut self) -> bool {
        self.unacknowledged.take().is_some()
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, timers: &TimerConfig, now: Instant) -> Option<AcceptedEvent> {
        let waiting = self.unacknowledged.as_mut()?;
        if now >= waiting.give_up_at {
            self.unacknowledged = None;
            return Some(AcceptedEvent::GiveUp);
        }
        if now < waiting.resend_at {
            return None;
        }
        waiting.interval = timers.back_off(waiting.interval);
        waiting.resend_at = now + waiting.interval;
        Some(AcceptedEvent::Resend(waiting.response.clone()))
    }

    /// When to call [`AcceptedResponse::handle_timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        self.unacknowledged.as_ref().map(|waiting| waiting.resend_at.min(waiting.give_up_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: T1 doubling to T2, given up at 64*T1. Method: never acknowledge, jump from deadline to deadline.
    #[test]
    fn an_unacknowledged_2xx_is_repeated_ten_times_in_32_s() {
        let start = Instant::default();
        let timers = TimerConfig::RFC3261;
        let mut accepted = AcceptedResponse::new(Bytes::from_static(b"200"), &timers, start);
        let mut resent_ms = Vec::new();
        while let Some(at) = accepted.deadline() {
            match accepted.handle_timeout(&timers, at) {
                Some(AcceptedEvent::Resend(_)) => resent_ms.push((at - start).as_millis()),
                Some(AcceptedEvent::GiveUp) => assert_eq!((at - start).as_millis(), 32_000),
                None => panic!("nothing happened at a deadline"),
            }
        }
        assert_eq!(resent_ms, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    }

    #[test]
    fn an_ack_stops_the_repeats() {
        let timers = TimerConfig::RFC3261;
        let mut accepted = AcceptedResponse::new(Bytes::new(), &timers, Instant::default());
        assert!(accepted.handle_ack());
        assert!(!accepted.handle_ack());
        assert_eq!(accepted.deadline(), None);
    }
}

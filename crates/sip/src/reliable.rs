//! Reliable provisional responses: RFC 3262.
//!
//! Each carries a number (RSeq) and is repeated until a PRACK names that number, much as a 2xx is repeated until its
//! ACK. The machines decide what is sent again and what is in order; the messages themselves, the PRACK's transaction and
//! the offer/answer rules (§5) are the transaction user's.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use offhook_base::{Instant, Random};

use crate::{header::RAck, transaction::TimerConfig};

/// Reliable responses that may wait for their turn. Nobody rings in so many ways while a PRACK is on its way.
pub const QUEUE_MAX: usize = 8;

/// What a time-out asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionalEvent {
    /// Hand the response to the transaction layer again.
    Resend(Bytes),
    /// No PRACK within 64*T1: reject the INVITE with 504 (§3 asks for a 5xx).
    GiveUp,
}

/// Why a PRACK or a response was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReliableError {
    /// No response waits for that RAck: answer the PRACK with 481 (§3).
    #[error("no reliable response has that number")]
    NoMatch,
    /// [`QUEUE_MAX`] responses wait already.
    #[error("too many reliable responses wait")]
    QueueFull,
}

/// The server's side for one INVITE: sends reliable responses one at a time, the next only after the PRACK of the one
/// before. §3 demands that of the first one and allows it for the others.
#[derive(Debug)]
pub struct ReliableProvisionals {
    /// The CSeq number of the INVITE.
    cseq: u32,
    next_rseq: u32,
    in_flight: Option<InFlight>,
    waiting: VecDeque<(u32, Bytes)>,
}

#[derive(Debug)]
struct InFlight {
    rseq: u32,
    response: Bytes,
    resend_at: Instant,
    interval: Duration,
    give_up_at: Instant,
}

impl ReliableProvisionals {
    /// For the INVITE with that CSeq number. The first RSeq is random in 1..=2^31-1 (§3).
    pub fn new(cseq: u32, random: &mut Random) -> Self {
        let next_rseq = 1 + (random.next_u32() >> 1).min(0x7fff_fffe);
        Self { cseq, next_rseq, in_flight: None, waiting: VecDeque::new() }
    }

    /// Goes on where another process has been: `unacknowledged` responses with their RSeq, the one that was sent first. An
    /// empty one is recognised by its number and not repeated.
    pub fn resume(
        cseq: u32,
        next_rseq: u32,
        unacknowledged: impl IntoIterator<Item = (u32, Bytes)>,
        timers: &TimerConfig,
        now: Instant,
    ) -> Self {
        let mut waiting: VecDeque<_> = unacknowledged.into_iter().take(1 + QUEUE_MAX).collect();
        let first = waiting.pop_front();
        let mut resumed = Self { cseq, next_rseq, in_flight: None, waiting };
        if let Some((rseq, response)) = first {
            resumed.launch(rseq, response, timers, now);
        }
        resumed
    }

    /// The CSeq number of the INVITE.
    pub const fn cseq(&self) -> u32 {
        self.cseq
    }

    /// What waits for a PRACK, the response that was sent first.
    pub fn unacknowledged(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        let sent = self.in_flight.iter().map(|in_flight| (in_flight.rseq, &in_flight.response));
        sent.chain(self.waiting.iter().map(|(rseq, response)| (*rseq, response)))
    }

    /// The number to write into the RSeq header of the next response, which must also carry `Require: 100rel`.
    pub const fn next_rseq(&self) -> u32 {
        self.next_rseq
    }

    /// Takes the response that carries [`ReliableProvisionals::next_rseq`]. Returns it if it is to be sent now, `None`
    /// if it waits for the PRACK of another.
    ///
    /// # Errors
    /// [`ReliableError::QueueFull`]; the number is not used up.
    pub fn send(
        &mut self,
        response: Bytes,
        timers: &TimerConfig,
        now: Instant,
    ) -> Result<Option<Bytes>, ReliableError> {
        if self.in_flight.is_some() && self.waiting.len() >= QUEUE_MAX {
            return Err(ReliableError::QueueFull);
        }
        let rseq = self.next_rseq;
        self.next_rseq = self.next_rseq.wrapping_add(1);
        if self.in_flight.is_some() {
            self.waiting.push_back((rseq, response));
            return Ok(None);
        }
        self.launch(rseq, response.clone(), timers, now);
        Ok(Some(response))
    }

    fn launch(&mut self, rseq: u32, response: Bytes, timers: &TimerConfig, now: Instant) {
        self.in_flight = Some(InFlight {
            rseq,
            response,
            resend_at: now + timers.t1,
            interval: timers.t1,
            give_up_at: now + timers.patience(),
        });
    }

    /// Takes the RAck of a PRACK. Returns the response to send next, if one waits; answer the PRACK with 2xx.
    ///
    /// # Errors
    /// [`ReliableError::NoMatch`].
    pub fn handle_prack(
        &mut self,
        rack: &RAck<'_>,
        timers: &TimerConfig,
        now: Instant,
    ) -> Result<Option<Bytes>, ReliableError> {
        let matches = self.in_flight.as_ref().is_some_and(|in_flight| {
            rack.rseq == in_flight.rseq && rack.cseq.number == self.cseq && rack.cseq.method == "INVITE"
        });
        if !matches {
            return Err(ReliableError::NoMatch);
        }
        self.in_flight = None;
        Ok(self.waiting.pop_front().map(|(rseq, response)| {
            self.launch(rseq, response.clone(), timers, now);
            response
        }))
    }

    /// Whether a response waits for its PRACK. While one with an offer or answer does, no 2xx may be sent (§5).
    pub const fn awaits_prack(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The INVITE is answered: nothing is repeated any more. A PRACK that is on its way is still recognised.
    pub fn stop(&mut self) {
        self.waiting.clear();
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.response = Bytes::new();
        }
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ProvisionalEvent> {
        let in_flight = self.in_flight.as_mut().filter(|in_flight| !in_flight.response.is_empty())?;
        if now >= in_flight.give_up_at {
            self.in_flight = None;
            self.waiting.clear();
            return Some(ProvisionalEvent::GiveUp);
        }
        if now < in_flight.resend_at {
            return None;
        }
        // §3: the interval doubles; no T2 caps it.
        in_flight.interval = in_flight.interval.saturating_mul(2);
        in_flight.resend_at = now + in_flight.interval;
        Some(ProvisionalEvent::Resend(in_flight.response.clone()))
    }

    /// When to call [`ReliableProvisionals::handle_timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        let in_flight = self.in_flight.as_ref().filter(|in_flight| !in_flight.response.is_empty())?;
        Some(in_flight.resend_at.min(in_flight.give_up_at))
    }
}

/// What a client does with a reliable provisional response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In order: work on it and send a PRACK.
    New,
    /// Seen before; its PRACK is a transaction that repeats itself. Ignore it.
    Repeat,
    /// One before it is missing: ignore it, it will come again (§4).
    OutOfOrder,
}

/// The client's side of one early dialog: which RSeq comes next.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReliableOrder {
    last: Option<u32>,
}

impl ReliableOrder {
    /// The order after this RSeq.
    pub const fn after(last: Option<u32>) -> Self {
        Self { last }
    }

    /// The RSeq that came last.
    pub const fn last(&self) -> Option<u32> {
        self.last
    }

    /// Judges the RSeq of a response with `Require: 100rel`. The first one sets the beginning (§4).
    pub const fn take(&mut self, rseq: u32) -> Arrival {
        match self.last {
            Some(last) if rseq <= last => Arrival::Repeat,
            Some(last) if rseq != last.wrapping_add(1) => Arrival::OutOfOrder,
            _ => {
                self.last = Some(rseq);
                Arrival::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::CSeq;

    const TIMERS: TimerConfig = TimerConfig::RFC3261;

    fn rack(rseq: u32, number: u32) -> RAck<'static> {
        RAck { rseq, cseq: CSeq { number, method: "INVITE" } }
    }

    #[test]
    fn an_unacknowledged_response_is_sent_7_times_in_32_s_and_given_up() {
        let start = Instant::default();
        let mut sender = ReliableProvisionals::new(1, &mut Random::from_number(1));
        assert!(sender.send(Bytes::from_static(b"183"), &TIMERS, start).unwrap().is_some());
        let (mut sent_ms, mut gave_up_ms) = (vec![0], None);
        while let Some(at) = sender.deadline() {
            match sender.handle_timeout(at) {
                Some(ProvisionalEvent::Resend(_)) => sent_ms.push((at - start).as_millis()),
                Some(ProvisionalEvent::GiveUp) => gave_up_ms = Some((at - start).as_millis()),
                None => panic!("nothing happened at a deadline"),
            }
        }
        assert_eq!(sent_ms, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(gave_up_ms, Some(32_000));
    }

    #[test]
    fn the_second_response_waits_for_the_prack_of_the_first() {
        let now = Instant::default();
        let mut sender = ReliableProvisionals::new(7, &mut Random::from_number(2));
        let first = sender.next_rseq();
        assert!((1..=0x7fff_ffff).contains(&first));
        assert_eq!(
            sender.send(Bytes::from_static(b"one"), &TIMERS, now),
            Ok(Some(Bytes::from_static(b"one")))
        );
        assert_eq!(sender.next_rseq(), first + 1);
        assert_eq!(sender.send(Bytes::from_static(b"two"), &TIMERS, now), Ok(None));
        for wrong in [rack(first + 1, 7), rack(first, 8), rack(first - 1, 7)] {
            assert_eq!(sender.handle_prack(&wrong, &TIMERS, now), Err(ReliableError::NoMatch));
        }
        assert_eq!(sender.handle_prack(&rack(first, 7), &TIMERS, now), Ok(Some(Bytes::from_static(b"two"))));
        assert_eq!(sender.handle_prack(&rack(first, 7), &TIMERS, now), Err(ReliableError::NoMatch));
        assert_eq!(sender.handle_prack(&rack(first + 1, 7), &TIMERS, now), Ok(None));
        assert_eq!(sender.deadline(), None);
    }

    #[test]
    fn a_final_answer_stops_the_repeats_but_the_prack_is_still_known() {
        let now = Instant::default();
        let mut sender = ReliableProvisionals::new(1, &mut Random::from_number(3));
        let rseq = sender.next_rseq();
        sender.send(Bytes::from_static(b"183"), &TIMERS, now).unwrap();
        sender.stop();
        assert_eq!((sender.deadline(), sender.handle_timeout(now + TIMERS.patience())), (None, None));
        assert_eq!(sender.handle_prack(&rack(rseq, 1), &TIMERS, now), Ok(None));
    }

    #[test]
    fn the_queue_is_bounded() {
        let now = Instant::default();
        let mut sender = ReliableProvisionals::new(1, &mut Random::from_number(4));
        let taken = (0..20).filter(|_| sender.send(Bytes::from_static(b"x"), &TIMERS, now).is_ok()).count();
        assert_eq!(taken, 1 + QUEUE_MAX);
    }

    #[test]
    fn a_client_takes_responses_in_order_only() {
        let mut order = ReliableOrder::default();
        let arrivals = [988_789, 988_789, 988_791, 988_790, 988_791, 988_790].map(|rseq| order.take(rseq));
        use Arrival::{New, OutOfOrder, Repeat};
        assert_eq!(arrivals, [New, Repeat, OutOfOrder, New, New, Repeat]);
    }
}

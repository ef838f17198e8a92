//! The account of a call while it lasts: what its record will say. Made once, taken once.

use std::net::SocketAddr;

use offhook_base::{DataSubject, Personal, UtcMillis};
use offhook_sip::{message::StatusCode, transport::Transport};

use crate::{
    identity::Identity,
    media::StreamQuality,
    record::{CallId, CallRecord, EndCause, EndedBy, LegRecord, LegRole},
};

/// Characters of a User-Agent header that a record keeps.
const USER_AGENT_CHARS_MAX: usize = 128;

/// The growing account of one call.
#[derive(Debug)]
pub struct Account {
    record: CallRecord,
    verdict: Option<Verdict>,
}

/// How a call ended: decided once, by whatever ends it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who ended it.
    pub by: EndedBy,
    /// Why.
    pub cause: EndCause,
    /// The SIP status behind it.
    pub status: StatusCode,
}

/// What is known of a leg when it starts.
#[derive(Clone, Debug)]
pub struct LegOpening {
    /// Its part.
    pub role: LegRole,
    /// The line's name.
    pub line: Option<Box<str>>,
    /// The peer's name.
    pub peer: Option<Box<str>>,
    /// Where its signalling is.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Its Call-ID header.
    pub sip_call_id: Box<str>,
}

impl Account {
    /// Opens the account of a call that began at `started`.
    pub fn new(id: CallId, tenant: &str, caller: &Identity, callee: &str, started: UtcMillis) -> Self {
        Self {
            record: CallRecord {
                id,
                tenant: tenant.into(),
                caller: caller.uri().clone(),
                caller_name: caller.name().cloned(),
                callee: Personal::new(callee.to_string(), DataSubject::Callee),
                started,
                ringing: None,
                answered: None,
                ended: started,
                ended_by: EndedBy::Node,
                cause: EndCause::Failed,
                sip_status: 500,
                q850: 41,
                legs: Vec::with_capacity(2),
            },
            verdict: None,
        }
    }

    /// Goes on with an account that another process has opened.
    pub const fn resume(record: CallRecord, verdict: Option<Verdict>) -> Self {
        Self { record, verdict }
    }

    /// How the call ended, once that is decided.
    pub const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// The call's id.
    pub const fn id(&self) -> CallId {
        self.record.id
    }

    /// The record as it stands.
    pub const fn so_far(&self) -> &CallRecord {
        &self.record
    }

    /// A leg begins; its position in the record.
    pub fn leg_started(&mut self, opening: LegOpening, at: UtcMillis) -> u16 {
        let subject = match opening.role {
            LegRole::Caller => DataSubject::Caller,
            LegRole::Callee => DataSubject::Callee,
        };
        self.record.legs.push(LegRecord {
            role: opening.role,
            line: opening.line,
            peer: opening.peer,
            remote: Personal::new(opening.remote.to_string(), subject),
            transport: opening.transport.to_string().into(),
            user_agent: None,
            sip_call_id: Personal::new(opening.sip_call_id.into(), subject),
            started: at,
            ringing: None,
            answered: None,
            ended: at,
            status: None,
            streams: Vec::new(),
        });
        u16::try_from(self.record.legs.len() - 1).unwrap_or(u16::MAX)
    }

    /// A leg said what it is.
    pub fn leg_is(&mut self, leg: u16, user_agent: &str) {
        if let Some(leg) = self.leg(leg)
            && leg.user_agent.is_none()
        {
            leg.user_agent = Some(user_agent.chars().take(USER_AGENT_CHARS_MAX).collect::<String>().into());
        }
    }

    /// A leg rings; true if it is the first news of it.
    pub fn leg_rings(&mut self, leg: u16, at: UtcMillis) -> bool {
        self.record.ringing.get_or_insert(at);
        self.leg(leg).is_some_and(|leg| leg.ringing.replace(leg.ringing.unwrap_or(at)).is_none())
    }

    /// A leg answered.
    pub fn leg_answered(&mut self, leg: u16, at: UtcMillis) {
        if let Some(leg) = self.leg(leg) {
            leg.answered = Some(at);
            leg.status = Some(200);
        }
    }

    /// The call was answered.
    pub fn answered(&mut self, at: UtcMillis) {
        self.record.answered.get_or_insert(at);
    }

    /// A leg is over. `status` counts only if it has none yet.
    pub fn leg_ended(&mut self, leg: u16, status: Option<u16>, at: UtcMillis) {
        if let Some(leg) = self.leg(leg) {
            leg.ended = at;
            leg.status = leg.status.or(status);
        }
    }

    /// The media engine's last word on a leg.
    pub fn leg_quality(&mut self, leg: u16, streams: Vec<StreamQuality>) {
        if let Some(leg) = self.leg(leg) {
            leg.streams = streams;
        }
    }

    /// Decides how the call ended. The first verdict stands: what follows are its consequences.
    pub fn decide(&mut self, verdict: Verdict, at: UtcMillis) {
        if self.verdict.is_none() {
            self.verdict = Some(verdict);
            self.record.ended = at;
        }
    }

    /// The status behind the verdict.
    pub fn verdict_status(&self) -> Option<u16> {
        self.verdict.map(|verdict| verdict.status.as_u16())
    }

    /// Closes the account.
    pub fn close(mut self, now: UtcMillis) -> CallRecord {
        if let Some(Verdict { by, cause, status }) = self.verdict {
            self.record.ended_by = by;
            self.record.cause = cause;
            self.record.sip_status = status.as_u16();
            self.record.q850 = q850_of(cause, status.as_u16());
        } else {
            self.record.ended = now;
        }
        self.record
    }

    fn leg(&mut self, leg: u16) -> Option<&mut LegRecord> {
        self.record.legs.get_mut(usize::from(leg))
    }
}

/// The Q.850 cause of a call's end: by our own knowledge where it says more than the status, otherwise the mapping of
/// RFC 3398 §8.2.6.1.
pub const fn q850_of(cause: EndCause, status: u16) -> u8 {
    match cause {
        EndCause::HungUp | EndCause::Cancelled => 16,
        EndCause::Busy => 17,
        EndCause::NoAnswer => 19,
        EndCause::NotRegistered => 20,
        EndCause::NotFound => 1,
        EndCause::Declined => 21,
        EndCause::NotPermitted => 57,
        EndCause::Incompatible => 88,
        EndCause::Vanished | EndCause::MediaSilence | EndCause::TooLong => 102,
        EndCause::Shutdown | EndCause::Outage => 41,
        EndCause::Overloaded => 42,
        EndCause::Failed => q850_of_status(status),
    }
}

/// RFC 3398 §8.2.6.1, the statuses that a failed call may carry.
const fn q850_of_status(status: u16) -> u8 {
    match status {
        400 | 401 | 402 | 403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        405 | 501 => 79,
        406 | 415 | 488 | 606 => 88,
        408 | 504 => 102,
        410 => 22,
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
        480 => 18,
        481..=483 => 25,
        484 => 28,
        486 | 600 => 17,
        502 => 38,
        500 | 503 => 41,
        _ => 31,
    }
}

/// What the final response of a callee says of the call's end.
pub const fn cause_of_status(status: u16) -> EndCause {
    match status {
        486 | 600 => EndCause::Busy,
        603 | 403 | 401 | 407 => EndCause::Declined,
        404 | 410 | 484 | 485 | 604 => EndCause::NotFound,
        408 | 480 => EndCause::NoAnswer,
        415 | 488 | 606 | 406 => EndCause::Incompatible,
        487 => EndCause::Cancelled,
        _ => EndCause::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_verdict_stands() {
        let mut random = offhook_base::Random::from_number(3);
        let id = CallId::new(UtcMillis(1000), &mut random);
        let caller = Identity::new("sip:a@x".into(), None, false);
        let mut account = Account::new(id, "default", &caller, "sip:b@x", UtcMillis(1000));
        account.decide(
            Verdict {
                by: EndedBy::Caller,
                cause: EndCause::Cancelled,
                status: StatusCode::REQUEST_TERMINATED,
            },
            UtcMillis(1500),
        );
        account.decide(
            Verdict { by: EndedBy::Callee, cause: EndCause::Busy, status: StatusCode::BUSY_HERE },
            UtcMillis(1600),
        );
        let record = account.close(UtcMillis(1700));
        assert_eq!((record.cause, record.sip_status, record.q850), (EndCause::Cancelled, 487, 16));
        assert_eq!(record.ended, UtcMillis(1500));
    }
}

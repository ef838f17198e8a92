//! Session timers: RFC 4028.
//!
//! Both sides agree on how long a session may live without a sign of life and on who gives the sign (a re-INVITE or
//! UPDATE, at half of that time). Who hears nothing ends the session. [`SessionTimerPolicy`] does the agreeing, once per
//! INVITE or UPDATE; [`SessionTimer`] keeps the time.
//!
//! The headers go into requests as `Session-Expires`, `Min-SE` and `Supported: timer`; [`RequestOffer`] and [`UasAnswer`]
//! say with which values.

use std::time::Duration;

use offhook_base::Instant;

use crate::{
    header::{HeaderError, HeaderName, Headers, Refresher, SessionExpires},
    message::StatusCode,
    write::MessageWriter,
};

/// The smallest interval anyone may ask for, seconds (§4, §5).
pub const INTERVAL_MIN_SECS: u32 = 90;

/// The largest one we take, seconds: a day. A longer one finds no dead call in useful time.
pub const INTERVAL_MAX_SECS: u32 = 86_400;

/// What we want of session timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimerPolicy {
    /// The interval we ask for. Seconds, 90..=86400, default 1800. Shorter finds dead calls sooner, for more refreshes.
    pub interval_secs: u32,
    /// The smallest interval we accept. Seconds, 90..=`interval_secs`, default 90.
    pub min_secs: u32,
    /// Whether we refresh a session whose other side knows no session timers (§7.2 lets the client, §9 the server do so).
    /// Default true.
    pub refresh_alone: bool,
}

impl Default for SessionTimerPolicy {
    fn default() -> Self {
        Self { interval_secs: 1800, min_secs: INTERVAL_MIN_SECS, refresh_alone: true }
    }
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAgreement {
    /// The session interval. Seconds.
    pub interval_secs: u32,
    /// Whether the refreshes are ours to send.
    pub we_refresh: bool,
}

/// What an INVITE or UPDATE of ours says. Kept until its final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestOffer {
    /// `Session-Expires`. A refresh repeats the role as it is, so that it does not change hands (§7.4).
    pub session_expires: SessionExpires,
    /// `Min-SE`, seconds; written only if it is above the 90 that holds without it.
    pub min_se_secs: u32,
}

impl RequestOffer {
    /// Writes `Session-Expires` and `Min-SE`. `Supported: timer` is the caller's, beside its other options.
    pub fn write(&self, writer: &mut MessageWriter<'_>) {
        writer.header(&HeaderName::SessionExpires, self.session_expires);
        if self.min_se_secs > INTERVAL_MIN_SECS {
            writer.header(&HeaderName::MinSe, self.min_se_secs);
        }
    }
}

/// How we answer an INVITE or UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UasAnswer {
    /// 422 with this Min-SE, seconds (§9).
    IntervalTooSmall {
        /// What to write into `Min-SE`.
        min_se_secs: u32,
    },
    /// A 2xx without session timer.
    None,
    /// A 2xx with it.
    Accept {
        /// `Session-Expires`, always with its refresher.
        session_expires: SessionExpires,
        /// Whether to write `Require: timer`: the client refreshes, so it must understand (§9).
        require: bool,
        /// What holds once the 2xx is sent.
        agreement: SessionAgreement,
    },
}

impl UasAnswer {
    /// The status this answer needs: 422, or `None` if it leaves the request to be accepted.
    pub const fn refusal(&self) -> Option<StatusCode> {
        match self {
            Self::IntervalTooSmall { .. } => StatusCode::new(422),
            _ => None,
        }
    }

    /// Writes `Min-SE`, or `Session-Expires` and `Require`, if the answer has them.
    pub fn write(&self, writer: &mut MessageWriter<'_>) {
        match self {
            Self::IntervalTooSmall { min_se_secs } => {
                writer.header(&HeaderName::MinSe, min_se_secs);
            }
            Self::None => {}
            Self::Accept { session_expires, require, .. } => {
                writer.header(&HeaderName::SessionExpires, session_expires);
                if *require {
                    writer.header(&HeaderName::Require, "timer");
                }
            }
        }
    }
}

impl SessionTimerPolicy {
    /// What our first INVITE says: our interval, and the other side may choose who refreshes (§7.1).
    pub fn offer(&self) -> RequestOffer {
        let session_expires =
            SessionExpires { seconds: clamp(self.interval_secs, self.min_secs), refresher: None };
        RequestOffer { session_expires, min_se_secs: self.min_secs }
    }

    /// What a re-INVITE or UPDATE of ours says in a session with `agreement`: the same again, roles as they are (§7.4).
    /// The client of this request is we.
    pub fn refresh_offer(&self, agreement: SessionAgreement) -> RequestOffer {
        let refresher = Some(if agreement.we_refresh { Refresher::Uac } else { Refresher::Uas });
        let session_expires = SessionExpires { seconds: agreement.interval_secs, refresher };
        RequestOffer { session_expires, min_se_secs: self.min_secs }
    }

    /// What to send after a 422 to `offer` (§7.3): the same with the larger Min-SE. `None` if the response names none,
    /// one we do not accept, or none larger than before, which would go on forever.
    pub fn retry(&self, offer: RequestOffer, headers: &Headers) -> Option<RequestOffer> {
        let min_se_secs = headers.min_se()?;
        let larger = min_se_secs > offer.session_expires.seconds && min_se_secs <= INTERVAL_MAX_SECS;
        larger.then_some(RequestOffer {
            session_expires: SessionExpires { seconds: min_se_secs, ..offer.session_expires },
            min_se_secs,
        })
    }

    /// What holds after a 2xx to our `offer` (§7.2). A refresher that the answer leaves open is we.
    ///
    /// # Errors
    /// A malformed Session-Expires.
    pub fn uac_outcome(
        &self,
        offer: RequestOffer,
        headers: &Headers,
    ) -> Result<Option<SessionAgreement>, HeaderError> {
        let asked = offer.session_expires.seconds;
        Ok(match headers.session_expires()? {
            // The server may only shorten it; what it says below the floor would have us refresh without end.
            Some(answer) => Some(SessionAgreement {
                interval_secs: clamp(answer.seconds, INTERVAL_MIN_SECS),
                we_refresh: answer.refresher != Some(Refresher::Uas),
            }),
            None => self.refresh_alone.then_some(SessionAgreement { interval_secs: asked, we_refresh: true }),
        })
    }

    /// How to answer a request with these headers (§9, table 2).
    ///
    /// # Errors
    /// A malformed Session-Expires: answer 400.
    pub fn uas_answer(&self, headers: &Headers) -> Result<UasAnswer, HeaderError> {
        let client_knows = headers.supports("timer");
        let asked = headers.session_expires()?;
        let floor = self.min_secs.max(INTERVAL_MIN_SECS);
        // A client that does not know the extension would not understand a 422; a proxy put the header there.
        if let Some(asked) = asked
            && asked.seconds < floor
            && client_knows
        {
            return Ok(UasAnswer::IntervalTooSmall { min_se_secs: floor });
        }
        if asked.is_none() && !client_knows && !self.refresh_alone {
            return Ok(UasAnswer::None);
        }
        let their_floor = headers.min_se().unwrap_or(INTERVAL_MIN_SECS).max(floor);
        let wanted = clamp(self.interval_secs, their_floor);
        let seconds = match asked {
            // §9: never above what was asked, never below anyone's Min-SE.
            Some(asked) => wanted.min(asked.seconds).max(INTERVAL_MIN_SECS),
            None => wanted,
        };
        let by_client = client_knows && asked.and_then(|asked| asked.refresher) == Some(Refresher::Uac);
        // If the client leaves it open we take it: then it is done, and a NAT in front of the client stays open.
        let refresher = if by_client { Refresher::Uac } else { Refresher::Uas };
        Ok(UasAnswer::Accept {
            session_expires: SessionExpires { seconds, refresher: Some(refresher) },
            require: by_client,
            agreement: SessionAgreement { interval_secs: seconds, we_refresh: !by_client },
        })
    }
}

fn clamp(secs: u32, floor: u32) -> u32 {
    secs.max(floor).clamp(INTERVAL_MIN_SECS, INTERVAL_MAX_SECS)
}

/// What a time-out asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// Half of the interval has passed: send an UPDATE or re-INVITE with [`SessionTimerPolicy::refresh_offer`].
    Refresh,
    /// No refresh came through: send a BYE (§10).
    Expired,
}

/// The clock of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionTimer {
    agreement: SessionAgreement,
    /// `None` if the other side refreshes, or our refresh is on its way.
    refresh_at: Option<Instant>,
    /// `None` once that has been said.
    expires_at: Option<Instant>,
}

impl SessionTimer {
    /// Starts with the 2xx that agreed on it.
    pub fn new(agreement: SessionAgreement, now: Instant) -> Self {
        let interval = Duration::from_secs(u64::from(agreement.interval_secs));
        // §10: the BYE goes out a little before the end, the lesser of 32 s and a third of the interval.
        let margin = Duration::from_secs(32).min(interval / 3);
        Self {
            agreement,
            refresh_at: agreement.we_refresh.then_some(now + interval / 2),
            expires_at: Some(now + (interval - margin)),
        }
    }

    /// Goes on with a timer that another process has begun.
    pub const fn resume(
        agreement: SessionAgreement,
        refresh_at: Option<Instant>,
        expires_at: Option<Instant>,
    ) -> Self {
        Self { agreement, refresh_at, expires_at }
    }

    /// When a refresh of ours is due; `None` if the other side refreshes, or ours is on its way.
    pub const fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// When the session ends without a refresh; `None` once it has.
    pub const fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// A 2xx to an INVITE or UPDATE, ours or theirs, began the interval anew.
    pub fn refreshed(&mut self, agreement: SessionAgreement, now: Instant) {
        *self = Self::new(agreement, now);
    }

    /// A refresh of ours failed in a way that does not end the call (491, 500): try again after a while. Of 408 and 481
    /// the call ends (§10).
    pub fn refresh_failed(&mut self, retry_after: Duration, now: Instant) {
        self.refresh_at = self.agreement.we_refresh.then_some(now + retry_after);
    }

    /// What holds.
    pub const fn agreement(&self) -> SessionAgreement {
        self.agreement
    }

    /// The deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<SessionEvent> {
        if self.expires_at.is_some_and(|at| now >= at) {
            self.refresh_at = None;
            self.expires_at = None;
            return Some(SessionEvent::Expired);
        }
        if self.refresh_at.is_some_and(|at| now >= at) {
            self.refresh_at = None;
            return Some(SessionEvent::Refresh);
        }
        None
    }

    /// When to call [`SessionTimer::handle_timeout`]; `None` after it expired.
    pub fn deadline(&self) -> Option<Instant> {
        self.refresh_at.into_iter().chain(self.expires_at).min()
    }
}

//! The session is kept alive (RFC 4028): refreshes of our own, and what becomes of them.

use offhook_base::{Instant, Moment};
use offhook_sip::message::{Method, Response, StatusCode};

use super::{
    Call,
    body::{self, Description},
};
use crate::{
    exchange::{
        owners::{ClientUse, LegIndex},
        services::Services,
    },
    record::EndCause,
};

/// How long after a refused refresh the next is tried. RFC 3261 §14.1 wants 2.1 to 4 s after a 491.
const REFRESH_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(4);

impl Call {
    /// Keeps the session with `index` alive: an UPDATE without description, or the re-INVITE it must be for older phones.
    pub(super) fn refresh(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        let leg = &self.legs[usize::from(index)];
        // While an offer is on its way: a request that overtakes it would make it look old (RFC 3261 §12.2.2).
        if self.modify.is_some() || leg.accepted.is_some() {
            return self.refresh_later(index, now.instant);
        }
        let (method, description) = if leg.allows_update {
            (Method::Update, None)
        } else {
            (Method::Invite, leg.session.ours().cloned())
        };
        let client = self.send_offer(services, index, &method, description.as_ref(), ClientUse::Refresh, now);
        match client {
            Some(client) => self.leg(index).refresh = Some(client),
            None => self.refresh_later(index, now.instant),
        }
    }

    /// A phone may take a new key whenever it answers (RFC 4568 §7.1.4): where its encryption ends here, that goes no
    /// further than the media engine.
    fn note_new_keys(&mut self, services: &mut Services, index: LegIndex, response: &Response, now: Moment) {
        let Description::Sdp(answer) = body::description(response.headers(), response.body()) else { return };
        if !self.leg(index).session.rekeyed(&answer) {
            return;
        }
        match self.other(index) {
            Some(other) => self.join_media(services, [index, other], now),
            None => self.configure_served(services),
        }
    }

    fn refresh_later(&mut self, index: LegIndex, now: Instant) {
        if let Some(timer) = &mut self.leg(index).timer {
            timer.refresh_failed(REFRESH_AGAIN_AFTER, now);
        }
    }

    /// The response to a refresh.
    pub(super) fn refresh_answered(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        status: StatusCode,
        response: Option<&Response>,
        now: Moment,
    ) {
        if status.is_provisional() {
            return self.refresh_progresses(index, now);
        }
        self.leg(index).refresh = None;
        self.leg(index).refresh_until = None;
        match response {
            Some(response) if status.is_success() => {
                let is_invite = response.headers().cseq().is_ok_and(|cseq| cseq.method == "INVITE");
                if is_invite && self.repeat_ack(services, index) {
                    return;
                }
                self.took_response(services, index, response, now);
                if is_invite {
                    self.send_ack(services, index, None);
                }
                self.note_new_keys(services, index, response, now);
            }
            _ if matches!(status.as_u16(), 408 | 481) => {
                let by = self.party(index);
                self.hang_up_both(services, by, EndCause::Vanished, status, now);
            }
            _ => self.refresh_later(index, now.instant),
        }
    }
}

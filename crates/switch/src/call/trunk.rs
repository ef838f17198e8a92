//! From peer to peer, as a route says: who has no room is passed over, who fails gives way to the next.
//!
//! A call that another process goes on with stays with the peer that it has reached: the others are not kept.

use std::{sync::Arc, time::Duration};

use offhook_base::{Instant, Moment};
use offhook_sip::message::StatusCode;

use super::{Call, LegState, Stage};
use crate::{
    directory::PeerId,
    exchange::services::Services,
    record::{EndCause, EndedBy},
    routing::Trunks,
};

/// The peers of a route, of which one is asked now.
#[derive(Debug)]
pub(super) struct TrunkHunt {
    /// The number that the present one is called with.
    pub number: Box<str>,
    /// When the call is given up, whoever is asked then.
    pub give_up_at: Instant,
    trunks: Trunks,
    /// Who is asked.
    present: Option<PeerId>,
    /// The present one must ring by the end of its patience.
    is_on_trial: bool,
    /// It did not.
    was_silent: bool,
}

impl Call {
    /// Begins with the first peer that has room.
    pub(super) fn hunt_for_trunk(&mut self, services: &mut Services, trunks: Trunks, now: Moment) {
        self.trunk = Some(Box::new(TrunkHunt {
            number: Box::default(),
            give_up_at: now.instant + services.settings.unanswered,
            trunks,
            present: None,
            is_on_trial: false,
            was_silent: false,
        }));
        if !self.next_trunk(services, now) {
            let (status, cause) = (StatusCode::SERVICE_UNAVAILABLE, EndCause::Overloaded);
            self.fail(services, EndedBy::Node, status, cause, now);
        }
    }

    /// Turns to the next peer that has room; false if there is none.
    pub(super) fn next_trunk(&mut self, services: &mut Services, now: Moment) -> bool {
        let Some(hunt) = &mut self.trunk else { return false };
        let left = hunt.present.take();
        if let Some(left) = left
            && let Some(place) = self.peers.iter().rposition(|peer| *peer == left)
        {
            self.peers.remove(place);
            services.peer_calls.give_back(left);
        }
        while let Some(trunk) = self.trunk.as_mut().and_then(|hunt| hunt.trunks.untried.pop_front()) {
            if !self.take_room_of(services, &trunk.peer, now) {
                continue;
            }
            if let Some(hunt) = &mut self.trunk {
                hunt.present = Some(trunk.peer.id);
                hunt.number = trunk.number;
                hunt.is_on_trial = true;
                hunt.was_silent = false;
            }
            if left.is_some() {
                services.peer_calls.note_retry();
            }
            self.locate(services, Arc::clone(&trunk.peer), now);
            return true;
        }
        false
    }

    /// The peer's addresses were not found, or not in time.
    pub(super) fn peer_not_found(&mut self, services: &mut Services, status: StatusCode, now: Moment) {
        if !self.next_trunk(services, now) {
            self.fail(services, EndedBy::Node, status, EndCause::Failed, now);
        }
    }

    /// The present peer has failed at all its addresses: on to the next, if that is what the route says of such an answer.
    pub(super) fn goes_on_to_next_trunk(&mut self, services: &mut Services, now: Moment) -> bool {
        let Some(hunt) = &self.trunk else { return false };
        let retry = &hunt.trunks.retry;
        let refused = self.hunt.best().is_some_and(|status| retry.covers(status));
        let silent = hunt.was_silent && retry.covers_timeout();
        (refused || silent) && self.next_trunk(services, now)
    }

    /// How long the peer that is asked now may take until it rings, where another could be asked then.
    pub(super) fn first_patience(&mut self, services: &Services) -> Option<Duration> {
        let hunt = self.trunk.as_mut()?;
        hunt.is_on_trial = hunt.trunks.retry.covers_timeout() && !hunt.trunks.untried.is_empty();
        hunt.is_on_trial.then(|| hunt.trunks.patience.min(services.settings.ring))
    }

    /// The time until it should ring is over. True: it rings, and has the rest of its time.
    pub(super) fn rings_on_at_trunk(&mut self, services: &Services, now: Moment) -> bool {
        let Stage::Hunting { give_up_at, .. } = self.stage else { return false };
        let Some(hunt) = self.trunk.as_mut().filter(|hunt| hunt.is_on_trial) else { return false };
        hunt.is_on_trial = false;
        if !self.legs.iter().any(|leg| leg.branch.is_some() && leg.state == LegState::Ringing) {
            hunt.was_silent = true;
            return false;
        }
        let rest = services.settings.ring.saturating_sub(hunt.trunks.patience);
        self.stage = Stage::Hunting { ring_until: now.instant + rest, give_up_at };
        true
    }

    /// Whether another peer would be asked if the present one stayed silent.
    pub(super) fn has_more_trunks(&self) -> bool {
        let hunt = self.trunk.as_ref().filter(|hunt| hunt.was_silent);
        hunt.is_some_and(|hunt| !hunt.trunks.untried.is_empty())
    }
}

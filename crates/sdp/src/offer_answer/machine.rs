//! The machine itself.

use super::check::check_answer;
use super::{Carrier, Misuse, Refusal};
use crate::SessionDescription;

/// What both ends agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our description.
    pub local: SessionDescription,
    /// The other end's.
    pub remote: SessionDescription,
    /// Whether ours was the offer.
    pub offered_by_us: bool,
}

impl Session {
    /// The half that offered.
    pub const fn offer(&self) -> &SessionDescription {
        if self.offered_by_us { &self.local } else { &self.remote }
    }

    /// The half that answered.
    pub const fn answer(&self) -> &SessionDescription {
        if self.offered_by_us { &self.remote } else { &self.local }
    }
}

/// Which way the scales tilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No offer is pending.
    Stable,
    /// We offered and wait.
    OfferSent {
        /// What we offered.
        offer: SessionDescription,
        /// The message it went in.
        carrier: Carrier,
    },
    /// The other end offered and waits.
    OfferReceived {
        /// What was offered.
        offer: SessionDescription,
        /// The message it came in.
        carrier: Carrier,
    },
}

/// What an arrival means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// An offer to be answered. `changed` is false if it repeats what the other end said last, byte for byte: answer with
    /// what we said last, touch no media (RFC 3264 §8). DEVIATION: a phone that changes its description but forgets
    /// to raise the version is believed by what it says.
    Offer {
        /// Whether anything differs from the description before.
        changed: bool,
    },
    /// The answer to our offer: the session stands. `changed` as above.
    Answer {
        /// Whether anything differs from the description before.
        changed: bool,
    },
    /// An early answer in an unreliable provisional response: media may flow by it, the answer proper follows.
    EarlyAnswer,
    /// An INVITE without a description: the first reliable response of ours must offer.
    OfferWanted,
    /// Nothing for the session: no description, or one that repeats or comes where it means nothing (RFC 6337 §3.1.1).
    Nothing,
}

/// Whose INVITE is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inviter {
    Us,
    Them,
}

/// An INVITE under way, and what to go back to if it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Invite {
    inviter: Inviter,
    /// The INVITE came or went without an offer, and none has been made since.
    offer_wanted: bool,
    /// We sent a 2xx to it: only its ACK is missing.
    success_sent: bool,
    /// The session when the INVITE began.
    before: Option<Session>,
}

/// The offer/answer state of one dialog. See the [module](crate::offer_answer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferAnswer {
    state: State,
    session: Option<Session>,
    invite: Option<Invite>,
}

impl Default for OfferAnswer {
    fn default() -> Self {
        Self::new()
    }
}

impl OfferAnswer {
    /// A dialog without a session.
    pub const fn new() -> Self {
        Self { state: State::Stable, session: None, invite: None }
    }

    /// Where the exchange stands.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The session in force; it stays in force while a new offer is pending.
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The other end's offer that waits for our answer.
    pub const fn pending_remote_offer(&self) -> Option<&SessionDescription> {
        match &self.state {
            State::OfferReceived { offer, .. } => Some(offer),
            _ => None,
        }
    }

    /// Our offer that waits for an answer.
    pub const fn pending_local_offer(&self) -> Option<&SessionDescription> {
        match &self.state {
            State::OfferSent { offer, .. } => Some(offer),
            _ => None,
        }
    }

    /// Whether we could offer in `carrier` now.
    pub fn may_offer(&self, carrier: Carrier) -> bool {
        self.offer_allowed(carrier).is_ok()
    }

    /// We sent an INVITE without a description: the other end is to offer.
    ///
    /// # Errors
    /// An exchange or an INVITE is under way.
    pub fn invite_sent_without_offer(&mut self) -> Result<(), Misuse> {
        self.offer_allowed(Carrier::Invite)?;
        self.begin_invite(Inviter::Us, true);
        Ok(())
    }

    /// We sent `offer` in `carrier`.
    ///
    /// # Errors
    /// Nothing may be offered there now, or the offer drops media sections. The state does not change.
    pub fn offer_sent(&mut self, offer: SessionDescription, carrier: Carrier) -> Result<(), Misuse> {
        self.offer_allowed(carrier)?;
        if self.session.as_ref().is_some_and(|session| offer.media_count() < session.local.media_count()) {
            return Err(Misuse::FewerMedia);
        }
        if carrier == Carrier::Invite {
            self.begin_invite(Inviter::Us, false);
        } else if let Some(invite) = &mut self.invite {
            invite.offer_wanted = false;
        }
        self.state = State::OfferSent { offer, carrier };
        Ok(())
    }

    /// We sent `answer` in `carrier`. In an unreliable provisional response it is shown only and stays pending.
    ///
    /// # Errors
    /// Nothing waits for an answer there, or this one does not fit. The state does not change.
    pub fn answer_sent(&mut self, answer: SessionDescription, carrier: Carrier) -> Result<(), Misuse> {
        let State::OfferReceived { offer, carrier: offered_in } = &self.state else {
            return Err(Misuse::NothingToAnswer);
        };
        check_answer(offer, &answer).map_err(Misuse::BadAnswer)?;
        if carrier == Carrier::UnreliableProvisional && *offered_in == Carrier::Invite {
            return Ok(());
        }
        if !carrier.answers(*offered_in) {
            return Err(Misuse::NotHere);
        }
        let session = Session { local: answer, remote: offer.clone(), offered_by_us: false };
        let offered_in = *offered_in;
        self.settle(session, offered_in);
        if carrier == Carrier::Success {
            self.success_sent();
        }
        Ok(())
    }

    /// We sent a 2xx to the other end's INVITE. To be told only where the 2xx carries no description.
    pub const fn success_sent(&mut self) {
        if let Some(invite) = &mut self.invite {
            invite.success_sent = true;
        }
    }

    /// A message came, with its description if it has one.
    ///
    /// # Errors
    /// What to refuse it with; the state does not change.
    pub fn receive(
        &mut self,
        sdp: Option<&SessionDescription>,
        carrier: Carrier,
    ) -> Result<Received, Refusal> {
        use Carrier::{
            Ack, Invite, Prack, PrackSuccess, ReliableProvisional, Success, UnreliableProvisional, Update,
            UpdateSuccess,
        };
        match carrier {
            Invite => self.receive_invite(sdp),
            Update => self.receive_update(sdp),
            UnreliableProvisional => Ok(match (&self.state, sdp) {
                (State::OfferSent { carrier: Invite, .. }, Some(_)) => Received::EarlyAnswer,
                _ => Received::Nothing,
            }),
            ReliableProvisional | Success => self.receive_invite_response(sdp, carrier),
            Ack | Prack | PrackSuccess | UpdateSuccess => self.receive_other(sdp, carrier),
        }
    }

    /// The other end refused our offer (a non-2xx final response to UPDATE or PRACK), or the transaction died: the
    /// session in force stays (RFC 3311 §5.1).
    pub fn offer_refused(&mut self) {
        if matches!(self.state, State::OfferSent { .. }) {
            self.state = State::Stable;
        }
    }

    /// We refused the other end's offer with a final response, to UPDATE or PRACK.
    pub fn offer_declined(&mut self) {
        if matches!(self.state, State::OfferReceived { .. }) {
            self.state = State::Stable;
        }
    }

    /// The INVITE under way ended with a 2xx and its ACK, and no exchange of it is open: its session stays.
    /// Call after the ACK was received or sent.
    pub fn invite_completed(&mut self) {
        self.invite = None;
    }

    /// The INVITE under way failed (a final response of 300 and up, or none came): all goes back to the session
    /// before it, whatever was agreed in its provisional responses (RFC 3261 §14.1). What an UPDATE agreed meanwhile
    /// stays: it was a request of its own (RFC 6141 §3.4).
    pub fn invite_failed(&mut self) {
        let Some(invite) = self.invite.take() else { return };
        self.session = invite.before;
        let of_update = |carrier: &Carrier| *carrier == Carrier::Update;
        self.state = match std::mem::replace(&mut self.state, State::Stable) {
            State::OfferSent { offer, carrier } if of_update(&carrier) => State::OfferSent { offer, carrier },
            State::OfferReceived { offer, carrier } if of_update(&carrier) => {
                State::OfferReceived { offer, carrier }
            }
            _ => State::Stable,
        };
    }

    /// Whether an INVITE is under way, ours or theirs.
    pub const fn invite_pending(&self) -> bool {
        self.invite.is_some()
    }

    fn offer_allowed(&self, carrier: Carrier) -> Result<(), Misuse> {
        if self.state != State::Stable {
            return Err(Misuse::OfferPending);
        }
        let wanted_from = |inviter| {
            self.invite.as_ref().is_some_and(|invite| invite.inviter == inviter && invite.offer_wanted)
        };
        let allowed = match carrier {
            Carrier::Invite => self.invite.is_none(),
            Carrier::ReliableProvisional | Carrier::Success => wanted_from(Inviter::Them),
            // RFC 3262 §5: once the INVITE's own exchange is done.
            Carrier::Prack => {
                self.session.is_some()
                    && matches!(&self.invite, Some(Invite { inviter: Inviter::Us, offer_wanted: false, .. }))
            }
            // RFC 3311 §5.1: not before the INVITE's own exchange.
            Carrier::Update => {
                self.session.is_some() && !wanted_from(Inviter::Us) && !wanted_from(Inviter::Them)
            }
            _ => false,
        };
        if allowed { Ok(()) } else { Err(Misuse::NotHere) }
    }

    fn receive_invite(&mut self, sdp: Option<&SessionDescription>) -> Result<Received, Refusal> {
        match (&self.invite, &self.state) {
            (Some(Invite { inviter: Inviter::Us, .. }), _) | (None, State::OfferSent { .. }) => {
                return Err(Refusal::Glare); // RFC 3261 §14.2
            }
            // The INVITE overtook the ACK with the answer we wait for.
            (Some(_), State::OfferSent { carrier: Carrier::Success, .. }) => return Err(Refusal::Glare),
            // It overtook an ACK that has nothing more to say: it stands for it (RFC 5407 §3.1.4).
            (Some(Invite { success_sent: true, .. }), State::Stable) => {}
            (Some(_), _) | (None, State::OfferReceived { .. }) => return Err(Refusal::OfferPending),
            (None, State::Stable) => {}
        }
        match sdp {
            Some(offer) => {
                let changed = self.check_offer(offer)?;
                self.begin_invite(Inviter::Them, false);
                self.state = State::OfferReceived { offer: offer.clone(), carrier: Carrier::Invite };
                Ok(Received::Offer { changed })
            }
            None => {
                self.begin_invite(Inviter::Them, true);
                Ok(Received::OfferWanted)
            }
        }
    }

    fn receive_update(&mut self, sdp: Option<&SessionDescription>) -> Result<Received, Refusal> {
        let Some(offer) = sdp else { return Ok(Received::Nothing) }; // a session refresh (RFC 4028)
        match &self.state {
            State::OfferSent { .. } => Err(Refusal::Glare),
            State::OfferReceived { .. } => Err(Refusal::OfferPending),
            // The offer of a late-offer INVITE is still to come: ours is as good as pending, theirs too early.
            State::Stable if self.invite.as_ref().is_some_and(|invite| invite.offer_wanted) => {
                match &self.invite {
                    Some(Invite { inviter: Inviter::Them, .. }) => Err(Refusal::OfferPending),
                    _ => Err(Refusal::Glare),
                }
            }
            State::Stable if self.session.is_none() => Err(Refusal::NotHere),
            State::Stable => self.accept_offer(offer, Carrier::Update),
        }
    }

    /// A reliable provisional or a success: the answer to our INVITE, or the offer we asked for.
    fn receive_invite_response(
        &mut self,
        sdp: Option<&SessionDescription>,
        carrier: Carrier,
    ) -> Result<Received, Refusal> {
        let is_final = carrier == Carrier::Success;
        let offer_wanted =
            matches!(&self.invite, Some(Invite { inviter: Inviter::Us, offer_wanted: true, .. }));
        match (&self.state, sdp) {
            (State::OfferSent { carrier: Carrier::Invite, .. }, Some(answer)) => self.accept_answer(answer),
            (State::OfferSent { carrier: Carrier::Invite, .. }, None) if is_final => {
                Err(Refusal::MissingAnswer)
            }
            (State::Stable, Some(offer)) if offer_wanted => {
                let outcome = self.accept_offer(offer, carrier)?;
                if let Some(invite) = &mut self.invite {
                    invite.offer_wanted = false;
                }
                Ok(outcome)
            }
            (State::Stable, None) if offer_wanted && is_final => Err(Refusal::MissingOffer),
            // RFC 3261 §13.2.1: descriptions after the answer, and repeated ones, are ignored.
            _ => Ok(Received::Nothing),
        }
    }

    /// ACK, PRACK and the 2xx to PRACK and UPDATE.
    fn receive_other(
        &mut self,
        sdp: Option<&SessionDescription>,
        carrier: Carrier,
    ) -> Result<Received, Refusal> {
        match (&self.state, sdp) {
            (State::OfferSent { carrier: offered_in, .. }, sdp) if carrier.answers(*offered_in) => {
                match sdp {
                    Some(answer) => self.accept_answer(answer),
                    None => Err(Refusal::MissingAnswer),
                }
            }
            (State::Stable, Some(offer)) if carrier == Carrier::Prack => {
                let theirs =
                    matches!(&self.invite, Some(Invite { inviter: Inviter::Them, offer_wanted: false, .. }));
                if theirs && self.session.is_some() {
                    self.accept_offer(offer, carrier)
                } else {
                    Err(Refusal::NotHere)
                }
            }
            // RFC 3262 §5: an offer in PRACK before the first exchange is done; a PRACK may not be refused by 491.
            (_, Some(_)) if carrier == Carrier::Prack => Err(Refusal::NotHere),
            _ => Ok(Received::Nothing),
        }
    }

    fn accept_offer(&mut self, offer: &SessionDescription, carrier: Carrier) -> Result<Received, Refusal> {
        let changed = self.check_offer(offer)?;
        self.state = State::OfferReceived { offer: offer.clone(), carrier };
        Ok(Received::Offer { changed })
    }

    fn accept_answer(&mut self, answer: &SessionDescription) -> Result<Received, Refusal> {
        let State::OfferSent { offer, carrier } = &self.state else { return Ok(Received::Nothing) };
        check_answer(offer, answer).map_err(Refusal::BadAnswer)?;
        let changed = self.differs_from_before(answer);
        let session = Session { local: offer.clone(), remote: answer.clone(), offered_by_us: true };
        let offered_in = *carrier;
        self.settle(session, offered_in);
        Ok(Received::Answer { changed })
    }

    fn check_offer(&self, offer: &SessionDescription) -> Result<bool, Refusal> {
        match &self.session {
            Some(session) if offer.media_count() < session.remote.media_count() => Err(Refusal::FewerMedia),
            _ => Ok(self.differs_from_before(offer)),
        }
    }

    fn differs_from_before(&self, sdp: &SessionDescription) -> bool {
        self.session.as_ref().is_none_or(|session| session.remote != *sdp)
    }

    fn settle(&mut self, session: Session, offered_in: Carrier) {
        if offered_in == Carrier::Update
            && let Some(invite) = &mut self.invite
        {
            invite.before = Some(session.clone());
        }
        self.session = Some(session);
        self.state = State::Stable;
    }

    fn begin_invite(&mut self, inviter: Inviter, offer_wanted: bool) {
        self.invite =
            Some(Invite { inviter, offer_wanted, success_sent: false, before: self.session.clone() });
    }
}

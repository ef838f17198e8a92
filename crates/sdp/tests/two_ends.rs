//! Two machines joined by two queues, driven at random: whatever the order of offers, refusals and glare, both ends
//! hold the same session whenever nothing is under way.

use std::collections::VecDeque;

use offhook_sdp::offer_answer::State;
use offhook_sdp::{Carrier, OfferAnswer, Received, SessionDescription};
use proptest::prelude::*;

/// A message as far as offer/answer sees it.
#[derive(Clone, Debug)]
enum Message {
    Carries(Carrier, Option<SessionDescription>),
    /// A final response of 300 and up to that request.
    Refuses(Carrier),
}

/// What an end does next, if it may.
#[derive(Clone, Copy, Debug)]
enum Move {
    Invite,
    InviteWithoutOffer,
    Update,
    /// Answers a pending request, an INVITE reliably but provisionally at first.
    Answer,
    /// Refuses a pending request.
    Refuse,
    /// Takes the next message in.
    Read,
}

#[derive(Default)]
struct End {
    machine: OfferAnswer,
    inbox: VecDeque<Message>,
    version: u32,
    /// The other end's requests that wait for our final response.
    invite_to_answer: bool,
    update_to_answer: bool,
    /// We have a PRACK to wait for before the 2xx.
    provisional_sent: bool,
    /// Our INVITE has no final response yet.
    inviting: bool,
}

impl End {
    fn describe(&mut self) -> SessionDescription {
        self.version += 1;
        let version = self.version;
        let text =
            format!("v=0\no=- 7 {version} IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 8\n");
        SessionDescription::parse(text).unwrap()
    }

    /// Returns what goes out.
    fn act(&mut self, step: Move) -> Vec<Message> {
        use Carrier::{Invite, ReliableProvisional, Success, Update, UpdateSuccess};
        let (stable, offered) = match self.machine.state() {
            State::Stable => (true, None),
            State::OfferSent { .. } => (false, None),
            State::OfferReceived { carrier, .. } => (false, Some(*carrier)),
        };
        match step {
            Move::Invite | Move::InviteWithoutOffer if self.machine.may_offer(Invite) => {
                self.inviting = true;
                if matches!(step, Move::InviteWithoutOffer) {
                    self.machine.invite_sent_without_offer().unwrap();
                    return vec![Message::Carries(Invite, None)];
                }
                let offer = self.describe();
                self.machine.offer_sent(offer.clone(), Invite).unwrap();
                vec![Message::Carries(Invite, Some(offer))]
            }
            Move::Update if self.machine.may_offer(Update) => {
                let offer = self.describe();
                self.machine.offer_sent(offer.clone(), Update).unwrap();
                vec![Message::Carries(Update, Some(offer))]
            }
            Move::Answer if self.update_to_answer => {
                self.update_to_answer = false;
                let answer = self.describe();
                self.machine.answer_sent(answer.clone(), UpdateSuccess).unwrap();
                vec![Message::Carries(UpdateSuccess, Some(answer))]
            }
            Move::Answer if offered == Some(Invite) => {
                self.provisional_sent = true;
                let answer = self.describe();
                self.machine.answer_sent(answer.clone(), ReliableProvisional).unwrap();
                vec![Message::Carries(ReliableProvisional, Some(answer))]
            }
            Move::Answer if self.invite_to_answer && stable => {
                self.invite_to_answer = false;
                let offer = (!std::mem::take(&mut self.provisional_sent)).then(|| self.describe());
                match &offer {
                    Some(offer) => self.machine.offer_sent(offer.clone(), Success).unwrap(),
                    None => self.machine.success_sent(),
                }
                vec![Message::Carries(Success, offer)]
            }
            Move::Refuse if self.update_to_answer => {
                self.update_to_answer = false;
                self.machine.offer_declined();
                vec![Message::Refuses(Update)]
            }
            Move::Refuse if self.invite_to_answer => {
                self.invite_to_answer = false;
                self.provisional_sent = false;
                self.machine.invite_failed();
                vec![Message::Refuses(Invite)]
            }
            Move::Read => self.inbox.pop_front().map_or_else(Vec::new, |message| self.read(message)),
            _ => Vec::new(),
        }
    }

    fn read(&mut self, message: Message) -> Vec<Message> {
        use Carrier::{Ack, Invite, Prack, Success, Update};
        let (carrier, sdp) = match message {
            Message::Carries(carrier, sdp) => (carrier, sdp),
            Message::Refuses(Invite) => {
                self.inviting = false;
                self.machine.invite_failed();
                return Vec::new();
            }
            Message::Refuses(_) => {
                self.machine.offer_refused();
                return Vec::new();
            }
        };
        match (carrier, self.machine.receive(sdp.as_ref(), carrier)) {
            (Invite | Update, Err(_)) => vec![Message::Refuses(carrier)],
            (_, Err(refusal)) => panic!("{carrier:?} refused: {refusal}"),
            (Invite, Ok(_)) => {
                self.invite_to_answer = true;
                Vec::new()
            }
            (Update, Ok(_)) => {
                self.update_to_answer = true;
                Vec::new()
            }
            (Carrier::ReliableProvisional, Ok(_)) => vec![Message::Carries(Prack, None)],
            (Success, Ok(outcome)) => {
                let answer = matches!(outcome, Received::Offer { .. }).then(|| self.describe());
                if let Some(answer) = &answer {
                    self.machine.answer_sent(answer.clone(), Ack).unwrap();
                }
                self.inviting = false;
                self.machine.invite_completed();
                vec![Message::Carries(Ack, answer)]
            }
            (Ack, Ok(_)) => {
                // An INVITE that overtook this ACK has begun anew; the queue keeps order, so there is none.
                self.machine.invite_completed();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn is_at_rest(&self) -> bool {
        self.inbox.is_empty()
            && *self.machine.state() == State::Stable
            && !self.machine.invite_pending()
            && !self.invite_to_answer
            && !self.update_to_answer
    }
}

fn step(ends: &mut [End; 2], side: usize, step: Move) {
    let out = ends[side].act(step);
    ends[1 - side].inbox.extend(out);
}

fn agree(ends: &[End; 2]) -> bool {
    match (ends[0].machine.session(), ends[1].machine.session()) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one.local == other.remote && one.remote == other.local && one.offered_by_us != other.offered_by_us
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_agree_whenever_nothing_is_under_way(
        moves in prop::collection::vec(
            (0..2usize, prop::sample::select(vec![
                Move::Invite, Move::InviteWithoutOffer, Move::Update, Move::Answer, Move::Refuse,
                Move::Read, Move::Read, Move::Read, Move::Answer,
            ])),
            0..60,
        ),
    ) {
        let mut ends = [End::default(), End::default()];
        for (side, next) in moves {
            step(&mut ends, side, next);
            if ends.iter().all(End::is_at_rest) {
                prop_assert!(agree(&ends));
            }
        }
        // Then everything settles: read all, answer all.
        for _ in 0..20 {
            for side in [0, 1] {
                step(&mut ends, side, Move::Read);
                step(&mut ends, side, Move::Answer);
            }
        }
        prop_assert!(ends.iter().all(End::is_at_rest), "something is left open");
        prop_assert!(agree(&ends));
    }
}

//! When more comes than can be done: what a request is worth, how it is refused, and what servers that ask are told.
//!
//! A refusal keeps nothing: no transaction, no fact, and its ACK is known by the tag in its To before it is parsed. It costs
//! a small part of a call, so that most of the time is left for calls that were let in.

use std::time::Duration;

use offhook_base::{Instant, Moment};
use offhook_edge::{Episode, Worth};
use offhook_sip::{
    message::{Method, Request, StatusCode},
    overload::OverloadFeedback,
    transport::Flow,
};

use super::{Exchange, Gauges};

/// How the To tags of refusals begin. Tags of ours have no hyphen otherwise.
pub(super) const REFUSAL_TAG: &str = "shed-";

/// The same, as it stands in an ACK.
const REFUSAL_TAG_PARAM: &[u8] = b";tag=shed-";

/// The scheme and first label of emergency services (RFC 5031 §4.2).
const EMERGENCY_SERVICES: &str = "urn:service:sos";

impl Exchange {
    /// The oldest message that waits for the driver has waited for at most `waited`: to be told at every turn. Says if an
    /// episode of overload begins or ends. Gives no output.
    pub fn observe_load(&mut self, waited: Duration, now: Instant) -> Option<Episode> {
        self.overload.observe(waited, now)
    }

    /// The ACK of a refusal: it has done what it is for.
    pub(super) fn is_ack_of_refusal(&self, message: &[u8]) -> bool {
        message.starts_with(b"ACK ")
            && self.overload.given_up() != [0; 3]
            && message.windows(REFUSAL_TAG_PARAM.len()).any(|octets| octets == REFUSAL_TAG_PARAM)
    }

    /// Remembers with the request what its sender wants to hear of our load (RFC 7339 §5.3).
    pub(super) fn note_feedback(&self, request: &mut Request, now: Moment) {
        if request.headers().via().is_ok_and(|via| OverloadFeedback::is_asked_for(&via)) {
            let percent = self.overload.new_calls_given_up_percent();
            request.set_overload_feedback(OverloadFeedback { percent, at: now.utc });
        }
    }

    /// Whether the request is given up; it was answered then, if it can be.
    pub(super) fn gives_up_request(&mut self, request: &Request, flow: Flow, now: Moment) -> bool {
        if !self.overload.is_on() {
            return false;
        }
        let worth = self.worth_of(request);
        // What has begun goes on: a repeated request costs next to nothing.
        if worth < Worth::Established && self.services.layer.knows(request, flow) {
            return false;
        }
        let branch = request.headers().via().ok().and_then(|via| via.branch()).unwrap_or_default();
        if !self.overload.gives_up(worth, branch.as_bytes(), now.instant) {
            return false;
        }
        // Whoever speaks within a call is to try again, not to take it for ended (RFC 3261 §12.2.1.2).
        if worth < Worth::Established {
            let secs = self.overload.retry_after_secs(branch.as_bytes());
            let tag = format!("{REFUSAL_TAG}{}", self.stateless_tags.of(request.bytes()));
            self.refuse_for_now(request, flow, StatusCode::SERVICE_UNAVAILABLE, secs.into(), &tag);
        }
        true
    }

    /// Whether a response is given up: it comes again, or the request that asks for it does.
    pub(super) fn gives_up_response(&mut self, now: Moment) -> bool {
        self.overload.is_on() && self.overload.gives_up(Worth::Established, &[], now.instant)
    }

    fn worth_of(&self, request: &Request) -> Worth {
        let within_dialog = || request.headers().to().is_ok_and(|to| to.tag().is_some());
        match request.method() {
            Method::Ack | Method::Cancel | Method::Bye | Method::Prack => Worth::Established,
            _ if within_dialog() => Worth::Established,
            Method::Invite if self.is_emergency(request) => Worth::Emergency,
            Method::Register => Worth::Registration,
            _ => Worth::New,
        }
    }

    /// Whether a request outside of dialogs asks for help.
    pub(super) fn is_emergency(&self, request: &Request) -> bool {
        let uri = request.uri();
        let is_service = uri.get(..EMERGENCY_SERVICES.len()).is_some_and(|start| {
            start.eq_ignore_ascii_case(EMERGENCY_SERVICES)
                && matches!(uri.as_bytes().get(start.len()), None | Some(b'.'))
        });
        let numbers = &self.services.settings.emergency_numbers;
        is_service
            || request.parsed_uri().is_ok_and(|uri| {
                uri.user_unescaped().is_some_and(|user| numbers.iter().any(|number| **number == *user))
            })
    }

    /// How the guard against overload stands, for the gauges.
    pub(super) fn overload_gauges(&self) -> OverloadGauges {
        OverloadGauges {
            let_in: self.overload.shares(),
            given_up: self.overload.given_up(),
            withheld: self.services.restraint.withheld(),
        }
    }
}

/// How the guard against overload stands. The classes: new calls and their like, registrations, messages of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadGauges {
    /// How much is let in of each class, in thousandths.
    pub let_in: [u32; 3],
    /// How many messages of each were given up since the start.
    pub given_up: [u64; 3],
    /// How many calls were kept from peers that asked for it since the start (RFC 7339).
    pub withheld: u64,
}

impl Gauges {
    /// The names of the classes of [`OverloadGauges`].
    pub const OVERLOAD_CLASSES: [&'static str; 3] = ["new", "registration", "established"];
}

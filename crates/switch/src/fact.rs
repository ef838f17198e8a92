//! Facts: everything that happens, typed, on one stream. Records, live screens, metrics and webhooks are its readers.

use std::sync::Arc;

use offhook_base::{Personal, UtcMillis};
use offhook_edge::BannedSource;
use serde::{Deserialize, Serialize};

use crate::{
    directory::LineId,
    record::{CallId, CallRecord, LegRole},
    registrar::StoredBinding,
};

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Fact {
    /// When.
    pub at: UtcMillis,
    /// What.
    pub what: What,
}

/// The live state of a line: the busiest of its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineState {
    /// No call.
    #[default]
    Idle,
    /// All its calls are on hold.
    Held,
    /// It is being called and has not answered.
    Ringing,
    /// It is in a call or placing one.
    Busy,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// An INVITE was accepted for routing.
    CallStarted {
        /// Which call.
        call: CallId,
        /// Its tenant.
        tenant: Box<str>,
        /// Who calls.
        caller: Personal<String>,
        /// Who is called.
        callee: Personal<String>,
    },
    /// A leg was started: the caller's, or one per device tried.
    LegStarted {
        /// Which call.
        call: CallId,
        /// Its position in the call; the caller's is 0.
        leg: u16,
        /// Its part.
        role: LegRole,
    },
    /// A leg rings.
    LegRinging {
        /// Which call.
        call: CallId,
        /// Which leg.
        leg: u16,
    },
    /// The call was answered by this leg.
    CallAnswered {
        /// Which call.
        call: CallId,
        /// Which leg.
        leg: u16,
    },
    /// A leg put the other on hold.
    LegHeld {
        /// Which call.
        call: CallId,
        /// The leg that holds.
        leg: u16,
    },
    /// The hold is over.
    LegResumed {
        /// Which call.
        call: CallId,
        /// The leg that held.
        leg: u16,
    },
    /// The legs of a call share no codec: what this one says is recoded for the other from now on.
    LegTranscoded {
        /// Which call.
        call: CallId,
        /// Which leg.
        leg: u16,
        /// The codec that it speaks.
        from: &'static str,
        /// The codec that the other one hears.
        to: &'static str,
        /// How it came to this.
        why: TranscodeReason,
    },
    /// A leg is over.
    LegEnded {
        /// Which call.
        call: CallId,
        /// Which leg.
        leg: u16,
        /// The final status of its INVITE.
        status: Option<u16>,
    },
    /// The call is over: its record, exactly once.
    CallEnded(Arc<CallRecord>),
    /// A line's live state changed.
    LineChanged {
        /// Which line.
        line: LineId,
        /// Its new state.
        state: LineState,
    },
    /// A binding was added, or leads elsewhere now.
    Bound(Arc<StoredBinding>),
    /// A binding was refreshed, and leads to where it did.
    Refreshed(Arc<StoredBinding>),
    /// A binding is gone.
    Unbound {
        /// Whose.
        line: LineId,
        /// The binding's key.
        key: Box<str>,
        /// Why.
        why: UnboundReason,
    },
    /// A source is banned.
    Banned(BannedSource),
    /// An operator ended the ban of the source of this address.
    Pardoned(Personal<std::net::IpAddr>),
    /// A message or request was refused. What is dropped for its rate or its source is only counted
    /// ([`offhook_edge::Counters`]): a flood would fill the stream.
    Refused {
        /// What stands in its way.
        why: Refusal,
        /// Where it came from.
        source: Personal<std::net::SocketAddr>,
    },
}

/// Why two legs speak codecs that the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TranscodeReason {
    /// The called side refused the caller's codecs with 488, and took one that the node offered besides.
    Refused,
    /// The node's codecs were in the first offer, as the settings want it, and the called side took one of them.
    Offered,
}

/// Why a binding is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnboundReason {
    /// The device took it back.
    Removed,
    /// It was not refreshed in time.
    Expired,
    /// A newer one of the same device replaced it (RFC 5626 §6).
    Replaced,
    /// Its connection is gone (RFC 5626 §4.4).
    FlowFailed,
    /// Its line was disabled or removed.
    LineGone,
}

/// Why something from outside was refused: one counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not SIP, or SIP that no answer can be addressed to.
    Unparsable,
    /// Malformed: answered with 400 or its kin.
    Malformed,
    /// Credentials missing, wrong, or for a line that is unknown or disabled.
    Unauthenticated,
    /// A challenge was answered wrongly too often from this source.
    AuthenticationRate,
    /// Too many requests from this source or network, or of this method or account.
    Rate,
    /// Not for one of our domains.
    ForeignDomain,
    /// The caller may not call this.
    NotPermitted,
    /// A method, extension, scheme, body or offer that is not built.
    Unsupported,
    /// No room.
    Overloaded,
    /// Out of any dialog or transaction it claims.
    Stray,
}

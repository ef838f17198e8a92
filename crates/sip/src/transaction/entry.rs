//! One row of the layer's table: a machine, where its messages go, and when it wants to be woken.

use offhook_base::Instant;

use super::{
    invite_client::InviteClient, invite_server::InviteServer, matching::MatchKey,
    non_invite_client::NonInviteClient, non_invite_server::NonInviteServer,
};
use crate::{message::Request, transport::Destination};

#[derive(Debug)]
pub(super) struct Entry {
    pub role: Role,
    /// Where this side's messages go.
    pub destination: Destination,
    /// What found it in the map.
    pub matched_by: MatchKey,
    /// The soonest look the timer queue has promised.
    pub wakes_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Role {
    InviteClient {
        machine: InviteClient,
        /// For the CANCEL, while one waits: the value of its Reason header (RFC 3326).
        cancel_reason: Option<Box<str>>,
    },
    NonInviteClient {
        machine: NonInviteClient,
        /// A CANCEL of the layer's own: nobody is told what becomes of it.
        silent: bool,
    },
    InviteServer {
        machine: InviteServer,
        arrival: Arrival,
        /// Kept until the first answer: a 100 is built from it. Boxed, because the place of an entry lies idle for 32 s.
        invite: Option<Box<Request>>,
    },
    NonInviteServer {
        machine: NonInviteServer,
        arrival: Arrival,
        /// The layer's own answer to a CANCEL.
        silent: bool,
    },
}

/// What a server transaction remembers of how its request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its identity whatever way it came (§8.2.2.2); `None` within a dialog.
    pub merged_by: Option<MatchKey>,
    /// The port to open a connection to if the one it came over has closed (§18.2.2); taken when used.
    pub reopen_port: Option<u16>,
}

impl Entry {
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::InviteClient { machine, .. } => machine.deadline(),
            Role::NonInviteClient { machine, .. } => machine.deadline(),
            Role::InviteServer { machine, .. } => machine.deadline(),
            Role::NonInviteServer { machine, .. } => machine.deadline(),
        }
    }

    /// Whether the transaction user hears of it.
    pub fn is_silent(&self) -> bool {
        matches!(
            self.role,
            Role::NonInviteClient { silent: true, .. } | Role::NonInviteServer { silent: true, .. }
        )
    }

    pub fn arrival(&self) -> Option<&Arrival> {
        match &self.role {
            Role::InviteServer { arrival, .. } | Role::NonInviteServer { arrival, .. } => Some(arrival),
            _ => None,
        }
    }
}

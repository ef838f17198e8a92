//! Transactions that another process has begun: after a crash or an upgrade in place their messages go on.
//!
//! Only INVITE transactions are taken up. The others end within 32 s, and whoever waits for one sends it again.

use bytes::Bytes;
use offhook_base::Instant;

use super::{
    entry::{Entry, Role},
    invite_client::InviteClient,
    invite_server::InviteServer,
    layer::{SendError, TransactionLayer},
    output::{ClientKey, ServerKey},
};
use crate::{
    message::{Method, Request},
    transport::{Destination, Flow},
};

/// How far a received INVITE had come.
#[derive(Clone, Debug)]
pub enum Received {
    /// It has no final response yet; this was the last provisional one.
    Pending(Option<Bytes>),
    /// It was answered with a 2xx.
    Accepted,
}

impl TransactionLayer {
    /// Goes on with an INVITE that was received over `flow`: repeats and a CANCEL find it, and it takes its answer. `None`
    /// if it is malformed or known already.
    pub fn resume_received(
        &mut self,
        mut invite: Request,
        flow: Flow,
        stage: Received,
        now: Instant,
    ) -> Option<(ServerKey, Request)> {
        if *invite.method() != Method::Invite || self.table.len() >= self.with_reserve() {
            return None;
        }
        invite.set_source(flow.remote);
        let intake = self.inspect(&invite, flow).ok()?;
        if self.by_identity.contains_key(&intake.matched_by) {
            return None;
        }
        let reliable = flow.transport.is_reliable();
        let machine = match stage {
            Received::Pending(provisional) => InviteServer::resumed(reliable, provisional, now),
            Received::Accepted => InviteServer::accepted(reliable, &self.config.timers, now),
        };
        let role = Role::InviteServer { machine, arrival: intake.arrival, invite: None };
        let (destination, matched_by) = (intake.destination, intake.matched_by);
        let key = self.table.insert(Entry { role, destination, matched_by, wakes_at: None });
        self.by_identity.insert(matched_by, key);
        if let Some(merged_by) = intake.arrival.merged_by {
            self.by_identity.insert(merged_by, key);
        }
        self.settle(key, now);
        Some((ServerKey(key), invite))
    }

    /// Goes on with an INVITE that was sent: its responses find it. One that had no provisional response is repeated as if
    /// it had just been sent.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn resume_sent(
        &mut self,
        branch: &str,
        invite: Bytes,
        to: Destination,
        has_progressed: bool,
        now: Instant,
    ) -> Result<ClientKey, SendError> {
        if self.table.len() >= self.with_reserve() {
            return Err(SendError::Full);
        }
        let matched_by = self.matcher.client(branch, Method::Invite.as_str());
        if self.by_identity.contains_key(&matched_by) {
            return Err(SendError::BranchInUse);
        }
        let reliable = to.transport().is_reliable();
        let machine = match has_progressed {
            true => InviteClient::progressed(invite, reliable, now),
            false => InviteClient::new(invite, reliable, &self.config.timers, now),
        };
        let role = Role::InviteClient { machine, cancel_reason: None };
        let key = self.table.insert(Entry { role, destination: to, matched_by, wakes_at: None });
        self.by_identity.insert(matched_by, key);
        self.settle(key, now);
        Ok(ClientKey(key))
    }

    /// An INVITE of ours that waits for its final response, and whether it has had a provisional one.
    pub fn pending_invite(&self, key: ClientKey) -> Option<(&Bytes, bool)> {
        match &self.table.get(key.0)?.role {
            Role::InviteClient { machine, .. } => Some((machine.pending_invite()?, machine.has_progressed())),
            _ => None,
        }
    }

    /// The last provisional response to an INVITE that waits for its final one.
    pub fn last_provisional(&self, key: ServerKey) -> Option<&Bytes> {
        match &self.table.get(key.0)?.role {
            Role::InviteServer { machine, .. } => machine.last_provisional(),
            _ => None,
        }
    }
}

//! INVITEs to and from peers that have rules for their headers.

use std::sync::Arc;

use bytes::Bytes;
use offhook_base::Moment;
use offhook_sip::message::{Message, Request};

use super::{Exchange, services::Services};
use crate::{
    directory::Peer,
    route::Caller,
    routing::Silent,
    rules::{Direction, Draft, Unwritable},
};

/// A request of a peer as its rules have made it.
pub(super) struct Ruled {
    /// As it is read.
    pub read: Request,
    /// The same with the From that it came with, as it is answered and passed on.
    pub kept: Request,
}

impl Exchange {
    /// What the rules of the caller make of its request; `None`: it has none.
    pub(super) fn as_ruled(
        &mut self,
        who: &Caller,
        request: &Request,
        now: Moment,
    ) -> Result<Option<Ruled>, Unwritable> {
        let Services { directory, buffer, .. } = &mut self.services;
        let rules = who.peer().and_then(|peer| directory.header_rules_of(peer));
        let Some(rules) = rules.filter(|rules| !rules.is_empty(Direction::In)) else { return Ok(None) };
        let mut draft = Draft::new(request);
        draft.apply(rules, Direction::In, &mut Silent);
        let read = draft.write(buffer).and_then(parsed);
        draft.restore_from();
        let kept = draft.write(buffer).and_then(parsed);
        let both = read.and_then(|read| Ok((read, kept?)));
        self.services.peer_calls.note_ruled(both.is_ok());
        let (read, mut kept) = both?;
        if let Some(source) = request.source() {
            kept.set_source(source);
        }
        self.note_feedback(&mut kept, now);
        Ok(Some(Ruled { read, kept }))
    }
}

impl Services {
    /// What the rules of `peer` make of an INVITE to it.
    ///
    /// # Errors
    /// It is too long then.
    pub fn as_ruled_for(&mut self, peer: Option<&Arc<Peer>>, invite: Bytes) -> Result<Bytes, Unwritable> {
        let rules = peer.and_then(|peer| self.directory.header_rules_of(peer));
        let Some(rules) = rules.filter(|rules| !rules.is_empty(Direction::Out)) else { return Ok(invite) };
        let ruled = parsed(invite).and_then(|request| {
            let mut draft = Draft::new(&request);
            draft.apply(rules, Direction::Out, &mut Silent);
            draft.write(&mut self.buffer)
        });
        self.peer_calls.note_ruled(ruled.is_ok());
        ruled
    }
}

fn parsed(bytes: Bytes) -> Result<Request, Unwritable> {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => Ok(request),
        _ => Err(Unwritable),
    }
}

//! What the layer does with a message from the wire.

use bytes::Bytes;
use offhook_base::Instant;

use super::{
    entry::{Arrival, Entry, Role},
    invite_client,
    invite_server::{self, InviteServer},
    layer::{TransactionLayer, may_reopen},
    matching::{Facts, MatchKey},
    non_invite_client,
    non_invite_server::{self, NonInviteServer},
    output::{Output, ServerKey},
    response_route::{destination_by_via, response_destination, sent_by_port},
    table::Key,
};
use crate::{
    header::{HeaderError, HeaderName},
    message::{Message, Method, Request, Response, StatusCode},
    transport::{Destination, Flow},
};

impl TransactionLayer {
    /// Takes one message that came over `flow`.
    pub fn receive(&mut self, message: Message, flow: Flow, now: Instant) {
        match message {
            Message::Request(mut request) => {
                request.set_source(flow.remote);
                self.receive_request(request, flow, now);
            }
            Message::Response(response) => self.receive_response(response, flow, now),
        }
    }

    /// Whether a request of a client is a repetition of one that has a transaction.
    pub fn knows(&self, request: &Request, flow: Flow) -> bool {
        self.inspect(request, flow).is_ok_and(|intake| self.by_identity.contains_key(&intake.matched_by))
    }

    /// Whether a CANCEL is for an INVITE that has a transaction.
    pub fn knows_cancelled(&self, cancel: &Request, flow: Flow) -> bool {
        let invite = self.inspect(cancel, flow).ok().and_then(|intake| intake.cancels);
        invite.is_some_and(|invite| self.by_identity.contains_key(&invite))
    }

    fn receive_response(&mut self, response: Response, flow: Flow, now: Instant) {
        let headers = response.headers();
        let (Ok(via), Ok(cseq)) = (headers.via(), headers.cseq()) else {
            self.counters.malformed += 1;
            return;
        };
        // Branches of ours are not guessable, so a response that repeats one was made from our request; its sent-by
        // (§18.1.2) need not be looked at.
        let matched_by = self.matcher.client(via.branch().unwrap_or_default(), cseq.method);
        let status = response.status();
        let Some(&key) = self.by_identity.get(&matched_by) else {
            if status.is_success() && cseq.method == Method::Invite.as_str() {
                self.outputs.push_back(Output::StrayResponse { response, flow });
            } else {
                self.counters.responses_unmatched += 1;
            }
            return;
        };
        let timers = self.config.timers;
        match self.table.get_mut(key).map(|entry| &mut entry.role) {
            Some(Role::InviteClient { machine, .. }) => {
                let input = invite_client::Input::Response(&response);
                let step = machine.handle_input(input, &timers, now);
                self.apply_invite_client(key, step, Some((response, flow)), now);
            }
            Some(Role::NonInviteClient { machine, .. }) => {
                let step = machine.handle_input(non_invite_client::Input::Response(status), &timers, now);
                self.apply_non_invite_client(key, step, Some((response, flow)));
            }
            _ => {}
        }
        self.settle(key, now);
    }

    fn receive_request(&mut self, request: Request, flow: Flow, now: Instant) {
        let is_ack = *request.method() == Method::Ack;
        let Ok(intake) = self.inspect(&request, flow) else {
            self.counters.malformed += 1;
            // An ACK is never answered.
            if !is_ack {
                self.refuse(&request, flow, StatusCode::BAD_REQUEST);
            }
            return;
        };
        match (is_ack, self.by_identity.get(&intake.matched_by).copied()) {
            (true, Some(key)) => self.receive_matched_ack(key, request, flow, now),
            (true, None) => self.outputs.push_back(Output::Ack { invite: None, ack: request, flow }),
            (false, Some(key)) => self.receive_repeat(key, now),
            (false, None) => self.receive_new(request, intake, flow, now),
        }
    }

    pub(super) fn inspect(&self, request: &Request, flow: Flow) -> Result<Intake, HeaderError> {
        let facts = Facts::read(request)?;
        let reopen_port = may_reopen(flow.transport).then(|| sent_by_port(&facts.via, flow.transport));
        let merged_by = self.matcher.merged(request, &facts);
        let cancels = (*request.method() == Method::Cancel)
            .then(|| self.matcher.server_as(request, &facts, Method::Invite.as_str()));
        Ok(Intake {
            matched_by: self.matcher.server(request, &facts),
            cancels,
            destination: destination_by_via(&facts.via, flow),
            arrival: Arrival { merged_by, reopen_port },
            in_dialog: facts.in_dialog,
        })
    }

    fn receive_matched_ack(&mut self, key: Key, ack: Request, flow: Flow, now: Instant) {
        let timers = self.config.timers;
        let Some(Entry { role: Role::InviteServer { machine, .. }, .. }) = self.table.get_mut(key) else {
            return;
        };
        let step = machine.handle_input(invite_server::Input::Ack, &timers, now);
        if step.event == Some(invite_server::Event::Ack) {
            self.outputs.push_back(Output::Ack { invite: Some(ServerKey(key)), ack, flow });
        } else {
            self.counters.acks_absorbed += 1;
        }
        self.settle(key, now);
    }

    fn receive_repeat(&mut self, key: Key, now: Instant) {
        self.counters.request_repeats += 1;
        let timers = self.config.timers;
        match self.table.get_mut(key).map(|entry| &mut entry.role) {
            Some(Role::InviteServer { machine, .. }) => {
                let step = machine.handle_input(invite_server::Input::Invite, &timers, now);
                self.apply_invite_server(key, step, now);
            }
            Some(Role::NonInviteServer { machine, .. }) => {
                let step = machine.handle_input(non_invite_server::Input::Request, &timers, now);
                self.apply_non_invite_server(key, step);
            }
            _ => {}
        }
        self.settle(key, now);
    }
}

/// What the layer needs to know of a new request.
pub(super) struct Intake {
    pub matched_by: MatchKey,
    /// Of a CANCEL: the identity of its INVITE.
    pub cancels: Option<MatchKey>,
    pub destination: Destination,
    pub arrival: Arrival,
    pub in_dialog: bool,
}

/// Requests the layer has not seen.
impl TransactionLayer {
    fn receive_new(&mut self, request: Request, intake: Intake, flow: Flow, now: Instant) {
        let max = match intake.in_dialog || intake.cancels.is_some() {
            true => self.with_reserve(),
            false => self.config.transactions_max.max(1),
        };
        if self.table.len() >= max {
            self.counters.refused_full += 1;
            return self.refuse(&request, flow, StatusCode::SERVICE_UNAVAILABLE);
        }
        if intake.arrival.merged_by.is_some_and(|merged_by| self.by_identity.contains_key(&merged_by)) {
            self.counters.merged += 1;
            return self.refuse(&request, flow, StatusCode::LOOP_DETECTED);
        }
        let Intake { matched_by, cancels, destination, arrival, .. } = intake;
        let role = self.server_role(&request, arrival, flow, now);
        let key = self.table.insert(Entry { role, destination, matched_by, wakes_at: None });
        self.by_identity.insert(matched_by, key);
        if let Some(merged_by) = arrival.merged_by {
            self.by_identity.insert(merged_by, key);
        }
        match cancels {
            Some(invite) => self.answer_cancel(key, request, invite, now),
            None => self.outputs.push_back(Output::Request { key: ServerKey(key), request, flow }),
        }
        self.settle(key, now);
    }

    fn server_role(&self, request: &Request, arrival: Arrival, flow: Flow, now: Instant) -> Role {
        let reliable = flow.transport.is_reliable();
        match request.method() {
            Method::Invite => Role::InviteServer {
                machine: InviteServer::new(reliable, self.config.trying_after, now),
                arrival,
                invite: self.config.trying_after.map(|_| Box::new(request.clone())),
            },
            method => Role::NonInviteServer {
                machine: NonInviteServer::new(reliable, &self.config.timers, now),
                arrival,
                silent: *method == Method::Cancel,
            },
        }
    }

    /// §9.2: 200 if the INVITE is known, whatever its state; 481 else. Only an unanswered INVITE is cancelled by it.
    fn answer_cancel(&mut self, key: Key, cancel: Request, invite: MatchKey, now: Instant) {
        let invite = self.by_identity.get(&invite).copied();
        let (status, tag, unanswered) = match invite.and_then(|invite| self.table.get(invite)) {
            Some(Entry { role: Role::InviteServer { machine, .. }, .. }) => {
                let tag = machine.last_provisional().and_then(to_tag);
                (StatusCode::OK, tag, machine.awaits_answer())
            }
            _ => {
                self.counters.cancels_unmatched += 1;
                (StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, None, false)
            }
        };
        let response = self.response_to(&cancel, status, tag.as_deref());
        let timers = self.config.timers;
        if let Some(Entry { role: Role::NonInviteServer { machine, .. }, .. }) = self.table.get_mut(key) {
            let input = non_invite_server::Input::Respond(status, response);
            let step = machine.handle_input(input, &timers, now);
            self.apply_non_invite_server(key, step);
        }
        if let (Some(invite), true) = (invite, unanswered) {
            self.outputs.push_back(Output::Cancelled { invite: ServerKey(invite), cancel });
        }
    }

    /// Answers without a transaction: a repeat of the request is judged anew.
    fn refuse(&mut self, request: &Request, flow: Flow, status: StatusCode) {
        // Without a Via nobody can match the answer.
        if request.headers().via().is_ok() {
            let response = self.response_to(request, status, None);
            self.send_stateless(response, response_destination(request, flow));
        }
    }

    /// A response of the layer's own; `tag` or a fresh one goes into To if that has none.
    fn response_to(&mut self, request: &Request, status: StatusCode, tag: Option<&str>) -> Bytes {
        let fresh = self.random.token::<10>();
        let mut writer = request.respond(&mut self.scratch, status, Some(tag.unwrap_or(fresh.as_str())));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            writer.header(&HeaderName::RetryAfter, self.config.retry_after.as_secs().max(1));
        }
        writer.finish()
    }
}

/// The To tag of a response of ours.
fn to_tag(response: &Bytes) -> Option<Box<str>> {
    let response = Message::parse(response.clone()).ok()?;
    response.headers().to().ok()?.tag().map(Box::from)
}

//! The owner of all transactions of one worker: its commands, its clock and its outputs. What comes in from the wire is
//! in `incoming`.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Random, Token};

use super::{
    ack,
    entry::{Entry, Role},
    invite_client::{self, InviteClient},
    invite_server, matching,
    matching::{MatchKey, Matcher},
    non_invite_client::{self, NonInviteClient},
    non_invite_server,
    output::{ClientKey, Counters, Output, ServerKey, TransactionKey, TransmitToken},
    step::Step,
    table::{Key, Table},
    timers::{TimerConfig, TimerQueue},
};
use crate::{
    message::{Method, Response, StatusCode},
    transport::{Destination, Flow, Transport},
};

/// Transactions alive at once, by default. At about 400 bytes and a message of 500 each: 256 MB when full; one call
/// needs about four for 32 s over UDP, so this carries 2,000 calls per second on one worker.
pub const TRANSACTIONS_MAX_DEFAULT: usize = 262_144;

/// What a layer may be told once, at its making.
#[derive(Clone, Debug)]
pub struct LayerConfig {
    /// Base values of all timers. Default: RFC 3261's.
    pub timers: TimerConfig,
    /// How long the transaction user may think about an INVITE before the layer sends 100 for it. Default 200 ms
    /// (§17.2.1); zero: at once; `None`: never.
    pub trying_after: Option<Duration>,
    /// Transactions alive at once, at least 1. Requests that would begin a dialog are refused with 503 beyond it; those
    /// within one, and ours, may use an eighth more, because they end calls.
    pub transactions_max: usize,
    /// What a 503 of the layer says in Retry-After. Whole seconds, default 5 s.
    pub retry_after: Duration,
}

impl Default for LayerConfig {
    fn default() -> Self {
        Self {
            timers: TimerConfig::RFC3261,
            trying_after: Some(Duration::from_millis(200)),
            transactions_max: TRANSACTIONS_MAX_DEFAULT,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// The room that the layer's own messages are written in: some ten of them.
const SCRATCH_BYTES: usize = 4 * 1024;

/// The branches of RFC 3261 begin with this (§8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// A branch parameter of ours: the magic cookie and 80 random bits (§8.1.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch([u8; Self::LENGTH]);

impl Branch {
    const LENGTH: usize = MAGIC_COOKIE.len() + 16;

    /// A new one.
    pub fn new(random: &mut Random) -> Self {
        let mut letters = [0; Self::LENGTH];
        let (cookie, rest) = letters.split_at_mut(MAGIC_COOKIE.len());
        cookie.copy_from_slice(MAGIC_COOKIE.as_bytes());
        rest.copy_from_slice(random.token::<16>().as_str().as_bytes());
        Self(letters)
    }

    /// The parameter's value.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("cookie and token are ASCII")
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The table is full: answer the caller with 503.
    #[error("too many transactions are alive")]
    Full,
    /// Use `send_stateless`: an ACK is never answered.
    #[error("an ACK has no transaction")]
    Ack,
    /// A branch of that method is in use: mint a new one for each request.
    #[error("the branch is in use")]
    BranchInUse,
}

/// Why a response was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// The transaction is over.
    #[error("the transaction is over")]
    Gone,
    /// The bytes do not begin with a SIP status line.
    #[error("not a response")]
    NotAResponse,
    /// A final response was given before, and this is no repeat of a 2xx to an INVITE.
    #[error("the request is answered")]
    Answered,
}

/// All transactions of one worker. See the module's description; contract as in every core: one input, then
/// `poll_output` until [`Output::Timeout`].
#[derive(Debug)]
pub struct TransactionLayer {
    pub(super) config: LayerConfig,
    pub(super) matcher: Matcher,
    pub(super) table: Table<Entry>,
    pub(super) by_identity: HashMap<MatchKey, Key, matching::TakeAsIsBuilder>,
    pub(super) timers: TimerQueue<Key>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) random: Random,
    pub(super) scratch: BytesMut,
}

impl TransactionLayer {
    /// An empty layer. `random` makes its branches, tags and secrets.
    pub fn new(config: LayerConfig, mut random: Random) -> Self {
        Self {
            matcher: Matcher::new(&mut random),
            config,
            table: Table::new(),
            by_identity: HashMap::default(),
            timers: TimerQueue::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            random,
            scratch: BytesMut::with_capacity(SCRATCH_BYTES),
        }
    }

    /// A branch for the next request.
    pub fn new_branch(&mut self) -> Branch {
        Branch::new(&mut self.random)
    }

    /// Sends a request in a transaction of its own. `branch` and `method` are those written in `request`'s top Via and
    /// start line; `request` is repeated as it is.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_request(
        &mut self,
        method: &Method,
        branch: &str,
        request: Bytes,
        to: Destination,
        now: Instant,
    ) -> Result<ClientKey, SendError> {
        self.start_client(method, branch, request, to, false, now).map(ClientKey)
    }

    fn start_client(
        &mut self,
        method: &Method,
        branch: &str,
        request: Bytes,
        to: Destination,
        silent: bool,
        now: Instant,
    ) -> Result<Key, SendError> {
        if *method == Method::Ack {
            return Err(SendError::Ack);
        }
        if self.table.len() >= self.with_reserve() {
            return Err(SendError::Full);
        }
        let matched_by = self.matcher.client(branch, method.as_str());
        if self.by_identity.contains_key(&matched_by) {
            return Err(SendError::BranchInUse);
        }
        let (timers, reliable) = (&self.config.timers, to.transport().is_reliable());
        let role = if *method == Method::Invite {
            let machine = InviteClient::new(request.clone(), reliable, timers, now);
            Role::InviteClient { machine, cancel_reason: None }
        } else {
            let machine = NonInviteClient::new(request.clone(), reliable, timers, now);
            Role::NonInviteClient { machine, silent }
        };
        let key = self.table.insert(Entry { role, destination: to, matched_by, wakes_at: None });
        self.by_identity.insert(matched_by, key);
        self.transmit(key, request);
        self.settle(key, now);
        Ok(key)
    }

    /// Sends a message that needs no transaction: the ACK of a 2xx (each repeat again), or a response to a request that
    /// has none. If it fails, nobody is told.
    pub fn send_stateless(&mut self, bytes: Bytes, to: Destination) {
        self.outputs.push_back(Output::Transmit { to, bytes, token: TransmitToken(None) });
    }

    /// Gives up an unanswered INVITE (§9.1). The CANCEL goes out as soon as a provisional response allows it; the INVITE
    /// ends as always, with a final response (487, or a 2xx that overtook the CANCEL) or a time-out.
    /// `reason` is the value of a Reason header (RFC 3326), such as `SIP;cause=200;text="Call completed elsewhere"`.
    ///
    /// Returns false if there is nothing left to cancel.
    pub fn cancel(&mut self, key: ClientKey, reason: Option<&str>, now: Instant) -> bool {
        let timers = self.config.timers;
        let Some(Entry { role: Role::InviteClient { machine, cancel_reason }, .. }) =
            self.table.get_mut(key.0)
        else {
            return false;
        };
        if machine.pending_invite().is_none() {
            return false;
        }
        *cancel_reason = reason.map(Box::from);
        let step = machine.handle_input(invite_client::Input::Cancel, &timers, now);
        self.apply_invite_client(key.0, step, None, now);
        self.settle(key.0, now);
        true
    }

    /// Answers a request. Provisional responses as many as needed, then one final one; after a 2xx to an INVITE each
    /// repeat of the 2xx.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub fn respond(&mut self, key: ServerKey, response: Bytes, now: Instant) -> Result<(), RespondError> {
        let status = status_of(&response).ok_or(RespondError::NotAResponse)?;
        let timers = self.config.timers;
        let entry = self.table.get_mut(key.0).ok_or(RespondError::Gone)?;
        match &mut entry.role {
            Role::InviteServer { machine, invite, .. } => {
                let repeat = machine.is_accepted() && status.is_success();
                if !machine.awaits_answer() && !repeat {
                    return Err(RespondError::Answered);
                }
                *invite = None;
                let step =
                    machine.handle_input(invite_server::Input::Respond(status, response), &timers, now);
                self.apply_invite_server(key.0, step, now);
            }
            Role::NonInviteServer { machine, .. } => {
                if !machine.awaits_answer() {
                    return Err(RespondError::Answered);
                }
                let step =
                    machine.handle_input(non_invite_server::Input::Respond(status, response), &timers, now);
                self.apply_non_invite_server(key.0, step);
            }
            Role::InviteClient { .. } | Role::NonInviteClient { .. } => return Err(RespondError::Gone),
        }
        self.settle(key.0, now);
        Ok(())
    }

    /// Answers a request once and forgets it: for a challenge to whoever it may be. RFC 3261 §26.3.2.4: no repeats, which
    /// would flood whose address was forged, and no state, which would fill the table. A request that comes again is a
    /// new one; its answer is to have the same To tag, [`Self::lasting_tag`] (§8.2.7).
    pub fn respond_once(&mut self, key: ServerKey, response: Bytes) {
        let is_server = self.table.get(key.0).is_some_and(|entry| {
            matches!(entry.role, Role::InviteServer { .. } | Role::NonInviteServer { .. })
        });
        if is_server {
            self.transmit(key.0, response);
            self.bury(key.0);
        }
    }

    /// Forgets a request that gets no answer.
    pub fn forget_unanswered(&mut self, key: ServerKey) {
        if self.table.get(key.0).is_some() {
            self.bury(key.0);
        }
    }

    /// A To tag for answers to this request, the same for all its copies even if it is forgotten in between.
    pub fn lasting_tag(&self, key: ServerKey) -> Token<12> {
        self.table.get(key.0).map_or_else(|| Token::from_number(0), |entry| entry.matched_by.tag())
    }

    /// Sends 100 for an INVITE that has had no answer, before [`LayerConfig::trying_after`] has passed: whoever sent it is
    /// known, and the answer will take time. Not earlier, because a request that gets 100 is no longer repeated, and so
    /// must not be answered with [`Self::respond_once`] (RFC 3261 §8.2.7). Nothing for any other transaction.
    pub fn hasten_trying(&mut self, key: ServerKey, now: Instant) {
        let Some(Entry { role: Role::InviteServer { machine, .. }, .. }) = self.table.get_mut(key.0) else {
            return;
        };
        if machine.awaits_answer() && machine.last_provisional().is_none() {
            // What a repeat does, too: it is the sender's way to ask for a sign of life.
            let step = machine.handle_input(invite_server::Input::Invite, &self.config.timers, now);
            self.apply_invite_server(key.0, step, now);
            self.settle(key.0, now);
        }
    }

    /// A message of ours could not be sent.
    pub fn transport_failed(&mut self, token: TransmitToken, now: Instant) {
        let Some(key) = token.0 else { return };
        let timers = self.config.timers;
        let Some(entry) = self.table.get_mut(key) else { return };
        match &mut entry.role {
            Role::InviteClient { machine, .. } => {
                let step = machine.handle_input(invite_client::Input::TransportFailed, &timers, now);
                self.apply_invite_client(key, step, None, now);
            }
            Role::NonInviteClient { machine, .. } => {
                let step = machine.handle_input(non_invite_client::Input::TransportFailed, &timers, now);
                self.apply_non_invite_client(key, step, None);
            }
            Role::InviteServer { machine, arrival, .. } => {
                if let Some(port) = arrival.reopen_port.take() {
                    let again = machine.last_response().cloned();
                    self.answer_anew(key, port, again);
                } else {
                    let step = machine.handle_input(invite_server::Input::TransportFailed, &timers, now);
                    self.apply_invite_server(key, step, now);
                }
            }
            Role::NonInviteServer { machine, arrival, .. } => {
                if let Some(port) = arrival.reopen_port.take() {
                    let again = machine.last_response().cloned();
                    self.answer_anew(key, port, again);
                } else {
                    let step = machine.handle_input(non_invite_server::Input::TransportFailed, &timers, now);
                    self.apply_non_invite_server(key, step);
                }
            }
        }
        self.settle(key, now);
    }

    /// The connection a request came over has closed: its answers go over a new one to the address it came from, at the
    /// port its Via names (§18.2.2).
    fn answer_anew(&mut self, key: Key, port: u16, again: Option<Bytes>) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let old = entry.destination;
        let mut remote = old.remote();
        remote.set_port(port);
        entry.destination = Destination::Address {
            listener: old.listener(),
            transport: old.transport(),
            local: old.local(),
            remote,
        };
        if let Some(bytes) = again {
            self.transmit(key, bytes);
        }
    }

    /// The clock reached what [`Output::Timeout`] asked for. Too early or too late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(entry) = self.table.get_mut(key) else { continue };
            if entry.wakes_at != Some(at) {
                continue; // something sooner was scheduled since and has been seen to
            }
            entry.wakes_at = None;
            self.settle(key, now);
        }
    }

    /// The next output; [`Output::Timeout`] when there is none for now.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.timers.next_deadline()))
    }

    /// How many transactions are alive.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is alive.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Whether nothing at all is kept: no transaction, no identity, no timer. For tests of leaks; timers of transactions
    /// that ended early stay until they fire, at most 64*T1.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.by_identity.is_empty() && self.timers.is_empty()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The bound for requests within a dialog and of our own.
    pub(super) fn with_reserve(&self) -> usize {
        self.config.transactions_max.saturating_add(self.config.transactions_max.div_ceil(8))
    }

    /// Lets every deadline of `key` that has come take effect, buries it if it has ended, else sees that the queue will
    /// look again in time. Ends: each machine's deadline moves on with each time-out.
    pub(super) fn settle(&mut self, key: Key, now: Instant) {
        while let Some(entry) = self.table.get_mut(key) {
            match entry.deadline() {
                Some(at) if at <= now => self.time_out(key, now),
                Some(at) => {
                    if entry.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
                        entry.wakes_at = Some(at);
                        self.timers.schedule(at, key);
                    }
                    return;
                }
                None => return self.bury(key),
            }
        }
    }

    fn time_out(&mut self, key: Key, now: Instant) {
        let timers = self.config.timers;
        let Some(entry) = self.table.get_mut(key) else { return };
        match &mut entry.role {
            Role::InviteClient { machine, .. } => {
                let step = machine.handle_input(invite_client::Input::Timeout, &timers, now);
                self.counters.request_resends += u64::from(step.send.is_some());
                self.apply_invite_client(key, step, None, now);
            }
            Role::NonInviteClient { machine, .. } => {
                let step = machine.handle_input(non_invite_client::Input::Timeout, &timers, now);
                self.counters.request_resends += u64::from(step.send.is_some());
                self.apply_non_invite_client(key, step, None);
            }
            Role::InviteServer { machine, .. } => {
                let step = machine.handle_input(invite_server::Input::Timeout, &timers, now);
                self.counters.response_resends += u64::from(step.send.is_some());
                self.apply_invite_server(key, step, now);
            }
            Role::NonInviteServer { machine, .. } => {
                let step = machine.handle_input(non_invite_server::Input::Timeout, &timers, now);
                self.apply_non_invite_server(key, step);
            }
        }
    }

    /// Takes a terminated transaction out of table and map. Its timer entry stays and is skipped when it fires.
    fn bury(&mut self, key: Key) {
        let Some(entry) = self.table.remove(key) else { return };
        self.by_identity.remove(&entry.matched_by);
        if let Some(merged_by) = entry.arrival().and_then(|arrival| arrival.merged_by)
            && self.by_identity.get(&merged_by) == Some(&key)
        {
            self.by_identity.remove(&merged_by);
        }
        if !entry.is_silent() {
            let key = match entry.role {
                Role::InviteClient { .. } | Role::NonInviteClient { .. } => {
                    TransactionKey::Client(ClientKey(key))
                }
                Role::InviteServer { .. } | Role::NonInviteServer { .. } => {
                    TransactionKey::Server(ServerKey(key))
                }
            };
            self.outputs.push_back(Output::Terminated { key });
        }
    }

    pub(super) fn transmit(&mut self, key: Key, bytes: Bytes) {
        if let Some(entry) = self.table.get(key) {
            let token = TransmitToken(Some(key));
            self.outputs.push_back(Output::Transmit { to: entry.destination, bytes, token });
        }
    }

    pub(super) fn apply_invite_client(
        &mut self,
        key: Key,
        step: Step<invite_client::Event>,
        response: Option<(Response, Flow)>,
        now: Instant,
    ) {
        use invite_client::Event;
        if let Some(bytes) = step.send {
            self.transmit(key, bytes);
        }
        let client = ClientKey(key);
        match step.event {
            Some(event @ (Event::Response | Event::ResponseThenCancel)) => {
                if let Some((response, flow)) = response {
                    self.outputs.push_back(Output::Response { key: client, response, flow });
                }
                if event == Event::ResponseThenCancel {
                    self.send_cancel(key, now);
                }
            }
            Some(Event::Cancel) => self.send_cancel(key, now),
            Some(Event::TimedOut) => {
                self.outputs.push_back(Output::TimedOut { key: TransactionKey::Client(client) });
            }
            Some(Event::TransportFailed) => {
                self.outputs.push_back(Output::TransportFailed { key: TransactionKey::Client(client) });
            }
            Some(Event::Terminated) | None => {}
        }
    }

    /// A CANCEL is a transaction of its own over the INVITE's route; what becomes of it interests nobody (§9.1: the
    /// INVITE's own answer tells).
    fn send_cancel(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let to = entry.destination;
        let Role::InviteClient { machine, cancel_reason } = &mut entry.role else { return };
        let reason = cancel_reason.take();
        let cancel = machine
            .pending_invite()
            .and_then(|invite| ack::cancel_of(invite, reason.as_deref(), &mut self.scratch));
        let Some((branch, cancel)) = cancel else {
            self.counters.unbuildable += 1;
            return;
        };
        // A full table leaves the INVITE to its own deadline.
        if self.start_client(&Method::Cancel, &branch, cancel, to, true, now).is_err() {
            self.counters.unbuildable += 1;
        }
    }

    pub(super) fn apply_non_invite_client(
        &mut self,
        key: Key,
        step: Step<non_invite_client::Event>,
        response: Option<(Response, Flow)>,
    ) {
        use non_invite_client::Event;
        if let Some(bytes) = step.send {
            self.transmit(key, bytes);
        }
        if self.table.get(key).is_none_or(Entry::is_silent) {
            return;
        }
        let client = ClientKey(key);
        let user = TransactionKey::Client(client);
        match (step.event, response) {
            (Some(Event::Response), Some((response, flow))) => {
                self.outputs.push_back(Output::Response { key: client, response, flow });
            }
            (Some(Event::TimedOut), _) => self.outputs.push_back(Output::TimedOut { key: user }),
            (Some(Event::TransportFailed), _) => {
                self.outputs.push_back(Output::TransportFailed { key: user });
            }
            _ => {}
        }
    }

    /// All but [`invite_server::Event::Ack`], which comes only with an ACK in hand.
    pub(super) fn apply_invite_server(&mut self, key: Key, step: Step<invite_server::Event>, now: Instant) {
        use invite_server::Event;
        if let Some(bytes) = step.send {
            self.transmit(key, bytes);
        }
        let user = TransactionKey::Server(ServerKey(key));
        match step.event {
            Some(Event::TryingDue) => self.send_trying(key, now),
            Some(Event::TimedOut) => self.outputs.push_back(Output::TimedOut { key: user }),
            Some(Event::TransportFailed) => self.outputs.push_back(Output::TransportFailed { key: user }),
            Some(Event::Ack | Event::Terminated) | None => {}
        }
    }

    fn send_trying(&mut self, key: Key, now: Instant) {
        let timers = self.config.timers;
        let Some(Entry { role: Role::InviteServer { machine, invite, .. }, .. }) = self.table.get_mut(key)
        else {
            return;
        };
        let Some(invite) = invite.take() else { return };
        let trying = invite.respond(&mut self.scratch, StatusCode::TRYING, None).finish();
        let step =
            machine.handle_input(invite_server::Input::Respond(StatusCode::TRYING, trying), &timers, now);
        self.apply_invite_server(key, step, now);
    }

    pub(super) fn apply_non_invite_server(&mut self, key: Key, step: Step<non_invite_server::Event>) {
        use non_invite_server::Event;
        if let Some(bytes) = step.send {
            self.transmit(key, bytes);
        }
        if self.table.get(key).is_none_or(Entry::is_silent) {
            return;
        }
        let user = TransactionKey::Server(ServerKey(key));
        match step.event {
            Some(Event::TimedOut) => self.outputs.push_back(Output::TimedOut { key: user }),
            Some(Event::TransportFailed) => self.outputs.push_back(Output::TransportFailed { key: user }),
            Some(Event::Terminated) | None => {}
        }
    }
}

/// The status code of an encoded response.
fn status_of(response: &[u8]) -> Option<StatusCode> {
    let digits = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    StatusCode::new(std::str::from_utf8(digits).ok()?.parse().ok()?)
}

/// Whether a lost connection over `transport` may be opened anew from our side. Not to a browser (RFC 7118 §5).
pub(super) const fn may_reopen(transport: Transport) -> bool {
    matches!(transport, Transport::Tcp | Transport::Tls)
}

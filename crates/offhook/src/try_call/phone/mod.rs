//! A telephone without sockets and clock: registers, calls, rings, answers, holds, hangs up.
//!
//! It is a small user agent (RFC 3261) with one line and at most one call. The contract is that of every core: one
//! input, then [`Phone::poll_output`] until [`Output::Timeout`]. What is a person's part, such as answering, is a
//! command; what a person would hear or see is an [`Event`].

mod call;
mod request;
mod session;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
};

use bytes::{Bytes, BytesMut};
use offhook_base::{HostPort, Instant, Random};
use offhook_sip::{
    digest::DigestSession,
    header::HeaderName,
    message::{Message, Response, StatusCode},
    transaction::{ClientKey, LayerConfig, Output as Outcome, TimerConfig, TransactionKey, TransactionLayer},
    transport::{ConnectionId, Destination, Flow, ListenerId, Transport},
};

use call::Call;
use request::{Attempt, Task};
use session::Session;
pub use session::Sound;

/// Seconds a registration is asked to last. A trial takes less; what it leaves behind after a crash ends soon.
pub const EXPIRES_SECS: u32 = 120;

/// Whose phone it is.
pub struct Account {
    /// The line's name: user part of the address of record, and user name of the digest.
    pub name: String,
    /// The line's password.
    pub password: String,
    /// The host of the address of record.
    pub domain: String,
}

/// How the phone and the node reach each other.
#[derive(Clone, Copy)]
pub struct Link {
    /// UDP, or a TCP connection that the phone opened.
    pub transport: Transport,
    /// The phone's end.
    pub local: SocketAddr,
    /// The node's end.
    pub node: SocketAddr,
    /// Where the phone wants to hear RTP.
    pub rtp: SocketAddr,
}

impl Link {
    /// The phone has one listener and one connection, so both have number 0.
    fn flow(&self) -> Flow {
        Flow {
            listener: ListenerId(0),
            transport: self.transport,
            local: self.local,
            remote: self.node,
            connection: self.transport.is_reliable().then_some(ConnectionId(0)),
        }
    }
}

/// What a phone wants done or known.
#[derive(Debug)]
pub enum Output {
    /// Put this message on the wire.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// Nothing more now; call [`Phone::handle_timeout`] at that time.
    Timeout(Option<Instant>),
}

/// What a person in front of the phone notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node knows where the phone is.
    Registered,
    /// The node has forgotten it.
    Unregistered,
    /// Somebody calls.
    Called,
    /// The phone that we call rings.
    RingsThere,
    /// From now on sound flows like this.
    Sound(Sound),
    /// The call stands: our INVITE was answered, or our answer acknowledged.
    Connected,
    /// The hold or resume that we asked for is in force.
    Changed,
    /// The call is over as agreed.
    Ended,
    /// Something that was asked for does not work.
    Failed(Trouble),
}

/// Why something does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the phone was about.
    pub doing: &'static str,
    /// What came instead of success.
    pub why: Why,
}

/// What came instead of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A final response other than 2xx.
    Refused(u16, String),
    /// Nothing.
    NoAnswer,
    /// The connection broke.
    ConnectionLost,
    /// An answer that cannot be made sense of.
    Unusable(&'static str),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, why } = self;
        match why {
            Why::Refused(status, reason) => write!(f, "{doing} was refused with {status} {reason}"),
            Why::NoAnswer => write!(f, "{doing} had no answer"),
            Why::ConnectionLost => write!(f, "{doing} failed: the connection broke"),
            Why::Unusable(what) => write!(f, "{doing} failed: {what}"),
        }
    }
}

/// The telephone.
pub struct Phone {
    account: Account,
    link: Link,
    sent_by: HostPort,
    layer: TransactionLayer,
    timers: TimerConfig,
    layer_deadline: Option<Instant>,
    random: Random,
    /// The node's latest challenge, and the header that answers it.
    digest: Option<(HeaderName, DigestSession)>,
    registration: Attempt,
    /// Requests that wait for their final response; an INVITE also for repeats of it.
    requests: BTreeMap<ClientKey, Pending>,
    session: Session,
    call: Option<Call>,
    outputs: VecDeque<Output>,
    buffer: BytesMut,
}

/// A request on its way.
#[derive(Clone, Copy)]
struct Pending {
    task: Task,
    /// It carries the answer to a challenge: another challenge means that the password is wrong.
    authorized: bool,
}

impl Phone {
    /// A phone that is plugged in and does nothing yet.
    pub fn new(account: Account, link: Link, mut random: Random) -> Self {
        let config = LayerConfig::default();
        Self {
            sent_by: link.local.into(),
            timers: config.timers,
            layer: TransactionLayer::new(config, random.fork()),
            layer_deadline: None,
            digest: None,
            registration: Attempt::new(&mut random),
            requests: BTreeMap::new(),
            session: Session::new(link.rtp, &mut random),
            call: None,
            outputs: VecDeque::new(),
            buffer: BytesMut::new(),
            account,
            link,
            random,
        }
    }

    /// The name of its line.
    pub fn name(&self) -> &str {
        &self.account.name
    }

    /// Its address of record.
    pub fn address(&self) -> String {
        format!("sip:{}@{}", self.account.name, self.account.domain)
    }

    /// Tells the node where the phone is: [`Event::Registered`].
    pub fn register(&mut self, now: Instant) {
        self.start(Task::Register { secs: EXPIRES_SECS }, false, now);
        self.drain(now);
    }

    /// Takes that back: [`Event::Unregistered`].
    pub fn unregister(&mut self, now: Instant) {
        self.start(Task::Register { secs: 0 }, false, now);
        self.drain(now);
    }

    /// Takes a message from the wire.
    pub fn receive(&mut self, message: Message, now: Instant) {
        self.layer.receive(message, self.link.flow(), now);
        self.drain(now);
    }

    /// The clock reached what [`Output::Timeout`] asked for. Too early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.repeat_answer(now);
        self.drain(now);
    }

    /// The next output; [`Output::Timeout`] when there is none for now.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| {
            let repeat_at = self.call.as_ref().and_then(Call::deadline);
            Output::Timeout(self.layer_deadline.into_iter().chain(repeat_at).min())
        })
    }

    fn destination(&self) -> Destination {
        Destination::Flow(self.link.flow())
    }

    /// Sees to all that the transactions want, until they want nothing more.
    fn drain(&mut self, now: Instant) {
        loop {
            match self.layer.poll_output() {
                Outcome::Transmit { bytes, .. } => self.outputs.push_back(Output::Send(bytes)),
                Outcome::Request { key, request, .. } => self.handle_request(key, request, now),
                Outcome::Ack { ack, .. } => self.handle_ack(&ack),
                Outcome::Cancelled { invite, .. } => self.handle_cancel(invite, now),
                Outcome::Response { key, response, .. } => self.handle_response(key, &response, now),
                Outcome::StrayResponse { .. } => self.acknowledge_again(),
                Outcome::TimedOut { key } => self.handle_silence(key, Why::NoAnswer),
                Outcome::TransportFailed { key } => self.handle_silence(key, Why::ConnectionLost),
                Outcome::Terminated { key: TransactionKey::Client(key) } => {
                    self.requests.remove(&key);
                }
                Outcome::Terminated { .. } => {}
                Outcome::Timeout(at) => {
                    self.layer_deadline = at;
                    return;
                }
            }
        }
    }

    fn handle_response(&mut self, key: ClientKey, response: &Response, now: Instant) {
        let Some(pending) = self.requests.get(&key).copied() else { return };
        let status = response.status();
        let task = pending.task;
        if !status.is_final() {
            return self.handle_progress(task, status);
        }
        let challenged =
            status == StatusCode::UNAUTHORIZED || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        if challenged && !pending.authorized && self.take_challenge(response) {
            return self.start(task, true, now);
        }
        if !status.is_success() {
            let why = Why::Refused(status.as_u16(), response.reason().into());
            return self.fail(task.name(), why);
        }
        match task {
            Task::Register { secs: 0 } => self.tell(Event::Unregistered),
            Task::Register { .. } => self.tell(Event::Registered),
            Task::Invite | Task::Reinvite(_) => self.handle_accepted(task, response),
            Task::Bye => {
                self.call = None;
                self.tell(Event::Ended);
            }
        }
    }

    fn handle_silence(&mut self, key: TransactionKey, why: Why) {
        if let TransactionKey::Client(key) = key
            && let Some(Pending { task, .. }) = self.requests.get(&key)
        {
            self.fail(task.name(), why);
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn fail(&mut self, doing: &'static str, why: Why) {
        self.tell(Event::Failed(Trouble { doing, why }));
    }
}

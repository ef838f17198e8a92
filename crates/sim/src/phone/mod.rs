//! A user agent for the sim: registers, calls, answers, holds, hangs up, and dies, as its habits say.
//!
//! It leans on the same messages, transactions and dialogs as the node, and has a call logic of its own: what both get
//! wrong in the same way is for the real programs in `tests/` to find.

pub mod call;
mod calling;
pub mod description;
mod habits;
mod keys;
mod registering;
mod ringing;
mod talking;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Random};
use offhook_sip::{
    dialog::DialogId,
    header::HeaderName,
    message::{Message, Method, Request, Response, StatusCode},
    session_timer::SessionTimerPolicy,
    transaction::{
        ClientKey, LayerConfig, Output as Layer, ServerKey, TimerConfig, TransactionKey, TransactionLayer,
    },
    transport::{Destination, Flow, ListenerId, Transport},
    write::MessageWriter,
};

pub use self::{
    call::{PhoneCall, Side, State},
    habits::{Habits, Reaction},
    keys::Srtp,
};
use self::{keys::Keys, registering::Registration};
use crate::{ladder::Step, media::SoundPacket};

/// The time between two pieces of sound. A real phone says something every 20 ms; a world needs less.
pub const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// What a phone puts on the network.
#[derive(Clone, Debug)]
pub enum Sent {
    /// A SIP message to the node.
    Signal(Bytes),
    /// A piece of sound, from one of its ports.
    Sound {
        /// From which port.
        from_port: u16,
        /// To where.
        to: SocketAddr,
        /// What.
        sound: SoundPacket,
    },
}

/// Why a client transaction was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Register,
    Invite(usize),
    Reoffer(usize),
    Other,
}

/// What a phone is told when it is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Unique in the world: numbers its streams and conversations.
    pub number: u32,
    /// The line it registers.
    pub line: String,
    /// The domain of its line.
    pub domain: String,
    /// The line's password.
    pub password: String,
    /// Its own address.
    pub address: SocketAddr,
    /// The node's.
    pub node: SocketAddr,
}

/// A phone.
pub struct Phone {
    /// What it is like.
    pub habits: Habits,
    /// The line it registers.
    pub line: String,
    /// Its password.
    pub password: String,
    /// The domain of its line.
    pub domain: String,
    /// Its address as it knows it; a NAT may show another one.
    pub address: SocketAddr,
    /// Every message it sent and received.
    pub ladder: Vec<Step>,
    /// Its calls, old ones included.
    pub calls: Vec<PhoneCall>,
    /// Rules that were broken towards it.
    pub violations: Vec<String>,
    node: SocketAddr,
    alive: bool,
    layer: TransactionLayer,
    random: Random,
    uses: Vec<(ClientKey, Use)>,
    registration: Registration,
    buffer: BytesMut,
    sent: VecDeque<Sent>,
    next_port: u16,
    next_number: u32,
    next_conversation: u64,
}

impl Phone {
    /// A phone that is switched on.
    pub fn new(setup: Setup, habits: Habits, mut random: Random, now: Instant) -> Self {
        let Setup { number, line, domain, password, address, node } = setup;
        let layer = TransactionLayer::new(LayerConfig::default(), random.fork());
        let registration = Registration::new(&mut random, habits.registers.then_some(now));
        Self {
            habits,
            line,
            password,
            domain,
            address,
            ladder: Vec::new(),
            calls: Vec::new(),
            violations: Vec::new(),
            node,
            alive: true,
            layer,
            random,
            uses: Vec::new(),
            registration,
            buffer: BytesMut::new(),
            sent: VecDeque::new(),
            next_port: 10_000,
            next_number: number * 10_000,
            next_conversation: u64::from(number) * 1_000_000,
        }
    }

    /// Goes silent at once and forgets everything.
    pub fn crash(&mut self) {
        self.alive = false;
        for call in &mut self.calls {
            call.end(0);
        }
        self.layer = TransactionLayer::new(LayerConfig::default(), self.random.fork());
        self.uses.clear();
        self.sent.clear();
        self.registration.lose();
    }

    /// Comes back after a crash, maybe from elsewhere, and registers.
    pub fn come_back(&mut self, address: SocketAddr, now: Instant) {
        self.alive = true;
        self.address = address;
        self.registration = Registration::new(&mut self.random, self.habits.registers.then_some(now));
    }

    /// Whether it is switched on.
    pub const fn is_alive(&self) -> bool {
        self.alive
    }

    /// Whether it has a call that was answered.
    pub fn is_talking(&self) -> bool {
        self.calls.iter().any(|call| call.state == State::Up)
    }

    /// Whether it is registered as far as it knows.
    pub const fn is_registered(&self) -> bool {
        self.registration.is_registered()
    }

    /// Whether nothing is under way: no call, no transaction.
    pub fn is_idle(&self) -> bool {
        self.calls.iter().all(PhoneCall::is_over) && self.layer.is_empty()
    }

    /// The ladder as text, one message a line.
    pub fn ladder_text(&self) -> Vec<String> {
        self.ladder.iter().map(Step::to_string).collect()
    }

    /// Forgets the ladder so far.
    pub fn clear_ladder(&mut self) {
        self.ladder.clear();
    }

    /// A message came from the node.
    pub fn receive(&mut self, bytes: Bytes, now: Instant) {
        if !self.alive {
            return;
        }
        self.ladder.push(Step::new(now, false, &bytes));
        match Message::parse(bytes) {
            Ok(message) => {
                self.layer.receive(message, self.flow(), now);
                self.pump(now);
            }
            Err(error) => self.violations.push(format!("the node sent something malformed: {error:?}")),
        }
    }

    /// A piece of sound came to one of its ports.
    pub fn hear(&mut self, port: u16, sound: &SoundPacket) {
        let Some(call) = self
            .calls
            .iter_mut()
            .find(|call| self.alive && !call.is_over() && call.media.local.port() == port)
        else {
            return;
        };
        if call.conversation != sound.conversation || call.side == sound.said_by {
            let (own, theirs) = (call.conversation, sound.conversation);
            self.violations.push(format!("conversation {own} heard {:?} of {theirs}", sound.said_by));
        }
        match call.media.keys.as_ref().and_then(Keys::opens) == sound.key {
            true => call.heard += 1,
            false => call.garbled += 1,
        }
    }

    /// The clock reached its deadline, maybe.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.alive {
            return;
        }
        self.layer.handle_timeout(now);
        self.pump(now);
        self.keep_registered(now);
        for index in 0..self.calls.len() {
            self.run_call(index, now);
        }
        self.pump(now);
    }

    /// When it wants to be woken.
    pub fn deadline(&mut self) -> Option<Instant> {
        if !self.alive {
            return None;
        }
        let layer = match self.layer.poll_output() {
            Layer::Timeout(at) => at,
            other => unreachable!("the layer was drained, yet {other:?}"),
        };
        let calls = self.calls.iter().filter_map(PhoneCall::deadline);
        calls.chain(layer).chain(self.registration.deadline()).min()
    }

    /// What it has to send.
    pub fn poll_sent(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// Works on what the layer hands up.
    pub fn pump(&mut self, now: Instant) {
        loop {
            match self.layer.poll_output() {
                Layer::Transmit { bytes, .. } => {
                    self.ladder.push(Step::new(now, true, &bytes));
                    self.sent.push_back(Sent::Signal(bytes));
                }
                Layer::Request { key, request, .. } => self.requested(key, request, now),
                Layer::Ack { ack, .. } => self.acknowledged(&ack),
                Layer::Cancelled { invite, .. } => self.was_cancelled(invite, now),
                Layer::Response { key, response, .. } => self.answered(key, &response, now),
                Layer::StrayResponse { response, .. } => self.repeat_ack(&response),
                Layer::TimedOut { key } | Layer::TransportFailed { key } => self.unanswered(key, now),
                Layer::Terminated { key } => {
                    if let TransactionKey::Client(key) = key {
                        self.uses.retain(|(known, _)| *known != key);
                    }
                }
                Layer::Timeout(_) => break,
            }
        }
    }

    fn requested(&mut self, key: ServerKey, request: Request, now: Instant) {
        if let Some(index) = self.call_of(&request) {
            return self.requested_in_call(index, key, request, now);
        }
        let in_dialog = request.headers().to().is_ok_and(|to| to.tag().is_some());
        match request.method() {
            Method::Invite if !in_dialog => self.ring(key, request, now),
            Method::Options | Method::Message => self.respond(key, &request, 200, now),
            _ => self.respond(key, &request, 481, now),
        }
    }

    fn answered(&mut self, key: ClientKey, response: &Response, now: Instant) {
        match self.use_of(key) {
            Some(Use::Register) => self.register_answered(response, now),
            Some(Use::Invite(index)) => self.invite_answered(index, response, now),
            Some(Use::Reoffer(index)) => self.reoffer_answered(index, key, response, now),
            Some(Use::Other) | None => {}
        }
    }

    fn unanswered(&mut self, key: TransactionKey, now: Instant) {
        let TransactionKey::Client(key) = key else { return };
        match self.use_of(key) {
            Some(Use::Register) => self.register_unanswered(now),
            Some(Use::Invite(index)) => self.calls[index].end(408),
            Some(Use::Reoffer(index)) => self.hang_up(index, now),
            Some(Use::Other) | None => {}
        }
    }

    fn use_of(&self, key: ClientKey) -> Option<Use> {
        self.uses.iter().find(|(known, _)| *known == key).map(|(_, purpose)| *purpose)
    }

    /// The call whose dialog a request names.
    fn call_of(&self, request: &Request) -> Option<usize> {
        let id = DialogId::of_request(request).ok().flatten()?;
        self.calls.iter().position(|call| {
            !call.is_over()
                && call.call_id == id.call_id
                && call.tag == id.local_tag
                && (call.dialog.as_ref().is_some_and(|dialog| dialog.id() == id)
                    || call.early.iter().any(|early| early.dialog.id() == id))
        })
    }

    /// Answers with a bare status.
    fn respond(&mut self, key: ServerKey, request: &Request, status: u16, now: Instant) {
        let tag = self.random.token::<8>();
        let bytes = request.respond(&mut self.buffer, status_of(status), Some(tag.as_str())).finish();
        self.reply(key, bytes, now);
    }

    fn reply(&mut self, key: ServerKey, bytes: Bytes, now: Instant) {
        // The transaction may be over: the other side has given up.
        let _ = self.layer.respond(key, bytes, now);
    }

    fn send(&mut self, method: &Method, branch: &str, bytes: Bytes, purpose: Use, now: Instant) -> ClientKey {
        let to = self.destination();
        let key = self.layer.send_request(method, branch, bytes, to, now).expect("room for a transaction");
        self.uses.push((key, purpose));
        key
    }

    fn new_branch(&mut self) -> String {
        self.layer.new_branch().to_string()
    }

    fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/{} {};branch={branch};rport", self.transport().via_token(), self.address)
    }

    fn contact(&self) -> String {
        format!("<{}>", self.contact_uri())
    }

    fn contact_uri(&self) -> String {
        let parameter = if self.habits.tcp { ";transport=tcp" } else { "" };
        let push = self.habits.push.map_or(String::new(), |provider| {
            format!(";pn-provider={provider};pn-prid={}", self.next_conversation / 1_000_000)
        });
        format!("sip:{}@{}{parameter}{push}", self.line, self.address)
    }

    /// What it speaks.
    pub const fn transport(&self) -> Transport {
        if self.habits.tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// Writes what every offer and answer carries.
    fn write_capabilities(habits: &Habits, writer: &mut MessageWriter<'_>) {
        let methods = "INVITE, ACK, CANCEL, BYE, OPTIONS";
        let mut allow = String::from(methods);
        let mut supported = Vec::new();
        if habits.reliable || habits.requires_reliable {
            allow += ", PRACK";
            supported.push("100rel");
        }
        if habits.updates {
            allow += ", UPDATE";
        }
        if habits.session_secs.is_some() {
            supported.push("timer");
        }
        writer.header(&HeaderName::Allow, allow);
        if !supported.is_empty() {
            writer.header(&HeaderName::Supported, supported.join(", "));
        }
    }

    fn policy(&self) -> Option<SessionTimerPolicy> {
        let interval_secs = self.habits.session_secs?;
        Some(SessionTimerPolicy { interval_secs, min_secs: 90, refresh_alone: false })
    }

    fn destination(&self) -> Destination {
        Destination::Flow(self.flow())
    }

    const fn flow(&self) -> Flow {
        Flow {
            listener: ListenerId(0),
            transport: self.transport(),
            local: self.address,
            remote: self.node,
            connection: None,
        }
    }

    fn new_number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    fn new_media(&mut self) -> description::Media {
        let number = self.new_number();
        let port = self.next_port;
        self.next_port = if port >= 60_000 { 10_000 } else { port + 2 };
        let keys = keys::Keys::new(self.habits.srtp, &mut self.random);
        description::Media::new(SocketAddr::new(self.address.ip(), port), number, keys)
    }
}

/// RFC 3261's timers.
const TIMERS: TimerConfig = TimerConfig::RFC3261;

/// A status that the sim has written itself.
fn status_of(code: u16) -> StatusCode {
    StatusCode::new(code).expect("a status code")
}

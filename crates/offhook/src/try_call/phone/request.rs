//! The requests of a phone, written and authorized.

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Random};
use offhook_sdp::Direction;
use offhook_sip::{
    dialog::OutgoingVia,
    digest::{DigestSession, HashFunction},
    header::HeaderName,
    message::{Method, Response, StatusCode},
    transport::Transport,
    write::MessageWriter,
};

use super::{Account, Pending, Phone, Why, call::Call, session::CONTENT_TYPE};

/// What the phone answers to.
pub(super) const ALLOWED: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// What the phone calls itself.
const USER_AGENT: &str = "Offhook try";

/// Where a request starts its way down the proxies (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;

/// What names requests outside of a dialog that belong together: all of a registration, or an INVITE and its repeat
/// with credentials.
pub(super) struct Attempt {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    cseq: u32,
}

impl Attempt {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            call_id: random.token::<24>().as_str().into(),
            local_tag: random.token::<12>().as_str().into(),
            cseq: 0,
        }
    }

    /// Begins a request outside of a dialog (RFC 3261 §8.1.1).
    fn write<'b>(
        &mut self,
        buffer: &'b mut BytesMut,
        method: &Method,
        uri: &str,
        via: OutgoingVia<'_>,
        from: &str,
        to: &str,
    ) -> MessageWriter<'b> {
        self.cseq += 1;
        let mut writer = MessageWriter::request(buffer, method, uri);
        writer
            .header(&HeaderName::Via, via)
            .header(&HeaderName::MaxForwards, MAX_FORWARDS)
            .header(&HeaderName::From, format_args!("<{from}>;tag={}", self.local_tag))
            .header(&HeaderName::To, format_args!("<{to}>"))
            .header(&HeaderName::CallId, &self.call_id)
            .header(&HeaderName::CSeq, format_args!("{} {}", self.cseq, method.as_str()));
        writer
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Register for so many seconds; 0 takes the registration away.
    Register { secs: u32 },
    /// Call.
    Invite,
    /// Hold or resume.
    Reinvite(Direction),
    /// Hang up.
    Bye,
}

impl Task {
    /// In sentences about what went wrong.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Register { secs: 0 } => "unregistering",
            Self::Register { .. } => "registering",
            Self::Invite => "calling",
            Self::Reinvite(_) => "hold or resume",
            Self::Bye => "hanging up",
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::Register { .. } => Method::Register,
            Self::Invite | Self::Reinvite(_) => Method::Invite,
            Self::Bye => Method::Bye,
        }
    }
}

impl Phone {
    /// Writes the request of `task` and sends it in a transaction. `authorized`: in answer to a challenge.
    pub(super) fn start(&mut self, task: Task, authorized: bool, now: Instant) {
        let Some(uri) = self.request_uri(task) else { return };
        let method = task.method();
        let body = match task {
            Task::Invite => self.session.offer(Direction::SendRecv),
            Task::Reinvite(direction) => self.session.offer(direction),
            Task::Register { .. } | Task::Bye => Bytes::new(),
        };
        let credentials = self.credentials(&method, &uri, &body);
        let contact = self.contact();
        let address = self.address();
        let branch = self.layer.new_branch();
        let via =
            OutgoingVia { transport: self.link.transport, sent_by: &self.sent_by, branch: branch.as_str() };
        let to = if task == Task::Invite { &uri } else { &address };
        let buffer = &mut self.buffer;
        let mut writer = match (self.call.as_mut(), task) {
            (_, Task::Register { .. }) => self.registration.write(buffer, &method, &uri, via, &address, to),
            (Some(call), Task::Invite) => call.attempt.write(buffer, &method, &uri, via, &address, to),
            (Some(Call { dialog: Some(dialog), .. }), _) => dialog.request(&method, via, buffer),
            _ => return,
        };
        if let Some((name, value)) = &credentials {
            writer.header(name, value);
        }
        if let Task::Register { secs } = task {
            writer.header(&HeaderName::Expires, secs);
        }
        if task != Task::Bye {
            writer.header(&HeaderName::Contact, &contact).header(&HeaderName::Allow, ALLOWED);
        }
        writer.header(&HeaderName::UserAgent, USER_AGENT);
        if !body.is_empty() {
            writer.body(CONTENT_TYPE, &body);
        }
        let request = writer.finish();
        let destination = self.destination();
        match self.layer.send_request(&method, branch.as_str(), request, destination, now) {
            Ok(key) => {
                self.requests.insert(key, Pending { task, authorized });
            }
            // The table is empty but for a few, and the branch is new.
            Err(_) => self.fail(task.name(), Why::Unusable("the phone cannot send")),
        }
    }

    /// Where the phone wants to get requests.
    pub(super) fn contact(&self) -> String {
        let transport = match self.link.transport {
            Transport::Udp => String::new(),
            other => format!(";transport={}", other.uri_token()),
        };
        format!("<sip:{}@{}{transport}>", self.account.name, self.sent_by)
    }

    /// Takes up the challenge of a 401 or 407; false if none of it can be answered.
    pub(super) fn take_challenge(&mut self, response: &Response) -> bool {
        let headers = response.headers();
        let Account { name, password, .. } = &self.account;
        let ha1 = |hash: HashFunction, realm: &str| Some(hash.ha1(name, realm, password));
        let (answered_in, session) = if response.status() == StatusCode::UNAUTHORIZED {
            (HeaderName::Authorization, DigestSession::answer_to(name, headers.www_authenticate(), ha1))
        } else {
            (
                HeaderName::ProxyAuthorization,
                DigestSession::answer_to(name, headers.proxy_authenticate(), ha1),
            )
        };
        let Some(session) = session else { return false };
        self.digest = Some((answered_in, session));
        true
    }

    fn credentials(&mut self, method: &Method, uri: &str, body: &[u8]) -> Option<(HeaderName, String)> {
        let (name, session) = self.digest.as_mut()?;
        Some((*name, session.authorize(method, uri, body, &mut self.random)))
    }

    /// `None` for a task that needs a call, when there is none.
    fn request_uri(&self, task: Task) -> Option<String> {
        let call = self.call.as_ref();
        match task {
            Task::Register { .. } => Some(format!("sip:{}", self.account.domain)),
            Task::Invite => call.map(|call| call.target.clone()),
            Task::Reinvite(_) | Task::Bye => {
                call?.dialog.as_ref().map(|dialog| dialog.state().remote_target.to_string())
            }
        }
    }
}

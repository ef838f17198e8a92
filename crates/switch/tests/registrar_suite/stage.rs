//! A node's registrar with its gate and guard, and phones that know their passwords.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Moment, Random, UtcMillis};
use offhook_edge::{Edge, EdgeLimits};
use offhook_sip::{
    digest::{Algorithm, HashFunction, Protection, ResponseInput},
    header::{DigestChallenge, HeaderName},
    message::{Message, Request, Response},
    transport::{ConnectionId, Destination, Flow, Listener, ListenerId, Transport},
};
use offhook_switch::{
    directory::{CallPermission, Device, Directory, Line, LineId, PasswordHashes, Srtp, Tenant},
    fact::{Fact, UnboundReason, What},
    gate::{Authenticated, Denied, Gate, Surroundings},
    registrar::{Registrar, RegistrarConfig, StoredBinding, Target},
    settings::Settings,
};

pub const ANNA: LineId = LineId(1);
pub const BERT: LineId = LineId(2);
pub const PASSWORD: &str = "correct horse";
pub const REALM: &str = "example.org";
/// 2026-11-22T16:10:36Z.
pub const START: UtcMillis = UtcMillis(1_795_363_836_000);

pub struct Stage {
    pub registrar: Registrar,
    pub gate: Gate,
    pub edge: Edge,
    pub directory: Directory,
    pub now: Moment,
    /// Where the next request comes from.
    pub flow: Flow,
    /// A nonce to use again, and how often it was used.
    nonce: Option<(String, u32)>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(RegistrarConfig::default())
    }

    pub fn with(config: RegistrarConfig) -> Self {
        let second = Duration::from_secs(1);
        Self {
            registrar: Registrar::new(config, &[7; 32]),
            gate: Gate::new(
                &[8; 32],
                300 * second,
                1000,
                &Settings::default().digest,
                Random::from_number(1),
            ),
            edge: Edge::new(&EdgeLimits::default(), 7),
            directory: directory(&[("101", ANNA, true), ("102", BERT, true), ("103", LineId(3), false)]),
            now: Moment { instant: Instant::from_driver_nanos(5_000_000_000), utc: START },
            flow: udp("192.0.2.10:5060"),
            nonce: None,
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        let duration = Duration::from_secs(seconds);
        self.now =
            Moment { instant: self.now.instant + duration, utc: self.now.utc.saturating_add(duration) };
    }

    /// Lets time pass as a driver does: to each deadline, then to the end.
    pub fn pass_with_timers(&mut self, seconds: u64) {
        let end = self.now.instant + Duration::from_secs(seconds);
        while let Some(at) = self.registrar.next_timeout().filter(|at| *at <= end) {
            let step = at.saturating_since(self.now.instant);
            self.now = Moment { instant: at.max(self.now.instant), utc: self.now.utc.saturating_add(step) };
            self.registrar.handle_timeout(self.now);
            assert!(
                self.registrar.next_timeout().is_none_or(|next| next > at),
                "the next deadline lies ahead"
            );
        }
        let rest = end.saturating_since(self.now.instant);
        self.now = Moment { instant: end, utc: self.now.utc.saturating_add(rest) };
    }

    /// Asks the gate.
    pub fn knock(&mut self, request: &Request) -> Result<Authenticated, Denied> {
        let ours = |host: &str| host == "198.51.100.1";
        let around = Surroundings {
            source: self.flow.remote,
            directory: &self.directory,
            is_our_host: &ours,
            now: self.now,
        };
        self.gate.authenticate(request, &around, &mut self.edge, "totag", &mut BytesMut::new())
    }

    /// Line 101 registers: `lines` are the headers that matter, from the CSeq on.
    pub fn register(&mut self, cseq: u32, lines: &str) -> Response {
        self.register_as("101", "call-1@192.0.2.10", cseq, lines)
    }

    pub fn register_as(&mut self, name: &str, call_id: &str, cseq: u32, lines: &str) -> Response {
        let text = register_text(name, call_id, cseq, lines);
        let who = self.authenticate(name, &text);
        let request = request(&text);
        let mut out = BytesMut::new();
        let answered = self.registrar.register(&request, &who, &self.flow, self.now, "totag", &mut out);
        let response = response(answered.response);
        assert_eq!(response.status(), answered.status);
        assert_eq!(answered.refusal.is_some(), !answered.status.is_success());
        response
    }

    /// Registers, and says by how much `meter` rose in the registrar alone, facts and answer aside.
    pub fn register_counting(
        &mut self,
        name: &str,
        call_id: &str,
        lines: &str,
        meter: impl Fn() -> isize,
    ) -> isize {
        let text = register_text(name, call_id, 1, lines);
        let who = self.authenticate(name, &text);
        let request = request(&text);
        let mut out = BytesMut::new();
        let before = meter();
        let answered = self.registrar.register(&request, &who, &self.flow, self.now, "totag", &mut out);
        assert!(answered.status.is_success());
        drop((out, answered));
        while self.registrar.poll_fact().is_some() {}
        meter() - before
    }

    /// Sends the request until the gate is content, using the last nonce as long as it is good.
    pub fn authenticate(&mut self, name: &str, text: &str) -> Authenticated {
        for _ in 0..3 {
            let mut with = text.to_owned();
            if let Some((nonce, count)) = &mut self.nonce {
                *count += 1;
                with = with_credentials(text, &Answer { name, nonce, count: *count, ..Answer::default() });
            }
            match self.knock(&request(&with)) {
                Ok(who) => return who,
                Err(denied) => {
                    let response = response(denied.response);
                    let challenge = response.headers().www_authenticate().next().expect("a challenge");
                    self.nonce = Some((challenge.nonce.into_owned(), 0));
                }
            }
        }
        panic!("the gate let nobody in");
    }

    pub fn facts(&mut self) -> Vec<Fact> {
        std::iter::from_fn(|| self.registrar.poll_fact()).collect()
    }

    /// The facts in short: `+key`, `=key` for a refresh, or `-key reason`.
    pub fn changes(&mut self) -> Vec<String> {
        let short = |fact: Fact| match fact.what {
            What::Bound(binding) => format!("+{}", binding.key()),
            What::Refreshed(binding) => format!("={}", binding.key()),
            What::Unbound { key, why, .. } => format!("-{key} {why:?}"),
            other => panic!("unexpected {other:?}"),
        };
        self.facts().into_iter().map(short).collect()
    }

    /// What a store would hold after these facts.
    pub fn stored(&mut self) -> Vec<Arc<StoredBinding>> {
        let mut stored: Vec<Arc<StoredBinding>> = Vec::new();
        for fact in self.facts() {
            match fact.what {
                What::Bound(binding) | What::Refreshed(binding) => {
                    stored.retain(|known| (known.line(), known.key()) != (binding.line(), binding.key()));
                    stored.push(binding);
                }
                What::Unbound { line, key, .. } => {
                    stored.retain(|known| (known.line(), &*known.key()) != (line, &*key))
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        stored
    }

    pub fn targets(&self) -> Vec<Vec<Target>> {
        self.registrar.contacts(ANNA, self.now.instant)
    }

    /// The Request-URIs of [`Stage::targets`], by group.
    pub fn uris(&self) -> Vec<Vec<String>> {
        let uris = |group: Vec<Target>| group.into_iter().map(|target| target.request_uri.into()).collect();
        self.targets().into_iter().map(uris).collect()
    }

    /// Where the only target is reached.
    pub fn destination(&self) -> Option<Destination> {
        let targets = self.targets();
        assert_eq!((targets.len(), targets[0].len()), (1, 1));
        targets[0][0].destination
    }
}

pub fn directory(lines: &[(&str, LineId, bool)]) -> Directory {
    let tenant = |name: &str, domain: &str| Tenant {
        name: name.into(),
        domains: vec![domain.into()],
        realm: domain.into(),
    };
    let lines = lines.iter().map(|&(name, id, enabled)| line(name, id, enabled)).collect();
    let tenants = vec![tenant("default", REALM), tenant("other", "other.example")];
    Directory::new(tenants, vec![], Vec::<Device>::new(), lines, vec![])
}

pub fn line(name: &str, id: LineId, enabled: bool) -> Line {
    let digits = |hash: HashFunction| hash.ha1(name, REALM, PASSWORD).as_str().as_bytes().to_vec();
    let password = PasswordHashes {
        md5: digits(HashFunction::Md5).try_into().unwrap(),
        sha256: digits(HashFunction::Sha256).try_into().unwrap(),
    };
    Line {
        id,
        tenant: "default".into(),
        name: name.into(),
        display_name: None,
        user: None,
        enabled,
        password,
        may_call: CallPermission::Inside,
        bindings_max: 3,
        calls_max: 10,
        srtp: Srtp::Auto,
    }
}

pub fn udp(remote: &str) -> Flow {
    Flow {
        listener: ListenerId(0),
        transport: Transport::Udp,
        local: address("198.51.100.1:5060"),
        remote: address(remote),
        connection: None,
    }
}

pub fn stream(transport: Transport, connection: u64, remote: &str) -> Flow {
    Flow { listener: ListenerId(1), transport, connection: Some(ConnectionId(connection)), ..udp(remote) }
}

pub fn listeners() -> [Listener; 2] {
    let listener = |id, transport| Listener {
        id: ListenerId(id),
        transport,
        bound: address("0.0.0.0:5060"),
        advertised: None,
    };
    [listener(0, Transport::Udp), listener(1, Transport::Tcp)]
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn register_text(name: &str, call_id: &str, cseq: u32, lines: &str) -> String {
    let head = format!(
        "REGISTER sip:example.org SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{cseq};rport\n\
         Max-Forwards: 70\n\
         From: <sip:{name}@example.org>;tag=f1\n\
         To: <sip:{name}@example.org>\n\
         Call-ID: {call_id}\n\
         CSeq: {cseq} REGISTER\n"
    );
    let lines: String = lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{head}{lines}Content-Length: 0\n\n")
}

pub fn request(text: &str) -> Request {
    match Message::parse(Bytes::from(text.replace('\n', "\r\n"))) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {:?}", other.err()),
    }
}

/// As [`request`]; `None` if the parser refuses it.
pub fn try_request(text: &str) -> Option<Request> {
    match Message::parse(Bytes::from(text.replace('\n', "\r\n"))) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

pub fn response(bytes: Bytes) -> Response {
    match Message::parse(bytes) {
        Ok(Message::Response(response)) => response,
        other => panic!("no response: {:?}", other.err()),
    }
}

/// How a phone answers a challenge.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub name: &'a str,
    pub password: &'a str,
    pub realm: &'a str,
    pub nonce: &'a str,
    pub count: u32,
    pub algorithm: Algorithm,
    /// The URI that the credentials cover.
    pub uri: &'a str,
}

impl Default for Answer<'_> {
    fn default() -> Self {
        Self {
            name: "101",
            password: PASSWORD,
            realm: REALM,
            nonce: "",
            count: 1,
            algorithm: Algorithm::SHA_256,
            uri: "sip:example.org",
        }
    }
}

impl<'a> Answer<'a> {
    pub fn to(challenge: &'a DigestChallenge<'_>) -> Self {
        let algorithm = Algorithm::parse(challenge.algorithm.as_deref().unwrap_or("MD5")).unwrap();
        Self { realm: &challenge.realm, nonce: &challenge.nonce, algorithm, ..Self::default() }
    }
}

/// `text` with credentials in the header that its method wants.
pub fn with_credentials(text: &str, answer: &Answer<'_>) -> String {
    let Answer { name, password, realm, nonce, count, algorithm, uri } = *answer;
    let method = text.split(' ').next().unwrap();
    let count = format!("{count:08x}");
    let protection = Protection::Auth { count: &count, cnonce: "c0ffee" };
    let ha1 = algorithm.hash.ha1(name, realm, password);
    let digest = ResponseInput { algorithm, method, uri, nonce, protection }.response(&ha1);
    let header = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
    let line = format!(
        "{header}: Digest username=\"{name}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{}\", algorithm={algorithm}, cnonce=\"c0ffee\", qop=auth, nc={count}",
        digest.as_str()
    );
    text.replacen("Content-Length:", &format!("{line}\nContent-Length:"), 1)
}

/// The Contact values of a response.
pub fn contacts(response: &Response) -> Vec<&str> {
    response.headers().all(&HeaderName::Contact).collect()
}

pub fn reasons(changes: &[Fact]) -> Vec<UnboundReason> {
    changes
        .iter()
        .filter_map(|fact| match fact.what {
            What::Unbound { why, .. } => Some(why),
            _ => None,
        })
        .collect()
}

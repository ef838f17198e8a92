//! An exchange and two ends that do only what they must: what a call and a registration cost, without a world around.
//!
//! The messages are those of the benchmark's load generator (`bench/scenarios`), so that counts taken here explain
//! figures measured there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use offhook_base::{Instant, Moment, Random, UtcMillis};
use offhook_sip::{
    digest::{DigestSession, HashFunction},
    header::HeaderName,
    message::{Message, Method, Response},
    transport::{Flow, Listener, ListenerId, Transport},
};
use offhook_switch::{
    directory::CallPermission,
    exchange::{Answer, Ask, Exchange, ExchangeConfig, Hop, Input, Output},
    settings::Settings,
};

use crate::setup::{DOMAIN, NODE, WorldConfig, peer};

const LISTENER: ListenerId = ListenerId(0);
const CALLER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 5060);
const CALLEE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), 5060);
const DEVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 3)), 5060);

/// The line that registers; its password is that of [`crate::setup::line`].
const LINE: &str = "1000001";

/// Between two messages: enough that no two share a time, little beside every timer.
const STEP: Duration = Duration::from_micros(100);

/// An exchange with a peer that calls, a peer that is called, and a line that registers; media is not anchored.
pub struct Bare {
    exchange: Exchange,
    now: Moment,
    calls: u64,
    registrations: u64,
    sent: Vec<Bytes>,
    /// Kept forms handed out.
    pub forms: usize,
    meter: fn(bool),
}

impl Bare {
    /// `meter` is told when the exchange begins to work (true) and when it has ended (false).
    pub fn new(meter: fn(bool)) -> Self {
        let caller = peer(1, CALLER.ip(), "none");
        let callee = peer(2, CALLEE.ip(), "");
        let peers = [caller, callee].map(|mut peer| {
            peer.may_call = CallPermission::Outside;
            peer.calls_max = 100_000;
            peer
        });
        let world = WorldConfig::with_directory(0, &[LINE], peers.into());
        let listener = Listener { id: LISTENER, transport: Transport::Udp, bound: NODE, advertised: None };
        let settings = Settings {
            listeners: vec![listener],
            anchor_media: false,
            digest: vec![HashFunction::Md5],
            ..world.settings
        };
        let exchange = Exchange::new(ExchangeConfig {
            settings,
            registrar: world.registrar,
            limits: world.limits,
            directory: Arc::new(world.directory),
            secret: [7; 32],
            random: Random::from_number(7),
        });
        let now =
            Moment { instant: Instant::from_driver_nanos(1_000_000_000), utc: UtcMillis(1_795_363_836_000) };
        Self { exchange, now, calls: 0, registrations: 0, sent: Vec::new(), forms: 0, meter }
    }

    /// A call from INVITE to the answered BYE: six messages go in, seven come out.
    ///
    /// # Panics
    /// If a message that must come does not.
    pub fn call(&mut self) {
        self.calls += 1;
        let number = self.calls;
        self.caller_sends(&request(number, 1, "INVITE", &format!("sip:5550123@{NODE}"), "", SDP));
        let invite = self.taken("INVITE sip:");
        self.callee_answers(&invite, "180 Ringing", "");
        self.taken("SIP/2.0 180");
        self.callee_answers(&invite, "200 OK", SDP);
        let ok = response(&self.taken("SIP/2.0 200"));
        let target = ok.headers().contacts().expect("a Contact");
        let target = target.as_slice()[0].uri().to_string();
        let tag = ok.headers().to().expect("a To").tag().expect("its tag").to_string();
        let tag = format!(";tag={tag}");
        self.caller_sends(&request(number, 1, "ACK", &target, &tag, ""));
        self.taken("ACK sip:");
        self.caller_sends(&request(number, 2, "BYE", &target, &tag, ""));
        self.taken("SIP/2.0 200");
        let bye = self.taken("BYE sip:");
        self.callee_answers(&bye, "200 OK", "");
    }

    /// A REGISTER, its challenge, a REGISTER with the digest, its 200.
    ///
    /// # Panics
    /// If a message that must come does not.
    pub fn registration(&mut self) {
        self.registrations += 1;
        let number = self.registrations;
        self.receive(DEVICE, register(number, 1, "").into());
        let challenge = response(&self.taken("SIP/2.0 401"));
        let password = format!("pw-{LINE}");
        let digest = DigestSession::answer_to(LINE, challenge.headers().www_authenticate(), |hash, realm| {
            Some(hash.ha1(LINE, realm, &password))
        });
        let mut random = Random::from_number(number);
        let credentials = digest.expect("a challenge").authorize(
            &Method::Register,
            &format!("sip:{DOMAIN}"),
            b"",
            &mut random,
        );
        self.receive(DEVICE, register(number, 2, &format!("Authorization: {credentials}\r\n")).into());
        self.taken("SIP/2.0 200");
    }

    /// Lets all timers of what has ended run out, and nonces with them.
    pub fn settle(&mut self) {
        self.now = later(self.now, Duration::from_secs(400));
        self.feed(Input::Timeout);
        self.sent.clear();
    }

    fn caller_sends(&mut self, text: &str) {
        self.receive(CALLER, Bytes::copy_from_slice(text.as_bytes()));
    }

    /// The callee's answer to a request that came to it.
    fn callee_answers(&mut self, request: &Bytes, status: &str, body: &str) {
        let Ok(Message::Request(request)) = Message::parse(request.clone()) else { panic!("no request") };
        let line = |name| request.headers().first(&name).expect("a line that every request has").to_string();
        let (via, from, to) = (line(HeaderName::Via), line(HeaderName::From), line(HeaderName::To));
        let (call_id, cseq) = (line(HeaderName::CallId), line(HeaderName::CSeq));
        let tag = if to.contains("tag=") { "" } else { ";tag=s1x1" };
        let answer = format!(
            "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq}\r\nContact: <sip:{CALLEE}>\r\n{}",
            content(body)
        );
        self.receive(CALLEE, answer.into());
    }

    fn receive(&mut self, remote: SocketAddr, bytes: Bytes) {
        let flow =
            Flow { listener: LISTENER, transport: Transport::Udp, local: NODE, remote, connection: None };
        self.now = later(self.now, STEP);
        self.feed(Input::Received { flow, bytes });
    }

    /// One input, and everything that comes of it. Never inlined: profilers look for it by name.
    #[inline(never)]
    fn feed(&mut self, input: Input) {
        (self.meter)(true);
        self.exchange.handle(input, self.now);
        loop {
            match self.exchange.poll_output() {
                Output::Transmit { bytes, .. } => self.sent.push(bytes),
                Output::Ask(Ask::Locate { id, .. }) => {
                    let hop = Hop {
                        transport: Transport::Udp,
                        remote: CALLEE,
                        local: NODE.ip(),
                        listener: LISTENER,
                    };
                    self.exchange.handle(Input::Answer(Answer::Located { id, hops: vec![hop] }), self.now);
                }
                Output::Timeout(_) => break,
                Output::Keep { .. } => self.forms += 1,
                Output::Ask(_) | Output::Media(_) | Output::Fact(_) | Output::Forget { .. } => {}
            }
        }
        (self.meter)(false);
    }

    /// The message beginning so, which must have come; what came before it is let go.
    fn taken(&mut self, beginning: &str) -> Bytes {
        let found = self.sent.iter().position(|bytes| bytes.starts_with(beginning.as_bytes()));
        self.sent.swap_remove(found.unwrap_or_else(|| panic!("no {beginning} was sent")))
    }
}

fn later(now: Moment, by: Duration) -> Moment {
    Moment { instant: now.instant + by, utc: now.utc.saturating_add(by) }
}

fn response(bytes: &Bytes) -> Response {
    match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) => response,
        _ => panic!("not a response"),
    }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
                   m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

fn content(body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// What the caller sends.
fn request(call: u64, cseq: u32, method: &str, uri: &str, to_tag: &str, body: &str) -> String {
    let contact =
        if method == "INVITE" { format!("Contact: <sip:5550100@{CALLER}>\r\n") } else { String::new() };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{call}-{method}\r\nMax-Forwards: 70\r\n\
         From: <sip:5550100@{CALLER}>;tag=c1x{call}\r\nTo: <sip:5550123@{NODE}>{to_tag}\r\n\
         Call-ID: {call}-1@203.0.113.1\r\nCSeq: {cseq} {method}\r\n{contact}{}",
        content(body)
    )
}

fn register(number: u64, cseq: u32, credentials: &str) -> String {
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {DEVICE};branch=z9hG4bK-{number}-{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{LINE}@{DOMAIN}>;tag=r1x{number}\r\nTo: <sip:{LINE}@{DOMAIN}>\r\n\
         Call-ID: {number}-1@203.0.113.3\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{LINE}@{DEVICE}>\r\n\
         {credentials}Expires: 3600\r\nContent-Length: 0\r\n\r\n"
    )
}

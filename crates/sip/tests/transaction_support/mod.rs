//! A layer on a bench: messages in, outputs out, a clock turned by hand.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use offhook_base::{Instant, Random};
use offhook_sip::{
    message::{Message, Method, Request, Response},
    transaction::{
        ClientKey, LayerConfig, Output, ServerKey, TransactionKey, TransactionLayer, TransmitToken,
    },
    transport::{ConnectionId, Destination, Flow, ListenerId, Transport},
};

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn flow(transport: Transport) -> Flow {
    Flow {
        listener: ListenerId(0),
        transport,
        local: address("192.0.2.1:5060"),
        remote: address("198.51.100.7:40000"),
        connection: transport.is_reliable().then_some(ConnectionId(1)),
    }
}

pub fn to_peer(transport: Transport) -> Destination {
    Destination::Flow(flow(transport))
}

/// A message from lines; the blank line is added.
pub fn bytes(lines: &[&str]) -> Bytes {
    Bytes::from(lines.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

pub fn request(text: Bytes) -> Request {
    match Message::parse(text).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

pub fn response(text: Bytes) -> Response {
    match Message::parse(text).unwrap() {
        Message::Response(response) => response,
        Message::Request(_) => panic!("a request"),
    }
}

/// A request of a peer whose Via says 198.51.100.7:5062 with `branch` and `rport`.
pub fn peer_request(method: &str, branch: &str, to_tag: &str) -> Bytes {
    let via = format!("Via: SIP/2.0/UDP 198.51.100.7:5062;branch={branch};rport");
    peer_request_via(method, &via, to_tag)
}

pub fn peer_request_via(method: &str, via: &str, to_tag: &str) -> Bytes {
    bytes(&[
        &format!("{method} sip:b@example.org SIP/2.0"),
        via,
        "Max-Forwards: 70",
        "From: <sip:a@example.org>;tag=fa",
        &format!("To: <sip:b@example.org>{to_tag}"),
        "Call-ID: c1@198.51.100.7",
        &format!("CSeq: 7 {method}"),
        "Contact: <sip:a@198.51.100.7:5062>",
    ])
}

/// A request of ours.
pub fn our_request(method: &str, branch: &str) -> Bytes {
    bytes(&[
        &format!("{method} sip:b@198.51.100.7:40000 SIP/2.0"),
        &format!("Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport"),
        "Max-Forwards: 70",
        "Route: <sip:proxy.example.org;lr>",
        "From: <sip:o@example.org>;tag=ours",
        "To: <sip:b@example.org>",
        "Call-ID: c2",
        &format!("CSeq: 9 {method}"),
    ])
}

/// The peer's answer to a request of ours.
pub fn answer_to(request_bytes: &Bytes, status: u16) -> Message {
    let mut buffer = bytes::BytesMut::new();
    let status = offhook_sip::message::StatusCode::new(status).unwrap();
    Message::parse(request(request_bytes.clone()).respond(&mut buffer, status, Some("theirs")).finish())
        .unwrap()
}

pub struct Bench {
    pub layer: TransactionLayer,
    pub start: Instant,
    pub now: Instant,
}

/// What a test looks at.
#[derive(Debug)]
pub enum Seen {
    Sent(u128, Bytes, Destination, TransmitToken),
    Request(ServerKey, Request),
    Ack(Option<ServerKey>),
    Cancelled(ServerKey),
    Response(ClientKey, u16),
    Stray(u16),
    TimedOut(u128, TransactionKey),
    TransportFailed(TransactionKey),
    Terminated(u128, TransactionKey),
}

impl Bench {
    pub fn new() -> Self {
        Self::with(LayerConfig { trying_after: None, ..LayerConfig::default() })
    }

    pub fn with(config: LayerConfig) -> Self {
        let start = Instant::from_driver_nanos(1_000_000_000);
        Self { layer: TransactionLayer::new(config, Random::from_number(1)), start, now: start }
    }

    pub fn ms(&self) -> u128 {
        (self.now - self.start).as_millis()
    }

    pub fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            seen.push(match self.layer.poll_output() {
                Output::Transmit { to, bytes, token } => Seen::Sent(self.ms(), bytes, to, token),
                Output::Request { key, request, .. } => Seen::Request(key, request),
                Output::Ack { invite, .. } => Seen::Ack(invite),
                Output::Cancelled { invite, .. } => Seen::Cancelled(invite),
                Output::Response { key, response, .. } => Seen::Response(key, response.status().as_u16()),
                Output::StrayResponse { response, .. } => Seen::Stray(response.status().as_u16()),
                Output::TimedOut { key } => Seen::TimedOut(self.ms(), key),
                Output::TransportFailed { key } => Seen::TransportFailed(key),
                Output::Terminated { key } => Seen::Terminated(self.ms(), key),
                Output::Timeout(at) => {
                    assert!(
                        at.is_none_or(|at| at > self.now),
                        "a deadline that has passed would spin the driver"
                    );
                    return seen;
                }
            });
        }
    }

    pub fn receive(&mut self, bytes: Bytes, flow: Flow) -> Vec<Seen> {
        self.receive_message(Message::parse(bytes).unwrap(), flow)
    }

    pub fn receive_message(&mut self, message: Message, flow: Flow) -> Vec<Seen> {
        self.layer.receive(message, flow, self.now);
        self.drain()
    }

    /// Sends a request of ours; its bytes and key.
    pub fn send(&mut self, method: Method, transport: Transport) -> (ClientKey, Bytes, Vec<Seen>) {
        let branch = self.layer.new_branch();
        let bytes = our_request(method.as_str(), branch.as_str());
        let key = self
            .layer
            .send_request(&method, branch.as_str(), bytes.clone(), to_peer(transport), self.now)
            .unwrap();
        let seen = self.drain();
        (key, bytes, seen)
    }

    /// Answers `key` with a response to `request` and gives what came out.
    pub fn respond(&mut self, key: ServerKey, request: &Request, status: u16) -> Vec<Seen> {
        let mut buffer = bytes::BytesMut::new();
        let status = offhook_sip::message::StatusCode::new(status).unwrap();
        let response = request.respond(&mut buffer, status, Some("tu")).finish();
        self.layer.respond(key, response, self.now).unwrap();
        self.drain()
    }

    pub fn advance(&mut self, by: Duration) -> Vec<Seen> {
        self.run_until(self.now + by)
    }

    /// Jumps from deadline to deadline up to `end`.
    pub fn run_until(&mut self, end: Instant) -> Vec<Seen> {
        let mut seen = self.drain();
        loop {
            match self.layer.poll_output() {
                Output::Timeout(Some(at)) if at <= end => {
                    self.now = at;
                    self.layer.handle_timeout(at);
                    seen.extend(self.drain());
                }
                Output::Timeout(_) => {
                    self.now = end.max(self.now);
                    return seen;
                }
                _ => panic!("drained before"),
            }
        }
    }

    /// Until nothing is scheduled, at most an hour.
    pub fn run_out(&mut self) -> Vec<Seen> {
        self.run_until(self.now + Duration::from_secs(3600))
    }
}

pub fn sent_ms(seen: &[Seen]) -> Vec<u128> {
    seen.iter().filter_map(|seen| if let Seen::Sent(ms, ..) = seen { Some(*ms) } else { None }).collect()
}

pub fn sent(seen: &[Seen]) -> Vec<Bytes> {
    seen.iter()
        .filter_map(|seen| if let Seen::Sent(_, bytes, ..) = seen { Some(bytes.clone()) } else { None })
        .collect()
}

/// The first line of each message sent.
pub fn sent_lines(seen: &[Seen]) -> Vec<String> {
    let first = |bytes: Bytes| String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned();
    sent(seen).into_iter().map(first).collect()
}

/// The one new request among the outputs.
pub fn arrived(seen: Vec<Seen>) -> (ServerKey, Request) {
    seen.into_iter()
        .find_map(|seen| if let Seen::Request(key, request) = seen { Some((key, request)) } else { None })
        .expect("a request went up")
}

//! A small SIP user agent written for the tests alone, so that it shares no mistake with the node. It is driven step by
//! step, over any transport.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use md5::{Digest, Md5};

use crate::{node::password, wait::PATIENCE};

/// How long one look for a message takes.
pub const LOOK: Duration = Duration::from_millis(100);

/// A way to carry messages.
pub trait Link {
    /// Sends one message.
    fn send(&mut self, message: &[u8]);
    /// Waits a moment for a message.
    fn receive(&mut self) -> Option<Vec<u8>>;
    /// The transport's name in Via: `UDP`, `WSS`.
    fn transport(&self) -> &'static str;
    /// The host and port that this side names itself by.
    fn sent_by(&self) -> String;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn send(&mut self, message: &[u8]) {
        (**self).send(message);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        (**self).receive()
    }

    fn transport(&self) -> &'static str {
        (**self).transport()
    }

    fn sent_by(&self) -> String {
        (**self).sent_by()
    }
}

/// UDP.
#[derive(Debug)]
pub struct UdpLink(UdpSocket);

impl UdpLink {
    /// A socket of `local` that talks to `server`.
    pub fn new(local: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((local, 0)).expect("a UDP port");
        socket.connect(server).expect("an address of this host");
        socket.set_read_timeout(Some(LOOK)).expect("sockets can");
        Self(socket)
    }
}

impl Link for UdpLink {
    fn send(&mut self, message: &[u8]) {
        // The kernel tells of an ICMP error by failing the next call: it is the answer to an earlier one.
        let _ = self.0.send(message);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut datagram = vec![0; 65_536];
        let length = self.0.recv(&mut datagram).ok()?;
        datagram.truncate(length);
        Some(datagram)
    }

    fn transport(&self) -> &'static str {
        "UDP"
    }

    fn sent_by(&self) -> String {
        self.0.local_addr().expect("a bound socket").to_string()
    }
}

/// A stream of octets, TCP or TLS above it, framed by Content-Length.
#[derive(Debug)]
pub struct StreamLink<S> {
    stream: S,
    buffer: Vec<u8>,
    transport: &'static str,
    sent_by: String,
}

impl StreamLink<TcpStream> {
    /// A TCP connection to `server`.
    pub fn tcp(server: SocketAddr) -> Self {
        let stream = connect(server);
        let sent_by = stream.local_addr().expect("a connected socket").to_string();
        Self { stream, buffer: Vec::new(), transport: "TCP", sent_by }
    }
}

/// A TCP connection whose reads wait only a moment.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the node listens");
    stream.set_read_timeout(Some(LOOK)).expect("sockets can");
    stream.set_nodelay(true).expect("sockets can");
    stream
}

impl<S: Read + Write> StreamLink<S> {
    /// A stream that is set up already.
    pub fn over(stream: S, transport: &'static str, sent_by: String) -> Self {
        Self { stream, buffer: Vec::new(), transport, sent_by }
    }

    fn framed(&mut self) -> Option<Vec<u8>> {
        let keep_alive = self.buffer.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        self.buffer.drain(..keep_alive);
        let head = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let end = head + length.unwrap_or(0);
        (self.buffer.len() >= end).then(|| self.buffer.drain(..end).collect())
    }
}

impl<S: Read + Write> Link for StreamLink<S> {
    fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).and_then(|()| self.stream.flush()).expect("the connection is open");
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        if let Some(message) = self.framed() {
            return Some(message);
        }
        let mut octets = [0; 16_384];
        match self.stream.read(&mut octets) {
            Ok(length) => self.buffer.extend(&octets[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => panic!("the connection broke: {error}"),
        }
        self.framed()
    }

    fn transport(&self) -> &'static str {
        self.transport
    }

    fn sent_by(&self) -> String {
        self.sent_by.clone()
    }
}

/// A message, as text.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    fn parse(octets: &[u8]) -> Self {
        let text = String::from_utf8_lossy(octets);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_string();
        let pair = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.trim().to_lowercase(), value.trim().into()))
        };
        Self { start, headers: lines.filter_map(pair).collect(), body: body.into() }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        self.start.split_once(" sip").map(|(method, _)| method)
    }

    /// The first value of a header, its name in lower case; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A line's phone.
#[derive(Debug)]
pub struct Phone<L> {
    /// Its way to the node.
    pub link: L,
    line: String,
    server: SocketAddr,
    tag: String,
    cseq: u32,
    unread: Vec<Message>,
    /// The Call-IDs of the calls it was called by: an INVITE that came twice is no new one.
    calls: Vec<String>,
    ack: Option<Acknowledged>,
}

/// The ACK of a phone's latest call: the 200 that comes again gets it again (RFC 3261 §13.2.2.4).
#[derive(Debug)]
struct Acknowledged {
    call_id: String,
    cseq: String,
    ack: String,
}

impl Acknowledged {
    fn is_repeated_by(&self, message: &Message) -> bool {
        message.status() == Some(200)
            && message.header("cseq") == self.cseq
            && message.header("call-id") == self.call_id
    }
}

/// A dialog as this side sees it.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
}

/// Makes branches, tags and Call-IDs differ.
static COUNTER: AtomicU32 = AtomicU32::new(1);

fn fresh() -> String {
    format!("e2e{:x}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl<L: Link> Phone<L> {
    /// A phone for `line` of the node at `server`.
    pub fn new(link: L, line: &str, server: SocketAddr) -> Self {
        let line = line.into();
        Self { link, line, server, tag: fresh(), cseq: 0, unread: Vec::new(), calls: Vec::new(), ack: None }
    }

    fn contact(&self) -> String {
        let transport = self.link.transport().to_lowercase();
        format!("<sip:{}@{};transport={transport}>", self.line, self.link.sent_by())
    }

    /// The host and port that it names itself by.
    pub fn link_address(&self) -> String {
        self.link.sent_by()
    }

    /// The address of record of a line of the node.
    pub fn address(&self, line: &str) -> String {
        format!("sip:{line}@{}", self.server)
    }

    /// Registers for ten minutes; panics unless it succeeds.
    pub fn register(&mut self) {
        let uri = format!("sip:{}", self.server);
        let me = format!("<{}>", self.address(&self.line));
        let headers = format!("Contact: {}\r\nExpires: 600\r\n", self.contact());
        let from = format!("{me};tag={}", self.tag);
        let (_, answer) = self.ask("REGISTER", &uri, &from, &me, &fresh(), &headers, "");
        assert_eq!(answer.status(), Some(200), "REGISTER got {answer:?}");
    }

    /// Calls a line and waits for the final response, which is acknowledged.
    pub fn invite(&mut self, callee: &str, description: &str) -> (Dialog, Message) {
        let uri = self.address(callee);
        let (from, to) = (format!("<{}>;tag={}", self.address(&self.line), self.tag), format!("<{uri}>"));
        let call_id = fresh();
        let headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", self.contact());
        let (cseq, answer) = self.ask("INVITE", &uri, &from, &to, &call_id, &headers, description);
        let target = answer.header("contact").trim_matches(['<', '>']).split('>').next().unwrap_or_default();
        let target = if target.is_empty() { uri } else { target.to_string() };
        let dialog = Dialog { call_id, local: from, remote: answer.header("to").into(), target };
        if answer.status().is_some_and(|status| status < 300) {
            let ack = self.request_text("ACK", &dialog.target, cseq, &dialog, &fresh(), "", "");
            self.link.send(ack.as_bytes());
            self.ack =
                Some(Acknowledged { call_id: dialog.call_id.clone(), cseq: format!("{cseq} INVITE"), ack });
        }
        (dialog, answer)
    }

    /// Hangs up, and waits until that is confirmed.
    pub fn hang_up(&mut self, dialog: &Dialog) {
        let (from, to) = (dialog.local.clone(), dialog.remote.clone());
        let (_, answer) = self.ask("BYE", &dialog.target, &from, &to, &dialog.call_id, "", "");
        assert_eq!(answer.status(), Some(200), "BYE got {answer:?}");
    }

    /// A request within a dialog; the final response to it. `headers` say what the body is.
    pub fn request_within(&mut self, dialog: &Dialog, method: &str, headers: &str, body: &str) -> Message {
        let (from, to) = (dialog.local.clone(), dialog.remote.clone());
        let (cseq, answer) = self.ask(method, &dialog.target, &from, &to, &dialog.call_id, headers, body);
        if method == "INVITE" && answer.status().is_some_and(|status| status < 300) {
            let ack = self.request_text("ACK", &dialog.target, cseq, dialog, &fresh(), "", "");
            self.link.send(ack.as_bytes());
            let cseq = format!("{cseq} INVITE");
            self.ack = Some(Acknowledged { call_id: dialog.call_id.clone(), cseq, ack });
        }
        answer
    }

    /// Any request outside of dialogs; the final response to it.
    pub fn request(&mut self, method: &str, uri: &str, headers: &str, body: &str) -> Message {
        let from = format!("<{}>;tag={}", self.address(&self.line), self.tag);
        self.ask(method, uri, &from, &format!("<{uri}>"), &fresh(), headers, body).1
    }

    /// Sends a request, answers one challenge, acknowledges a refused INVITE; the CSeq and the final response.
    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    fn ask(
        &mut self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        headers: &str,
        body: &str,
    ) -> (u32, Message) {
        let dialog =
            Dialog { call_id: call_id.into(), local: from.into(), remote: to.into(), target: uri.into() };
        let mut credentials = String::new();
        loop {
            self.cseq += 1;
            let (cseq, branch) = (self.cseq, fresh());
            let all_headers = format!("{credentials}{headers}");
            let request = self.request_text(method, uri, cseq, &dialog, &branch, &all_headers, body);
            self.link.send(request.as_bytes());
            let wanted = format!("{cseq} {method}");
            let answer = self.wait_for(&format!("the answer to {method}"), |message| {
                message.status().is_some_and(|status| status >= 200)
                    && message.header("cseq") == wanted
                    && message.header("call-id") == call_id
            });
            let status = answer.status().unwrap_or_default();
            if method == "INVITE" && status >= 300 {
                let refused = Dialog { remote: answer.header("to").into(), ..dialog.clone() };
                let ack = self.request_text("ACK", uri, cseq, &refused, &branch, "", "");
                self.link.send(ack.as_bytes());
            }
            let challenge = match status {
                401 => answer.all("www-authenticate").find(|value| value.contains("MD5")),
                407 => answer.all("proxy-authenticate").find(|value| value.contains("MD5")),
                _ => None,
            };
            match challenge {
                Some(challenge) if credentials.is_empty() => {
                    let name = if status == 401 { "Authorization" } else { "Proxy-Authorization" };
                    let value = digest(challenge, method, uri, &self.line, &password(&self.line));
                    credentials = format!("{name}: {value}\r\n");
                }
                _ => return (cseq, answer),
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    fn request_text(
        &self,
        method: &str,
        uri: &str,
        cseq: u32,
        dialog: &Dialog,
        branch: &str,
        headers: &str,
        body: &str,
    ) -> String {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.link.transport(),
            self.link.sent_by(),
            dialog.local,
            dialog.remote,
            dialog.call_id,
            body.len()
        )
    }

    /// Waits until somebody calls; the INVITE.
    pub fn wait_for_call(&mut self) -> Message {
        let calls = std::mem::take(&mut self.calls);
        let is_new = |message: &Message| !calls.iter().any(|call| call == message.header("call-id"));
        let invite = self.wait_for("INVITE", |message| message.method() == Some("INVITE") && is_new(message));
        self.calls = calls;
        self.calls.push(invite.header("call-id").into());
        invite
    }

    /// Waits for a request of the other side in a dialog.
    pub fn wait_for_request(&mut self, dialog: &Dialog, method: &str) -> Message {
        self.wait_for(method, |message| {
            message.method() == Some(method) && message.header("call-id") == dialog.call_id
        })
    }

    /// Answers a request; a description makes it the session's answer.
    pub fn respond(&mut self, request: &Message, status: u16, reason: &str, description: &str) -> Dialog {
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        for via in request.all("via") {
            let _ = write!(text, "Via: {via}\r\n");
        }
        let to = request.header("to");
        let to = if to.contains(";tag=") { to.to_string() } else { format!("{to};tag={}", self.tag) };
        let (from, call_id) = (request.header("from"), request.header("call-id"));
        let _ = write!(
            text,
            "From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {}\r\nContact: {}\r\n",
            request.header("cseq"),
            self.contact()
        );
        if !description.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{description}", description.len());
        self.link.send(text.as_bytes());
        let target = request.header("contact").trim_matches(['<', '>']).split('>').next().unwrap_or_default();
        Dialog { call_id: call_id.into(), local: to, remote: from.into(), target: target.into() }
    }

    /// Waits for a message; others stay for later.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.unread.iter().position(&wanted) {
                return self.unread.remove(index);
            }
            assert!(
                Instant::now() < give_up_at,
                "line {} waited in vain for {what}: {:#?}",
                self.line,
                self.unread
            );
            let Some(octets) = self.link.receive() else { continue };
            let message = Message::parse(&octets);
            match &self.ack {
                Some(known) if known.is_repeated_by(&message) => self.link.send(known.ack.as_bytes()),
                _ => self.unread.push(message),
            }
        }
    }
}

/// Credentials for a challenge (RFC 7616 §3.4), MD5.
fn digest(challenge: &str, method: &str, uri: &str, user: &str, password: &str) -> String {
    let parameter = |name: &str| {
        let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
        challenge[start..].split('"').next()
    };
    let hash =
        |text: String| Md5::digest(text).iter().fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"));
    let (realm, nonce) = (parameter("realm").unwrap_or_default(), parameter("nonce").unwrap_or_default());
    let (ha1, ha2) = (hash(format!("{user}:{realm}:{password}")), hash(format!("{method}:{uri}")));
    let cnonce = fresh();
    let response = hash(format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}"));
    let opaque = parameter("opaque").map_or(String::new(), |opaque| format!(", opaque=\"{opaque}\""));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc=00000001{opaque}"
    )
}

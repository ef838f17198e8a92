//! The torture messages of RFC 4475 and RFC 5118, sent to a running node as datagrams.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use crate::wait;

/// Ports the messages' Via headers want answers at (RFC 3261 §18.2.2): the default, and those that are named.
const ANSWER_PORTS: [u16; 5] = [5060, 5050, 5070, 6050, 19_823];

/// One end that answers to all these messages come to.
#[derive(Debug)]
pub struct Sender {
    sockets: Vec<UdpSocket>,
    node: SocketAddr,
    pings: u32,
}

impl Sender {
    /// Opens the ports on `ip`, an address of this host that nobody else uses.
    pub fn open(ip: &str, node: SocketAddr) -> Self {
        let open = |port| {
            let socket = UdpSocket::bind((ip, port)).unwrap_or_else(|error| panic!("{ip}:{port}: {error}"));
            socket.set_nonblocking(true).expect("sockets can");
            socket
        };
        Self { sockets: ANSWER_PORTS.into_iter().map(open).collect(), node, pings: 0 }
    }

    /// Sends a datagram, from the port 5060, and nothing more.
    pub fn send(&self, datagram: &[u8]) {
        // An oversized one fails here: then there is nothing to test.
        let _ = self.sockets[0].send_to(datagram, self.node);
    }

    /// Sends a datagram and gives the statuses of the final responses to it. That there is none is known when the node
    /// has answered a question that was asked later.
    ///
    /// Answers are known by their Call-ID and CSeq, for an earlier one may be repeated meanwhile; where the datagram has
    /// none that can be read, by `name`, or if that is not in it either, any answer is taken.
    pub fn statuses(&mut self, name: &str, datagram: &[u8]) -> Vec<u16> {
        let mark = Mark::of(name, datagram);
        self.receive();
        self.send(datagram);
        self.pings += 1;
        let ping = format!("ping{}", self.pings);
        let local = self.sockets[0].local_addr().expect("a bound socket");
        let options = format!(
            "OPTIONS sip:{node} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{ping}\r\nMax-Forwards: 70\r\n\
             From: <sip:ping@{local}>;tag={ping}\r\nTo: <sip:{node}>\r\nCall-ID: {ping}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n",
            node = self.node,
        );
        let mut statuses = Vec::new();
        let answered = wait::within(wait::PATIENCE, || {
            // Lost, if the node's socket was full: asked again.
            self.send(options.as_bytes());
            let deadline = Duration::from_millis(500);
            wait::within(deadline, || {
                let mut pong = false;
                for answer in self.receive() {
                    let text = String::from_utf8_lossy(&answer).into_owned();
                    let status =
                        text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
                    if text.contains(&format!("Call-ID: {ping}\r\n")) {
                        pong = true;
                    } else if mark.is_in(&text) && !text.contains("Call-ID: ping") {
                        statuses.extend(status.filter(|&status| status >= 200));
                    }
                }
                pong.then_some(())
            })
        });
        assert!(answered.is_some(), "the node no longer answers");
        statuses.dedup();
        statuses
    }

    fn receive(&self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 65_536];
        for socket in &self.sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                datagrams.push(buffer[..length].to_vec());
            }
        }
        datagrams
    }
}

/// What answers to a datagram hold.
struct Mark {
    call_id: Option<String>,
    cseq: Option<(u32, String)>,
    /// Where there is no Call-ID.
    name: String,
}

impl Mark {
    fn of(name: &str, datagram: &[u8]) -> Self {
        let text = String::from_utf8_lossy(datagram);
        let name = if text.contains(name) { name } else { "" };
        Self { call_id: header(&text, &["call-id", "i"]), cseq: cseq(&text), name: name.into() }
    }

    fn is_in(&self, answer: &str) -> bool {
        let is_of_this_call = match &self.call_id {
            Some(call_id) => header(answer, &["call-id", "i"]).as_ref() == Some(call_id),
            None => answer.contains(&self.name),
        };
        // One that cannot be read may come back as it was, or not at all.
        let is_of_this_request = match (&self.cseq, cseq(answer)) {
            (Some(asked), Some(answered)) => *asked == answered,
            _ => true,
        };
        is_of_this_call && is_of_this_request
    }
}

/// The value of the first header of these names, if it stands on one line.
fn header(text: &str, names: &[&str]) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(name, _)| names.contains(&name.trim().to_ascii_lowercase().as_str()));
    values.next().map(|(_, value)| value.trim().to_string()).filter(|value| !value.is_empty())
}

fn cseq(text: &str) -> Option<(u32, String)> {
    let value = header(text, &["cseq"])?;
    let (number, method) = value.split_once(char::is_whitespace)?;
    Some((number.parse().ok()?, method.trim().into()))
}

/// A message of the parser's vectors, `rfc4475` or `rfc5118`.
pub fn vector(rfc: &str, name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sip/tests/vectors").join(rfc);
    let file = file.join(format!("{name}.dat"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

//! A carrier that says just what a test has it say: it is no phone, but an address whose messages the test writes.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{fmt::Write, net::SocketAddr};

use bytes::Bytes;
use offhook_sim::{Habits, PhoneId, World, WorldConfig, line, peer};
use offhook_sip::{
    header::HeaderName,
    message::{Message, Method, Request},
};
use offhook_switch::directory::{CallPermission, Directory, Peer, Secret};

/// Where the carrier is. No phone is there.
pub const CARRIER: &str = "192.0.2.10:5060";

/// What the carrier's media looks like.
pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
                       m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// The carrier as the directory has it: it takes numbers that begin with `00`, and knows us by a password.
pub fn carrier() -> Peer {
    let address: SocketAddr = CARRIER.parse().unwrap();
    let mut peer = peer(1, address.ip(), "00");
    peer.username = Some("offhook".into());
    peer.secret = Some(Secret::new("trunk-password"));
    peer
}

/// A world with `peer` and the lines 101 and 102, which may call outside.
pub fn config_with(peer: Peer) -> WorldConfig {
    let mut config = WorldConfig::with_lines(1, &[]);
    // The carrier of these tests says nothing.
    config.settings.silence = None;
    let tenant = (**config.directory.tenant("default").unwrap()).clone();
    let mut lines = vec![line(1, "101"), line(2, "102")];
    for line in &mut lines {
        line.may_call = CallPermission::Outside;
    }
    config.directory = Directory::new(vec![tenant], vec![], vec![], lines, vec![peer]);
    config
}

/// The requests that the node has sent to the carrier, repeats left out.
pub fn requests(world: &World) -> Vec<Request> {
    let carrier: SocketAddr = CARRIER.parse().unwrap();
    let mut found: Vec<Request> = Vec::new();
    for (_, bytes) in world.sent_nowhere.iter().filter(|(to, _)| *to == carrier) {
        if let Ok(Message::Request(request)) = Message::parse(bytes.clone())
            && found.iter().all(|known| !is_repeat(known, &request))
        {
            found.push(request);
        }
    }
    found
}

/// A CANCEL has the branch of its INVITE.
fn is_repeat(known: &Request, request: &Request) -> bool {
    known.method() == request.method() && line_of(known, HeaderName::Via) == line_of(request, HeaderName::Via)
}

/// The latest request of this method to the carrier.
#[track_caller]
pub fn latest(world: &World, method: &Method) -> Request {
    let found = requests(world).into_iter().rfind(|request| request.method() == method);
    found.unwrap_or_else(|| panic!("no {} was sent", method.as_str()))
}

/// The statuses that the node has answered the carrier with, repeats left out.
pub fn statuses(world: &World) -> Vec<u16> {
    let carrier: SocketAddr = CARRIER.parse().unwrap();
    let status = |bytes: &Bytes| match Message::parse(bytes.clone()) {
        Ok(Message::Response(response)) => Some(response.status().as_u16()),
        _ => None,
    };
    let mut found: Vec<u16> = world
        .sent_nowhere
        .iter()
        .filter(|(to, _)| *to == carrier)
        .filter_map(|(_, bytes)| status(bytes))
        .collect();
    found.dedup();
    found
}

/// The carrier answers `request`; `headers` are whole lines.
pub fn answer(world: &mut World, request: &Request, status: &str, headers: &str, body: &str) {
    let via = line_of(request, HeaderName::Via);
    answer_with(world, request, &via, status, headers, body);
}

/// The same with another Via.
pub fn answer_with(world: &mut World, request: &Request, via: &str, status: &str, headers: &str, body: &str) {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        let value = if name == HeaderName::Via { via.to_string() } else { line_of(request, name) };
        let tag = if name == HeaderName::To && !value.contains("tag=") {
            ";tag=carrier"
        } else {
            Default::default()
        };
        let _ = write!(text, "{}: {value}{tag}\r\n", name.as_str());
    }
    let _ = write!(text, "Contact: <sip:trunk@{CARRIER}>\r\n{headers}");
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    world.inject(CARRIER.parse().unwrap(), Bytes::from(text));
    world.run_secs(1);
}

/// The value of a line that every request has.
pub fn line_of(request: &Request, name: HeaderName) -> String {
    request.headers().first(&name).unwrap_or_default().to_string()
}

/// A phone of line 101 that talks to the carrier.
pub fn talking_to_carrier(peer: Peer, caller: Habits) -> (World, PhoneId) {
    let mut world = World::new(config_with(peer));
    let anna = world.add_phone("101", caller);
    world.run_secs(1);
    world.act(anna, |phone, now| phone.call("0049", now));
    world.run_secs(1);
    let invite = latest(&world, &Method::Invite);
    answer(&mut world, &invite, "200 OK", "Allow: INVITE, ACK, BYE, CANCEL, INFO\r\n", SDP);
    assert!(world.phone(anna).is_talking());
    world.act(anna, |phone, _| phone.clear_ladder());
    (world, anna)
}

/// An INVITE of the carrier's with this From value and these other lines.
pub fn invite(number: usize, to: &str, from: &str, headers: &str) -> Bytes {
    Bytes::from(format!(
        "INVITE sip:{to}@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bKc{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from};tag=c{number}\r\nTo: <sip:{to}@198.51.100.1>\r\nCall-ID: c{number}\r\n\
         CSeq: {number} INVITE\r\nContact: <sip:{CARRIER}>\r\n{headers}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    ))
}

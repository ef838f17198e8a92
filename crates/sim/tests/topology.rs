//! Nothing of the inside shows outside (topology hiding). Whoever is inside writes marks into all it sends: its addresses, host names,
//! tags, Call-IDs, branches, and every header and line of a description that can hold one. Then every octet that the node
//! sent to the peer outside is searched for them.

mod carrier;

use std::net::SocketAddr;

use bytes::Bytes;
use carrier::{CARRIER, carrier, config_with};
use offhook_sim::{World, line, peer};
use offhook_sip::{
    digest::DigestSession,
    header::HeaderName,
    message::{Message, Method, Request, Response},
};
use offhook_switch::directory::{CallPermission, Directory};

/// The inside: a line's device, and a peer that is a switch of our own.
const DEVICE: &str = "10.77.77.8:5060";
const SWITCH: &str = "10.77.77.9:5060";

/// Parts of all that must not show. Nothing else in these calls holds them.
const MARKS: [&str; 6] = ["10.77.77", "inside.example", "marktag", "markcall", "markbranch", "MarkedPhone"];

/// Headers of every kind that name a host or an address.
const HEADERS: &str = "User-Agent: MarkedPhone/1.0\r\nServer: MarkedPhone/1.0\r\nOrganization: Ours\r\n\
    Record-Route: <sip:10.77.77.1;lr>\r\nWarning: 399 pbx.inside.example \"no codec\"\r\n\
    Error-Info: <http://inside.example/busy>\r\nReply-To: <sip:anna@inside.example>\r\n\
    In-Reply-To: markcall-0@inside.example\r\nCall-Info: <http://10.77.77.1/photo.jpg>;purpose=icon\r\n\
    Alert-Info: <http://inside.example/ring.wav>\r\nP-Asserted-Identity: <sip:anna@inside.example>\r\n\
    P-Preferred-Identity: <sip:anna@inside.example>\r\nRemote-Party-ID: <sip:anna@inside.example>\r\n\
    P-Access-Network-Info: IEEE-802.11; x=inside.example\r\nGeolocation: <https://inside.example/where>\r\n\
    Path: <sip:10.77.77.1;lr>\r\nService-Route: <sip:10.77.77.1;lr>\r\nP-Charging-Vector: icid-value=markcall;orig-ioi=inside.example\r\n\
    P-Charging-Function-Addresses: ccf=10.77.77.5\r\nP-Visited-Network-ID: \"inside.example\"\r\n\
    Via: SIP/2.0/UDP 10.77.77.1;branch=z9hG4bKmarkbranch0\r\nX-Inside: 10.77.77.3\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\
    Timestamp: 54\r\nReferred-By: <sip:anna@inside.example>\r\nTarget-Dialog: markcall;local-tag=marktag;remote-tag=x\r\n\
    Diversion: <sip:7703@inside.example:5070>;reason=no-answer, \"Anna\" <sip:7704@10.77.77.9>;reason=user-busy\r\n\
    History-Info: <sip:7703@inside.example>;index=1, <sip:7704@10.77.77.9?Reason=SIP%3Bcause%3D302>;index=1.1\r\n";

/// A description that tells of the inside wherever one can.
fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=anna 1 1 IN IP4 10.77.77.8\r\ns=call from inside.example\r\ni=10.77.77.8\r\nu=http://inside.example/\r\n\
         e=anna@inside.example\r\np=+49 30 1 (inside.example)\r\nc=IN IP4 10.77.77.8\r\nt=0 0\r\na=tool:MarkedPhone\r\n\
         a=x-host:10.77.77.8\r\nm=audio {port} RTP/AVP 0 101\r\ni=inside.example 10.77.77.8\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=rtcp:{port} IN IP4 10.77.77.8\r\na=candidate:1 1 UDP 1 10.77.77.8 {port} typ host\r\n\
         a=ssrc:1 cname:anna@inside.example\r\na=sendrecv\r\n"
    )
}

fn datagram(address: &str, text: String) -> (SocketAddr, Bytes) {
    (address.parse().expect("an address"), Bytes::from(text))
}

fn content(body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The world: the outside peer, and inside a peer and the lines 101 and 102.
struct Stage {
    world: World,
    branches: u32,
}

impl Stage {
    fn new() -> Self {
        let mut config = config_with(carrier());
        let tenant = (**config.directory.tenant("default").unwrap()).clone();
        let mut lines = vec![line(1, "101"), line(2, "102")];
        lines.iter_mut().for_each(|line| line.may_call = CallPermission::Outside);
        let switch: SocketAddr = SWITCH.parse().unwrap();
        let mut switch = peer(2, switch.ip(), "77");
        switch.may_call = CallPermission::Outside;
        let mut outside = carrier();
        outside.may_call = CallPermission::Outside;
        config.directory = Directory::new(vec![tenant], vec![], vec![], lines, vec![outside, switch]);
        Self { world: World::new(config), branches: 0 }
    }

    /// What was sent to `address`, the oldest first.
    fn sent_to(&self, address: &str) -> Vec<Message> {
        let address: SocketAddr = address.parse().unwrap();
        let sent = self.world.sent_nowhere.iter().filter(|(to, _)| *to == address);
        sent.filter_map(|(_, bytes)| Message::parse(bytes.clone()).ok()).collect()
    }

    fn request_to(&self, address: &str, method: &Method) -> Request {
        let found = self.sent_to(address).into_iter().rev().find_map(|message| match message {
            Message::Request(request) if request.method() == method => Some(request),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {} to {address}", method.as_str()))
    }

    fn response_to(&self, address: &str, status: u16) -> Response {
        let found = self.sent_to(address).into_iter().rev().find_map(|message| match message {
            Message::Response(response) if response.status().as_u16() == status => Some(response),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {status} to {address}"))
    }

    fn inject(&mut self, (from, bytes): (SocketAddr, Bytes)) {
        self.world.inject(from, bytes);
        self.world.run_secs(1);
    }

    /// A request from inside, with marks in all places.
    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    fn ask(
        &mut self,
        from: &str,
        method: &str,
        uri: &str,
        ends: [&str; 2],
        cseq: u32,
        more: &str,
        body: &str,
    ) {
        self.branches += 1;
        let branch = self.branches;
        let [caller, callee] = ends;
        // A registration by a Path that it does not support is refused (RFC 3327 §5.3).
        let path = if method == "REGISTER" { "Path: <sip:10.77.77.1;lr>\r\n" } else { "\r\n\r\n" };
        let headers = HEADERS.replacen(path, "", 1);
        self.inject(datagram(
            from,
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKmarkbranch{branch}\r\nMax-Forwards: 70\r\n\
                 From: {caller}\r\nTo: {callee}\r\nCall-ID: markcall@10.77.77.8\r\nCSeq: {cseq} {method}\r\n\
                 Contact: <sip:anna@{from};ob>\r\n{headers}{more}{}",
                content(body)
            ),
        ));
    }

    /// The answer of somebody at `from` to a request, with marks if it is inside.
    fn answer(&mut self, from: &str, request: &Request, status: &str, more: &str, body: &str) {
        let is_inside = from.starts_with("10.");
        let line = |name| request.headers().first(&name).unwrap_or_default().to_string();
        let (to, tag) = (line(HeaderName::To), if is_inside { "marktag-b" } else { "outside" });
        let tag = if to.contains("tag=") { String::new() } else { format!(";tag={tag}") };
        let headers = if is_inside {
            HEADERS.replacen("Via: SIP/2.0/UDP 10.77.77.1;branch=z9hG4bKmarkbranch0\r\n", "", 1)
        } else {
            String::new()
        };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:x@{from}>\r\n{headers}{more}{}",
            line(HeaderName::Via),
            line(HeaderName::From),
            line(HeaderName::CallId),
            line(HeaderName::CSeq),
            content(body)
        );
        self.inject(datagram(from, text));
    }

    /// Line 101's credentials for the challenge that the device got last.
    fn credentials(&self, method: &Method, uri: &str) -> String {
        let status = if *method == Method::Register { 401 } else { 407 };
        let response = self.response_to(DEVICE, status);
        let hash =
            |hash: offhook_sip::digest::HashFunction, realm: &str| Some(hash.ha1("101", realm, "pw-101"));
        let digest = match status {
            401 => DigestSession::answer_to("101", response.headers().www_authenticate(), hash),
            _ => DigestSession::answer_to("101", response.headers().proxy_authenticate(), hash),
        };
        let mut random = offhook_base::Random::from_number(1);
        let value = digest.expect("a challenge").authorize(method, uri, b"", &mut random);
        let name = if status == 401 { "Authorization" } else { "Proxy-Authorization" };
        format!("{name}: {value}\r\n")
    }

    /// The URI and the ends of the dialog that `from` has by this answer to its INVITE.
    fn dialog(&self, from: &str, caller: &str) -> (String, [String; 2]) {
        let ok = self.response_to(from, 200);
        let contacts = ok.headers().contacts().expect("a Contact");
        let to = ok.headers().first(&HeaderName::To).unwrap_or_default();
        (contacts.as_slice()[0].uri().to_string(), [caller.to_string(), to.to_string()])
    }

    /// Searches every octet that went outside.
    #[track_caller]
    fn nothing_shows(&self, at_least: usize) {
        let outside: SocketAddr = CARRIER.parse().unwrap();
        let sent: Vec<_> = self.world.sent_nowhere.iter().filter(|(to, _)| *to == outside).collect();
        assert!(sent.len() >= at_least, "{} messages went outside", sent.len());
        for (_, bytes) in sent {
            let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
            for mark in MARKS {
                assert!(!text.contains(&mark.to_ascii_lowercase()), "{mark} shows in:\n{text}");
            }
        }
    }
}

/// All that somebody inside does in a call that he made to the outside: offers, changes, keys, an end with a reason.
fn call_outside(stage: &mut Stage, from: &str, caller: &str, uri: &str, credentials: &str, cseq: u32) {
    let to = format!("<{uri}>");
    stage.ask(from, "INVITE", uri, [caller, &to], cseq, credentials, &sdp(4000));
    let invite = stage.request_to(CARRIER, &Method::Invite);
    stage.answer(CARRIER, &invite, "183 Session Progress", "", carrier::SDP);
    stage.answer(
        CARRIER,
        &invite,
        "200 OK",
        "Allow: INVITE, ACK, BYE, INFO, UPDATE, MESSAGE\r\n",
        carrier::SDP,
    );
    let (target, [a, b]) = stage.dialog(from, caller);
    stage.ask(from, "ACK", &target, [&a, &b], cseq, "", "");
    stage.ask(from, "INVITE", &target, [&a, &b], cseq + 1, "", &sdp(4002).replace("sendrecv", "sendonly"));
    let again = stage.request_to(CARRIER, &Method::Invite);
    stage.answer(CARRIER, &again, "200 OK", "", carrier::SDP);
    stage.ask(from, "ACK", &target, [&a, &b], cseq + 1, "", "");
    for (step, method) in [Method::Update, Method::Info].into_iter().enumerate() {
        let body = if method == Method::Update { sdp(4004) } else { String::new() };
        let cseq = cseq + 2 + u32::try_from(step).unwrap();
        stage.ask(from, method.as_str(), &target, [&a, &b], cseq, "", &body);
        let asked = stage.request_to(CARRIER, &method);
        stage.answer(CARRIER, &asked, "200 OK", "", if body.is_empty() { "" } else { carrier::SDP });
    }
    stage.ask(from, "BYE", &target, [&a, &b], cseq + 5, "Reason: Q.850;cause=16\r\n", "");
    let bye = stage.request_to(CARRIER, &Method::Bye);
    stage.answer(CARRIER, &bye, "200 OK", "", "");
}

/// The Diversion of a new call.
fn diversion(message: &Message) -> Option<String> {
    let Message::Request(request) = message else { return None };
    let is_new =
        *request.method() == Method::Invite && request.headers().to().is_ok_and(|to| to.tag().is_none());
    request.headers().first(&HeaderName::Diversion).filter(|_| is_new).map(String::from)
}

#[test]
fn nothing_of_a_line_or_a_switch_inside_shows_in_calls_to_the_outside() {
    let mut stage = Stage::new();
    let uri = "sip:0049301@198.51.100.1";
    call_outside(&mut stage, SWITCH, "\"Anna\" <sip:7701@inside.example>;tag=marktag-s", uri, "", 1);
    let caller = "\"Anna\" <sip:101@example.org>;tag=marktag-l";
    stage.ask(DEVICE, "INVITE", uri, [caller, &format!("<{uri}>")], 1, "", &sdp(4000));
    let credentials = stage.credentials(&Method::Invite, uri);
    call_outside(&mut stage, DEVICE, caller, uri, &credentials, 2);
    // What a switch tells of the call's way stays, at our host; a line's word for it stays inside.
    let told: Vec<String> = stage.sent_to(CARRIER).iter().filter_map(diversion).collect();
    assert!(!told.is_empty());
    for value in told {
        assert!(
            value.starts_with("<sip:7703@") && value.contains(";reason=no-answer, \"Anna\" <sip:7704@"),
            "{value}"
        );
    }
    // Given up before it was answered.
    stage.ask(
        SWITCH,
        "INVITE",
        uri,
        ["<sip:7702@inside.example>;tag=marktag-c", "<sip:0049301@198.51.100.1>"],
        1,
        "",
        &sdp(4000),
    );
    stage.nothing_shows(12);
}

/// Goal: what callees inside answer shows nothing either. Method: the outside calls a line and a switch, which ring, answer, change
/// the session, refuse and redirect.
#[test]
fn nothing_of_who_is_called_inside_shows_in_the_answers_to_the_outside() {
    let mut stage = Stage::new();
    let registrar = "sip:example.org";
    let ends = ["<sip:101@example.org>;tag=marktag-r", "<sip:101@example.org>"];
    stage.ask(DEVICE, "REGISTER", registrar, ends, 1, "", "");
    let credentials = stage.credentials(&Method::Register, registrar);
    stage.ask(DEVICE, "REGISTER", registrar, ends, 2, &credentials, "");
    assert_eq!(stage.response_to(DEVICE, 200).status().as_u16(), 200);
    for (number, (callee, at)) in [("101", DEVICE), ("7701", SWITCH)].into_iter().enumerate() {
        let number = number + 1;
        for (round, outcome) in
            ["200 OK", "486 Busy Here", "302 Moved Temporarily", "488 Not Acceptable Here"]
                .into_iter()
                .enumerate()
        {
            let call = number * 10 + round;
            let from = format!("<sip:0049301@{CARRIER}>");
            stage.inject((CARRIER.parse().unwrap(), carrier::invite(call, callee, &from, "")));
            let invite = stage.request_to(at, &Method::Invite);
            stage.answer(at, &invite, "180 Ringing", "", "");
            stage.answer(at, &invite, "183 Session Progress", "", &sdp(5000));
            let is_answer = outcome.starts_with('2');
            let answer_sdp = if is_answer { sdp(5000) } else { String::new() };
            stage.answer(at, &invite, outcome, "Reason: Q.850;cause=17\r\n", &answer_sdp);
            if !is_answer {
                continue;
            }
            let ok = stage.response_to(CARRIER, 200);
            let target = ok.headers().contacts().expect("a Contact").as_slice()[0].uri().to_string();
            let to = ok.headers().first(&HeaderName::To).unwrap_or_default();
            let ack = format!(
                "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bKack{call}\r\nMax-Forwards: 70\r\n\
                 From: {from};tag=c{call}\r\nTo: {to}\r\nCall-ID: c{call}\r\nCSeq: {call} ACK\r\n\r\n"
            );
            stage.inject(datagram(CARRIER, ack));
            let line = |name| invite.headers().first(&name).unwrap_or_default().to_string();
            let ours = format!("{};tag=marktag-b", line(HeaderName::To));
            let contact = invite.headers().contacts().expect("a Contact").as_slice()[0].uri().to_string();
            let call_id = line(HeaderName::CallId);
            for (cseq, method, body) in
                [(1, "INVITE", sdp(5002)), (2, "INFO", String::new()), (3, "BYE", String::new())]
            {
                let text = format!(
                    "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKmarkbranch-{call}-{method}\r\n\
                     Max-Forwards: 70\r\nFrom: {ours}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                     Contact: <sip:anna@{at}>\r\n{HEADERS}{}",
                    line(HeaderName::From),
                    content(&body)
                );
                stage.inject(datagram(at, text));
            }
            let asked = stage.request_to(CARRIER, &Method::Bye);
            stage.answer(CARRIER, &asked, "200 OK", "", "");
        }
    }
    stage.nothing_shows(20);
}

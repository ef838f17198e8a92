//! Both sides of a captured call, as scenarios.

use std::{collections::BTreeSet, time::Duration};

use super::{
    call::{Call, Message},
    message::{Captured, text},
};
use crate::scenario::{
    fault::Place,
    xml::{Attribute, Element},
};

/// A caller and a callee.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Who calls.
    pub caller: Element,
    /// Who answers.
    pub callee: Element,
    /// Headers and bodies that were not taken over.
    pub left_out: BTreeSet<String>,
}

/// Shorter silences are the network's, not a person's.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Makes both sides of `call`; `None`: there is nothing in it that the callee said.
pub fn pair(call: &Call) -> Option<Pair> {
    let answers = call.messages.iter().any(|message| !message.is_callers);
    answers.then(|| {
        let mut left_out = BTreeSet::new();
        let caller = Side::new(true, call).write(&call.messages, &mut left_out);
        let callee = Side::new(false, call).write(&call.messages, &mut left_out);
        Pair { caller, callee, left_out }
    })
}

/// One side while it is written.
struct Side {
    is_caller: bool,
    elements: Vec<Element>,
    /// Of our requests: the first CSeq, which becomes 1.
    first_cseq: Option<u32>,
    /// The other side's.
    their_first_cseq: Option<u32>,
    /// The step of our last INVITE, whose branch CANCEL and some ACKs have.
    invite_step: usize,
    /// Its final answer was no 2xx.
    was_refused: bool,
    /// A dialog is there: its route and target are known.
    is_established: bool,
    /// The last request received, by CSeq and method.
    last_request: (u32, String),
    /// Whether its To had a tag.
    last_had_tag: bool,
    /// This side sends requests though it was called.
    asks_back: bool,
    /// Requests whose answers come after another request was received.
    overtaken: BTreeSet<(u32, String)>,
}

impl Side {
    fn new(is_caller: bool, call: &Call) -> Self {
        let mut overtaken = BTreeSet::new();
        let mut last = None;
        let mut asks_back = false;
        for message in &call.messages {
            let Some(captured) = Captured::read(&message.bytes) else { continue };
            let key = (captured.view.cseq, captured.method());
            match (message.is_callers == is_caller, captured.code()) {
                (false, _) => last = Some(key),
                (true, Some(_)) if last.as_ref() != Some(&key) => {
                    overtaken.insert(key);
                }
                (true, Some(_)) => {}
                (true, None) => asks_back |= !is_caller,
            }
        }
        Self {
            is_caller,
            elements: Vec::new(),
            first_cseq: None,
            their_first_cseq: None,
            invite_step: 0,
            was_refused: false,
            is_established: false,
            last_request: (0, String::new()),
            last_had_tag: false,
            asks_back,
            overtaken,
        }
    }

    fn write(mut self, messages: &[Message], left_out: &mut BTreeSet<String>) -> Element {
        let mut before: Option<Duration> = None;
        let mut had_final = false;
        for message in messages {
            let Some(captured) = Captured::read(&message.bytes) else { continue };
            let silence = before.map_or(Duration::ZERO, |before| message.at.saturating_sub(before));
            before = Some(message.at);
            if message.is_callers != self.is_caller {
                let is_first_final = captured.code().is_some_and(|code| code >= 200) && !had_final;
                had_final |= is_first_final;
                self.receive(&captured, is_first_final);
                continue;
            }
            if silence >= PAUSE_MIN {
                let ms = silence.as_millis().to_string();
                self.elements.push(element("pause", &[("milliseconds", &ms)]));
            }
            self.send(&captured, left_out);
        }
        self.require_what_is_waited_for();
        let name = if self.is_caller { "captured caller" } else { "captured callee" };
        let mut scenario = element("scenario", &[("name", name)]);
        scenario.children = self.elements;
        scenario
    }

    /// An optional message must be followed by one that is not: what is received last before this side acts is waited for.
    fn require_what_is_waited_for(&mut self) {
        let count = self.elements.len();
        for at in 0..count {
            let is_last = self.elements.get(at + 1).is_none_or(|next| next.name != "recv");
            if is_last {
                self.elements[at].attributes.retain(|attribute| attribute.name != "optional");
            }
        }
    }

    fn receive(&mut self, captured: &Captured<'_>, is_first_final: bool) {
        let method = captured.method();
        let Some(code) = captured.code() else {
            self.their_first_cseq.get_or_insert(captured.view.cseq);
            self.receive_request(captured, method);
            return;
        };
        let code_text = code.to_string();
        let mut attributes = vec![("response", code_text.as_str())];
        match code {
            100..=199 => attributes.push(("optional", "true")),
            401 | 407 => attributes.push(("auth", "true")),
            200..=299 if method == "INVITE" && !self.is_established => {
                attributes.push(("rrs", "true"));
                self.is_established = true;
            }
            _ => {}
        }
        self.was_refused |= code >= 300 && method == "INVITE";
        if is_first_final && self.is_caller {
            attributes.push(("rtd", "true"));
        }
        self.elements.push(element("recv", &attributes));
    }

    fn receive_request(&mut self, captured: &Captured<'_>, method: String) {
        let mut attributes = vec![("request", method.as_str())];
        let is_first_invite = method == "INVITE" && !self.is_established && !self.is_caller;
        if is_first_invite {
            attributes.push(("rrs", "true"));
        }
        let mut recv = element("recv", &attributes);
        let key = (captured.view.cseq, method.clone());
        let mut kept = Vec::new();
        if is_first_invite && self.asks_back {
            kept.extend([("From:", "from".to_string()), ("To:", "to".to_string())]);
        }
        if self.overtaken.contains(&key) {
            let names = ["Via:", "From:", "To:", "CSeq:"];
            kept.extend(names.map(|name| (name, self.variable(&key, name))));
        }
        if !kept.is_empty() {
            let mut action = element("action", &[]);
            action.children = kept
                .iter()
                .map(|(header, variable)| {
                    let search = [("regexp", "[^:].*"), ("search_in", "hdr"), ("header", *header)];
                    let mut ereg = element("ereg", &search);
                    ereg.attributes.push(attribute("assign_to", variable));
                    ereg
                })
                .collect();
            recv.children.push(action);
        }
        self.is_established |= is_first_invite;
        self.elements.push(recv);
        self.last_request = key;
        self.last_had_tag = captured.to_has_tag();
    }

    /// The variable that keeps a header of an overtaken request.
    fn variable(&self, (cseq, method): &(u32, String), header: &str) -> String {
        let number = cseq.saturating_sub(self.their_first_cseq.unwrap_or(0)) + 1;
        let header = header.trim_end_matches(':').to_lowercase();
        format!("{}{number}_{header}", method.to_lowercase())
    }

    fn send(&mut self, captured: &Captured<'_>, left_out: &mut BTreeSet<String>) {
        let method = captured.method();
        let mut lines = match captured.code() {
            None => self.request(captured, &method),
            Some(code) => self.response(captured, &method, code),
        };
        let me = if self.is_caller { "caller" } else { "callee" };
        if captured.header("Contact").is_some() {
            lines.push(format!("Contact: <sip:{me}@[local_ip]:[local_port];transport=[transport]>"));
        }
        lines.extend(captured.rest(left_out));
        let is_final = captured.code().is_some_and(|code| code >= 200);
        let is_repeated = captured.code().is_none() && method != "ACK" || is_final && method == "INVITE";
        let attributes: &[(&str, &str)] = if is_repeated { &[("retrans", "500")] } else { &[] };
        let mut send = element("send", attributes);
        send.text = lines.join("\n").into_bytes();
        if captured.code().is_none() && method == "INVITE" {
            self.invite_step = self.elements.len();
            self.was_refused = false;
        }
        self.elements.push(send);
    }

    fn request(&mut self, captured: &Captured<'_>, method: &str) -> Vec<String> {
        let first = *self.first_cseq.get_or_insert(captured.view.cseq);
        let number = captured.view.cseq.saturating_sub(first) + 1;
        let goes_with_invite = method == "CANCEL" || method == "ACK" && self.was_refused;
        let is_within = self.is_established && captured.to_has_tag() && !goes_with_invite;
        let target = if is_within { "[next_url]" } else { "sip:[service]@[remote_ip]:[remote_port]" };
        let branch = match self.elements.len() - self.invite_step {
            back @ 1.. if goes_with_invite => format!("[branch-{back}]"),
            _ => "[branch]".into(),
        };
        let mut lines = vec![
            format!("{method} {target} SIP/2.0"),
            format!("Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}"),
            "Max-Forwards: 70".into(),
        ];
        if is_within {
            lines.push("[routes]".into());
        }
        if self.is_caller {
            let tag = if captured.to_has_tag() { "[peer_tag_param]" } else { "" };
            lines.extend([
                "From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]-A-[call_number]".into(),
                format!("To: <sip:[service]@[remote_ip]:[remote_port]>{tag}"),
            ]);
        } else {
            lines.extend(["From: [$to];tag=[pid]-B-[call_number]".into(), "To: [$from]".into()]);
        }
        lines.extend(["Call-ID: [call_id]".into(), format!("CSeq: {number} {method}")]);
        if captured.header("Authorization").or(captured.header("Proxy-Authorization")).is_some() {
            lines.push("[authentication]".into());
        }
        if let Some(rack) = captured.header("RAck") {
            lines.push(format!("RAck: {}", self.rack(rack)));
        }
        lines
    }

    /// `1 314159 INVITE`, with the number that our INVITE has here.
    fn rack(&self, value: &str) -> String {
        let mut words = value.split_whitespace();
        let (rseq, cseq, method) =
            (words.next().unwrap_or("1"), words.next().unwrap_or("1"), words.next().unwrap_or("INVITE"));
        let cseq = cseq.parse::<u32>().unwrap_or(1).saturating_sub(self.first_cseq.unwrap_or(0)) + 1;
        format!("{} {cseq} {}", text(rseq), text(method))
    }

    fn response(&self, captured: &Captured<'_>, method: &str, code: u16) -> Vec<String> {
        let key = (captured.view.cseq, method.to_string());
        let is_last = self.last_request == key;
        let from_last = |name: &str| match is_last {
            true => format!("[last_{name}:]"),
            false => format!("{name}: [${}]", self.variable(&key, name)),
        };
        let has_tag = is_last && self.last_had_tag;
        let tag = match captured.to_has_tag() && !has_tag {
            true => format!(";tag=[pid]-{}-[call_number]", if self.is_caller { 'A' } else { 'B' }),
            false => String::new(),
        };
        let mut lines = vec![
            format!("SIP/2.0 {code} {}", phrase(code)),
            from_last("Via"),
            from_last("From"),
            format!("{}{tag}", from_last("To")),
            "Call-ID: [call_id]".into(),
            from_last("CSeq"),
        ];
        if is_last && captured.header("Record-Route").is_some() {
            lines.push("[last_Record-Route:]".into());
        }
        for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
            if captured.header(name).is_some() {
                // A realm and a nonce of nobody's.
                lines.push(format!(
                    "{name}: Digest realm=\"example.com\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", \
                     algorithm=MD5, qop=\"auth\""
                ));
            }
        }
        lines
    }
}

/// A reason phrase; the captured one could say anything.
fn phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200..=299 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        407 => "Proxy Authentication Required",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        101..=199 => "Progress",
        300..=399 => "Redirection",
        400..=499 => "Client Error",
        500..=599 => "Server Error",
        _ => "Declined",
    }
}

fn attribute(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.into(),
        value: value.into(),
        place: Place::default(),
        value_place: Place::default(),
    }
}

fn element(name: &str, attributes: &[(&str, &str)]) -> Element {
    Element {
        name: name.into(),
        place: Place::default(),
        attributes: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        children: Vec::new(),
        text: Vec::new(),
        text_place: Place::default(),
    }
}

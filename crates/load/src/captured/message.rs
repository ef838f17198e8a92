//! One message of a scenario, made after a captured one.

use std::collections::BTreeSet;

use super::description;
use crate::call::view::{self, Start, View};

/// Headers whose values say what a phone can and wants, and nothing of who has it.
const HARMLESS: [&str; 21] = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Allow",
    "Allow-Events",
    "Content-Disposition",
    "Event",
    "Expires",
    "Max-Breadth",
    "Min-Expires",
    "Min-SE",
    "Privacy",
    "Proxy-Require",
    "RSeq",
    "Recv-Info",
    "Require",
    "Retry-After",
    "Session-Expires",
    "Subscription-State",
    "Supported",
    "Unsupported",
];
/// Headers that are written anew, or that the other side's program writes.
const MADE: [&str; 17] = [
    "Via",
    "Max-Forwards",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Route",
    "Record-Route",
    "RAck",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Content-Type",
    "Content-Length",
    "Authentication-Info",
];
/// Names for which there is a short form, RFC 3261 §7.3.3 and others.
const SHORT: [(&str, &str); 13] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("c", "Content-Type"),
    ("l", "Content-Length"),
    ("k", "Supported"),
    ("o", "Event"),
    ("u", "Allow-Events"),
    ("x", "Session-Expires"),
    ("r", "Refer-To"),
    ("s", "Subject"),
];

/// Text that a scenario takes as it is: no keyword begins in it.
pub(super) fn text(value: &str) -> String {
    value.replace('[', "\\x5b")
}

/// A captured message, cut up.
pub(super) struct Captured<'a> {
    pub(super) view: View<'a>,
    /// Headers under their long names, in order.
    pub(super) headers: Vec<(String, String)>,
}

impl<'a> Captured<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let view = View::parse(bytes)?;
        let head = &bytes[..bytes.len() - view.body().len()];
        let head = String::from_utf8_lossy(head);
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines().skip(1) {
            if line.starts_with([' ', '\t']) {
                // RFC 3261 §7.3.1: a line that begins with a blank goes on with the one before.
                if let Some((_, value)) = headers.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let name = name.trim();
                let long = SHORT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
                let known = long.map(|(_, long)| *long).or_else(|| {
                    HARMLESS.iter().chain(&MADE).find(|known| known.eq_ignore_ascii_case(name)).copied()
                });
                headers.push((known.unwrap_or(name).into(), value.trim().into()));
            }
        }
        Some(Self { view, headers })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The method, of a response that of its request.
    pub(super) fn method(&self) -> String {
        let method = match self.view.start {
            Start::Request(method) => method,
            Start::Response(_) => self.view.cseq_method,
        };
        text(&String::from_utf8_lossy(method))
    }

    pub(super) fn code(&self) -> Option<u16> {
        match self.view.start {
            Start::Request(_) => None,
            Start::Response(code) => Some(code),
        }
    }

    pub(super) fn to_has_tag(&self) -> bool {
        self.header("To").is_some_and(|to| view::parameter(to.as_bytes(), b"tag").is_some())
    }

    /// Harmless headers as they were, then the body with what belongs to it. What is left out goes to `left_out`.
    pub(super) fn rest(&self, left_out: &mut BTreeSet<String>) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, value) in &self.headers {
            if HARMLESS.contains(&name.as_str()) {
                lines.push(format!("{name}: {}", text(value)));
            } else if !MADE.contains(&name.as_str()) {
                left_out.insert(name.clone());
            }
        }
        let kind = self.header("Content-Type").unwrap_or_default().split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        let body = match kind.as_str() {
            "application/sdp" => description::scenario_text(self.view.body()),
            // Which key it was is nobody's business.
            "application/dtmf-relay" => vec!["Signal=1".into(), "Duration=160".into()],
            "application/dtmf" => vec!["1".into()],
            "" => Vec::new(),
            other => {
                left_out.insert(format!("bodies of {other}"));
                Vec::new()
            }
        };
        if body.is_empty() {
            lines.push("Content-Length: 0".into());
        } else {
            lines.extend([format!("Content-Type: {kind}"), "Content-Length: [len]".into(), String::new()]);
            lines.extend(body);
        }
        lines
    }
}

//! Rules at work on one INVITE, for a call and for an operator who tries them.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::{HEADERS_MAX, HeaderName},
    message::{MESSAGE_BYTES_MAX, Message, Request},
    write::MessageWriter,
};

use super::{
    Direction, HeaderRules,
    addresses::{Change, change_addresses},
    plan::{Deed, Rule, Subject},
};
use crate::{
    crossing::{CROSSING, Fate, Party, crossing_headers},
    routing::Teller,
};

/// The rules make a message that is too long, or has too many headers, to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rules make it longer than a message may be")]
pub struct Unwritable;

/// A header line: its name as far as it is known, as it is written, and its value.
type Entry<'m> = (Option<HeaderName>, Cow<'m, str>, Cow<'m, str>);

/// A request on which rules work.
pub struct Draft<'m> {
    request: &'m Request,
    uri: Cow<'m, str>,
    lines: Vec<Entry<'m>>,
}

impl<'m> Draft<'m> {
    /// `request` as it is.
    pub fn new(request: &'m Request) -> Self {
        let line = |(known, name, value): (_, &'m str, &'m str)| (known, name.into(), value.into());
        Self { request, uri: request.uri().into(), lines: request.headers().lines().map(line).collect() }
    }

    /// Has the rules of one direction do their work, in their order, and tells of each.
    pub fn apply(&mut self, rules: &HeaderRules, direction: Direction, teller: &mut impl Teller) {
        for rule in rules.of(direction) {
            let before = self.lines.len();
            let changed = self.apply_one(rule);
            teller.tell(|| {
                let (name, subject) = (&rule.name, rule.subject.as_str());
                let outcome = match (changed, &rule.deed) {
                    (0, Deed::Change(_)) => "nothing to change".to_string(),
                    (0, _) => "not there".to_string(),
                    (_, Deed::Remove) => format!("removed, {} of it", before - self.lines.len()),
                    (_, Deed::Add(_)) => "added".to_string(),
                    (_, Deed::Set(_)) => "set".to_string(),
                    (changed, Deed::Change(_)) => format!("changed, {changed} of it"),
                };
                format!("rule {name}: {subject}: {outcome}")
            });
        }
    }

    /// How many lines one rule has changed.
    fn apply_one(&mut self, rule: &Rule) -> usize {
        let Rule { subject, deed, .. } = rule;
        match deed {
            Deed::Change(change) if *subject == Subject::RequestUri => match change.of_uri(&self.uri) {
                Some(changed) => {
                    self.uri = changed.into();
                    1
                }
                None => 0,
            },
            Deed::Change(change) => self.change(|known, name| subject.is(known, name), change),
            Deed::Remove => {
                let before = self.lines.len();
                self.lines.retain(|(known, name, _)| !subject.is(*known, name));
                before - self.lines.len()
            }
            Deed::Add(value) => {
                self.push(subject, value);
                1
            }
            Deed::Set(value) => {
                self.lines.retain(|(known, name, _)| !subject.is(*known, name));
                self.push(subject, value);
                1
            }
        }
    }

    fn change(&mut self, wanted: impl Fn(Option<HeaderName>, &str) -> bool, change: &Change) -> usize {
        let mut changes = 0;
        for (known, name, value) in &mut self.lines {
            if wanted(*known, name)
                && let Some(changed) = change_addresses(value, change)
            {
                *value = changed.into();
                changes += 1;
            }
        }
        changes
    }

    fn push(&mut self, subject: &Subject, value: &str) {
        let known = if let Subject::Header(name) = subject { Some(*name) } else { None };
        self.lines.push((known, subject.as_str().to_string().into(), value.to_string().into()));
    }

    /// Gives it back the From that it came with: answers repeat it (RFC 3261 §8.2.6.2).
    pub fn restore_from(&mut self) {
        let came = self.request.headers().first(&HeaderName::From);
        let line = self.lines.iter_mut().find(|(known, ..)| *known == Some(HeaderName::From));
        if let (Some((.., value)), Some(came)) = (line, came) {
            *value = came.into();
        }
    }

    /// What has become of it.
    ///
    /// # Errors
    /// [`Unwritable`].
    pub fn write(&self, buffer: &mut BytesMut) -> Result<Bytes, Unwritable> {
        if self.lines.len() >= HEADERS_MAX {
            return Err(Unwritable);
        }
        let mut writer = MessageWriter::request(buffer, self.request.method(), &self.uri);
        for (known, name, value) in &self.lines {
            if *known != Some(HeaderName::ContentLength) {
                writer.header_text(name, value);
            }
        }
        writer.body("", self.request.body());
        let bytes = writer.finish();
        if bytes.len() > MESSAGE_BYTES_MAX { Err(Unwritable) } else { Ok(bytes) }
    }
}

/// What rules would do to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What is done, header for header and rule for rule.
    pub steps: Vec<String>,
    /// What comes out, where the node writes nothing anew.
    pub message: Bytes,
}

/// What would become of `request` on its way to or from a peer with these rules. On the way out it comes from `sender`, and
/// what does not cross is left out first.
///
/// # Errors
/// [`Unwritable`].
fn try_rules(
    rules: &HeaderRules,
    direction: Direction,
    request: &Request,
    sender: Party,
) -> Result<Tried, Unwritable> {
    let (mut draft, mut steps) = (Draft::new(request), Vec::new());
    if direction == Direction::Out {
        draft.cross(sender, &mut steps);
    }
    draft.apply(rules, direction, &mut steps);
    let message = draft.write(&mut BytesMut::new())?;
    Ok(Tried { steps, message })
}

impl Draft<'_> {
    /// Leaves out what does not cross to a peer.
    fn cross(&mut self, sender: Party, teller: &mut impl Teller) {
        self.lines.retain(|(known, name, _)| {
            let fate = CROSSING.iter().find(|(listed, ..)| Some(*listed) == *known);
            if known.is_some_and(|known| crossing_headers(sender, Party::Peer).any(|name| name == known)) {
                return true;
            }
            match fate {
                Some((_, Fate::MadeAnew, why)) => {
                    teller.tell(|| format!("{name}: made anew, shown as it came: {why}"));
                    return true;
                }
                Some((.., why)) => teller.tell(|| format!("{name}: stops: {why}")),
                None => teller.tell(|| format!("{name}: stops: nobody knows it")),
            }
            false
        });
    }
}

/// `message` as its text stands in a file: lines may end without CR, and the length of the body need not be right.
fn parse_file(text: &str) -> Option<Request> {
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.trim_start().split_once("\n\n").unwrap_or((text.trim_start().trim_end(), ""));
    let is_length = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim();
        HeaderName::parse(name) == Some(HeaderName::ContentLength)
    };
    let head: Vec<&str> = head.lines().filter(|line| !is_length(line)).collect();
    let body = body.replace('\n', "\r\n");
    let text = format!("{}\r\nContent-Length: {}\r\n\r\n{body}", head.join("\r\n"), body.len());
    match Message::parse(text.into()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

impl Tried {
    /// Tries rules on a message from a file; `None`: it is no request.
    pub fn from_file(
        rules: &HeaderRules,
        direction: Direction,
        text: &str,
        sender: Party,
    ) -> Option<Result<Self, Unwritable>> {
        Some(try_rules(rules, direction, &parse_file(text)?, sender))
    }
}

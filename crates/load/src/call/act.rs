//! Actions.

use std::net::{IpAddr, SocketAddr};

use super::{
    authentication,
    outbox::Request,
    progress::shown,
    shard::{Context, Core, Flow, Outcome},
    state::Call,
    value::Value,
    view::{self, View},
};
use crate::{
    reach,
    scenario::{
        model::{
            Action, Check, Compare, Ereg, InternalCommand, Operand, Operation, Search, SetDestination, Test,
        },
        pause::Length,
    },
    stats::Counter,
};

/// What actions did to the call's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acted {
    /// Nothing.
    Done,
    /// The call goes on elsewhere.
    Jumped,
    /// It does not go on.
    Ended(Flow),
}

const fn failed(reason: Counter) -> Acted {
    Acted::Ended(Flow::End(Outcome::Failed(reason)))
}

impl Core {
    /// Does the actions of a step, in order.
    pub(super) fn act(&mut self, context: Context<'_>, call: &mut Call, actions: &[Action]) -> Acted {
        let mut result = Acted::Done;
        for action in actions {
            match self.act_once(context, call, action) {
                Acted::Done => {}
                Acted::Jumped => result = Acted::Jumped,
                ended @ Acted::Ended(_) => {
                    if context.plan.settings.behaviours.bye && context.slot != u32::MAX {
                        self.hang_up(context, call);
                    }
                    return ended;
                }
            }
        }
        result
    }

    fn act_once(&mut self, context: Context<'_>, call: &mut Call, action: &Action) -> Acted {
        match action {
            Action::Ereg(ereg) => return self.ereg(context, call, ereg),
            Action::Test(test) => return self.test(context, call, test),
            Action::Compare(compare) => return self.compare(context, call, compare),
            Action::Log(text) => {
                if self.traces.has_logs() {
                    let text = self.text_of(context, call, text);
                    self.traces.log(&text);
                }
            }
            Action::Warning(text) => {
                let text = self.text_of(context, call, text);
                self.stats.add(Counter::Warnings, 1);
                self.traces.error(context.now, || String::from_utf8_lossy(&text).into_owned());
            }
            Action::Error(text) => {
                let text = self.text_of(context, call, text);
                self.out.requests.push(Request::Fatal(String::from_utf8_lossy(&text).into_owned()));
            }
            Action::AssignString(to, text) => {
                let text = self.text_of(context, call, text);
                self.set(context.script, call, *to, Value::Text(text.into()));
            }
            Action::Arithmetic(to, operation, operand) => {
                return self.arithmetic(context, call, *to, *operation, *operand);
            }
            Action::ToDouble(to, from) => {
                let value = self.value(context.script, call, *from);
                match value.number() {
                    Some(number) => self.set(context.script, call, *to, Value::Number(number)),
                    None => {
                        let text = shown(value);
                        self.traces
                            .error(context.now, || format!("Invalid double conversion from \"{text}\""));
                    }
                }
            }
            Action::Sample(to, length) => {
                let number = match *length {
                    Length::Fixed(value) => value,
                    Length::Drawn(distribution) => distribution.draw(&mut self.random),
                    Length::Variable(id) => self.value(context.script, call, id).number().unwrap_or(0.0),
                    Length::Default => context.plan.settings.pause_ms as f64,
                };
                self.set(context.script, call, *to, Value::Number(number));
            }
            Action::Jump(operand) => {
                let Some(to) = self.number_of(context, call, *operand) else { return Acted::Done };
                call.step = to.max(0.0) as usize;
                return Acted::Jumped;
            }
            Action::TimeOfDay(seconds, micros) => {
                let now = context.now.unix_micros;
                let whole = Value::Number(now.div_euclid(1_000_000) as f64);
                self.set(context.script, call, *seconds, whole);
                if let Some(micros) = micros {
                    let rest = Value::Number(now.rem_euclid(1_000_000) as f64);
                    self.set(context.script, call, *micros, rest);
                }
            }
            Action::SetDestination(to) => return self.set_destination(context, call, to),
            Action::Internal(InternalCommand::StopCall) => return failed(Counter::FailedCallRejected),
            Action::Internal(InternalCommand::StopGracefully) => {
                self.out.requests.push(Request::StopGracefully);
            }
            Action::Internal(InternalCommand::StopNow) => self.out.requests.push(Request::StopNow),
            Action::Execute(text) => {
                let text = self.text_of(context, call, text);
                let command = String::from_utf8_lossy(&text).into_owned();
                self.out.requests.push(Request::Execute(command));
            }
            Action::Media(action) => self.act_on_media(context, call, action),
            Action::CloseConnection => self.out.requests.push(Request::Close(call.socket)),
            other => self.act_on_data(context, call, other),
        }
        Acted::Done
    }

    /// Actions that only change variables and injection files.
    fn act_on_data(&mut self, context: Context<'_>, call: &mut Call, action: &Action) {
        match action {
            Action::VerifyAuthentication(proof) => {
                let username = self.text_of(context, call, &proof.username);
                let password = self.text_of(context, call, &proof.password);
                let proved = authentication::is_proved(&call.received, &username, &password);
                self.set(context.script, call, proof.to, Value::Truth(proved));
            }
            Action::Trim(id) => self.change(context, call, *id, |text| text.trim_ascii().to_vec()),
            Action::UrlEncode(id) => self.change(context, call, *id, url_encode),
            Action::UrlDecode(id) => self.change(context, call, *id, url_decode),
            Action::Lookup { to, file, key } => {
                let key = self.text_of(context, call, key);
                let file = self.injections.iter().find(|cursor| cursor.name() == file);
                let line = file.and_then(|cursor| cursor.lookup(&key));
                self.set(context.script, call, *to, Value::Number(line.map_or(-1.0, f64::from)));
            }
            Action::Insert { file, value } => {
                let value = self.text_of(context, call, value);
                if let Some(cursor) = self.injections.iter_mut().find(|cursor| cursor.name() == file) {
                    cursor.insert(&value);
                }
            }
            Action::Replace { file, line, value } => {
                let line = self.text_of(context, call, line);
                let value = self.text_of(context, call, value);
                let number = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse::<f64>().ok());
                if let Some(cursor) = self.injections.iter_mut().find(|cursor| cursor.name() == file)
                    && let Some(number) = number.filter(|number| *number >= 0.0)
                {
                    cursor.replace(number as u32, &value);
                }
            }
            // The others are done where this is called.
            _ => {}
        }
    }

    fn change(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        id: crate::scenario::variables::VariableId,
        change: impl Fn(&[u8]) -> Vec<u8>,
    ) {
        let text = change(&self.value(context.script, call, id).text());
        self.set(context.script, call, id, Value::Text(text.into()));
    }

    fn number_of(&self, context: Context<'_>, call: &Call, operand: Operand) -> Option<f64> {
        match operand {
            Operand::Value(number) => Some(number),
            Operand::Variable(id) => self.value(context.script, call, id).number(),
        }
    }

    fn arithmetic(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        to: crate::scenario::variables::VariableId,
        operation: Operation,
        operand: Operand,
    ) -> Acted {
        let operand = self.number_of(context, call, operand).unwrap_or(0.0);
        let before = self.value(context.script, call, to).number().unwrap_or(0.0);
        let result = match operation {
            Operation::Assign => operand,
            Operation::Add => before + operand,
            Operation::Subtract => before - operand,
            Operation::Multiply => before * operand,
            Operation::Divide if operand == 0.0 => {
                self.traces.error(context.now, || "Action failure: Can not divide by zero!".into());
                return Acted::Done;
            }
            Operation::Divide => before / operand,
        };
        self.set(context.script, call, to, Value::Number(result));
        Acted::Done
    }

    fn ereg(&mut self, context: Context<'_>, call: &mut Call, ereg: &Ereg) -> Acted {
        let place = match &ereg.search {
            Search::Message => Some(call.received.clone()),
            Search::Body => Some(view::body(&call.received).to_vec()),
            Search::Variable(id) => Some(self.value(context.script, call, *id).text()),
            Search::Header { name, any_case, occurrence, at_line_start } => {
                header_text(&call.received, name.as_bytes(), *any_case, *occurrence, *at_line_start)
                    .map(<[u8]>::to_vec)
            }
        };
        let found = place.as_deref().and_then(|text| ereg.regex.captures(text));
        for (group, to) in ereg.assign_to.iter().enumerate() {
            let text = found.as_ref().and_then(|found| found.get(group)).map(|text| text.as_bytes().into());
            self.set(context.script, call, *to, Value::Match(text));
        }
        match (ereg.check, found.is_some()) {
            (Check::MustHold, false) => {
                let reason = match (&ereg.search, &place) {
                    (Search::Header { .. }, None) => Counter::FailedRegexpHeader,
                    _ => Counter::FailedRegexp,
                };
                self.traces.error(context.now, || {
                    format!(
                        "Failed regexp match: looking in '{}', with regexp '{}'",
                        String::from_utf8_lossy(place.as_deref().unwrap_or_default()),
                        ereg.pattern
                    )
                });
                failed(reason)
            }
            (Check::MustNotHold, true) => {
                self.traces.error(context.now, || format!("Regexp '{}' should not match", ereg.pattern));
                failed(Counter::FailedRegexpShouldNot)
            }
            _ => Acted::Done,
        }
    }

    fn test(&mut self, context: Context<'_>, call: &mut Call, test: &Test) -> Acted {
        let left = self.value(context.script, call, test.variable).number().unwrap_or(0.0);
        let right = self.number_of(context, call, test.operand).unwrap_or(0.0);
        let holds = test.comparison.holds(left, right);
        if let Some(to) = test.to {
            self.set(context.script, call, to, Value::Truth(holds));
        }
        match (test.check, holds) {
            (Check::MustHold, false) => failed(Counter::FailedTest),
            (Check::MustNotHold, true) => failed(Counter::FailedTestShouldNot),
            _ => Acted::Done,
        }
    }

    fn compare(&mut self, context: Context<'_>, call: &mut Call, compare: &Compare) -> Acted {
        let right = self.text_of(context, call, &compare.value);
        let left = self.value(context.script, call, compare.variable).text();
        let difference = strcmp(&left, &right);
        if let Some(to) = compare.to {
            self.set(context.script, call, to, Value::Number(f64::from(difference)));
        }
        match (compare.check, difference == 0) {
            (Check::MustHold, false) => failed(Counter::FailedStrcmp),
            (Check::MustNotHold, true) => failed(Counter::FailedStrcmpShouldNot),
            _ => Acted::Done,
        }
    }

    fn set_destination(&mut self, context: Context<'_>, call: &mut Call, to: &SetDestination) -> Acted {
        let text = |core: &mut Self, call: &mut Call, template| {
            String::from_utf8_lossy(&core.text_of(context, call, template)).trim().to_string()
        };
        let (host, port, protocol) =
            (text(self, call, &to.host), text(self, call, &to.port), { text(self, call, &to.protocol) });
        let transport = context.plan.settings.transport;
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok().zip(port.parse::<u16>().ok());
        match address {
            Some((ip, _)) if !context.plan.settings.allow_public && !reach::is_ours(ip) => {
                self.complain(context, "setdest outside private ranges is refused without --allow-public");
                failed(Counter::FailedCallRejected)
            }
            Some((ip, port)) if protocol.eq_ignore_ascii_case(transport) => {
                call.remote = Some(SocketAddr::new(ip, port));
                Acted::Done
            }
            _ => {
                self.traces.error(context.now, || {
                    format!(
                        "setdest to {host}:{port} over {protocol}: the host must be an address, the transport {transport}"
                    )
                });
                failed(Counter::FailedCallRejected)
            }
        }
    }
}

/// The text that `search_in="hdr"` searches: what follows the name up to the end of its line.
fn header_text<'a>(
    message: &'a [u8],
    name: &[u8],
    any_case: bool,
    occurrence: u32,
    at_line_start: bool,
) -> Option<&'a [u8]> {
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let head = &message[..end];
    let bare = name.trim_ascii_end();
    if let Some(header) = bare.strip_suffix(b":")
        && let Some(view) = View::parse(message)
        && !at_line_start
        && (any_case || head.windows(bare.len()).any(|window| window == bare))
        && let Some(value) = view.all(header).nth(occurrence as usize - 1)
    {
        // SIPp leaves the blank between name and value in.
        let from = value.as_ptr() as usize - message.as_ptr() as usize;
        let blanks = message[..from].iter().rev().take_while(|octet| **octet == b' ').count();
        let given = name.len() - bare.len();
        return Some(&message[from - blanks.saturating_sub(given)..from + value.len()]);
    }
    let folded = |text: &[u8]| if any_case { text.to_ascii_lowercase() } else { text.to_vec() };
    let (text, wanted) = (folded(head), folded(name));
    let mut hits = memchr::memmem::find_iter(&text, &wanted)
        .filter(|at| !at_line_start || *at == 0 || text[at - 1] == b'\n');
    let at = hits.nth(occurrence as usize - 1)? + name.len();
    let length = head[at..].iter().position(|octet| *octet == b'\r' || *octet == b'\n');
    Some(&head[at..at + length.unwrap_or(head.len() - at)])
}

/// As C's: the difference of the first octets that differ.
fn strcmp(left: &[u8], right: &[u8]) -> i32 {
    let at = |text: &[u8], index: usize| i32::from(text.get(index).copied().unwrap_or(0));
    let length = left.len().max(right.len());
    (0..length)
        .map(|index| at(left, index) - at(right, index))
        .find(|difference| *difference != 0)
        .unwrap_or(0)
}

fn url_encode(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    for &octet in text {
        if octet.is_ascii_alphanumeric() || b"-_.~".contains(&octet) {
            result.push(octet);
        } else {
            result.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
    result
}

fn url_decode(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (text[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(octet)) => {
                result.push(octet);
                at += 3;
            }
            (octet, _) => {
                result.push(octet);
                at += 1;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_as_written() {
        let message = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nContact: <sip:a@b>\r\nX: 1\r\nX:  2\r\n\r\nX: 3";
        let text = |name: &str, occurrence| header_text(message, name.as_bytes(), false, occurrence, false);
        assert_eq!(text("Contact:", 1), Some(&b" <sip:a@b>"[..]));
        assert_eq!(text("Contact: ", 1), Some(&b"<sip:a@b>"[..]));
        assert_eq!(text("X:", 2), Some(&b"  2"[..]));
        assert_eq!(text("X:", 3), None);
        assert_eq!(text("SIP/2.0", 1), Some(&b" 200 OK"[..]));
    }

    #[test]
    fn texts_compare_as_in_c() {
        assert_eq!(strcmp(b"hi", b"zz"), -18);
        assert_eq!(strcmp(b"a", b"a"), 0);
        assert!(strcmp(b"ab", b"a") > 0);
    }

    #[test]
    fn urls_are_encoded_and_decoded() {
        assert_eq!(url_encode(b"a b@c"), b"a%20b%40c");
        assert_eq!(url_decode(b"a%20b%40c%"), b"a b@c%");
    }
}

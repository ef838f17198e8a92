//! What comes in: expected, repeated, late, or a surprise.

use std::net::SocketAddr;

use super::{
    outbox::{Outgoing, SocketId},
    plan::{Now, Plan},
    progress,
    shard::{Context, Core, Flow, Outcome},
    state::{Call, Challenge, Seen, Waiting},
    value::Value,
    view::{self, Start, View},
};
use crate::{
    scenario::model::{Expect, Optional, Recv, Step, StepKind},
    stats::Counter,
};

impl Core {
    /// A message of this call.
    pub(super) fn receive(&mut self, context: Context<'_>, call: &mut Call, view: &View<'_>) -> Flow {
        let hash = self.fingerprint(context, view);
        if let Some(flow) = self.repetition(context, call, hash) {
            return flow;
        }
        if call.waiting == Waiting::Pause && context.plan.settings.pause_ignores && !call.in_timewait {
            return Flow::Wait;
        }
        match self.find(context, call, view) {
            Some(index) => self.accept(context, call, view, index, hash),
            None => self.unexpected(context, call, view, hash),
        }
    }

    /// What a repetition has in common with its original.
    fn fingerprint(&self, context: Context<'_>, view: &View<'_>) -> u64 {
        if !context.plan.settings.repeating.loose {
            return view::hash(view.bytes);
        }
        let start = match view.start {
            Start::Request(method) => view::hash(method),
            Start::Response(code) => u64::from(code),
        };
        let branch = view.branch().map_or(0, view::hash);
        start ^ branch.rotate_left(17) ^ u64::from(view.cseq).rotate_left(41) ^ view::hash(view.cseq_method)
    }

    /// A message that was there before is counted, and its answer sent again.
    fn repetition(&mut self, context: Context<'_>, call: &mut Call, hash: u64) -> Option<Flow> {
        if let Some((seen, answer)) = call.answered
            && seen.hash == hash
        {
            self.stats.step(call.out_of_call, seen.step, |counts| counts.repeated += 1);
            self.answer_again(context, call, answer);
            return Some(Flow::Wait);
        }
        if progress::is_same(call.last, hash) {
            let step = call.last.map_or(0, |seen| seen.step);
            self.stats.step(call.out_of_call, step, |counts| counts.repeated += 1);
            return Some(Flow::Wait);
        }
        None
    }

    /// The step that waits for such a message: from here on over optional ones, or an optional one before.
    fn find(&self, context: Context<'_>, call: &Call, view: &View<'_>) -> Option<usize> {
        let steps = &context.script.scenario.steps;
        for (index, step) in steps.iter().enumerate().skip(call.step) {
            let StepKind::Recv(recv) = &step.kind else { break };
            if self.condition_fails(context, call, step) {
                continue;
            }
            if matches(context, call, recv, view, index) {
                return Some(index);
            }
            if recv.optional == Optional::No {
                break;
            }
        }
        let mut contiguous = true;
        for (index, step) in steps.iter().enumerate().take(call.step).rev() {
            let recv = match &step.kind {
                StepKind::Recv(recv) if recv.optional != Optional::No => recv,
                _ => {
                    contiguous = false;
                    continue;
                }
            };
            let is_open = contiguous || recv.optional == Optional::Global;
            if is_open && matches(context, call, recv, view, index) {
                return Some(index);
            }
        }
        None
    }

    fn condition_fails(&self, context: Context<'_>, call: &Call, step: &Step) -> bool {
        step.condition.is_some_and(|condition| {
            self.value(context.script, call, condition.variable).is_set() == condition.inverse
        })
    }

    /// Takes a message that step `index` waits for.
    fn accept(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        view: &View<'_>,
        index: usize,
        hash: u64,
    ) -> Flow {
        let step = &context.script.scenario.steps[index];
        let StepKind::Recv(recv) = &step.kind else { return Flow::Wait };
        if self.is_lost(context, step) {
            self.stats.step(call.out_of_call, index, |counts| counts.lost += 1);
            return Flow::Wait;
        }
        self.stats.step(call.out_of_call, index, |counts| counts.done += 1);
        call.last = Some(Seen { hash, step: index });
        if let Start::Request(b"ACK") = view.start {
            // Nothing answers an ACK, and it answers nothing that comes again.
            call.answered = None;
        }
        self.stop_repeating(context, call, view);
        keep(context, call, view, recv);
        self.described_theirs(context, call, view, recv);
        let waits_on = recv.optional != Optional::No;
        if waits_on {
            // The call goes on waiting where it is, unless the step leads elsewhere.
            self.note_times(context, call, step);
            let here = call.step;
            match self.act(context, call, &step.actions) {
                super::act::Acted::Done => {}
                super::act::Acted::Jumped => return self.go_on(context, call),
                super::act::Acted::Ended(flow) => return flow,
            }
            if self.branch(context, call, step) {
                return self.go_on(context, call);
            }
            call.step = here;
            return Flow::Wait;
        }
        call.step = index;
        call.wake_at = None;
        match self.passed(context, call, step) {
            Some(flow) => flow,
            None => self.go_on(context, call),
        }
    }

    /// An answer ends the repetitions of what it answers. After a provisional one only an INVITE falls silent (RFC 3261
    /// §17.1.1.2); others go on every T2 (§17.1.2.2).
    fn stop_repeating(&mut self, context: Context<'_>, call: &mut Call, view: &View<'_>) {
        let Some(repeat) = &mut call.repeat else { return };
        match view.start {
            Start::Response(100..=199) if view.cseq_method != b"INVITE" => {
                let t2 = context.plan.settings.repeating.t2_ms;
                repeat.interval = t2;
                repeat.at = context.now.millis() + t2;
            }
            _ => call.repeat = None,
        }
    }

    /// A message that no step waits for.
    fn unexpected(&mut self, context: Context<'_>, call: &mut Call, view: &View<'_>, hash: u64) -> Flow {
        if let Some(flow) = self.answered_by_itself(context, call, view, hash) {
            return flow;
        }
        if let Some((to, variable)) = context.script.scenario.unexpected {
            keep_message(context, call, view);
            if let Some(variable) = variable {
                self.set(context.script, call, variable, Value::Number(call.step as f64));
            }
            call.step = to;
            call.wake_at = None;
            // The steps there may receive it as any other message.
            call.surprise = Some(view.bytes.into());
            return self.go_on(context, call);
        }
        self.give_up_on(context, call, view)
    }

    /// What led to `_unexp.main`, at the first step from there that receives anything.
    pub(super) fn receive_surprise(&mut self, context: Context<'_>, call: &mut Call, message: &[u8]) -> Flow {
        let Some(view) = View::parse(message) else { return Flow::Wait };
        let hash = self.fingerprint(context, &view);
        match self.find(context, call, &view) {
            Some(index) => self.accept(context, call, &view, index, hash),
            None => self.give_up_on(context, call, &view),
        }
    }

    /// Nothing is to be done about a message: the call is given up, or goes on as if it had not come.
    fn give_up_on(&mut self, context: Context<'_>, call: &mut Call, view: &View<'_>) -> Flow {
        let (index, behaviours) = (call.step, context.plan.settings.behaviours);
        self.stats.step(call.out_of_call, index, |counts| counts.unexpected += 1);
        self.traces.unexpected(
            context.now,
            context.script,
            call.step,
            &call.id,
            view,
            behaviours.abort_unexpected,
        );
        if let Start::Response(code) = view.start {
            self.traces.error_code(context.now, code);
        }
        keep_message(context, call, view);
        if !behaviours.abort_unexpected {
            return Flow::Wait;
        }
        // A call in <timewait> has been counted as a success; SIPp counts such a surprise as a failure as well.
        if call.in_timewait {
            call.in_timewait = false;
            self.stats.took_back_success();
        }
        if behaviours.bye {
            self.end_dialog(context, call);
        }
        Flow::End(Outcome::Failed(Counter::FailedUnexpected))
    }

    /// BYE, CANCEL and PING, and with `-aa` some more, are answered although nobody waits for them.
    fn answered_by_itself(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        view: &View<'_>,
        hash: u64,
    ) -> Option<Flow> {
        let Start::Request(method) = view.start else { return None };
        let settings = &context.plan.settings;
        let ends = matches!(method, b"BYE" | b"CANCEL");
        let answers = match method {
            b"BYE" | b"CANCEL" => settings.behaviours.bye,
            b"PING" => settings.behaviours.ping_reply,
            b"INFO" | b"NOTIFY" | b"OPTIONS" | b"UPDATE" => settings.auto_answer,
            _ => false,
        };
        if !answers {
            return None;
        }
        let received = std::mem::take(&mut call.received);
        call.received.extend_from_slice(view.bytes);
        self.send_standard(context, call, &context.plan.standard.ok);
        if ends {
            let index = call.step;
            self.stats.step(call.out_of_call, index, |counts| counts.unexpected += 1);
            self.traces.error(context.now, || {
                let (method, id) = (String::from_utf8_lossy(method), String::from_utf8_lossy(&call.id));
                format!("Aborting call on an unexpected {method} for call: {id}")
            });
            if call.in_timewait {
                call.in_timewait = false;
                self.stats.took_back_success();
            }
            return Some(Flow::End(Outcome::Failed(Counter::FailedUnexpected)));
        }
        self.stats.add(Counter::AutoAnswered, 1);
        // The scenario knows nothing of it.
        call.received = received;
        let _ = hash;
        Some(Flow::Wait)
    }

    /// A message of no call, when none may begin with it.
    pub(super) fn receive_stray(
        &mut self,
        plan: &Plan,
        now: Now,
        socket: SocketId,
        from: SocketAddr,
        view: &View<'_>,
    ) {
        let answers = plan.settings.auto_answer
            && matches!(view.start, Start::Request(b"INFO" | b"NOTIFY" | b"OPTIONS" | b"UPDATE"));
        if answers {
            self.stats.add(Counter::AutoAnswered, 1);
            let mut call = Box::<Call>::default();
            call.received.extend_from_slice(view.bytes);
            call.local_port = plan.settings.local_port;
            let context = Context { plan, script: &plan.main, now, slot: u32::MAX };
            let mut bytes = Vec::new();
            if self.render(context, &mut call, &plan.standard.ok, 0, &mut bytes).is_ok() {
                let start = self.out.bytes.len();
                self.out.bytes.extend_from_slice(&bytes);
                let range = start..self.out.bytes.len();
                self.out.messages.push(Outgoing { range, to: from, socket, slot: u32::MAX });
            }
            return;
        }
        self.stats.add(Counter::OutOfCallMessages, 1);
        self.traces.error(now, || {
            let text = String::from_utf8_lossy(view.bytes);
            format!("Discarding message which can't be mapped to a known SIPp call:\n{text}")
        });
    }

    /// A command of another instance (3PCC).
    pub(super) fn receive_command(&mut self, context: Context<'_>, call: &mut Call, text: &[u8]) -> Flow {
        if call.commands.len() == COMMANDS_MAX {
            self.complain(context, "more commands than the scenario hears: the oldest is forgotten");
            call.commands.remove(0);
        }
        call.commands.push(text.into());
        if call.waiting == Waiting::Command { self.take_command(context, call) } else { Flow::Wait }
    }

    /// Goes on with the first command that the step waits for; others come before the scenario is there.
    pub(super) fn take_command(&mut self, context: Context<'_>, call: &mut Call) -> Flow {
        let index = call.step;
        let Some(step) = context.script.scenario.steps.get(index) else { return Flow::Wait };
        let StepKind::ReceiveCommand { src } = &step.kind else { return Flow::Wait };
        let src = src.as_deref().filter(|_| context.plan.settings.checks_source).map(str::as_bytes);
        let is_wanted = |text: &[u8]| src.is_none() || command_header(text, b"From:") == src;
        let Some(at) = call.commands.iter().position(|text| is_wanted(text)) else { return Flow::Wait };
        let text = call.commands.remove(at);
        self.stats.step(call.out_of_call, index, |counts| counts.done += 1);
        let received = std::mem::replace(&mut call.received, text.into());
        call.waiting = Waiting::Nothing;
        let flow = self.passed(context, call, step);
        // What a peer said last is what [last_*] means, not the command.
        call.received = received;
        match flow {
            Some(flow) => flow,
            None => self.go_on(context, call),
        }
    }
}

/// Commands that came before the scenario asks for them, at most.
const COMMANDS_MAX: usize = 16;

/// Whether a `<recv>` takes the message.
fn matches(context: Context<'_>, call: &Call, recv: &Recv, view: &View<'_>, index: usize) -> bool {
    match (&recv.expect, view.start) {
        (Expect::Request(wanted), Start::Request(method)) => wanted.as_bytes() == method,
        (Expect::Matching(_, regex), Start::Request(method)) => regex.is_match(method),
        (Expect::Response(wanted), Start::Response(code)) => {
            if *wanted != code {
                return false;
            }
            if let Some(transaction) = recv.response_txn {
                let branch = call.branches.get(transaction);
                return branch.is_some_and(|branch| view.branch() == Some(branch));
            }
            // It must answer something that was sent before; the first step of all has nothing before it.
            let methods = &context.script.scenario.methods;
            index == 0
                || methods.iter().enumerate().any(|(bit, method)| {
                    recv.methods & (1 << bit) != 0 && method.as_bytes() == view.cseq_method
                })
        }
        _ => false,
    }
}

/// Keeps of a message what later texts will ask for.
fn keep(context: Context<'_>, call: &mut Call, view: &View<'_>, recv: &Recv) {
    keep_message(context, call, view);
    match view.start {
        Start::Response(code) => {
            if context.script.keeps_peer_tag
                && let Some(tag) = view.header(b"To").and_then(|to| view::parameter(to, b"tag"))
            {
                call.peer_tag.clear();
                call.peer_tag.extend_from_slice(tag);
            }
            if view.cseq_method == b"INVITE" && (200..300).contains(&code) {
                call.ack_is_pending = true;
            }
            if recv.auth && matches!(code, 401 | 407) {
                keep_challenge(call, view, code);
            }
        }
        Start::Request(_) => call.cseq = view.cseq,
    }
    if recv.rrs {
        keep_routes(call, view);
    }
}

fn keep_message(context: Context<'_>, call: &mut Call, view: &View<'_>) {
    call.received_anything = true;
    if let Start::Response(code) = view.start {
        call.received_code = code;
    }
    call.received.clear();
    // Giving up a call needs it too, but only then; it is short-lived either way.
    let needed = context.script.keeps_last || context.plan.settings.behaviours.bye;
    if needed {
        call.received.extend_from_slice(view.bytes);
    }
}

fn keep_challenge(call: &mut Call, view: &View<'_>, code: u16) {
    let name: &[u8] = if code == 401 { b"WWW-Authenticate" } else { b"Proxy-Authenticate" };
    let values = view.all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    call.challenge = Some(Box::new(Challenge { code, values, session: None }));
}

/// Record-Route becomes Route: turned round for who sent the request (RFC 3261 §12.1.2), as it is for who answered (§12.1.1).
fn keep_routes(call: &mut Call, view: &View<'_>) {
    let mut elements: Vec<&[u8]> = view.all(b"Record-Route").flat_map(split_list).collect();
    if matches!(view.start, Start::Response(_)) {
        elements.reverse();
    }
    call.routes.clear();
    if !elements.is_empty() {
        call.routes.extend_from_slice(b"Route: ");
        call.routes.extend_from_slice(&elements.join(&b", "[..]));
    }
    if let Some(contact) = view.header(b"Contact") {
        call.next_url.clear();
        call.next_url.extend_from_slice(view::uri_of(contact));
    }
}

/// The elements of a list; commas in angle brackets and quotes do not count.
fn split_list(value: &[u8]) -> Vec<&[u8]> {
    let (mut elements, mut start, mut in_uri, mut in_quotes) = (Vec::new(), 0, false, false);
    for (at, octet) in value.iter().enumerate() {
        match octet {
            b'"' => in_quotes = !in_quotes,
            b'<' if !in_quotes => in_uri = true,
            b'>' if !in_quotes => in_uri = false,
            b',' if !in_uri && !in_quotes => {
                elements.push(value[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(value[start..].trim_ascii());
    elements.retain(|element| !element.is_empty());
    elements
}

/// The Call-ID of a command: its lines are headers without a start line.
pub(super) fn command_call_id(text: &[u8]) -> Option<&[u8]> {
    command_header(text, b"Call-ID:")
}

fn command_header<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    text.split(|octet| *octet == b'\n').find_map(|line| {
        let (name, value) = line.trim_ascii().split_at_checked(wanted.len())?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim_ascii())
    })
}

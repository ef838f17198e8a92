//! A call walks its scenario: sends, waits, branches.

use super::{
    outbox::{Outgoing, Request},
    render::RenderError,
    shard::{Context, Core, Flow, Outcome},
    state::{Call, Repeat, Seen, Waiting},
    value::Value,
    view,
};
use crate::{
    scenario::{
        model::{Send, Step, StepKind, Timeout},
        pause::Length,
    },
    stats::Counter,
};

/// Steps that a call may take without waiting. A scenario that loops for ever lets the others have their turn, 1 ms later.
const STEPS_PER_TURN: usize = 1000;

impl Core {
    /// Walks on until the call waits or ends.
    pub(super) fn go_on(&mut self, context: Context<'_>, call: &mut Call) -> Flow {
        let steps = &context.script.scenario.steps;
        call.waiting = Waiting::Nothing;
        for _ in 0..STEPS_PER_TURN {
            let Some(step) = steps.get(call.step) else {
                return Flow::End(Outcome::Succeeded);
            };
            if let Some(condition) = step.condition
                && self.value(context.script, call, condition.variable).is_set() == condition.inverse
            {
                call.step += 1;
                continue;
            }
            let flow = match &step.kind {
                StepKind::Recv(recv) => {
                    call.waiting = Waiting::Message;
                    let timeout = match recv.timeout {
                        Timeout::Default => context.plan.settings.recv_timeout_ms,
                        Timeout::Fixed(ms) => Some(ms),
                        Timeout::Variable(id) => {
                            let ms = self.value(context.script, call, id).number();
                            ms.filter(|ms| *ms >= 1.0).map(|ms| ms as u64)
                        }
                    };
                    call.wake_at = timeout.map(|ms| context.now.millis() + ms);
                    return match call.surprise.take() {
                        None => Flow::Wait,
                        Some(message) => self.receive_surprise(context, call, &message),
                    };
                }
                StepKind::ReceiveCommand { .. } => {
                    call.waiting = Waiting::Command;
                    call.wake_at = None;
                    return self.take_command(context, call);
                }
                StepKind::Pause { length, is_timewait } => {
                    match self.pause(context, call, length, *is_timewait) {
                        None => self.passed(context, call, step),
                        Some(flow) => Some(flow),
                    }
                }
                StepKind::Send(send) => self.send(context, call, step, send),
                StepKind::Nop => {
                    self.stats.step(call.out_of_call, call.step, |counts| counts.done += 1);
                    self.passed(context, call, step)
                }
                StepKind::SendCommand { dest, .. } => self.send_command(context, call, step, dest.clone()),
            };
            if let Some(flow) = flow {
                return flow;
            }
        }
        call.waiting = Waiting::Pause;
        call.wake_at = Some(context.now.millis() + 1);
        Flow::Wait
    }

    /// A step has happened: response times, counters, actions, and on to where it leads. `None`: go on.
    pub(super) fn passed(&mut self, context: Context<'_>, call: &mut Call, step: &Step) -> Option<Flow> {
        self.note_times(context, call, step);
        if step.actions.is_empty() {
            self.lead_on(context, call, step);
            return None;
        }
        match self.act(context, call, &step.actions) {
            super::act::Acted::Done => self.lead_on(context, call, step),
            super::act::Acted::Jumped => {}
            super::act::Acted::Ended(flow) => return Some(flow),
        }
        None
    }

    /// Where a step leads: the next one, or where its branch goes.
    pub(super) fn lead_on(&mut self, context: Context<'_>, call: &mut Call, step: &Step) {
        call.step += 1;
        self.branch(context, call, step);
    }

    /// Takes the branch of a step if its test and chance say so.
    pub(super) fn branch(&mut self, context: Context<'_>, call: &mut Call, step: &Step) -> bool {
        let Some(next) = step.next else { return false };
        let is_set = next.test.is_none_or(|id| self.value(context.script, call, id).is_set());
        let taken = is_set && (next.chance_ppm >= 1_000_000 || self.random.chance_ppm(next.chance_ppm));
        if taken {
            call.step = next.to;
        }
        taken
    }

    /// Starts and ends response times, increments counters.
    pub(super) fn note_times(&mut self, context: Context<'_>, call: &mut Call, step: &Step) {
        let nanos = context.now.instant.as_nanos();
        for &rtd in &step.start_rtd {
            call.rtd_started[rtd] = nanos.max(1);
        }
        for &rtd in &step.stop_rtd {
            let bit = 1_u64 << (rtd % 64);
            // Without a start it runs from the start of the call.
            let started = match call.rtd_started[rtd] {
                0 => call.started_nanos,
                started => started,
            };
            if call.rtd_done & bit == 0 {
                let micros = nanos.saturating_sub(started) / 1000;
                self.stats.response_time(call.out_of_call, rtd, micros);
                self.traces.response_time(context.now, micros, &context.script.scenario.rtds[rtd]);
            }
            if !step.repeat_rtd {
                call.rtd_done |= bit;
            }
        }
        for &counter in &step.counters {
            self.stats.generic(call.out_of_call, counter);
        }
    }

    fn send(&mut self, context: Context<'_>, call: &mut Call, step: &Step, send: &Send) -> Option<Flow> {
        let index = call.step;
        if send.method.as_deref().is_some_and(|method| method != "ACK" && method != "CANCEL") {
            call.cseq = call.cseq.wrapping_add(1);
        }
        let start = self.out.bytes.len();
        if let Err(error) = self.write(context, call, index) {
            self.out.bytes.truncate(start);
            let why = match error {
                RenderError::NoChallenge => "[authentication] without a challenge: is auth=\"true\" missing?",
                RenderError::BadChallenge => "[authentication] cannot answer the challenge",
            };
            self.out.requests.push(Request::Fatal(why.into()));
            return Some(Flow::End(Outcome::Failed(Counter::FailedCallRejected)));
        }
        call.sent.clear();
        call.sent.extend_from_slice(&self.out.bytes[start..]);
        call.sent_step = Some(index);
        if call.remote.is_none() {
            self.out.bytes.truncate(start);
            self.traces.error(context.now, || "There is no remote host to send to".into());
            return Some(Flow::End(Outcome::Failed(Counter::FailedCannotSend)));
        }
        let lost = self.is_lost(context, step);
        self.stats.step(call.out_of_call, index, |counts| {
            counts.done += 1;
            counts.lost += u64::from(lost);
        });
        if lost {
            self.out.bytes.truncate(start);
        } else {
            self.dispatch(context, call, start);
        }
        let repeating = context.plan.settings.repeating;
        call.repeat = send.retrans_ms.filter(|_| repeating.enabled).map(|interval| Repeat {
            at: context.now.millis() + interval,
            interval,
            count: 0,
        });
        // What is sent right after something was received answers its repetitions.
        if let Some(last) = call.last.take() {
            call.answered = Some((last, index));
        } else if let Some((seen, at)) = call.answered
            && send.method.is_none()
            && context.script.scenario.steps.get(at).is_some_and(is_response)
        {
            // The last of several answers to one request is the one to repeat.
            call.answered = Some((seen, index));
        }
        self.note_sent(call, send);
        self.described_ours(context, call);
        self.passed(context, call, step)
    }

    fn note_sent(&self, call: &mut Call, send: &Send) {
        if send.method.as_deref() == Some("ACK") {
            call.established = true;
            call.ack_is_pending = false;
        }
        if let Some(transaction) = send.start_txn {
            let via = view::View::parse(&call.sent).and_then(|view| view.branch());
            let branch = via.unwrap_or_default().to_vec().into_boxed_slice();
            call.branches[transaction] = branch;
        }
    }

    /// Appends the message of step `index` to the outbox's octets.
    fn write(&mut self, context: Context<'_>, call: &mut Call, index: usize) -> Result<(), RenderError> {
        let mut bytes = std::mem::take(&mut self.out.bytes);
        let result = self.render(context, call, &context.script.texts[index], index, &mut bytes);
        self.out.bytes = bytes;
        result
    }

    /// Queues what stands in the outbox's octets from `start`.
    fn dispatch(&mut self, context: Context<'_>, call: &Call, start: usize) {
        let Some(to) = call.remote else { return };
        let range = start..self.out.bytes.len();
        self.traces.sent(context.now, context.plan.settings.transport, &self.out.bytes[range.clone()]);
        self.out.messages.push(Outgoing { range, to, socket: call.socket, slot: context.slot });
    }

    /// Queues octets that are ready.
    pub(super) fn dispatch_bytes(&mut self, context: Context<'_>, call: &Call, bytes: &[u8]) {
        let start = self.out.bytes.len();
        self.out.bytes.extend_from_slice(bytes);
        self.dispatch(context, call, start);
    }

    /// Sends a message that no scenario has.
    pub(super) fn send_standard(&mut self, context: Context<'_>, call: &mut Call, text: &super::bind::Bound) {
        let mut bytes = Vec::new();
        let index = call.step;
        if self.render(context, call, text, index, &mut bytes).is_ok() {
            self.dispatch_bytes(context, call, &bytes);
        }
    }

    /// Whether this message is one of those that are to be lost.
    pub(super) fn is_lost(&mut self, context: Context<'_>, step: &Step) -> bool {
        let ppm = step.lost_ppm.unwrap_or(context.plan.settings.lost_ppm);
        ppm > 0 && self.random.chance_ppm(ppm)
    }

    fn send_command(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        step: &Step,
        dest: Option<String>,
    ) -> Option<Flow> {
        let mut text = Vec::new();
        let index = call.step;
        if self.render(context, call, &context.script.texts[index], index, &mut text).is_err() {
            return Some(Flow::End(Outcome::Failed(Counter::FailedCommandNotSent)));
        }
        self.stats.step(call.out_of_call, index, |counts| counts.done += 1);
        self.out.requests.push(Request::Command { dest, text });
        self.passed(context, call, step)
    }

    /// Begins a pause. `None`: it is over already.
    fn pause(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        length: &Length,
        is_timewait: bool,
    ) -> Option<Flow> {
        // A pause is counted at its end, a <timewait> when it begins: as SIPp does.
        if is_timewait {
            self.stats.step(call.out_of_call, call.step, |counts| counts.done += 1);
        }
        let ms = match *length {
            Length::Default => context.plan.settings.pause_ms as f64,
            Length::Fixed(ms) => ms,
            Length::Variable(id) => self.value(context.script, call, id).number().unwrap_or(0.0),
            Length::Drawn(distribution) => distribution.draw(&mut self.random),
        };
        if is_timewait && !call.in_timewait {
            self.succeed(context.now, call);
            call.in_timewait = true;
        }
        if ms < 1.0 {
            if !is_timewait {
                self.stats.step(call.out_of_call, call.step, |counts| counts.done += 1);
            }
            return None;
        }
        call.waiting = Waiting::Pause;
        call.wake_at = Some(context.now.millis().saturating_add(ms.min(PAUSE_MS_MAX) as u64));
        Some(Flow::Wait)
    }

    /// A pause is over.
    pub(super) fn pause_ended(&mut self, context: Context<'_>, call: &mut Call) -> Flow {
        if let Some(step) = context.script.scenario.steps.get(call.step)
            && let StepKind::Pause { is_timewait, .. } = step.kind
        {
            if !is_timewait {
                self.stats.step(call.out_of_call, call.step, |counts| counts.done += 1);
            }
            if let Some(flow) = self.passed(context, call, step) {
                return flow;
            }
        }
        self.go_on(context, call)
    }

    /// What a `<recv>` waited for did not come in time.
    pub(super) fn timed_out(&mut self, context: Context<'_>, call: &mut Call) -> Flow {
        let index = call.step;
        self.stats.step(call.out_of_call, index, |counts| counts.timeouts += 1);
        let Some(StepKind::Recv(recv)) = context.script.scenario.steps.get(index).map(|step| &step.kind)
        else {
            return self.go_on(context, call);
        };
        if let Some(to) = recv.on_timeout {
            call.step = to;
            return self.go_on(context, call);
        }
        self.traces.error(context.now, || {
            format!(
                "Call-Id: {}, receive timeout on message {}:{index} without label to jump to (ontimeout attribute): aborting call",
                String::from_utf8_lossy(&call.id),
                context.script.scenario.name,
            )
        });
        if context.plan.settings.behaviours.bye {
            self.end_dialog(context, call);
        }
        Flow::End(Outcome::Failed(Counter::FailedTimeoutOnRecv))
    }

    /// Repeats the last message, or gives the call up after too many.
    pub(super) fn repeat(&mut self, context: Context<'_>, call: &mut Call) -> Flow {
        let Some(mut repeat) = call.repeat else { return Flow::Wait };
        let repeating = context.plan.settings.repeating;
        let is_invite = call.sent.starts_with(b"INVITE");
        let max = if is_invite { repeating.invite_max } else { repeating.other_max };
        let index = call.sent_step.unwrap_or(call.step);
        repeat.count += 1;
        if repeat.count > max {
            call.repeat = None;
            return self.not_answered(context, call, index);
        }
        self.stats.step(call.out_of_call, index, |counts| counts.repeated += 1);
        self.stats.add(Counter::Retransmissions, 1);
        let sent = std::mem::take(&mut call.sent);
        self.dispatch_bytes(context, call, &sent);
        call.sent = sent;
        repeat.interval *= 2;
        if !is_invite {
            repeat.interval = repeat.interval.min(repeating.t2_ms);
        }
        repeat.at = context.now.millis() + repeat.interval;
        call.repeat = Some(repeat);
        Flow::Wait
    }

    fn not_answered(&mut self, context: Context<'_>, call: &mut Call, index: usize) -> Flow {
        self.stats.step(call.out_of_call, index, |counts| counts.timeouts += 1);
        if let Some(StepKind::Send(send)) = context.script.scenario.steps.get(index).map(|step| &step.kind)
            && let Some(to) = send.on_timeout
        {
            call.step = to;
            call.wake_at = None;
            return self.go_on(context, call);
        }
        self.traces.error(context.now, || {
            let id = String::from_utf8_lossy(&call.id);
            format!("Aborting call on UDP retransmission timeout for Call-ID '{id}'")
        });
        if call.in_timewait {
            return Flow::End(Outcome::Succeeded);
        }
        if context.plan.settings.behaviours.bye {
            self.end_dialog(context, call);
        }
        Flow::End(Outcome::Failed(Counter::FailedMaxRetransmissions))
    }

    /// Sends what answered the repetition of a request or response, once more.
    pub(super) fn answer_again(&mut self, context: Context<'_>, call: &mut Call, index: usize) {
        self.stats.step(call.out_of_call, index, |counts| counts.repeated += 1);
        self.stats.add(Counter::Retransmissions, 1);
        if call.sent_step == Some(index) {
            let sent = std::mem::take(&mut call.sent);
            self.dispatch_bytes(context, call, &sent);
            call.sent = sent;
            return;
        }
        let start = self.out.bytes.len();
        match self.write(context, call, index) {
            Ok(()) => self.dispatch(context, call, start),
            Err(_) => self.out.bytes.truncate(start),
        }
    }

    /// Does the steps of `<init>`.
    pub(super) fn initialise(&mut self, context: Context<'_>, call: &mut Call) {
        let steps = &context.script.scenario.init;
        for _ in 0..STEPS_PER_TURN {
            let Some(step) = steps.get(call.step) else { return };
            let skipped = step.condition.is_some_and(|condition| {
                self.value(context.script, call, condition.variable).is_set() == condition.inverse
            });
            if skipped {
                call.step += 1;
            } else if self.passed(context, call, step).is_some() {
                return;
            }
        }
    }
}

/// Longest pause, ms: a year. A distribution with a long tail may draw anything.
const PAUSE_MS_MAX: f64 = 365.0 * 86_400_000.0;

fn is_response(step: &Step) -> bool {
    matches!(&step.kind, StepKind::Send(send) if send.method.is_none())
}

/// Whether a message is one that was just received.
pub(super) fn is_same(seen: Option<Seen>, hash: u64) -> bool {
    seen.is_some_and(|seen| seen.hash == hash)
}

/// A variable's text for logs.
pub(super) fn shown(value: &Value) -> String {
    String::from_utf8_lossy(&value.text()).into_owned()
}

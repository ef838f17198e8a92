//! A shard: the calls that one worker owns.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use offhook_base::Random;

use super::{
    outbox::{Outbox, Request, SocketId},
    plan::{Now, Plan, Script},
    state::{Call, Waiting},
    trace::Traces,
    value::Value,
    view::{self, View},
    wheel::{Entry, Wheel},
};
use crate::{
    media,
    scenario::variables::{Scope, VariableId},
    stats::{Counter, Stats},
};

/// Finished calls whose memory is kept for later ones.
const SPARE_CALLS_MAX: usize = 4096;

/// Calls that ended lately and whose stragglers are known for what they are. More than are kept at 30,000 calls a
/// second; the oldest is forgotten first.
const DEAD_CALLS_MAX: usize = 1 << 20;

/// Where and as what a call starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its number in the run, from 1.
    pub number: u64,
    /// The socket it sends from.
    pub socket: SocketId,
    /// Whether it is the only one that does.
    pub owns_socket: bool,
    /// The port of that socket, for `[local_port]`.
    pub local_port: u16,
    /// Its user (`-users`), from 1.
    pub user: Option<u32>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed(Counter),
}

/// What a call does after a step of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Waits for a message or a deadline.
    Wait,
    /// Is over.
    End(Outcome),
}

/// What work on a call needs besides the call.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) plan: &'a Plan,
    pub(super) script: &'a Script,
    pub(super) now: Now,
    pub(super) slot: u32,
}

/// The calls of one worker.
#[derive(Debug)]
pub struct Shard {
    plan: Arc<Plan>,
    core: Core,
}

/// Everything of a shard that changes.
#[derive(Debug)]
pub(super) struct Core {
    calls: Vec<Option<Box<Call>>>,
    free: Vec<u32>,
    #[expect(clippy::vec_box, reason = "a call moves in and out of its box as a pointer")]
    spare: Vec<Box<Call>>,
    index: HashMap<u64, u32, BuildHasherDefault<Same>>,
    dead: HashMap<u64, u64, BuildHasherDefault<Same>>,
    dead_order: VecDeque<(u64, u64)>,
    wheel: Wheel,
    /// Numbers of calls, counted for all shards.
    numbers: Arc<AtomicU64>,
    pub(super) random: Random,
    pub(super) stats: Stats,
    pub(super) traces: Traces,
    pub(super) out: Outbox,
    pub(super) dynamic: u64,
    pub(super) globals: Vec<Value>,
    pub(super) users: HashMap<u32, Vec<Value>>,
    pub(super) injections: Vec<crate::inject::Cursor>,
    /// The socket of calls by the line they have of the first injection file (`-t ui`).
    line_sockets: Vec<SocketId>,
    /// Where calls have the ports of their streams from; none if there is no media.
    pub(super) ports: Option<Arc<dyn media::MediaPorts>>,
    /// The same for `[auto_media_port]`.
    pub(super) auto_ports: Option<Arc<dyn media::MediaPorts>>,
    /// Calls of ours that are over.
    outgoing_over: u64,
    /// Calls that may begin in all, here and in other shards.
    calls_max: Option<u64>,
    /// Being ended: what comes in begins no call.
    closing: bool,
}

impl Shard {
    /// A shard without calls. `numbers` counts the calls of all shards together.
    pub fn new(plan: Arc<Plan>, seed: [u8; 32], traces: Traces, numbers: Arc<AtomicU64>, now: Now) -> Self {
        let scenario = &plan.main.scenario;
        let mut globals = vec![Value::Unset; scenario.variables.len()];
        for (name, value) in &plan.settings.presets {
            if let Some(id) = scenario.variables.find(name) {
                globals[usize::from(id.0)] = Value::Text(value.as_bytes().into());
            }
        }
        let core = Core {
            calls: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            index: HashMap::default(),
            dead: HashMap::default(),
            dead_order: VecDeque::new(),
            wheel: Wheel::new(now.millis()),
            numbers,
            random: Random::from_seed(seed),
            stats: Stats::of(scenario),
            traces,
            out: Outbox::default(),
            dynamic: plan.settings.dynamic.0,
            globals,
            users: HashMap::new(),
            injections: plan.injections.iter().map(crate::inject::Cursor::new).collect(),
            line_sockets: Vec::new(),
            ports: None,
            auto_ports: None,
            outgoing_over: 0,
            calls_max: None,
            closing: false,
        };
        Self { plan, core }
    }

    /// Does what `<init>` says. Call it once, before the first call.
    pub fn initialise(&mut self, now: Now) {
        let plan = &*self.plan;
        let context = Context { plan, script: &plan.main, now, slot: u32::MAX };
        let mut call = Call::default();
        call.renew(0, plan.main.scenario.variables.len(), 0, 0);
        self.core.initialise(context, &mut call);
    }

    /// Starts a call of ours.
    pub fn start_call(&mut self, now: Now, start: Start) {
        let plan = &*self.plan;
        self.core.stats.add(Counter::OutgoingCalls, 1);
        let mut call = self.core.new_call(&plan.main, start.number);
        call.socket = start.socket;
        call.owns_socket = start.owns_socket;
        call.local_port = start.local_port;
        call.remote = plan.settings.remote;
        call.user = start.user;
        call.cseq = plan.settings.base_cseq;
        write_call_id(&mut call.id, plan, start.number);
        self.core.choose_lines(&mut call);
        let of_line = call.lines.first().and_then(|line| self.core.line_sockets.get(*line as usize));
        call.socket = of_line.copied().unwrap_or(call.socket);
        self.core.enter(plan, now, call);
    }

    /// Takes a message that came from `from` to `socket`.
    pub fn handle_message(&mut self, now: Now, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        let plan = &*self.plan;
        let Some(view) = View::parse(bytes) else {
            if !bytes.trim_ascii().is_empty() {
                self.core.stats.add(Counter::OutOfCallMessages, 1);
                self.core.traces.error(now, || "Discarding a message that is no SIP message".into());
            }
            return;
        };
        self.core.traces.received(now, plan.settings.transport, &view);
        let (key, id) = key_of(plan, view.call_id);
        match self.core.take(key, id) {
            Some((slot, mut call)) => {
                let script = plan.script(call.out_of_call);
                let context = Context { plan, script, now, slot };
                if call.is_incoming {
                    // Answers go back where the last request came from.
                    call.socket = if call.owns_socket { call.socket } else { socket };
                    call.remote = Some(from);
                }
                let flow = self.core.receive(context, &mut call, &view);
                self.core.settle(plan, now, slot, call, flow);
            }
            None => self.core.receive_unknown(plan, now, socket, from, &view, key),
        }
    }

    /// Takes a command of another instance (3PCC).
    pub fn handle_command(&mut self, now: Now, text: &[u8]) {
        let plan = &*self.plan;
        let Some(id) = super::receive::command_call_id(text) else {
            self.core.traces.error(now, || "Discarding a command without Call-ID".into());
            return;
        };
        let (key, id) = key_of(plan, id);
        let (slot, mut call, is_new) = match self.core.take(key, id) {
            Some((slot, call)) => (slot, call, false),
            None if plan.main.scenario.is_commanded() && !self.core.closing => {
                let number = self.core.numbers.fetch_add(1, Ordering::Relaxed) + 1;
                self.core.stats.add(Counter::OutgoingCalls, 1);
                let mut call = self.core.new_call(&plan.main, number);
                call.id.extend_from_slice(id);
                call.local_port = plan.settings.local_port;
                call.remote = plan.settings.remote;
                call.cseq = plan.settings.base_cseq;
                self.core.choose_lines(&mut call);
                (self.core.place(&call), call, true)
            }
            None => {
                self.core.traces.error(now, || "Discarding a command of no known call".into());
                return;
            }
        };
        let context = Context { plan, script: &plan.main, now, slot };
        let flow = if is_new { self.core.go_on(context, &mut call) } else { Flow::Wait };
        let flow = match flow {
            Flow::Wait => self.core.receive_command(context, &mut call, text),
            end @ Flow::End(_) => end,
        };
        self.core.settle(plan, now, slot, call, flow);
    }

    /// Works on the calls whose deadlines have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let plan = &*self.plan;
        let millis = now.millis();
        while let Some(due) = self.core.wheel.take_due(millis) {
            for entry in &due {
                self.core.look_at(plan, now, *entry);
            }
            self.core.wheel.recycle(due);
        }
        self.core.forget_dead(millis);
    }

    /// When [`Shard::handle_timeout`] has something to do, ms.
    pub fn next_deadline(&self) -> Option<u64> {
        self.core.wheel.next()
    }

    /// The peer closed a connection: calls on it cannot go on. Returns how many there were.
    pub fn connection_closed(&mut self, now: Now, socket: SocketId) -> usize {
        let on_it = |call: &Call| call.socket == socket;
        self.fail_where(now, on_it, Counter::FailedTcpClosed)
    }

    /// The socket or connection of calls could not be opened.
    pub fn connection_failed(&mut self, now: Now, socket: SocketId) -> usize {
        let on_it = |call: &Call| call.socket == socket;
        self.fail_where(now, on_it, Counter::FailedTcpConnect)
    }

    fn fail_where(&mut self, now: Now, wanted: impl Fn(&Call) -> bool, reason: Counter) -> usize {
        let plan = &*self.plan;
        let mut count = 0;
        for slot in 0..self.core.calls.len() as u32 {
            let matches = self.core.calls[slot as usize].as_deref().is_some_and(&wanted);
            if let Some(call) = matches.then(|| self.core.calls[slot as usize].take()).flatten() {
                let outcome = if call.in_timewait { Outcome::Succeeded } else { Outcome::Failed(reason) };
                self.core.settle(plan, now, slot, call, Flow::End(outcome));
                count += 1;
            }
        }
        count
    }

    /// A message of the call at `slot` could not be sent.
    pub fn send_failed(&mut self, now: Now, slot: u32) {
        let plan = &*self.plan;
        if let Some(call) = self.core.calls.get_mut(slot as usize).and_then(Option::take) {
            self.core.traces.error(now, || "A message cannot be sent: aborting the call".into());
            self.core.settle(plan, now, slot, call, Flow::End(Outcome::Failed(Counter::FailedCannotSend)));
        }
    }

    /// No new calls; `abort` ends those that run, with BYE or CANCEL where one is due. They count as failed.
    pub fn close(&mut self, now: Now, abort: bool) {
        self.core.closing = true;
        if !abort {
            return;
        }
        let plan = &*self.plan;
        for slot in 0..self.core.calls.len() as u32 {
            let Some(mut call) = self.core.calls[slot as usize].take() else { continue };
            let outcome = if call.in_timewait {
                Outcome::Succeeded
            } else {
                let context = Context { plan, script: plan.script(call.out_of_call), now, slot };
                self.core.hang_up(context, &mut call);
                Outcome::Failed(Counter::FailedCallRejected)
            };
            self.core.settle(plan, now, slot, call, Flow::End(outcome));
        }
    }

    /// Calls that are not over, those in `<timewait>` included.
    pub fn calls(&self) -> usize {
        self.core.calls.len() - self.core.free.len()
    }

    /// What it wants sent and done.
    pub fn out(&mut self) -> &mut Outbox {
        &mut self.core.out
    }

    /// What it counted.
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Calls of ours that are over, those in `<timewait>` included.
    pub fn outgoing_over(&self) -> u64 {
        self.core.outgoing_over
    }

    /// No more than so many calls may come in (`-m`), here and in other shards together.
    pub fn set_calls_max(&mut self, calls_max: Option<u64>) {
        self.core.calls_max = calls_max;
    }

    /// Calls with a line of the first injection file send from these sockets, one for each line.
    pub fn set_line_sockets(&mut self, sockets: Vec<SocketId>) {
        self.core.line_sockets = sockets;
    }

    /// Calls have the ports of their streams from here, and those of `[auto_media_port]`.
    pub fn set_media_ports(&mut self, ports: Arc<dyn media::MediaPorts>, auto: Arc<dyn media::MediaPorts>) {
        (self.core.ports, self.core.auto_ports) = (Some(ports), Some(auto));
    }

    /// The connection `from` is gone, and its calls go on over `to`.
    pub fn move_calls(&mut self, from: SocketId, to: SocketId) {
        for call in self.core.calls.iter_mut().flatten().filter(|call| call.socket == from) {
            call.socket = to;
        }
    }

    /// For what only the driver can count.
    pub fn count(&mut self, counter: Counter, amount: u64) {
        self.core.stats.add(counter, amount);
    }

    /// What went wrong with a connection, for the error file and the screen.
    pub fn note(&mut self, now: Now, what: String) {
        self.core.stats.add(Counter::Warnings, 1);
        self.core.traces.error(now, || what);
    }

    /// Lines for the log files.
    pub fn traces(&mut self) -> &mut Traces {
        &mut self.core.traces
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
}

impl Core {
    /// A new call in recycled memory; not yet in the tables.
    pub(super) fn new_call(&mut self, script: &Script, number: u64) -> Box<Call> {
        let mut call = self.spare.pop().unwrap_or_default();
        let scenario = &script.scenario;
        call.renew(number, scenario.variables.len(), scenario.rtds.len(), scenario.transactions.len());
        call
    }

    /// Gives a call its place in the tables.
    pub(super) fn place(&mut self, call: &Call) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() as u32 - 1
        });
        self.index.insert(view::hash(&call.id), slot);
        slot
    }

    /// Gives a call its place and starts its scenario.
    pub(super) fn enter(&mut self, plan: &Plan, now: Now, mut call: Box<Call>) {
        let slot = self.place(&call);
        call.started_nanos = now.instant.as_nanos();
        self.stats.began(now.millis());
        let context = Context { plan, script: plan.script(call.out_of_call), now, slot };
        let flow = self.go_on(context, &mut call);
        self.settle(plan, now, slot, call, flow);
    }

    /// The call with that Call-ID, taken out of its place for work on it.
    fn take(&mut self, key: u64, id: &[u8]) -> Option<(u32, Box<Call>)> {
        let slot = *self.index.get(&key)?;
        let place = self.calls.get_mut(slot as usize)?;
        if place.as_ref().is_some_and(|call| call.id == id) {
            place.take().map(|call| (slot, call))
        } else {
            None
        }
    }

    /// A request that belongs to no call: the start of one, or a stray.
    fn receive_unknown(
        &mut self,
        plan: &Plan,
        now: Now,
        socket: SocketId,
        from: SocketAddr,
        view: &View<'_>,
        key: u64,
    ) {
        if self.dead.contains_key(&key) {
            self.stats.add(Counter::DeadCallMessages, 1);
            return;
        }
        let is_request = matches!(view.start, view::Start::Request(_));
        let is_server = plan.main.scenario.is_server();
        let out_of_call = !is_server && plan.out_of_call.is_some() && is_request;
        let may_begin = !self.closing && (is_server || out_of_call);
        let Some(number) = may_begin.then(|| self.next_number(out_of_call)).flatten() else {
            return self.receive_stray(plan, now, socket, from, view);
        };
        if out_of_call {
            self.stats.add(Counter::OutOfCallMessages, 1);
        } else {
            self.stats.add(Counter::IncomingCalls, 1);
        }
        let mut call = self.new_call(plan.script(out_of_call), number);
        let (_, id) = key_of(plan, view.call_id);
        call.id.extend_from_slice(id);
        call.out_of_call = out_of_call;
        call.is_incoming = true;
        call.socket = socket;
        call.remote = Some(from);
        call.local_port = plan.settings.local_port;
        call.cseq = plan.settings.base_cseq;
        call.started_nanos = now.instant.as_nanos();
        self.choose_lines(&mut call);
        let slot = self.place(&call);
        self.stats.began(now.millis());
        let context = Context { plan, script: plan.script(out_of_call), now, slot };
        let flow = match self.go_on(context, &mut call) {
            Flow::Wait => self.receive(context, &mut call, view),
            end @ Flow::End(_) => end,
        };
        self.settle(plan, now, slot, call, flow);
    }

    /// The number of a call that comes in; `None`: there have been enough.
    fn next_number(&self, out_of_call: bool) -> Option<u64> {
        let max = self.calls_max.filter(|_| !out_of_call).unwrap_or(u64::MAX);
        let count = |number: u64| (number < max).then_some(number + 1);
        self.numbers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).ok().map(|before| before + 1)
    }

    /// Draws the call's lines of the injection files.
    fn choose_lines(&mut self, call: &mut Call) {
        for cursor in &self.injections {
            call.lines.push(cursor.next(&mut self.random, call.user));
        }
    }

    /// Puts a call back into its place, or ends it.
    pub(super) fn settle(&mut self, plan: &Plan, now: Now, slot: u32, mut call: Box<Call>, flow: Flow) {
        match flow {
            Flow::Wait => {
                if let Some(at) = call.deadline()
                    && call.wheel_at.is_none_or(|wheel_at| wheel_at > at)
                {
                    let entry = Entry { slot, generation: call.generation };
                    call.wheel_at = Some(self.wheel.insert(at, entry));
                }
                self.calls[slot as usize] = Some(call);
            }
            Flow::End(outcome) => self.end(plan, now, slot, call, outcome),
        }
    }

    fn end(&mut self, plan: &Plan, now: Now, slot: u32, call: Box<Call>, outcome: Outcome) {
        match outcome {
            // Counted when its <timewait> began.
            Outcome::Succeeded if call.in_timewait => {}
            Outcome::Succeeded => self.succeed(now, &call),
            Outcome::Failed(reason) => {
                self.stats.add(Counter::FailedCalls, 1);
                self.stats.add(reason, 1);
                self.stats.ended();
                self.outgoing_over += u64::from(!call.is_incoming);
            }
        }
        let key = view::hash(&call.id);
        self.index.remove(&key);
        if plan.settings.dead_call_ms > 0 && !call.out_of_call {
            if self.dead.len() >= DEAD_CALLS_MAX
                && let Some((_, oldest)) = self.dead_order.pop_front()
            {
                self.dead.remove(&oldest);
            }
            let until = now.millis() + plan.settings.dead_call_ms;
            self.dead.insert(key, until);
            self.dead_order.push_back((until, key));
        }
        if call.owns_socket {
            self.out.requests.push(Request::Close(call.socket));
        }
        if call.media.as_ref().is_some_and(|media| media.is_known) {
            self.out.requests.push(Request::Media { call: call.number, command: media::Command::End });
        }
        if let Some(user) = call.user {
            self.out.requests.push(Request::UserFree(user));
        }
        self.free.push(slot);
        if self.spare.len() < SPARE_CALLS_MAX {
            self.spare.push(call);
        }
    }

    /// Counts a call that went as its scenario says.
    pub(super) fn succeed(&mut self, now: Now, call: &Call) {
        self.stats.add(Counter::SuccessfulCalls, 1);
        self.stats.ended();
        self.outgoing_over += u64::from(!call.is_incoming);
        let nanos = now.instant.as_nanos().saturating_sub(call.started_nanos);
        self.stats.call_length.record(nanos / 1000);
    }

    fn forget_dead(&mut self, millis: u64) {
        while self.dead_order.front().is_some_and(|(until, _)| *until <= millis) {
            if let Some((_, key)) = self.dead_order.pop_front() {
                self.dead.remove(&key);
            }
        }
    }

    /// A deadline of a call came up, perhaps one that is no more.
    fn look_at(&mut self, plan: &Plan, now: Now, entry: Entry) {
        let Some(place) = self.calls.get_mut(entry.slot as usize) else { return };
        if place.as_ref().is_none_or(|call| call.generation != entry.generation) {
            return;
        }
        let Some(mut call) = place.take() else { return };
        call.wheel_at = None;
        let context = Context { plan, script: plan.script(call.out_of_call), now, slot: entry.slot };
        let millis = now.millis();
        let mut flow = Flow::Wait;
        if call.repeat.is_some_and(|repeat| repeat.at <= millis) {
            flow = self.repeat(context, &mut call);
        }
        if flow == Flow::Wait && call.wake_at.is_some_and(|at| at <= millis) {
            call.wake_at = None;
            flow = match call.waiting {
                Waiting::Message | Waiting::Command => self.timed_out(context, &mut call),
                Waiting::Pause | Waiting::Nothing => self.pause_ended(context, &mut call),
            };
        }
        self.settle(plan, now, entry.slot, call, flow);
    }

    /// The value of a variable, wherever its scope keeps it.
    pub(super) fn value<'a>(&'a self, script: &Script, call: &'a Call, id: VariableId) -> &'a Value {
        const UNSET: Value = Value::Unset;
        match script.scenario.variables.scope(id) {
            Scope::Call => call.variable(id),
            Scope::Global => self.globals.get(usize::from(id.0)).unwrap_or(&UNSET),
            Scope::User => {
                call.user.and_then(|user| self.users.get(&user)?.get(usize::from(id.0))).unwrap_or(&UNSET)
            }
        }
    }

    /// Sets a variable, wherever its scope keeps it.
    pub(super) fn set(&mut self, script: &Script, call: &mut Call, id: VariableId, value: Value) {
        let count = script.scenario.variables.len();
        let values = match script.scenario.variables.scope(id) {
            Scope::Call => &mut *call.variables,
            Scope::Global => &mut self.globals,
            Scope::User => {
                let user = call.user.unwrap_or(0);
                self.users.entry(user).or_insert_with(|| vec![Value::Unset; count])
            }
        };
        if let Some(place) = values.get_mut(usize::from(id.0)) {
            *place = value;
        }
    }
}

/// The key of a Call-ID in the tables, and what of it is compared: SIPp lets a scenario put text and `///` before it.
pub fn key_of<'a>(plan: &Plan, id: &'a [u8]) -> (u64, &'a [u8]) {
    let id = if plan.settings.call_id_slash {
        memchr::memmem::find(id, b"///").map_or(id, |at| &id[at + 3..])
    } else {
        id
    };
    (view::hash(id), id)
}

/// The key of the Call-ID that the call `number` of ours has.
pub fn call_key(plan: &Plan, number: u64) -> u64 {
    let mut id = Vec::with_capacity(64);
    write_call_id(&mut id, plan, number);
    key_of(plan, &id).0
}

/// Writes the Call-ID of the call `number` as `-cid_str` wants it.
fn write_call_id(into: &mut Vec<u8>, plan: &Plan, number: u64) {
    let settings = &plan.settings;
    let mut letters = settings.call_id_format.bytes();
    while let Some(letter) = letters.next() {
        match letter {
            b'%' => match letters.next() {
                Some(b'u') => super::render::decimal(into, number),
                Some(b'p') => super::render::decimal(into, u64::from(settings.pid)),
                Some(b's') => into.extend_from_slice(settings.local_ip.to_string().as_bytes()),
                Some(other) => into.push(other),
                None => into.push(b'%'),
            },
            other => into.push(other),
        }
    }
}

/// Keys are hashes already.
#[derive(Default, Debug)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = view::hash(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

//! The registrar: which contacts each line has (RFC 3261 §10.3), with Path (RFC 3327), outbound (RFC 5626), GRUU
//! (RFC 5627) and push (RFC 8599).
//!
//! A REGISTER is read and checked whole before anything changes, so it happens entirely or not at all. Every change
//! leaves a fact; the store keeps bindings by these facts and gives them back at the next start.

mod answer;
mod binding;
mod book;
mod fault;
mod gruu;
mod request;
mod stored;
mod target;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{DataSubject, Instant, Moment, Personal};
use offhook_sip::{
    message::{Request, StatusCode},
    transport::{ConnectionId, Flow, Listener},
};

use self::{
    binding::Binding,
    book::Book,
    fault::Fault,
    gruu::Mint,
    request::{Action, Change, Plan},
};
pub use self::{
    binding::BindingId,
    stored::{Parts, StoredBinding, Terms},
    target::{Push, Target},
};
use crate::{
    directory::{Directory, Line, LineId},
    fact::{Fact, Refusal, UnboundReason},
    gate::Authenticated,
    summary::RegistrationSummary,
};

/// What a registrar grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// The shortest lifetime; a shorter wish is answered with 423. Whole seconds, 1..=3600 s, default 60 s. Shorter
    /// keeps more NATs open, for more work.
    pub expires_min: Duration,
    /// The lifetime of a contact that names none. Default 3600 s.
    pub expires_default: Duration,
    /// The longest lifetime; a longer wish gets this. Default 7200 s.
    pub expires_max: Duration,
    /// The pause after which a flow without keep-alive counts as dead: `Flow-Timer` (RFC 5626 §5.4). Default 120 s;
    /// `None` sends none.
    pub flow_timer: Option<Duration>,
    /// Push services that the node can wake, as phones name them (`apns`, `fcm`...). Contacts of others are kept all
    /// the same, but are not told that they may sleep (RFC 8599 §5.3). Default none.
    pub push_providers: Vec<Box<str>>,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            expires_min: Duration::from_secs(60),
            expires_default: Duration::from_secs(3600),
            expires_max: Duration::from_secs(7200),
            flow_timer: Some(Duration::from_secs(120)),
            push_providers: Vec::new(),
        }
    }
}

/// What became of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The response.
    pub response: Bytes,
    /// Its status.
    pub status: StatusCode,
    /// Why it was refused, for the counters.
    pub refusal: Option<Refusal>,
    /// Until when the source of the request has a valid registration, for [`offhook_edge::Edge::registered`].
    pub registered_until: Option<Instant>,
}

/// All contacts of all lines, in memory.
pub struct Registrar {
    config: RegistrarConfig,
    mint: Mint,
    book: Book,
}

impl Registrar {
    /// A registrar without contacts. Temporary GRUUs follow from `gruu_key`: keep it, and they outlive a restart.
    pub fn new(config: RegistrarConfig, gruu_key: &[u8; 32]) -> Self {
        Self { config, mint: Mint::new(gruu_key), book: Book::default() }
    }

    /// Takes a new configuration; bindings keep the lifetimes they were granted.
    pub fn set_config(&mut self, config: RegistrarConfig) {
        self.config = config;
    }

    /// Takes up the bindings of an earlier process, without facts. Those of a datagram socket that is still there live
    /// on as they were. Streams did not survive: contacts that came by one are kept, but can be reached only by a Path,
    /// an address of their own or a push, until the device registers anew. What has expired, what belongs to no enabled
    /// line and what no listener can reach is left out with a fact, so that the store forgets it.
    pub fn restore(
        &mut self,
        stored: impl IntoIterator<Item = Arc<StoredBinding>>,
        directory: &Directory,
        listeners: &[Listener],
        now: Moment,
    ) {
        for stored in stored {
            let enabled = directory.line_by_id(stored.line()).is_some_and(|line| line.enabled);
            let restored = match enabled {
                true => Binding::restored(self.book.new_id(), Arc::clone(&stored), listeners, now),
                false => Err(UnboundReason::LineGone),
            };
            match restored {
                Ok(binding) => {
                    self.book.put_silently(binding);
                }
                Err(why) => self.book.note_gone(&stored, why, now),
            }
        }
    }

    /// Carries out an authenticated REGISTER that came over `flow`, and writes the response with `buffer`.
    pub fn register(
        &mut self,
        request: &Request,
        who: &Authenticated,
        flow: &Flow,
        now: Moment,
        to_tag: &str,
        buffer: &mut BytesMut,
    ) -> Answered {
        self.book.expire(now);
        let line = who.line();
        let done = Plan::read(request, &self.config).and_then(|plan| {
            self.carry_out(&plan, line, flow, now)?;
            Ok(plan)
        });
        match done {
            Ok(plan) => {
                let from_here = |binding: &&Binding| binding.terms().flow.remote.ip() == flow.remote.ip();
                let living = self.living(line.id, now.instant).filter(from_here);
                let registered_until = living.map(|binding| binding.ends).max();
                let response = self.accept(request, &plan, line, now, to_tag, buffer);
                Answered { response, status: StatusCode::OK, refusal: None, registered_until }
            }
            Err(fault) => {
                let response = answer::refuse(request, &fault, to_tag, buffer);
                let (status, refusal) = (fault.status(), Some(fault.refusal()));
                Answered { response, status, refusal, registered_until: None }
            }
        }
    }

    /// The devices to ring for a call to `line`: groups by falling q, each to be tried at once. Empty: not registered.
    pub fn contacts(&self, line: LineId, now: Instant) -> Vec<Vec<Target>> {
        target::groups(self.living(line, now))
    }

    /// All flows of one device of `line`, the best first: to go on with when the first turns out to be dead
    /// (RFC 5626 §7), and for those that [`Registrar::contacts`] left out.
    pub fn flows(&self, line: LineId, instance: &str, now: Instant) -> Vec<Target> {
        let of_device = |binding: &&Binding| binding.is_of_device(instance);
        target::flows(self.living(line, now).filter(of_device))
    }

    /// The one device that a public GRUU of `line` means, by all of its flows (RFC 5627 §5.1). `gr` is the value of
    /// the Request-URI's parameter as received.
    pub fn public_gruu(&self, line: LineId, gr: &str, now: Instant) -> Vec<Target> {
        self.flows(line, &offhook_sip::uri::unescape(gr), now)
    }

    /// The line and the device that the user part of a temporary GRUU means (a Request-URI with `gr` without value);
    /// `None` if it is none of ours or its registration is over.
    pub fn temporary_gruu(&self, user: &str, now: Instant) -> Option<(LineId, Vec<Target>)> {
        let claimed = self.mint.open(user)?;
        let meant = self.living(claimed.line, now).filter(|binding| self.mint.means(&claimed, binding));
        Some((claimed.line, target::flows(meant))).filter(|(_, targets)| !targets.is_empty())
    }

    /// How many contacts `line` has.
    pub fn binding_count(&self, line: LineId, now: Instant) -> u16 {
        u16::try_from(self.living(line, now).count()).unwrap_or(u16::MAX)
    }

    /// How many contacts all lines have together.
    pub const fn len(&self) -> usize {
        self.book.len()
    }

    /// Whether nobody is registered.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All contacts that live, by line number, then in the order of registering.
    pub fn registrations(&self, directory: &Directory, now: Instant) -> Vec<RegistrationSummary> {
        let mut summaries = Vec::with_capacity(self.len());
        for line in self.book.lines().into_iter().filter_map(|id| directory.line_by_id(id)) {
            summaries.extend(self.living(line.id, now).map(|binding| summary(line, binding)));
        }
        summaries
    }

    /// A stream has closed: contacts whose flow it was are gone (RFC 5626 §4.4). Others stay registered, for they may
    /// be reached by their address, but no longer over the stream.
    pub fn connection_closed(&mut self, connection: ConnectionId, now: Moment) {
        for line in self.book.lines_of_stream(connection) {
            self.book.remove(line, UnboundReason::FlowFailed, now, |binding| {
                binding.is_outbound() && binding.flow().connection == Some(connection)
            });
            self.book.cut_stream(line, connection);
        }
    }

    /// The directory has changed: contacts of lines that are gone or disabled go too.
    pub fn directory_changed(&mut self, directory: &Directory, now: Moment) {
        for line in self.book.lines() {
            if !directory.line_by_id(line).is_some_and(|line| line.enabled) {
                self.book.remove(line, UnboundReason::LineGone, now, |_| true);
            }
        }
    }

    /// When [`Registrar::handle_timeout`] is due; `None` while nothing is registered.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.book.next_deadline()
    }

    /// Removes what has expired.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.book.expire(now);
    }

    /// The next fact. Call until `None` after everything that changes the registrar.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.book.poll_fact()
    }

    fn living(&self, line: LineId, now: Instant) -> impl Iterator<Item = &Binding> {
        self.book.bindings(line).iter().filter(move |binding| !binding.is_expired(now))
    }

    fn accept(
        &self,
        request: &Request,
        plan: &Plan<'_>,
        line: &Line,
        now: Moment,
        to_tag: &str,
        out: &mut BytesMut,
    ) -> Bytes {
        let changes = plan.changes();
        let granted = answer::Granted {
            line: line.id,
            bindings: self.book.bindings(line.id),
            mint: plan.wants_gruu.then_some(&self.mint),
            outbound: changes.iter().any(|change| change.reg_id > 0),
            flow_timer: self.config.flow_timer,
            path: &plan.path,
            push_provider: answer::confirmed_push(changes, &self.config),
        };
        answer::accept(request, &granted, now, to_tag, out)
    }

    /// Changes everything the plan names, or nothing.
    fn carry_out(&mut self, plan: &Plan<'_>, line: &Line, flow: &Flow, now: Moment) -> Result<(), Fault> {
        match &plan.action {
            Action::Query => Ok(()),
            Action::RemoveAll => {
                if self.book.bindings(line.id).iter().any(|binding| plan.is_overtaken_by(binding)) {
                    return Err(Fault::OutOfOrder);
                }
                self.book.remove(line.id, UnboundReason::Removed, now, |_| true);
                Ok(())
            }
            Action::Change(changes) => self.change(plan, changes, line, flow, now),
        }
    }

    fn change(
        &mut self,
        plan: &Plan<'_>,
        changes: &[Change<'_>],
        line: &Line,
        flow: &Flow,
        now: Moment,
    ) -> Result<(), Fault> {
        let steps = self.steps(plan, changes, line.id, flow, now)?;
        let bindings = self.book.bindings(line.id);
        let added = steps.iter().filter(|step| step.old.is_none() && step.new.is_some()).count();
        let removed = steps.iter().filter(|step| step.old.is_some() && step.new.is_none()).count();
        let excess = (bindings.len() + added).saturating_sub(removed + usize::from(line.bindings_max));
        let crowd = if added == 0 { Vec::new() } else { spare(bindings, &steps, changes, excess) };
        if added > 0 && crowd.len() < excess {
            return Err(Fault::LineFull { max: line.bindings_max });
        }
        if !crowd.is_empty() {
            self.book.remove(line.id, UnboundReason::Replaced, now, |binding| crowd.contains(&binding.id));
        }
        for Step { old, new } in steps {
            match (old, new) {
                (_, Some(new)) => self.book.put(new, now.utc),
                (Some(old), None) => {
                    self.book.remove(line.id, UnboundReason::Removed, now, |binding| binding.id == old);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// What each change comes down to.
    fn steps(
        &mut self,
        plan: &Plan<'_>,
        changes: &[Change<'_>],
        line: LineId,
        flow: &Flow,
        now: Moment,
    ) -> Result<Vec<Step>, Fault> {
        let mut steps = Vec::with_capacity(changes.len());
        for change in changes {
            let identity = change.identity();
            let known = self.book.bindings(line).iter().find(|binding| binding.is(&identity));
            if known.is_some_and(|binding| plan.is_overtaken_by(binding)) {
                return Err(Fault::OutOfOrder);
            }
            let old = known.map(|binding| (binding.id, binding.terms().registered));
            let new = match change.lifetime {
                None => None,
                Some(lifetime) => {
                    let id = old.map_or_else(|| self.book.new_id(), |(id, _)| id);
                    let registered = old.map_or(now.utc, |(_, registered)| registered);
                    let terms = Terms {
                        line,
                        flow: *flow,
                        expires: now.utc.saturating_add(lifetime),
                        registered,
                        cseq: plan.cseq,
                        reg_id: change.reg_id,
                        q_millis: change.q_millis(),
                    };
                    Some(Binding::new(id, Arc::new(bound(plan, change, terms)?), now))
                }
            };
            steps.push(Step { old: old.map(|(id, _)| id), new });
        }
        Ok(steps)
    }
}

/// A change that was checked: the binding it is about, and what takes its place.
struct Step {
    old: Option<BindingId>,
    new: Option<Binding>,
}

fn bound(plan: &Plan<'_>, change: &Change<'_>, terms: Terms) -> Result<StoredBinding, Fault> {
    let parts = Parts {
        contact: change.contact.uri(),
        params: &change.params(),
        call_id: plan.call_id,
        instance: &change.instance,
        user_agent: plan.user_agent,
        path: &plan.path,
    };
    StoredBinding::new(terms, &parts).ok_or(Fault::Malformed("a Contact is too long"))
}

/// Bindings that may go to make room for `excess` new ones: first those that nobody can reach any more, then those
/// that the same device left behind under another contact. A phone that comes back from a changed address does not
/// lock its own line that way.
fn spare(bindings: &[Binding], steps: &[Step], changes: &[Change<'_>], excess: usize) -> Vec<BindingId> {
    let untouched =
        || bindings.iter().filter(|binding| !steps.iter().any(|step| step.old == Some(binding.id)));
    let unreachable = untouched().filter(|binding| !binding.is_within_reach());
    let left_behind = untouched().filter(|binding| {
        binding.is_within_reach()
            && !binding.is_outbound()
            && changes
                .iter()
                .any(|change| !change.instance.is_empty() && binding.is_of_device(&change.instance))
    });
    unreachable.chain(left_behind).map(|binding| binding.id).take(excess).collect()
}

fn summary(line: &Line, binding: &Binding) -> RegistrationSummary {
    let personal = |text: String| Personal::new(text, DataSubject::Subscriber);
    RegistrationSummary {
        line: line.id,
        tenant: line.tenant.clone(),
        name: line.name.clone(),
        contact: personal(binding.contact().to_owned()),
        remote: personal(binding.terms().flow.remote.to_string()),
        transport: binding.terms().flow.transport.to_string().into(),
        user_agent: binding.user_agent().map(Box::from),
        expires: binding.terms().expires,
        q_millis: binding.terms().q_millis,
    }
}

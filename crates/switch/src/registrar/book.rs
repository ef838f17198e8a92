//! Where the bindings are kept, with their deadlines and streams: every change goes through here and leaves its fact.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use offhook_base::{Instant, Moment, UtcMillis};
use offhook_sip::transport::ConnectionId;

use super::binding::{Binding, BindingId};
use crate::{
    directory::LineId,
    fact::{Fact, UnboundReason, What},
};

/// All bindings. A binding takes about 200 bytes and its text, and about 150 for its places in the maps.
#[derive(Default)]
pub(super) struct Book {
    /// A line has an entry only while it has bindings; they stand in the order of registering.
    lines: HashMap<LineId, Vec<Binding>>,
    /// How many bindings all lines have together.
    count: usize,
    /// One entry per binding.
    deadlines: BTreeSet<(Instant, LineId, BindingId)>,
    /// One entry per stream and line that has a binding over it.
    streams: BTreeSet<(ConnectionId, LineId)>,
    last_id: u64,
    facts: VecDeque<Fact>,
}

impl Book {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// A number that no binding of this process had.
    pub(super) fn new_id(&mut self) -> BindingId {
        self.last_id += 1;
        BindingId(self.last_id)
    }

    /// The lines that have bindings, in order.
    pub(super) fn lines(&self) -> Vec<LineId> {
        let mut lines: Vec<LineId> = self.lines.keys().copied().collect();
        lines.sort_unstable();
        lines
    }

    pub(super) fn bindings(&self, line: LineId) -> &[Binding] {
        self.lines.get(&line).map_or(&[], Vec::as_slice)
    }

    /// Puts `binding` in, in the place of the one that has its id.
    pub(super) fn put(&mut self, line: LineId, binding: Binding, at: UtcMillis) {
        self.facts.push_back(Fact { at, what: What::Bound(Arc::new(binding.stored(line))) });
        self.put_silently(line, binding);
    }

    /// As [`Book::put`], for what the store knows already.
    pub(super) fn put_silently(&mut self, line: LineId, binding: Binding) {
        self.deadlines.insert((binding.ends, line, binding.id));
        if let Some(connection) = binding.flow.connection {
            self.streams.insert((connection, line));
        }
        let bindings = self.lines.entry(line).or_default();
        match bindings.iter_mut().find(|known| known.id == binding.id) {
            Some(known) => {
                let old = std::mem::replace(known, binding);
                if old.ends != known.ends {
                    self.deadlines.remove(&(old.ends, line, old.id));
                }
                self.forget_stream(line, old.flow.connection);
            }
            None => {
                // Most lines have one contact: room for four would be the larger half of the memory.
                bindings.reserve_exact(1);
                bindings.push(binding);
                self.count += 1;
            }
        }
    }

    /// Takes out what `doomed` says.
    pub(super) fn remove(
        &mut self,
        line: LineId,
        why: UnboundReason,
        now: Moment,
        mut doomed: impl FnMut(&Binding) -> bool,
    ) {
        let Some(bindings) = self.lines.get_mut(&line) else { return };
        let gone: Vec<Binding> = bindings.extract_if(.., |binding| doomed(binding)).collect();
        if bindings.is_empty() {
            self.lines.remove(&line);
        }
        self.count -= gone.len();
        for binding in gone {
            self.deadlines.remove(&(binding.ends, line, binding.id));
            self.forget_stream(line, binding.flow.connection);
            self.note_gone(line, binding.key().into(), why, now);
        }
    }

    /// Leaves a fact for a binding that was never put in.
    pub(super) fn note_gone(&mut self, line: LineId, key: Box<str>, why: UnboundReason, now: Moment) {
        self.facts.push_back(Fact { at: now.utc, what: What::Unbound { line, key, why } });
    }

    /// The lines that have a binding over this stream.
    pub(super) fn lines_of_stream(&self, connection: ConnectionId) -> Vec<LineId> {
        let all = (connection, LineId(0))..=(connection, LineId(u64::MAX));
        self.streams.range(all).map(|(_, line)| *line).collect()
    }

    /// Bindings of `line` over this stream no longer have it.
    pub(super) fn cut_stream(&mut self, line: LineId, connection: ConnectionId) {
        for binding in self.lines.get_mut(&line).into_iter().flatten() {
            if binding.flow.connection == Some(connection) {
                binding.flow.connection = None;
            }
        }
        self.streams.remove(&(connection, line));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// Takes out what has expired.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some(&(at, line, id)) = self.deadlines.first()
            && at <= now.instant
        {
            self.remove(line, UnboundReason::Expired, now, |binding| binding.id == id);
        }
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Drops the note of a stream if no binding of `line` has it any more.
    fn forget_stream(&mut self, line: LineId, connection: Option<ConnectionId>) {
        if let Some(connection) = connection
            && !self.bindings(line).iter().any(|binding| binding.flow.connection == Some(connection))
        {
            self.streams.remove(&(connection, line));
        }
    }
}

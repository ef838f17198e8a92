//! Where the bindings are kept, with their deadlines and streams: every change goes through here and leaves its fact.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use offhook_base::{Instant, Moment, UtcMillis};
use offhook_sip::transport::ConnectionId;
use rustc_hash::FxHashMap;

use super::{
    binding::{Binding, BindingId},
    stored::StoredBinding,
};
use crate::{
    directory::LineId,
    fact::{Fact, UnboundReason, What},
};

/// All bindings. A binding takes about 200 bytes and its text, and about 150 for its places in the maps.
#[derive(Default)]
pub(super) struct Book {
    /// A line has an entry only while it has bindings; they stand in the order of registering.
    lines: FxHashMap<LineId, Vec<Binding>>,
    /// How many bindings all lines have together.
    count: usize,
    /// One entry per binding: when it is looked at, which is at its end or before.
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
    pub(super) fn put(&mut self, binding: Binding, at: UtcMillis) {
        let stored = Arc::clone(binding.stored());
        let what = match self.put_silently(binding) {
            Some(old) if old.is_reached_as(&stored) => What::Refreshed(stored),
            _ => What::Bound(stored),
        };
        self.facts.push_back(Fact { at, what });
    }

    /// As [`Book::put`], for what the store knows already. What it took the place of.
    pub(super) fn put_silently(&mut self, mut binding: Binding) -> Option<Binding> {
        let line = binding.line();
        if let Some(connection) = binding.flow().connection {
            self.streams.insert((connection, line));
        }
        let bindings = self.lines.entry(line).or_default();
        let Some(known) = bindings.iter_mut().find(|known| known.id == binding.id) else {
            self.deadlines.insert((binding.looked_at, line, binding.id));
            // Most lines have one contact: room for four would be the larger half of the memory.
            bindings.reserve_exact(1);
            bindings.push(binding);
            self.count += 1;
            return None;
        };
        if known.looked_at <= binding.ends {
            // A refresh: it is looked at when it would have ended, and the entry moves then.
            binding.looked_at = known.looked_at;
        } else {
            self.deadlines.remove(&(known.looked_at, line, known.id));
            self.deadlines.insert((binding.looked_at, line, binding.id));
        }
        let old = std::mem::replace(known, binding);
        self.forget_stream(line, old.flow().connection);
        Some(old)
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
            self.deadlines.remove(&(binding.looked_at, line, binding.id));
            self.forget_stream(line, binding.flow().connection);
            self.note_gone(&binding, why, now);
        }
    }

    /// Leaves a fact for a binding that was never put in.
    pub(super) fn note_gone(&mut self, binding: &StoredBinding, why: UnboundReason, now: Moment) {
        let what = What::Unbound { line: binding.line(), key: binding.key().into(), why };
        self.facts.push_back(Fact { at: now.utc, what });
    }

    /// The lines that have a binding over this stream.
    pub(super) fn lines_of_stream(&self, connection: ConnectionId) -> Vec<LineId> {
        let all = (connection, LineId(0))..=(connection, LineId(u64::MAX));
        self.streams.range(all).map(|(_, line)| *line).collect()
    }

    /// Bindings of `line` over this stream no longer have it.
    pub(super) fn cut_stream(&mut self, line: LineId, connection: ConnectionId) {
        for binding in self.lines.get_mut(&line).into_iter().flatten() {
            if binding.flow().connection == Some(connection) {
                binding.is_cut = true;
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
            let mut bindings = self.lines.get_mut(&line).into_iter().flatten();
            match bindings.find(|binding| binding.id == id && !binding.is_expired(now.instant)) {
                Some(refreshed) => {
                    self.deadlines.remove(&(at, line, id));
                    refreshed.looked_at = refreshed.ends;
                    self.deadlines.insert((refreshed.ends, line, id));
                }
                None => self.remove(line, UnboundReason::Expired, now, |binding| binding.id == id),
            }
        }
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// Drops the note of a stream if no binding of `line` has it any more.
    fn forget_stream(&mut self, line: LineId, connection: Option<ConnectionId>) {
        if let Some(connection) = connection
            && !self.bindings(line).iter().any(|binding| binding.flow().connection == Some(connection))
        {
            self.streams.remove(&(connection, line));
        }
    }
}

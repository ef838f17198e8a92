//! Who is shut out for a while.

use std::time::Duration;

use offhook_base::Instant;

use crate::{
    limits::EdgeLimits,
    penalty::{Penalty, PenaltyRule},
    reason::BanReason,
    source::Source,
    table::SourceTable,
};

/// One ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) until: Instant,
    pub(crate) why: BanReason,
    pub(crate) is_proven: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    ban: Option<Ban>,
    penalty: Penalty,
}

/// The bans of one guard. The oldest makes room when there are too many.
#[derive(Debug)]
pub(crate) struct Bans {
    rule: PenaltyRule,
    table: SourceTable<Entry>,
}

impl Bans {
    pub(crate) fn new(limits: &EdgeLimits) -> Self {
        let rule = PenaltyRule { first: limits.penalty_first, max: limits.penalty_max };
        Self { rule, table: SourceTable::new(limits.noted_max) }
    }

    /// The running ban of `party`.
    pub(crate) fn get(&self, party: Source, now: Instant) -> Option<Ban> {
        if self.table.len() == 0 {
            return None;
        }
        self.table.peek(party).and_then(|entry| entry.ban).filter(|ban| now < ban.until)
    }

    /// How long `party` is banned yet.
    pub(crate) fn left(&self, party: Source, now: Instant) -> Option<Duration> {
        self.get(party, now).map(|ban| ban.until.saturating_since(now))
    }

    /// Whether an operator has banned `party`.
    pub(crate) fn by_operator(&self, party: Source, now: Instant) -> bool {
        self.get(party, now).is_some_and(|ban| ban.why == BanReason::Operator)
    }

    /// Bans `party`: ever longer if its address is proven, else for the shortest time. Also whether another was forgotten.
    pub(crate) fn begin(
        &mut self,
        party: Source,
        why: BanReason,
        is_proven: bool,
        now: Instant,
    ) -> (Ban, bool) {
        let rule = self.rule;
        let (entry, forgot) = self.table.touch(party);
        if is_proven {
            entry.penalty.begin(&rule, now);
        } else {
            entry.penalty.begin_for(rule.first, now);
        }
        let ban = Ban { until: entry.penalty.until(), why, is_proven };
        entry.ban = Some(ban);
        (ban, forgot)
    }

    /// Bans `party` until then, on proof.
    pub(crate) fn begin_until(
        &mut self,
        party: Source,
        why: BanReason,
        until: Instant,
        now: Instant,
    ) -> (Ban, bool) {
        let (entry, forgot) = self.table.touch(party);
        entry.penalty.begin_for(until.saturating_since(now), now);
        let ban = Ban { until, why, is_proven: true };
        entry.ban = Some(ban);
        (ban, forgot)
    }

    /// Ends the ban of `party`; whether it was banned.
    pub(crate) fn end(&mut self, party: Source, now: Instant) -> bool {
        let was = self.get(party, now).is_some();
        self.table.reset(party);
        was
    }

    /// All that run, the latest first.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = (Source, Ban)> {
        self.table
            .iter()
            .filter_map(move |(party, entry)| Some((party, entry.ban.filter(|ban| now < ban.until)?)))
    }
}

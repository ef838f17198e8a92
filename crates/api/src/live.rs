//! The live state of lines, looked up by number.

use std::collections::BTreeMap;

use offhook_switch::{directory::LineId, fact::LineState, summary::LineSummary};

/// What the node said of its lines.
#[derive(Default)]
pub(crate) struct Live(BTreeMap<LineId, LineSummary>);

impl Live {
    /// Sorts the node's answer. Workers answer apart, so that a line may be there more than once: counts add up, and
    /// the busiest state wins.
    pub(crate) fn of(summaries: Vec<LineSummary>) -> Self {
        let mut lines: BTreeMap<LineId, LineSummary> = BTreeMap::new();
        for summary in summaries {
            lines
                .entry(summary.line)
                .and_modify(|known| {
                    known.state = known.state.max(summary.state);
                    known.calls = known.calls.saturating_add(summary.calls);
                    known.bindings = known.bindings.saturating_add(summary.bindings);
                })
                .or_insert(summary);
        }
        Self(lines)
    }

    /// What is known of `line`; idle and not registered if nothing is.
    pub(crate) fn line(&self, line: LineId) -> LineSummary {
        let idle = LineSummary { line, state: LineState::Idle, calls: 0, bindings: 0 };
        self.0.get(&line).copied().unwrap_or(idle)
    }
}

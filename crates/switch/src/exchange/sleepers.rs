//! Which calls wait for a device of which line: a REGISTER finds them without a look at any other call.

use rustc_hash::FxHashMap;

use super::owners::CallKey;
use crate::directory::LineId;

/// The calls that wait for a device to wake up. A line has an entry only while one does.
#[derive(Debug, Default)]
pub struct Sleepers {
    by_line: FxHashMap<LineId, Vec<CallKey>>,
}

impl Sleepers {
    /// `call` waits for a device of `line`.
    pub fn wait(&mut self, line: LineId, call: CallKey) {
        let calls = self.by_line.entry(line).or_default();
        if !calls.contains(&call) {
            calls.push(call);
        }
    }

    /// It does so no more.
    pub fn leave(&mut self, line: LineId, call: CallKey) {
        if let Some(calls) = self.by_line.get_mut(&line) {
            calls.retain(|known| *known != call);
            if calls.is_empty() {
                self.by_line.remove(&line);
            }
        }
    }

    /// The calls that wait for a device of `line`, the longest waiting first.
    pub fn of(&self, line: LineId) -> &[CallKey] {
        self.by_line.get(&line).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_only_while_a_call_waits_for_it() {
        let mut sleepers = Sleepers::default();
        let [first, second] = [0, 1].map(|slot| CallKey { slot, generation: 0 });
        for call in [first, second, first] {
            sleepers.wait(LineId(7), call);
        }
        assert_eq!(sleepers.of(LineId(7)), [first, second]);
        assert_eq!(sleepers.of(LineId(8)), []);
        sleepers.leave(LineId(7), first);
        assert_eq!(sleepers.of(LineId(7)), [second]);
        sleepers.leave(LineId(7), second);
        sleepers.leave(LineId(7), second);
        assert!(sleepers.by_line.is_empty());
    }
}

//! The live state of lines: what busy-lamp fields, consoles and the limit of calls per line read.
//!
//! Call control tells of every leg that belongs to a line; the line's state is that of its busiest call. Lines without
//! a call take no memory.

use std::collections::VecDeque;

use offhook_base::UtcMillis;
use rustc_hash::FxHashMap;

use crate::{
    directory::{Line, LineId},
    fact::{Fact, LineState, What},
    record::CallId,
    summary::LineSummary,
};

/// What one leg means for its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegLineState {
    /// Its device put the call on hold.
    Held,
    /// Its device is being called.
    Ringing,
    /// Its device talks or places the call.
    Busy,
}

impl From<LegLineState> for LineState {
    fn from(state: LegLineState) -> Self {
        match state {
            LegLineState::Held => Self::Held,
            LegLineState::Ringing => Self::Ringing,
            LegLineState::Busy => Self::Busy,
        }
    }
}

/// The lines that are in calls.
#[derive(Debug, Default)]
pub struct Lines {
    /// A line has an entry only while it has legs.
    active: FxHashMap<LineId, Vec<Leg>>,
    facts: VecDeque<Fact>,
}

#[derive(Clone, Copy, Debug)]
struct Leg {
    call: CallId,
    number: u16,
    state: LegLineState,
}

impl Lines {
    /// Notes what leg number `leg` of `call` means for `line` from now on; `None` when the leg is over. A change of the
    /// line's state leaves a fact.
    pub fn call_state_changed(
        &mut self,
        line: LineId,
        call: CallId,
        leg: u16,
        state: Option<LegLineState>,
        at: UtcMillis,
    ) {
        let before = self.state(line);
        match state {
            Some(state) => self.set(line, Leg { call, number: leg, state }),
            None => self.remove(line, |other| other.call == call && other.number == leg),
        }
        self.tell(line, before, at);
    }

    /// Forgets every leg of `call`, when it is over: `line` by line, those that it has touched.
    pub fn call_ended(&mut self, line: LineId, call: CallId, at: UtcMillis) {
        let before = self.state(line);
        self.remove(line, |leg| leg.call == call);
        self.tell(line, before, at);
    }

    /// The state of `line`.
    pub fn state(&self, line: LineId) -> LineState {
        self.legs(line).iter().map(|leg| leg.state).max().map_or(LineState::Idle, LineState::from)
    }

    /// The calls `line` is in, however many of its devices each one rings.
    pub fn calls(&self, line: LineId) -> u16 {
        let legs = self.legs(line);
        let first_of_its_call =
            |(index, leg): &(usize, &Leg)| !legs[..*index].iter().any(|other| other.call == leg.call);
        u16::try_from(legs.iter().enumerate().filter(first_of_its_call).count()).unwrap_or(u16::MAX)
    }

    /// Whether `line` may have one more call ([`Line::calls_max`]).
    pub fn has_room(&self, line: &Line) -> bool {
        self.calls(line.id) < line.calls_max
    }

    /// `line` for the API; `bindings` comes from the registrar.
    pub fn summary(&self, line: LineId, bindings: u16) -> LineSummary {
        LineSummary { line, state: self.state(line), calls: self.calls(line), bindings }
    }

    /// The lines that are not idle, by number; `bindings` tells the contacts of each.
    pub fn summaries(&self, bindings: impl Fn(LineId) -> u16) -> Vec<LineSummary> {
        let mut lines: Vec<LineId> = self.active.keys().copied().collect();
        lines.sort_unstable();
        lines.into_iter().map(|line| self.summary(line, bindings(line))).collect()
    }

    /// The next fact. Call until `None` after everything that changes a line.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn legs(&self, line: LineId) -> &[Leg] {
        self.active.get(&line).map_or(&[], Vec::as_slice)
    }

    fn set(&mut self, line: LineId, leg: Leg) {
        let legs = self.active.entry(line).or_default();
        match legs.iter_mut().find(|known| known.call == leg.call && known.number == leg.number) {
            Some(known) => known.state = leg.state,
            None => legs.push(leg),
        }
    }

    fn remove(&mut self, line: LineId, over: impl Fn(&Leg) -> bool) {
        if let Some(legs) = self.active.get_mut(&line) {
            legs.retain(|leg| !over(leg));
            if legs.is_empty() {
                self.active.remove(&line);
            }
        }
    }

    fn tell(&mut self, line: LineId, before: LineState, at: UtcMillis) {
        let state = self.state(line);
        if state != before {
            self.facts.push_back(Fact { at, what: What::LineChanged { line, state } });
        }
    }
}

#[cfg(test)]
mod tests {
    use offhook_base::Random;

    use super::*;

    const ANNA: LineId = LineId(7);

    struct Stage {
        lines: Lines,
        random: Random,
    }

    impl Stage {
        fn new() -> Self {
            Self { lines: Lines::default(), random: Random::from_number(1) }
        }

        fn call(&mut self) -> CallId {
            CallId::new(UtcMillis(1), &mut self.random)
        }

        /// The states told since the last time.
        fn told(&mut self) -> Vec<LineState> {
            std::iter::from_fn(|| self.lines.poll_fact())
                .map(|fact| match fact.what {
                    What::LineChanged { line: ANNA, state } => state,
                    other => panic!("unexpected {other:?}"),
                })
                .collect()
        }

        fn leg(&mut self, call: CallId, leg: u16, state: Option<LegLineState>) {
            self.lines.call_state_changed(ANNA, call, leg, state, UtcMillis(1));
        }
    }

    #[test]
    fn a_line_follows_its_call_from_ringing_over_hold_to_idle() {
        let mut stage = Stage::new();
        let call = stage.call();
        assert_eq!(stage.lines.state(ANNA), LineState::Idle);
        for state in [LegLineState::Ringing, LegLineState::Busy, LegLineState::Held, LegLineState::Busy] {
            stage.leg(call, 1, Some(state));
            stage.leg(call, 1, Some(state));
        }
        stage.leg(call, 1, None);
        stage.leg(call, 1, None);
        let told = [LineState::Ringing, LineState::Busy, LineState::Held, LineState::Busy, LineState::Idle];
        assert_eq!(stage.told(), told);
        assert!(stage.lines.active.is_empty());
    }

    #[test]
    fn three_ringing_devices_are_one_call_and_the_answer_of_one_makes_the_line_busy() {
        let mut stage = Stage::new();
        let call = stage.call();
        for leg in 1..=3 {
            stage.leg(call, leg, Some(LegLineState::Ringing));
        }
        assert_eq!((stage.lines.calls(ANNA), stage.lines.state(ANNA)), (1, LineState::Ringing));
        stage.leg(call, 2, Some(LegLineState::Busy));
        stage.leg(call, 1, None);
        stage.leg(call, 3, None);
        assert_eq!(stage.told(), [LineState::Ringing, LineState::Busy]);
    }

    #[test]
    fn the_busiest_call_decides_and_held_needs_all_calls_on_hold() {
        let mut stage = Stage::new();
        let (one, two) = (stage.call(), stage.call());
        stage.leg(one, 0, Some(LegLineState::Held));
        stage.leg(two, 1, Some(LegLineState::Ringing));
        stage.leg(two, 1, Some(LegLineState::Held));
        stage.leg(one, 0, Some(LegLineState::Busy));
        assert_eq!(stage.told(), [LineState::Held, LineState::Ringing, LineState::Held, LineState::Busy]);
        assert_eq!(
            stage.lines.summaries(|_| 4),
            [LineSummary { line: ANNA, state: LineState::Busy, calls: 2, bindings: 4 }]
        );
        stage.lines.call_ended(ANNA, one, UtcMillis(2));
        stage.lines.call_ended(ANNA, two, UtcMillis(2));
        assert_eq!(stage.told(), [LineState::Held, LineState::Idle]);
    }

    #[test]
    fn a_line_has_room_until_its_calls_reach_its_limit() {
        let mut stage = Stage::new();
        let line = Line {
            id: ANNA,
            tenant: "default".into(),
            name: "anna".into(),
            display_name: None,
            user: None,
            enabled: true,
            password: crate::directory::PasswordHashes { md5: [b'0'; 32], sha256: [b'0'; 64] },
            may_call: crate::directory::CallPermission::Inside,
            bindings_max: 10,
            calls_max: 2,
            srtp: crate::directory::Srtp::Auto,
        };
        let (one, two) = (stage.call(), stage.call());
        stage.leg(one, 0, Some(LegLineState::Busy));
        // A call to oneself is one call.
        stage.leg(one, 1, Some(LegLineState::Ringing));
        assert!(stage.lines.has_room(&line));
        stage.leg(two, 1, Some(LegLineState::Ringing));
        assert!(!stage.lines.has_room(&line));
        stage.lines.call_ended(ANNA, one, UtcMillis(2));
        assert!(stage.lines.has_room(&line));
    }
}

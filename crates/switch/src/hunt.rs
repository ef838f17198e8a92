//! Whom to ring next, and what to tell the caller when nobody takes the call.
//!
//! Devices come in groups: within a group all ring at once, the groups one after the other by falling preference
//! (RFC 3261 §16.6 calls it a mixed search). Redirections join as a group of their own, right after the one that rings.

use std::collections::VecDeque;

use offhook_sip::message::StatusCode;

/// Targets that one call may try in all. Bounds forks and redirection loops.
pub const TARGETS_MAX: usize = 32;

/// The search. `T` is where a leg may go.
#[derive(Debug)]
pub struct Hunt<T> {
    groups: VecDeque<Vec<T>>,
    accepted: usize,
    best: Option<StatusCode>,
}

impl<T> Hunt<T> {
    /// A search through `groups`, best first. Targets past [`TARGETS_MAX`] are left out.
    pub fn new(groups: Vec<Vec<T>>) -> Self {
        let mut hunt = Self { groups: VecDeque::new(), accepted: 0, best: None };
        for group in groups {
            let group = hunt.take_within_bound(group);
            if !group.is_empty() {
                hunt.groups.push_back(group);
            }
        }
        hunt
    }

    /// Goes on with a search that another process has begun.
    pub fn resume(groups: Vec<Vec<T>>, accepted: usize, best: Option<StatusCode>) -> Self {
        Self { groups: groups.into(), accepted: accepted.min(TARGETS_MAX), best }
    }

    /// The groups that were not tried yet, best first.
    pub fn groups(&self) -> impl Iterator<Item = &[T]> {
        self.groups.iter().map(Vec::as_slice)
    }

    /// Targets taken up so far, those that were tried included.
    pub const fn accepted(&self) -> usize {
        self.accepted
    }

    /// The best refusal so far.
    pub const fn best(&self) -> Option<StatusCode> {
        self.best
    }

    /// The next group to ring, or `None` when all were tried.
    pub fn next_group(&mut self) -> Option<Vec<T>> {
        self.groups.pop_front()
    }

    /// Adds the targets of a redirection; returns how many were taken.
    pub fn redirect(&mut self, targets: Vec<T>) -> usize {
        let targets = self.take_within_bound(targets);
        let taken = targets.len();
        if taken > 0 {
            self.groups.push_front(targets);
        }
        taken
    }

    /// A target refused.
    pub fn refused(&mut self, status: StatusCode) {
        if self.best.is_none_or(|best| rank(status) < rank(best)) {
            self.best = Some(status);
        }
        if status.as_u16() >= 600 {
            // RFC 3261 §16.7 step 5: a 6xx speaks for the person, no other device shall ring.
            self.groups.clear();
        }
    }

    /// No other target can help.
    pub fn give_up(&mut self) {
        self.groups.clear();
    }

    /// Whether untried targets are left.
    pub fn has_more(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether any target has refused.
    pub const fn has_verdict(&self) -> bool {
        self.best.is_some()
    }

    /// What to answer the caller when the search has failed (RFC 3261 §16.7 step 6).
    pub fn verdict(&self) -> StatusCode {
        match self.best {
            // §16.7 step 6: a 503 would say that the node itself is out of service.
            Some(StatusCode::SERVICE_UNAVAILABLE) => StatusCode::SERVER_INTERNAL_ERROR,
            // Without the challenge or the contact of the device, which do not cross, these would be malformed
            // (RFC 3261 §20.27, §20.44, §21.3): the caller can neither prove itself there nor go there.
            Some(status) if matches!(status.as_u16(), 401 | 407) => StatusCode::FORBIDDEN,
            Some(status) if status.is_redirection() => StatusCode::TEMPORARILY_UNAVAILABLE,
            Some(status) => status,
            None => StatusCode::TEMPORARILY_UNAVAILABLE,
        }
    }

    fn take_within_bound(&mut self, mut targets: Vec<T>) -> Vec<T> {
        targets.truncate(TARGETS_MAX - self.accepted);
        self.accepted += targets.len();
        targets
    }
}

/// Lower is better news for the caller. A 6xx wins; then what says most about the person: busy before declined before
/// the responses that only say something of a device.
const fn rank(status: StatusCode) -> u16 {
    match status.as_u16() {
        code @ 600.. => code - 600,
        486 => 100,
        403 => 110,
        code @ (401 | 407 | 415 | 420 | 484 | 488) => 200 + (code - 400),
        480 => 350,
        408 => 360,
        400..500 => 300,
        code @ 300..400 => code + 200,
        code => code + 200,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> StatusCode {
        StatusCode::new(code).unwrap()
    }

    fn verdict_of(codes: &[u16]) -> u16 {
        let mut hunt = Hunt::new(vec![vec![(); codes.len()]]);
        for &code in codes {
            hunt.refused(status(code));
        }
        hunt.verdict().as_u16()
    }

    #[test]
    fn busy_says_more_than_a_time_out_and_decline_ends_the_search() {
        assert_eq!(verdict_of(&[408, 486]), 486);
        assert_eq!(verdict_of(&[404, 480]), 404);
        assert_eq!(verdict_of(&[503]), 500);
        assert_eq!(verdict_of(&[]), 480);
        // What says nothing without a header that does not cross is not passed on.
        assert_eq!(verdict_of(&[407]), 403);
        assert_eq!(verdict_of(&[401, 503]), 403);
        assert_eq!(verdict_of(&[302, 503]), 480);
        let mut hunt = Hunt::new(vec![vec![1], vec![2]]);
        assert_eq!(hunt.next_group(), Some(vec![1]));
        hunt.refused(status(603));
        assert_eq!(hunt.next_group(), None);
        assert_eq!(hunt.verdict().as_u16(), 603);
    }

    #[test]
    fn a_redirection_rings_before_the_less_preferred_groups_and_never_without_end() {
        let mut hunt = Hunt::new(vec![vec![1], vec![2]]);
        hunt.next_group();
        assert_eq!(hunt.redirect(vec![3]), 1);
        assert_eq!(hunt.next_group(), Some(vec![3]));
        assert_eq!(hunt.next_group(), Some(vec![2]));
        assert_eq!(hunt.redirect(vec![0; 100]), TARGETS_MAX - 3);
        assert_eq!(hunt.redirect(vec![0]), 0);
    }
}

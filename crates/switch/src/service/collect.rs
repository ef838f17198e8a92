//! Prompt and collect: something is said, and keys are gathered until there are enough of them.
//!
//! The clock of the first key runs from the end of the prompt, that of the others from the key before. A key during the
//! prompt ends it (barge-in), unless the rules say that it must be heard out; then keys before its end do not count.

use std::{fmt, time::Duration};

use offhook_base::Instant;

use crate::media::Key;

/// Keys that can be gathered at once: more than any number, account or PIN has.
pub const DIGITS_MAX: usize = 32;

/// How keys are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// So many are enough; 1..=[`DIGITS_MAX`].
    pub most: usize,
    /// This key ends the input, and does not belong to it.
    pub terminator: Option<Key>,
    /// How long the first key may take after the prompt.
    pub first: Duration,
    /// How long each further key may take.
    pub between: Duration,
    /// How long all may take after the prompt.
    pub total: Duration,
    /// A key ends the prompt.
    pub barge_in: bool,
}

/// Keys that were gathered. They print masked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Digits(String);

impl Digits {
    /// The letters, to act on them.
    pub fn letters(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({} keys)", self.0.len())
    }
}

/// How gathering ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// Enough keys, the terminator, or no further key in time.
    Digits(Digits),
    /// No key at all in time.
    Nothing,
}

/// Keys being gathered.
#[derive(Clone, Debug)]
pub struct Collect {
    rules: Rules,
    digits: Digits,
    is_prompting: bool,
    key_until: Option<Instant>,
    all_until: Option<Instant>,
}

impl Collect {
    /// Begins together with the prompt; [`Collect::prompt_ended`] must follow.
    pub fn new(rules: Rules) -> Self {
        let most = rules.most.clamp(1, DIGITS_MAX);
        Self {
            rules: Rules { most, ..rules },
            digits: Digits(String::with_capacity(most)),
            is_prompting: true,
            key_until: None,
            all_until: None,
        }
    }

    /// Whether the prompt is to be heard still.
    pub const fn is_prompting(&self) -> bool {
        self.is_prompting
    }

    /// The prompt was heard out.
    pub fn prompt_ended(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_prompting) {
            self.all_until = Some(now + self.rules.total);
            self.key_until = Some(now + self.rules.first);
        }
    }

    /// A key was pressed. Something: gathering has ended.
    pub fn key(&mut self, key: Key, now: Instant) -> Option<Collected> {
        if self.is_prompting && !self.rules.barge_in {
            return None;
        }
        self.prompt_ended(now);
        if self.rules.terminator == Some(key) {
            return Some(self.end());
        }
        self.digits.0.push(key.letter());
        self.key_until = Some(now + self.rules.between);
        (self.digits.0.len() >= self.rules.most).then(|| self.end())
    }

    /// When [`Collect::timeout`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.key_until.into_iter().chain(self.all_until).min()
    }

    /// The deadline may have come. Something: gathering has ended.
    pub fn timeout(&mut self, now: Instant) -> Option<Collected> {
        self.deadline().filter(|deadline| now >= *deadline).map(|_| self.end())
    }

    fn end(&mut self) -> Collected {
        (self.key_until, self.all_until) = (None, None);
        match std::mem::take(&mut self.digits) {
            digits if digits.0.is_empty() => Collected::Nothing,
            digits => Collected::Digits(digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            most: 4,
            terminator: Key::new('#'),
            first: Duration::from_secs(5),
            between: Duration::from_secs(3),
            total: Duration::from_secs(10),
            barge_in: true,
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_driver_nanos(secs * 1_000_000_000)
    }

    fn key(letter: char) -> Key {
        Key::new(letter).unwrap()
    }

    fn digits(text: &str) -> Collected {
        Collected::Digits(Digits(text.into()))
    }

    #[test]
    fn enough_keys_end_it_and_so_does_the_terminator() {
        let mut collect = Collect::new(rules());
        assert!("123".chars().all(|letter| collect.key(key(letter), at(1)).is_none()));
        assert_eq!(collect.key(key('4'), at(2)), Some(digits("1234")));
        let mut collect = Collect::new(rules());
        collect.key(key('7'), at(1));
        assert_eq!(collect.key(key('#'), at(2)), Some(digits("7")));
        assert_eq!(Collect::new(rules()).key(key('#'), at(2)), Some(Collected::Nothing));
    }

    #[test]
    fn the_first_key_has_its_time_from_the_end_of_the_prompt() {
        let mut collect = Collect::new(rules());
        assert_eq!(collect.deadline(), None, "a prompt may be long");
        collect.prompt_ended(at(60));
        assert_eq!(collect.timeout(at(64)), None);
        assert_eq!(collect.timeout(at(65)), Some(Collected::Nothing));
    }

    #[test]
    fn keys_that_come_slowly_end_it_and_so_does_the_whole_time() {
        let mut collect = Collect::new(rules());
        collect.key(key('1'), at(0));
        assert_eq!(collect.timeout(at(3)), Some(digits("1")));
        let mut collect = Collect::new(rules());
        for secs in [0, 3, 6] {
            assert_eq!(collect.key(key('1'), at(secs)), None);
        }
        assert_eq!(collect.deadline(), Some(at(9)));
        let mut slow = Collect::new(Rules { total: Duration::from_secs(8), ..rules() });
        for secs in [0, 3, 6] {
            slow.key(key('1'), at(secs));
        }
        assert_eq!(slow.timeout(at(8)), Some(digits("111")));
    }

    #[test]
    fn a_prompt_that_must_be_heard_out_takes_no_keys() {
        let mut collect = Collect::new(Rules { barge_in: false, ..rules() });
        assert_eq!(collect.key(key('1'), at(1)), None);
        assert!(collect.is_prompting());
        collect.prompt_ended(at(2));
        assert_eq!(collect.key(key('#'), at(3)), Some(Collected::Nothing));
    }

    #[test]
    fn keys_print_masked() {
        let mut collect = Collect::new(rules());
        collect.key(key('9'), at(1));
        assert!(!format!("{collect:?} {:?}", key('9')).contains('9'));
    }
}

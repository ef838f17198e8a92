//! When a route holds: for whose calls, on which days, at what times; and after which answers the next peer is asked.

use offhook_base::UtcMillis;
use offhook_sip::message::StatusCode;

use super::document::Day;
use crate::route::Caller;

const MINUTES_PER_DAY: i64 = 24 * 60;

/// Whose calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Any line's.
    Lines,
    /// Any peer's.
    Peers,
    /// This line's.
    Line(Box<str>),
    /// This peer's.
    Peer(Box<str>),
    /// Those of numbers that begin so.
    Number(Box<str>),
}

impl From {
    /// Reads one word of a route's `from`.
    pub fn parse(word: &str) -> Option<Self> {
        let is_number = |text: &str| {
            let digits = text.strip_prefix('+').unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        match (word, word.split_once(':')) {
            ("lines", _) => Some(Self::Lines),
            ("peers", _) => Some(Self::Peers),
            (_, Some(("line", name))) if !name.is_empty() => Some(Self::Line(name.into())),
            (_, Some(("peer", name))) if !name.is_empty() => Some(Self::Peer(name.into())),
            _ => is_number(word).then(|| Self::Number(word.into())),
        }
    }

    /// Whether a call of `caller`, whose number is `number`, is meant.
    pub fn holds(&self, caller: &Caller, number: &str) -> bool {
        match (self, caller) {
            (Self::Lines, Caller::Line(_)) | (Self::Peers, Caller::Peer(_)) => true,
            (Self::Line(name), Caller::Line(line)) => *name == line.name,
            (Self::Peer(name), Caller::Peer(peer)) => *name == peer.name,
            (Self::Number(prefix), _) => number.starts_with(&**prefix),
            _ => false,
        }
    }
}

/// Days and times of day; each that is empty holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    days: Vec<Day>,
    /// Minutes of the day: from, and until before.
    hours: Vec<(u16, u16)>,
}

impl Times {
    /// Reads `08:00-12:30`s. An error: the word that is none.
    pub fn new(days: &[Day], hours: &[Box<str>]) -> Result<Self, Box<str>> {
        let hours: Result<_, _> = hours.iter().map(|word| span(word).ok_or_else(|| word.clone())).collect();
        Ok(Self { days: days.to_vec(), hours: hours? })
    }

    /// Whether `at` is such a time where clocks are `offset` minutes ahead of UTC. The part of a span behind midnight belongs
    /// to the day on which the span begins.
    pub fn hold(&self, at: UtcMillis, offset: i16) -> bool {
        let minutes = at.0.div_euclid(60_000) + i64::from(offset);
        let (day, minute) = (minutes.div_euclid(MINUTES_PER_DAY), minutes.rem_euclid(MINUTES_PER_DAY));
        let on = |day: i64| self.days.is_empty() || self.days.contains(&weekday(day));
        if self.hours.is_empty() {
            return on(day);
        }
        self.hours.iter().any(|&(from, until)| {
            let (from, until) = (i64::from(from), i64::from(until));
            if from < until {
                return on(day) && (from..until).contains(&minute);
            }
            (minute >= from && on(day)) || (minute < until && on(day - 1))
        })
    }
}

/// The day of the week of a day since 1970.
fn weekday(day: i64) -> Day {
    const FROM_THE_FIRST: [Day; 7] = [Day::Thu, Day::Fri, Day::Sat, Day::Sun, Day::Mon, Day::Tue, Day::Wed];
    FROM_THE_FIRST[usize::try_from(day.rem_euclid(7)).unwrap_or_default()]
}

fn span(word: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
    };
    let (from, until) = word.split_once('-')?;
    Some((minute(from.trim())?, minute(until.trim())?))
}

/// After which ends of an attempt the next peer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// Statuses: from, until.
    statuses: Vec<(u16, u16)>,
    /// It did not ring in time.
    timeout: bool,
}

impl Default for RetryOn {
    /// What says something of the peer, and not of the called person.
    fn default() -> Self {
        Self { statuses: [408, 500, 502, 503, 504].map(|code| (code, code)).to_vec(), timeout: true }
    }
}

impl RetryOn {
    /// Reads `503`, `5xx`, `timeout`. An error: the word that is none.
    pub fn parse(words: &[Box<str>]) -> Result<Self, Box<str>> {
        let mut retry = Self { statuses: Vec::new(), timeout: false };
        for word in words {
            let class = word.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
            match (&**word, class, word.parse::<u16>()) {
                ("timeout", _, _) => retry.timeout = true,
                (_, Some(class @ 3..=6), _) => retry.statuses.push((class * 100, class * 100 + 99)),
                (_, _, Ok(code @ 300..=699)) => retry.statuses.push((code, code)),
                _ => return Err(word.clone()),
            }
        }
        Ok(retry)
    }

    /// Whether this answer is one.
    pub fn covers(&self, status: StatusCode) -> bool {
        let code = status.as_u16();
        self.statuses.iter().any(|&(from, until)| (from..=until).contains(&code))
    }

    /// Whether silence is one.
    pub const fn covers_timeout(&self) -> bool {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thursday, 1 January 1970, at this time.
    fn at(hour: i64, minute: i64) -> UtcMillis {
        UtcMillis(((hour * 60) + minute) * 60_000)
    }

    #[test]
    fn times_of_day_follow_the_tenants_clock_and_go_over_midnight() {
        let times = |days: &[Day], hours: &[&str]| {
            let hours: Vec<Box<str>> = hours.iter().map(|&text| text.into()).collect();
            Times::new(days, &hours).unwrap()
        };
        let office = times(&[Day::Mon, Day::Thu], &["08:00-12:00", "13:00-17:30"]);
        assert!(office.hold(at(8, 0), 0) && !office.hold(at(12, 0), 0) && office.hold(at(17, 29), 0));
        assert!(office.hold(at(7, 0), 60) && !office.hold(at(31, 0), 60));
        let night = times(&[Day::Thu], &["22:00-06:00"]);
        assert!(night.hold(at(23, 0), 0) && night.hold(at(29, 59), 0) && !night.hold(at(5, 0), 0));
        assert!(!night.hold(at(30, 0), 0));
        assert!(times(&[], &["00:00-24:00"]).hold(at(23, 59), 0) && times(&[], &[]).hold(at(3, 0), 0));
        let bad = Times::new(&[], &["8-9".into()]);
        assert_eq!(bad.unwrap_err(), "8-9".into());
    }

    #[test]
    fn answers_are_named_one_by_one_or_by_class() {
        let words = |words: &[&str]| words.iter().map(|&word| word.into()).collect::<Vec<Box<str>>>();
        let status = |code| StatusCode::new(code).unwrap();
        let retry = RetryOn::parse(&words(&["403", "5xx"])).unwrap();
        assert!(retry.covers(status(403)) && retry.covers(status(599)) && !retry.covers(status(486)));
        assert!(!retry.covers_timeout() && RetryOn::default().covers_timeout());
        assert_eq!(RetryOn::parse(&words(&["2xx"])).unwrap_err(), "2xx".into());
    }
}

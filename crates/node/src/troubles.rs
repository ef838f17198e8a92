//! What is wrong with the node's surroundings: looked at once a second, said once when it begins and once when it is over.
//!
//! A full disk or a lack of descriptors is met a thousand times a second. Who meets it counts; here the counts become a few
//! troubles, each with a line in the log, a gauge, and a line of `/readyz`.

use std::time::Duration;

use offhook_base::{Instant, Moment};

/// How long a trouble of which nothing is met any more is still told: it comes and goes with the load.
const LINGER: Duration = Duration::from_secs(5);

/// A change of the wall clock against the other one from which on it was set: NTP slews by less.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// A trouble. The names are those of metrics and of `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Call records cannot be written.
    Records,
    /// Registrations cannot be written.
    Registrations,
    /// Calls found no media ports, or no descriptors for them.
    Media,
    /// Connections cannot be accepted for want of descriptors or memory.
    Connections,
    /// Connections are refused because a limit is reached.
    ConnectionLimit,
    /// The name servers do not answer.
    Dns,
    /// The wall clock was set.
    Clock,
    /// Recordings cannot be written.
    Recordings,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Records,
        Self::Registrations,
        Self::Media,
        Self::Connections,
        Self::ConnectionLimit,
        Self::Dns,
        Self::Clock,
        Self::Recordings,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Registrations => "registrations",
            Self::Media => "media",
            Self::Connections => "connections",
            Self::ConnectionLimit => "connection_limit",
            Self::Dns => "dns",
            Self::Clock => "clock",
            Self::Recordings => "recordings",
        }
    }

    /// What it means, and what to do about it.
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Records => (
                "call records cannot be written; they wait in memory",
                "free the disk under the data directory, or mend it",
            ),
            Self::Registrations => (
                "registrations cannot be written; they are in force, but would not outlive a restart",
                "free the disk under the data directory, or mend it",
            ),
            Self::Media => (
                "calls find no media ports",
                "widen media.ports, raise the limit of open files, or see who else holds ports of the range",
            ),
            Self::Connections => {
                ("connections cannot be accepted", "raise the limit of open files (LimitNOFILE, ulimit -n)")
            }
            Self::ConnectionLimit => (
                "connections are refused: a limit is reached",
                "limits.connections and limits.connections_per_source; offhook_net_events tells which",
            ),
            Self::Dns => (
                "the name servers do not answer",
                "dns.servers, else /etc/resolv.conf, names them; peers with an address are not touched",
            ),
            Self::Clock => (
                "the wall clock was set; calls and registrations are timed by another one, records tell the new time",
                "see whether the time service is well",
            ),
            Self::Recordings => (
                "recordings break off, for they cannot be written; calls go on",
                "free the disk under the data directory, or mend it",
            ),
        }
    }
}

/// What has been counted so far, or is so now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Why the last attempt to write records failed, if it did.
    pub records: Option<String>,
    /// Why the last attempt to write bindings failed, if it did.
    pub bindings: Option<String>,
    /// Times that media ports could not be opened.
    pub media_refused: u64,
    /// Times that a connection could not be accepted.
    pub accepts_failed: u64,
    /// Connections refused because of a limit.
    pub connections_refused: u64,
    /// Times that no name server answered.
    pub dns_failures: u64,
    /// Recordings that broke off.
    pub recordings_failed: u64,
}

/// The troubles that are on.
#[derive(Debug, Default)]
pub struct Troubles {
    last: Option<(Signs, Moment)>,
    /// Until when each is told of; none: it is not on.
    until: [Option<Instant>; Trouble::ALL.len()],
}

impl Troubles {
    /// Takes in what is counted now, and says in the log what has begun and what is over.
    pub fn look(&mut self, signs: Signs, now: Moment) {
        let (before, last) = self.last.take().unwrap_or_else(|| (signs.clone(), now));
        let grew = |count: fn(&Signs) -> u64| count(&signs) > count(&before);
        let met = |trouble| match trouble {
            Trouble::Records => signs.records.is_some(),
            Trouble::Registrations => signs.bindings.is_some(),
            Trouble::Media => grew(|signs| signs.media_refused),
            Trouble::Connections => grew(|signs| signs.accepts_failed),
            Trouble::ConnectionLimit => grew(|signs| signs.connections_refused),
            Trouble::Dns => grew(|signs| signs.dns_failures),
            Trouble::Recordings => grew(|signs| signs.recordings_failed),
            Trouble::Clock => clock_step(last, now) > CLOCK_STEP,
        };
        for (trouble, until) in Trouble::ALL.into_iter().zip(&mut self.until) {
            let (what, hint) = trouble.text();
            let cause = match trouble {
                Trouble::Records => signs.records.as_deref(),
                Trouble::Registrations => signs.bindings.as_deref(),
                _ => None,
            };
            match (met(trouble), *until) {
                (true, before) => {
                    if before.is_none() {
                        tracing::error!(trouble = trouble.name(), cause, hint, "{what}");
                    }
                    *until = Some(now.instant + LINGER);
                }
                (false, Some(end)) if end <= now.instant => {
                    tracing::info!(trouble = trouble.name(), "over: {what}");
                    *until = None;
                }
                (false, _) => {}
            }
        }
        self.last = Some((signs, now));
    }

    /// Those that are on.
    pub fn on(&self) -> impl Iterator<Item = Trouble> {
        let all = Trouble::ALL.into_iter().zip(self.until);
        all.filter(|(_, until)| until.is_some()).map(|(trouble, _)| trouble)
    }

    /// What is wrong, a line each: for `/readyz`.
    pub fn lines(&self) -> Vec<String> {
        self.on().map(|trouble| format!("{}: {}", trouble.name(), trouble.text().0)).collect()
    }
}

/// How far the wall clock moved against the other one.
fn clock_step(before: Moment, now: Moment) -> Duration {
    let passed = i64::try_from((now.instant - before.instant).as_millis()).unwrap_or(i64::MAX);
    let told = now.utc.0.saturating_sub(before.utc.0);
    Duration::from_millis(told.abs_diff(passed))
}

#[cfg(test)]
mod tests {
    use offhook_base::UtcMillis;

    use super::*;

    fn at(secs: u64, clock_secs: i64) -> Moment {
        Moment {
            instant: Instant::from_driver_nanos(secs * 1_000_000_000),
            utc: UtcMillis(1_795_363_836_000 + clock_secs * 1000),
        }
    }

    #[test]
    fn a_trouble_is_on_while_it_is_met_and_a_little_longer() {
        let mut troubles = Troubles::default();
        let on = |troubles: &Troubles| troubles.on().map(Trouble::name).collect::<Vec<_>>();
        let refused = |media_refused| Signs { media_refused, ..Signs::default() };
        // What was counted before the first look is no news.
        troubles.look(refused(7), at(0, 0));
        assert!(on(&troubles).is_empty());
        let full =
            |media_refused| Signs { records: Some("the disk is full".into()), ..refused(media_refused) };
        troubles.look(full(8), at(1, 1));
        assert_eq!(on(&troubles), ["records", "media"]);
        assert!(troubles.lines()[1].starts_with("media: calls find no media ports"));
        troubles.look(full(8), at(4, 4));
        troubles.look(refused(9), at(5, 5));
        assert_eq!(on(&troubles), ["records", "media"]);
        troubles.look(refused(9), at(9, 9));
        assert_eq!(on(&troubles), ["media"]);
        troubles.look(refused(9), at(10, 10));
        assert!(on(&troubles).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_shows_in_either_direction_and_a_slow_one_does_not() {
        for step in [-3600, -6, 6, 86_400] {
            let mut troubles = Troubles::default();
            troubles.look(Signs::default(), at(100, 100));
            troubles.look(Signs::default(), at(101, 101 + step));
            assert_eq!(troubles.on().collect::<Vec<_>>(), [Trouble::Clock], "{step}");
            troubles.look(Signs::default(), at(107, 107 + step));
            assert_eq!(troubles.on().count(), 0);
        }
        let mut troubles = Troubles::default();
        troubles.look(Signs::default(), at(100, 100));
        troubles.look(Signs::default(), at(200, 203));
        assert_eq!(troubles.on().count(), 0);
    }
}

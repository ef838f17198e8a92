//! The wall clock, read in one place, and times as people write them.

use std::time::{SystemTime, UNIX_EPOCH};

use offhook_base::UtcMillis;

/// Now.
pub(crate) fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A UTC time: `2026-11-22`, `2026-11-22T16:10:36Z`, or milliseconds since 1970.
pub fn parse_time(text: &str) -> Option<UtcMillis> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(UtcMillis);
    }
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.strip_suffix('Z').unwrap_or(time)),
        None => (text, "00:00:00"),
    };
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    sound.then_some(UtcMillis(seconds * 1000 + millis))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years begin on 1 March so that leap days end them.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_milliseconds() {
        let shown = |text| parse_time(text).map(|at| at.to_string());
        assert_eq!(shown("2026-11-22"), Some("2026-11-22T00:00:00.000Z".into()));
        assert_eq!(shown("2026-11-22T16:10:36Z"), Some("2026-11-22T16:10:36.000Z".into()));
        assert_eq!(shown("2000-02-29 23:59:59.5"), Some("2000-02-29T23:59:59.500Z".into()));
        assert_eq!(shown("1795363836123"), Some("2026-11-22T16:10:36.123Z".into()));
        for bad in ["", "yesterday", "2026-13-01", "2026-11-22T25:00:00Z", "2026-11", "99999999999999999999"]
        {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}

//! Date (RFC 3261 §20.17): always GMT.

use offhook_base::UtcMillis;

use super::scan::{number, trim};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sat, 13 Nov 2010 23:29:00 GMT` as time; `None` for anything else, other time zones included. The weekday is not checked.
pub fn parse_date(value: &str) -> Option<UtcMillis> {
    let (_, rest) = trim(value).split_once(',')?;
    let mut words = rest.split_ascii_whitespace();
    let day: i64 = i64::from(number::<u8>(words.next()?)?);
    let month_name = words.next()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month_name))?;
    let year = i64::from(number::<u16>(words.next()?)?);
    let mut clock = words.next()?.split(':');
    let mut field =
        |limit: u8| clock.next().and_then(number::<u8>).filter(|value| *value < limit).map(i64::from);
    let (hour, minute, second) = (field(24)?, field(60)?, field(61)?);
    if words.next()? != "GMT" || words.next().is_some() || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let days = days_from_civil(year, month as i64 + 1, day);
    Some(UtcMillis((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000))
}

/// Days since 1970-01-01, counted in 400-year eras that begin on 1 March.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gmt_or_nothing() {
        assert_eq!(
            parse_date("Sat, 15 Oct 2005 04:44:56 GMT").unwrap().to_string(),
            "2005-10-15T04:44:56.000Z"
        );
        assert_eq!(
            parse_date("Tue, 29 Feb 2000 23:59:59 GMT").unwrap().to_string(),
            "2000-02-29T23:59:59.000Z"
        );
        assert_eq!(parse_date("Fri, 01 Jan 2010 16:00:00 EST"), None);
        assert_eq!(parse_date("now"), None);
    }
}

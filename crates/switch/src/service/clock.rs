//! The time of day in words.

use offhook_base::UtcMillis;

use crate::media::Piece;

/// Sounds of the numbers below twenty, by number.
const SMALL: [&str; 20] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19",
];
/// Sounds of the tens from twenty on.
const TENS: [&str; 4] = ["20", "30", "40", "50"];
const MINUTES_PER_DAY: i64 = 24 * 60;

/// What is said at `now`, `offset` minutes ahead of UTC: "the time is fourteen hours, thirty two minutes".
pub fn time_of_day(now: UtcMillis, offset: i16) -> Vec<Piece> {
    let minutes = now.0.div_euclid(60_000) + i64::from(offset);
    let minutes = minutes.rem_euclid(MINUTES_PER_DAY);
    let mut pieces = vec![Piece::Sound("the-time-is"), Piece::Silence(100)];
    number(minutes / 60, &mut pieces);
    pieces.push(Piece::Sound("hours"));
    if minutes % 60 > 0 {
        pieces.push(Piece::Silence(100));
        number(minutes % 60, &mut pieces);
        pieces.push(Piece::Sound("minutes"));
    }
    pieces
}

/// A number below sixty.
fn number(value: i64, pieces: &mut Vec<Piece>) {
    let value = usize::try_from(value).unwrap_or_default();
    match (value / 10).checked_sub(2).and_then(|tens| TENS.get(tens)) {
        Some(tens) => {
            pieces.push(Piece::Sound(tens));
            if value % 10 > 0 {
                pieces.push(Piece::Sound(SMALL[value % 10]));
            }
        }
        None => pieces.extend(SMALL.get(value).map(|&name| Piece::Sound(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(millis: i64, offset: i16) -> String {
        let pieces = time_of_day(UtcMillis(millis), offset);
        let names = pieces.iter().filter_map(|piece| match piece {
            Piece::Sound(name) => Some(*name),
            _ => None,
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_time_is_said_in_hours_and_minutes() {
        let at = |hours: i64, minutes: i64| ((hours * 60) + minutes) * 60_000 + 59_999;
        assert_eq!(said(at(14, 32), 0), "the-time-is 14 hours 30 2 minutes");
        assert_eq!(said(at(0, 0), 0), "the-time-is 0 hours");
        assert_eq!(said(at(23, 50), 20), "the-time-is 0 hours 10 minutes");
        assert_eq!(said(at(0, 5), -60), "the-time-is 20 3 hours 5 minutes");
    }
}

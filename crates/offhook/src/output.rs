//! What people see. Plain text, no colours: readable in dark and light, in a file and in a mail.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use crate::failure::Failure;

/// Columns where nobody says how many there are.
const WIDTH_DEFAULT: u16 = 80;

/// Prints `error: what: why` and the hint.
pub fn error(failure: &Failure) {
    // Nothing is left to do if standard error is gone.
    let _ = writeln!(io::stderr(), "error: {failure}");
}

/// Prints a remark that is not the answer.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints the warnings that came with an answer, each with its hint.
pub fn warnings(answer: &serde_json::Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str) {
        note(&warning_text(&clean(warning)));
    }
}

/// `what; hint: …` as a warning and its hint, each on a line.
pub fn warning_text(warning: &str) -> String {
    format!("warning: {}", warning.replace("; hint: ", "\nhint: "))
}

/// Prints a line of the answer.
pub fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Prints a piece of the answer. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => Ok(done?),
    }
}

/// Prints `value` as JSON for programs.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// How a column behaves where there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is shown whole: a call's id that is cut could not be copied.
    Whole,
    /// What is too long is shortened so that it can still be told from others.
    Shorten,
    /// It is the first to go; else as `Shorten`.
    Drop,
    /// Only a wide table has it.
    Wide,
}

/// One column of a table whose rows stay one line each.
pub type Column = (&'static str, Fit);

/// Characters that a shortened column keeps at least: less tells nothing.
const SHORTEST: usize = 9;

/// Prints rows, one line each, fitted to the terminal or whole, or `nothing` where there are none.
pub fn fitted(columns: &[Column], rows: Vec<Vec<String>>, wide: bool, nothing: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(nothing);
    }
    print(&render_fitted(columns, rows, if wide { None } else { Some(width()) }))
}

/// Rows under their headings, one line each, in `width` columns; all there is where there is no `width`.
pub fn render_fitted(columns: &[Column], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let longest = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().max(columns[index].0.chars().count())
    };
    let mut widths: Vec<(usize, usize)> = (0..columns.len())
        .filter(|&index| width.is_none() || columns[index].1 != Fit::Wide)
        .map(|index| (index, longest(index)))
        .collect();
    if let Some(width) = width {
        fit(columns, &mut widths, width.into());
    }
    let mut text = String::new();
    let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_string()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (index, width) in &widths {
            let cell = shortened(row.get(*index).map_or("", String::as_str), *width);
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Drops columns until the others have room, then takes from the longest that may be shortened until all fit.
fn fit(columns: &[Column], widths: &mut Vec<(usize, usize)>, room: usize) {
    let may_shrink = |index: usize| matches!(columns[index].1, Fit::Shorten | Fit::Drop);
    let least = |&(index, width): &(usize, usize)| {
        let shortest = SHORTEST.max(columns[index].0.chars().count());
        if may_shrink(index) { width.min(shortest) } else { width }
    };
    let gaps = |count: usize| 2 * count.saturating_sub(1);
    while widths.iter().map(least).sum::<usize>() + gaps(widths.len()) > room {
        let Some(at) = widths.iter().rposition(|&(index, _)| columns[index].1 == Fit::Drop) else { break };
        widths.remove(at);
    }
    while widths.iter().map(|&(_, width)| width).sum::<usize>() + gaps(widths.len()) > room {
        let longest =
            widths.iter_mut().filter(|column| column.1 > least(column)).max_by_key(|column| column.1);
        // A terminal that narrow wraps what it cannot show.
        let Some((_, width)) = longest else { return };
        *width -= 1;
    }
}

/// `text` in at most `width` characters. Of an address the user goes last, because it says who is meant; if not even that
/// fits, both its ends tell it from others.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let kept = width.saturating_sub(1);
    let user = text.split_once('@').map_or(0, |(user, _)| user.chars().count());
    if user < kept {
        return text.chars().take(kept).chain(['…']).collect();
    }
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    text.chars().take(head).chain(['…']).chain(text.chars().take(user).skip(user - tail)).collect()
}

/// Prints rows under their headings, or `nothing` where there are none.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>, nothing: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(nothing);
    }
    print(&render_table(headings, rows, width()))
}

/// Rows under their headings, no line longer than `width`.
pub fn render_table(headings: &[&str], rows: Vec<Vec<String>>, width: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(headings);
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    // The first column names the thing: cut in two it could not be copied.
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        // Two blanks between columns, none at either end.
        text.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
        text.push('\n');
    }
    text
}

/// How many columns there are.
pub fn width() -> u16 {
    if !io::stdout().is_terminal() {
        return WIDTH_DEFAULT;
    }
    crossterm::terminal::size().map_or(WIDTH_DEFAULT, |(columns, _)| columns.max(40))
}

/// Text from a stranger for one cell: without what would steer the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if is_harmful(letter) { '?' } else { letter }).collect()
}

/// Text from a stranger in many lines.
pub fn clean_lines(text: &str) -> String {
    text.chars()
        .filter(|letter| *letter != '\r')
        .map(|letter| if letter != '\n' && letter != '\t' && is_harmful(letter) { '?' } else { letter })
        .collect()
}

/// Control characters, and marks that turn the direction of writing around.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `2026-11-22T16:10:36.123Z` as `2026-11-22 16:10:36`: UTC, to the second.
pub fn short_time(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// Milliseconds as `2:03`, `1:02:03`, or `7 d`: at most 8 characters for a human life.
pub fn duration(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    if seconds >= 100 * 3600 {
        return format!("{} d", seconds / 86_400);
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// An address without the scheme that every one of them has.
pub fn short_uri(uri: &str) -> String {
    uri.strip_prefix("sip:").unwrap_or(uri).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_to_its_width_and_steers_no_terminal() {
        let row = vec![
            "101".to_string(),
            "a very long display name that goes on and on ".repeat(3),
            "\u{1b}[2Jx".into(),
        ];
        let text = render_table(&["LINE", "NAME", "AGENT"], vec![row], 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("LINE"), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("?[2Jx"), "{text}");
    }

    /// Goal: a row stays one line at 80 columns, its id whole, and its addresses tell who they are.
    #[test]
    fn long_addresses_are_shortened_and_ids_are_not() {
        let columns =
            [("CALL", Fit::Whole), ("FROM", Fit::Shorten), ("TO", Fit::Shorten), ("AGENT", Fit::Drop)];
        let cells =
            ["01KB2W3XJB0ZD5V8Q4M7N6R1TC", "+4930123456789@voice.example.org", "102@192.0.2.1", "Phone 1.0"];
        let row: Vec<String> = cells.map(Into::into).into();
        let text = render_fitted(&columns, vec![row.clone()], Some(80));
        assert_eq!(
            text,
            "CALL                        FROM                        TO             AGENT\n\
             01KB2W3XJB0ZD5V8Q4M7N6R1TC  +4930123456789@voice.exam…  102@192.0.2.1  Phone 1.0\n"
        );
        let narrow = render_fitted(&columns, vec![row.clone()], Some(50));
        assert!(
            !narrow.contains("AGENT") && narrow.lines().all(|line| line.chars().count() <= 50),
            "{narrow}"
        );
        assert!(narrow.contains("  +4930…6789  102@192.0…\n"), "a number keeps both ends: {narrow}");
        let wide = render_fitted(&columns, vec![row], None);
        assert!(cells.iter().all(|cell| wide.contains(cell)), "{wide}");
    }

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(short_time("2026-11-22T16:10:36.123Z"), "2026-11-22 16:10:36");
        assert_eq!((duration(62_500), duration(3_723_000)), ("1:02".into(), "1:02:03".into()));
        assert_eq!((duration(359_999_999), duration(864_000_000)), ("99:59:59".into(), "10 d".into()));
    }
}

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

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(short_time("2026-11-22T16:10:36.123Z"), "2026-11-22 16:10:36");
        assert_eq!((duration(62_500), duration(3_723_000)), ("1:02".into(), "1:02:03".into()));
        assert_eq!((duration(359_999_999), duration(864_000_000)), ("99:59:59".into(), "10 d".into()));
    }
}

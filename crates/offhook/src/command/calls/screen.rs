//! The live screen: the calls, once a second, until `q`.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute, queue,
    style::Print,
    terminal::{self, ClearType},
};
use serde_json::Value;

use super::{COLUMNS, calls, rows};
use crate::{cli::CallsArgs, client::Client, failure::Failure, output};

/// How often the calls are asked for.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows the calls until somebody has seen enough.
pub async fn run(client: &Client, args: &CallsArgs) -> Result<(), Failure> {
    // Asked before the screen opens: an unreachable node is told in plain text.
    let mut calls_now = calls(client, args).await?;
    let screen = Screen::open()?;
    let mut trouble: Option<String> = None;
    loop {
        screen.draw(&calls_now, trouble.as_deref())?;
        if wait_for_quit(REFRESH)? {
            return Ok(());
        }
        match calls(client, args).await {
            Ok(calls) => (calls_now, trouble) = (calls, None),
            // The node may be restarting: keep looking, and say so.
            Err(failure) if failure.is_unreachable() => {
                trouble = Some("the node has stopped; waiting for it to come back".into());
            }
            Err(failure) => trouble = failure.to_string().lines().next().map(Into::into),
        }
    }
}

/// Waits; true if somebody typed `q`, Escape or Ctrl-C.
fn wait_for_quit(time: Duration) -> io::Result<bool> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(false);
        }
        match event::read()? {
            event::Event::Key(key) => {
                let control_c = key.code == event::KeyCode::Char('c')
                    && key.modifiers.contains(event::KeyModifiers::CONTROL);
                if control_c || matches!(key.code, event::KeyCode::Char('q' | 'Q') | event::KeyCode::Esc) {
                    return Ok(true);
                }
            }
            // Redraw at once, or a smaller window shows broken lines.
            event::Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

/// The terminal while it is ours; whatever ends the program gives it back.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    fn draw(&self, calls: &[Value], trouble: Option<&str>) -> io::Result<()> {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        let table = if calls.is_empty() {
            "There are no calls.\n".to_string()
        } else {
            output::render_fitted(&COLUMNS, rows(calls), Some(columns))
        };
        let mut out = io::stdout().lock();
        let count = if calls.len() == 1 { "1 call".to_string() } else { format!("{} calls", calls.len()) };
        let head = trouble.map_or(count, |trouble| format!("Not up to date: {trouble}"));
        let space = usize::from(lines.saturating_sub(3));
        let shown = [head.as_str(), ""].into_iter().chain(table.lines().take(space));
        queue!(out, cursor::MoveTo(0, 0))?;
        for line in shown {
            let line: String = line.chars().take(columns.into()).collect();
            queue!(out, Print(line), terminal::Clear(ClearType::UntilNewLine), Print("\r\n"))?;
        }
        // Cleared behind the text rather than before it: the screen does not flicker.
        queue!(out, terminal::Clear(ClearType::FromCursorDown))?;
        queue!(out, cursor::MoveTo(0, lines.saturating_sub(1)), Print("q: quit"))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

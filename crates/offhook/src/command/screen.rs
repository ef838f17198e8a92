//! A screen that lives until somebody has seen enough.

use std::{
    future::Future,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute, queue,
    style::Print,
    terminal::{self, ClearType},
};

use crate::failure::Failure;

/// How often the node is asked.
const REFRESH: Duration = Duration::from_secs(1);

/// What stands on the screen.
pub struct Sheet {
    /// Its first line.
    pub head: String,
    /// What follows, after an empty line.
    pub body: String,
}

/// Shows what `ask` brings and `render` makes of it in so many columns, once a second.
pub async fn run<T, F: Future<Output = Result<T, Failure>>>(
    mut ask: impl FnMut() -> F,
    mut render: impl FnMut(&T, u16) -> Sheet,
) -> Result<(), Failure> {
    // Asked before the screen opens: an unreachable node is told in plain text.
    let mut latest = ask().await?;
    let screen = Screen::open()?;
    let mut trouble: Option<String> = None;
    loop {
        let (columns, _) = terminal::size().unwrap_or((80, 24));
        let mut sheet = render(&latest, columns);
        if let Some(trouble) = &trouble {
            sheet.head = format!("Not up to date: {trouble}");
        }
        screen.draw(&sheet)?;
        if wait_for_quit(REFRESH)? {
            return Ok(());
        }
        match ask().await {
            Ok(answer) => (latest, trouble) = (answer, None),
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

    fn draw(&self, sheet: &Sheet) -> io::Result<()> {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        let mut out = io::stdout().lock();
        let space = usize::from(lines.saturating_sub(3));
        let shown = [sheet.head.as_str(), ""].into_iter().chain(sheet.body.lines().take(space));
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

//! The terminal: screens and keys where there is one, plain lines where there is none.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crossterm::{
    cursor, event, execute, queue,
    style::Print,
    terminal::{self, ClearType},
};

/// Says something beside the results.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a line of the results.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// Change the rate by so many times `-rate_scale`.
    Faster(f64),
    /// `p`.
    Pause,
    /// `q`.
    Quit,
    /// `Ctrl-C`.
    Interrupt,
    /// `1` to `9`.
    Screen(u8),
    /// `s`: write the screens to their file, with `-trace_screen`.
    Screens,
}

/// The screen, if standard input and output are terminals.
#[derive(Debug)]
pub struct Terminal {
    is_open: bool,
}

impl Terminal {
    /// Opens the screen; `wanted` is false with `-nostdin`.
    pub fn open(wanted: bool) -> Self {
        let is_open = wanted
            && io::stdin().is_terminal()
            && io::stdout().is_terminal()
            && terminal::enable_raw_mode().is_ok()
            && execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide).is_ok();
        Self { is_open }
    }

    /// Whether there is a screen.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Shows a screen.
    pub fn draw(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = queue!(out, cursor::MoveTo(0, 0));
        for row in text.lines() {
            let _ =
                queue!(out, Print(row), terminal::Clear(ClearType::UntilNewLine), cursor::MoveToNextLine(1));
        }
        let _ = queue!(out, terminal::Clear(ClearType::FromCursorDown));
        let _ = out.flush();
    }

    /// Waits for a key, not longer than `time`.
    pub fn key(&self, time: Duration) -> Option<Key> {
        if !self.is_open {
            std::thread::sleep(time);
            return None;
        }
        if !event::poll(time).unwrap_or(false) {
            return None;
        }
        let event::Event::Key(key) = event::read().ok()? else { return None };
        let control = key.modifiers.contains(event::KeyModifiers::CONTROL);
        match key.code {
            event::KeyCode::Char('c') if control => Some(Key::Interrupt),
            event::KeyCode::Char('+') => Some(Key::Faster(1.0)),
            event::KeyCode::Char('-') => Some(Key::Faster(-1.0)),
            event::KeyCode::Char('*') => Some(Key::Faster(10.0)),
            event::KeyCode::Char('/') => Some(Key::Faster(-10.0)),
            event::KeyCode::Char('p') => Some(Key::Pause),
            event::KeyCode::Char('q') => Some(Key::Quit),
            event::KeyCode::Char('Q') => Some(Key::Interrupt),
            event::KeyCode::Char('s') => Some(Key::Screens),
            event::KeyCode::Char(digit @ '1'..='9') => Some(Key::Screen(digit as u8 - b'0')),
            _ => None,
        }
    }

    /// Gives the terminal back.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
            let _ = terminal::disable_raw_mode();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
    }
}

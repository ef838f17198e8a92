//! What touches the world: sockets, threads, clocks, files, the screen.

mod address;
mod control;
mod files;
mod history;
mod html;
mod media;
pub mod options;
mod pace;
mod peers;
mod prepare;
mod security;
mod signals;
mod sockets;
mod stream;
pub mod table;
mod terminal;
mod tools;
mod transport;
pub mod verdict;
mod websocket;
mod worker;

use std::{ffi::OsString, fmt, io::Write as _};

use options::{Command, Options};

use crate::scenario::built_in;

/// Exit codes, SIPp's.
pub mod exit {
    /// All calls succeeded.
    pub const SUCCESS: u8 = 0;
    /// A call failed, or a threshold does not hold.
    pub const FAILED: u8 = 1;
    /// Ended by a scenario, or by `-timeout` before there was a call.
    pub const INTERNAL: u8 = 97;
    /// There were no calls.
    pub const NO_CALLS: u8 = 99;
    /// What came back of a pattern differs by more than `-audiotolerance`.
    pub const SOUND: u8 = 253;
    /// An address cannot be bound.
    pub const BIND: u8 = 254;
    /// Anything else.
    pub const FATAL: u8 = 255;
}

/// Why there is no run: what is wrong, perhaps a hint in a second line, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What, and perhaps `hint: ...`.
    pub message: String,
    /// One of [`exit`].
    pub code: u8,
}

impl Refusal {
    /// Options, scenarios, files.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: exit::FATAL }
    }

    /// An address or port of ours.
    pub fn bind(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: exit::BIND }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Does what the arguments behind `offhook load` say and returns the exit code.
///
/// # Errors
/// If there is no run.
pub fn main(arguments: Vec<OsString>) -> Result<u8, Refusal> {
    let words = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    if let [tool, rest @ ..] = words.collect::<Vec<_>>().as_slice()
        && tools::NAMES.contains(&tool.as_str())
    {
        return tools::run(tool, rest);
    }
    match options::parse(arguments.clone()).map_err(Refusal::fatal)? {
        Command::Help => print(&table::help()),
        Command::Version => print(&format!("offhook load {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Show(name) => match built_in::find(&name) {
            Some(built_in) => print(built_in.text),
            None => Err(prepare::no_built_in(&name)),
        },
        Command::Run(options) if options.background => background(&options, arguments),
        Command::Run(options) => control::run(&options),
    }
}

fn print(text: &str) -> Result<u8, Refusal> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written
        .map(|()| exit::SUCCESS)
        .map_err(|error| Refusal::fatal(format!("cannot write the output: {error}")))
}

/// `-bg`: the same again, without a terminal.
fn background(options: &Options, arguments: Vec<OsString>) -> Result<u8, Refusal> {
    use std::{os::unix::process::CommandExt as _, process::Stdio};
    // What can be wrong is told while somebody reads it.
    prepare::check(options)?;
    let start = || {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("load").args(arguments.iter().filter(|argument| *argument != "-bg")).arg("-nostdin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn()
    };
    let child =
        start().map_err(|error| Refusal::fatal(format!("cannot start in the background: {error}")))?;
    print(&format!("Background mode - PID=[{}]\n", child.id()))?;
    Ok(exit::NO_CALLS)
}

//! The log files.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    sync::Mutex,
};

use super::{options::Traces as Asked, worker::lock};
use crate::call::trace::Traces;

/// The files that workers write into.
#[derive(Debug, Default)]
pub struct LogFiles {
    messages: Option<Mutex<File>>,
    short_messages: Option<Mutex<File>>,
    errors: Option<Mutex<File>>,
    error_codes: Option<Mutex<File>>,
    logs: Option<Mutex<File>>,
    response_times: Option<Mutex<File>>,
}

/// The name of a file: as asked for, or made of the scenario's name and the process.
pub fn name(asked: &Asked, option: &str, scenario: &str, suffix: &str) -> String {
    let given = asked.names.iter().rev().find(|(name, _)| *name == option);
    given.map_or_else(|| format!("{scenario}_{}_{suffix}", std::process::id()), |(_, name)| name.clone())
}

/// Opens a file to write to.
pub fn open(asked: &Asked, path: &str, overwrite_option: &str) -> io::Result<File> {
    let append = asked.append.contains(&overwrite_option);
    OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)
}

impl LogFiles {
    /// Opens what is asked for.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    pub fn open(asked: &Asked, scenario: &str) -> Result<Self, String> {
        let file = |wanted: bool, option: &str, overwrite: &str, suffix: &str| {
            let path = name(asked, option, scenario, suffix);
            let open = || open(asked, &path, overwrite).map(Mutex::new);
            wanted.then(open).transpose().map_err(|error| format!("cannot write {path}: {error}"))
        };
        let wanted = asked.wanted;
        let files = Self {
            messages: file(wanted.messages, "-message_file", "-message_overwrite", "messages.log")?,
            short_messages: file(
                wanted.short_messages,
                "-shortmessage_file",
                "-shortmessage_overwrite",
                "shortmessages.log",
            )?,
            errors: file(wanted.errors, "-error_file", "-error_overwrite", "errors.log")?,
            error_codes: file(wanted.error_codes, "", "", "error_codes.log")?,
            logs: file(wanted.logs, "-log_file", "-log_overwrite", "logs.log")?,
            response_times: file(wanted.response_times, "", "", "rtt.csv")?,
        };
        if let Some(file) = &files.response_times {
            let _ = lock(file).write_all(b"Date_ms;response_time_ms;rtd_no\n");
        }
        Ok(files)
    }

    /// Writes the lines of a worker and forgets them. A full disk loses lines, never calls.
    pub fn write(&self, traces: &mut Traces) {
        let files = [
            (&self.messages, &mut traces.messages),
            (&self.short_messages, &mut traces.short_messages),
            (&self.errors, &mut traces.errors),
            (&self.error_codes, &mut traces.error_codes),
            (&self.logs, &mut traces.logs),
            (&self.response_times, &mut traces.response_times),
        ];
        for (file, lines) in files {
            if !lines.is_empty() {
                if let Some(file) = file {
                    let _ = lock(file).write_all(lines);
                }
                lines.clear();
            }
        }
    }
}

//! Lines for the log files, in SIPp's formats. They gather here until the driver writes them.

use std::borrow::Cow;

use offhook_base::UtcMillis;

use super::{
    plan::{Now, Script},
    view::{Start, View},
};
use crate::scenario::model::StepKind;

/// Which log files there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct Wanted {
    /// `-trace_msg`.
    pub messages: bool,
    /// `-trace_shortmsg`.
    pub short_messages: bool,
    /// `-trace_err`.
    pub errors: bool,
    /// `-trace_error_codes`.
    pub error_codes: bool,
    /// `-trace_logs`.
    pub logs: bool,
    /// `-trace_rtt`.
    pub response_times: bool,
}

/// The lines so far.
#[derive(Debug, Default)]
pub struct Traces {
    wanted: Wanted,
    /// Of `-trace_msg`.
    pub messages: Vec<u8>,
    /// Of `-trace_shortmsg`.
    pub short_messages: Vec<u8>,
    /// Of `-trace_err`.
    pub errors: Vec<u8>,
    /// Of `-trace_error_codes`.
    pub error_codes: Vec<u8>,
    /// Of `-trace_logs`.
    pub logs: Vec<u8>,
    /// Of `-trace_rtt`.
    pub response_times: Vec<u8>,
    /// The last error, for the screen.
    pub last_error: Option<String>,
}

/// Octets of one file that may wait for the driver. Past it lines are dropped: the driver empties it every turn, so only a
/// disk that stands still comes this far.
const BYTES_MAX: usize = 16 << 20;

/// Most of an error that the screen shows, letters.
const LAST_ERROR_LETTERS: usize = 60;

impl Traces {
    /// Gathers what is wanted.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Whether anything waits to be written.
    pub fn is_empty(&self) -> bool {
        [
            &self.messages,
            &self.short_messages,
            &self.errors,
            &self.error_codes,
            &self.logs,
            &self.response_times,
        ]
        .iter()
        .all(|lines| lines.is_empty())
    }

    pub(super) const fn has_logs(&self) -> bool {
        self.wanted.logs
    }

    pub(super) fn sent(&mut self, now: Now, transport: &str, message: &[u8]) {
        if self.wanted.messages && self.messages.len() < BYTES_MAX {
            rule(&mut self.messages, now);
            let head = format!("{transport} message sent ({} bytes):\n\n", message.len());
            self.messages.extend_from_slice(head.as_bytes());
            self.messages.extend_from_slice(message);
            self.messages.push(b'\n');
        }
        if self.wanted.short_messages
            && let Some(view) = View::parse(message)
        {
            self.short(now, 'S', &view);
        }
    }

    pub(super) fn received(&mut self, now: Now, transport: &str, view: &View<'_>) {
        if self.wanted.messages && self.messages.len() < BYTES_MAX {
            rule(&mut self.messages, now);
            let head = format!("{transport} message received [{}] bytes :\n\n", view.bytes.len());
            self.messages.extend_from_slice(head.as_bytes());
            self.messages.extend_from_slice(view.bytes);
            self.messages.push(b'\n');
        }
        if self.wanted.short_messages {
            self.short(now, 'R', view);
        }
    }

    fn short(&mut self, now: Now, direction: char, view: &View<'_>) {
        if self.short_messages.len() >= BYTES_MAX {
            return;
        }
        timestamp(&mut self.short_messages, now.unix_micros);
        let (id, method) = (text(view.call_id), text(view.cseq_method));
        let line = format!("\t{direction}\t{id}\tCSeq:{} {method}\t{}\n", view.cseq, text(view.start_line()));
        self.short_messages.extend_from_slice(line.as_bytes());
    }

    pub(super) fn error(&mut self, now: Now, message: impl FnOnce() -> String) {
        if !self.wanted.errors && self.last_error.is_some() {
            return;
        }
        let message = message();
        self.last_error = Some(message.chars().take(LAST_ERROR_LETTERS).collect());
        if self.wanted.errors && self.errors.len() < BYTES_MAX {
            timestamp(&mut self.errors, now.unix_micros);
            self.errors.extend_from_slice(b": ");
            self.errors.extend_from_slice(message.as_bytes());
            self.errors.push(b'\n');
        }
    }

    pub(super) fn unexpected(
        &mut self,
        now: Now,
        script: &Script,
        index: usize,
        id: &[u8],
        view: &View<'_>,
        aborts: bool,
    ) {
        self.error(now, || {
            let verb = if aborts { "Aborting" } else { "Continuing" };
            let expected = match script.scenario.steps.get(index).map(|step| &step.kind) {
                Some(StepKind::Recv(recv)) => format!("while expecting '{}'", recv.expect.label()),
                Some(StepKind::Pause { .. }) => "while pausing".into(),
                Some(StepKind::Send(send)) => format!("while sending '{}'", send.label),
                _ => "while waiting for a command".into(),
            };
            let (id, message) = (text(id), text(view.bytes));
            format!("{verb} call on unexpected message for Call-Id '{id}': {expected} (index {index}), received '{message}'")
        });
    }

    pub(super) fn error_code(&mut self, now: Now, code: u16) {
        if self.wanted.error_codes && self.error_codes.len() < BYTES_MAX {
            timestamp(&mut self.error_codes, now.unix_micros);
            self.error_codes.extend_from_slice(format!(";{code}\n").as_bytes());
        }
    }

    pub(super) fn log(&mut self, line: &[u8]) {
        if self.wanted.logs && self.logs.len() < BYTES_MAX {
            self.logs.extend_from_slice(line);
            self.logs.push(b'\n');
        }
    }

    pub(super) fn response_time(&mut self, now: Now, micros: u64, name: &str) {
        if self.wanted.response_times && self.response_times.len() < BYTES_MAX {
            let line = format!("{};{};{name}\n", now.millis(), micros as f64 / 1000.0);
            self.response_times.extend_from_slice(line.as_bytes());
        }
    }
}

fn text(octets: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(octets)
}

fn rule(into: &mut Vec<u8>, now: Now) {
    into.extend_from_slice(b"----------------------------------------------- ");
    let (date, time) = date_and_time(now.unix_micros);
    into.extend_from_slice(format!("{date} {time}\n").as_bytes());
}

/// Date and time, and the seconds since 1970, with tabs between them: SIPp's time stamp.
pub fn timestamp(into: &mut Vec<u8>, unix_micros: i64) {
    let (date, time) = date_and_time(unix_micros);
    let (seconds, micros) = (unix_micros.div_euclid(1_000_000), unix_micros.rem_euclid(1_000_000));
    into.extend_from_slice(format!("{date}\t{time}\t{seconds}.{micros:06}").as_bytes());
}

fn date_and_time(unix_micros: i64) -> (String, String) {
    let (year, month, day, hour, minute, second) = UtcMillis(unix_micros.div_euclid(1000)).civil();
    let micros = unix_micros.rem_euclid(1_000_000);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}.{micros:06}"))
}

/// What a start line shows in SIPp's short form, for tests and reports.
pub fn start_label(start: Start<'_>) -> String {
    match start {
        Start::Request(method) => text(method).into_owned(),
        Start::Response(code) => code.to_string(),
    }
}

//! Commands about what happens and what happened.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Subcommand};

/// Which registrations.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  offhook registrations\n  offhook registrations --tenant acme --json")]
pub struct RegistrationsArgs {
    /// Of this tenant only
    #[arg(long)]
    pub tenant: Option<String>,
    /// Print everything in full, however wide
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which calls, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook calls                       a live screen on a terminal; q ends it
  offhook calls --once                one table
  offhook calls --json | jq
  offhook calls --hang-up 01KB2W3XJB0ZD5V8Q4M7N6R1TC")]
pub struct CallsArgs {
    /// Of this tenant only
    #[arg(long)]
    pub tenant: Option<String>,
    /// Print one table and end, also on a terminal
    #[arg(long)]
    pub once: bool,
    /// Print one table with everything in full, however wide, and end
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Print JSON and end
    #[arg(long)]
    pub json: bool,
    /// Hang this call up and end
    #[arg(long, value_name = "CALL")]
    pub hang_up: Option<String>,
}

/// Which records, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook records                               the last 100
  offhook records --line 101 --from 2026-11-01
  offhook records --cause no_answer --json
  offhook records --all --csv > calls.csv

The access is logged, with the reason.")]
pub struct RecordsArgs {
    /// Of this tenant only
    #[arg(long)]
    pub tenant: Option<String>,
    /// In which this line took part
    #[arg(long)]
    pub line: Option<String>,
    /// From exactly this address or number
    #[arg(long)]
    pub caller: Option<String>,
    /// To exactly this address or number
    #[arg(long)]
    pub callee: Option<String>,
    /// Whose caller or callee contains this text
    #[arg(long, value_name = "TEXT")]
    pub party: Option<String>,
    /// Begun then or later (UTC): 2026-11-22 or 2026-11-22T16:10:36Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Begun before then (UTC)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Ended for this cause: hung_up, cancelled, busy, no_answer, ...
    #[arg(long)]
    pub cause: Option<String>,
    /// Answered for at least so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub talk_min: Option<u64>,
    /// At most so many, 1 or more
    #[arg(long, default_value = "100", conflicts_with = "all")]
    pub limit: NonZeroUsize,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// Why they are read; it goes into the access log
    #[arg(long)]
    pub reason: Option<String>,
    /// Print everything in full, however wide
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub wide: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV
    #[arg(long)]
    pub csv: bool,
}

/// Which messages, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook trace                          everything, masked
  offhook trace --line 101
  offhook trace --call 01KB2W3XJB0ZD5V8Q4M7N6R1TC --json
  offhook trace --peer carrier --unmask --reason \"ticket 4711\"

Numbers, names and addresses are masked; --unmask shows them and is logged with
its reason. Passwords and keys stay masked.")]
pub struct TraceArgs {
    /// Of this call
    #[arg(long)]
    pub call: Option<String>,
    /// From and to this line
    #[arg(long)]
    pub line: Option<String>,
    /// From and to this peer
    #[arg(long)]
    pub peer: Option<String>,
    /// The line's or peer's tenant
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Show numbers, names and addresses in clear
    #[arg(long, requires = "reason")]
    pub unmask: bool,
    /// Why they are shown; it is logged
    #[arg(long)]
    pub reason: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to do with recordings.
#[derive(Debug, Subcommand)]
pub enum RecordingsCommand {
    /// Show all
    #[command(after_help = "\
Examples:
  offhook recordings list --reason 'weekly check'

The access is logged, with the reason.")]
    List {
        /// Why; it goes into the access log
        #[arg(long)]
        reason: String,
        /// Print everything in full, however wide
        #[arg(long, conflicts_with = "json")]
        wide: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the sound of one into a WAV file
    #[command(after_help = "\
Examples:
  offhook recordings export 01KB2W3XJB0ZD5V8Q4M7N6R1TC a.wav --reason minutes

The access is logged, with the reason. The file is not encrypted.")]
    Export {
        /// Its id
        recording: String,
        /// The file to make
        file: PathBuf,
        /// Why; it goes into the access log
        #[arg(long)]
        reason: String,
    },
    /// Delete one, and its key with it
    #[command(after_help = "\
Examples:
  offhook recordings delete 01KB2W3XJB0ZD5V8Q4M7N6R1TC --reason withdrawn

The access is logged, with the reason.")]
    Delete {
        /// Its id
        recording: String,
        /// Why; it goes into the access log
        #[arg(long)]
        reason: String,
    },
}

//! The command line: what may be typed, and what `--help` says of it.

mod backup;
mod edge;
mod live;
mod node;
mod route;
mod site;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

pub use backup::{BackupArgs, RestoreArgs};
pub use edge::{EdgeCommand, ListArgs, TestArgs as EdgeTestArgs, TopArgs, WayArg};
pub use live::{CallsArgs, RecordingsCommand, RecordsArgs, RegistrationsArgs, TraceArgs};
pub use node::{ConfigCommand, ServeArgs, TokenCommand};
pub use route::{RouteCommand, SetArgs as RouteSetArgs, TableCommand, TestArgs as RouteTestArgs};
pub use site::{
    ApplyArgs, CallPermission, DeviceCommand, DeviceSettings, LineCommand, LineSettings, PeerCommand,
    PeerSettings, Srtp, TenantCommand, UserCommand,
};

use crate::{output, try_call::TryArgs};

/// What the exit codes mean; every page of help ends with it where it matters.
const AFTER_HELP: &str = "\
Examples:
  offhook serve --demo              start a node with two demo lines
  offhook try                       see whether a call works
  offhook line add 101              add a line, print its password
  offhook calls                     watch the calls
  offhook records --csv             export the call records

Exit codes:
  0  done
  1  refused or failed; nothing was changed
  2  the command line is wrong: an option, or a value that cannot be one
  3  the configuration is wrong
  4  no node answers, or the connection to it broke off
  5  no token, or a wrong one

Environment:
  OFFHOOK_TOKEN  token for the node's API; without it the file `token` in the
                 data directory is read
  RUST_LOG       what `serve` logs, for example `info` or `offhook_switch=debug`";

/// The page of `load` itself is made from SIPp's options (offhook_load::run::table).
const LOAD_HELP: &str = "\
Examples:
  offhook load -sn uas -p 5070
  offhook load 127.0.0.1:5070 -r 50 -m 500
  offhook load 10.0.0.5 -sf register.xml -inf users.csv -m 1000
  offhook load 10.0.0.5 -m 600 --require 'failed == 0' --junit load.xml
  offhook load --help";

/// A SIP exchange: register phones, connect calls, keep exact records.
#[derive(Debug, Parser)]
#[command(name = "offhook", version, after_help = AFTER_HELP, max_term_width = 80)]
pub struct Cli {
    /// Configuration file [default: offhook.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's API [default: http.listen of the configuration]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node and run it until it is told to stop
    Serve(ServeArgs),
    /// Try the running node: two built-in phones call each other
    Try(TryArgs),
    /// Make calls with SIPp's scenarios and see whether they succeed
    #[command(disable_help_flag = true, after_help = LOAD_HELP)]
    Load {
        /// HOST[:PORT] and SIPp's options; `offhook load --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Add, change, list and remove lines
    #[command(subcommand)]
    Line(LineCommand),
    /// Add, change, list and remove peers: trunks and other systems
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Add, change, list and remove tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Add, change, list and remove users
    #[command(subcommand)]
    User(UserCommand),
    /// Add, change, list and remove devices
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Make the node's site what a file says: all of it or nothing
    Apply(ApplyArgs),
    /// Show which devices are registered
    Registrations(RegistrationsArgs),
    /// Watch the calls, or hang one up
    Calls(CallsArgs),
    /// Say where calls go, and tell why one goes where it goes
    #[command(subcommand)]
    Route(RouteCommand),
    /// Guard the node: who sends most, who is banned, who may come in
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// Show or export call records
    Records(RecordsArgs),
    /// List, export and delete recordings of conferences
    #[command(subcommand)]
    Recordings(RecordingsCommand),
    /// Watch SIP messages as they pass
    Trace(TraceArgs),
    /// Show, make, replace and revoke tokens of the API
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Copy all that the node keeps into one file, while it runs
    Backup(BackupArgs),
    /// Put a backup in the place of what the stopped node keeps
    Restore(RestoreArgs),
    /// Show how the node stands
    #[command(after_help = "Examples:\n  offhook status\n  offhook status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a new process of the program take everything over
    #[command(after_help = "\
Examples:\n  install -m 0755 offhook-new /usr/local/bin/offhook && offhook upgrade\n\n\
The new process takes over listeners, registrations and calls; what comes\nmeanwhile waits, and is not lost. Phones over TCP, TLS and WebSocket connect\n\
anew. A new version that does not start leaves the old one serving; what it\ncomplained of is in the log.")]
    Upgrade,
    /// Let running calls end, take no new ones, then stop the node
    #[command(
        after_help = "Examples:\n  offhook drain\n\nRunning calls have limits.drain_secs to end. SIGTERM does the same."
    )]
    Drain,
}

/// Says what is wrong with the command line, or shows the help that was asked for, and ends the program.
pub fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    output::note(plain(&error.to_string()).trim_end());
    std::process::exit(error.exit_code())
}

/// The words of the standard library's parsers, in ours.
fn plain(text: &str) -> String {
    let number = "not a whole number";
    text.replace("invalid digit found in string", number)
        .replace("cannot parse integer from empty string", number)
        .replace("number too large to fit in target type", "the number is too large")
        .replace("number would be zero for non-zero type", "must be 1 or more")
        .replace("one or more required arguments were not provided", "something is missing")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn a_wrong_number_is_told_in_plain_words() {
        let said = |arguments: &[&str]| {
            let error = super::Cli::try_parse_from(arguments).expect_err("that is no number");
            assert_eq!(error.exit_code(), 2);
            super::plain(&error.to_string())
        };
        for value in ["x", "0", "-1", "99999999999999999999999"] {
            let said = said(&["offhook", "records", &format!("--limit={value}")]);
            assert!(
                said.contains("--limit") && !said.contains("digit") && !said.contains("target"),
                "{said}"
            );
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}

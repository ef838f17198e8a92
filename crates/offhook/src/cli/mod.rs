//! The command line: what may be typed, and what `--help` says of it.

mod live;
mod node;
mod site;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use live::{CallsArgs, RecordsArgs, RegistrationsArgs, TraceArgs};
pub use node::{ConfigCommand, ServeArgs, TokenCommand};
pub use site::{
    ApplyArgs, CallPermission, DeviceCommand, DeviceSettings, LineCommand, LineSettings, PeerCommand,
    PeerSettings, Srtp, TenantCommand, UserCommand,
};

use crate::try_call::TryArgs;

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
  2  the command line is wrong
  3  the configuration is wrong
  4  no node answers
  5  no token, or a wrong one

Environment:
  OFFHOOK_TOKEN  token for the node's API; without it the file `token` in the
                 data directory is read
  RUST_LOG       what `serve` logs, for example `info` or `offhook_switch=debug`";

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
    /// Show or export call records
    Records(RecordsArgs),
    /// Watch SIP messages as they pass
    Trace(TraceArgs),
    /// Show, make, replace and revoke tokens of the API
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show how the node stands
    #[command(after_help = "Examples:\n  offhook status\n  offhook status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let running calls end, take no new ones, then stop the node
    #[command(
        after_help = "Examples:\n  offhook drain\n\nRunning calls have limits.drain_secs to end. SIGTERM does the same."
    )]
    Drain,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}

//! Commands about where calls go.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with the routing.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Tell where a call would go, and why, step by step
    Test(TestArgs),
    /// Print the routing in force, or an earlier version of it
    #[command(after_help = "Examples:\n  offhook route show > routing.toml\n  offhook route show 7")]
    Show {
        /// The version; without it what is in force
        version: Option<i64>,
    },
    /// Set the routing from a file: all of it, or nothing
    Set(SetArgs),
    /// List the versions of the routing
    #[command(after_help = "Examples:\n  offhook route history\n  offhook route history --json")]
    History {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what differs between two versions of the routing
    #[command(after_help = "\
Examples:
  offhook route diff 7        from version 7 to what is in force
  offhook route diff 7 9")]
    Diff {
        /// The earlier version
        from: i64,
        /// The later one; without it what is in force
        to: Option<i64>,
    },
    /// Go back to an earlier version of the routing, at once
    #[command(after_help = "\
Examples:
  offhook route rollback 7

It becomes a new version. Tables of prefixes stay as they are.")]
    Rollback {
        /// The version, as `offhook route history` shows it
        version: i64,
    },
    /// Set, list and remove tables of prefixes
    #[command(subcommand)]
    Table(TableCommand),
}

/// Which call.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook route test +4930123456 --from 101
  offhook route test 0301234 --from peer:carrier --caller-number +331234
  offhook route test 0301234 --from 101 --at 2026-12-24T23:00:00Z

No call is made. The peers are looked at as they stand now: by load, by turn.
The exit code is 1 if the call would be refused.")]
pub struct TestArgs {
    /// What is dialled
    #[arg(allow_hyphen_values = true)]
    pub number: String,
    /// Who calls: a line, or a peer as peer:NAME
    #[arg(long, value_name = "WHO")]
    pub from: String,
    /// The number that a peer's call comes from
    #[arg(long, value_name = "NUMBER")]
    pub caller_number: Option<String>,
    /// The caller's tenant
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// When, for times of day [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to set.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook route set routing.toml --note \"beta is cheaper for France\"
  offhook route set routing.toml --dry-run

The file, with a set of two carriers that share the calls:

  [tenants.default]
  numbers = { country = \"49\", national = \"0\", international = \"00\" }

  [tenants.default.peers.alpha]
  numbers = \"e164\"
  calls_per_second = 20

  [tenants.default.sets.carriers]
  order = \"weight\"
  members = [{ peer = \"alpha\", weight = 80 }, { peer = \"beta\", weight = 20 }]

  [[tenants.default.routes]]
  prefixes = [\"+\"]
  to = [\"carriers\"]")]
pub struct SetArgs {
    /// A TOML file
    pub file: PathBuf,
    /// Only say whether it could be set
    #[arg(long)]
    pub dry_run: bool,
    /// Why; up to 200 characters
    #[arg(long, default_value = "")]
    pub note: String,
}

/// What to do with tables of prefixes.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Put a table in the place of an earlier one of its name, at once
    #[command(after_help = "\
Examples:
  offhook route table set rates rates.csv

A line of the file is PREFIX,PEER OR SET[,PRICE]; of a prefix with several
lines the cheapest is asked first:

  +49,alpha,0.008
  +49,beta,0.009
  +4930,beta,0.004")]
    Set {
        /// Its name: letters, digits, `.`, `-`, `_`
        name: String,
        /// A CSV file, up to 64 MiB
        file: PathBuf,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// List the tables
    #[command(after_help = "Examples:\n  offhook route table list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a table that no route needs
    #[command(after_help = "Examples:\n  offhook route table remove rates")]
    Remove {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

//! Commands about the guard at the edge.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to do at the edge.
#[derive(Debug, Subcommand)]
pub enum EdgeCommand {
    /// Watch who sends most, what is refused and who is banned
    Top(TopArgs),
    /// Tell what becomes of a message on its way to or from a peer, and why
    Test(TestArgs),
    /// Tell what becomes of messages from an address, and why
    #[command(
        after_help = "Examples:\n  offhook edge check 203.0.113.7\n  offhook edge check 2001:db8::7 --json"
    )]
    Check {
        /// An IPv4 or IPv6 address
        address: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ban an address for a while, also if it is a peer or registered
    #[command(
        after_help = "Examples:\n  offhook edge ban 203.0.113.7\n  offhook edge ban 203.0.113.7 --seconds 86400\n\nThe ban ends with the process. `offhook edge deny` is for good."
    )]
    Ban {
        /// An IPv4 or IPv6 address; of IPv6 all of its /64 is banned
        address: String,
        /// For how long
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// End the ban of an address
    #[command(after_help = "Examples:\n  offhook edge unban 203.0.113.7")]
    Unban {
        /// An IPv4 or IPv6 address
        address: String,
    },
    /// Never let a network in
    #[command(
        after_help = "Examples:\n  offhook edge deny 203.0.113.0/24 --note \"scans every night\"\n  offhook edge deny --file droplist.txt"
    )]
    Deny(ListArgs),
    /// Let a network in without rates and bans
    #[command(after_help = "Examples:\n  offhook edge allow 198.51.100.0/24 --note \"office in Berlin\"")]
    Allow(ListArgs),
    /// Take a network off its list
    #[command(after_help = "Examples:\n  offhook edge forget 203.0.113.0/24")]
    Forget {
        /// As `offhook edge list` shows it
        network: String,
    },
    /// Show the networks that were allowed and denied
    #[command(
        after_help = "Examples:\n  offhook edge list\n  offhook edge list --json\n\nThose of offhook.toml and its files are not among them."
    )]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How to watch.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook edge top                    a live screen on a terminal; q ends it
  offhook edge top --once             once, as text
  offhook edge top --json | jq .bans")]
pub struct TopArgs {
    /// Print it once and end, also on a terminal
    #[arg(long)]
    pub once: bool,
    /// Print JSON and end
    #[arg(long)]
    pub json: bool,
}

/// Which message, and whose rules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook edge test invite.sip --peer carrier
  offhook edge test invite.sip --peer carrier --from-peer
  offhook edge test invite.sip --peer carrier --direction in
  offhook edge test invite.sip --peer carrier --json | jq -r .message

The file has an INVITE as `offhook trace` shows it. Nothing is sent. What the
node writes anew is shown as it stands in the file. Rules are set with
`offhook route set`, under the peer's name.")]
pub struct TestArgs {
    /// A file with a SIP request
    pub file: PathBuf,
    /// The peer
    #[arg(long, value_name = "NAME")]
    pub peer: String,
    /// Its tenant
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Whether the message goes out to the peer or comes in from it
    #[arg(long, value_enum, default_value = "out")]
    pub direction: WayArg,
    /// What goes out comes from another peer, not from a line
    #[arg(long)]
    pub from_peer: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WayArg {
    /// From the peer
    In,
    /// To the peer
    Out,
}

/// Which networks.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// A network, 203.0.113.0/24 or 2001:db8::/32, or an address
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub network: Option<String>,
    /// A file with a network a line; remarks stand behind # or ;
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Why; up to 200 characters
    #[arg(long, default_value = "")]
    pub note: String,
}

//! Commands about tenants, users, devices, lines and peers.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What a line or peer may call.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CallPermission {
    /// Lines of its tenant and emergency numbers
    Inside,
    /// Also numbers that a peer serves
    Outside,
}

/// How media between the node and a line or peer is protected.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Srtp {
    /// As the other side of the call has it
    Auto,
    /// Offer plain RTP
    Never,
    /// Offer SRTP, and refuse calls without
    Always,
}

/// Settings of a line; what is not given stays, or has its default.
#[derive(Debug, Args)]
pub struct LineSettings {
    /// Shown to the people it calls; "" takes it away
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// The user who holds it; "" for nobody
    #[arg(long)]
    pub user: Option<String>,
    /// Whether it may register and call
    #[arg(long, value_name = "true|false")]
    pub enabled: Option<bool>,
    /// What it may call
    #[arg(long)]
    pub may_call: Option<CallPermission>,
    /// Contacts it may have at once, 1 to 100 [default: 10]
    #[arg(long, value_name = "NUMBER")]
    pub bindings_max: Option<u16>,
    /// Calls it may have at once, 1 to 1000 [default: 10]
    #[arg(long, value_name = "NUMBER")]
    pub calls_max: Option<u16>,
    /// How its media is protected [default: auto]
    #[arg(long)]
    pub srtp: Option<Srtp>,
    /// Its password; others on this machine may see it while the command runs
    #[arg(long, conflicts_with = "password_stdin")]
    pub password: Option<String>,
    /// Read its password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// What to do with lines.
#[derive(Debug, Subcommand)]
pub enum LineCommand {
    /// Add a line and print its password
    #[command(after_help = "\
Examples:
  offhook line add 101
  offhook line add anna --display-name \"Anna Example\" --may-call outside
  printf %s \"$PASSWORD\" | offhook line add 102 --password-stdin

Without a password one is made. It is shown once; only its hashes are kept.")]
    Add {
        /// Its name: the user part of its address
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: LineSettings,
    },
    /// Change a line: what is given
    #[command(
        after_help = "Examples:\n  offhook line set 101 --may-call outside\n  offhook line set 101 --enabled false"
    )]
    Set {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: LineSettings,
    },
    /// List the lines with their live state
    #[command(after_help = "Examples:\n  offhook line list\n  offhook line list --tenant acme --json")]
    List {
        /// Their tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new password and print it
    #[command(
        after_help = "Examples:\n  offhook line reset-password 101\n\nThe old password is void at once; registrations stay until they expire."
    )]
    ResetPassword {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Remove a line
    #[command(after_help = "Examples:\n  offhook line remove 101")]
    Remove {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// Settings of a peer; what is not given stays, or has its default.
#[derive(Debug, Args)]
pub struct PeerSettings {
    /// Where its requests come from: ADDRESS or ADDRESS/PREFIX; repeatable
    #[arg(long = "source", value_name = "RANGE")]
    pub sources: Vec<String>,
    /// Where calls to it go: name or address; "" if it only calls us
    #[arg(long)]
    pub host: Option<String>,
    /// Its port; 0 lets DNS decide
    #[arg(long)]
    pub port: Option<u16>,
    /// udp, tcp or tls; "" lets DNS decide
    #[arg(long)]
    pub transport: Option<String>,
    /// User name for its challenges; "" takes it away
    #[arg(long)]
    pub username: Option<String>,
    /// Read the password for its challenges from standard input
    #[arg(long)]
    pub secret_stdin: bool,
    /// Beginning of the numbers it takes; repeatable; "" takes all
    #[arg(long = "prefix", value_name = "DIGITS")]
    pub prefixes: Vec<String>,
    /// What its calls may reach
    #[arg(long)]
    pub may_call: Option<CallPermission>,
    /// Calls it may have at once, 1 to 100000 [default: 1000]
    #[arg(long, value_name = "NUMBER")]
    pub calls_max: Option<u32>,
    /// Whether its media goes through the node [default: true]
    #[arg(long, value_name = "true|false")]
    pub anchor_media: Option<bool>,
    /// How its media is protected [default: auto]
    #[arg(long)]
    pub srtp: Option<Srtp>,
    /// Whether it may call and be called [default: true]
    #[arg(long, value_name = "true|false")]
    pub enabled: Option<bool>,
}

/// What to do with peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Add a peer
    #[command(after_help = "\
Examples:
  offhook peer add carrier --host sip.example.net --source 192.0.2.0/24 \\
    --prefix +
  offhook peer add pbx --source 198.51.100.7 --may-call inside")]
    Add {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: PeerSettings,
    },
    /// Change a peer: what is given; lists are replaced
    #[command(
        after_help = "Examples:\n  offhook peer set carrier --enabled false\n  offhook peer set carrier --prefix +49 --prefix +43"
    )]
    Set {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: PeerSettings,
    },
    /// List the peers
    #[command(after_help = "Examples:\n  offhook peer list\n  offhook peer list --json")]
    List {
        /// Their tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a peer
    #[command(after_help = "Examples:\n  offhook peer remove carrier")]
    Remove {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Add a tenant
    #[command(after_help = "Examples:\n  offhook tenant add acme --domain acme.example")]
    Add {
        /// Its name: lower-case letters, digits, `-`
        name: String,
        /// A domain of its addresses; repeatable
        #[arg(long = "domain", value_name = "DOMAIN")]
        domains: Vec<String>,
        /// Its digest realm [default: its first domain, or its name]
        #[arg(long)]
        realm: Option<String>,
    },
    /// Change a tenant: what is given; the list is replaced
    #[command(after_help = "Examples:\n  offhook tenant set acme --domain acme.example --domain acme.test")]
    Set {
        /// Its name
        name: String,
        /// A domain of its addresses; repeatable
        #[arg(long = "domain", value_name = "DOMAIN")]
        domains: Vec<String>,
        /// Its digest realm; only while it has no lines
        #[arg(long)]
        realm: Option<String>,
    },
    /// List the tenants
    #[command(after_help = "Examples:\n  offhook tenant list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an empty tenant
    #[command(after_help = "Examples:\n  offhook tenant remove acme")]
    Remove {
        /// Its name
        name: String,
    },
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    #[command(after_help = "Examples:\n  offhook user add anna --full-name \"Anna Example\"")]
    Add {
        /// The user's name
        name: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What people call the user
        #[arg(long, value_name = "NAME")]
        full_name: Option<String>,
    },
    /// Change a user: what is given
    #[command(after_help = "Examples:\n  offhook user set anna --full-name \"Anna Muster\"")]
    Set {
        /// The user's name
        name: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What people call the user; "" takes it away
        #[arg(long, value_name = "NAME")]
        full_name: Option<String>,
    },
    /// List the users
    #[command(after_help = "Examples:\n  offhook user list")]
    List {
        /// Their tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user
    #[command(after_help = "Examples:\n  offhook user remove anna")]
    Remove {
        /// The user's name
        name: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// Settings of a device; what is not given stays, or has its default.
#[derive(Debug, Args)]
pub struct DeviceSettings {
    /// What people call it, for example "desk phone"
    #[arg(long)]
    pub kind: Option<String>,
    /// The +sip.instance it registers with; "" forgets it
    #[arg(long, value_name = "URN")]
    pub instance: Option<String>,
    /// A line it may hold; repeatable
    #[arg(long = "line", value_name = "LINE")]
    pub lines: Vec<String>,
}

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Add a device
    #[command(after_help = "Examples:\n  offhook device add desk --kind \"desk phone\" --line 101")]
    Add {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: DeviceSettings,
    },
    /// Change a device: what is given; the list is replaced
    #[command(after_help = "Examples:\n  offhook device set desk --line 101 --line 102")]
    Set {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        settings: DeviceSettings,
    },
    /// List the devices
    #[command(after_help = "Examples:\n  offhook device list")]
    List {
        /// Their tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a device
    #[command(after_help = "Examples:\n  offhook device remove desk")]
    Remove {
        /// Its name
        name: String,
        /// Its tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// What to apply, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook apply site.toml              show the plan, ask, apply
  offhook apply site.toml --dry-run    show the plan only
  offhook apply site.toml --yes        do not ask
  offhook apply site.toml --prune      also remove what is not in the file

A site file:
  [tenants.default.lines.101]
  display_name = \"Anna\"
  generate = true                      # or password = \"...\"

  [tenants.default.peers.carrier]
  host = \"sip.example.net\"
  sources = [\"192.0.2.0/24\"]
  prefixes = [\"+\"]")]
pub struct ApplyArgs {
    /// The site file; `-` is standard input
    pub file: PathBuf,
    /// Apply without asking
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove what the file's tenants have beyond it
    #[arg(long)]
    pub prune: bool,
}

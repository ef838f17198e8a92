//! Commands about the node itself.

use clap::{Args, Subcommand};

/// How to start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook serve                       defaults, or offhook.toml if it is there
  offhook serve --demo                with two lines to try it out
  offhook serve --config /etc/offhook/offhook.toml

SIGTERM and SIGINT (Ctrl-C) drain: no new calls, running ones have
limits.drain_secs to end. A second signal ends them, a third one stops the node
at once. SIGHUP reads the certificates again. SIGUSR2 does what
`offhook upgrade` does.")]
pub struct ServeArgs {
    /// Make two demo lines with fresh passwords, if there are no lines yet
    #[arg(long)]
    pub demo: bool,
    /// Take over from the node that runs on the same data
    #[arg(long)]
    pub take_over: bool,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is sound, and where it is not
    #[command(after_help = "\
Examples:
  offhook config check
  offhook config check --config new.toml

Certificates and keys are read, too. If the node runs here, what its lines and
peers lack is told as well: emergency numbers that no peer takes.")]
    Check,
    /// Print the configuration in force, defaults included
    #[command(after_help = "Examples:\n  offhook config show\n  offhook config show > offhook.toml")]
    Show,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print the token that this command line uses
    #[command(
        after_help = "Examples:\n  offhook token show\n  curl -H \"Authorization: Bearer $(offhook token show)\" \\\n    http://127.0.0.1:8080/api/v1/status"
    )]
    Show,
    /// Give a token a new secret; the old one is void at once
    #[command(
        after_help = "Examples:\n  offhook token replace          the local one; its file is written anew\n  offhook token replace backup"
    )]
    Replace {
        /// Its name
        #[arg(default_value = offhook_api::FIRST_TOKEN)]
        name: String,
    },
    /// Make another token and print it once
    #[command(after_help = "Examples:\n  offhook token add backup")]
    Add {
        /// Its name: letters, digits, `.`, `-`, `_`
        name: String,
    },
    /// List the tokens
    #[command(after_help = "Examples:\n  offhook token list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token at once
    #[command(after_help = "Examples:\n  offhook token remove backup")]
    Remove {
        /// Its name
        name: String,
    },
}

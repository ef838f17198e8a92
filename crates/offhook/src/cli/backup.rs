//! Commands about a copy of all that a node keeps.

use std::path::PathBuf;

use clap::Args;

/// What to back up, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook backup /backup/offhook-$(date +%F).tar
  offhook backup all.tar --passphrase-file /etc/offhook/backup-passphrase

The node may run meanwhile, and does not notice. The file is for its owner only:
it says who called whom. The keys (peers' passwords, certificate, token) are
left out unless a passphrase seals them. The certificates that [tls] names and
the passphrase itself are never in it.")]
pub struct BackupArgs {
    /// The file to make; it must not exist
    pub file: PathBuf,
    /// Put the keys in, sealed with the first line of this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What to restore.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook restore all.tar --dry-run     check it, and say what would be done
  offhook restore all.tar --passphrase-file /etc/offhook/backup-passphrase --yes

The backup is unpacked and checked whole before anything is touched. The node
must be stopped. What was in the data directory is kept in a folder in it. The
configuration of the backup is put beside, for you to compare, not in force.")]
pub struct RestoreArgs {
    /// The backup
    pub file: PathBuf,
    /// Open the sealed keys with the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "without_keys")]
    pub passphrase_file: Option<PathBuf>,
    /// Leave the keys of the data directory as they are
    #[arg(long)]
    pub without_keys: bool,
    /// Check and say what would be done; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

//! `offhook backup` and `offhook restore`: on the data directory itself, with or without a node.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    time::SystemTime,
};

use offhook_base::UtcMillis;
use offhook_node::config::Config;
use offhook_store::backup::{BackupError, BackupOptions, Restorable, back_up};
use offhook_switch::directory::Secret;

use crate::{
    cli::{BackupArgs, RestoreArgs},
    failure::{Failure, why},
    output,
};

/// Makes a backup.
pub async fn backup(config: Option<&Path>, args: &BackupArgs) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    let passphrase = args.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let options = BackupOptions {
        configuration: loaded.file.as_deref(),
        passphrase: passphrase.as_ref(),
        program: concat!("offhook ", env!("CARGO_PKG_VERSION")),
        now: now(),
    };
    let made = back_up(&loaded.config.storage.data, &args.file, options).await.map_err(failure)?;
    let size: u64 = made.files.iter().map(|file| file.size).sum();
    output::line(&format!(
        "Made {}: {} files, {} KB.",
        args.file.display(),
        made.files.len(),
        size.div_ceil(1000)
    ))?;
    if made.has_keys() {
        output::line("The keys are in it, sealed: without the passphrase they are lost.")
    } else {
        output::line(
            "The keys are not in it: restored elsewhere, peers' passwords must be entered anew, a self-signed\n\
             certificate is made anew, and phones authenticate anew. --passphrase-file puts them in, sealed.",
        )
    }
}

/// Restores one.
pub async fn restore(config: Option<&Path>, args: &RestoreArgs) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    let data = &loaded.config.storage.data;
    let passphrase = args.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let found = Restorable::check(&args.file, data, passphrase.as_ref(), args.without_keys);
    let found = found.await.map_err(failure)?;
    let (year, month, day, hour, minute, _) = found.manifest.made.civil();
    output::line(&format!(
        "{}: made {year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC by {}; whole and sound.",
        args.file.display(),
        found.manifest.program
    ))?;
    output::line(&format!("  {} lines and {} call records are in it.", found.lines, found.records))?;
    output::line(&format!("  They replace what is in {}, which is kept in a folder there.", data.display()))?;
    if found.lost_secrets > 0 {
        output::line(&format!(
            "  The passwords of {} peers cannot be read without their key: enter them anew.",
            found.lost_secrets
        ))?;
    }
    if args.dry_run || !(args.yes || confirmed()?) {
        return output::line("Nothing was changed.");
    }
    let restored =
        found.restore(&now().0.to_string(), loaded.config.storage.calls.as_deref()).await.map_err(failure)?;
    output::line("Restored. `offhook serve` starts on it.")?;
    if let Some(before) = restored.before {
        output::line(&format!("  What was there before: {}", before.display()))?;
    }
    if let Some(configuration) = restored.configuration {
        output::line(&format!("  The backup's configuration, not in force: {}", configuration.display()))?;
    }
    Ok(())
}

fn failure(error: BackupError) -> Failure {
    Failure::new(error.to_string(), error.hint())
}

fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The first line of a file: a passphrase on the command line would be seen by every user of the host.
fn read_passphrase(file: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::new(format!("cannot read {}: {}", file.display(), why(&error)), "check path, owner and mode")
    })?;
    match text.lines().next().map(str::trim_end).filter(|line| !line.is_empty()) {
        Some(line) => Ok(Secret::new(line)),
        None => Err(Failure::new(
            format!("{} holds no passphrase", file.display()),
            "write it into the file's first line",
        )),
    }
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new("nobody is there to be asked", "look at --dry-run, then use --yes"));
    }
    let mut out = io::stderr();
    write!(out, "Restore it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

//! `offhook apply`: the plan, a question, then all of it or nothing.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use serde_json::Value;

use crate::{
    cli::ApplyArgs,
    client::Client,
    failure::{Failure, why},
    output,
    pages::field,
};

/// Makes the node's site what the file says.
pub async fn run(client: &Client, args: &ApplyArgs) -> Result<(), Failure> {
    let document = read(args)?;
    let prune = ("prune", args.prune.to_string());
    let plan: Value = client.send_text("/apply/plan", std::slice::from_ref(&prune), document.clone()).await?;
    let changes = plan["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if changes.is_empty() {
        output::line("Nothing to do: all is as the file says.")?;
        output::warnings(&plan);
        return Ok(());
    }
    for change in changes.iter().filter_map(Value::as_str) {
        output::line(&output::clean(change))?;
    }
    output::warnings(&plan);
    if args.dry_run || !(args.yes || confirmed(changes.len(), args)?) {
        return output::line("Nothing was changed.");
    }
    // With the plan's generation, so that what is done is what was seen.
    let query = [prune, ("generation", field(&plan, "generation"))];
    let done: Value = client.send_text("/apply", &query, document).await?;
    output::line(&format!("Applied: {}.", counted(changes.len())))?;
    let made = done["passwords"].as_array().map_or(&[][..], Vec::as_slice);
    if made.is_empty() {
        return Ok(());
    }
    output::line("\nPasswords that were made (shown once)")?;
    let row = |made: &Value| {
        vec![format!("{}@{}", field(made, "line"), field(made, "tenant")), field(made, "password")]
    };
    output::table(&["LINE", "PASSWORD"], made.iter().map(row).collect(), "")
}

fn read(args: &ApplyArgs) -> Result<String, Failure> {
    let read = if args.file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(&args.file)
    };
    read.map_err(|error| {
        Failure::new(
            format!("cannot read {}: {}", args.file.display(), why(&error)),
            "check the path; `-` is standard input",
        )
    })
}

fn confirmed(changes: usize, args: &ApplyArgs) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || args.file.as_os_str() == "-" {
        return Err(Failure::new(
            "nobody is there to be asked",
            "look at the plan with --dry-run, then use --yes",
        ));
    }
    let mut out = io::stderr();
    write!(out, "Apply {}? [y/N] ", counted(changes))?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn counted(changes: usize) -> String {
    if changes == 1 { "1 change".into() } else { format!("{changes} changes") }
}

//! `offhook recordings`: a table, a file, or the end of one.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use reqwest::Method;
use serde_json::Value;

use super::segment;
use crate::{
    cli::RecordingsCommand,
    client::Client,
    failure::{Failure, why},
    output::{self, Fit},
    pages::{self, field},
};

/// Lists, exports or deletes recordings.
pub async fn run(client: &Client, command: RecordingsCommand) -> Result<(), Failure> {
    match command {
        RecordingsCommand::List { reason, wide, json } => list(client, reason, wide, json).await,
        RecordingsCommand::Export { recording, file, reason } => {
            let path = format!("/recordings/{}", segment(&recording));
            let mut response = client.open(&path, &[("reason", reason)]).await?;
            let failed = |error: std::io::Error| {
                let what = format!("cannot write {}: {}", file.display(), why(&error));
                Failure::new(what, "name a file that is not there yet, in a directory that is")
            };
            // What people said is for nobody else on this host.
            let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            let mut out = options.map_err(failed)?;
            while let Some(part) = response.chunk().await.map_err(|error| client.broke_off(&error))? {
                out.write_all(&part).map_err(failed)?;
            }
            output::line(&format!("{} is not encrypted any more: guard it.", file.display()))
        }
        RecordingsCommand::Delete { recording, reason } => {
            let path = format!("/recordings/{}", segment(&recording));
            client.command_with(Method::DELETE, &path, &[("reason", reason)]).await?;
            output::line(&format!("Recording {recording} is gone."))
        }
    }
}

async fn list(client: &Client, reason: String, wide: bool, json: bool) -> Result<(), Failure> {
    let recordings = pages::all(client, "/recordings", &[("reason", reason)], None).await?;
    if json {
        return output::json(&Value::Array(recordings));
    }
    let row = |recording: &Value| {
        let seconds = recording["seconds"].as_f64().unwrap_or_default();
        vec![
            output::short_time(&field(recording, "started")),
            field(recording, "room"),
            output::duration((seconds * 1000.0) as i64),
            recording["consents"].as_array().map_or(0, Vec::len).to_string(),
            field(recording, "complete"),
            field(recording, "id"),
            field(recording, "tenant"),
        ]
    };
    let columns = [
        ("BEGUN (UTC)", Fit::Whole),
        ("ROOM", Fit::Shorten),
        ("LASTS", Fit::Whole),
        ("AGREED", Fit::Whole),
        ("COMPLETE", Fit::Whole),
        ("RECORDING", Fit::Whole),
        ("TENANT", Fit::Wide),
    ];
    let rows = recordings.iter().map(row).collect();
    output::fitted(&columns, rows, wide, "There are no recordings.")
}

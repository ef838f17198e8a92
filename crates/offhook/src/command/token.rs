//! `offhook token`: who may use the API.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use offhook_api::FIRST_TOKEN;
use offhook_node::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::site::segment;
use crate::{
    cli::TokenCommand,
    client::{self, Client},
    failure::{Failure, why},
    output,
    pages::field,
};

/// Shows, makes, replaces or revokes tokens.
pub async fn run(config: &Config, url: Option<&str>, command: TokenCommand) -> Result<(), Failure> {
    let file = config.token_file();
    if matches!(command, TokenCommand::Show) {
        return output::line(&client::token(&file)?);
    }
    let client = Client::new(config, url)?;
    match command {
        TokenCommand::Show => Ok(()),
        TokenCommand::Replace { name } => {
            // Looked at before: afterwards the file's token is void and says nothing.
            let local = name == FIRST_TOKEN && url.is_none() && file.exists();
            let path = format!("/tokens/{}/replace", segment(&name));
            let made: Value = client.send_json(Method::POST, &path, &json!({})).await?;
            let token = field(&made, "token");
            // Printed first: if the file cannot be written, the token is not lost.
            output::line(&token)?;
            if local {
                write_private(&file, &token)?;
                output::note(&format!("{} was written anew.", file.display()));
            }
            Ok(())
        }
        TokenCommand::Add { name } => {
            let made: Value = client.send_json(Method::POST, "/tokens", &json!({ "name": name })).await?;
            output::line(&field(&made, "token"))?;
            output::note("It is shown once; only its hash is kept.");
            Ok(())
        }
        TokenCommand::List { json } => {
            let page: Value = client.get("/tokens", &[]).await?;
            let tokens = page["items"].as_array().cloned().unwrap_or_default();
            if json {
                return output::json(&Value::Array(tokens));
            }
            let row = |token: &Value| {
                vec![field(token, "name"), field(token, "role"), output::short_time(&field(token, "created"))]
            };
            output::table(
                &["NAME", "ROLE", "MADE (UTC)"],
                tokens.iter().map(row).collect(),
                "There are no tokens.",
            )
        }
        TokenCommand::Remove { name } => {
            client.command(Method::DELETE, &format!("/tokens/{}", segment(&name))).await?;
            output::line(&format!("Token {name} is void."))
        }
    }
}

/// Replaces a file whole, readable by its owner only: a reader sees the old token or the new one, never a half.
fn write_private(file: &Path, token: &str) -> Result<(), Failure> {
    let fresh = file.with_extension("new");
    let written = (|| {
        // What is left of an earlier try might have other permissions.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        writeln!(out, "{token}")?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    })();
    written.map_err(|error| {
        Failure::new(
            format!("cannot write {}: {}", file.display(), why(&error)),
            format!("keep the token shown above; write it there yourself or set {}", client::TOKEN_VARIABLE),
        )
    })
}

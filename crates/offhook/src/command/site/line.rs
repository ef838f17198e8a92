//! `offhook line`.

use std::io::{self, Read as _};

use serde_json::{Map, Value, json};

use super::{Kind, optional_text};
use crate::{
    cli::{CallPermission, LineCommand, LineSettings, Srtp},
    client::Client,
    failure::Failure,
    output,
    pages::field,
};

const LINES: Kind = Kind { plural: "lines", name: "line" };

/// Adds, changes, lists or removes lines.
pub async fn run(client: &Client, command: LineCommand) -> Result<(), Failure> {
    match command {
        LineCommand::Add { name, tenant, settings } => {
            let made = LINES.add(client, &tenant, &name, fields(settings)?).await?;
            show_password(&made)
        }
        LineCommand::Set { name, tenant, settings } => {
            LINES.set(client, &tenant, &name, fields(settings)?).await.map(drop)
        }
        LineCommand::ResetPassword { name, tenant } => {
            let fields = [("generate_password".to_string(), json!(true))].into_iter().collect();
            show_password(&LINES.set(client, &tenant, &name, fields).await?)
        }
        LineCommand::List { tenant, json } => {
            let columns = [
                ("LINE", "name"),
                ("NAME", "display_name"),
                ("STATE", "state"),
                ("CALLS", "calls"),
                ("DEVICES", "bindings"),
                ("MAY CALL", "may_call"),
                ("ENABLED", "enabled"),
            ];
            LINES.list(client, &tenant, json, &columns).await
        }
        LineCommand::Remove { name, tenant } => LINES.remove(client, &tenant, &name).await,
    }
}

/// A made password, alone on standard output, so that a script can take it.
fn show_password(line: &Value) -> Result<(), Failure> {
    if line["password"].is_string() {
        output::note("Its password, shown once:");
        output::line(&field(line, "password"))?;
    }
    Ok(())
}

fn fields(settings: LineSettings) -> Result<Map<String, Value>, Failure> {
    let mut fields = optional_text("display_name", settings.display_name);
    fields.extend(optional_text("user", settings.user));
    let password = if settings.password_stdin { Some(secret_from_stdin()?) } else { settings.password };
    let others = [
        ("enabled", settings.enabled.map(Value::from)),
        ("may_call", settings.may_call.map(permission)),
        ("bindings_max", settings.bindings_max.map(Value::from)),
        ("calls_max", settings.calls_max.map(Value::from)),
        ("srtp", settings.srtp.map(srtp)),
        ("password", password.map(Value::from)),
    ];
    fields.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
    Ok(fields)
}

/// As the API writes it.
pub fn permission(permission: CallPermission) -> Value {
    match permission {
        CallPermission::Inside => "inside".into(),
        CallPermission::Outside => "outside".into(),
    }
}

/// As the API writes it.
pub fn srtp(srtp: Srtp) -> Value {
    match srtp {
        Srtp::Auto => "auto".into(),
        Srtp::Never => "never".into(),
        Srtp::Always => "always".into(),
    }
}

/// A password that nobody sees in a list of processes. The end of its line is not part of it.
pub fn secret_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let hint = "write it into the command: printf %s \"$PASSWORD\" | offhook ...";
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("cannot read the password: {error}"), hint))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(Failure::new("the password is empty", hint)) } else { Ok(secret.into()) }
}

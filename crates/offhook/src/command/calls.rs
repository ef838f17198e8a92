//! `offhook calls`: a table, JSON, or a screen that lives.

use std::{
    io::{self, IsTerminal as _},
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::Method;
use serde_json::Value;

use super::{
    screen::{self, Sheet},
    site::segment,
};
use crate::{
    cli::CallsArgs,
    client::Client,
    failure::Failure,
    output::{self, Column, Fit},
    pages::{self, field},
};

const COLUMNS: [Column; 8] = [
    ("CALL", Fit::Whole),
    ("FROM", Fit::Shorten),
    ("TO", Fit::Shorten),
    ("STATE", Fit::Whole),
    ("TIME", Fit::Whole),
    ("TENANT", Fit::Wide),
    ("ANSWERED (UTC)", Fit::Wide),
    ("LEGS", Fit::Wide),
];

/// Shows the calls, or hangs one up.
pub async fn run(client: &Client, args: &CallsArgs) -> Result<(), Failure> {
    if let Some(call) = &args.hang_up {
        let taken_down = client.command(Method::DELETE, &format!("/calls/{}", segment(call))).await;
        taken_down.map_err(|failure| failure.in_place_of("--call", "--hang-up"))?;
        return output::line(&format!("Call {call} is being taken down."));
    }
    if args.json {
        return output::json(&Value::Array(calls(client, args).await?));
    }
    if !args.once && !args.wide && io::stdout().is_terminal() && io::stdin().is_terminal() {
        return screen::run(|| calls(client, args), |calls, columns| sheet(calls, columns)).await;
    }
    output::fitted(&COLUMNS, rows(&calls(client, args).await?), args.wide, "There are no calls.")
}

fn sheet(calls: &[Value], columns: u16) -> Sheet {
    let head = if calls.len() == 1 { "1 call".to_string() } else { format!("{} calls", calls.len()) };
    let body = if calls.is_empty() {
        "There are no calls.\n".to_string()
    } else {
        output::render_fitted(&COLUMNS, rows(calls), Some(columns))
    };
    Sheet { head, body }
}

async fn calls(client: &Client, args: &CallsArgs) -> Result<Vec<Value>, Failure> {
    let query: Vec<_> = args.tenant.iter().map(|tenant| ("tenant", tenant.clone())).collect();
    pages::all(client, "/calls", &query, None).await
}

fn rows(calls: &[Value]) -> Vec<Vec<String>> {
    let row = |call: &Value| {
        vec![
            field(call, "id"),
            output::short_uri(&field(call, "caller")),
            output::short_uri(&field(call, "callee")),
            phase(&field(call, "phase")),
            age(&field(call, "started")),
            field(call, "tenant"),
            output::short_time(&field(call, "answered")),
            field(call, "legs"),
        ]
    };
    calls.iter().map(row).collect()
}

/// The API's word, or a shorter one: a row with an id and two addresses shall fit 80 columns.
fn phase(phase: &str) -> String {
    if phase == "established" { "talking".into() } else { phase.into() }
}

/// How long ago `started` was.
fn age(started: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    match offhook_api::parse_time(started) {
        Some(started) => output::duration(now - started.0),
        None => "-".into(),
    }
}

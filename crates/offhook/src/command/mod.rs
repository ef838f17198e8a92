//! The commands. All but `serve` and `config` are clients of the node's API.

mod apply;
mod backup;
mod calls;
pub mod config;
mod edge;
mod recordings;
mod records;
mod reference;
mod route;
mod screen;
pub mod serve;
mod site;
mod token;
mod trace;

pub use site::segment;

use std::path::Path;

use offhook_node::config::Config;
use reqwest::Method;
use serde_json::Value;

use crate::{
    cli::{Command, RegistrationsArgs},
    client::Client,
    failure::Failure,
    output::{self, Fit},
    pages::{self, field},
};

/// Carries out a command that talks to a node.
pub async fn run(config: Option<&Path>, url: Option<&str>, command: Command) -> Result<(), Failure> {
    match &command {
        Command::Backup(args) => return backup::backup(config, args).await,
        Command::Restore(args) => return backup::restore(config, args).await,
        Command::Upgrade => return upgrade(config),
        _ => {}
    }
    let config = Config::load(config)?.config;
    if let Command::Token(command) = command {
        return token::run(&config, url, command).await;
    }
    let client = Client::new(&config, url)?;
    match command {
        Command::Line(command) => site::line::run(&client, command).await,
        Command::Peer(command) => site::peer::run(&client, command).await,
        Command::Tenant(command) => site::tenant(&client, command).await,
        Command::User(command) => site::user(&client, command).await,
        Command::Device(command) => site::device(&client, command).await,
        Command::Apply(args) => apply::run(&client, &args).await,
        Command::Registrations(args) => registrations(&client, &args).await,
        Command::Route(command) => route::run(&client, command).await,
        Command::Edge(command) => edge::run(&client, command).await,
        Command::Calls(args) => calls::run(&client, &args).await,
        Command::Records(args) => records::run(&client, &args).await,
        Command::Recordings(command) => recordings::run(&client, command).await,
        Command::Trace(args) => trace::run(&client, &args).await,
        Command::Status { json } => status(&client, json).await,
        Command::Drain => drain(&client).await,
        Command::Try(args) => crate::try_call::run(&config, url, &args).await,
        // Handled before: they need no node, or another way to it.
        Command::Serve(_)
        | Command::Config(_)
        | Command::Token(_)
        | Command::Load { .. }
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Upgrade => Ok(()),
    }
}

async fn registrations(client: &Client, args: &RegistrationsArgs) -> Result<(), Failure> {
    let query: Vec<_> = args.tenant.iter().map(|tenant| ("tenant", tenant.clone())).collect();
    let bindings = pages::all(client, "/registrations", &query, None).await?;
    if args.json {
        return output::json(&Value::Array(bindings));
    }
    let row = |binding: &Value| {
        vec![
            format!("{}@{}", field(binding, "line"), field(binding, "tenant")),
            output::short_uri(&field(binding, "contact")),
            field(binding, "transport"),
            field(binding, "user_agent"),
            output::short_time(&field(binding, "expires")),
            field(binding, "remote"),
            field(binding, "q"),
        ]
    };
    let rows = bindings.iter().map(row).collect();
    let nothing =
        "No device is registered. Give a phone the name and password of a line: `offhook line list`.";
    let columns = [
        ("LINE", Fit::Shorten),
        ("CONTACT", Fit::Shorten),
        ("BY", Fit::Whole),
        ("DEVICE", Fit::Drop),
        ("UNTIL (UTC)", Fit::Whole),
        ("REACHED AT", Fit::Wide),
        ("Q", Fit::Wide),
    ];
    output::fitted(&columns, rows, args.wide, nothing)
}

async fn status(client: &Client, json: bool) -> Result<(), Failure> {
    let status: Value = client.get("/status", &[]).await?;
    if json {
        return output::json(&status);
    }
    for (name, key) in [
        ("Node", "readiness"),
        ("Version", "version"),
        ("Calls", "calls"),
        ("Registrations", "registrations"),
        ("Lines", "lines"),
        ("Records", "records"),
    ] {
        output::line(&format!("{name:14}{}", field(&status, key)))?;
    }
    output::warnings(&status);
    Ok(())
}

fn upgrade(config: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(config)?.config;
    offhook_node::ask_for_upgrade(&config.storage.data)
        .map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    output::line("A new process serves.")
}

async fn drain(client: &Client) -> Result<(), Failure> {
    client.command(Method::POST, "/drain").await?;
    output::line("The node takes no new calls and ends when the running ones have.")
}

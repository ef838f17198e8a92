//! `offhook peer`.

use serde_json::{Map, Value, json};

use super::{
    Kind,
    line::{permission, secret_from_stdin},
    optional_text,
};
use crate::{
    cli::{PeerCommand, PeerSettings},
    client::Client,
    failure::Failure,
};

const PEERS: Kind = Kind { plural: "peers", name: "peer" };

/// Adds, changes, lists or removes peers.
pub async fn run(client: &Client, command: PeerCommand) -> Result<(), Failure> {
    match command {
        PeerCommand::Add { name, tenant, settings } => {
            PEERS.add(client, &tenant, &name, fields(settings)?).await.map(drop)
        }
        PeerCommand::Set { name, tenant, settings } => {
            PEERS.set(client, &tenant, &name, fields(settings)?).await.map(drop)
        }
        PeerCommand::List { tenant, json } => {
            let columns = [
                ("PEER", "name"),
                ("HOST", "host"),
                ("BY", "transport"),
                ("FROM", "sources"),
                ("PREFIXES", "prefixes"),
                ("MAY CALL", "may_call"),
                ("ENABLED", "enabled"),
            ];
            PEERS.list(client, &tenant, json, &columns).await
        }
        PeerCommand::Remove { name, tenant } => PEERS.remove(client, &tenant, &name).await,
    }
}

fn fields(settings: PeerSettings) -> Result<Map<String, Value>, Failure> {
    let mut fields = optional_text("host", settings.host);
    fields.extend(optional_text("transport", settings.transport));
    fields.extend(optional_text("username", settings.username));
    let secret = if settings.secret_stdin { Some(secret_from_stdin()?) } else { None };
    let others = [
        ("port", settings.port.map(|port| if port == 0 { Value::Null } else { port.into() })),
        ("secret", secret.map(Value::from)),
        ("sources", (!settings.sources.is_empty()).then(|| json!(settings.sources))),
        ("prefixes", (!settings.prefixes.is_empty()).then(|| json!(settings.prefixes))),
        ("may_call", settings.may_call.map(permission)),
        ("calls_max", settings.calls_max.map(Value::from)),
        ("anchor_media", settings.anchor_media.map(Value::from)),
        ("enabled", settings.enabled.map(Value::from)),
    ];
    fields.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
    Ok(fields)
}

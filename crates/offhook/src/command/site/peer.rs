//! `offhook peer`.

use serde_json::{Map, Value, json};

use super::{
    Kind,
    line::{permission, secret_from_stdin, srtp},
    optional_text,
};
use crate::{
    cli::{PeerCommand, PeerSettings},
    client::Client,
    failure::Failure,
    output,
};

const PEERS: Kind = Kind { plural: "peers", name: "peer" };

/// Adds, changes, lists or removes peers.
pub async fn run(client: &Client, command: PeerCommand) -> Result<(), Failure> {
    match command {
        PeerCommand::Add { name, tenant, settings } => {
            let peer = PEERS.add(client, &tenant, &name, fields(settings)?).await?;
            if let Some(missing) = missing(&peer) {
                output::note(&format!("note: {missing}"));
            }
            Ok(())
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

/// What a new peer lacks to be of use. It may come later, so this is no error.
fn missing(peer: &Value) -> Option<&'static str> {
    let is_empty = |name: &str| peer[name].as_array().is_none_or(Vec::is_empty);
    match (peer["host"].is_string(), is_empty("sources"), is_empty("prefixes")) {
        (false, true, _) => Some("it can neither call nor be called yet: set --source or --host"),
        (true, _, true) => Some("no number leads to it yet: set --prefix"),
        _ => None,
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
        ("srtp", settings.srtp.map(srtp)),
        ("enabled", settings.enabled.map(Value::from)),
    ];
    fields.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_no_use_yet_is_told_what_it_lacks() {
        let lacks = |host: Option<&str>, sources: &[&str], prefixes: &[&str]| {
            missing(&json!({ "host": host, "sources": sources, "prefixes": prefixes }))
        };
        assert!(lacks(None, &[], &["0"]).is_some_and(|missing| missing.contains("--source or --host")));
        assert!(lacks(Some("sip.example.net"), &[], &[]).is_some_and(|missing| missing.contains("--prefix")));
        assert_eq!(lacks(Some("sip.example.net"), &[], &[""]), None, "an empty prefix takes all");
        assert_eq!(lacks(None, &["192.0.2.0/24"], &[]), None, "a peer may only call");
    }
}

//! `offhook trace`: SIP messages as they pass.

use serde_json::Value;

use crate::{
    cli::TraceArgs,
    client::Client,
    failure::Failure,
    output,
    pages::field,
    sse::{Event, Events},
};

/// Prints messages until the node or the person ends it.
pub async fn run(client: &Client, args: &TraceArgs) -> Result<(), Failure> {
    let mut response = client.open("/trace", &query_of(args)).await?;
    if !args.json {
        output::note("Watching; Ctrl-C ends it.");
    }
    let mut events = Events::default();
    while let Some(bytes) = response.chunk().await.map_err(|error| client.broke_off(&error))? {
        for event in events.feed(&bytes) {
            if event.name == "end" {
                output::note("The trace ends: the node has stopped.");
                return Ok(());
            }
            show(&event, args.json)?;
        }
    }
    output::note("The node ended the trace.");
    Ok(())
}

fn show(event: &Event, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(&event.data);
    }
    let Ok(message) = serde_json::from_str::<Value>(&event.data) else { return Ok(()) };
    let arrow = if message["direction"] == "received" { "<-" } else { "->" };
    let time = field(&message, "at");
    let time = time.get(11..23).unwrap_or(&time);
    let call = message["call"].as_str().map_or(String::new(), |call| format!(" call {call}"));
    let head = format!("{time} {arrow} {} {}{call}", field(&message, "transport"), field(&message, "remote"));
    output::line(&output::clean(&head))?;
    let text = output::clean_lines(message["text"].as_str().unwrap_or_default());
    for line in text.trim_end().lines() {
        output::line(&format!("   {line}"))?;
    }
    output::line("")
}

fn query_of(args: &TraceArgs) -> Vec<(&'static str, String)> {
    let named = [("call", &args.call), ("line", &args.line), ("peer", &args.peer), ("reason", &args.reason)];
    let mut query: Vec<_> =
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    query.push(("tenant", args.tenant.clone()));
    query.push(("unmask", args.unmask.to_string()));
    query
}

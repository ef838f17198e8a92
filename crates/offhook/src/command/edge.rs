//! `offhook edge`: who comes, who is refused, who is banned, and who may come in at all.

use std::{
    fmt::Write as _,
    fs,
    io::{self, IsTerminal as _},
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    screen::{self, Sheet},
    site::segment,
};
use crate::{
    cli::{EdgeCommand, EdgeTestArgs, ListArgs, TopArgs, WayArg},
    client::Client,
    failure::{Failure, why},
    output::{self, Column, Fit},
    pages::{self, field},
};

const SOURCES: [Column; 4] =
    [("SOURCE", Fit::Whole), ("MESSAGES/S", Fit::Whole), ("REFUSED/S", Fit::Whole), ("PEER", Fit::Drop)];

const BANS: [Column; 4] =
    [("BANNED", Fit::Whole), ("WHY", Fit::Whole), ("LEFT", Fit::Whole), ("REMARK", Fit::Drop)];

/// Sources that are shown; the API knows more.
const SOURCES_SHOWN: usize = 15;

/// Carries out one of the commands.
pub async fn run(client: &Client, command: EdgeCommand) -> Result<(), Failure> {
    match command {
        EdgeCommand::Top(args) => top(client, &args).await,
        EdgeCommand::Test(args) => test(client, &args).await,
        EdgeCommand::Check { address, json } => check(client, &address, json).await,
        EdgeCommand::Ban { address, seconds } => {
            let body = json!({ "address": address, "seconds": seconds });
            client.send_empty(Method::POST, "/edge/bans", &body).await?;
            output::line(&format!("{address} is banned for {seconds} seconds."))
        }
        EdgeCommand::Unban { address } => {
            client.command(Method::DELETE, &format!("/edge/bans/{}", segment(&address))).await?;
            output::line(&format!("{address} is banned no more."))
        }
        EdgeCommand::Deny(args) => list(client, "deny", &args).await,
        EdgeCommand::Allow(args) => list(client, "allow", &args).await,
        EdgeCommand::Forget { network } => {
            client.command_with(Method::DELETE, "/edge/networks", &[("network", network.clone())]).await?;
            output::line(&format!("{network} is on no list any more."))
        }
        EdgeCommand::List { json } => networks(client, json).await,
    }
}

async fn top(client: &Client, args: &TopArgs) -> Result<(), Failure> {
    let ask = || client.get::<Value>("/edge", &[]);
    if args.json {
        return output::json(&ask().await?);
    }
    if args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let sheet = sheet(&ask().await?, output::width());
        return output::print(&format!("{}\n\n{}", sheet.head, sheet.body));
    }
    screen::run(ask, sheet).await
}

fn sheet(view: &Value, columns: u16) -> Sheet {
    let count = |name: &str| view[name].as_u64().unwrap_or_default();
    let head = format!(
        "{} let in, {} banned; lists: {} allowed, {} denied",
        count("passed"),
        count("banned"),
        count("allowed"),
        count("denied")
    );
    let mut body = String::new();
    let refused = view["refused"].as_object().into_iter().flatten();
    let refused: Vec<String> = refused
        .filter(|(_, count)| count.as_u64() > Some(0))
        .map(|(reason, count)| format!("{} {count}", reason.replace('_', " ")))
        .collect();
    if !refused.is_empty() {
        let _ = writeln!(body, "Refused: {}\n", refused.join(", "));
    }
    let items = |name: &str| view[name].as_array().cloned().unwrap_or_default();
    let rate = |source: &Value, name: &str| format!("{:.1}", source[name].as_f64().unwrap_or_default());
    let sources = items("sources").into_iter().take(SOURCES_SHOWN).map(|source| {
        vec![
            field(&source, "source"),
            rate(&source, "messages_per_second"),
            rate(&source, "refused_per_second"),
            field(&source, "peer"),
        ]
    });
    let sources: Vec<_> = sources.collect();
    if sources.is_empty() {
        body.push_str("Nobody sends anything.\n");
    } else {
        body.push_str(&output::render_fitted(&SOURCES, sources, Some(columns)));
    }
    let bans: Vec<_> = items("bans").iter().map(ban).collect();
    if !bans.is_empty() {
        let _ = write!(body, "\n{}", output::render_fitted(&BANS, bans, Some(columns)));
    }
    Sheet { head, body }
}

fn ban(ban: &Value) -> Vec<String> {
    let is = |name: &str| ban[name].as_bool() == Some(true);
    let remark = if is("spared") {
        "spared: it is registered or allowed"
    } else if is("proven") {
        "-"
    } else {
        "its address may be forged"
    };
    let left = output::duration(ban["seconds"].as_i64().unwrap_or_default().saturating_mul(1000));
    vec![field(ban, "source"), field(ban, "why"), left, remark.into()]
}

async fn check(client: &Client, address: &str, json: bool) -> Result<(), Failure> {
    let look: Value = client.get(&format!("/edge/sources/{}", segment(address)), &[]).await?;
    if json {
        return output::json(&look);
    }
    output::line(&format!("{}: {}", field(&look, "address"), field(&look, "verdict")))?;
    if look["ban"].is_object() {
        let [source, why, left, remark] = ban(&look["ban"]).try_into().unwrap_or_default();
        output::line(&format!("  ban: {source} for {why}, {left} left ({remark})"))?;
    }
    if let Some(seconds) = look["penalty_seconds"].as_u64() {
        output::line(&format!("  passwords from there are not looked at for {seconds} seconds"))?;
    }
    if let Some(peer) = look["peer"].as_str() {
        output::line(&format!("  peer: {peer}"))?;
    }
    Ok(())
}

async fn test(client: &Client, args: &EdgeTestArgs) -> Result<(), Failure> {
    let text = fs::read_to_string(&args.file).map_err(|error| {
        let what = format!("cannot read {}: {}", args.file.display(), why(&error));
        Failure::new(what, "name a text file with a SIP request")
    })?;
    let direction = match args.direction {
        WayArg::In => "in",
        WayArg::Out => "out",
    };
    let query = [
        ("peer", args.peer.clone()),
        ("tenant", args.tenant.clone()),
        ("direction", direction.into()),
        ("sender", if args.from_peer { "peer" } else { "line" }.into()),
    ];
    let tried: Value = client.send_text("/edge/test", &query, text).await?;
    if args.json {
        return output::json(&tried);
    }
    for step in tried["steps"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output::line(&output::clean(step))?;
    }
    let message = tried["message"].as_str().unwrap_or_default();
    output::line("")?;
    for line in message.lines() {
        output::line(&output::clean(line))?;
    }
    Ok(())
}

async fn list(client: &Client, verdict: &str, args: &ListArgs) -> Result<(), Failure> {
    let Some(file) = &args.file else {
        let network = args.network.as_deref().unwrap_or_default();
        let body = json!({ "network": network, "verdict": verdict, "note": args.note });
        client.send_empty(Method::POST, "/edge/networks", &body).await?;
        return output::line(&format!("{network}: {verdict}"));
    };
    let text = fs::read_to_string(file).map_err(|error| {
        let what = format!("cannot read {}: {}", file.display(), why(&error));
        Failure::new(what, "name a text file with a network a line")
    })?;
    let query = [("verdict", verdict.to_string()), ("note", args.note.clone())];
    client.send_text_empty("/edge/networks/import", &query, text).await?;
    output::line(&format!("{}: {verdict}", file.display()))
}

async fn networks(client: &Client, json: bool) -> Result<(), Failure> {
    let networks = pages::all(client, "/edge/networks", &[], None).await?;
    if json {
        return output::json(&Value::Array(networks));
    }
    let row = |network: &Value| {
        vec![
            field(network, "network"),
            field(network, "verdict"),
            output::short_time(&field(network, "since")),
            field(network, "note"),
        ]
    };
    let columns = [
        ("NETWORK", Fit::Whole),
        ("VERDICT", Fit::Whole),
        ("SINCE (UTC)", Fit::Drop),
        ("NOTE", Fit::Shorten),
    ];
    let nothing = "No network is listed. `offhook edge deny NETWORK` keeps one out.";
    output::fitted(&columns, networks.iter().map(row).collect(), false, nothing)
}

//! `offhook route`: where calls go, and why.

use std::{fmt::Write as _, fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use super::site::segment;
use crate::{
    cli::{RouteCommand, RouteSetArgs, RouteTestArgs, TableCommand},
    client::Client,
    failure::{Failure, why},
    output::{self, Column, Fit},
    pages::field,
};

const VERSIONS: [Column; 4] =
    [("VERSION", Fit::Whole), ("SINCE (UTC)", Fit::Whole), ("BY", Fit::Drop), ("NOTE", Fit::Shorten)];

const TABLES: [Column; 5] = [
    ("TABLE", Fit::Shorten),
    ("TENANT", Fit::Whole),
    ("LINES", Fit::Whole),
    ("SINCE (UTC)", Fit::Whole),
    ("BY", Fit::Drop),
];

/// Lines of one text that a comparison looks at: the table of a comparison has this many squared.
const COMPARED_LINES_MAX: usize = 5_000;

/// Carries out one of the commands.
pub async fn run(client: &Client, command: RouteCommand) -> Result<(), Failure> {
    match command {
        RouteCommand::Test(args) => test(client, &args).await,
        RouteCommand::Show { version } => output::print(&text_of(client, version).await?),
        RouteCommand::Set(args) => set(client, &args).await,
        RouteCommand::History { json } => history(client, json).await,
        RouteCommand::Diff { from, to } => {
            let (before, after) = (text_of(client, Some(from)).await?, text_of(client, to).await?);
            let changes = differences(&before, &after);
            output::print(if changes.is_empty() { "They are the same.\n" } else { &changes })
        }
        RouteCommand::Rollback { version } => {
            let path = format!("/routing/versions/{version}/restore");
            let done: Value = client.send_text(&path, &[], String::new()).await?;
            output::line(&format!(
                "What version {version} said is in force, as version {}.",
                field(&done, "version")
            ))
        }
        RouteCommand::Table(command) => table(client, command).await,
    }
}

async fn test(client: &Client, args: &RouteTestArgs) -> Result<(), Failure> {
    let mut question = json!({ "tenant": args.tenant, "from": args.from, "number": args.number });
    for (key, value) in [("caller_number", &args.caller_number), ("at", &args.at)] {
        if let Some(value) = value {
            question[key] = json!(value);
        }
    }
    let told: Value = client.send_json(Method::POST, "/routing/test", &question).await?;
    if args.json {
        output::json(&told)?;
    } else {
        let steps = told["steps"].as_array().map_or(&[][..], Vec::as_slice);
        for step in steps.iter().filter_map(Value::as_str) {
            output::line(&output::clean(step))?;
        }
        output::line(&format!("=> {}", field(&told, "outcome")))?;
    }
    if told["reaches"].as_bool() == Some(true) {
        return Ok(());
    }
    Err(Failure::new(
        "the call would not be taken",
        "the steps above say why; routes are set with `offhook route set`",
    ))
}

async fn text_of(client: &Client, version: Option<i64>) -> Result<String, Failure> {
    let path = version.map_or("/routing".into(), |version| format!("/routing/versions/{version}"));
    let found: Value = client.get(&path, &[]).await?;
    Ok(found["document"].as_str().unwrap_or_default().to_string())
}

async fn set(client: &Client, args: &RouteSetArgs) -> Result<(), Failure> {
    let query = [("dry_run", args.dry_run.to_string()), ("note", args.note.clone())];
    let done: Value = client.send_text("/routing", &query, read(&args.file, "a TOML file")?).await?;
    match done["version"].as_i64() {
        Some(version) => output::line(&format!("In force, as version {version}.")),
        None => output::line("It could be set. Nothing was changed."),
    }
}

fn read(file: &Path, kind: &str) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::new(
            format!("cannot read {}: {}", file.display(), why(&error)),
            format!("name {kind} in UTF-8"),
        )
    })
}

async fn history(client: &Client, json: bool) -> Result<(), Failure> {
    let versions: Vec<Value> = client.get("/routing/versions", &[]).await?;
    if json {
        return output::json(&Value::Array(versions));
    }
    let row = |version: &Value| {
        vec![
            field(version, "version"),
            output::short_time(&field(version, "at")),
            field(version, "who"),
            field(version, "note"),
        ]
    };
    let nothing = "No routing was ever set: calls go by the peers' own prefixes.";
    output::fitted(&VERSIONS, versions.iter().map(row).collect(), false, nothing)
}

async fn table(client: &Client, command: TableCommand) -> Result<(), Failure> {
    let path = |tenant: &str, name: &str| format!("/routing/tables/{}/{}", segment(tenant), segment(name));
    match command {
        TableCommand::Set { name, file, tenant } => {
            let content = read(&file, "a CSV file")?;
            let done: Value = client.send_text(&path(&tenant, &name), &[], content).await?;
            output::line(&format!("{name}: {} lines are in force.", field(&done, "lines")))
        }
        TableCommand::Remove { name, tenant } => {
            client.command(Method::DELETE, &path(&tenant, &name)).await?;
            output::line(&format!("{name} is gone."))
        }
        TableCommand::List { json } => {
            let tables: Vec<Value> = client.get("/routing/tables", &[]).await?;
            if json {
                return output::json(&Value::Array(tables));
            }
            let row = |table: &Value| {
                let [name, tenant, lines] = ["name", "tenant", "lines"].map(|key| field(table, key));
                vec![name, tenant, lines, output::short_time(&field(table, "at")), field(table, "who")]
            };
            let nothing = "There is no table. `offhook route table set NAME FILE` makes one.";
            output::fitted(&TABLES, tables.iter().map(row).collect(), false, nothing)
        }
    }
}

/// The lines that are only in one of two texts, `-` of the first and `+` of the second, each with its number there. Of equal
/// lines as many as possible are paired (the longest common subsequence).
fn differences(before: &str, after: &str) -> String {
    let lines = |text: &'_ str| -> Vec<String> {
        text.lines().take(COMPARED_LINES_MAX).map(str::to_string).collect()
    };
    let (old, new) = (lines(before), lines(after));
    // How many lines can be paired from here to the ends.
    let mut pairs = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            pairs[i][j] = match old[i] == new[j] {
                true => pairs[i + 1][j + 1] + 1,
                false => pairs[i + 1][j].max(pairs[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut told) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && pairs[i + 1][j] >= pairs[i][j + 1]) {
            let _ = writeln!(told, "-{:>4}  {}", i + 1, output::clean(&old[i]));
            i += 1;
        } else {
            let _ = writeln!(told, "+{:>4}  {}", j + 1, output::clean(&new[j]));
            j += 1;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(differences("a\nb\nc\nd\n", "a\nc\nx\nd\ny\n"), "-   2  b\n+   3  x\n+   5  y\n");
        assert_eq!(differences("", "a\n"), "+   1  a\n");
        assert_eq!(differences("a\n", "a\n"), "");
    }
}

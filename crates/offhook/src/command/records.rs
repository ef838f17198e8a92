//! `offhook records`: a table, JSON, or CSV, page by page.

use serde_json::Value;

use crate::{
    cli::RecordsArgs,
    client::Client,
    failure::Failure,
    output::{self, Fit},
    pages::{self, field},
};

/// Records of one page of CSV: the API's maximum.
const PAGE: usize = 1000;

/// Shows or exports call records.
pub async fn run(client: &Client, args: &RecordsArgs) -> Result<(), Failure> {
    let query = query_of(args);
    let at_most = (!args.all).then_some(args.limit.get());
    if args.csv {
        return csv(client, query, at_most).await;
    }
    let records = pages::all(client, "/records", &query, at_most).await?;
    if args.json {
        return output::json(&Value::Array(records));
    }
    let row = |record: &Value| {
        vec![
            output::short_time(&field(record, "started")),
            output::short_uri(&field(record, "caller")),
            output::short_uri(&field(record, "callee")),
            output::duration(record["talk_ms"].as_i64().unwrap_or_default()),
            field(record, "cause").replace('_', " "),
            field(record, "sip_status"),
            field(record, "id"),
            field(record, "tenant"),
            field(record, "ended_by"),
            field(record, "q850"),
            mos(record, "caller"),
            mos(record, "callee"),
        ]
    };
    let columns = [
        ("BEGUN (UTC)", Fit::Whole),
        ("FROM", Fit::Shorten),
        ("TO", Fit::Shorten),
        ("TALKED", Fit::Whole),
        ("END", Fit::Whole),
        ("SIP", Fit::Whole),
        ("CALL", Fit::Wide),
        ("TENANT", Fit::Wide),
        ("ENDED BY", Fit::Wide),
        ("Q.850", Fit::Wide),
        ("MOS FROM", Fit::Wide),
        ("MOS TO", Fit::Wide),
    ];
    output::fitted(&columns, records.iter().map(row).collect(), args.wide, "There are no such records.")
}

/// How the caller, or the callee that answered, could be heard.
fn mos(record: &Value, role: &str) -> String {
    let legs = record["legs"].as_array().map_or(&[][..], Vec::as_slice);
    let leg =
        legs.iter().rfind(|leg| leg["role"] == role && (role == "caller" || leg["answered"].is_string()));
    let mos = leg.and_then(|leg| leg["streams"][0]["mos"].as_f64());
    mos.map_or("-".into(), |mos| format!("{mos:.2}"))
}

async fn csv(client: &Client, query: Vec<(&str, String)>, at_most: Option<usize>) -> Result<(), Failure> {
    let mut left = at_most.unwrap_or(usize::MAX);
    let mut after: Option<String> = None;
    let mut first = true;
    while left > 0 {
        let mut query = query.clone();
        query.push(("format", "csv".into()));
        query.push(("limit", left.min(PAGE).to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let response = client.open("/records", &query).await?;
        after = response.headers().get("offhook-next").and_then(|next| next.to_str().ok()).map(Into::into);
        let text = response.text().await.map_err(|error| client.broke_off(&error))?;
        // Every page has its headings; a file has them once.
        let rows = text.split_once("\r\n").map_or("", |(_, rows)| rows);
        output::print(if first { &text } else { rows })?;
        first = false;
        left = left.saturating_sub(PAGE);
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

fn query_of(args: &RecordsArgs) -> Vec<(&'static str, String)> {
    let named = [
        ("tenant", &args.tenant),
        ("line", &args.line),
        ("caller", &args.caller),
        ("callee", &args.callee),
        ("party", &args.party),
        ("from", &args.from),
        ("until", &args.until),
        ("cause", &args.cause),
        ("reason", &args.reason),
    ];
    let mut query: Vec<_> =
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    query.extend(args.talk_min.map(|seconds| ("talk_min_secs", seconds.to_string())));
    query
}

//! Call records: by filter, as JSON or CSV, page by page.

use std::{fmt::Write as _, time::Duration};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use offhook_base::UtcMillis;
use offhook_store::{Access, ItemKey, Kind, RecordFilter};
use offhook_switch::{
    directory::DEFAULT_TENANT,
    record::{EndCause, LegRole},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    Api, Problem,
    auth::Bearer,
    calls::call_id,
    clock::{self, parse_time},
    extract::{Params, Segments},
    known::known,
    page::{Page, limit_of},
    view::{Leg, Record},
};

/// What the access log says where the request gives no reason.
const REASON_DEFAULT: &str = "call records over the API";

/// The response header that carries the next page's cursor beside a CSV body.
const NEXT_HEADER: &str = "offhook-next";

/// Which records, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordParams {
    /// Of this tenant.
    tenant: Option<String>,
    /// In which this line took part.
    line: Option<String>,
    /// From exactly this address or number.
    caller: Option<String>,
    /// To exactly this address or number.
    callee: Option<String>,
    /// Whose caller or callee contains this text.
    party: Option<String>,
    /// Begun then or later: `2026-11-22`, `2026-11-22T16:10:36Z`, or milliseconds since 1970.
    from: Option<String>,
    /// Begun before then.
    until: Option<String>,
    /// Ended for this cause, for example `busy`.
    #[param(value_type = Option<String>)]
    cause: Option<EndCause>,
    /// Answered for at least so many seconds.
    talk_min_secs: Option<u64>,
    /// Records of the page; 1 to 1000, default 100.
    limit: Option<usize>,
    /// Continue behind this one: `next` of the page before.
    after: Option<String>,
    /// `json` (default) or `csv`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Why the records are read; it goes into the access log.
    reason: Option<String>,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// A page with its cursor.
    #[default]
    Json,
    /// One line a call, and the cursor in the header `offhook-next`.
    Csv,
}

/// Why a record is read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReasonParams {
    /// It goes into the access log.
    reason: Option<String>,
}

/// Lists call records, the newest first. The access is logged.
#[utoipa::path(
    get,
    path = "/records",
    tag = "records",
    params(RecordParams),
    responses(
        (status = 200, description = "A page", content((Page<Record> = "application/json"), (String = "text/csv"))),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_records(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<RecordParams>,
) -> Result<Response, Problem> {
    let format = params.format;
    let access = access(&by, params.reason.as_deref())?;
    let (tenant, line) = (params.tenant.clone(), params.line.clone());
    let page = api.store().records(&access, &params.filter()?).await?;
    if page.items.is_empty() {
        // Of what was removed there may still be records; where there are none, the name is the likely reason.
        known_of_records(&api, tenant.as_deref(), line.as_deref()).await?;
    }
    let next = page.next.map(|cursor| cursor.to_string());
    let items: Vec<Record> = page.items.iter().map(Record::from).collect();
    if format == Format::Json {
        return Ok(Json(Page { items, next }).into_response());
    }
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
    let next = next.map(|next| [(NEXT_HEADER, next)]);
    Ok((headers, next, csv(&items)).into_response())
}

/// Refuses a tenant or line that is not there.
async fn known_of_records(api: &Api, tenant: Option<&str>, line: Option<&str>) -> Result<(), Problem> {
    match (tenant, line) {
        (None, None) => Ok(()),
        (Some(tenant), None) => known(api, &ItemKey::tenant(tenant)).await,
        (None, Some(line)) if api.store().has_line_anywhere(line).await? => Ok(()),
        (tenant, Some(line)) => {
            known(api, &ItemKey::new(Kind::Line, tenant.unwrap_or(DEFAULT_TENANT), line)).await
        }
    }
}

/// Reads the record of one call. The access is logged.
#[utoipa::path(
    get,
    path = "/records/{call}",
    tag = "records",
    params(("call" = String, Path, description = "The call's id"), ReasonParams),
    responses(
        (status = 200, description = "The record", body = Record),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_record(
    State(api): State<Api>,
    by: Bearer,
    Segments(call): Segments<String>,
    Params(params): Params<ReasonParams>,
) -> Result<Json<Record>, Problem> {
    let id = call_id(&call)?;
    let record = api.store().record(&access(&by, params.reason.as_deref())?, id).await?;
    let record = record.ok_or_else(|| {
        Problem::missing(format!("record of call {id}"), "a running call has none yet; old ones are deleted")
    })?;
    Ok(Json(Record::from(&record)))
}

/// The access that a token's bearer makes now.
pub(crate) fn access(by: &Bearer, reason: Option<&str>) -> Result<Access, Problem> {
    Access::new(&by.0, reason.unwrap_or(REASON_DEFAULT), clock::now())
        .map_err(|error| Problem::parameter("reason", error.to_string()))
}

impl RecordParams {
    fn filter(self) -> Result<RecordFilter, Problem> {
        let after = self.after.as_deref().map(str::parse).transpose();
        Ok(RecordFilter {
            tenant: self.tenant.map(Into::into),
            line: self.line.map(Into::into),
            caller: self.caller.map(Into::into),
            callee: self.callee.map(Into::into),
            party: self.party.map(Into::into),
            from: self.from.as_deref().map(|text| moment("from", text)).transpose()?,
            until: self.until.as_deref().map(|text| moment("until", text)).transpose()?,
            cause: self.cause,
            talk_min: self.talk_min_secs.map(Duration::from_secs),
            limit: Some(limit_of(self.limit)?),
            after: after.map_err(|error| Problem::parameter("after", format!("{error}")))?,
        })
    }
}

/// A UTC date, a date and time, or milliseconds.
pub(crate) fn moment(name: &str, text: &str) -> Result<UtcMillis, Problem> {
    let wrong = || {
        Problem::parameter(name, "allowed are 2026-11-22, 2026-11-22T16:10:36Z, and milliseconds since 1970")
    };
    parse_time(text).ok_or_else(wrong)
}

/// What a side's quality is called, behind `caller_` and `callee_`.
const QUALITY: [&str; 6] = ["codec", "packets", "loss", "jitter_ms", "round_trip_ms", "mos"];

/// One line a call (RFC 4180). `caller_…` is what came from the caller, `callee_…` what came from the leg that answered,
/// each by its first stream; empty where there was none.
fn csv(records: &[Record]) -> String {
    let mut text = String::from(
        "id,tenant,caller,caller_name,callee,started,ringing,answered,ended,talk_ms,ended_by,cause,sip_status,q850",
    );
    for side in ["caller", "callee"] {
        for name in QUALITY {
            let _ = write!(text, ",{side}_{name}");
        }
    }
    text.push_str("\r\n");
    for record in records {
        let word = |value: serde_json::Result<serde_json::Value>| match value {
            Ok(serde_json::Value::String(word)) => word,
            _ => String::new(),
        };
        let fields = [
            record.id.to_string(),
            record.tenant.clone(),
            record.caller.clone(),
            record.caller_name.clone().unwrap_or_default(),
            record.callee.clone(),
            record.started.clone(),
            record.ringing.clone().unwrap_or_default(),
            record.answered.clone().unwrap_or_default(),
            record.ended.clone(),
            record.talk_ms.to_string(),
            word(serde_json::to_value(record.ended_by)),
            word(serde_json::to_value(record.cause)),
            record.sip_status.to_string(),
            record.q850.to_string(),
        ];
        let quality = [LegRole::Caller, LegRole::Callee].map(|role| quality(record, role));
        for (index, field) in fields.iter().chain(quality.iter().flatten()).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}{}", csv_field(field));
        }
        text.push_str("\r\n");
    }
    text
}

/// The first stream of the caller, or of the callee that answered, in the order of [`QUALITY`].
fn quality(record: &Record, role: LegRole) -> [String; QUALITY.len()] {
    let answered = |leg: &&Leg| leg.role == role && (role == LegRole::Caller || leg.answered.is_some());
    let stream = record.legs.iter().rfind(answered).and_then(|leg| leg.streams.first());
    let Some(stream) = stream else { return Default::default() };
    let number =
        |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    let heard = stream.packets_received > 0;
    [
        stream.codec.clone(),
        stream.packets_received.to_string(),
        number(stream.loss(), 4),
        number(heard.then_some(stream.jitter_ms), 1),
        number(stream.round_trip_ms, 1),
        number(stream.mos, 2),
    ]
}

/// Quotes where RFC 4180 asks for it. A field that a spreadsheet would take for a formula gets a quote mark before it:
/// names come from callers.
fn csv_field(field: &str) -> String {
    let formula = field.starts_with(['=', '@', '\t', '\r'])
        || (field.starts_with(['+', '-']) && field[1..].bytes().any(|byte| !byte.is_ascii_digit()));
    let guard = if formula { "'" } else { "" };
    if formula || field.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_formula_stays_text() {
        assert_eq!(csv_field("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
        assert_eq!(csv_field("+4930123456"), "+4930123456");
        assert_eq!(csv_field("Anna, Berlin"), "\"Anna, Berlin\"");
    }
}

//! Alive, ready, draining.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Api, Problem, auth::Bearer, control::Readiness};

/// The node in numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// `ready`, `starting`, `holding` (no new calls, for their records cannot be written) or `draining`.
    readiness: String,
    /// The program's version.
    version: String,
    /// Calls that are on.
    calls: usize,
    /// Contacts that are bound.
    registrations: usize,
    /// Lines that are configured.
    lines: usize,
    /// Call records that are kept.
    records: u64,
    /// What the site lacks, and what to do about it: emergency calls that lead nowhere.
    warnings: Vec<String>,
}

/// The process answers: 200, always.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The node takes calls: 200, else 503. What is wrong stands below, a line each; with most troubles it still takes calls.
pub(crate) async fn readyz(State(api): State<Api>) -> (StatusCode, String) {
    let readiness = api.node().readiness();
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let troubles =
        api.node().troubles().iter().map(|trouble| format!("trouble {trouble}\n")).collect::<String>();
    (status, format!("{}\n{troubles}", word(readiness)))
}

/// The node in numbers.
#[utoipa::path(
    get,
    path = "/status",
    tag = "node",
    responses(
        (status = 200, description = "How it stands", body = Status),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let site = api.store().load_site().await?;
    Ok(Json(Status {
        readiness: word(api.node().readiness()).into(),
        version: env!("CARGO_PKG_VERSION").into(),
        calls: api.node().calls().await.len(),
        registrations: api.node().registrations().await.len(),
        lines: site.lines.len(),
        records: api.store().record_count().await?,
        warnings: site.advice(&api.settings().emergency_numbers),
    }))
}

/// Begins to drain: no new calls, running ones may end within `limits.drain_secs`, then the process ends.
#[utoipa::path(
    post,
    path = "/drain",
    tag = "node",
    responses(
        (status = 202, description = "It drains"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn drain(State(api): State<Api>, by: Bearer) -> StatusCode {
    tracing::info!(token = %by.0, "draining, asked by the API");
    api.node().drain().await;
    StatusCode::ACCEPTED
}

const fn word(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Starting => "starting",
        Readiness::Holding => "holding",
        Readiness::Draining => "draining",
    }
}

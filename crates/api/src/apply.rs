//! A whole site at once: a plan to look at, then all of it or nothing.

use axum::{Json, extract::State};
use offhook_store::{DocumentError, Plan, SiteDocument};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api, Problem,
    auth::Bearer,
    extract::{Params, Text},
};

/// How to compare.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlanParams {
    /// Also remove what the named tenants have beyond the document.
    #[serde(default)]
    prune: bool,
}

/// What to carry out.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApplyParams {
    /// Also remove what the named tenants have beyond the document.
    #[serde(default)]
    prune: bool,
    /// The plan's: refused with 409 if the configuration has changed since. Without it whatever is found is changed.
    generation: Option<u64>,
}

/// What would be done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SitePlan {
    /// The generation of the configuration it was made for.
    generation: u64,
    /// One line per change: `+` makes, `~` changes, `-` removes. Personal data and secrets show only that they change.
    changes: Vec<String>,
    /// What the site would lack then, and what to do about it: emergency calls that lead nowhere.
    warnings: Vec<String>,
}

/// What was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SiteApplied {
    /// The generation of the configuration now.
    generation: u64,
    /// One line per change.
    changes: Vec<String>,
    /// Passwords made for new lines: told once, kept only as hashes.
    passwords: Vec<LinePassword>,
}

/// A password that was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LinePassword {
    /// The line's tenant.
    tenant: String,
    /// The line's name.
    line: String,
    /// The password.
    password: String,
}

/// Compares a site document (TOML) with what is configured. Changes nothing.
#[utoipa::path(
    post,
    path = "/apply/plan",
    tag = "site",
    params(PlanParams),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "The plan", body = SitePlan),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn plan(
    State(api): State<Api>,
    Params(params): Params<PlanParams>,
    Text(document): Text,
) -> Result<Json<SitePlan>, Problem> {
    let document = parse(&document)?;
    let plan = api.store().plan(&document, params.prune).await?;
    let site = api.store().load_site().await?;
    let warnings = site.advice_after(&plan, &api.settings().emergency_numbers);
    Ok(Json(SitePlan { generation: plan.generation, changes: lines_of(&plan), warnings }))
}

/// Makes the configuration what a site document (TOML) says: all of it or nothing.
#[utoipa::path(
    post,
    path = "/apply",
    tag = "site",
    params(ApplyParams),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "Done", body = SiteApplied),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn apply(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<ApplyParams>,
    Text(document): Text,
) -> Result<Json<SiteApplied>, Problem> {
    let plan = api.store().plan(&parse(&document)?, params.prune).await?;
    if params.generation.is_some_and(|seen| seen != plan.generation) {
        return Err(Problem::conflict(
            "the configuration changed since the plan was made",
            "make a new plan and look at it again",
        ));
    }
    let applied = api.store().apply(&by.author(), &plan).await?;
    if !plan.is_empty() {
        api.node().directory_changed().await;
    }
    let passwords = applied.made.into_iter().map(|made| LinePassword {
        tenant: made.line.tenant.into(),
        line: made.line.name.into(),
        password: made.password.reveal().into(),
    });
    Ok(Json(SiteApplied {
        generation: applied.generation,
        changes: lines_of(&plan),
        passwords: passwords.collect(),
    }))
}

fn parse(document: &str) -> Result<SiteDocument, Problem> {
    SiteDocument::parse(document).map_err(|error: DocumentError| {
        Problem::invalid_value(format!("line {}, column {}", error.line, error.column), &error.message)
    })
}

fn lines_of(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

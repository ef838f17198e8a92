//! Where calls go: the routing in numbered versions, its tables of prefixes, and why a call would go where it goes.
//!
//! Numbers stand in clear here: who routes calls has to see them. It takes a token, as everything does.

use axum::{Json, extract::State, http::StatusCode};
use offhook_store::{ROUTING_NOTE_CHARS_MAX, RoutingError, RoutingTable, RoutingVersion};
use offhook_switch::exchange::RouteQuestion;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api, Problem,
    auth::Bearer,
    clock,
    extract::{Body, Params, Segments, Text},
    problem::ValueError,
    records::moment,
};

/// Octets of a table of prefixes: two million lines.
pub(crate) const TABLE_BYTES_MAX: usize = 64 << 20;

/// A version of the routing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// 1 is the first; 0: nothing was ever set.
    version: i64,
    /// Since when, RFC 3339.
    at: Option<String>,
    /// The token it was set with.
    who: Option<String>,
    /// Why, in the operator's words.
    note: String,
    /// What it says, TOML; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

impl Version {
    fn whole(version: RoutingVersion) -> Self {
        let document = version.document.clone();
        Self { document: Some(document), ..Self::brief(version) }
    }

    fn brief(version: RoutingVersion) -> Self {
        let RoutingVersion { version, at, who, note, document: _ } = version;
        Self { version, at: Some(at.to_string()), who: Some(who), note, document: None }
    }
}

/// What was set.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Set {
    /// The number of the new version; nothing if it was only checked.
    version: Option<i64>,
}

/// Shows the routing that is in force.
#[utoipa::path(
    get,
    path = "/routing",
    tag = "routing",
    responses(
        (status = 200, description = "It, and its version", body = Version),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read(State(api): State<Api>) -> Result<Json<Version>, Problem> {
    let nothing =
        Version { version: 0, at: None, who: None, note: String::new(), document: Some(String::new()) };
    Ok(Json(api.store().routing_version(None).await?.map_or(nothing, Version::whole)))
}

/// How to set it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SetParams {
    /// Only check it.
    #[serde(default)]
    dry_run: bool,
    /// Why, up to 200 characters.
    #[serde(default)]
    note: String,
}

/// Sets the routing (TOML), as a new version: all of it, or nothing with all that is wrong.
#[utoipa::path(
    post,
    path = "/routing",
    tag = "routing",
    params(SetParams),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "In force", body = Set),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn set(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<SetParams>,
    Text(document): Text,
) -> Result<Json<Set>, Problem> {
    if params.note.chars().count() > ROUTING_NOTE_CHARS_MAX {
        let what = format!("it is too long: allowed are {ROUTING_NOTE_CHARS_MAX} characters");
        return Err(Problem::invalid_value("note", &what));
    }
    if params.dry_run {
        api.store().check_routing(&document).await?;
        return Ok(Json(Set { version: None }));
    }
    let version = api.store().set_routing(&by.author(), &document, &params.note).await?;
    api.node().directory_changed().await;
    tracing::info!(token = %by.0, version, "the routing was set by the API");
    Ok(Json(Set { version: Some(version) }))
}

/// Lists the versions of the routing, the newest first. The latest 1000 are kept.
#[utoipa::path(
    get,
    path = "/routing/versions",
    tag = "routing",
    responses(
        (status = 200, description = "All that are kept", body = Vec<Version>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_versions(State(api): State<Api>) -> Result<Json<Vec<Version>>, Problem> {
    Ok(Json(api.store().routing_versions().await?.into_iter().map(Version::brief).collect()))
}

/// Shows one version of the routing.
#[utoipa::path(
    get,
    path = "/routing/versions/{version}",
    tag = "routing",
    params(("version" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "It", body = Version),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_version(
    State(api): State<Api>,
    Segments(version): Segments<i64>,
) -> Result<Json<Version>, Problem> {
    let found = api.store().routing_version(Some(version)).await?.map(Version::whole);
    found.map(Json).ok_or_else(|| RoutingError::Missing(format!("version {version}")).into())
}

/// Goes back to an earlier version of the routing, as a new one.
#[utoipa::path(
    post,
    path = "/routing/versions/{version}/restore",
    tag = "routing",
    params(("version" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "In force", body = Set),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn restore_version(
    State(api): State<Api>,
    by: Bearer,
    Segments(earlier): Segments<i64>,
) -> Result<Json<Set>, Problem> {
    let version = api.store().restore_routing(&by.author(), earlier).await?;
    api.node().directory_changed().await;
    tracing::info!(token = %by.0, version, earlier, "an earlier routing was restored by the API");
    Ok(Json(Set { version: Some(version) }))
}

/// A table of prefixes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Table {
    /// Its tenant.
    tenant: String,
    /// Its name.
    name: String,
    /// Prefixes with peers.
    lines: i64,
    /// Since when, RFC 3339.
    at: String,
    /// The token it was sent with.
    who: String,
}

impl From<RoutingTable> for Table {
    fn from(table: RoutingTable) -> Self {
        let RoutingTable { tenant, name, at, who, lines } = table;
        Self { tenant, name, lines, at: at.to_string(), who }
    }
}

/// Lists the tables of prefixes.
#[utoipa::path(
    get,
    path = "/routing/tables",
    tag = "routing",
    responses(
        (status = 200, description = "All of them", body = Vec<Table>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_tables(State(api): State<Api>) -> Result<Json<Vec<Table>>, Problem> {
    Ok(Json(api.store().routing_tables().await?.into_iter().map(Table::from).collect()))
}

/// What a table has.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TableSet {
    /// Lines that were read.
    lines: usize,
}

/// Puts a table of prefixes (CSV: `prefix,peer or set[,price]`) in the place of an earlier one; up to 64 MiB.
#[utoipa::path(
    post,
    path = "/routing/tables/{tenant}/{name}",
    tag = "routing",
    params(
        ("tenant" = String, Path, description = "The tenant's name"),
        ("name" = String, Path, description = "The table's name"),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, description = "In force", body = TableSet),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn set_table(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
    Text(content): Text,
) -> Result<Json<TableSet>, Problem> {
    let lines = api.store().set_routing_table(&by.author(), &tenant, &name, &content).await?;
    api.node().directory_changed().await;
    tracing::info!(token = %by.0, table = name, lines, "a table of prefixes was set by the API");
    Ok(Json(TableSet { lines }))
}

/// Removes a table of prefixes that no route needs.
#[utoipa::path(
    delete,
    path = "/routing/tables/{tenant}/{name}",
    tag = "routing",
    params(
        ("tenant" = String, Path, description = "The tenant's name"),
        ("name" = String, Path, description = "The table's name"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_table(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    api.store().remove_routing_table(&by.author(), &tenant, &name).await?;
    tracing::info!(token = %by.0, table = name, "a table of prefixes was removed by the API");
    Ok(StatusCode::NO_CONTENT)
}

/// A call that might come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The caller's tenant; without it `default`.
    tenant: Option<String>,
    /// Who calls: a line's name, or `peer:NAME`.
    from: String,
    /// The number that a peer's call comes from.
    caller_number: Option<String>,
    /// What is dialled.
    number: String,
    /// When, RFC 3339; without it now.
    at: Option<String>,
}

/// Where it would go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// Whether it would go anywhere.
    reaches: bool,
    /// Where to, in a sentence.
    outcome: String,
    /// How that is decided, step by step.
    steps: Vec<String>,
}

/// Tells where a call would go, and why, as peers stand now. No call is made.
#[utoipa::path(
    post,
    path = "/routing/test",
    tag = "routing",
    request_body = Question,
    responses(
        (status = 200, description = "Where to", body = Explanation),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn test(
    State(api): State<Api>,
    Body(question): Body<Question>,
) -> Result<Json<Explanation>, Problem> {
    let at = question.at.as_deref().map(|at| moment("at", at)).transpose()?;
    let from = question.from.clone();
    let question = RouteQuestion {
        tenant: question.tenant.as_deref().unwrap_or("default").into(),
        from: question.from.into(),
        caller_number: question.caller_number.map(Into::into),
        number: question.number.into(),
        at: at.unwrap_or_else(clock::now),
    };
    let told =
        api.node().explain_route(question).await.ok_or_else(|| {
            Problem::unavailable("the worker does not answer", "it is overloaded: try again")
        })?;
    let told = told.map_err(|_| {
        let hint =
            "name a line, or a peer as peer:NAME; `offhook line list` and `offhook peer list` show all";
        Problem::missing(format!("caller {from}"), hint)
    })?;
    Ok(Json(Explanation { reaches: told.reaches, outcome: told.outcome, steps: told.steps }))
}

impl From<RoutingError> for Problem {
    fn from(error: RoutingError) -> Self {
        let one = |path: String, problem: String| Self::invalid(vec![ValueError { path, problem }]);
        match error {
            RoutingError::Store(error) => error.into(),
            RoutingError::Document(error) => {
                one(format!("line {}, column {}", error.line, error.column), error.message)
            }
            RoutingError::Faults(faults) => Self::invalid(
                faults
                    .into_iter()
                    .map(|fault| ValueError { path: fault.path, problem: fault.what })
                    .collect(),
            ),
            RoutingError::Table(bad) => one(format!("line {}", bad.line), bad.why),
            error @ RoutingError::TableName => one("name".into(), error.to_string()),
            error @ RoutingError::TooManyTables => {
                Self::conflict(error.to_string(), "remove one that no route needs")
            }
            RoutingError::Missing(what) => Self::missing(
                what,
                "`offhook route history` shows the versions, `offhook route table list` the tables",
            ),
        }
    }
}

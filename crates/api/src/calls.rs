//! What is on now: calls and registrations.

use axum::{Json, extract::State, http::StatusCode};
use offhook_store::ItemKey;
use offhook_switch::record::CallId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    Api, Problem,
    auth::Bearer,
    extract::{Params, Segments},
    known,
    page::{Page, PageParams, page_by},
    view::{Call, Registration},
};

/// Which calls or registrations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveParams {
    /// Of this tenant only.
    tenant: Option<String>,
    /// Items of the page; 1 to 1000, default 100.
    limit: Option<usize>,
    /// Continue behind this item: `next` of the page before.
    after: Option<String>,
}

impl LiveParams {
    /// Refuses a tenant that is not there: its empty list would look like a quiet one.
    async fn check(&self, api: &Api) -> Result<(), Problem> {
        match &self.tenant {
            Some(tenant) => known::known(api, &ItemKey::tenant(tenant)).await,
            None => Ok(()),
        }
    }

    fn wants(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|wanted| wanted == tenant)
    }

    fn page(self) -> PageParams {
        PageParams { limit: self.limit, after: self.after }
    }
}

/// Lists the calls that are on, the oldest first.
#[utoipa::path(
    get,
    path = "/calls",
    tag = "calls",
    params(LiveParams),
    responses(
        (status = 200, description = "A page", body = Page<Call>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_calls(
    State(api): State<Api>,
    Params(params): Params<LiveParams>,
) -> Result<Json<Page<Call>>, Problem> {
    params.check(&api).await?;
    let calls = api.node().calls().await;
    let calls = calls.iter().filter(|call| params.wants(&call.tenant)).map(Call::from).collect();
    // Ids sort by the time of the call's beginning.
    Ok(Json(page_by(calls, &params.page(), |call: &Call| call.id.to_string())?))
}

/// Reads a call that is on.
#[utoipa::path(
    get,
    path = "/calls/{call}",
    tag = "calls",
    params(("call" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The call", body = Call),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_call(
    State(api): State<Api>,
    Segments(call): Segments<String>,
) -> Result<Json<Call>, Problem> {
    let id = call_id(&call)?;
    let calls = api.node().calls().await;
    let found = calls.iter().find(|call| call.id == id).ok_or_else(|| not_on(id))?;
    Ok(Json(Call::from(found)))
}

/// Hangs a call up.
#[utoipa::path(
    delete,
    path = "/calls/{call}",
    tag = "calls",
    params(("call" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "Its legs are being taken down"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn hang_up(
    State(api): State<Api>,
    by: Bearer,
    Segments(call): Segments<String>,
) -> Result<StatusCode, Problem> {
    let call_id = call_id(&call)?;
    if !api.node().hang_up(call_id).await {
        return Err(not_on(call_id));
    }
    tracing::info!(%call_id, token = %by.0, "hung up by the API");
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the contacts that are bound, by tenant and line.
#[utoipa::path(
    get,
    path = "/registrations",
    tag = "calls",
    params(LiveParams),
    responses(
        (status = 200, description = "A page", body = Page<Registration>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_registrations(
    State(api): State<Api>,
    Params(params): Params<LiveParams>,
) -> Result<Json<Page<Registration>>, Problem> {
    params.check(&api).await?;
    let bindings = api.node().registrations().await;
    let bindings =
        bindings.iter().filter(|binding| params.wants(&binding.tenant)).map(Registration::from).collect();
    let key = |binding: &Registration| format!("{} {} {}", binding.tenant, binding.line, binding.contact);
    Ok(Json(page_by(bindings, &params.page(), key)?))
}

/// A call's id from the address.
pub(crate) fn call_id(text: &str) -> Result<CallId, Problem> {
    text.parse().map_err(|error| Problem::parameter("call", format!("{error}")))
}

fn not_on(call: CallId) -> Problem {
    Problem::missing(format!("call {call} now"), "if it has ended, its record tells how")
}

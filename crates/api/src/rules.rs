//! What the rules of a peer would do to a message.
//!
//! The message stands in clear here: whoever writes rules has to see it. It takes a token, as everything does.

use axum::{Json, extract::State};
use offhook_switch::{
    crossing::Party,
    rules::{Direction, HeaderRules, Tried},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api, Problem,
    extract::{Params, Text},
};

/// Which way the message goes.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// Who sends what goes out.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Sender {
    /// A line.
    Line,
    /// Another peer.
    Peer,
}

/// Whose rules are tried, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TestParams {
    /// The peer's name.
    peer: String,
    /// Its tenant; without it `default`.
    tenant: Option<String>,
    /// `out` (default): to the peer. `in`: from it.
    direction: Option<Way>,
    /// Who sends what goes out: `line` (default) or `peer`.
    sender: Option<Sender>,
}

/// What would become of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Trial {
    /// What is done and why, header for header and rule for rule.
    steps: Vec<String>,
    /// What comes out.
    message: String,
}

/// Tells what would become of a SIP request on its way to or from a peer, by what crosses and by the peer's rules. Nothing is sent.
#[utoipa::path(
    post,
    path = "/edge/test",
    tag = "edge",
    params(TestParams),
    request_body(content = String, content_type = "message/sip"),
    responses(
        (status = 200, description = "What would come out", body = Trial),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn test(
    State(api): State<Api>,
    Params(params): Params<TestParams>,
    Text(message): Text,
) -> Result<Json<Trial>, Problem> {
    let TestParams { peer, tenant, direction, sender } = params;
    let tenant = tenant.as_deref().unwrap_or("default");
    let directory = api.store().load_directory().await?;
    if !directory.peers().iter().any(|known| *known.tenant == *tenant && *known.name == *peer) {
        return Err(Problem::missing(format!("peer {peer}@{tenant}"), "`offhook peer list` shows all"));
    }
    let nothing = HeaderRules::default();
    let of_tenant = directory.routing().of(tenant);
    let rules = of_tenant.and_then(|of_tenant| of_tenant.header_rules_of(&peer)).unwrap_or(&nothing);
    let direction = match direction {
        Some(Way::In) => Direction::In,
        Some(Way::Out) | None => Direction::Out,
    };
    let sender = match sender {
        Some(Sender::Peer) => Party::Peer,
        Some(Sender::Line) | None => Party::Line,
    };
    let Tried { mut steps, message } = Tried::from_file(rules, direction, &message, sender)
        .ok_or_else(|| Problem::malformed("the body is no SIP request"))?
        .map_err(|error| Problem::invalid_value("rules", error))?;
    if rules.is_empty(direction) {
        steps.push("the peer has no rules for this direction".into());
    }
    let message = String::from_utf8_lossy(&message).into_owned();
    Ok(Json(Trial { steps, message }))
}

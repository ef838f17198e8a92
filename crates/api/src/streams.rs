//! Streams that stay open: facts as they happen, SIP messages as they pass. Server-sent events, masked unless somebody
//! gives a reason, which is logged.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, stream};
use offhook_base::Purpose;
use offhook_store::{ItemKey, Kind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use utoipa::IntoParams;

use crate::{
    Api, Problem,
    auth::Bearer,
    calls::call_id,
    control::{Direction, TraceFilter, TracedMessage},
    extract::Params,
    known, mask,
    view::{self, Sight},
};

/// How often a silent stream says that it lives: below the minute after which many proxies cut it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether to mask.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParams {
    /// Show numbers and addresses in clear; needs `reason`.
    #[serde(default)]
    unmask: bool,
    /// Why they are shown; it is logged.
    reason: Option<String>,
}

/// Which messages, and whether to mask them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TraceParams {
    /// Of this call.
    call: Option<String>,
    /// From and to this line.
    line: Option<String>,
    /// From and to this peer.
    peer: Option<String>,
    /// The line's or peer's tenant; default `default`.
    tenant: Option<String>,
    /// Show numbers and addresses in clear; needs `reason`. Passwords and keys stay masked.
    #[serde(default)]
    unmask: bool,
    /// Why they are shown; it is logged.
    reason: Option<String>,
}

/// Everything that happens from now on, as server-sent events named by what happened.
///
/// An event `missed` with a `count` says that the reader was too slow. An event `end` is the last one: the node stops.
#[utoipa::path(
    get,
    path = "/events",
    tag = "calls",
    params(EventParams),
    responses(
        (status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn events(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<EventParams>,
) -> Result<Response, Problem> {
    let sight = sight(&api, &by, params.unmask, params.reason.as_deref(), "events").await?;
    let facts = stream::unfold(api.node().facts(), move |mut facts| async move {
        let event = match facts.recv().await {
            Ok(fact) => {
                let (name, data) = view::event(&fact, sight);
                event(name, &data)
            }
            Err(RecvError::Lagged(count)) => event("missed", &json!({ "count": count })),
            Err(RecvError::Closed) => return None,
        };
        Some((event, facts))
    });
    Ok(live(&api, facts))
}

/// SIP messages from now on, as server-sent events named `message`. An event `end` is the last one: the node stops.
#[utoipa::path(
    get,
    path = "/trace",
    tag = "calls",
    params(TraceParams),
    responses(
        (status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn trace(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<TraceParams>,
) -> Result<Response, Problem> {
    let filter = filter_of(&params)?;
    for (kind, named) in [(Kind::Line, &filter.line), (Kind::Peer, &filter.peer)] {
        if let Some((tenant, name)) = named {
            // Nothing would ever come, and nobody would know why.
            known::known(&api, &ItemKey::new(kind, tenant, name)).await?;
        }
    }
    let sight = sight(&api, &by, params.unmask, params.reason.as_deref(), "trace").await?;
    let messages = messages(api.node().trace(filter), sight);
    Ok(live(&api, messages))
}

fn messages(
    receiver: mpsc::Receiver<TracedMessage>,
    sight: Sight,
) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold(receiver, move |mut receiver| async move {
        let message = receiver.recv().await?;
        Some((event("message", &shown(&message, sight)), receiver))
    })
}

fn shown(message: &TracedMessage, sight: Sight) -> Value {
    let text = message.text.disclose(Purpose::Operation);
    json!({
        "at": message.at.to_string(),
        "direction": match message.direction { Direction::Received => "received", Direction::Sent => "sent" },
        "transport": message.transport,
        "local": message.local.to_string(),
        "remote": sight.show(&message.remote),
        "call": message.call,
        "text": match sight { Sight::Masked => mask::masked(text), Sight::Clear => mask::without_secrets(text) },
    })
}

fn filter_of(params: &TraceParams) -> Result<TraceFilter, Problem> {
    let tenant = params.tenant.as_deref().unwrap_or(offhook_switch::directory::DEFAULT_TENANT);
    let in_tenant = |name: &String| (tenant.into(), name.as_str().into());
    Ok(TraceFilter {
        call: params.call.as_deref().map(call_id).transpose()?,
        line: params.line.as_ref().map(in_tenant),
        peer: params.peer.as_ref().map(in_tenant),
    })
}

/// Masked; or clear, if there is a reason, which goes into the access log first.
async fn sight(
    api: &Api,
    by: &Bearer,
    unmask: bool,
    reason: Option<&str>,
    what: &str,
) -> Result<Sight, Problem> {
    if !unmask {
        return Ok(Sight::Masked);
    }
    let Some(reason) = reason else {
        return Err(Problem::parameter("reason", "say why personal data shall be shown; it is logged"));
    };
    let access = crate::records::access(by, Some(reason))?;
    api.store().log_access(&access, what, "unmasked stream", 0).await?;
    tracing::warn!(token = %by.0, what, reason, "personal data is shown in clear");
    Ok(Sight::Clear)
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// `events` until the node stops or has no more of them, and then a last one that says so: a stream that only breaks off
/// looks like a fault of the network.
fn live(api: &Api, events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut stopping = api.stopping();
    let stopped = async move {
        // The sender lives as long as the API does: its end is the node's.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let end = stream::once(async { event("end", &json!({ "why": "the node stops" })) });
    let events = events.take_until(stopped).chain(end).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

//! The router: what is served where, behind which guard.

use std::{future::Future, io};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use utoipa::{
    OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Api, Problem, SIP_WEBSOCKET_PATH, apply, auth, calls, edge, ends::Ends, health, metrics, recordings,
    records, routing, rules, site, streams, tokens, websocket,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Offhook",
        description = "The REST API of an Offhook node. Every request needs `Authorization: Bearer TOKEN`; errors are \
                       problem documents (RFC 9457) with a hint.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "node", description = "The node itself"),
        (name = "site", description = "Tenants, users, devices, lines and peers"),
        (name = "calls", description = "What is happening now"),
        (name = "routing", description = "Where calls go"),
        (name = "edge", description = "Who is let in, who is banned, who sends most"),
        (name = "records", description = "What happened"),
        (name = "tokens", description = "Who may use this API"),
    )
)]
struct Document;

/// Answers at once or within the time-out.
fn quick_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::status))
        .routes(routes!(health::drain))
        .routes(routes!(site::list_tenants, site::add_tenant))
        .routes(routes!(site::read_tenant, site::change_tenant, site::remove_tenant))
        .routes(routes!(site::list_users, site::add_user))
        .routes(routes!(site::read_user, site::change_user, site::remove_user))
        .routes(routes!(site::list_devices, site::add_device))
        .routes(routes!(site::read_device, site::change_device, site::remove_device))
        .routes(routes!(site::list_lines, site::add_line))
        .routes(routes!(site::read_line, site::change_line, site::remove_line))
        .routes(routes!(site::list_peers, site::add_peer))
        .routes(routes!(site::read_peer, site::change_peer, site::remove_peer))
        .routes(routes!(apply::plan))
        .routes(routes!(apply::apply))
        .routes(routes!(calls::list_registrations))
        .routes(routes!(calls::list_calls))
        .routes(routes!(calls::read_call, calls::hang_up))
        .routes(routes!(edge::overview))
        .routes(routes!(edge::look_at))
        .routes(routes!(edge::ban))
        .routes(routes!(edge::pardon))
        .routes(routes!(edge::list_networks, edge::add_network, edge::remove_network))
        .routes(routes!(edge::import_networks))
        .routes(routes!(rules::test))
        .routes(routes!(routing::read, routing::set))
        .routes(routes!(routing::list_versions))
        .routes(routes!(routing::read_version))
        .routes(routes!(routing::restore_version))
        .routes(routes!(routing::list_tables))
        .routes(routes!(routing::test))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(routing::set_table, routing::remove_table))
                .layer(DefaultBodyLimit::max(routing::TABLE_BYTES_MAX)),
        )
        .routes(routes!(records::list_records))
        .routes(routes!(records::read_record))
        .routes(routes!(recordings::list_recordings))
        .routes(routes!(recordings::read_recording, recordings::delete_recording))
        .routes(routes!(tokens::list_tokens, tokens::add_token))
        .routes(routes!(tokens::remove_token))
        .routes(routes!(tokens::replace_token))
}

/// Stay open until the client leaves.
fn stream_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(streams::events)).routes(routes!(streams::trace))
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) =
        OpenApiRouter::<Api>::new().nest("/api/v1", quick_routes().merge(stream_routes())).split_for_parts();
    document.info = Document::openapi().info;
    document.tags = Document::openapi().tags;
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", bearer);
    document.security =
        Some(vec![utoipa::openapi::security::SecurityRequirement::new("token", Vec::<String>::new())]);
    document
}

/// The OpenAPI document as it is served and committed.
pub fn openapi_json() -> String {
    openapi().to_pretty_json().unwrap_or_default() + "\n"
}

/// Everything the HTTP socket serves.
pub fn router(api: Api) -> Router {
    let (quick, _) = quick_routes().split_for_parts();
    let (streams, _) = stream_routes().split_for_parts();
    let guard = middleware::from_fn_with_state(api.clone(), auth::require_token);
    let settings = api.settings();
    let guarded = quick
        .layer(middleware::from_fn_with_state(api.clone(), limit_time))
        .merge(streams)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(settings.body_max_bytes))
        .layer(guard);
    let metrics = Router::new()
        .route("/metrics", get(metrics::metrics))
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_token_from_afar));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/api/v1/openapi.json", get(async || Json(openapi())))
        .route(SIP_WEBSOCKET_PATH, get(websocket::upgrade))
        .merge(metrics)
        .nest("/api/v1", guarded)
        .fallback(unknown_path)
        .with_state(api)
}

/// Serves [`router`] on `listener` until `stop` is ready, then lets running requests end.
///
/// Streams of events and traces then end with an event `end`.
///
/// # Errors
/// The listener failed for good.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router(api.clone()).into_make_service_with_connect_info::<Ends>();
    let told = async move {
        stop.await;
        // A stream would otherwise keep its connection, and the server, for as long as its reader likes.
        api.stop();
    };
    axum::serve(listener, service).with_graceful_shutdown(told).await
}

async fn limit_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(api.settings().request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(
            "the node did not answer in time",
            "try again; if it stays so, look at the node's log and metrics",
        )
        .into_response(),
    }
}

async fn unknown_path() -> Problem {
    Problem::missing("such address", "see /api/v1/openapi.json for what there is")
}

async fn wrong_method() -> Response {
    let mut problem = Problem::malformed("this address does not take that method");
    problem.status = 405;
    problem.into_response()
}

//! Who asks: a bearer token (RFC 6750) on every request but health, readiness and, from this host, metrics.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};
use offhook_store::Author;

use crate::{Api, Problem, clock, ends::Ends};

/// The bearer of a valid token, by the token's name.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(pub(crate) Box<str>);

impl Bearer {
    /// As the author of a change made now.
    pub(crate) fn author(&self) -> Author {
        Author::new(&self.0, clock::now())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// Lets only valid tokens through.
pub(crate) async fn require_token(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let bearer = bearer_of(&api, request.headers()).ok_or_else(Problem::unauthenticated)?;
    request.extensions_mut().insert(bearer);
    Ok(next.run(request).await)
}

/// Lets this host through, and others with a valid token: for scrapers beside the node.
pub(crate) async fn require_token_from_afar(
    State(api): State<Api>,
    ConnectInfo(ends): ConnectInfo<Ends>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !is_here(ends.remote) && bearer_of(&api, request.headers()).is_none() {
        return Err(Problem::unauthenticated());
    }
    Ok(next.run(request).await)
}

fn is_here(remote: SocketAddr) -> bool {
    remote.ip().to_canonical().is_loopback()
}

fn bearer_of(api: &Api, headers: &HeaderMap) -> Option<Bearer> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    api.store().verify_token(token.trim()).map(|token| Bearer(token.name))
}

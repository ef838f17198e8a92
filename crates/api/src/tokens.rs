//! Who may use the API.

use axum::{Json, extract::State, http::StatusCode};
use offhook_store::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Api, Problem,
    auth::Bearer,
    extract::{Body, Segments},
    page::Page,
};

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// Unique on the node.
    name: String,
    /// What it allows: `admin`.
    role: String,
    /// When it was made, RFC 3339.
    created: String,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    name: String,
}

/// A token's secret, told once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TokenSecret {
    /// Whose.
    name: String,
    /// What stands behind `Bearer`. Only its hash is kept.
    token: String,
}

/// Lists the tokens.
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    responses(
        (status = 200, description = "All of them", body = Page<Token>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_tokens(State(api): State<Api>) -> Json<Page<Token>> {
    let token = |token: offhook_store::Token| Token {
        name: token.name.to_string(),
        role: token.role.as_str().into(),
        created: token.created.to_string(),
    };
    Json(Page { items: api.store().tokens_listed().into_iter().map(token).collect(), next: None })
}

/// Makes a token and tells its secret once.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    request_body = NewToken,
    responses(
        (status = 201, description = "Made", body = TokenSecret),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_token(
    State(api): State<Api>,
    by: Bearer,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<TokenSecret>), Problem> {
    let secret = api.store().create_token(&by.author(), &new.name, Role::Admin).await?;
    tracing::info!(token = %by.0, made = %new.name, "a token was made");
    Ok((StatusCode::CREATED, Json(TokenSecret { name: new.name, token: secret.reveal().into() })))
}

/// Gives a token a new secret and tells it once. The old one is void at once.
#[utoipa::path(
    post,
    path = "/tokens/{name}/replace",
    tag = "tokens",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "Replaced", body = TokenSecret),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn replace_token(
    State(api): State<Api>,
    by: Bearer,
    Segments(name): Segments<String>,
) -> Result<Json<TokenSecret>, Problem> {
    let secret = api.store().replace_token(&by.author(), &name).await?;
    tracing::info!(token = %by.0, replaced = %name, "a token was replaced");
    Ok(Json(TokenSecret { name, token: secret.reveal().into() }))
}

/// Revokes a token at once. The last one stays: without any, nobody could make another.
#[utoipa::path(
    delete,
    path = "/tokens/{name}",
    tag = "tokens",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Void"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_token(
    State(api): State<Api>,
    by: Bearer,
    Segments(name): Segments<String>,
) -> Result<StatusCode, Problem> {
    if let [last] = &api.store().tokens_listed()[..]
        && *last.name == *name
    {
        return Err(Problem::conflict("this is the last token", "replace it, or make another one first"));
    }
    api.store().revoke_token(&by.author(), &name).await?;
    tracing::info!(token = %by.0, revoked = %name, "a token was revoked");
    Ok(StatusCode::NO_CONTENT)
}

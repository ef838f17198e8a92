//! Errors as people and programs read them: `application/problem+json` (RFC 9457), each with a hint.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use offhook_store::{EditError, ItemKey, Kind, StoreError, TokenError};
use offhook_switch::directory::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, as a URN: `urn:offhook:problem:not-found`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The kind in words.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// What to do.
    #[schema(value_type = String)]
    pub hint: Box<str>,
    /// Every value that is wrong, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ValueError>,
}

/// One value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueError {
    /// Where it stands.
    pub path: String,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &str,
        title: &str,
        detail: impl Into<Box<str>>,
        hint: impl Into<Box<str>>,
    ) -> Self {
        Self {
            kind: format!("urn:offhook:problem:{kind}").into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            hint: hint.into(),
            errors: Vec::new(),
        }
    }

    /// 400: the request is not what the OpenAPI document describes.
    pub fn malformed(detail: impl Into<Box<str>>) -> Self {
        let hint = "see /api/v1/openapi.json for what is allowed";
        Self::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request", detail, hint)
    }

    /// 400: a query parameter is wrong.
    pub fn parameter(name: &str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::malformed(format!("{name}: {problem}")).with_error(name.into(), problem)
    }

    /// Also names the value that is wrong.
    pub(crate) fn with_error(mut self, path: String, problem: String) -> Self {
        self.errors.push(ValueError { path, problem });
        self
    }

    /// 404: there is nothing of that name, but perhaps of a near one.
    pub(crate) fn unknown(key: &ItemKey, near: Option<&str>) -> Self {
        let list = match key.kind {
            Kind::Tenant => "`offhook tenant list` shows all".to_string(),
            kind if &*key.tenant == DEFAULT_TENANT => format!("`offhook {kind} list` shows all"),
            kind => format!("`offhook {kind} list --tenant {}` shows all", key.tenant),
        };
        let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
        Self::missing(key, &format!("{near}{list}"))
    }

    /// 401: no token, or a wrong one.
    pub fn unauthenticated() -> Self {
        let hint =
            "send the header `Authorization: Bearer TOKEN`; `offhook token show` prints the local token";
        let detail = "this needs a valid token";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Not authenticated", detail, hint)
    }

    /// 404: there is no such thing.
    pub fn missing(what: impl std::fmt::Display, hint: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("there is no {what}"), hint)
    }

    /// 409: it collides with what there is.
    pub fn conflict(detail: impl Into<Box<str>>, hint: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail, hint)
    }

    /// 413: the body is too long.
    pub fn too_large() -> Self {
        let hint = "send it in parts, or raise http.body_max_bytes in offhook.toml";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", "the body is too long", hint)
    }

    /// 422: values that are not allowed.
    pub fn invalid(errors: Vec<ValueError>) -> Self {
        let detail =
            errors.iter().map(|error| format!("{}: {}", error.path, error.problem)).collect::<Vec<_>>();
        let hint = "correct the values named; nothing was changed";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { errors, ..Self::new(status, "invalid", "Invalid values", detail.join("; "), hint) }
    }

    /// 422: one value that is not allowed.
    pub fn invalid_value(path: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::invalid(vec![ValueError { path: path.into(), problem: problem.to_string() }])
    }

    /// 426: the address speaks WebSocket only.
    pub fn upgrade_required(detail: &str) -> Self {
        let hint = "connect by WebSocket with the subprotocol `sip` (RFC 7118)";
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "Upgrade required", detail, hint)
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<Box<str>>, hint: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail, hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The cause is the operator's business; the client learns that it may try again.
        tracing::error!(%error, hint = error.hint(), "the store failed");
        Self::unavailable("the node's store failed", error.hint())
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        let hint = error.hint();
        match error {
            EditError::Store(error) => error.into(),
            EditError::Invalid(faults) => Self::invalid(
                faults
                    .into_iter()
                    .map(|fault| ValueError { path: fault.path, problem: fault.problem.to_string() })
                    .collect(),
            ),
            EditError::Missing(key) => Self::missing(key, hint),
            other => Self::conflict(other.to_string(), hint),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Name => Self::invalid_value("name", error),
            TokenError::Missing(name) => {
                Self::missing(format!("token '{name}'"), "list the tokens to see their names")
            }
            other => Self::conflict(other.to_string(), "take another name, or revoke a token first"),
        }
    }
}

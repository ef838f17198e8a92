//! axum's extractors with our errors, so that a bad body or parameter is a problem document like any other, in the
//! product's words.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use offhook_store::words::explain;
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::too_large())
            }
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::malformed("the body must have the header `Content-Type: application/json`"))
            }
            Err(JsonRejection::JsonSyntaxError(error)) => {
                let text = error.body_text();
                let place =
                    text.rsplit_once(" at line ").map(|(_, place)| place.replace(" column", ", column"));
                let place = place.map_or(String::new(), |place| format!(": it breaks in line {place}"));
                Err(Problem::malformed(format!("the body is not JSON{place}")))
            }
            Err(rejection) => Err(wrong("the body", &rejection.body_text())),
        }
    }
}

/// A text body.
pub(crate) struct Text(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match String::from_request(request, state).await {
            Ok(text) => Ok(Self(text)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::too_large())
            }
            Err(rejection) if rejection.status() == StatusCode::BAD_REQUEST => {
                Err(Problem::malformed("the body is not text in UTF-8"))
            }
            Err(_) => Err(Problem::malformed("the body did not arrive whole")),
        }
    }
}

/// The query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(wrong("the query", &rejection.body_text())),
        }
    }
}

/// Parts of the path.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            // All of them are texts: what cannot be read is no UTF-8 behind its percent signs.
            Err(_) => Err(Problem::malformed("a part of the address is not UTF-8")),
        }
    }
}

/// What axum puts before the words of the parser.
const LEADS: [&str; 2] =
    ["Failed to deserialize the JSON body into the target type: ", "Failed to deserialize query string: "];

/// The problem with one value of `whole`: where it stands, what is wrong, what is allowed.
fn wrong(whole: &str, said: &str) -> Problem {
    let said = LEADS.iter().find_map(|lead| said.strip_prefix(lead)).unwrap_or(said);
    // A body of some lines is searched by its keys, not by line and column.
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let is_path =
        |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-[]?".contains(&byte));
    let (path, said) = said.split_once(": ").filter(|(path, _)| is_path(path)).unwrap_or(("", said));
    let explained = explain(said);
    let what = explained.what;
    // A key that is unknown or missing is its own place.
    let at_root = path.is_empty() || path == "." || what.contains(&format!("`{path}`"));
    let path = if at_root { named_in(&what).unwrap_or(whole).to_string() } else { path.to_string() };
    let mut problem = Problem::malformed(format!("{whole}: {what}"));
    if !at_root {
        problem.detail = format!("{path}: {what}").into();
    }
    if let Some(allowed) = explained.allowed {
        problem.hint = allowed.into();
    }
    problem.with_error(path, what)
}

/// The key that a sentence is about.
fn named_in(what: &str) -> Option<&str> {
    what.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_where_and_with_what_is_allowed() {
        let told = |whole, said| {
            let problem = wrong(whole, said);
            (problem.detail.to_string(), problem.hint.to_string(), problem.errors[0].path.clone())
        };
        let said = "Failed to deserialize query string: cause: unknown variant `busi`, expected `busy` or `declined`";
        assert_eq!(
            told("the query", said),
            (
                "cause: unknown word `busi`".into(),
                "did you mean `busy`? allowed: busy, declined".into(),
                "cause".into()
            )
        );
        let said = "Failed to deserialize the JSON body into the target type: calls_max: invalid type: string \"x\", \
                    expected u16 at line 1 column 30";
        assert_eq!(
            told("the body", said),
            (
                "calls_max: \"x\" does not fit".into(),
                "allowed: a whole number from 0 to 65535".into(),
                "calls_max".into()
            )
        );
        let said = "Failed to deserialize the JSON body into the target type: missing field `name` at line 1 column 2";
        assert_eq!(told("the body", said).0, "the body: `name` is missing");
        assert_eq!(told("the body", said).2, "name");
        let said =
            "Failed to deserialize query string: foo: unknown field `foo`, expected `tenant` or `limit`";
        assert_eq!(told("the query", said).0, "the query: unknown key `foo`");
    }
}

//! Lists come in pages: never more than a client can hold or a node should copy.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;

/// Items of one page where the request does not say.
pub(crate) const PAGE_DEFAULT: usize = 100;

/// Items of one page at most: some hundred kilobytes of JSON.
pub(crate) const PAGE_MAX: usize = 1000;

/// Which part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Items of the page; 1 to 1000, default 100.
    pub limit: Option<usize>,
    /// Continue behind this item: `next` of the page before.
    pub after: Option<String>,
}

/// Some items, and where the rest begins.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// For `after`; missing on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The page's length: what was asked for, if it is allowed.
pub(crate) fn limit_of(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(limit) => {
            Err(Problem::parameter("limit", format!("{limit} is out of range: allowed is 1 to {PAGE_MAX}")))
        }
    }
}

/// The page of `all` that `params` asks for, in the order of `key`, which must tell the items apart.
pub(crate) fn page_by<T>(
    mut all: Vec<T>,
    params: &PageParams,
    key: impl Fn(&T) -> String,
) -> Result<Page<T>, Problem> {
    let limit = limit_of(params.limit)?;
    if let Some(after) = &params.after {
        all.retain(|item| key(item) > *after);
    }
    all.sort_by_cached_key(&key);
    let more = all.len() > limit;
    all.truncate(limit);
    let next = if more { all.last().map(&key) } else { None };
    Ok(Page { items: all, next })
}

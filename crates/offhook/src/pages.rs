//! Lists come in pages; people want all of it.

use serde_json::Value;

use crate::{client::Client, failure::Failure};

/// Items to ask for at once: the API's maximum.
const PAGE: usize = 1000;

/// All items of a list, or the first `at_most`.
pub async fn all(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    at_most: Option<usize>,
) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let missing = at_most.map_or(PAGE, |most| most.saturating_sub(items.len()).min(PAGE));
        if missing == 0 {
            return Ok(items);
        }
        let mut query = query.to_vec();
        query.push(("limit", missing.to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let mut page: Value = client.get(path, &query).await?;
        if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
            items.extend(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.into()),
            None => return Ok(items),
        }
    }
}

/// A field for people: text as it is, numbers and truth as words, nothing as `-`.
pub fn field(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .filter_map(Value::as_str)
            .map(|text| if text.is_empty() { "\"\"" } else { text })
            .collect::<Vec<_>>()
            .join(", "),
        _ => "-".into(),
    }
}

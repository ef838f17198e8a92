//! What a parser says of a wrong value, in the product's words: what is wrong, and what is allowed.
//!
//! Configuration, site files, JSON bodies and query strings are all read by serde, whose messages speak of fields,
//! variants and Rust types. People who write those files and requests know keys, words and numbers.

use std::fmt;

/// What is wrong with a value, and what may stand there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// For example ``unknown key `domain` ``.
    pub what: String,
    /// For example ``did you mean `domains`? allowed: domains, realm``; `None` if the first part says it all.
    pub allowed: Option<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.allowed.as_ref().map_or(Ok(()), |allowed| write!(f, "; {allowed}"))
    }
}

/// Turns a message of serde, or of a value's own `FromStr` in the standard library, into plain words. A message that is
/// neither comes back as it is: then it is one of ours.
pub fn explain(message: &str) -> Explained {
    let message = message.trim();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let name = quoted.first().copied().unwrap_or_default();
    let said = |what: String, allowed: Option<String>| Explained { what, allowed };
    if message.starts_with("unknown field") {
        return said(format!("unknown key `{name}`"), Some(choice(name, &quoted[1..])));
    }
    if message.starts_with("unknown variant") {
        return said(format!("unknown word `{name}`"), Some(choice(name, &quoted[1..])));
    }
    if message.starts_with("missing field") {
        return said(format!("`{name}` is missing"), None);
    }
    if message.starts_with("duplicate field") {
        return said(format!("`{name}` is there more than once"), None);
    }
    for lead in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            message.strip_prefix(lead).and_then(|rest| rest.rsplit_once(", expected "))
        {
            return said(format!("{} does not fit", found_words(found)), Some(allowed(expected)));
        }
    }
    let (what, may) = match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            ("not a whole number", None)
        }
        "number too large to fit in target type" => ("the number is too large", None),
        "number too small to fit in target type" => ("the number is too small", None),
        "provided string was not `true` or `false`" => ("neither true nor false", None),
        "invalid socket address syntax" => (
            "not an address and port",
            Some("an IPv4 address, or an IPv6 address in brackets, and :port, as in \"127.0.0.1:8080\""),
        ),
        "invalid IP address syntax" => ("not an address", Some("an IPv4 or IPv6 address")),
        own => (own, None),
    };
    said(what.into(), may.map(|may| format!("allowed: {may}")))
}

/// `did you mean …? allowed: …`, for a word that is none of `names`.
fn choice(word: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return "nothing is allowed here".into();
    }
    let near = nearest(word, names.iter().copied());
    let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    format!("{near}allowed: {}", names.join(", "))
}

/// serde's ``integer `5` `` and `string "x"`, as they were written.
fn found_words(found: &str) -> &str {
    match found {
        "sequence" => "a list",
        "map" => "a table",
        "null" | "unit value" | "Option value" => "nothing",
        _ => ["integer ", "floating point ", "boolean ", "string "]
            .iter()
            .find_map(|kind| found.strip_prefix(kind))
            .unwrap_or(found),
    }
}

fn allowed(expected: &str) -> String {
    let words = match expected {
        "a string" | "string" | "str" | "a borrowed string" => "text",
        "a boolean" | "bool" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        own => own,
    };
    format!("allowed: {words}")
}

/// The name that differs from `word` in the fewest letters, if that is few enough for a slip of the fingers.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let farthest = word.chars().count() / 3 + 1;
    names
        .clone()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, name)| name)
        // `silence` for `silence_secs`: the unit is the part that people forget.
        .or_else(|| names.into_iter().find(|name| !word.is_empty() && name.starts_with(word)))
}

/// Letters to insert, remove or replace to get from one word to the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind of serde's messages, as a person reads it.
    #[test]
    fn what_a_parser_says_is_told_in_plain_words() {
        for (said, plain) in [
            (
                "unknown field `domain`, expected one of `domains`, `realm`",
                "unknown key `domain`; did you mean `domains`? allowed: domains, realm",
            ),
            (
                "unknown variant `all`, expected `inside` or `outside`",
                "unknown word `all`; allowed: inside, outside",
            ),
            ("unknown field `x`, there are no fields", "unknown key `x`; nothing is allowed here"),
            ("missing field `name`", "`name` is missing"),
            ("duplicate field `limit`", "`limit` is there more than once"),
            ("invalid type: integer `5`, expected a string", "`5` does not fit; allowed: text"),
            (
                "invalid type: string \"a, b\", expected a boolean",
                "\"a, b\" does not fit; allowed: true or false",
            ),
            (
                "invalid value: integer `70000`, expected u16",
                "`70000` does not fit; allowed: a whole number from 0 to 65535",
            ),
            ("invalid digit found in string", "not a whole number"),
            ("not a port range: allowed is 1-2", "not a port range: allowed is 1-2"),
        ] {
            assert_eq!(explain(said).to_string(), plain);
        }
    }

    #[test]
    fn a_slip_of_the_fingers_is_found_and_a_stranger_is_not() {
        let near = |word| nearest(word, ["101", "102", "silence_secs"].into_iter());
        assert_eq!(near("111"), Some("101"));
        assert_eq!(near("silence"), Some("silence_secs"));
        assert_eq!(near("carrier"), None);
    }
}

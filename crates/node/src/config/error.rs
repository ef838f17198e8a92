//! What an operator reads when `offhook.toml` is wrong: the file, the line, the column, what is there, what may be.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use offhook_store::words::{Explained, explain};
use thiserror::Error;

use super::reference::sections;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unopened {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The text is no TOML, or a key or value is not one that may stand there.
    #[error("{fault}")]
    Unreadable {
        /// The first such place.
        fault: Box<Fault>,
    },
    /// Values that are right alone and wrong together: all of them.
    #[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
    Faulty {
        /// In the order of the file.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the file is called.
    pub file: PathBuf,
    /// Where; `None` if it is about a key that is not in the file.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A piece of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters; at least 1.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

/// A complaint of the second pass: which key, by its path, and what about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// For example `tls.key` or `sip.listen.3`.
    pub(super) key: String,
    pub(super) what: String,
    pub(super) hint: String,
}

impl ConfigError {
    pub(super) fn unreadable(error: &toml::de::Error, text: &str, file: &Path) -> Self {
        let place = error.span().map(|span| Place::of(text, &span));
        let Explained { what, allowed: hint } = explain(error.message());
        // What a key may be stands at its declaration; a message of ours says it already.
        let declared = || {
            let silent = !what.contains("allowed") && !what.contains("expected");
            error.span().filter(|_| silent).and_then(|span| allowed_at(text, &span))
        };
        let hint = hint.or_else(declared);
        Self::Unreadable { fault: Box::new(Fault { file: file.into(), place, what, hint }) }
    }

    pub(super) fn faulty(complaints: Vec<Complaint>, text: &str, file: &Path) -> Self {
        let mut faults: Vec<Fault> = complaints
            .into_iter()
            .map(|complaint| Fault {
                file: file.into(),
                place: span_of(text, &complaint.key).map(|span| Place::of(text, &span)),
                what: format!("{}: {}", complaint.key, complaint.what),
                hint: Some(complaint.hint),
            })
            .collect();
        faults.sort_by_key(|fault| fault.place.as_ref().map_or((0, 0), |place| (place.line, place.column)));
        Self::Faulty { faults }
    }
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = &text[line_start..];
        let line_text = rest.lines().next().unwrap_or_default();
        let marked = text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            width: marked.chars().count().max(1),
            text: line_text.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.place {
            None => write!(f, "{file}: {}", self.what)?,
            Some(place) => {
                let gutter = place.line.to_string().len();
                writeln!(f, "{file}:{}:{}: {}", place.line, place.column, self.what)?;
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{} | {}", place.line, place.text)?;
                // Tabs are repeated, so that the caret stands below its word however wide they are drawn.
                let lead: String = place
                    .text
                    .chars()
                    .take(place.column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(f, "{:gutter$} | {lead}{}", "", "^".repeat(place.width))?;
            }
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// What the key whose value stands at `place` may be.
fn allowed_at(text: &str, place: &Range<usize>) -> Option<String> {
    let root = toml::de::DeTable::parse(text).ok()?;
    let around = |span: Range<usize>| span.start <= place.start && place.end <= span.end;
    let sections = sections();
    root.get_ref().iter().find_map(|(section, value)| {
        let toml::de::DeValue::Table(table) = value.get_ref() else { return None };
        let (key, _) = table.iter().find(|(_, value)| around(value.span()))?;
        let (_, docs) = sections.iter().find(|(name, _)| name == section.get_ref())?;
        let key = docs.keys.iter().find(|known| known.name == key.get_ref())?;
        Some(format!("allowed: {}", key.allowed))
    })
}

/// Where the value of `key` stands, or the nearest thing around it that the file has.
fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let root = toml::de::DeTable::parse(text).ok()?;
    let mut parts = key.split('.');
    let first = parts.next()?;
    let (name, mut value) = root.get_ref().iter().find(|(name, _)| name.get_ref() == first)?;
    let mut span = name.span();
    for part in parts {
        let inner = match value.get_ref() {
            toml::de::DeValue::Table(table) => {
                table.iter().find(|(name, _)| name.get_ref() == part).map(|(_, v)| v)
            }
            toml::de::DeValue::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            _ => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
        span = value.span();
    }
    Some(span)
}

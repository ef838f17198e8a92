//! The symbols that ARCHITECTURE.md names exist in the sources.

use crate::tree::{files, none, root, shown, text};

#[test]
fn every_symbol_of_the_architecture_page_exists() {
    let sources: Vec<Source> = files("crates", ".rs")
        .iter()
        .filter(|path| shown(path).contains("/src/"))
        .map(|path| Source { path: shown(path), text: text(path) })
        .collect();
    let page = text(&root().join("ARCHITECTURE.md"));
    let complaints: Vec<String> = named(&page)
        .into_iter()
        .filter(|symbol| !exists(symbol, &sources))
        .map(|symbol| format!("ARCHITECTURE.md names `{symbol}`, which is nowhere in crates/"))
        .collect();
    none(&complaints);
}

struct Source {
    path: String,
    text: String,
}

/// What looks like a symbol: paths with `::` anywhere, CamelCase and CONSTANTS between backticks.
fn named(page: &str) -> Vec<String> {
    let mut symbols: Vec<String> = page
        .split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | ':')))
        .map(|word| word.trim_matches(':'))
        .filter(|word| word.contains("::"))
        .map(str::to_string)
        .collect();
    let prose = page.split("```").step_by(2).collect::<String>();
    let quoted = prose.split('`').skip(1).step_by(2);
    symbols.extend(quoted.filter(|quoted| is_name(quoted)).map(str::to_string));
    symbols.sort();
    symbols.dedup();
    symbols
}

fn is_name(text: &str) -> bool {
    let word = text.split('<').next().unwrap_or_default();
    text == word
        && word.len() > 1
        && word.starts_with(|letter: char| letter.is_ascii_uppercase())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn exists(symbol: &str, sources: &[Source]) -> bool {
    let mut parts: Vec<&str> = symbol.split("::").collect();
    let mut home = "crates/".to_string();
    if let Some(krate) = parts[0].strip_prefix("offhook_") {
        home = format!("crates/{krate}/");
        parts.remove(0);
    }
    let mut sources = sources.iter().filter(|source| source.path.starts_with(&home));
    match parts[..] {
        [.., owner, member] => sources.any(|source| owns(source, owner) && defines(&source.text, member)),
        [name] => sources.any(|source| defines(&source.text, name)),
        [] => false,
    }
}

/// Whether a file is where `owner`, a type or a module, keeps its members.
fn owns(source: &Source, owner: &str) -> bool {
    let as_module = [format!("/{owner}.rs"), format!("/{owner}/mod.rs")];
    as_module.iter().any(|ending| source.path.ends_with(ending.as_str()))
        || source.text.lines().any(|line| {
            let line = line.trim_start();
            let opens = ["impl", "pub enum ", "enum ", "pub trait ", "pub struct "];
            opens.iter().any(|open| line.starts_with(open)) && words(line).any(|word| word == owner)
        })
}

/// Whether a definition or an enum's variant of that name stands in the text.
fn defines(text: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    text.lines().map(str::trim_start).any(|line| {
        let mut pairs = words(line).zip(words(line).skip(1));
        let defined = pairs.any(|(before, word)| word == name && keywords.contains(&before));
        let variant = line.strip_prefix(name).is_some_and(|rest| rest.starts_with([',', '(', ' ']));
        (defined || variant) && !line.starts_with("//")
    })
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).filter(|word| !word.is_empty())
}

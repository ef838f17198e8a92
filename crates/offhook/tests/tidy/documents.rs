//! The pages for people: links lead somewhere, and commands, settings and paths that they name exist.

use std::path::{Path, PathBuf};

use crate::tree::{files, none, root, shown, text};

/// Every page that is written by hand, and the pages of the reference.
fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", ".md");
    pages.extend(files("", ".md").into_iter().filter(|path| path.parent() == Some(root().as_path())));
    pages
}

/// The lines of a page, each with whether it stands in a code block.
fn lines(page: &str) -> impl Iterator<Item = (bool, &str)> {
    page.lines().scan(false, |inside, line| {
        let fence = line.trim_start().starts_with("```");
        if fence {
            *inside = !*inside;
        }
        Some((*inside || fence, line))
    })
}

/// What stands between backticks in the prose of a page.
fn quoted(page: &str) -> Vec<String> {
    let prose = lines(page).filter(|(code, _)| !code).map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut complaints = Vec::new();
    for path in pages() {
        let page = text(&path);
        for link in lines(&page).filter(|(code, _)| !code).flat_map(|(_, line)| links(line)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap_or(Path::new("")).join(file),
            };
            let leads = target.exists() && (heading.is_empty() || has_heading(&text(&target), heading));
            if !leads {
                complaints.push(format!("{}: the link to {link} leads nowhere", shown(&path)));
            }
        }
    }
    none(&complaints);
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// Whether a page has a heading with that anchor: small letters, blanks as hyphens, no punctuation.
fn has_heading(page: &str, anchor: &str) -> bool {
    lines(page).filter(|(code, line)| !code && line.starts_with('#')).any(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let slug: String = title
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        slug == anchor
    })
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let rooms = ["crates/", "docs/", "scripts/", "deploy/", "tests/", "bench/"];
    let mut complaints = Vec::new();
    for path in pages() {
        for name in quoted(&text(&path)) {
            let plain = !name.contains([' ', '*', '<', '…']);
            if plain && rooms.iter().any(|room| name.starts_with(room)) && !root().join(&name).exists() {
                complaints.push(format!("{}: there is no {name}", shown(&path)));
            }
        }
    }
    // The table of RFCs leaves `crates/` out.
    for name in quoted(&text(&root().join("docs/rfc.md"))) {
        let looks_like_path = name.contains('/') && !name.ends_with('/') && !name.contains(' ');
        if looks_like_path && !root().join("crates").join(&name).exists() {
            complaints.push(format!("docs/rfc.md: there is no crates/{name}"));
        }
    }
    none(&complaints);
}

#[test]
fn every_setting_that_the_guide_names_is_in_the_reference() {
    let reference = text(&root().join("docs/reference/configuration.md"));
    let sections: Vec<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("## [")?.strip_suffix(']')).collect();
    assert!(!sections.is_empty(), "the reference has sections");
    let mut complaints = Vec::new();
    for path in files("docs/guide", ".md") {
        for name in quoted(&text(&path)) {
            let name = name.split(" = ").next().unwrap_or_default();
            let Some((section, key)) = name.split_once('.') else { continue };
            let is_key =
                sections.contains(&section) && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_key && !reference.lines().any(|line| line == format!("### {name}")) && !is_file_name(key) {
                complaints.push(format!("{}: there is no setting {name}", shown(&path)));
            }
        }
    }
    none(&complaints);
}

/// `sip.key` is a file, not a setting.
fn is_file_name(ending: &str) -> bool {
    matches!(ending, "crt" | "key")
}

#[test]
fn every_command_that_a_page_shows_is_in_the_reference() {
    let reference = text(&root().join("docs/reference/cli.md"));
    let sections: Vec<(&str, &str)> =
        reference.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let mut complaints = Vec::new();
    for path in files("docs/guide", ".md").into_iter().chain([root().join("README.md")]) {
        let page = text(&path).replace("\\\n", " ");
        let shown_commands = lines(&page)
            .filter(|(code, line)| *code && line.trim_start().starts_with("$ "))
            .map(|(_, line)| line.to_string());
        for command in shown_commands.chain(quoted(&page)) {
            if let Some(complaint) = complaint_about(&command, &sections) {
                complaints.push(format!("{}: {complaint}", shown(&path)));
            }
        }
    }
    none(&complaints);
}

/// What is wrong with a command line, if it calls `offhook` at all.
fn complaint_about(line: &str, sections: &[(&str, &str)]) -> Option<String> {
    let words: Vec<&str> =
        line.split(['|', '>', ';', '"']).flat_map(|part| part.split_whitespace()).collect();
    // The last one: `sudo -u offhook offhook ...` names the user first.
    let start = words.iter().rposition(|word| *word == "offhook" || word.ends_with("/offhook"))?;
    if !line.starts_with("offhook ") && !line.trim_start().starts_with("$ ") {
        return None;
    }
    // Options for all commands may stand before the command.
    let mut rest = words[start + 1..].to_vec();
    while rest.first().is_some_and(|word| matches!(*word, "--config" | "--url")) {
        rest.drain(..2.min(rest.len()));
    }
    if !rest.first()?.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        return None;
    }
    let two = format!("offhook {}", rest.iter().take(2).copied().collect::<Vec<_>>().join(" "));
    let one = format!("offhook {}", rest[0]);
    let find = |wanted: &str| sections.iter().find(|(title, _)| *title == wanted);
    let Some((title, help)) = find(&two).or_else(|| find(&one)) else {
        return Some(format!("there is no command `{one}`"));
    };
    let flags = rest.iter().filter(|word| word.starts_with("--"));
    flags
        .map(|flag| flag.trim_end_matches('`'))
        .find(|flag| !help.split_whitespace().any(|word| word == *flag))
        .map(|flag| format!("`{title}` has no {flag}"))
}

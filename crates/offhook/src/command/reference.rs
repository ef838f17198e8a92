//! `docs/reference/cli.md`, made from the same definitions as `--help`.
#![cfg(test)]

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;

fn page() -> String {
    let mut page = String::from(
        "# Command line\n\n\
         <!-- Made from crates/offhook/src/cli; UPDATE_DOCS=1 cargo test -p offhook writes it anew. -->\n",
    );
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    section(&mut command, "offhook", &mut page);
    page
}

/// One command and all below it, each as its own `--help`.
fn section(command: &mut clap::Command, path: &str, page: &mut String) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {path}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name());
        section(below, &path, page);
    }
}

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/reference/cli.md is old: run UPDATE_DOCS=1 cargo test -p offhook");
}

#[test]
fn every_page_of_help_has_an_example_and_fits_80_columns() {
    for part in page().split("\n## ").skip(1) {
        let title = part.lines().next().unwrap_or_default();
        let group = part.contains("Usage: ") && part.contains("<COMMAND>");
        assert!(group || part.contains("Examples:"), "no example in `{title} --help`");
        let wide: Vec<_> = part.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "`{title} --help` has lines over 80 columns: {wide:?}");
    }
}

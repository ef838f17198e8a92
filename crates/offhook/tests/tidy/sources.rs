//! Rules for the sources.

use std::fs;

use crate::tree::{files, none, root, shown, text};

/// The crates that do no I/O; `scripts/check-purity.sh` looks at what they depend on.
const PURE: &[&str] = &["base", "sip", "sdp", "rtp", "codec", "edge", "switch"];

/// Lines that a file may have. 600 is where one asks what it mixes (CONTRIBUTING.md); here it ends.
const LINES_MAX: usize = 700;

/// Files that are longer, with the lines they had when this was written: they may shrink, not grow.
const LONGER: &[(&str, usize)] = &[];

/// Crates whose business it is to print.
const PRINTING: &[&str] = &["crates/offhook/"];

#[test]
fn no_file_grows_beyond_one_idea() {
    let mut complaints = Vec::new();
    for path in files("crates", ".rs").iter().chain(&files("tests", ".rs")) {
        let (name, lines) = (shown(path), text(path).lines().count());
        let allowed =
            LONGER.iter().find(|(longer, _)| *longer == name).map_or(LINES_MAX, |(_, lines)| *lines);
        if lines > allowed {
            complaints.push(format!("{name} has {lines} lines, {allowed} are allowed: part it"));
        }
    }
    none(&complaints);
}

#[test]
fn nothing_is_left_over_from_trying_out() {
    // Put together, so that this file does not find itself.
    let anywhere = ["dbg!", "todo!", "unimplemented!"].map(|name| format!("{name}("));
    let printing = ["println!", "eprintln!", "print!", "eprint!"].map(|name| format!("{name}("));
    let mark = ["FIX", "ME"].concat();
    let mut complaints = Vec::new();
    for path in files("crates", ".rs") {
        let name = shown(&path);
        let library = name.contains("/src/") && !PRINTING.iter().any(|folder| name.starts_with(folder));
        for (number, line) in text(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let left_over = anywhere.iter().any(|word| code.contains(word.as_str()));
            let prints = library && printing.iter().any(|word| code.contains(word.as_str()));
            if left_over || prints || line.contains(&mark) {
                complaints.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_pure_crate_is_held_to_it() {
    let lints = fs::read_to_string(root().join("crates/base/clippy.toml")).expect("base has lints");
    let mut complaints = Vec::new();
    for name in PURE {
        let folder = root().join("crates").join(name);
        // The nearest clippy.toml wins and nothing is merged, so each has the whole list.
        if fs::read_to_string(folder.join("clippy.toml")).ok().as_ref() != Some(&lints) {
            complaints.push(format!("crates/{name}/clippy.toml is missing or not that of crates/base"));
        }
        if !text(&folder.join("src/lib.rs")).contains("#![forbid(unsafe_code)]") {
            complaints.push(format!("crates/{name}/src/lib.rs does not forbid unsafe code"));
        }
    }
    none(&complaints);
}

#[test]
fn no_machine_of_ours_stands_in_a_file() {
    // Put together, so that this file does not find itself.
    let paths =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/tmp/", "spec"], ["/home", "/runner"]].map(|parts| parts.concat());
    let words = [["cla", "ude"], ["anth", "ropic"], ["chat", "gpt"], ["open", "ai"], ["sub", "agent"]]
        .map(|parts| parts.concat());
    let mut complaints = Vec::new();
    for path in files("", "") {
        for (number, line) in text(&path).lines().enumerate() {
            let lower = line.to_ascii_lowercase();
            let path_of_ours = paths.iter().any(|path| stands_alone(line, path));
            if path_of_ours || words.iter().any(|word| lower.contains(word.as_str())) {
                complaints.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    none(&complaints);
}

/// Whether `path` begins a path in `line`: `/a/` does in `cd /a/b`, not in `x/a/b`.
fn stands_alone(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '}' | '/')
        })
    })
}

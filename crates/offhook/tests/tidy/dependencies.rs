//! The libraries below us are what `deny.toml` lets them be. cargo-deny is compiled for minutes and is on few machines;
//! the part of it that needs no network is held here by what cargo itself tells. `make deny` runs the original.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde::Deserialize;

use crate::tree::{none, root, text};

#[derive(Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

/// A library, or some of its versions: `name@1.2`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    library: String,
    reason: String,
}

impl Entry {
    fn means(&self, library: &Library) -> bool {
        let (name, version) = self.library.split_once('@').unwrap_or((&self.library, ""));
        let rest = library.version.strip_prefix(version);
        name == library.name && rest.is_some_and(|rest| version.is_empty() || rest.starts_with('.'))
    }
}

/// A package as `cargo tree` tells of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Library {
    name: String,
    version: String,
    licence: String,
    /// Neither from crates.io nor from this workspace.
    is_foreign: bool,
}

impl Library {
    /// Reads `name v1.2.3 (where from);licence`, where what comes from crates.io has no parentheses.
    fn read(line: &str) -> Option<Self> {
        let (package, licence) = line.split_once(';')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?.into(), words.next()?.strip_prefix('v')?.into());
        let is_ours = |origin: &str| origin == "(proc-macro)" || origin.starts_with("(/");
        let is_foreign = words.next().is_some_and(|origin| !is_ours(origin));
        let licence = licence.trim_end_matches(" (*)").into();
        Some(Self { name, version, licence, is_foreign })
    }
}

fn policy() -> Policy {
    toml::from_str(&text(&root().join("deny.toml"))).expect("deny.toml is what this test knows of it")
}

/// All packages that are built for any of the targets, tests included.
fn libraries(policy: &Policy) -> BTreeSet<Library> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command.args(["tree", "--locked", "--workspace", "--edges", "normal,build,dev", "--prefix", "none"]);
    command.args(["--format", "{p};{l}"]);
    command.args(policy.graph.targets.iter().flat_map(|target| ["--target", target]));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<_> = tree.lines().filter_map(Library::read).collect();
    assert!(found.len() > 100, "cargo tree no longer says what this test reads:\n{tree}");
    found
}

#[test]
fn every_licence_is_allowed() {
    let policy = policy();
    let found = libraries(&policy);
    let wrong = found.iter().filter(|library| !is_allowed(&library.licence, &policy.licenses.allow));
    let tell = |library: &Library| format!("{}: licence {:?}", library.name, library.licence);
    none(&wrong.map(tell).collect::<Vec<_>>());
    let is_used = |licence: &String| found.iter().any(|library| library.licence.contains(licence.as_str()));
    let unused = policy.licenses.allow.iter().filter(|licence| !is_used(licence));
    none(&unused.map(|licence| format!("nothing has the licence {licence}")).collect::<Vec<_>>());
}

#[test]
fn no_library_is_banned_or_from_elsewhere() {
    let policy = policy();
    let mut complaints = Vec::new();
    for library in libraries(&policy) {
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.means(&library)) {
            complaints.push(format!("{} is banned: {}", library.name, ban.reason));
        }
        if library.is_foreign {
            complaints.push(format!("{} is not from crates.io", library.name));
        }
    }
    none(&complaints);
}

#[test]
fn no_library_is_here_twice_without_a_reason() {
    let policy = policy();
    let found = libraries(&policy);
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    let named: BTreeSet<_> = found.iter().map(|library| (library.name.as_str(), &library.version)).collect();
    for (name, _) in named {
        *versions.entry(name).or_default() += 1;
    }
    let skipped = |library: &&Library| policy.bans.skip.iter().any(|skip| skip.means(library));
    for library in found.iter().filter(skipped) {
        *versions.entry(&library.name).or_default() -= 1;
    }
    let twice = versions.iter().filter(|&(_, &count)| count != 1);
    none(
        &twice
            .map(|(name, count)| format!("{name}: {count} versions that deny.toml does not skip"))
            .collect::<Vec<_>>(),
    );
    let unused = policy.bans.skip.iter().filter(|skip| !found.iter().any(|library| skip.means(library)));
    none(
        &unused
            .map(|skip| format!("deny.toml skips {}, which is not there", skip.library))
            .collect::<Vec<_>>(),
    );
}

/// Whether one may use what has this licence: an SPDX expression, or with the `/` of older packages for OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced =
        expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let words: Vec<_> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let mut reader = Expression { words: &words, allowed };
    let is_allowed = reader.any();
    is_allowed && reader.words.is_empty()
}

/// What is left to read of an expression. AND binds closer than OR (SPDX 2.3 annex D.4).
struct Expression<'a> {
    words: &'a [String],
    allowed: &'a BTreeSet<String>,
}

impl Expression<'_> {
    fn any(&mut self) -> bool {
        let mut value = self.all();
        while self.takes("OR") {
            value |= self.all();
        }
        value
    }

    fn all(&mut self) -> bool {
        let mut value = self.one();
        while self.takes("AND") {
            value &= self.one();
        }
        value
    }

    fn one(&mut self) -> bool {
        if self.takes("(") {
            let value = self.any();
            return self.takes(")") && value;
        }
        let Some((licence, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        self.allowed.contains(licence)
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.first().is_some_and(|next| next == word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

#[test]
fn licences_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "ISC AND (GPL-3.0 OR MIT)",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_allowed(fine, &allowed), "{fine}");
    }
    for wrong in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR MIT AND X", "(MIT", "MIT)", "Apache-2.0", "MIT ISC"]
    {
        assert!(!is_allowed(wrong, &allowed), "{wrong}");
    }
}

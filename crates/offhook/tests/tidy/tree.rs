//! The repository's files, as a person would list them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Directories that hold nothing we wrote: build output, a node's data, git's own.
const PASSED_OVER: &[&str] = &[".git", "target", "data"];

/// The directory of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// All files below `folder` of the workspace whose name ends so, in order.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("an entry has a kind");
        if PASSED_OVER.iter().any(|&name| entry.file_name() == *name) {
            continue; // a file too: in a worktree of its own, `.git` is one
        }
        if kind.is_dir() {
            walk(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

/// A file's text; what is not UTF-8, as some test vectors are, is replaced.
pub fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a listed file can be read")).into_owned()
}

/// A path as it stands in the repository.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all complaints at once.
#[track_caller]
pub fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

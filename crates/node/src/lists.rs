//! The lists of networks: out of the configuration, the files that it names, and the store, into one table for the guard.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use offhook_edge::{Lists, Prefix, read_list};
use offhook_store::{ListedNetwork, Verdict};

use crate::config::Edge;

/// What to do about a file that cannot be read as a list.
pub const HINT: &str = "write a network or address a line, as in 192.0.2.0/24; remarks stand behind # or ;";

/// Octets of one file: some four million networks.
const FILE_BYTES_MAX: u64 = 100 << 20;

/// Where lists come from, and what the files looked like when they were read.
#[derive(Debug)]
pub struct ListSources {
    allow: Vec<Prefix>,
    deny: Vec<Prefix>,
    allow_files: Vec<PathBuf>,
    deny_files: Vec<PathBuf>,
    seen: Vec<Look>,
}

/// What a change of a file is seen by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look(Option<(SystemTime, u64)>);

impl ListSources {
    /// As the configuration says.
    pub fn new(edge: &Edge) -> Self {
        let networks = |list: &[crate::config::Network]| list.iter().map(|network| network.0).collect();
        Self {
            allow: networks(&edge.allow),
            deny: networks(&edge.deny),
            allow_files: edge.allow_files.clone(),
            deny_files: edge.deny_files.clone(),
            seen: Vec::new(),
        }
    }

    /// Whether a file has changed since it was read, for good or not.
    pub fn have_changed(&self) -> bool {
        self.seen != self.look()
    }

    /// Reads all of it, with what the store has. Takes seconds where there are millions: not for a thread that serves.
    ///
    /// # Errors
    /// A file cannot be read or is no list; the text says which, where and why. It is not read again until it changes.
    pub fn read(&mut self, stored: &[ListedNetwork]) -> Result<Arc<Lists>, String> {
        self.seen = self.look();
        let (mut allow, mut deny) = (self.allow.clone(), self.deny.clone());
        for (list, files) in [(&mut allow, &self.allow_files), (&mut deny, &self.deny_files)] {
            for file in files {
                list.extend(read_file(file)?);
            }
        }
        for entry in stored {
            let list = if entry.verdict == Verdict::Allow { &mut allow } else { &mut deny };
            list.push(entry.network);
        }
        Ok(Arc::new(Lists::new(allow, deny)))
    }

    fn look(&self) -> Vec<Look> {
        let files = self.allow_files.iter().chain(&self.deny_files);
        files
            .map(|file| {
                let found = fs::metadata(file).ok();
                Look(found.and_then(|found| Some((found.modified().ok()?, found.len()))))
            })
            .collect()
    }
}

/// Reads one file.
///
/// # Errors
/// It cannot be read or is no list.
pub fn read_file(file: &Path) -> Result<Vec<Prefix>, String> {
    let name = file.display();
    let size = fs::metadata(file).map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{name} has {size} bytes; {FILE_BYTES_MAX} are allowed"));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
    read_list(&text).map_err(|bad| format!("{name}, {bad}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::Config;

    #[test]
    fn files_are_read_again_when_they_change_and_a_bad_one_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deny.txt");
        fs::write(&path, "192.0.2.0/24 # one\n").unwrap();
        let text = format!("[edge]\nallow = [\"192.0.2.7\"]\ndeny_files = [{path:?}]\n");
        let config = Config::parse(&text, Path::new("offhook.toml")).unwrap();
        let mut sources = ListSources::new(&config.edge);
        assert_eq!(sources.read(&[]).unwrap().sizes(), (1, 1));
        assert!(!sources.have_changed());
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2001:db8::/32\nx\n").unwrap();
        assert!(sources.have_changed());
        let fault = sources.read(&[]).unwrap_err();
        assert!(fault.ends_with("deny.txt, line 3: not an IPv4 or IPv6 address"), "{fault}");
        assert!(!sources.have_changed(), "it is complained of once");
    }
}

//! What a server makes of a datagram, for the vector tests.

use std::{collections::BTreeSet, fs, path::PathBuf};

use bytes::Bytes;
use offhook_sip::message::{Message, ParseError, Request, Response, validate, validate_response};

/// What became of a datagram.
#[derive(Debug)]
pub enum Outcome {
    /// A request to work on.
    Request(Request),
    /// A response to work on.
    Response(Response),
    /// A request answered at once: status, reason phrase, and whether the parser (not `validate`) gave up.
    Refused(u16, String),
    /// Silence, and why.
    Dropped(String),
}

/// Parses and validates.
pub fn outcome(bytes: Bytes) -> Outcome {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => match validate(&request) {
            Ok(()) => Outcome::Request(request),
            Err(rejection) => Outcome::Refused(rejection.status.as_u16(), rejection.reason().to_string()),
        },
        Ok(Message::Response(response)) => match validate_response(&response) {
            Ok(()) => Outcome::Response(response),
            Err(fault) => Outcome::Dropped(fault.to_string()),
        },
        Err(ParseError::Rejected(rejection)) => {
            Outcome::Refused(rejection.status.as_u16(), rejection.reason().to_string())
        }
        Err(ParseError::Dropped(fault)) => Outcome::Dropped(fault.to_string()),
    }
}

/// A vector's octets.
pub fn vector(folder: &str, name: &str) -> Bytes {
    let path = folder_path(folder).join(format!("{name}.dat"));
    Bytes::from(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The names in the first column of the folder's EXPECT.tsv, which must be those of its files.
pub fn expected_names(folder: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(folder_path(folder).join("EXPECT.tsv")).unwrap();
    let names: BTreeSet<_> =
        table.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    let files: BTreeSet<_> = fs::read_dir(folder_path(folder))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".dat").map(str::to_owned))
        .collect();
    assert_eq!(names, files, "EXPECT.tsv and the .dat files of {folder} differ");
    names
}

fn folder_path(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder)
}

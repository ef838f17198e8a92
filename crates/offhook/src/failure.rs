//! What went wrong, in the words of the person who asked, and the number that scripts see.

use std::{fmt, process::ExitCode};

use offhook_node::config::ConfigError;

/// Why a command failed: `what: why`, and a hint.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    kind: Kind,
}

/// What scripts tell apart by the exit code. 2 is clap's: the command line itself is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 1: the node refused, or the command could not be carried out.
    Refused,
    /// 3: the configuration is wrong.
    Configuration,
    /// 4: there is no node to talk to.
    Unreachable,
    /// 5: the node does not accept the token, or there is none.
    Unauthenticated,
}

impl Failure {
    /// The command could not be carried out.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), kind: Kind::Refused }
    }

    /// There is no node to talk to.
    pub fn unreachable(url: &str, why: &str) -> Self {
        Self {
            message: format!("cannot reach the node at {url}: {why}"),
            hint: Some("start it with `offhook serve`, or name another one with --url".into()),
            kind: Kind::Unreachable,
        }
    }

    /// No token, or none that the node accepts.
    pub fn unauthenticated(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::Unauthenticated, ..Self::new(message, hint) }
    }

    /// The program's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Refused => 1,
            Kind::Configuration => 3,
            Kind::Unreachable => 4,
            Kind::Unauthenticated => 5,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        // What is unreadable or faulty brings its own hints, one for each place.
        let hint = matches!(error, ConfigError::Unopened { .. })
            .then(|| "check the path; without --config, `offhook.toml` here or the defaults serve".into());
        let message = match &error {
            ConfigError::Unopened { file, error } => {
                format!("cannot read {}: {}", file.display(), why(error))
            }
            other => other.to_string(),
        };
        Self { message, hint, kind: Kind::Configuration }
    }
}

/// What the system said, for people: "no such file or directory" without the number that is for programmers.
pub fn why(error: &dyn std::error::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().into()
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(
            format!("cannot write the output: {}", why(&error)),
            "check what the output is connected to",
        )
    }
}

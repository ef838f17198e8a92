//! What went wrong, in the words of the person who asked, and the number that scripts see.

use std::{fmt, process::ExitCode};

use offhook_node::config::ConfigError;

/// Why a command failed: `what: why`, and a hint.
#[derive(Debug)]
pub struct Failure {
    message: String,
    /// The values that are wrong: where each stands, and what is wrong with it. They take the message's place.
    faults: Vec<(String, String)>,
    hint: Option<String>,
    kind: Kind,
}

/// What scripts tell apart by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 1: the node refused, or the command could not be carried out.
    Refused,
    /// 2: the command line is wrong; what is wrong with its form clap says itself.
    Usage,
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
        Self { message: message.into(), faults: Vec::new(), hint: Some(hint.into()), kind: Kind::Refused }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::new(message, hint) }
    }

    /// There is no node to talk to.
    pub fn unreachable(url: &str, why: &str) -> Self {
        let hint = "start it with `offhook serve`, or name another one with --url";
        Self { kind: Kind::Unreachable, ..Self::new(format!("cannot reach the node at {url}: {why}"), hint) }
    }

    /// The node was there, and then no more.
    pub fn broke_off(url: &str, why: &str) -> Self {
        let hint = "is the node still running? `offhook status` tells";
        Self {
            kind: Kind::Unreachable,
            ..Self::new(format!("the connection to {url} broke off: {why}"), hint)
        }
    }

    /// No token, or none that the node accepts.
    pub fn unauthenticated(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::Unauthenticated, ..Self::new(message, hint) }
    }

    /// The values that are wrong, under their headline.
    pub fn with_faults(self, faults: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { faults: faults.into_iter().collect(), ..self }
    }

    /// Names what is wrong as the command line does: the settings under `path`, the node's name of a thing, as options.
    pub fn in_options(mut self, path: &str) -> Self {
        for (place, _) in &mut self.faults {
            let setting = place.strip_prefix(path).unwrap_or(place).trim_start_matches('.');
            let setting = setting.split('[').next().unwrap_or_default();
            *place = if setting.is_empty() || setting == "name" { "NAME".into() } else { option(setting) };
        }
        self
    }

    /// Names the option `other` where the API's parameter has another name.
    pub fn in_place_of(mut self, option: &str, other: &str) -> Self {
        self.faults
            .iter_mut()
            .filter(|(place, _)| place == option)
            .for_each(|(place, _)| *place = other.into());
        self
    }

    /// Whether there is no node to talk to.
    pub fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    /// The program's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::Configuration => 3,
            Kind::Unreachable => 4,
            Kind::Unauthenticated => 5,
        })
    }
}

/// The option that sets what the API calls `setting`.
pub fn option(setting: &str) -> String {
    let name = match setting {
        "sources" => "source",
        "prefixes" => "prefix",
        "domains" => "domain",
        "lines" => "line",
        "secret" => "secret-stdin",
        "talk_min_secs" => "talk-min",
        other => return format!("--{}", other.replace('_', "-")),
    };
    format!("--{name}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [] => write!(f, "{}", self.message)?,
            [(place, problem)] => write!(f, "{place}: {problem}")?,
            faults => {
                write!(f, "{}", self.message)?;
                faults.iter().try_for_each(|(place, problem)| write!(f, "\n  {place}: {problem}"))?;
            }
        }
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
        Self { message, faults: Vec::new(), hint, kind: Kind::Configuration }
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

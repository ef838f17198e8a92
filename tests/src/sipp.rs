//! SIPp (Debian's 3.6.1) as caller and callee.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    netns::{self, Network},
    node::password,
    ports,
    process::Running,
    wait,
};

/// A scenario to run: a file of `tests/scenarios`, or one that is built into SIPp.
#[derive(Clone, Debug)]
pub struct Sipp {
    scenario: Scenario,
    arguments: Vec<String>,
    values: Vec<(&'static str, String)>,
    local: SocketAddr,
    media: Arc<ports::Block>,
    calls: u32,
    namespace: Option<String>,
}

#[derive(Clone, Debug)]
enum Scenario {
    BuiltIn(&'static str),
    File(&'static str),
}

/// A scenario under way.
#[derive(Debug)]
pub struct SippRun {
    process: Running,
    directory: TempDir,
    name: String,
    /// Where it takes SIP.
    pub local: SocketAddr,
    _media: Arc<ports::Block>,
}

/// The tone that scenarios with `{{tone}}` send, Hz.
pub const TONE_HZ: f64 = 440.0;

/// How SIPp ends when at least one call failed.
const CALLS_FAILED: i32 = 1;

impl Sipp {
    /// A scenario that SIPp brings along.
    pub fn built_in(name: &'static str, local: IpAddr) -> Self {
        Self::new(Scenario::BuiltIn(name), local)
    }

    /// `tests/scenarios/NAME.xml`.
    pub fn scenario(name: &'static str, local: IpAddr) -> Self {
        Self::new(Scenario::File(name), local)
    }

    fn new(scenario: Scenario, local: IpAddr) -> Self {
        let local = SocketAddr::new(local, ports::free());
        let media = Arc::new(ports::phone_media());
        Self { scenario, arguments: Vec::new(), values: Vec::new(), local, media, calls: 1, namespace: None }
    }

    /// Puts `value` where the scenario has `{{name}}`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.values.push((name, value.to_string()));
        self
    }

    /// Speaks for `line`: fills `{{line}}` and `{{password}}`.
    #[must_use]
    pub fn line(self, line: &str) -> Self {
        self.with("line", line).with("password", password(line))
    }

    /// More arguments of SIPp's.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.into()));
        self
    }

    /// Passes over what the scenario does not expect, as a phone does, instead of giving up the call. On a bad line that is
    /// a challenge that comes twice, or an INVITE that is repeated because all answers were lost.
    #[must_use]
    pub fn patient(self) -> Self {
        self.arguments(&["-default_behaviors", "all,-abortunexp"])
    }

    /// Over TCP, one connection for all calls.
    #[must_use]
    pub fn tcp(self) -> Self {
        self.arguments(&["-t", "t1"])
    }

    /// So many calls; one by default.
    #[must_use]
    pub const fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    /// In a network of its own: at the phone's address there.
    #[must_use]
    pub fn within(mut self, network: &Network) -> Self {
        self.namespace = Some(network.namespace().to_owned());
        self.local.set_ip(network.phone());
        self
    }

    /// At this port.
    #[must_use]
    pub const fn at(mut self, local: SocketAddr) -> Self {
        self.local = local;
        self
    }

    /// Where it will take SIP.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Starts it as the side that calls `server`.
    pub fn call(self, server: SocketAddr) -> SippRun {
        self.start(Some(server))
    }

    /// Starts it as the side that waits for calls, and waits until it does.
    pub fn listen(self) -> SippRun {
        let port = self.local.port();
        let mut run = self.start(None);
        let up = wait::within(wait::PATIENCE, || {
            let its = run.process.id().to_string();
            (ports::is_open_to(&its, port) || !run.process.is_running()).then_some(())
        });
        assert!(
            up.is_some() && run.process.is_running(),
            "SIPp {} does not listen: {}{}",
            run.name,
            run.process.output(),
            run.trace()
        );
        run
    }

    fn start(self, server: Option<SocketAddr>) -> SippRun {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = match &self.namespace {
            Some(namespace) => netns::command(namespace, "sipp"),
            None => Command::new("sipp"),
        };
        let name = match self.scenario {
            Scenario::BuiltIn(name) => {
                command.args(["-sn", name]);
                name
            }
            Scenario::File(name) => {
                command.arg("-sf").arg(self.write_scenario(name, directory.path()));
                name
            }
        };
        command.args(["-p", &self.local.port().to_string(), "-mp", &self.media.first.to_string()]);
        command.args(["-i", &self.local.ip().to_string(), "-mi", &self.local.ip().to_string()]);
        command.args(["-m", &self.calls.to_string(), "-nostdin", "-timeout", "60s", "-timeout_error"]);
        command.args([
            "-trace_err",
            "-error_file",
            "errors.log",
            "-trace_msg",
            "-message_file",
            "messages.log",
        ]);
        command.args(["-cp", &ports::free().to_string()]);
        command.args(&self.arguments).current_dir(directory.path());
        if let Some(server) = server {
            // By default SIPp leaves the user out of the digest's URI: that would be credentials for another request.
            let callee = self.values.iter().find(|(name, _)| *name == "callee");
            if let Some((_, callee)) = callee {
                command.args(["-auth_uri", &format!("{callee}@{server}")]);
            }
            command.arg(server.to_string());
        }
        let process = Running::start("sipp", command, directory.path());
        SippRun { process, name: name.into(), local: self.local, _media: self.media, directory }
    }

    fn write_scenario(&self, name: &str, directory: &Path) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.xml"));
        let mut text =
            fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        for (name, value) in &self.values {
            // SIPp takes what stands in brackets for a keyword; this one writes them itself.
            text = text.replace(&format!("{{{{{name}}}}}"), &value.replace("[::1]", "[local_ip]"));
        }
        if text.contains("{{tone}}") {
            let file = directory.join("tone.ulaw");
            fs::write(&file, crate::sound::mu_law_tone(TONE_HZ, Duration::from_secs(10))).expect("a file");
            text = text.replace("{{tone}}", &file.to_string_lossy());
        }
        assert!(!text.contains("{{"), "{name}: not all values are given: {text}");
        let file = directory.join("scenario.xml");
        fs::write(&file, text).expect("the test's directory can be written");
        file
    }
}

impl SippRun {
    /// Waits for its end; every call must have gone as the scenario says.
    pub fn succeeds(&mut self) {
        let status = self.process.wait(wait::PATIENCE * 3);
        assert!(
            status.is_some_and(|status| status.success()),
            "SIPp {} ended with {status:?}\n{}\n{}",
            self.name,
            self.trace(),
            self.process
                .output()
                .lines()
                .filter(|line| line.contains("error") || line.contains("Invalid"))
                .collect::<String>()
        );
    }

    /// Waits for its end; some calls must have gone otherwise than the scenario says.
    pub fn fails(&mut self) {
        let status = self.process.wait(wait::PATIENCE * 3).and_then(|status| status.code());
        assert_eq!(status, Some(CALLS_FAILED), "SIPp {}\n{}", self.name, self.trace());
    }

    /// All messages it sent and received, and its errors.
    pub fn trace(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        format!("{}\n{}", read("messages.log"), read("errors.log"))
    }

    /// All messages it sent and received.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.directory.path().join("messages.log")).unwrap_or_default()
    }
}

//! The node under test: the `offhook` binary in a directory and on ports of its own.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{http, ports, process::Running, wait};

/// What is special about a node.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// More addresses of this host to take SIP at, over UDP.
    pub addresses: Vec<IpAddr>,
    /// Without capabilities, even where the tests have them.
    pub without_rights: bool,
    /// More lines of the `[sip]` section.
    pub sip: String,
    /// More lines of the `[limits]` section.
    pub limits: String,
    /// More lines of the `[signalling]` section.
    pub signalling: String,
    /// More lines of the `[media]` section.
    pub media: String,
    /// More sections.
    pub sections: String,
    /// The domains of the default tenant, as a TOML list; none by default.
    pub domains: &'static str,
    /// Environment of the process.
    pub environment: Vec<(&'static str, String)>,
    /// More of the site: `[tenants.default.peers.x]` and so on. Lines 101 to 105 are always there.
    pub site: String,
}

/// A running node. It ends with the value.
#[derive(Debug)]
pub struct Node {
    // In the order in which they must go.
    process: Running,
    _disk: Option<Mounted>,
    directory: TempDir,
    launch: Launch,
    /// Processes so far that a test started.
    lives: u32,
    /// The process that serves, if it is none of the test's own.
    orphan: Option<u32>,
    /// UDP and TCP, on 127.0.0.1 and ::1.
    pub sip_port: u16,
    /// TLS, on 127.0.0.1 and ::1.
    pub tls_port: u16,
    /// WebSocket, on ::1.
    pub ws_port: u16,
    /// WebSocket over TLS, on 127.0.0.1 and ::1.
    pub wss_port: u16,
    /// The API, and SIP over WebSocket at `/sip`.
    pub http: SocketAddr,
    /// The ports of its media.
    pub media: ports::Block,
}

/// The lines of every node; the password of each is [`password`]. The last may call outside numbers.
pub const LINES: [&str; 5] = ["101", "102", "103", "104", "105"];

/// The password of a line.
pub fn password(line: &str) -> String {
    format!("password-{line}")
}

impl Node {
    /// Starts a node with lines and waits until it is ready.
    pub fn start(options: &NodeOptions) -> Self {
        Self::start_in(test_directory(), options, None)
    }

    /// The same with its data on a file system of so many KiB of its own. `None`: this user may mount none.
    pub fn start_on_small_disk(options: &NodeOptions, kib: u32) -> Option<Self> {
        let directory = test_directory();
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a new directory");
        let size = format!("size={kib}k,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&data).status();
        mounted.ok().filter(std::process::ExitStatus::success)?;
        Some(Self::start_in(directory, options, Some(Mounted(data))))
    }

    fn start_in(directory: TempDir, options: &NodeOptions, disk: Option<Mounted>) -> Self {
        let [sip_port, tls_port, ws_port, wss_port] = [(); 4].map(|()| ports::free());
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let media = ports::node_media();
        let more =
            options.addresses.iter().map(|&ip| format!(" \"udp://{}\",", SocketAddr::new(ip, sip_port)));
        let more: String = more.collect();
        let configuration = format!(
            r#"
[sip]
digest = "md5" # Debian's SIPp fails at any other challenge
listen = [
    "udp://127.0.0.1:{sip_port}", "tcp://127.0.0.1:{sip_port}", "udp://[::1]:{sip_port}", "tcp://[::1]:{sip_port}",
    "tls://127.0.0.1:{tls_port}", "wss://127.0.0.1:{wss_port}",
    "tls://[::1]:{tls_port}", "wss://[::1]:{wss_port}", "ws://[::1]:{ws_port}",{more}
]
{}
[http]
listen = "{http}"
[media]
ports = "{}-{}"
{}
[storage]
data = {:?}
[limits]
{}
[signalling]
{}
[log]
level = "debug"
{}
"#,
            options.sip,
            media.first,
            media.last,
            options.media,
            directory.path().join("data"),
            options.limits,
            options.signalling,
            options.sections,
        );
        fs::write(directory.path().join("offhook.toml"), configuration)
            .expect("the test's directory can be written");
        let launch =
            Launch { environment: options.environment.clone(), without_rights: options.without_rights };
        let process = spawn(directory.path(), &launch);
        let mut node = Self {
            process,
            _disk: disk,
            directory,
            launch,
            lives: 1,
            orphan: None,
            sip_port,
            tls_port,
            ws_port,
            wss_port,
            http,
            media,
        };
        node.wait_until_ready();
        node.apply(&site(options));
        node
    }

    /// The test's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its SIP address for UDP and TCP over IPv4.
    pub fn sip(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.sip_port))
    }

    /// Its SIP address for UDP and TCP over IPv6.
    pub fn sip_v6(&self) -> SocketAddr {
        SocketAddr::from((Ipv6Addr::LOCALHOST, self.sip_port))
    }

    /// Its SIP address for TLS over IPv4.
    pub fn sip_tls(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.tls_port))
    }

    /// Its SIP address for TLS over IPv6.
    pub fn sip_tls_v6(&self) -> SocketAddr {
        SocketAddr::from((Ipv6Addr::LOCALHOST, self.tls_port))
    }

    /// The self-signed certificate that it made.
    pub fn certificate(&self) -> PathBuf {
        let found = fs::read_dir(self.directory().join("data")).expect("the data directory is there");
        found
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("BEGIN CERTIFICATE")))
            .expect("the node made a certificate")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Ends the process as a power failure would, and starts it again on the same data.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Starts the ended process again on the same data.
    pub fn start_again(&mut self) {
        self.process = spawn(self.directory.path(), &self.launch);
        self.wait_until_ready();
    }

    /// Starts a new process that takes over from this one, which must end by itself in good order.
    pub fn take_over(&mut self) {
        self.lives += 1;
        let mut command = serve(self.directory(), &self.launch);
        command.arg("--take-over");
        let successor = Running::start(&format!("node-{}", self.lives), command, self.directory.path());
        let mut old = std::mem::replace(&mut self.process, successor);
        let ended = old.wait(wait::PATIENCE * 3);
        assert!(
            ended.is_some_and(|status| status.success()),
            "the old process ended with {ended:?}\n{}\n{}",
            old.output(),
            self.log()
        );
        self.wait_until_ready();
    }

    fn run_command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(words).arg("--config").arg(self.directory().join("offhook.toml"));
        command.current_dir(self.directory()).output().expect("the program starts")
    }

    /// A command of the command line, with the node's configuration: whether it succeeded, and what it said.
    pub fn try_command(&self, words: &[&str]) -> (bool, String) {
        let done = self.run_command(words);
        let said = [done.stdout, done.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
        (done.status.success(), said.concat())
    }

    /// `offhook upgrade`: what it said, and whether it succeeded. If so, the node has another process.
    pub fn upgrade(&mut self) -> (String, bool) {
        let (succeeded, said) = self.try_command(&["upgrade"]);
        if succeeded {
            let ended = self.process.wait(wait::PATIENCE);
            assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", self.log());
            let log = self.log();
            let (_, pid) = log.rsplit_once("pid").expect("the log names the new process");
            let digits: String = pid
                .chars()
                .skip_while(|letter| !letter.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            self.orphan = digits.parse().ok();
            self.wait_until_ready();
        }
        (said, succeeded)
    }

    fn wait_until_ready(&mut self) {
        let http = self.http;
        let ready = wait::within(wait::PATIENCE, || {
            let answer = http::request(http, "GET", "/readyz", None, None);
            (answer.is_ok_and(|answer| answer.status == 200) || !self.runs()).then_some(())
        });
        assert!(ready.is_some() && self.runs(), "the node did not get ready:\n{}", self.log());
    }

    fn runs(&mut self) -> bool {
        match self.orphan {
            Some(orphan) => Path::new(&format!("/proc/{orphan}")).exists(),
            None => self.process.is_running(),
        }
    }

    /// A request to the API that must succeed.
    pub fn api(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> Value {
        let token =
            fs::read_to_string(self.directory().join("data/token")).expect("the node wrote its token");
        let path = format!("/api/v1{path}");
        let answer =
            http::request(self.http, method, &path, Some(token.trim()), body).unwrap_or_else(|error| {
                panic!("{method} {path}: {error}\n{}", self.log());
            });
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    /// What a command of the command line prints, which must succeed.
    pub fn command(&self, words: &[&str]) -> String {
        let done = self.run_command(words);
        let [said, complained] =
            [done.stdout, done.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
        assert!(done.status.success(), "offhook {words:?}: {complained}");
        said
    }

    /// Makes the site what `document` says.
    pub fn apply(&self, document: &str) {
        self.api("POST", "/apply", Some(("application/toml", document)));
    }

    /// The records, once there are `count`, in the order the calls began; more would be a failure.
    pub fn records(&self, count: usize) -> Vec<Value> {
        let items = |page: Value| page["items"].as_array().cloned().unwrap_or_default();
        let found = wait::within(wait::PATIENCE, || {
            let records = items(self.api("GET", "/records?limit=1000", None));
            (records.len() >= count).then_some(records)
        });
        let mut found = found.unwrap_or_else(|| {
            panic!("no {count} records, but {}\n{}", self.api("GET", "/records", None), self.log())
        });
        assert_eq!(found.len(), count, "one record a call: {found:#?}");
        found.sort_by_key(|record| record["id"].to_string());
        found
    }

    /// The only record.
    pub fn record(&self) -> Value {
        self.records(1).remove(0)
    }

    /// The contacts that are bound.
    pub fn registrations(&self) -> Vec<Value> {
        self.api("GET", "/registrations", None)["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until `line` has `count` contacts.
    pub fn wait_for_bindings(&self, line: &str, count: usize) {
        let of_line = || self.registrations().iter().filter(|binding| binding["line"] == line).count();
        if wait::within(wait::PATIENCE, || (of_line() == count).then_some(())).is_none() {
            panic!("line {line} has {} contacts instead of {count}\n{}", of_line(), self.log());
        }
    }

    /// Waits until there is exactly one call, its phase is `phase`, and what the node said to get it there is on its way.
    pub fn wait_for_phase(&self, phase: &str) {
        let calls = || self.api("GET", "/calls", None)["items"].as_array().cloned().unwrap_or_default();
        let reached = wait::within(wait::PATIENCE, || {
            matches!(calls().as_slice(), [call] if call["phase"] == phase).then_some(())
        });
        assert!(reached.is_some(), "no call got {phase}: {:?}\n{}", calls(), self.log());
        // A turn of the signalling worker ends with what it has to send. Who is answered in a later turn knows that it was.
        calls();
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let answer = http::request(self.http, "GET", "/metrics", None, None).expect("metrics are served");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        answer.body.lines().find_map(value).unwrap_or_else(|| panic!("no metric {name} in\n{}", answer.body))
    }

    /// Waits until a metric has a value, and does something again and again meanwhile.
    pub fn wait_for_metric_while(&self, name: &str, wanted: f64, mut meanwhile: impl FnMut()) {
        let there = wait::within(wait::PATIENCE, || {
            meanwhile();
            ((self.metric(name) - wanted).abs() < 1e-9).then_some(())
        });
        assert!(there.is_some(), "{name} is {} and not {wanted}\n{}", self.metric(name), self.log());
    }

    /// Waits until a metric has a value.
    pub fn wait_for_metric(&self, name: &str, wanted: f64) {
        let reached = wait::within(wait::PATIENCE * 3, || (self.metric(name) == wanted).then_some(()));
        assert!(reached.is_some(), "{name} is {} and not {wanted}\n{}", self.metric(name), self.log());
    }

    /// Resident memory of the process, KiB.
    pub fn resident_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The lowest number that no open file or socket of the process has: as a limit, it lets it open nothing more.
    pub fn first_free_descriptor(&self) -> usize {
        let open = |number: &usize| Path::new(&format!("/proc/{}/fd/{number}", self.process.id())).exists();
        (0..).find(|number| !open(number)).expect("numbers do not end")
    }

    /// Waits until the in-kernel media plane is loaded, which happens while the node serves already; why not, if
    /// it cannot be here.
    pub fn wait_for_kernel_plane(&self) -> Result<(), String> {
        wait::until("the plane is loaded, or known not to be", || {
            if self.metric("offhook_media_kernel_plane") > 0.0 {
                return Some(Ok(()));
            }
            let log = self.log();
            log.lines()
                .find(|line| line.contains("media goes through user space"))
                .map(|why| Err(why.to_owned()))
        })
    }

    /// Open files and sockets of the process.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("the node runs").count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(orphan) = self.orphan {
            let _ = Command::new("kill").arg("-KILL").arg(orphan.to_string()).status();
        }
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(LOG_TAIL_LINES).collect();
            report(&format!("the node's last lines ({}):", self.directory().display()));
            tail.iter().rev().for_each(|line| report(line));
        }
    }
}

/// Lines of the log that a failing test shows.
const LOG_TAIL_LINES: usize = 60;

/// Tells the person who reads the test's output.
#[expect(clippy::print_stderr, reason = "the test's report")]
pub fn report(line: &str) {
    eprintln!("{line}");
}

/// A mounted file system. It goes with the value, at the latest when nobody uses it any more.
#[derive(Debug)]
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn test_directory() -> TempDir {
    tempfile::Builder::new().prefix("offhook-e2e-").tempdir().expect("a temporary directory")
}

/// How the process is started.
#[derive(Clone, Debug, Default)]
struct Launch {
    environment: Vec<(&'static str, String)>,
    without_rights: bool,
}

fn spawn(directory: &Path, launch: &Launch) -> Running {
    Running::start("node", serve(directory, launch), directory)
}

fn serve(directory: &Path, launch: &Launch) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = if launch.without_rights && is_root {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(binary());
        command
    } else {
        Command::new(binary())
    };
    command.arg("serve").arg("--config").arg(directory.join("offhook.toml")).current_dir(directory);
    command.env_remove("RUST_LOG").envs(launch.environment.iter().cloned());
    command
}

fn site(options: &NodeOptions) -> String {
    let domains = if options.domains.is_empty() { "[]" } else { options.domains };
    let mut document = format!("[tenants.default]\ndomains = {domains}\n");
    for line in LINES {
        document.push_str(&format!("[tenants.default.lines.{line}]\npassword = {:?}\n", password(line)));
        if line == "105" {
            document.push_str("may_call = \"outside\"\n");
        }
    }
    document + &options.site
}

/// The binary under test: `OFFHOOK_BIN`, or the one beside this test's, built now if it is not up to date.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = env::var_os("OFFHOOK_BIN") {
            return given.into();
        }
        let wanted = ["build", "--quiet", "--package", "offhook", "--bin", "offhook"];
        let built = Command::new(env!("CARGO")).args(wanted).status();
        assert!(built.is_ok_and(|status| status.success()), "the binary does not build");
        let this = env::current_exe().expect("a running program has a path");
        // target/debug/deps/real_programs-1234 → target/debug/offhook
        let beside = this.ancestors().nth(2).expect("tests lie in deps").join("offhook");
        assert!(beside.exists(), "no binary at {}", beside.display());
        beside
    })
}

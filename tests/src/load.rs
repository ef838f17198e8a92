//! Callers and callees from the same scenario file, each played by SIPp or by `offhook load`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::{node::binary, ports, process::Running, wait, wire::Wire};

/// Who plays a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// Debian's SIPp.
    Sipp,
    /// `offhook load`.
    Ours,
}

/// A caller and a callee: files of `tests/scenarios/load` or paths, without `.xml`, or `-sn NAME`.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Who calls.
    pub caller: &'static str,
    /// Who answers.
    pub callee: &'static str,
    /// More arguments, of both.
    pub arguments: &'static [&'static str],
    /// More arguments of the callee.
    pub callee_arguments: &'static [&'static str],
    /// What must hold of a caller of ours.
    pub requires: &'static [&'static str],
    /// `-audiotolerance` of a caller of ours.
    pub tolerance: Option<&'static str>,
    /// Both have the same range of media ports, for four calls.
    pub shares_ports: bool,
    /// Calls.
    pub calls: u32,
    /// The callee never ends by itself.
    pub callee_stays: bool,
}

/// What came of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit codes of caller and callee; `None` if it stays.
    pub codes: (Option<i32>, Option<i32>),
    /// What the caller sent and received: direction, CSeq, method or code; those of one call in order, calls one by one.
    pub flow: Vec<String>,
    /// Counts of each step that are not zero, caller's and callee's.
    pub counts: [BTreeMap<String, String>; 2],
    /// Lines of `<log>`, caller's and callee's; ports and processes left out.
    pub logs: [Vec<String>; 2],
    /// What tshark saw between the two; empty where it is encrypted or capturing is not permitted.
    pub wire: Vec<String>,
}

/// The injection file of all pairs.
const USERS: &str = "SEQUENTIAL\nalice;schmo\nbob;2\n";

/// The certificate of all pairs, and its key; both PEM.
fn certificate() -> &'static (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// A second of a square wave in µ-law.
const SOUND: [u8; 8000] = {
    let mut sound = [0x90; 8000];
    let mut at = 0;
    while at < sound.len() {
        if at / 8 % 2 == 0 {
            sound[at] = 0x10;
        }
        at += 1;
    }
    sound
};

impl Pair {
    /// A pair without more arguments, one call.
    pub const fn new(caller: &'static str, callee: &'static str) -> Self {
        Self {
            caller,
            callee,
            arguments: &[],
            callee_arguments: &[],
            requires: &[],
            tolerance: None,
            shares_ports: false,
            calls: 1,
            callee_stays: false,
        }
    }

    /// Plays it.
    pub fn play(self, caller: Player, callee: Player, transport: &str) -> Outcome {
        let mut played = Played::start(self, caller, callee, transport);
        played.finish()
    }

    /// Plays it over UDP, us against SIPp, and interrupts the caller once the call is up.
    pub fn interrupted(self) -> Outcome {
        let mut played = Played::start(self, Player::Ours, Player::Sipp, "u1");
        let short = played.directory.path().join("caller/short");
        let is_up = || fs::read_to_string(&short).unwrap_or_default().contains("\tACK ");
        wait::until("the call is up", || is_up().then_some(()));
        played.calling.signal("INT");
        played.finish()
    }

    #[expect(clippy::too_many_arguments, reason = "one call for each role")]
    fn start(
        self,
        player: Player,
        scenario: &str,
        role: &str,
        directory: &TempDir,
        port: u16,
        remote: Option<u16>,
        transport: &str,
        media: &ports::Block,
    ) -> Running {
        let home = directory.path().join(role);
        fs::create_dir(&home).expect("a directory");
        fs::write(home.join("users.csv"), USERS).expect("a file");
        fs::write(home.join("sound.raw"), SOUND).expect("a file");
        let (certificate, key) = certificate();
        fs::write(home.join("cacert.pem"), certificate).expect("a file");
        fs::write(home.join("cakey.pem"), key).expect("a file");
        let mut command = program(player);
        command.current_dir(&home).args(scenario_arguments(scenario));
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-t", transport]);
        command.args(["-m", &self.calls.to_string(), "-nostdin", "-timeout", "30s", "-timeout_error"]);
        command.args(["-cp", &ports::free().to_string(), "-inf", "users.csv", "-infindex", "users.csv", "0"]);
        command.args(["-trace_shortmsg", "-shortmessage_file", "short", "-trace_logs", "-log_file", "logs"]);
        command.args(["-trace_counts", "-trace_err", "-error_file", "errors"]).args(self.arguments);
        let port = |offset: u16| (media.first + offset).to_string();
        command.args(["-mp", &port(0)]);
        if player == Player::Ours {
            // Of SIPp 3.7; Debian's finds free ones by itself.
            command.args(["-min_rtp_port", &port(4), "-max_rtp_port", &media.last.to_string()]);
        }
        match remote {
            Some(remote) => {
                command.arg(format!("127.0.0.1:{remote}"));
                if player == Player::Ours {
                    command.args(self.requires.iter().flat_map(|text| ["--require", text]));
                    command.args(self.tolerance.iter().flat_map(|share| ["-audiotolerance", share]));
                }
            }
            None => {
                command.args(self.callee_arguments);
            }
        }
        Running::start(role, command, directory.path())
    }
}

/// A pair on its way.
struct Played {
    pair: Pair,
    directory: TempDir,
    answering: Running,
    calling: Running,
    ports: (u16, u16),
    wire: Wire,
    _media: [ports::Block; 2],
}

impl Played {
    fn start(pair: Pair, caller: Player, callee: Player, transport: &str) -> Self {
        // Built before anybody waits for it.
        binary();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let callee_port = ports::free();
        let media = [ports::phone_media(), ports::phone_media()];
        let mut answering =
            pair.start(callee, pair.callee, "callee", &directory, callee_port, None, transport, &media[0]);
        let up = wait::within(wait::PATIENCE, || {
            (ports::is_open(callee_port) || !answering.is_running()).then_some(())
        });
        assert!(up.is_some(), "{callee:?} {} does not listen: {}", pair.callee, answering.output());
        let wire = Wire::start(callee_port, transport, directory.path());
        let caller_port = ports::free();
        let to = Some(callee_port);
        let callers = &media[usize::from(!pair.shares_ports)];
        let calling =
            pair.start(caller, pair.caller, "caller", &directory, caller_port, to, transport, callers);
        Self { pair, directory, answering, calling, ports: (caller_port, callee_port), wire, _media: media }
    }

    fn finish(&mut self) -> Outcome {
        let ended = self.calling.wait(wait::PATIENCE * 3);
        assert!(ended.is_some(), "{} does not end: {}", self.pair.caller, self.calling.output());
        let caller_code = ended.and_then(|status| status.code());
        let callee_code = if self.pair.callee_stays {
            self.answering.terminate();
            None
        } else {
            self.answering.wait(wait::PATIENCE * 3).and_then(|status| status.code())
        };
        let (caller_port, callee_port) = self.ports;
        let numbers =
            [self.calling.id(), self.answering.id(), u32::from(caller_port), u32::from(callee_port)];
        let plain =
            |text: String| numbers.iter().fold(text, |text, number| text.replace(&number.to_string(), "#"));
        let home = |role: &str| self.directory.path().join(role);
        let logs = ["caller", "callee"].map(|role| {
            let text = fs::read_to_string(home(role).join("logs")).unwrap_or_default();
            plain(text).lines().map(str::to_string).collect()
        });
        let mut flow = flow(&home("caller").join("short"));
        let mut wire = self.wire.finish();
        if caller_code != Some(0) {
            // It may be gone before it hears the answer to what ended the call.
            for lines in [&mut flow, &mut wire] {
                let last = lines.iter().rposition(|line| line.starts_with('S')).map_or(0, |last| last + 1);
                lines.truncate(last);
            }
        }
        Outcome {
            codes: (caller_code, callee_code),
            flow,
            counts: ["caller", "callee"].map(|role| counts(&home(role))),
            logs,
            wire,
        }
    }
}

/// A third-party call with SIPp's built-in scenarios: two phones, played by SIPp, and the two halves of their controller.
/// Returns the exit codes: controller of A, controller of B, A, B.
pub fn third_party_call(for_a: Player, for_b: Player) -> [Option<i32>; 4] {
    binary();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let twin = format!("127.0.0.1:{}", ports::free());
    let start = |player: Player, scenario: &str, port: u16, more: &[&str]| {
        let mut command = program(player);
        command.args(["-sn", scenario, "-i", "127.0.0.1", "-p", &port.to_string(), "-m", "1", "-nostdin"]);
        command.args(["-timeout", "30s", "-timeout_error", "-cp", &ports::free().to_string()]).args(more);
        command.current_dir(directory.path());
        Running::start(scenario, command, directory.path())
    };
    let phone = |scenario: &str| {
        let port = ports::free();
        let phone = start(Player::Sipp, scenario, port, &[]);
        wait::within(wait::PATIENCE, || ports::is_open(port).then_some(())).expect("SIPp listens");
        (phone, format!("127.0.0.1:{port}"))
    };
    let ((a, at_a), (b, at_b)) = (phone("3pcc-A"), phone("3pcc-B"));
    let port_b = ports::free();
    let controller_b = start(for_b, "3pcc-C-B", port_b, &["-3pcc", &twin, &at_b]);
    let twin_port = twin.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    wait::within(wait::PATIENCE, || (ports::is_open(port_b) && ports::is_open(twin_port)).then_some(()))
        .expect("the controller of B listens");
    let controller_a = start(for_a, "3pcc-C-A", ports::free(), &["-3pcc", &twin, &at_a]);
    [controller_a, controller_b, a, b]
        .map(|mut one| one.wait(wait::PATIENCE * 3).and_then(|status| status.code()))
}

/// The program itself, without arguments.
pub fn program(player: Player) -> Command {
    match player {
        Player::Sipp => Command::new("sipp"),
        Player::Ours => {
            let mut command = Command::new(binary());
            command.arg("load");
            command
        }
    }
}

/// The options that name a scenario.
pub fn scenario_arguments(name: &str) -> Vec<String> {
    match name.strip_prefix("-sn ") {
        Some(name) => vec!["-sn".into(), name.into()],
        None => {
            let file = if name.ends_with(".yaml") { name.into() } else { format!("{name}.xml") };
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/load").join(file);
            vec!["-sf".into(), path.display().to_string()]
        }
    }
}

/// A scenario of the tests with some of its text changed, in `directory`; as [`Pair`] names it.
pub fn changed(directory: &Path, name: &str, as_name: &str, changes: &[(&str, &str)]) -> &'static str {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/load").join(format!("{name}.xml"));
    let text = fs::read_to_string(path).expect("it is there");
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} has no {from}");
        text.replace(from, to)
    });
    fs::write(directory.join(format!("{as_name}.xml")), text).expect("it is written");
    directory.join(as_name).display().to_string().leak()
}

/// The lines of `-trace_shortmsg`: date, time, seconds, direction, Call-ID, CSeq, start line.
fn flow(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, _, _, direction, id, cseq, start] = cells.as_slice() else { continue };
        let word = start.split(' ').nth(usize::from(start.starts_with("SIP/"))).unwrap_or_default();
        calls.entry((*id).into()).or_default().push(format!("{direction} {cseq} {word}"));
    }
    let mut flows: Vec<_> = calls.into_values().collect();
    flows.sort();
    flows.concat()
}

/// The last line of `-trace_counts`, without the times and the zeros. Whether SIPp counts a pause that a surprise cuts short
/// depends on which of its loops sees the surprise first, so pauses are left out.
fn counts(home: &Path) -> BTreeMap<String, String> {
    let is_it = |path: &PathBuf| path.to_string_lossy().ends_with("_counts.csv");
    let mut files = fs::read_dir(home).expect("the directory is there").flatten().map(|entry| entry.path());
    let text = files.find(is_it).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split(';');
    let last = lines.next_back().unwrap_or_default().split(';');
    let cells = header
        .zip(last)
        .skip(2)
        .filter(|(name, count)| !name.is_empty() && !name.ends_with("_Pause_Sessions") && *count != "0");
    cells.map(|(name, count)| (name.into(), count.into())).collect()
}

//! baresip (Debian's 1.0) without screen, keyboard and sound card: a softphone that is steered over TCP, plays a file
//! and records what it hears.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{node::password, ports, process::Running, sound, wait};

/// Where Debian puts the modules.
const MODULES: &str = "/usr/lib/baresip/modules";

/// How long the file lasts that a phone plays: longer than any test.
const PLAY: Duration = Duration::from_secs(120);

/// A running phone.
#[derive(Debug)]
pub struct Baresip {
    line: String,
    directory: TempDir,
    process: Running,
    control: TcpStream,
    received: Vec<u8>,
    events: Vec<Value>,
    _media: ports::Block,
}

impl Baresip {
    /// Starts a phone that registers `line` at `server` over `transport` (`udp`, `tcp`, `tls`), says a tone of `hz`
    /// whenever it talks, and answers calls by itself if `answers`.
    pub fn start(line: &str, server: SocketAddr, transport: &str, hz: f64, answers: bool) -> Self {
        Self::start_with(line, server, transport, hz, answers, "")
    }

    /// The same, with more parameters of the account, for example `;mediaenc=srtp`.
    pub fn start_with(
        line: &str,
        server: SocketAddr,
        transport: &str,
        hz: f64,
        answers: bool,
        parameters: &str,
    ) -> Self {
        Self::start_speaking("PCMA/8000/1,PCMU/8000/1", line, server, transport, hz, answers, parameters)
    }

    /// The same, with these codecs, for example `G722/16000/1`: name, sample rate and channels of the first one are those of
    /// the sound.
    pub fn start_speaking(
        codecs: &str,
        line: &str,
        server: SocketAddr,
        transport: &str,
        hz: f64,
        answers: bool,
        parameters: &str,
    ) -> Self {
        let mut words = codecs.split([',', '/']).skip(1).map(|word| word.parse::<u32>().unwrap_or_default());
        let (rate, channels) = (words.next().unwrap_or(8000), words.next().unwrap_or(1) as u16);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let control_port = ports::free();
        let media = ports::phone_media();
        let tone = sound::tone_at(rate, hz, PLAY);
        sound::write_wav_as(&directory.path().join("tone.wav"), &tone, rate, channels).expect("a file");
        let path = directory.path().display();
        let sip_port = ports::free_pair();
        let config = format!(
            "sip_listen {listen}\naudio_source aufile,{path}/tone.wav\n\
             audio_player aubridge,ear\naudio_alert aubridge,bell\naudio_level no\nausrc_format s16\nauplay_format s16\n\
             rtp_ports {media_first}-{media_last}\nrtp_timeout 0\njitter_buffer_delay 1-10\nmodule_path {MODULES}\n\
             module g711.so\nmodule g722.so\nmodule opus.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule srtp.so\n\
             module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
             ctrl_tcp_listen 127.0.0.1:{control_port}\nsnd_path {path}\n",
            listen = SocketAddr::new(server.ip(), sip_port),
            media_first = media.first,
            media_last = media.last,
        );
        let answer = if answers { "auto" } else { "manual" };
        let account = format!(
            "<sip:{line}@{server}>;outbound=\"sip:{server};transport={transport}\";auth_user={line};auth_pass={};\
             answermode={answer};\
             audio_codecs={codecs};regint=600{parameters}\n",
            password(line)
        );
        fs::write(directory.path().join("config"), config).expect("a file");
        fs::write(directory.path().join("accounts"), account).expect("a file");
        fs::write(directory.path().join("contacts"), "").expect("a file");
        let mut command = Command::new("baresip");
        command.arg("-f").arg(directory.path()).arg("-s");
        let mut process = Running::start("baresip", command, directory.path());
        let control = wait::within(wait::PATIENCE, || {
            assert!(process.is_running(), "baresip ended: {}", process.output());
            TcpStream::connect(("127.0.0.1", control_port)).ok()
        });
        let control = control.unwrap_or_else(|| panic!("baresip has no control port: {}", process.output()));
        control.set_read_timeout(Some(Duration::from_millis(50))).expect("sockets can");
        Self {
            line: line.into(),
            directory,
            process,
            control,
            received: Vec::new(),
            events: Vec::new(),
            _media: media,
        }
    }

    /// Gives a command: `dial`, `hangup`, `hold`, `resume`.
    pub fn command(&mut self, command: &str, parameters: &str) {
        let text = json!({ "command": command, "params": parameters, "token": "e2e" }).to_string();
        write!(self.control, "{}:{text},", text.len()).expect("the phone takes commands");
    }

    /// Waits for an event: `REGISTER_OK`, `CALL_ESTABLISHED`, `CALL_CLOSED`, ...
    pub fn wait_for(&mut self, event: &str) -> Value {
        let give_up_at = Instant::now() + wait::PATIENCE;
        loop {
            if let Some(index) = self.events.iter().position(|found| found["type"] == event) {
                // What came before is of no more interest.
                return self.events.drain(..=index).next_back().unwrap_or_default();
            }
            assert!(
                Instant::now() < give_up_at && self.process.is_running(),
                "line {}'s baresip waited in vain for {event}, it has {:?}\n{}",
                self.line,
                self.events,
                self.process.output()
            );
            let mut octets = [0; 4096];
            if let Ok(length) = self.control.read(&mut octets) {
                self.received.extend(&octets[..length]);
            }
            while let Some(message) = self.netstring() {
                self.events.extend(serde_json::from_slice::<Value>(&message));
            }
        }
    }

    /// The next `length:octets,` of what was received.
    fn netstring(&mut self) -> Option<Vec<u8>> {
        let colon = self.received.iter().position(|&octet| octet == b':')?;
        let length: usize = std::str::from_utf8(&self.received[..colon]).ok()?.parse().ok()?;
        let end = colon + 1 + length;
        if self.received.len() <= end {
            return None;
        }
        let message = self.received[colon + 1..end].to_vec();
        self.received.drain(..=end);
        Some(message)
    }

    /// How long it has heard a tone of `hz` so far, in all its calls.
    pub fn heard(&self, hz: f64) -> Duration {
        self.recordings("dec").iter().map(|file| sound::heard_in(file, hz)).sum()
    }

    /// The same where others sound as loud.
    pub fn heard_among_others(&self, hz: f64) -> Duration {
        self.recordings("dec").iter().map(|file| sound::heard_among_others_in(file, hz)).sum()
    }

    /// Waits until it has heard a tone of `hz` for `length` in all, where others sound as loud.
    pub fn wait_to_hear_among_others(&mut self, hz: f64, length: Duration) {
        let heard = wait::within(wait::PATIENCE, || (self.heard_among_others(hz) >= length).then_some(()));
        let so_far = self.heard_among_others(hz);
        assert!(heard.is_some(), "line {} heard {hz} Hz for {so_far:?} and not {length:?}", self.line);
    }

    /// Waits until it has heard a tone of `hz` for `length` in all.
    pub fn wait_to_hear(&mut self, hz: f64, length: Duration) {
        let heard = wait::within(wait::PATIENCE, || (self.heard(hz) >= length).then_some(()));
        assert!(
            heard.is_some(),
            "line {} heard {hz} Hz for {:?} and not {length:?}, in {:?}\n{}",
            self.line,
            self.heard(hz),
            self.recordings("dec"),
            self.process.output()
        );
    }

    /// Waits until it has talked for `length` more.
    pub fn wait_to_say_more(&mut self, length: Duration) {
        let said = |phone: &Self| -> usize {
            phone.recordings("enc").iter().map(|file| sound::read_wav(file).len()).sum()
        };
        let samples =
            usize::try_from(length.as_millis()).expect("a short time") * sound::RATE as usize / 1000;
        let before = said(self);
        let more = wait::within(wait::PATIENCE, || (said(self) >= before + samples).then_some(()));
        assert!(more.is_some(), "line {} fell silent\n{}", self.line, self.process.output());
    }

    /// The files it has made of its calls: of what it heard (`dec`) or said (`enc`).
    fn recordings(&self, direction: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.directory.path()).expect("the phone's directory");
        let end = format!("{direction}.wav");
        let name =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&end));
        files.filter_map(|file| Some(file.ok()?.path())).filter(name).collect()
    }

    /// What it has written: with all SIP messages.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

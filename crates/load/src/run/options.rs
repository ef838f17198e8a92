//! The command line of `offhook load`: SIPp's, with one dash and long names.

use std::{ffi::OsString, time::Duration};

use super::{
    table::{self, Kind},
    transport::{Reconnecting, TransportMode},
};
use crate::{
    call::{Behaviours, Repeating, trace::Wanted},
    scenario::fault::nearest,
};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// HOST[:PORT].
    pub remote: Option<String>,
    /// `-rsa`.
    pub send_to: Option<String>,
    /// `-sn`, `-sf`.
    pub scenario: Source,
    /// `-oocsn`, `-oocsf`.
    pub out_of_call: Option<Source>,
    /// `-t`.
    pub transport: TransportMode,
    /// `-tls_cert` and its like.
    pub tls: TlsFiles,
    /// `-i`.
    pub local_ip: Option<String>,
    /// `-p`.
    pub local_port: Option<u16>,
    /// `-bind_local`.
    pub bind_local: bool,
    /// `-max_socket`.
    pub sockets_max: usize,
    /// `-buff_size`.
    pub buffer_bytes: usize,
    /// `-mi`, `-mp`.
    pub media: (Option<String>, Option<u16>),
    /// `-r`.
    pub rate: f64,
    /// `-rp`.
    pub period: Duration,
    /// `-rate_increase`, `-rate_interval`, `-rate_max`, `-no_rate_quit`.
    pub increase: Option<Increase>,
    /// `-rate_scale`.
    pub rate_scale: f64,
    /// `-l`.
    pub limit: Option<u64>,
    /// `-m`.
    pub calls: Option<u64>,
    /// `-users`.
    pub users: Option<u32>,
    /// `-d`, ms.
    pub pause_ms: u64,
    /// `-s`.
    pub service: String,
    /// `-au`, `-ap`, `-auth_uri`.
    pub authentication: (Option<String>, Option<String>, Option<String>),
    /// `-inf`.
    pub injections: Vec<String>,
    /// `-infindex`.
    pub indexes: Vec<(String, usize)>,
    /// `-key`.
    pub keys: Vec<(String, String)>,
    /// `-set`.
    pub presets: Vec<(String, String)>,
    /// `-base_cseq`.
    pub base_cseq: u32,
    /// `-cid_str`.
    pub call_id_format: Option<String>,
    /// `-aa`.
    pub auto_answer: bool,
    /// `-nd`, `-default_behaviors`.
    pub behaviours: Behaviours,
    /// `-pause_msg_ign`.
    pub pause_ignores: bool,
    /// `-callid_slash_ign` turns it off.
    pub call_id_slash: bool,
    /// `-deadcall_wait`, ms.
    pub dead_call_ms: Option<u64>,
    /// `-nr` and its like.
    pub repeating: Repeating,
    /// `-lost`, parts in a million.
    pub lost_ppm: u32,
    /// `-recv_timeout`, ms.
    pub recv_timeout_ms: Option<u64>,
    /// `-timeout`.
    pub timeout: Option<Duration>,
    /// `-timeout_error`.
    pub timeout_error: bool,
    /// `-dynamicStart`, `-dynamicMax`, `-dynamicStep`.
    pub dynamic: (u64, u64, u64),
    /// `-3pcc`.
    pub twin: Option<String>,
    /// `-master` or `-slave`, the name of this instance.
    pub role: Option<Role>,
    /// `-slave_cfg`.
    pub peers: Option<String>,
    /// `-ip_field`.
    pub address_field: usize,
    /// `-max_reconnect`, `-reconnect_close`, `-reconnect_sleep`.
    pub reconnecting: Reconnecting,
    /// `-f`.
    pub screen_every: Duration,
    /// `-fd`.
    pub dump_every: Duration,
    /// The log files.
    pub traces: Traces,
    /// `-bg`.
    pub background: bool,
    /// `-nostdin`.
    pub no_keys: bool,
    /// `-sleep`.
    pub sleep: Duration,
    /// `-rtp_echo`.
    pub rtp_echo: bool,
    /// `-rtp_payload`.
    pub rtp_payload: u8,
    /// `-min_rtp_port`, `-max_rtp_port`.
    pub rtp_ports: (u16, u16),
    /// `--allow-public`.
    pub allow_public: bool,
    /// `--workers`.
    pub workers: Option<usize>,
    /// `--require`.
    pub require: Vec<String>,
    /// The one of them that `-audiotolerance` stands for.
    pub sound_check: Option<String>,
    /// `--json`.
    pub json: Option<String>,
    /// `--junit`.
    pub junit: Option<String>,
    /// `--html`.
    pub html: Option<String>,
    /// Options that were taken and have no effect, with the reason.
    pub idle: Vec<String>,
}

/// Which part an instance has in a call of several (extended 3PCC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name in `-slave_cfg`.
    pub name: String,
    /// It begins.
    pub is_master: bool,
}

/// Where a scenario comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    BuiltIn(String),
    /// A file.
    File(String),
}

/// `-tls_cert`, `-tls_key`, `-tls_ca`.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Our certificate.
    pub certificate: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Authorities to believe; without them anybody is.
    pub authorities: Option<String>,
}

/// How the rate grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Increase {
    /// Calls per period that are added each time.
    pub by: f64,
    /// How often; `None` means `-fd`.
    pub every: Option<Duration>,
    /// Where it ends.
    pub max: Option<f64>,
    /// Whether the run ends there too.
    pub quits: bool,
}

/// The log files, and their names where they are given.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// Which of the files that workers fill.
    pub wanted: Wanted,
    /// `-trace_stat`.
    pub statistics: bool,
    /// `-trace_counts`.
    pub counts: bool,
    /// `-trace_screen`.
    pub screens: bool,
    /// `-stat_delimiter`.
    pub delimiter: Option<String>,
    /// Options ending in `_file`, and `-stf`, with their values.
    pub names: Vec<(&'static str, String)>,
    /// Options ending in `_overwrite` that are false.
    pub append: Vec<&'static str>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// A run.
    Run(Box<Options>),
    /// `--help`.
    Help,
    /// `-v`.
    Version,
    /// `-sd`.
    Show(String),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            remote: None,
            send_to: None,
            scenario: Source::BuiltIn("uac".into()),
            out_of_call: None,
            transport: TransportMode::default(),
            tls: TlsFiles::default(),
            local_ip: None,
            local_port: None,
            bind_local: false,
            sockets_max: 50_000,
            buffer_bytes: 4 << 20,
            media: (None, None),
            rate: 10.0,
            period: Duration::from_secs(1),
            increase: None,
            rate_scale: 1.0,
            limit: None,
            calls: None,
            users: None,
            pause_ms: 0,
            service: "service".into(),
            authentication: (None, None, None),
            injections: Vec::new(),
            indexes: Vec::new(),
            keys: Vec::new(),
            presets: Vec::new(),
            base_cseq: 0,
            call_id_format: None,
            auto_answer: false,
            behaviours: Behaviours::ALL,
            pause_ignores: false,
            call_id_slash: true,
            dead_call_ms: None,
            repeating: Repeating::default(),
            lost_ppm: 0,
            recv_timeout_ms: None,
            timeout: None,
            timeout_error: false,
            dynamic: (10_000, 12_000, 4),
            twin: None,
            role: None,
            peers: None,
            address_field: 0,
            reconnecting: Reconnecting::default(),
            screen_every: Duration::from_secs(1),
            dump_every: Duration::from_secs(60),
            traces: Traces::default(),
            background: false,
            no_keys: false,
            sleep: Duration::ZERO,
            rtp_echo: false,
            rtp_payload: 0,
            rtp_ports: (8192, 65_535),
            allow_public: false,
            workers: None,
            require: Vec::new(),
            sound_check: None,
            json: None,
            junit: None,
            html: None,
            idle: Vec::new(),
        }
    }
}

/// Reads the arguments that follow `offhook load`.
///
/// # Errors
/// What is wrong, with a hint.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        if !argument.starts_with('-') {
            if let Some(first) = options.remote.replace(argument.clone()) {
                return Err(format!(
                    "two remote hosts: {first} and {argument}\nhint: an option lacks its dash?"
                ));
            }
            continue;
        }
        let row = table::find(&argument).ok_or_else(|| unknown(&argument))?;
        let argument = row.name;
        let mut value =
            || arguments.next().ok_or_else(|| format!("{argument} needs a value\nhint: {}", row.help));
        match row.kind {
            Kind::Refused => return Err(format!("unsupported option {argument}\nhint: {}", row.help)),
            Kind::Idle(values) => {
                for _ in 0..values {
                    value()?;
                }
                options.idle.push(format!("{argument}: {}", row.help));
            }
            Kind::Flag => match argument {
                "-h" | "-help" | "--help" => return Ok(Command::Help),
                "-v" => return Ok(Command::Version),
                _ => flag(&mut options, row.name),
            },
            Kind::Pair => {
                let (first, second) = (value()?, value()?);
                pair(&mut options, row.name, first, second)?;
            }
            Kind::Value if argument == "-sd" => return Ok(Command::Show(value()?)),
            Kind::Value => {
                let value = value()?;
                set(&mut options, row.name, &value).map_err(|why| format!("{argument} {value}: {why}"))?;
            }
        }
    }
    Ok(Command::Run(Box::new(options)))
}

fn unknown(argument: &str) -> String {
    let known: Vec<&str> = table::OPTIONS.iter().map(|row| row.name).collect();
    let hint = nearest(argument, &known)
        .map_or("offhook load --help lists all".into(), |near| format!("did you mean {near}?"));
    format!("unknown option {argument}\nhint: {hint}")
}

fn flag(options: &mut Options, name: &str) {
    let wanted = &mut options.traces.wanted;
    match name {
        "-bind_local" => options.bind_local = true,
        "-no_rate_quit" => increase(options).quits = false,
        "-aa" => options.auto_answer = true,
        "-nd" => options.behaviours = Behaviours::NONE,
        "-pause_msg_ign" => options.pause_ignores = true,
        "-callid_slash_ign" => options.call_id_slash = false,
        "-nr" => options.repeating.enabled = false,
        "-timeout_error" => options.timeout_error = true,
        "-trace_stat" => options.traces.statistics = true,
        "-trace_counts" => options.traces.counts = true,
        "-trace_screen" => options.traces.screens = true,
        "-trace_rtt" => wanted.response_times = true,
        "-trace_msg" => wanted.messages = true,
        "-trace_shortmsg" => wanted.short_messages = true,
        "-trace_err" => wanted.errors = true,
        "-trace_error_codes" => wanted.error_codes = true,
        "-trace_logs" => wanted.logs = true,
        "-bg" => options.background = true,
        "-nostdin" => options.no_keys = true,
        "-rtp_echo" => options.rtp_echo = true,
        "--allow-public" => options.allow_public = true,
        _ => {}
    }
}

fn pair(options: &mut Options, name: &str, first: String, second: String) -> Result<(), String> {
    match name {
        "-key" => options.keys.push((first, second)),
        "-set" => options.presets.push((first, second)),
        "-infindex" => {
            let field =
                second.parse().map_err(|_| format!("-infindex {first} {second}: no number of a field"))?;
            options.indexes.push((first, field));
        }
        _ => {}
    }
    Ok(())
}

fn increase(options: &mut Options) -> &mut Increase {
    options.increase.get_or_insert(Increase { by: 0.0, every: None, max: None, quits: true })
}

fn set(options: &mut Options, name: &'static str, value: &str) -> Result<(), String> {
    let text = || value.to_string();
    match name {
        "-sn" => options.scenario = Source::BuiltIn(text()),
        "-sf" => options.scenario = Source::File(text()),
        "-oocsn" => options.out_of_call = Some(Source::BuiltIn(text())),
        "-oocsf" => options.out_of_call = Some(Source::File(text())),
        "-t" => options.transport = TransportMode::parse(value)?,
        "-tls_cert" => options.tls.certificate = Some(text()),
        "-tls_key" => options.tls.key = Some(text()),
        "-tls_ca" => options.tls.authorities = Some(text()),
        "-i" => options.local_ip = Some(text()),
        "-p" => options.local_port = Some(number(value)?),
        "-rsa" => options.send_to = Some(text()),
        "-max_socket" => options.sockets_max = number(value)?,
        "-buff_size" => options.buffer_bytes = number(value)?,
        "-mi" => options.media.0 = Some(text()),
        "-mp" => options.media.1 = Some(number(value)?),
        "-rtp_payload" => options.rtp_payload = number(value)?,
        "-min_rtp_port" => options.rtp_ports.0 = number(value)?,
        "-max_rtp_port" => options.rtp_ports.1 = number(value)?,
        "-r" => options.rate = amount(value)?,
        "-rp" => options.period = time(value, 1)?.max(Duration::from_millis(1)),
        "-rate_increase" => increase(options).by = amount(value)?,
        "-rate_interval" => increase(options).every = Some(time(value, 1000)?.max(Duration::from_millis(1))),
        "-rate_max" => increase(options).max = Some(amount(value)?),
        "-rate_scale" => options.rate_scale = amount(value)?,
        "-l" => options.limit = Some(number(value)?),
        "-m" => options.calls = Some(number::<u64>(value)?).filter(|calls| *calls > 0),
        "-users" => options.users = Some(number(value)?),
        "-d" => options.pause_ms = millis(value)?,
        "-s" => options.service = text(),
        "-au" => options.authentication.0 = Some(text()),
        "-ap" => options.authentication.1 = Some(text()),
        "-auth_uri" => options.authentication.2 = Some(text()),
        "-inf" => options.injections.push(text()),
        "-base_cseq" => options.base_cseq = number(value)?,
        "-cid_str" => options.call_id_format = Some(text()),
        "-default_behaviors" => options.behaviours = behaviours(value)?,
        "-deadcall_wait" => options.dead_call_ms = Some(millis(value)?),
        "-max_retrans" => {
            let max = number(value)?;
            (options.repeating.invite_max, options.repeating.other_max) = (max, max);
        }
        "-max_invite_retrans" => options.repeating.invite_max = number(value)?,
        "-max_non_invite_retrans" => options.repeating.other_max = number(value)?,
        "-T2" => options.repeating.t2_ms = millis(value)?,
        "-rtcheck" => options.repeating.loose = one_of(value, &["full", "loose"])? == 1,
        "-lost" => options.lost_ppm = (amount(value)? * 10_000.0).clamp(0.0, 1_000_000.0) as u32,
        "-recv_timeout" => options.recv_timeout_ms = Some(millis(value)?).filter(|ms| *ms > 0),
        "-timeout" => options.timeout = Some(time(value, 1000)?).filter(|time| !time.is_zero()),
        "-dynamicStart" => options.dynamic.0 = number(value)?,
        "-dynamicMax" => options.dynamic.1 = number(value)?,
        "-dynamicStep" => options.dynamic.2 = number(value)?,
        "-3pcc" => options.twin = Some(text()),
        "-master" => options.role = Some(Role { name: text(), is_master: true }),
        "-slave" => options.role = Some(Role { name: text(), is_master: false }),
        "-slave_cfg" => options.peers = Some(text()),
        "-ip_field" => options.address_field = number(value)?,
        "-max_reconnect" => options.reconnecting.max = number(value)?,
        "-reconnect_close" => options.reconnecting.fails_calls = one_of(value, &["true", "false"])? == 0,
        "-reconnect_sleep" => options.reconnecting.sleep = time(value, 1)?,
        "-f" => options.screen_every = time(value, 1000)?.max(Duration::from_millis(100)),
        "-fd" => options.dump_every = time(value, 1000)?.max(Duration::from_millis(10)),
        "-sleep" => options.sleep = time(value, 1000)?,
        "-stat_delimiter" => options.traces.delimiter = Some(text()),
        "--workers" => options.workers = Some(number::<usize>(value)?.clamp(1, WORKERS_MAX)),
        "--require" => options.require.push(text()),
        "-audiotolerance" => {
            let tolerance = amount(value)?;
            if tolerance < 1.0 {
                let check = format!("pattern.min >= {}", 100.0 * (1.0 - tolerance));
                options.require.push(check.clone());
                options.sound_check = Some(check);
            }
        }
        "--json" => options.json = Some(text()),
        "--html" => options.html = Some(text()),
        "--junit" => options.junit = Some(text()),
        _ if name.ends_with("_overwrite") => {
            if one_of(value, &["true", "false"])? == 1 {
                options.traces.append.push(name);
            }
        }
        _ => {
            options.traces.names.push((name, text()));
            if name == "-stf" {
                options.traces.statistics = true;
            }
        }
    }
    Ok(())
}

/// Threads beyond the cores of the largest hosts only wait for each other.
const WORKERS_MAX: usize = 256;

fn number<N: std::str::FromStr>(value: &str) -> Result<N, String> {
    value.trim().parse().map_err(|_| "not a whole number that fits".into())
}

fn amount(value: &str) -> Result<f64, String> {
    let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "not a number".into())
}

fn millis(value: &str) -> Result<u64, String> {
    Ok(u64::try_from(time(value, 1)?.as_millis()).unwrap_or(u64::MAX))
}

/// A time: a number with a unit, or `h:m:s`; without a unit so many times `unit_ms`.
fn time(value: &str, unit_ms: u32) -> Result<Duration, String> {
    let value = value.trim();
    if value.contains(':') {
        let seconds =
            value.split(':').try_fold(0.0, |sum, part| Ok::<_, String>(sum * 60.0 + amount(part)?))?;
        return Ok(Duration::from_secs_f64(f64::min(seconds, SECONDS_MAX)));
    }
    let digits = value.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(digits);
    let ms = match unit.trim() {
        "" => f64::from(unit_ms),
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err("the unit is none of ms, s, m, h".into()),
    };
    Ok(Duration::from_secs_f64((amount(digits)? * ms / 1000.0).min(SECONDS_MAX)))
}

/// Ten years.
const SECONDS_MAX: f64 = 315_360_000.0;

/// Which of `known` it is.
fn one_of(value: &str, known: &[&str]) -> Result<usize, String> {
    let found = known.iter().position(|name| name.eq_ignore_ascii_case(value));
    found.ok_or_else(|| format!("none of {}", known.join(", ")))
}

fn behaviours(value: &str) -> Result<Behaviours, String> {
    let mut result = Behaviours::NONE;
    for word in value.split(',').map(str::trim) {
        let (word, wanted) = word.strip_prefix('-').map_or((word, true), |word| (word, false));
        match word {
            "all" => result = if wanted { Behaviours::ALL } else { Behaviours::NONE },
            "none" => result = Behaviours::NONE,
            "bye" => result.bye = wanted,
            "abortunexp" => result.abort_unexpected = wanted,
            "pingreply" => result.ping_reply = wanted,
            // The CSeq of an ACK is not looked at.
            "cseq" => {}
            _ => return Err(format!("`{word}` is none of all, none, bye, abortunexp, pingreply, cseq")),
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> Options {
        match read(line) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn sipps_command_lines_are_understood() {
        let options =
            run("127.0.0.1:5070 -sf a.xml -r 7 -rp 2s -m 100 -l 5 -d 1500 -t tn -inf x -inf y -key a b");
        assert_eq!(options.remote.as_deref(), Some("127.0.0.1:5070"));
        assert_eq!(options.scenario, Source::File("a.xml".into()));
        assert_eq!((options.rate, options.period), (7.0, Duration::from_secs(2)));
        assert_eq!((options.calls, options.limit, options.pause_ms), (Some(100), Some(5), 1500));
        assert!(options.transport.tcp && options.transport.per_call);
        assert_eq!(run("-t sn").transport.name(), "WSS");
        assert_eq!(run("-t l1 -tls_ca a.pem").tls.authorities.as_deref(), Some("a.pem"));
        assert_eq!(options.injections, ["x", "y"]);
        let options =
            run("-sn uas -timeout 1:30 -default_behaviors all,-bye -fd 500ms -message_overwrite false");
        assert_eq!(options.timeout, Some(Duration::from_secs(90)));
        assert_eq!(options.behaviours, Behaviours { bye: false, ..Behaviours::ALL });
        assert_eq!(options.dump_every, Duration::from_millis(500));
        assert_eq!(options.traces.append, ["-message_overwrite"]);
        assert!(matches!(read("-sd uac"), Ok(Command::Show(name)) if name == "uac"));
    }

    #[test]
    fn what_is_unknown_or_unsupported_is_told() {
        for (line, word) in [
            ("-snn uac", "did you mean -sn?"),
            ("-t ti", "none of u1"),
            ("-reconnect_close perhaps", "none of true"),
            ("-m x", "whole number"),
            ("-m", "needs a value"),
            ("-tdmmap {1}", "unsupported"),
            ("a b", "two remote hosts"),
            ("-rp 5parsecs", "unit"),
        ] {
            let said = read(line).expect_err(line);
            assert!(said.contains(word), "{line}: {said}");
        }
        assert_eq!(run("-watchdog_interval 5 -cp 8000").idle.len(), 2);
    }

    #[test]
    fn the_help_names_every_option_once() {
        let help = table::help();
        for row in table::OPTIONS {
            let count =
                help.lines().filter(|line| line.trim_start().split(' ').next() == Some(row.name)).count();
            assert_eq!(count, 1, "{}", row.name);
        }
    }
}

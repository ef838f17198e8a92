//! SIPp's options: all of them, with what becomes of each.

/// What an option takes and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value.
    Flag,
    /// One value.
    Value,
    /// Two values.
    Pair,
    /// Taken with so many values and passed over, for the reason in its help.
    Idle(usize),
    /// Refused, for the reason in its help.
    Refused,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// With its dash.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// One line of help, or the reason.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, help: &'static str) -> Row {
    Row { name, kind, help }
}

use Kind::{Flag, Idle, Pair, Refused, Value};

const NO_SCTP: &str = "SCTP is not supported";
const NO_WATCHDOG: &str = "no effect: there is no watchdog, deadlines are kept to the millisecond";

/// All options, in the order of the help.
pub const OPTIONS: &[Row] = &[
    row("-sn", Value, "run a built-in scenario; default uac"),
    row("-sf", Value, "run the scenario in this file"),
    row("-sd", Value, "print a built-in scenario and end"),
    row("-oocsn", Value, "built-in scenario for requests of no call"),
    row("-oocsf", Value, "scenario file for requests of no call"),
    row(
        "-t",
        Value,
        "transport, 1 for one socket and n for one a call: u1 un UDP (ui: one for each address of -ip_field), t1 tn TCP, l1 ln TLS, w1 wn WebSocket, s1 sn secure WebSocket; default u1",
    ),
    row("-tls_cert", Value, "our certificate, PEM; default cacert.pem"),
    row("-tls_key", Value, "its key, PEM; default cakey.pem"),
    row("-tls_ca", Value, "authorities to believe, PEM; without them any server is believed"),
    row("-tls_version", Idle(1), "no effect: TLS 1.3, or 1.2 with a side that knows no better"),
    row("-i", Value, "address of ours, for Contact, Via and From"),
    row("-p", Value, "port of ours; default 5060 or the next free one"),
    row("-bind_local", Flag, "take and send messages at that address only"),
    row("-rsa", Value, "send to HOST[:PORT] instead of the remote host"),
    row("-max_socket", Value, "most sockets at once, for un and tn; default 50000"),
    row("-m", Value, "end after so many calls"),
    row("-r", Value, "calls per period; default 10"),
    row("-rp", Value, "the period; default 1000 ms"),
    row("-l", Value, "most calls at once; default 3 times rate and length"),
    row("-users", Value, "keep so many calls running, instead of a rate"),
    row("-rate_increase", Value, "raise the rate by so much every -rate_interval"),
    row("-rate_interval", Value, "seconds; default the value of -fd"),
    row("-rate_max", Value, "end when the rate reaches this"),
    row("-no_rate_quit", Flag, "do not end at -rate_max"),
    row("-rate_scale", Value, "what the keys + - * / change the rate by; default 1"),
    row("-d", Value, "length of pauses without a length, ms"),
    row("-s", Value, "user of the Request-URI; default service"),
    row("-au", Value, "user name for authentication; default that of -s"),
    row("-ap", Value, "password for authentication; default password"),
    row("-auth_uri", Value, "URI for authentication; default that of the remote host"),
    row("-inf", Value, "injection file; may be repeated"),
    row("-infindex", Pair, "index a field of an injection file"),
    row("-ip_field", Value, "field of the first injection file with the addresses of -t ui; default 0"),
    row("-key", Pair, "a keyword and its value"),
    row("-set", Pair, "a global variable and its value"),
    row("-base_cseq", Value, "first CSeq number less one; default 0"),
    row("-cid_str", Value, "form of Call-IDs; default %u-%p@%s"),
    row("-aa", Flag, "answer INFO, NOTIFY, OPTIONS and UPDATE with 200"),
    row("-nd", Flag, "none of the default behaviours"),
    row(
        "-default_behaviors",
        Value,
        "all, none, bye, abortunexp, pingreply; - before one takes it away; cseq has no effect",
    ),
    row("-pause_msg_ign", Flag, "pass over what comes during a pause"),
    row("-callid_slash_ign", Flag, "a /// in a Call-ID means nothing"),
    row("-deadcall_wait", Value, "how long ended calls are remembered; default 33 s"),
    row("-nr", Flag, "no retransmission"),
    row("-max_retrans", Value, "most retransmissions; default 5 for INVITE, 7 for others"),
    row("-max_invite_retrans", Value, "the same, for INVITE only"),
    row("-max_non_invite_retrans", Value, "the same, for others only"),
    row("-T2", Value, "longest time between retransmissions, ms; default 4000"),
    row("-rtcheck", Value, "full or loose: how a repetition is known"),
    row("-lost", Value, "percentage of messages that are thrown away"),
    row("-recv_timeout", Value, "how long a recv waits, ms; default for ever"),
    row("-send_timeout", Idle(1), "no effect: what cannot be sent at once fails its call"),
    row("-timeout", Value, "start no more calls after this time, seconds; those that run end by themselves"),
    row("-timeout_error", Flag, "reaching -timeout ends all at once, with 255"),
    row("-dynamicStart", Value, "first [dynamic_id]; default 10000"),
    row("-dynamicMax", Value, "last [dynamic_id]; default 12000"),
    row("-dynamicStep", Value, "step of [dynamic_id]; default 4"),
    row("-mi", Value, "address for media, [media_ip]; default that of -i"),
    row("-mp", Value, "port for media, [media_port]; default 6000"),
    row("-rtp_echo", Flag, "send back what comes to the media port and the one two above it"),
    row("-rtp_payload", Value, "payload type of rtp_stream where it names none; default 0"),
    row("-min_rtp_port", Value, "first [rtpstream_audio_port]; default 8192"),
    row("-max_rtp_port", Value, "last one; default 65535"),
    row(
        "-audiotolerance",
        Value,
        "of rtp_stream patterns: share of what comes back that may be wrong, else 253; default 1, no check",
    ),
    row("-videotolerance", Refused, "patterns are for audio"),
    row("-rtpcheck_debug", Refused, "--json tells what was heard"),
    row("-srtpcheck_debug", Refused, "--json tells what was heard"),
    row("-3pcc", Value, "HOST:PORT of the twin: connects if the scenario sends first, else listens"),
    row("-master", Value, "extended 3PCC: the name of this instance, which begins; start it last"),
    row("-slave", Value, "extended 3PCC: the name of this instance, which waits for commands"),
    row("-slave_cfg", Value, "extended 3PCC: file with NAME;HOST:PORT of all instances"),
    row("-f", Value, "seconds between reports on the screen; default 1"),
    row("-fd", Value, "seconds between lines of -trace_stat; default 60"),
    row("-trace_stat", Flag, "statistics, NAME_PID_.csv"),
    row("-stf", Value, "name of that file"),
    row("-stat_delimiter", Value, "what stands between its columns; default ;"),
    row("-trace_counts", Flag, "counts of each message, NAME_PID_counts.csv"),
    row("-trace_rtt", Flag, "all response times, NAME_PID_rtt.csv"),
    row("-rtt_freq", Idle(1), "no effect: response times are written every second"),
    row("-trace_screen", Flag, "screens at the end, NAME_PID_screens.log"),
    row("-screen_file", Value, "name of that file"),
    row("-screen_overwrite", Value, "false appends to it"),
    row("-trace_msg", Flag, "messages, NAME_PID_messages.log"),
    row("-message_file", Value, "name of that file"),
    row("-message_overwrite", Value, "false appends to it"),
    row("-trace_shortmsg", Flag, "messages, a line each, NAME_PID_shortmessages.log"),
    row("-shortmessage_file", Value, "name of that file"),
    row("-shortmessage_overwrite", Value, "false appends to it"),
    row("-trace_err", Flag, "errors, NAME_PID_errors.log"),
    row("-error_file", Value, "name of that file"),
    row("-error_overwrite", Value, "false appends to it"),
    row("-trace_error_codes", Flag, "codes of unexpected responses, NAME_PID_error_codes.log"),
    row("-trace_logs", Flag, "lines of <log>, NAME_PID_logs.log"),
    row("-log_file", Value, "name of that file"),
    row("-log_overwrite", Value, "false appends to it"),
    row("-bg", Flag, "in the background; prints the process"),
    row("-nostdin", Flag, "take no keys"),
    row("-sleep", Value, "seconds to wait before the start"),
    row("-v", Flag, "print the version and end"),
    row("-h", Flag, "print this and end"),
    row("-help", Flag, "print this and end"),
    row("-buff_size", Value, "buffer of sockets, bytes; default 4 MiB"),
    row("-skip_rlimit", Idle(0), "no effect: the limit of open files is not touched"),
    row("-timer_resol", Idle(1), "no effect: time is kept to the millisecond"),
    row("-max_recv_loops", Idle(1), "no effect: reading and calls take turns"),
    row("-max_sched_loops", Idle(1), "no effect: reading and calls take turns"),
    row("-watchdog_interval", Idle(1), NO_WATCHDOG),
    row("-watchdog_reset", Idle(1), NO_WATCHDOG),
    row("-watchdog_minor_threshold", Idle(1), NO_WATCHDOG),
    row("-watchdog_major_threshold", Idle(1), NO_WATCHDOG),
    row("-watchdog_major_maxtriggers", Idle(1), NO_WATCHDOG),
    row("-watchdog_minor_maxtriggers", Idle(1), NO_WATCHDOG),
    row("-sendbuffer_warn", Idle(1), "no effect: a full send buffer is waited for"),
    row("-ci", Idle(1), "no effect: there is no control socket"),
    row("-cp", Idle(1), "no effect: there is no control socket; keys and signals are"),
    row("-ringbuffer_files", Refused, "log files are not rotated"),
    row("-ringbuffer_size", Refused, "log files are not rotated"),
    row("-max_log_size", Refused, "log files are not cut"),
    row("-periodic_rtd", Refused, "ranges of response times are cumulated only"),
    row("-trace_calldebug", Refused, "use -trace_err and -trace_msg"),
    row("-calldebug_file", Refused, "use -trace_err and -trace_msg"),
    row("-calldebug_overwrite", Refused, "use -trace_err and -trace_msg"),
    row("-max_reconnect", Value, "how often the connection of t1, l1, w1, s1 is opened again; default 0"),
    row("-reconnect_close", Value, "true: its calls fail; false: they go on over the new one; default true"),
    row("-reconnect_sleep", Value, "how long to wait before that, ms; default 1000"),
    row("-tdmmap", Refused, "TDM circuits are not supported"),
    row("-rxsf", Refused, "run a second instance with -sf"),
    row("-rfc3339", Refused, "times in log files are SIPp's usual ones"),
    row("-plugin", Refused, "plugins are not supported"),
    row("-mb", Idle(1), "no effect: echoed packets may be as long as any datagram"),
    row("-rtp_threadtasks", Idle(1), "no effect: a media thread takes all streams of its ports"),
    row("-rtp_buffsize", Idle(1), "no effect: media sockets have 1 MiB in each direction"),
    row("-multihome", Refused, NO_SCTP),
    row("-heartbeat", Refused, NO_SCTP),
    row("-assocmaxret", Refused, NO_SCTP),
    row("-pathmaxret", Refused, NO_SCTP),
    row("-pmtu", Refused, NO_SCTP),
    row("-gracefulclose", Refused, NO_SCTP),
    row("-tls_crl", Refused, "revocation lists are not read"),
    row("--allow-public", Flag, "call hosts outside loopback and private ranges"),
    row("--workers", Value, "threads that run calls; default one per core"),
    row("--require", Value, "a threshold, such as 'failed == 0' or 'rtd1.p99 < 50ms'; may be repeated"),
    row("--json", Value, "write the results as JSON to this file"),
    row("--junit", Value, "write the verdict as JUnit XML to this file"),
    row("--html", Value, "write a page with the verdict and charts to this file"),
    row("--help", Flag, "print this and end"),
];

/// The option of that name. As in SIPp a second dash changes nothing.
pub fn find(name: &str) -> Option<&'static Row> {
    let single = name.strip_prefix('-').filter(|rest| rest.starts_with('-'));
    OPTIONS
        .iter()
        .find(|row| row.name == name)
        .or_else(|| OPTIONS.iter().find(|row| Some(row.name) == single))
}

/// What `offhook load --help` prints.
pub fn help() -> String {
    let mut text = String::from(HEAD);
    for (title, wanted) in [
        ("Options:", (|kind| matches!(kind, Flag | Value | Pair)) as fn(Kind) -> bool),
        ("Options of SIPp's that are taken and have no effect:", |kind| matches!(kind, Idle(_))),
        ("Options of SIPp's that are refused:", |kind| kind == Refused),
    ] {
        text += &format!("\n{title}\n");
        for row in OPTIONS.iter().filter(|row| wanted(row.kind)) {
            text += &format!("  {:<24} {}\n", row.name, row.help);
        }
    }
    text + FOOT
}

const HEAD: &str = "\
Make calls with SIPp's scenarios and see whether they succeed

Usage: offhook load [HOST[:PORT]] [OPTIONS]
       offhook load convert FROM TO              XML or YAML from one to the other
       offhook load from-pcap CAPTURE CALLER CALLEE    scenarios of a captured call

Options are SIPp's. Times may have a unit: 500ms, 20s, 2m, 1h.

Examples:
  offhook load -sn uas -p 5070              answer calls
  offhook load 127.0.0.1:5070 -r 50 -m 500  call there, 50 a second, 500 in all
  offhook load 10.0.0.5 -sf register.xml -inf users.csv -m 1000
  offhook load -sd uac > mine.xml           start a scenario of your own
  offhook load convert mine.xml mine.yaml   and go on in YAML
  offhook load pbx.lan:5061 -t ln -tls_ca ca.pem -m 10
  offhook load 10.0.0.5 -sn uac_pcap -m 20 --require 'mos.min > 4'
  offhook load 10.0.0.5 -m 100 --require 'failed == 0' --json result.json
";

const FOOT: &str = "
Keys: + - change the rate by 1, * / by 10, p pauses, q ends when calls have
ended (twice, or Q: at once), 1 2 3 4 choose the screen, s writes them to the
file of -trace_screen.
Signals: USR1 is q, USR2 writes the screens to their file, INT and TERM end
calls with BYE or CANCEL, then the run.

Exit codes:
    0  all calls succeeded
    1  a call failed, or a threshold does not hold
   97  ended by a scenario's stop_now, or by -timeout without a call
   99  no calls were made
  253  sound that came back differs by more than -audiotolerance
  254  an address or port cannot be bound
  255  anything else: options, scenario, injection file

Only hosts in loopback and private ranges are called, unless --allow-public is
given: a load test of somebody else's exchange is an attack.
";

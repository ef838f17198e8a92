//! `docs/reference/load-sipp.md`: what of SIPp is there. Each row is tried: what it says is taken is taken, what it says
//! is refused is refused.

use std::path::Path;

use offhook_load::{
    run::table::{self, Kind},
    scenario::{Known, read::read},
};

/// What becomes of a thing of SIPp's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Same,
    Better,
    Refused,
}

use State::{Better, Refused, Same};

struct Row {
    name: &'static str,
    state: State,
    note: &'static str,
    /// How it is written.
    example: &'static str,
}

const fn row(name: &'static str, state: State, note: &'static str, example: &'static str) -> Row {
    Row { name, state, note, example }
}

/// Elements with their attributes; the example stands in a scenario.
const ELEMENTS: &[Row] = &[
    row("send", Same, "", "<send><![CDATA[BYE sip:a SIP/2.0]]></send>"),
    row("send retrans", Same, "", "<send retrans=\"500\"><![CDATA[BYE sip:a SIP/2.0]]></send>"),
    row(
        "send ontimeout",
        Same,
        "",
        "<send retrans=\"5\" ontimeout=\"1\"><![CDATA[BYE sip:a SIP/2.0]]></send><label id=\"1\"/>",
    ),
    row("send lost, recv lost", Same, "", "<send lost=\"10\"><![CDATA[BYE sip:a SIP/2.0]]></send>"),
    row(
        "send start_txn, ack_txn; recv response_txn",
        Same,
        "",
        "<send start_txn=\"a\"><![CDATA[BYE sip:a SIP/2.0]]></send><recv response=\"200\" response_txn=\"a\"/>",
    ),
    row(
        "send dialog, recv dialog",
        Refused,
        "several dialogs in one call are not there yet",
        "<send dialog=\"2\"><![CDATA[BYE sip:a SIP/2.0]]></send>",
    ),
    row(
        "recv request, response",
        Better,
        "a request or response that is repeated after two answers gets the last one again; Debian's SIPp gives the call up",
        "<recv request=\"BYE\"/>",
    ),
    row("recv regexp_match", Same, "for requests", "<recv request=\"BYE|INFO\" regexp_match=\"true\"/>"),
    row(
        "recv optional",
        Same,
        "true, false, global",
        "<recv request=\"INFO\" optional=\"global\"/><recv request=\"BYE\"/>",
    ),
    row(
        "recv timeout, timeout_variable, ontimeout",
        Same,
        "",
        "<recv request=\"BYE\" timeout=\"5\" ontimeout=\"1\"/><label id=\"1\"/>",
    ),
    row(
        "recv rrs, auth, ignoresdp",
        Same,
        "",
        "<recv response=\"401\" rrs=\"true\" auth=\"true\" ignoresdp=\"true\"/>",
    ),
    row(
        "pause milliseconds, variable, distribution",
        Same,
        "fixed, uniform, normal, lognormal, exponential, weibull, pareto, gamma, negbin",
        "<pause distribution=\"gamma\" k=\"3\" theta=\"2\"/>",
    ),
    row(
        "pause sanity_check",
        Better,
        "taken; no draw is too long, what exceeds a year is cut",
        "<pause milliseconds=\"1\" sanity_check=\"false\"/>",
    ),
    row("timewait", Same, "", "<recv request=\"BYE\"/><timewait milliseconds=\"5\"/>"),
    row("nop", Same, "", "<nop/>"),
    row(
        "sendCmd, recvCmd",
        Same,
        "with -3pcc",
        "<recvCmd/><sendCmd><![CDATA[Call-ID: [call_id]]]></sendCmd>",
    ),
    row(
        "sendCmd dest, recvCmd src",
        Same,
        "with -master and -slave; a command that comes before the scenario asks for it is kept, where SIPp gives the call up",
        "<recvCmd src=\"m\"/>",
    ),
    row("label", Better, "any name, any number", "<label id=\"x\"/><nop/>"),
    row("init", Same, "nop, pause and label in it", "<init><nop/></init><nop/>"),
    row(
        "Global, User, Reference",
        Better,
        "a name that is used before it is declared is an error",
        "<Global variables=\"a\"/><nop test=\"a\" next=\"1\"/><label id=\"1\"/>",
    ),
    row(
        "ResponseTimeRepartition, CallLengthRepartition",
        Same,
        "",
        "<ResponseTimeRepartition value=\"1, 2\"/><nop/>",
    ),
    row("next, test, chance", Same, "", "<nop next=\"1\" chance=\"0.5\"/><label id=\"1\"/>"),
    row("condexec, condexec_inverse", Same, "", "<nop condexec=\"a\" condexec_inverse=\"true\"/>"),
    row(
        "start_rtd, rtd, repeat_rtd",
        Better,
        "to the microsecond; percentiles on the screen",
        "<nop start_rtd=\"a\" rtd=\"b\" repeat_rtd=\"true\"/>",
    ),
    row("counter", Same, "several, with commas", "<nop counter=\"a,b\"/>"),
    row("crlf, hide, display", Same, "", "<nop crlf=\"true\" hide=\"true\" display=\"x\"/>"),
    row(
        "action",
        Better,
        "in every element; `[last_*]` in an action is the message that was just received, as the documentation has it (in Debian's SIPp the one before)",
        "<nop><action/></nop>",
    ),
    row(
        "xi:include",
        Refused,
        "of SIPp after 3.7; put the elements into one file",
        "<xi:include href=\"x\"/>",
    ),
];

/// Keywords; the example is what stands in the brackets.
const KEYWORDS: &[Row] = &[
    row("[service]", Same, "", "service"),
    row(
        "[remote_host], [remote_ip], [remote_port]",
        Better,
        "in a scenario that takes calls, where the call came from; SIPp writes nothing and 5060",
        "remote_port+1",
    ),
    row("[transport]", Same, "UDP, TCP, TLS, WS or WSS", "transport"),
    row("[local_ip], [local_ip_type], [local_port], [server_ip]", Same, "", "local_port+2"),
    row(
        "[media_ip], [media_ip_type], [media_port]",
        Same,
        "without -mp the next free one from 6000 on, if there is media; one given with -mp that is needed and that somebody has ends the run at once, with 254",
        "media_port+2",
    ),
    row(
        "[auto_media_port]",
        Better,
        "four more for each call, as in SIPp; but never past 65535, and if there is media the ports that other programs have are passed over",
        "auto_media_port",
    ),
    row(
        "[rtpstream_audio_port], [rtpstream_video_port]",
        Same,
        "four ports a call, from -min_rtp_port on; bound before it is told, those that other programs have are passed over",
        "rtpstream_audio_port",
    ),
    row(
        "[cryptotag1audio], [cryptosuiteaescm128sha1801audio], [cryptokeyparams1audio]",
        Better,
        "slots 1 and 2, sha1801, sha1802, sha1321, sha1322; streams, keys, captures and echoes are encrypted once both sides have described a key. A key may also stand in the scenario, of the AES-GCM suites too. Each call needs a port of its own, such as `[rtpstream_audio_port]`",
        "cryptokeyparams1audio",
    ),
    row("[cryptotag1video] and others of video", Refused, "only audio is encrypted", "cryptotag1video"),
    row(
        "[ueaescm128sha1801audio]",
        Refused,
        "media that is authenticated but not encrypted is not supported",
        "ueaescm128sha1801audio",
    ),
    row("[len]", Same, "five letters wide", "len+3"),
    row(
        "[call_id], [call_number], [branch], [msg_index]",
        Better,
        "`[msg_index]` is right in actions too",
        "branch-2",
    ),
    row("[cseq]", Same, "", "cseq+1"),
    row(
        "[pid], [sipp_version], [clock_tick], [timestamp], [date]",
        Same,
        "`[sipp_version]` is ours",
        "clock_tick",
    ),
    row("[dynamic_id]", Same, "", "dynamic_id"),
    row("[peer_tag_param], [routes], [next_url]", Same, "", "routes"),
    row("[last_Header:], [last_Header]", Same, "several of one name are joined with commas", "last_Via:"),
    row("[last_Header.value]", Same, "of SIPp 3.7", "last_From.value"),
    row("[last_message], [last_cseq_number], [last_Request_URI]", Same, "", "last_cseq_number+1"),
    row(
        "[fieldN file= line=]",
        Better,
        "a line may be given without quotes: `line=[$n]`; a file that is not given with -inf is an error",
        "field0",
    ),
    row("[file name=]", Better, "a file that is not there is an error at the start", "file name=/dev/null"),
    row("[$variable]", Same, "", "$a"),
    row(
        "[authentication username= password=]",
        Better,
        "MD5, SHA-256, SHA-512-256 and their -sess forms; of several challenges the strongest; parameters may hold keywords; the nonce count goes up",
        "authentication username=a password=[service]",
    ),
    row("[authentication aka_K= aka_OP=]", Refused, "AKA is not there", "authentication aka_K=1"),
    row("[fill variable= text=]", Same, "", "fill variable=a text=b"),
    row("[users], [userid]", Same, "", "userid"),
    row("[tdmmap]", Refused, "there are no TDM circuits", "tdmmap"),
    row("a name given with -key", Same, "", "given"),
];

/// Actions; the example stands in `<action>`.
const ACTIONS: &[Row] = &[
    row(
        "ereg",
        Better,
        "POSIX expressions on a linear-time engine; where an alternation matches in several ways POSIX takes the longest, this one the first. More variables than groups are an error",
        "<ereg regexp=\"(a|b)\" search_in=\"hdr\" header=\"To:\" case_indep=\"true\" occurrence=\"2\" start_line=\"true\" check_it=\"true\" assign_to=\"a,b\"/>",
    ),
    row(
        "ereg search_in",
        Same,
        "msg, hdr, body, var",
        "<ereg regexp=\"a\" search_in=\"var\" variable=\"a\" check_it_inverse=\"true\" assign_to=\"b\"/>",
    ),
    row("log, warning, error", Same, "error ends the run", "<log message=\"[$a]\"/>"),
    row("assign, add, subtract, multiply, divide", Same, "", "<divide assign_to=\"a\" variable=\"b\"/>"),
    row("assignstr, todouble, trim", Same, "", "<todouble assign_to=\"a\" variable=\"b\"/>"),
    row(
        "sample",
        Same,
        "the distributions of pause",
        "<sample assign_to=\"a\" distribution=\"uniform\" min=\"1\" max=\"2\"/>",
    ),
    row(
        "test, strcmp",
        Same,
        "with check_it and check_it_inverse",
        "<test assign_to=\"a\" variable=\"b\" compare=\"equal\" value=\"1\"/>",
    ),
    row(
        "jump",
        Better,
        "and the label `_unexp.main`, the variable `_unexp.retaddr`: what came by surprise is received by the steps there, every time (in Debian's SIPp once a call)",
        "<jump value=\"1\"/>",
    ),
    row("gettimeofday", Same, "", "<gettimeofday assign_to=\"a,b\"/>"),
    row(
        "setdest",
        Same,
        "to an address; names are not looked up while calls run",
        "<setdest host=\"1.2.3.4\" port=\"5\" protocol=\"udp\"/>",
    ),
    row("closecon", Same, "", "<closecon/>"),
    row(
        "verifyauth",
        Better,
        "MD5, SHA-256, SHA-512-256",
        "<verifyauth assign_to=\"a\" username=\"b\" password=\"c\"/>",
    ),
    row("urlencode, urldecode", Same, "of SIPp 3.7", "<urlencode variable=\"a\"/>"),
    row("lookup, insert, replace", Same, "", "<lookup assign_to=\"a\" file=\"users.csv\" key=\"b\"/>"),
    row(
        "exec command, int_cmd",
        Better,
        "stop_call, stop_gracefully, stop_now; in every element. A call that is stopped is ended with CANCEL or BYE, SIPp leaves the other side with it; the same after a check_it that fails",
        "<exec int_cmd=\"stop_call\"/>",
    ),
    row(
        "exec play_pcap_audio, play_pcap_video, play_pcap_image, play_pcap_text",
        Better,
        "pcap and pcapng, no privileges needed; what went to the lowest port and the one above it is played, packets as they are. `g711a.pcap` and `dtmf_2833_1.pcap` need not be there",
        "<exec play_pcap_audio=\"g711a.pcap\"/>",
    ),
    row(
        "exec rtp_stream",
        Better,
        "`FILE,ROUNDS,TYPE,NAME`, pause, resume; WAV files (8 or 16 bits, or G.711; 8, 16, 32 or 48 kHz) become PCMU, PCMA, G722 or opus (`opus/48000/2`, any type), other files are payload of types 0, 8, 9, 18, 98",
        "<exec rtp_stream=\"a.wav,-1,8\"/>",
    ),
    row(
        "exec rtp_stream=\"apattern...\"",
        Better,
        "`apattern,NUMBER,ROUNDS,TYPE,NAME`: 1 to 6 are SIPp's octets, 7 to 16 tones that come through other codecs, too. What comes to the call's port should say the same: `pattern.min` for --require, percent",
        "<exec rtp_stream=\"apattern,1,-1,0\"/>",
    ),
    row(
        "exec rtp_stream=\"vpattern...\"",
        Refused,
        "patterns are for audio",
        "<exec rtp_stream=\"vpattern,1,-1,99\"/>",
    ),
    row(
        "exec play_dtmf",
        Better,
        "events by RFC 4733 with the payload type that was negotiated; sound waits meanwhile, in the same sequence",
        "<exec play_dtmf=\"1#\"/>",
    ),
    row(
        "exec rtp_echo",
        Same,
        "startaudio, updateaudio, stopaudio",
        "<exec rtp_echo=\"startaudio,8,PCMA/8000\"/>",
    ),
    row("rtp_echo", Better, "for the port of the call", "<rtp_echo value=\"1\"/>"),
    row("setuserid", Refused, "-users gives each call its user", "<setuserid value=\"1\"/>"),
];

fn known() -> Known {
    Known {
        keys: vec![("given".into(), "x".into())],
        files: vec!["users.csv".into()],
        read: |_| Ok(Vec::new()),
        read_media: |_, name| {
            if name.ends_with("pcap") { Err("it is not there".into()) } else { Ok(vec![0; 160]) }
        },
        ..Known::default()
    }
}

/// Tries every row, in the scenario that `within` makes of its example.
fn try_rows(rows: &[Row], within: impl Fn(&str) -> String) {
    for row in rows {
        let scenario = within(row.example);
        let result = read(scenario.as_bytes(), &known());
        match (row.state, result) {
            (Refused, Ok(_)) => panic!("{} is said to be refused, and it is taken", row.name),
            (Same | Better, Err(fault)) => panic!("{}: {fault}\n{scenario}", row.name),
            _ => {}
        }
    }
}

#[test]
fn what_the_page_says_is_so() {
    try_rows(ELEMENTS, |example| format!("<scenario>{example}</scenario>"));
    try_rows(KEYWORDS, |example| {
        format!("<scenario><send><![CDATA[BYE sip:a SIP/2.0\nX: [{example}]\n]]></send></scenario>")
    });
    try_rows(ACTIONS, |example| format!("<scenario><nop><action>{example}</action></nop></scenario>"));
}

fn rows_table(page: &mut String, title: &str, head: &str, rows: &[Row]) {
    page.push_str(&format!("\n## {title}\n\n| {head} | | remark |\n| --- | --- | --- |\n"));
    for row in rows {
        let state = match row.state {
            Same => "same",
            Better => "better",
            Refused => "not supported",
        };
        page.push_str(&format!("| `{}` | {state} | {} |\n", row.name.replace(", ", "`, `"), row.note));
    }
}

fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Options\n\n| option | | what it does, or why not |\n| --- | --- | --- |\n");
    for row in table::OPTIONS {
        let state = match row.kind {
            Kind::Flag | Kind::Value | Kind::Pair if row.name.starts_with("--") => "ours",
            Kind::Flag | Kind::Value | Kind::Pair => "same",
            Kind::Idle(_) => "taken",
            Kind::Refused => "not supported",
        };
        page.push_str(&format!("| `{}` | {state} | {} |\n", row.name, row.help.replace('|', "\\|")));
    }
    rows_table(&mut page, "Elements", "element and attributes", ELEMENTS);
    rows_table(&mut page, "Keywords", "keyword", KEYWORDS);
    rows_table(&mut page, "Actions", "action", ACTIONS);
    page.push_str(FOOT);
    page
}

const HEAD: &str = "\
# offhook load and SIPp

<!-- Made from crates/load/tests/reference_page.rs; UPDATE_DOCS=1 cargo test -p offhook-load writes it anew. -->

What `offhook load` takes of SIPp 3.7: `same`, `better` with what differs, `taken` without effect, or `not supported`. Nothing is
passed over in silence: what is unknown or not supported is an error with its line and column, and the nearest known name.
";

const FOOT: &str = "
## Built-in scenarios

`uac`, `uas`, `regexp`, `branchc`, `branchs`, `3pcc-C-A`, `3pcc-C-B`, `3pcc-A`, `3pcc-B`, `ooc_default`, `ooc_dummy`,
`uac_pcap`: the same messages as SIPp's, octet for octet.

## Beyond the tables

| what | | remark |
| --- | --- | --- |
| transports | better | UDP, TCP, TLS, WebSocket and secure WebSocket, IPv4 and IPv6, one socket or one per call; `-t s1` and `-t sn` are secure WebSocket, not SCTP. One socket for each address with `-t ui` (UDP). While the one connection of all calls is opened again (`-max_reconnect`), calls wait |
| cores | better | one worker per core for UDP and for sockets per call. One worker where calls share things: global and user variables, `insert` and `replace`, 3PCC, one TCP connection |
| rate, `-l`, `-m`, `-users` | better | exact over all workers; calls are due on a fixed schedule, so a slow callee does not slow the asking (coordinated omission) |
| statistics files | same | `-trace_stat`, `-trace_counts`, `-trace_rtt` (with microseconds), `-trace_shortmsg`, `-trace_msg`, `-trace_err`, `-trace_logs`, `-trace_screen`; WatchdogMajor and WatchdogMinor are 0 |
| keys and signals | same | `+ - * / p q Q s 1` to `4` and `6` to `9`, which all show the one screen of repartitions; USR1, USR2; INT and TERM end running calls with BYE or CANCEL |
| exit codes | same | 0, 1, 97, 99, 253 (-audiotolerance), 254, 255. As documented, an option or a scenario that cannot be read is 255, where Debian's SIPp says 1; `-h`, `-v` and `-sd` are 0, there 99 |
| keys `c`, `5` | not supported | there is no command mode, and there are no TDM circuits |
| target hosts | stricter | public addresses only with `--allow-public` |
| verdict | ours | `--require`, `--json`, `--junit`, `--html` with charts of rate, calls at once and setup |
| received media | ours | streams are followed by source: loss, lateness, jitter, level, and a score by the E-model (G.711, G.722, G.729, Opus); `rtp_lost`, `rtp_undecrypted`, `mos.min`, `jitter.max`, `level.min`, `pattern.min` and others for `--require` |
| media threads | better | one per core, each with the sockets of its ports |
| response times | better | over UDP from the kernel's note of a message's arrival, so that a busy tester is not taken for a slow callee. From 4000 messages a second on, a worker lets them gather for half a millisecond |
| YAML form | ours | `-sf` takes it; `offhook load convert` turns one form into the other |
| `offhook load from-pcap` | ours | a caller and a callee out of a captured call, with nobody in it whom one could recognise |
";

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/load-sipp.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/reference/load-sipp.md is old: run UPDATE_DOCS=1 cargo test -p offhook-load");
}

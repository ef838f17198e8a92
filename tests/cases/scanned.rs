//! Somebody searches the net for telephone systems: SIPVicious, as it is and in disguise, and what an operator sees of it.

use std::{fs, net::UdpSocket, path::Path, process::Command, time::Duration};

use offhook_e2e::{
    Node, NodeOptions,
    process::Running,
    user_agent::{Phone, UdpLink},
    wait,
};
use serde_json::Value;

/// Where Debian keeps the program.
const SIPVICIOUS: &str = "/usr/share/sipvicious";

/// Addresses of this host that nobody else uses: the scanner's, a phone's, and what strangers send from.
const SCANNER: &str = "127.0.61.1";
const DISGUISED: &str = "127.0.62.1";
const PHONE: &str = "127.0.63.1";
const STRANGER: &str = "127.0.64.1";

/// A tool of SIPVicious that has ended: what it said.
fn sipvicious(library: &Path, tool: &str, node: &Node, local: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    let program = format!("import sys; sys.argv[0] = {tool:?}; from sipvicious.{tool} import main; main()");
    command.args(["-c", &program, "-b", local, "-x", local, "-p", &node.sip_port.to_string()]);
    command.args(arguments).arg("127.0.0.1").env("PYTHONPATH", library).env("HOME", node.directory());
    let name = format!("{tool}-{local}-{}", arguments.len());
    let mut running = Running::start(&name, command, node.directory());
    assert!(running.wait(Duration::from_secs(100)).is_some(), "{tool} does not end: {}", running.output());
    running.output()
}

/// The program under another name: what blocks only known names does not see it.
fn disguised(directory: &Path) -> std::path::PathBuf {
    let library = directory.join("disguised");
    let copied = Command::new("cp").arg("-r").arg(SIPVICIOUS).arg(&library).status();
    assert!(copied.is_ok_and(|status| status.success()), "scripts/setup.sh test installs sipvicious");
    let helper = library.join("sipvicious/libs/svhelper.py");
    let text = fs::read_to_string(&helper).expect("its library");
    fs::write(&helper, text.replace("friendly-scanner", "Yealink SIP-T46S")).expect("a copy of ours");
    library
}

fn register(node: &Node) -> Phone<UdpLink> {
    let mut phone = Phone::new(UdpLink::new(PHONE, node.sip()), "101", node.sip());
    phone.register();
    phone
}

#[test]
fn sipvicious_finds_no_node_and_no_line() {
    let node =
        Node::start(&NodeOptions { sections: "[edge]\nkernel = \"off\"".into(), ..NodeOptions::default() });
    let mut phone = register(&node);
    let plain = Path::new(SIPVICIOUS);
    let mapped = sipvicious(plain, "svmap", &node, SCANNER, &[]);
    assert!(mapped.contains("found nothing"), "{mapped}");
    let lines = sipvicious(plain, "svwar", &node, SCANNER, &["-e", "100-110", "--force"]);
    assert!(lines.contains("found nothing"), "{lines}");
    // It gives up as soon as its first question is not answered.
    assert!(node.metric("offhook_refused_total{reason=\"scanner\"}") >= 2.0);
    assert_eq!(node.metric("offhook_net_events_total{event=\"udp_sent\"}"), 2.0, "the phone's two answers");
    // Whoever hides its name hears no more than a phone: challenges that are the same for every number.
    let library = disguised(node.directory());
    let mapped = sipvicious(&library, "svmap", &node, DISGUISED, &["--fromname", "x"]);
    assert!(mapped.contains("found nothing"), "{mapped}");
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        let found = sipvicious(&library, "svwar", &node, DISGUISED, &["-e", "100-110", "-m", method]);
        assert!(!found.contains("| 101"), "{method}: {found}");
    }
    // The one that guesses passwords is banned before it has tried many; whoever is registered is not.
    let cracked = sipvicious(&library, "svcrack", &node, DISGUISED, &["-u", "101", "-r", "100-300"]);
    assert!(cracked.contains("found nothing"), "{cracked}");
    let edge = node.api("GET", "/edge", None);
    assert_eq!(edge["bans"][0]["why"], "passwords", "{edge:#}");
    phone.register();
    assert_eq!(node.metric("offhook_panics_total"), 0.0);
}

/// Goal: who searches for long is banned by what he does, the ban can be seen and ended, and phones do not notice. Method: a REGISTER for
/// each of many numbers, none of which ever answers its challenge.
#[test]
fn a_long_search_leads_to_a_ban_that_an_operator_sees_and_ends() {
    let node = Node::start(&NodeOptions {
        sections: "[edge]\nkernel = \"off\"\nstray_points = 100\nban_first_secs = 3600".into(),
        ..NodeOptions::default()
    });
    let mut phone = register(&node);
    let socket = UdpSocket::bind((SCANNER, 0)).expect("a port");
    let banned = || node.metric("offhook_refused_total{reason=\"banned\"}");
    let mut number = 1000;
    wait::until("the ban", || {
        for _ in 0..50 {
            number += 1;
            socket.send_to(register_text(&socket, number).as_bytes(), node.sip()).expect("the node listens");
        }
        (banned() >= 100.0).then_some(())
    });
    assert_eq!(node.metric("offhook_edge_bans_total"), 1.0);
    let edge = node.api("GET", "/edge", None);
    let ban = &edge["bans"][0];
    assert_eq!((ban["source"].as_str(), ban["why"].as_str()), (Some(SCANNER), Some("strays")));
    let is_top =
        |source: &Value| source["source"] == SCANNER && source["refused_per_second"].as_f64() > Some(1.0);
    assert!(edge["sources"].as_array().is_some_and(|sources| sources.iter().any(is_top)), "{edge:#}");
    let look = node.api("GET", &format!("/edge/sources/{SCANNER}"), None);
    assert_eq!(look["verdict"], "dropped: it is banned");
    let shown = node.command(&["edge", "top", "--once"]);
    assert!(shown.contains("1 banned") && shown.contains(SCANNER) && shown.contains("strays"), "{shown}");
    assert!(!node.log().contains(SCANNER), "addresses are masked in the log");
    phone.register();
    let unbanned = node.command(&["edge", "unban", SCANNER]);
    assert!(unbanned.contains("is banned no more"), "{unbanned}");
    let look = node.command(&["edge", "check", SCANNER]);
    assert!(look.contains("let in within the rates for strangers"), "{look}");
}

/// A REGISTER for a line, without credentials.
fn register_text(socket: &UdpSocket, line: u32) -> String {
    let local = socket.local_addr().expect("it is bound");
    format!(
        "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{local}x{line}\r\nMax-Forwards: 70\r\n\
         From: <sip:{line}@127.0.0.1>;tag=1\r\nTo: <sip:{line}@127.0.0.1>\r\nCall-ID: {local}x{line}\r\nCSeq: 1 REGISTER\r\n\r\n"
    )
}

/// What a socket hears within the time of another question's answer.
fn answers(socket: &UdpSocket, node: &Node, message: &str) -> usize {
    socket.send_to(message.as_bytes(), node.sip()).expect("the node listens");
    let mut buffer = vec![0; 65_536];
    let mut heard = 0;
    while let Ok(length) = socket.recv(&mut buffer) {
        heard += length;
    }
    heard
}

/// Goal: nobody can have the node flood somebody else. Method: each kind of request, as small as it can be, from an address that never
/// answers; what comes back in all the time that an INVITE's answer would be repeated in.
#[test]
fn a_forged_address_hears_at_most_three_times_what_was_sent_in_its_name() {
    let node = Node::start(&NodeOptions {
        signalling: "t1_ms = 50\nt2_ms = 500\nt4_ms = 500".into(),
        ..NodeOptions::default()
    });
    let socket = UdpSocket::bind((STRANGER, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(400))).expect("sockets can");
    let port = socket.local_addr().expect("it is bound").port();
    for method in ["OPTIONS", "REGISTER", "INVITE", "BYE", "SUBSCRIBE", "FOO", "MESSAGE", "CANCEL", "NOTIFY"]
    {
        for uri in ["sip:127.0.0.1", "sip:1@elsewhere.example", "tel:1"] {
            let message = format!(
                "{method} {uri} SIP/2.0\r\nv:SIP/2.0/UDP {STRANGER}:{port};branch=z9hG4bK{method}{}\r\nf:<{uri}>;tag=1\r\n\
                 t:<{uri}>\r\ni:{method}{}\r\nCSeq:1 {method}\r\nm:<sip:1@{STRANGER}:{port}>\r\nMax-Forwards:9\r\n\r\n",
                uri.len(),
                uri.len()
            );
            let heard = answers(&socket, &node, &message);
            assert!(heard <= 3 * message.len(), "{method} {uri}: {heard} octets for {}", message.len());
            let is_asked = matches!(method, "REGISTER" | "INVITE" | "MESSAGE") && uri == "sip:127.0.0.1";
            assert!(is_asked || heard == 0, "{method} {uri} was answered");
        }
    }
    assert_eq!(answers(&socket, &node, "FOO"), 0);
    assert_eq!(answers(&socket, &node, "INVITE sip:127.0.0.1 SIP/2.0\r\nCSeq: x\r\n\r\n"), 0);
}

#[test]
fn lists_come_from_files_the_command_line_and_the_configuration_and_bad_ones_change_nothing() {
    let list = tempfile::NamedTempFile::new().expect("a file");
    fs::write(list.path(), "127.0.65.0/24 ; the neighbours\n").expect("it can be written");
    let sections = format!("[edge]\nallow = [\"127.0.65.7\"]\ndeny_files = [{:?}]\n", list.path());
    let mut node = Node::start(&NodeOptions { sections, ..NodeOptions::default() });
    let hears = |node: &Node, address: &str| {
        let socket = UdpSocket::bind((address, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("sockets can");
        answers(&socket, node, &register_text(&socket, 101)) > 0
    };
    assert!(hears(&node, "127.0.65.7") && !hears(&node, "127.0.65.8") && hears(&node, "127.0.66.1"));
    node.command(&["edge", "deny", "127.0.66.0/24", "--note", "scans at night"]);
    assert!(!hears(&node, "127.0.66.1"));
    let shown = node.command(&["edge", "list"]);
    assert!(shown.contains("127.0.66.0/24  deny") && shown.contains("scans at night"), "{shown}");
    fs::write(list.path(), "127.0.65.0/24\nnobody\n").expect("it can be written");
    node.process().signal("HUP");
    wait::until("the bad list is told", || node.log().contains("line 2: not an IPv4").then_some(()));
    assert!(!hears(&node, "127.0.65.8"), "the lists in force stay");
    fs::write(list.path(), "127.0.67.0/24\n").expect("it can be written");
    node.process().signal("HUP");
    wait::until("the new list is in force", || hears(&node, "127.0.65.8").then_some(()));
    assert!(!hears(&node, "127.0.67.1"));
    node.crash_and_restart();
    assert!(!hears(&node, "127.0.66.1"), "what an operator listed is kept");
    node.command(&["edge", "forget", "127.0.66.0/24"]);
    // The kernel is told behind it.
    wait::until("it is let in again", || hears(&node, "127.0.66.1").then_some(()));
    let refused = std::net::TcpStream::connect(("127.0.0.1", node.sip_port));
    assert!(refused.is_ok(), "who is not listed connects");
}

/// Goal: a flood of a banned or denied source costs the node nothing. Method: the kernel is asked what it dropped, and the node what came
/// to its sockets.
#[test]
fn the_kernel_keeps_out_the_banned_and_the_denied_and_lets_them_in_again() {
    const BANNED: &str = "127.0.68.1";
    const DENIED: &str = "127.0.69.1";
    let mut node = Node::start(&NodeOptions::default());
    if node.metric("offhook_edge_kernel") < 1.0 {
        return offhook_e2e::node::report("skipped: nftables cannot be used here");
    }
    let flood = |node: &Node, from: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("a port");
        for _ in 0..100 {
            let _ = socket.send_to(b"INVITE sip:127.0.0.1 SIP/2.0\r\n\r\n", node.sip());
        }
    };
    let received = |node: &Node| node.metric("offhook_net_events_total{event=\"udp_received\"}");
    node.command(&["edge", "ban", BANNED]);
    node.command(&["edge", "deny", "127.0.69.0/24"]);
    let dropped = || {
        wait::until("the kernel is up to date", || {
            flood(&node, BANNED);
            flood(&node, DENIED);
            let before = received(&node);
            flood(&node, BANNED);
            flood(&node, DENIED);
            (received(&node) == before).then_some(())
        })
    };
    dropped();
    wait::until("the kernel's count", || {
        (node.metric("offhook_edge_kernel_dropped_total") >= 200.0).then_some(())
    });
    node.command(&["edge", "unban", BANNED]);
    node.command(&["edge", "forget", "127.0.69.0/24"]);
    for from in [BANNED, DENIED] {
        wait::until("it is let in again", || {
            let before = received(&node);
            flood(&node, from);
            (received(&node) > before).then_some(())
        });
    }
    node.process().terminate();
    assert!(!tables().contains(&table_of(&node)), "the table goes with the node: {}", tables());
}

/// Goal: a node that is killed leaves nothing that costs the host's packets time. Method: kill it and ask nftables for its tables.
#[test]
fn a_killed_node_leaves_nothing_in_the_kernel() {
    let mut node = Node::start(&NodeOptions::default());
    if node.metric("offhook_edge_kernel") < 1.0 {
        return offhook_e2e::node::report("skipped: nftables cannot be used here");
    }
    let table = table_of(&node);
    assert!(tables().contains(&table), "{}", tables());
    node.process().kill();
    wait::until("the table is gone", || (!tables().contains(&table)).then_some(()));
}

fn tables() -> String {
    let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft is there");
    String::from_utf8_lossy(&tables.stdout).into_owned()
}

/// Part of the name of a node's table.
fn table_of(node: &Node) -> String {
    node.directory().file_name().expect("it has one").to_string_lossy().replace(['-', '.'], "_")
}

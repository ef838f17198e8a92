//! What goes between two testers, as tshark reads it.

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{node::report, process::Running, wait};

/// Fields of each message. Those that name a port or a process differ from run to run and are left out.
const FIELDS: [&str; 13] = [
    "udp.srcport",
    "tcp.srcport",
    "sip.Call-ID",
    "sip.CSeq.seq",
    "sip.CSeq.method",
    "sip.Method",
    "sip.Status-Code",
    "sip.Via.transport",
    "sip.from.user",
    "sip.to.user",
    "sip.contact.user",
    "sip.Max-Forwards",
    "sdp.media.format",
];
/// The field that each message has once, so that several in one segment are told apart.
const ID: usize = 2;

/// Says that nothing comes any more.
const LAST: &[u8] = b"nothing comes any more";

/// A capture of the messages to and from a port.
#[derive(Debug)]
pub struct Wire {
    /// `None` where the system does not permit it.
    dumpcap: Option<Running>,
    file: PathBuf,
    port: u16,
}

impl Wire {
    /// Begins to capture what goes over `transport`, as `-t` names it: nothing if it is encrypted. Where the system does
    /// not permit it, that is told.
    pub fn start(port: u16, transport: &str, directory: &Path) -> Self {
        let file = directory.join("wire.pcapng");
        if !transport.starts_with(['u', 't']) {
            return Self { dumpcap: None, file, port };
        }
        let mut command = Command::new("dumpcap");
        command.args(["-i", "lo", "-q", "-f", &format!("port {port}"), "-w"]).arg(&file);
        let mut dumpcap = Running::start("dumpcap", command, directory);
        let started = wait::within(wait::PATIENCE, || {
            (dumpcap.output().contains("File:") || !dumpcap.is_running()).then_some(())
        });
        let captures = started.is_some() && dumpcap.is_running();
        if !captures {
            report(&format!("not compared by tshark: capturing is not permitted here: {}", dumpcap.output()));
        }
        Self { dumpcap: captures.then_some(dumpcap), file, port }
    }

    /// Ends it. Returns a line for each message, those of one call in order, calls one by one: direction as the caller
    /// sees it, and fields.
    pub fn finish(&mut self) -> Vec<String> {
        let Some(mut dumpcap) = self.dumpcap.take() else { return Vec::new() };
        // The kernel hands packets over in blocks. What is sent last comes last.
        let last = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let seen = wait::within(wait::PATIENCE, || {
            last.send_to(LAST, ("127.0.0.1", self.port)).expect("it is sent");
            let captured = fs::read(&self.file).unwrap_or_default();
            captured.windows(LAST.len()).any(|part| part == LAST).then_some(())
        });
        seen.expect("the last packet is captured");
        dumpcap.signal("INT");
        dumpcap.wait(wait::PATIENCE).expect("dumpcap ends");
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", "sip", "-T", "fields", "-E", "separator=;"]);
        for kind in ["udp", "tcp"] {
            command.args(["-d", &format!("{kind}.port=={},sip", self.port)]);
        }
        command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        let output = command.output().unwrap_or_else(|error| {
            panic!("cannot start tshark: {error}\nhint: `scripts/setup.sh test` (part of `make test`) installs it")
        });
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in String::from_utf8_lossy(&output.stdout).lines() {
            for (call, line) in self.messages(row) {
                calls.entry(call).or_default().push(line);
            }
        }
        let mut lines: Vec<_> = calls.into_values().collect();
        lines.sort();
        lines.concat()
    }

    /// The messages of a packet: their Call-IDs and lines.
    fn messages(&self, row: &str) -> Vec<(String, String)> {
        let cells: Vec<Vec<&str>> = row.split(';').map(|cell| cell.split(',').collect()).collect();
        let from = |cell: usize| cells[cell].first().copied().unwrap_or_default();
        let is_udp = !from(0).is_empty();
        let source = if is_udp { from(0) } else { from(1) };
        let direction = if source == self.port.to_string() { "R" } else { "S" };
        let of = |cell: usize| cells[cell].iter().copied().filter(|word| !word.is_empty()).peekable();
        let (mut methods, mut codes) = (of(5), of(6));
        // Several in one segment: methods and codes stand apart. A request's method is that of its CSeq.
        let mut start_line = |method: &str| {
            let next = methods.next_if(|next| *next == method).or_else(|| codes.next());
            next.or_else(|| methods.next()).unwrap_or_default().to_string()
        };
        (0..cells[ID].len())
            .map(|at| {
                let cell = |cell: usize| cells[cell].get(at).copied().unwrap_or_default();
                let mut line = format!("{direction} {} {} {}", start_line(cell(4)), cell(3), cell(4));
                // How a connection cuts messages into segments is chance, and with it which fields stand together.
                if is_udp {
                    let rest = cells[7..].iter().map(|cell| cell.join(","));
                    line = rest.fold(line, |line, cell| line + ";" + &cell);
                }
                (cell(ID).to_string(), line)
            })
            .collect()
    }
}

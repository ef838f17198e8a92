//! What goes over the loopback interface, captured by dumpcap and judged by tshark.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use crate::{Node, node::report, process::Running, wait};

/// A capture of one node's traffic.
#[derive(Debug)]
pub struct Capture {
    dumpcap: Running,
    file: PathBuf,
    sip_port: u16,
    media: (u16, u16),
}

impl Capture {
    /// Begins to capture SIP over UDP and TCP, and media, of `node`. `None`, with the reason printed, where the system
    /// does not permit it.
    pub fn start(node: &Node) -> Option<Self> {
        let file = node.directory().join("capture.pcapng");
        let (first, last) = node.media;
        let filter = format!("port {} or udp portrange {first}-{last}", node.sip_port);
        let mut command = Command::new("dumpcap");
        command.args(["-i", "lo", "-q", "-f", &filter, "-w"]).arg(&file);
        let mut dumpcap = Running::start("dumpcap", command, node.directory());
        let started = wait::within(wait::PATIENCE, || {
            (dumpcap.output().contains("File:") || !dumpcap.is_running()).then_some(())
        });
        if started.is_none() || !dumpcap.is_running() {
            report(&format!(
                "not looked at by tshark: capturing is not permitted here: {}",
                dumpcap.output()
            ));
            return None;
        }
        Some(Self { dumpcap, file, sip_port: node.sip_port, media: node.media })
    }

    /// Ends the capture and asserts that tshark finds nothing wrong in what the node sent; gives how many packets of each
    /// protocol it sent.
    pub fn finish(mut self) -> BTreeMap<String, usize> {
        self.dumpcap.signal("INT");
        self.dumpcap.wait(wait::PATIENCE).expect("dumpcap ends");
        let ours = format!(
            "(udp.srcport == {sip} or tcp.srcport == {sip} or (udp.srcport >= {first} and udp.srcport <= {last}))",
            sip = self.sip_port,
            first = self.media.0,
            last = self.media.1
        );
        // The expert's notes on SIP are about the other side's retransmissions; errors and warnings are about form.
        let wrong = format!(
            "{ours} and (_ws.malformed or _ws.expert.severity == \"Error\" or \
             (_ws.expert.severity == \"Warning\" and (sip or sdp or rtp or rtcp) and not tcp.analysis.flags))"
        );
        let complaints = self.tshark(&wrong, &["-V"]);
        let found = self.tshark(&wrong, &["-T", "fields", "-e", "frame.number", "-e", "_ws.expert.message"]);
        assert!(found.trim().is_empty(), "tshark complains about:\n{found}\n{complaints}");
        let mut seen = BTreeMap::new();
        for protocol in ["sip", "sdp", "rtp", "rtcp"] {
            let frames =
                self.tshark(&format!("{ours} and {protocol}"), &["-T", "fields", "-e", "frame.number"]);
            seen.insert(protocol.to_string(), frames.lines().count());
        }
        seen
    }

    fn tshark(&self, filter: &str, options: &[&str]) -> String {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-o", "rtp.heuristic_rtp:TRUE"]);
        for kind in ["udp", "tcp"] {
            command.args(["-d", &format!("{kind}.port=={},sip", self.sip_port)]);
        }
        let output = command.args(options).output().unwrap_or_else(|error| {
            panic!("cannot start tshark: {error}\nhint: `scripts/setup.sh test` (part of `make test`) installs it")
        });
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

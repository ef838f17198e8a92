//! What goes over the loopback interface, captured by dumpcap and judged by tshark.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use crate::{Node, node::report, process::Running, wait};

/// A capture of one node's traffic.
#[derive(Debug)]
pub struct Capture {
    /// `None` where the system does not permit it.
    dumpcap: Option<Running>,
    file: PathBuf,
    ours: String,
    sip_ports: Vec<u16>,
}

impl Capture {
    /// Begins to capture SIP over UDP and TCP, and media, of `node`; also what it sends on connections that it opens to
    /// `servers`. Where the system does not permit it, that is told, and nothing is judged.
    pub fn start(node: &Node, servers: &[u16]) -> Self {
        let file = node.directory().join("capture.pcapng");
        let (first, last) = (node.media.first, node.media.last);
        let sip_ports: Vec<_> = [node.sip_port].into_iter().chain(servers.iter().copied()).collect();
        let any_of = |term: &str| sip_ports.iter().map(|port| format!("{term} {port}")).collect::<Vec<_>>();
        let filter = format!("{} or udp portrange {first}-{last}", any_of("port").join(" or "));
        let mut command = Command::new("dumpcap");
        command.args(["-i", "lo", "-q", "-f", &filter, "-w"]).arg(&file);
        let mut dumpcap = Running::start("dumpcap", command, node.directory());
        let started = wait::within(wait::PATIENCE, || {
            (dumpcap.output().contains("File:") || !dumpcap.is_running()).then_some(())
        });
        let is_capturing = started.is_some() && dumpcap.is_running();
        if !is_capturing {
            report(&format!(
                "not looked at by tshark: capturing is not permitted here: {}",
                dumpcap.output()
            ));
        }
        let mut ours = vec![
            format!("udp.srcport == {sip} or tcp.srcport == {sip}", sip = node.sip_port),
            format!("(udp.srcport >= {first} and udp.srcport <= {last})"),
        ];
        ours.extend(servers.iter().map(|port| format!("tcp.dstport == {port}")));
        let ours = format!("({})", ours.join(" or "));
        Self { dumpcap: is_capturing.then_some(dumpcap), file, ours, sip_ports }
    }

    /// Ends the capture and asserts that tshark finds nothing wrong in what the node sent, and that it was at least so
    /// many packets of each of these protocols: `sip`, `sdp`, `rtp`, `rtcp`.
    pub fn finish(mut self, at_least: &[(&str, usize)]) {
        let Some(mut dumpcap) = self.dumpcap.take() else { return };
        dumpcap.signal("INT");
        dumpcap.wait(wait::PATIENCE).expect("dumpcap ends");
        // The expert's notes on SIP are about the other side's retransmissions; errors and warnings are about form.
        let wrong = format!(
            "{} and (_ws.malformed or _ws.expert.severity == \"Error\" or \
             (_ws.expert.severity == \"Warning\" and (sip or sdp or rtp or rtcp) and not tcp.analysis.flags))",
            self.ours
        );
        let complaints = self.tshark(&wrong, &["-V"]);
        assert!(complaints.trim().is_empty(), "tshark complains about:\n{complaints}");
        let mut seen = BTreeMap::new();
        for frame in self.tshark(&self.ours, &["-T", "fields", "-e", "frame.protocols"]).lines() {
            for protocol in frame.split(':').collect::<BTreeSet<_>>() {
                *seen.entry(protocol.to_string()).or_insert(0) += 1;
            }
        }
        let is_enough =
            |&(protocol, count): &(&str, usize)| seen.get(protocol).is_some_and(|&seen| seen >= count);
        assert!(at_least.iter().all(is_enough), "tshark saw {seen:?}, which is not {at_least:?}");
    }

    fn tshark(&self, filter: &str, options: &[&str]) -> String {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-o", "rtp.heuristic_rtp:TRUE"]);
        for (port, kind) in self.sip_ports.iter().flat_map(|port| [(port, "udp"), (port, "tcp")]) {
            command.args(["-d", &format!("{kind}.port=={port},sip")]);
        }
        let output = command.args(options).output().unwrap_or_else(|error| {
            panic!("cannot start tshark: {error}\nhint: `scripts/setup.sh test` (part of `make test`) installs it")
        });
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

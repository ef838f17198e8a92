//! Kamailio as a peer's SIP server that speaks TLS on one side and UDP on the other.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{ports, process::Running, wait};

/// A running Kamailio: what comes over UDP goes to the node over TLS, and the other way round to a UDP server.
#[derive(Debug)]
pub struct Kamailio {
    directory: TempDir,
    /// Its UDP side.
    pub udp: SocketAddr,
    /// Its TLS side.
    pub tls: SocketAddr,
    process: Option<Running>,
}

impl Kamailio {
    /// Chooses addresses and makes a certificate; [`Self::start`] starts it. The node must be told of both first.
    pub fn prepare(ip: Ipv4Addr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let made = rcgen::generate_simple_self_signed(vec![ip.to_string()]).expect("a certificate");
        fs::write(directory.path().join("certificate.pem"), made.cert.pem()).expect("a file");
        fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        let address = |port| SocketAddr::from((ip, port));
        Self { directory, udp: address(ports::free()), tls: address(ports::free()), process: None }
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Starts it between the node's TLS address and a UDP server.
    pub fn start(&mut self, node_tls: SocketAddr, udp_server: SocketAddr) {
        let path = self.directory.path();
        let file = path.join("kamailio.cfg");
        fs::write(&file, configuration(path, self.udp, self.tls, node_tls, udp_server)).expect("a file");
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(&file).args(["-DD", "-E", "-n", "1", "-m", "32", "-M", "4"]);
        command.arg("-w").arg(path).arg("-Y").arg(path);
        let process = self.process.insert(Running::start("kamailio", command, path));
        let port = self.tls.port();
        let up =
            wait::within(wait::PATIENCE, || (ports::is_open(port) || !process.is_running()).then_some(()));
        assert!(up.is_some() && process.is_running(), "Kamailio did not start: {}", process.output());
    }

    /// What it has logged.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Running::output).unwrap_or_default()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // The first process ends its children on TERM; killed at once it would leave them behind.
        if let Some(process) = self.process.as_mut() {
            process.terminate();
        }
    }
}

fn configuration(
    path: &Path,
    udp: SocketAddr,
    tls: SocketAddr,
    node: SocketAddr,
    server: SocketAddr,
) -> String {
    let (path, ip) = (path.display(), tls.ip());
    format!(
        r#"#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
enable_tls=yes
auto_aliases=no
tcp_source_ipv4={ip}
listen=udp:{udp}
listen=tls:{tls}
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
modparam("tls", "certificate", "{path}/certificate.pem")
modparam("tls", "private_key", "{path}/key.pem")
modparam("tls", "tls_method", "TLSv1.2+")
modparam("rr", "enable_double_rr", 1)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (has_totag()) {{
        if (!loose_route()) {{
            if (method == "ACK") {{ if (!t_check_trans()) exit; }}
        }}
        t_relay();
        exit;
    }}
    if (method == "CANCEL") {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    record_route();
    if ($proto == "tls") {{
        $du = "sip:{server}";
    }} else {{
        $du = "sip:{node};transport=tls";
    }}
    t_relay();
}}
"#
    )
}

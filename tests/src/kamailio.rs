//! Kamailio as what stands around an exchange: a carrier's border with TLS, a phone's outbound proxy, a registrar's client.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{node::password, ports, process::Running, wait};

/// A running Kamailio.
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

    /// Starts it between the node's TLS address and a UDP server: what comes over UDP goes to the node over TLS, and the
    /// other way round.
    pub fn start(&mut self, node_tls: SocketAddr, udp_server: SocketAddr) {
        let configuration = border(self.directory.path(), self.udp, self.tls, node_tls, udp_server);
        self.run(&configuration, self.tls.port());
    }

    /// Starts it as the outbound proxy of a phone: it answers the node's challenges in the name of `line`.
    pub fn start_for_line(&mut self, line: &str, node: SocketAddr) {
        let configuration = outbound_proxy(self.udp, node, line);
        self.run(&configuration, self.udp.port());
    }

    /// Starts it in front of a UDP server that takes a call only after a registration under the same Call-ID.
    pub fn start_registering(&mut self, server: SocketAddr) {
        let configuration = registering_proxy(self.udp, server);
        self.run(&configuration, self.udp.port());
    }

    fn run(&mut self, configuration: &str, port: u16) {
        let path = self.directory.path();
        let file = path.join("kamailio.cfg");
        fs::write(&file, configuration).expect("a file");
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(&file).args(["-DD", "-E", "-n", "1", "-m", "32", "-M", "4"]);
        command.arg("-w").arg(path).arg("-Y").arg(path);
        let process = self.process.insert(Running::start("kamailio", command, path));
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

fn border(path: &Path, udp: SocketAddr, tls: SocketAddr, node: SocketAddr, server: SocketAddr) -> String {
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

/// What the two proxies on UDP have in common.
fn udp_proxy(udp: SocketAddr, next_hop: SocketAddr) -> String {
    format!(
        r#"#!KAMAILIO
debug=1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:{udp}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
loadmodule "uac.so"
modparam("uac", "restore_mode", "none")
modparam("uac", "auth_realm_avp", "$avp(realm)")
modparam("uac", "auth_username_avp", "$avp(user)")
modparam("uac", "auth_password_avp", "$avp(password)")
request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (!has_totag()) route(FIRST);
    $du = "sip:{next_hop}";
    t_relay();
}}
"#
    )
}

fn outbound_proxy(udp: SocketAddr, node: SocketAddr, line: &str) -> String {
    let password = password(line);
    udp_proxy(udp, node)
        + &format!(
            r#"
route[FIRST] {{
    t_on_failure("CHALLENGED");
}}
failure_route[CHALLENGED] {{
    if (!t_check_status("401|407")) exit;
    $avp(realm) = $null;
    $avp(user) = "{line}";
    $avp(password) = "{password}";
    if (uac_auth()) t_relay();
}}
"#
        )
}

fn registering_proxy(udp: SocketAddr, server: SocketAddr) -> String {
    udp_proxy(udp, server)
        + &format!(
            r#"
route[FIRST] {{
    if (method != "INVITE") return;
    $uac_req(method) = "REGISTER";
    $uac_req(ruri) = "sip:{server}";
    $uac_req(furi) = "sip:kamailio@{udp}";
    $uac_req(turi) = "sip:kamailio@{udp}";
    $uac_req(callid) = $ci;
    uac_req_send();
}}
"#
        )
}

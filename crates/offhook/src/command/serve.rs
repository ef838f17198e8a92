//! `offhook serve`: the node itself, and what a person is told when it is up.

use std::{
    env,
    net::{IpAddr, UdpSocket},
    path::Path,
};

use offhook_node::{ServeOptions, Welcome, config::Config};

use crate::{cli::ServeArgs, failure::Failure, output};

/// Runs a node until it is told to stop.
pub fn run(config: Option<&Path>, args: &ServeArgs) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    loaded.check_files()?;
    for warning in loaded.config.warnings() {
        output::note(&format!("warning: {warning}"));
    }
    let options = ServeOptions { demo: args.demo, take_over: args.take_over };
    offhook_node::run(loaded.config, options, |welcome| {
        // A node whose standard output is closed still serves.
        let _ = output::print(&greeting(welcome, own_address(), &own_name()));
    })
    .map_err(|error| Failure::new(error.to_string(), error.hint()))
}

/// An address that other machines may know this one by: the one it would send from. Nothing is sent to find it out.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of no one (RFC 5737 §3), so the default route decides.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

/// How this program was called, so that what is suggested can be copied: `target/release/offhook` in a clone.
fn own_name() -> String {
    env::args().next().filter(|name| !name.is_empty()).unwrap_or_else(|| "offhook".into())
}

fn greeting(welcome: &Welcome, address: Option<IpAddr>, offhook: &str) -> String {
    let mut text = String::from("Offhook is up.\n\nListening on\n");
    for listener in &welcome.listening {
        text.push_str(&format!("  {listener}\n"));
    }
    text.push_str(&format!("  {} (API, SIP over WebSocket at /sip)\n", welcome.api));
    let everywhere = |listener: &String| {
        listener.starts_with("sip ") && (listener.contains(" 0.0.0.0:") || listener.contains(" [::]:"))
    };
    if let Some(address) = address.filter(|_| welcome.listening.iter().any(everywhere)) {
        text.push_str(&format!("Phones in this network reach it at {address}\n"));
    }
    if welcome.made_certificate {
        text.push_str(
            "\nA self-signed certificate was made for TLS; [tls] in offhook.toml names your own.\n",
        );
    }
    if !welcome.lines.is_empty() {
        text.push_str("\nDemo lines (shown once; `offhook line reset-password NAME` makes a new password)\n");
        for (name, password) in &welcome.lines {
            text.push_str(&format!("  {name:8}{}\n", password.reveal()));
        }
    }
    if let Some(token) = &welcome.token {
        text.push_str(&format!(
            "\nToken of the API (shown once; kept in {}, replaced by `offhook token replace`)\n  {}\n",
            welcome.token_file.display(),
            token.reveal()
        ));
    }
    if !welcome.warnings.is_empty() {
        text.push('\n');
    }
    for warning in &welcome.warnings {
        text.push_str(&format!("{}\n", output::warning_text(warning)));
    }
    let next = [
        ("try", "make a test call through this node"),
        ("line add NAME", "add a line for a phone"),
        ("registrations", "see which phones are there"),
        ("calls", "watch the calls"),
    ];
    text.push_str("\nNext\n");
    let width = offhook.chars().count() + 16;
    for (command, what) in next {
        let command = format!("{offhook} {command}");
        text.push_str(&format!("  {command:width$}{what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(listening: &str) -> Welcome {
        Welcome {
            listening: vec![listening.into()],
            lines: Vec::new(),
            token: None,
            token_file: "data/token".into(),
            api: "http://127.0.0.1:8080".into(),
            made_certificate: false,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_node_on_all_interfaces_says_what_to_enter_into_a_phone() {
        let address = "198.51.100.7".parse().ok();
        let said = greeting(&welcome("sip udp 0.0.0.0:5060"), address, "offhook");
        assert!(said.contains("Phones in this network reach it at 198.51.100.7\n"), "{said}");
        let said = greeting(&welcome("sip udp 127.0.0.1:5060"), address, "offhook");
        assert!(!said.contains("198.51.100.7"), "{said}");
    }

    #[test]
    fn what_the_site_lacks_is_told_with_its_hint() {
        let lost =
            "emergency calls of tenant default lead nowhere: no peer takes 112; hint: add it".to_string();
        let said =
            greeting(&Welcome { warnings: vec![lost], ..welcome("sip udp 0.0.0.0:5060") }, None, "offhook");
        assert!(said.contains("\n\nwarning: emergency calls of tenant default lead nowhere"), "{said}");
        assert!(said.contains("takes 112\nhint: add it\n\nNext\n"), "{said}");
    }

    #[test]
    fn what_comes_next_can_be_copied() {
        let said = greeting(&welcome("sip udp 0.0.0.0:5060"), None, "target/release/offhook");
        assert!(said.contains("\n  target/release/offhook try            make a test call"), "{said}");
    }
}

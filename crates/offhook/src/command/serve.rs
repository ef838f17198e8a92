//! `offhook serve`: the node itself, and what a person is told when it is up.

use std::path::Path;

use offhook_node::{ServeOptions, Welcome, config::Config};

use crate::{cli::ServeArgs, failure::Failure, output};

/// Runs a node until it is told to stop.
pub fn run(config: Option<&Path>, args: &ServeArgs) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    for warning in loaded.config.warnings() {
        output::note(&format!("warning: {warning}"));
    }
    let options = ServeOptions { demo: args.demo };
    offhook_node::run(loaded.config, options, |welcome| {
        // A node whose standard output is closed still serves.
        let _ = output::print(&greeting(welcome));
    })
    .map_err(|error| Failure::new(error.to_string(), error.hint()))
}

fn greeting(welcome: &Welcome) -> String {
    let mut text = String::from("Offhook is up.\n\nListening on\n");
    for listener in &welcome.listening {
        text.push_str(&format!("  {listener}\n"));
    }
    text.push_str(&format!("  {} (API, SIP over WebSocket at /sip)\n", welcome.api));
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
    text.push_str(
        "\nNext\n  offhook try                make a test call through this node\n  \
         offhook line add NAME      add a line for a phone\n  \
         offhook registrations      see which phones are there\n  \
         offhook calls              watch the calls\n",
    );
    text
}

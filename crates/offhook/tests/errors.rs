//! What people read when a command cannot be carried out, and the exit codes that scripts see.
#![allow(missing_docs, reason = "tests are sentences")]

use std::{
    path::Path,
    process::{Command, Output},
};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_offhook"))
            .args(arguments)
            .current_dir(self.path())
            .env_remove("OFFHOOK_TOKEN")
            .output()
            .unwrap()
    }

    /// The exit code and what was complained of.
    fn complaint(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty(), "complaints go to standard error");
        format!("exit {}\n{text}", output.status.code().unwrap())
    }
}

#[test]
fn without_a_token_the_hint_is_to_start_the_node() {
    insta::assert_snapshot!(Place::new().complaint(&["calls"]));
}

#[test]
fn without_a_node_the_hint_is_to_start_it() {
    let place = Place::new();
    place.file("data/token", "offhook_x\n");
    // A port that was free a moment ago and is not listened on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let complaint = place.complaint(&["line", "list", "--url", &format!("http://127.0.0.1:{port}")]);
    insta::assert_snapshot!(complaint.replace(&port.to_string(), "PORT"));
}

#[test]
fn a_token_is_never_sent_in_clear() {
    let place = Place::new();
    place.file("data/token", "offhook_x\n");
    insta::assert_snapshot!(place.complaint(&["status", "--url", "http://node.example.org:8080"]));
}

#[test]
fn a_url_that_is_none_is_a_wrong_command_line() {
    let place = Place::new();
    place.file("data/token", "offhook_x\n");
    for command in [&["status"][..], &["line", "list"], &["token", "list"]] {
        let complaint = place.complaint(&[command, &["--url", "foo"]].concat());
        assert_eq!(
            complaint,
            "exit 2\nerror: --url foo: not an address of a node\nhint: write it like http://127.0.0.1:8080\n"
        );
    }
    let complaint = place.complaint(&["line", "set", "101"]);
    assert!(complaint.starts_with("exit 2\nerror: nothing to change"), "{complaint}");
}

/// Goal: every wrong value of a file is told with what is allowed there.
#[test]
fn a_wrong_address_is_told_what_is_allowed() {
    let place = Place::new();
    for (text, wanted) in [
        ("[http]\nlisten = \"localhost:80\"\n", "hint: allowed: an IPv4 address"),
        ("[media]\nadvertise = \"here\"\n", "hint: allowed: an IPv4 or IPv6 address"),
        ("[media]\nanchor = \"yes\"\n", "hint: allowed: true or false"),
        ("[sip]\nlisten = [5060]\n", "hint: allowed: \"transport://address:port\""),
    ] {
        place.file("offhook.toml", text);
        let complaint = place.complaint(&["config", "check"]);
        assert!(complaint.contains(wanted) && complaint.starts_with("exit 3\n"), "{complaint}");
        assert!(!complaint.contains("invalid") && !complaint.contains("syntax"), "{complaint}");
    }
}

#[test]
fn a_configuration_without_sip_listeners_is_sound_with_a_warning() {
    let place = Place::new();
    place.file("offhook.toml", "[sip]\nlisten = []\n");
    let output = place.run(&["config", "check"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("warning: sip.listen: empty: phones reach the node by SIP over WebSocket"),
        "{said}"
    );
    place.file("offhook.toml", "[sip]\nlisten = []\n[http]\nwebsocket_sip = false\n");
    assert!(place.complaint(&["config", "check"]).contains("nothing listens for SIP"));
}

/// Goal: a broken certificate is found before the node is started with it, by the check and by the start alike.
#[test]
fn certificates_and_keys_are_read_by_the_check() {
    let place = Place::new();
    place.file("own.crt", "no certificate\n");
    place.file("own.key", "no key\n");
    place.file(
        "offhook.toml",
        "[tls]\ncertificate = \"own.crt\"\nkey = \"own.key\"\nauthorities = \"own.crt\"\n",
    );
    let complaint = place.complaint(&["config", "check"]);
    assert_eq!(place.complaint(&["serve"]), complaint);
    insta::assert_snapshot!(complaint);
}

#[test]
fn what_signals_do_is_said_as_it_is() {
    let help = String::from_utf8(Place::new().run(&["serve", "--help"]).stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("A second signal ends them, a third one stops the node at once"), "{help}");
}

#[test]
fn a_wrong_configuration_is_shown_in_place_by_every_command() {
    let place = Place::new();
    place.file("offhook.toml", "[media]\nport = \"20000-29999\"\n");
    let check = place.complaint(&["config", "check"]);
    assert_eq!(place.complaint(&["serve"]), check);
    insta::assert_snapshot!(check);
}

#[test]
fn a_missing_configuration_file_is_named() {
    insta::assert_snapshot!(Place::new().complaint(&["config", "check", "--config", "nowhere.toml"]));
}

#[test]
fn unmasking_without_a_reason_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let output = place.run(&["trace", "--unmask"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--reason"));
}

#[test]
fn a_sound_configuration_is_said_to_be_so_and_shown_whole() {
    let place = Place::new();
    assert!(place.run(&["config", "check"]).status.success());
    place.file("offhook.toml", "[media]\nports = \"30000-30999\"\n");
    let check = String::from_utf8(place.run(&["config", "check"]).stdout).unwrap();
    assert_eq!(check, "offhook.toml: sound\n");
    let shown = String::from_utf8(place.run(&["config", "show"]).stdout).unwrap();
    assert!(shown.contains("ports = \"30000-30999\"") && shown.contains("[limits]"), "{shown}");
    place.file("shown.toml", &shown);
    assert!(place.run(&["config", "check", "--config", "shown.toml"]).status.success());
}

#[test]
fn token_show_prints_the_local_token_alone() {
    let place = Place::new();
    place.file("data/token", "offhook_x\n");
    assert_eq!(place.run(&["token", "show"]).stdout, b"offhook_x\n");
}

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

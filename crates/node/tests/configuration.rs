//! What an operator reads when `offhook.toml` is wrong, and what is in force when there is none.
#![allow(missing_docs, reason = "tests are sentences")]

use std::path::Path;

use offhook_node::config::{Config, reference_markdown, show};

fn complaint_about(text: &str) -> String {
    Config::parse(text, Path::new("offhook.toml")).expect_err("this configuration is wrong").to_string()
}

#[test]
fn an_empty_file_is_the_embedded_defaults() {
    assert_eq!(Config::parse("", Path::new("offhook.toml")).unwrap(), Config::default());
}

#[test]
fn the_defaults_listen_where_phones_expect_a_server() {
    let config = Config::default();
    let listeners: Vec<String> =
        config.sip.listen.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(
        listeners,
        [
            "udp://0.0.0.0:5060",
            "udp://[::]:5060",
            "tcp://0.0.0.0:5060",
            "tcp://[::]:5060",
            "tls://0.0.0.0:5061",
            "tls://[::]:5061"
        ]
    );
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.media.ports.to_string(), "20000-49999");
    assert!(config.warnings().is_empty());
}

#[test]
fn what_show_prints_reads_back_as_the_same_configuration() {
    let text = r#"
        [sip]
        listen = ["udp://192.0.2.1:5060", { address = "tls://[::]:5061", advertise = "sip.example.org:443" }]
        [push]
        webhook = "https://push.example.org/wake"
    "#;
    let config = Config::parse(text, Path::new("offhook.toml")).unwrap();
    assert_eq!(Config::parse(&show(&config), Path::new("shown.toml")).unwrap(), config);
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    insta::assert_snapshot!(complaint_about("[media]\nports = \"20000-29999\"\nsilense_secs = 30\n"));
}

#[test]
fn an_unknown_section_is_shown_with_the_nearest_one() {
    insta::assert_snapshot!(complaint_about("[limit]\ncalls = 30\n"));
}

#[test]
fn a_number_out_of_range_is_shown_with_its_range() {
    insta::assert_snapshot!(complaint_about("[sip]\nring_secs = 900\n"));
}

#[test]
fn a_word_instead_of_a_number_is_shown_in_place() {
    insta::assert_snapshot!(complaint_about("[limits]\n\tcalls = \"many\"\n"));
}

#[test]
fn an_unknown_transport_is_shown_with_the_known_ones() {
    insta::assert_snapshot!(complaint_about(
        "[sip]\nlisten = [\"udp://0.0.0.0:5060\", \"sctp://0.0.0.0:5060\"]\n"
    ));
}

#[test]
fn a_slip_in_a_listener_table_is_shown_in_place() {
    insta::assert_snapshot!(complaint_about(
        "[sip]\nlisten = [{ address = \"udp://0.0.0.0:5060\", advertize = \"x\" }]\n"
    ));
}

#[test]
fn a_listener_of_the_wrong_kind_is_told_both_forms() {
    insta::assert_snapshot!(complaint_about("[sip]\nlisten = [5060]\n"));
}

#[test]
fn an_unknown_word_is_shown_with_the_known_ones() {
    insta::assert_snapshot!(complaint_about("[log]\nlevel = \"debig\"\n"));
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(complaint_about("[sip\nring_secs = 30\n"));
}

#[test]
fn all_contradictions_are_reported_at_once() {
    let text = "[sip]\nlisten = [\"udp://0.0.0.0:5060\", \"udp://0.0.0.0:5060\", \"udp://0.0.0.0:20000\"]\n\
                ring_secs = 60\nno_answer_secs = 30\n\n[tls]\ncertificate = \"/nowhere/node.pem\"\n\n\
                [limits]\nexpires_min_secs = 7200\n";
    insta::assert_snapshot!(complaint_about(text));
}

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    let page = reference_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reference/configuration.md is old: run UPDATE_DOCS=1 cargo test -p offhook-node"
    );
}

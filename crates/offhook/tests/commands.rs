//! The commands against the real API and store; the node behind it only remembers.
#![allow(missing_docs, reason = "tests are sentences")]

#[path = "../../api/tests/support/mod.rs"]
mod support;

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use offhook_api::control::{Direction, TracedMessage};
use offhook_base::{DataSubject, Personal, UtcMillis};
use offhook_switch::{directory::LineId, record::EndCause, summary::RegistrationSummary};
use serde_json::Value;
use support::{NOW, World};

/// What a command said and how it ended.
struct Ended {
    code: i32,
    out: String,
    complaint: String,
}

/// Runs the program against `world`, with `input` on its standard input.
async fn offhook(world: &Arc<World>, arguments: &[&str], input: &str) -> Ended {
    let (url, token) = (format!("http://{}", world.address), world.token.clone());
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let input = input.to_string();
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_offhook"))
            .args(arguments)
            .args(["--url", &url])
            .env("OFFHOOK_TOKEN", token)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8(output.stderr).unwrap(),
        }
    })
    .await
    .unwrap()
}

/// Runs a command that must succeed; what it printed.
async fn done(world: &Arc<World>, arguments: &[&str]) -> String {
    let ended = offhook(world, arguments, "").await;
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.complaint);
    ended.out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_added_listed_changed_reset_and_removed() {
    let world = Arc::new(World::new().await);
    let password = done(&world, &["line", "add", "101", "--display-name", "Anna"]).await;
    assert_eq!(password.lines().count(), 1, "the password stands alone on standard output");
    let ended = offhook(&world, &["line", "add", "102", "--password-stdin"], "a-long-password\n").await;
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{}", ended.complaint);
    done(&world, &["line", "set", "102", "--may-call", "outside", "--enabled", "false"]).await;
    insta::assert_snapshot!(done(&world, &["line", "list"]).await);
    assert_ne!(done(&world, &["line", "reset-password", "101"]).await, password);
    done(&world, &["line", "set", "101", "--display-name", ""]).await;
    done(&world, &["line", "remove", "102"]).await;
    let lines: Value = serde_json::from_str(&done(&world, &["line", "list", "--json"]).await).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), 1);
    assert_eq!(lines[0]["display_name"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_values_are_all_named_and_the_exit_code_is_1() {
    let world = Arc::new(World::new().await);
    let ended = offhook(&world, &["line", "add", "a b", "--calls-max", "0"], "").await;
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!(ended.complaint);
    let ended = offhook(&world, &["line", "set", "999", "--calls-max", "3"], "").await;
    insta::assert_snapshot!("a_missing_line", ended.complaint);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_tenants_users_and_devices_have_the_same_verbs() {
    let world = Arc::new(World::new().await);
    let commands: [&[&str]; 8] = [
        &["tenant", "add", "acme", "--domain", "acme.example"],
        &["tenant", "set", "acme", "--domain", "acme.example", "--domain", "acme.test"],
        &["user", "add", "anna", "--full-name", "Anna Example"],
        &["user", "set", "anna", "--full-name", "Anna Muster"],
        &["line", "add", "101", "--user", "anna", "--password", "a-long-password"],
        &["device", "add", "desk", "--kind", "desk phone", "--line", "101"],
        &[
            "peer",
            "add",
            "carrier",
            "--host",
            "sip.example.net",
            "--source",
            "192.0.2.0/24",
            "--prefix",
            "+49",
        ],
        &["peer", "set", "carrier", "--transport", "tls", "--port", "5061"],
    ];
    for command in commands {
        done(&world, command).await;
    }
    let mut lists = String::new();
    for kind in ["tenant", "user", "device", "peer"] {
        lists.push_str(&done(&world, &[kind, "list"]).await);
        lists.push('\n');
    }
    insta::assert_snapshot!(lists);
    let removals: [&[&str]; 4] = [
        &["peer", "remove", "carrier"],
        &["device", "remove", "desk"],
        &["line", "remove", "101"],
        &["user", "remove", "anna"],
    ];
    for command in removals {
        done(&world, command).await;
    }
    done(&world, &["tenant", "remove", "acme"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_shown_before_it_is_applied() {
    let world = Arc::new(World::new().await);
    let site = "[tenants.default.lines.101]\ngenerate = true\n";
    let asked = offhook(&world, &["apply", "-"], site).await;
    assert_eq!((asked.code, asked.out.as_str()), (1, "+ line 101@default\n"));
    assert!(asked.complaint.contains("--yes"), "{}", asked.complaint);
    let looked = offhook(&world, &["apply", "-", "--dry-run"], site).await;
    assert_eq!(looked.out, "+ line 101@default\nNothing was changed.\n");
    let applied = offhook(&world, &["apply", "-", "--yes"], site).await;
    assert!(
        applied.out.contains("Applied: 1 change.") && applied.out.contains("101@default"),
        "{}",
        applied.out
    );
    let again = offhook(&world, &["apply", "-", "--yes"], site).await;
    assert_eq!(again.out, "Nothing to do: all is as the file says.\n");
    let broken = offhook(&world, &["apply", "-"], "[tenants.default.lines.101]\ncals_max = 3\n").await;
    insta::assert_snapshot!(broken.complaint);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_a_table_or_json_and_one_is_hung_up() {
    let world = Arc::new(World::new().await);
    assert_eq!(done(&world, &["calls"]).await, "There are no calls.\n");
    let call = world.call(1);
    let table = done(&world, &["calls"]).await;
    assert!(table.contains(call.as_str()) && table.contains("101@example.org"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let json: Value = serde_json::from_str(&done(&world, &["calls", "--json"]).await).unwrap();
    assert_eq!(json[0]["phase"], "established");
    done(&world, &["calls", "--hang-up", call.as_str()]).await;
    assert_eq!(*world.node.hung_up.lock().unwrap(), [call]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_exported_over_many_pages_with_one_heading() {
    let world = Arc::new(World::new().await);
    let records: Vec<_> = (0..1200).map(support::record).collect();
    world.store.write_records(&records).await.unwrap();
    let csv = done(&world, &["records", "--all", "--csv"]).await;
    assert_eq!(csv.lines().count(), 1201);
    assert_eq!(csv.matches("id,tenant,caller").count(), 1);
    let json: Value = serde_json::from_str(&done(&world, &["records", "--all", "--json"]).await).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1200);
    insta::assert_snapshot!(done(&world, &["records", "--limit", "2"]).await);
    assert_eq!(done(&world, &["records", "--cause", "busy"]).await, "There are no such records.\n");
}

/// Goal: a value that cannot be one is a wrong command line, told by the option's name and with what is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_one_is_a_wrong_command_line() {
    let world = Arc::new(World::new().await);
    let cases: [(&[&str], &str); 4] = [
        (
            &["records", "--cause", "busi"],
            "--cause: unknown word `busi`\nhint: did you mean `busy`? allowed: hung_up",
        ),
        (&["records", "--from", "yesterday"], "--from: allowed are 2026-11-22"),
        (&["trace", "--call", "x"], "--call: not a call id"),
        (&["calls", "--hang-up", "x"], "--hang-up: not a call id"),
    ];
    for (arguments, wanted) in cases {
        let ended = offhook(&world, arguments, "").await;
        assert_eq!(ended.code, 2, "{}", ended.complaint);
        assert!(ended.complaint.contains(wanted), "{}", ended.complaint);
        assert!(!ended.complaint.contains("/api/"), "{}", ended.complaint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_there_is_no_empty_list() {
    let world = Arc::new(World::new().await);
    done(&world, &["line", "add", "101"]).await;
    let cases: [(&[&str], &str); 6] = [
        (&["registrations", "--tenant", "defalt"], "there is no tenant defalt\nhint: did you mean default?"),
        (&["calls", "--tenant", "x"], "there is no tenant x\nhint: `offhook tenant list` shows all"),
        (&["records", "--line", "109"], "there is no line 109@default\nhint: did you mean 101?"),
        (&["trace", "--line", "109"], "there is no line 109@default\nhint: did you mean 101?"),
        (
            &["trace", "--peer", "carrier"],
            "there is no peer carrier@default\nhint: `offhook peer list` shows all",
        ),
        (&["line", "list", "--tenant", "x"], "there is no tenant x"),
    ];
    for (arguments, wanted) in cases {
        let ended = offhook(&world, arguments, "").await;
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{arguments:?}: {}", ended.complaint);
        assert!(ended.complaint.contains(wanted), "{}", ended.complaint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emergency_calls_that_lead_nowhere_are_told() {
    let world = Arc::new(World::new().await);
    let ended = offhook(&world, &["line", "add", "112"], "").await;
    assert_eq!(ended.code, 0);
    assert!(ended.complaint.contains("warning: 112 is an emergency number"), "{}", ended.complaint);
    assert!(ended.complaint.contains("\nhint: give it another name"), "{}", ended.complaint);
    let site = "[tenants.default.lines.101]\ngenerate = true\n";
    let looked = offhook(&world, &["apply", "-", "--dry-run"], site).await;
    let lost = "warning: emergency calls of tenant default lead nowhere: no peer takes 112, 110, 911\nhint: ";
    assert!(looked.complaint.contains(lost), "{}", looked.complaint);
    let status = offhook(&world, &["status"], "").await;
    assert!(status.complaint.contains(lost), "{}", status.complaint);
    let whole = "[tenants.default.peers.carrier]\nhost = \"sip.example.net\"\nprefixes = [\"\"]\n";
    let looked = offhook(&world, &["apply", "-", "--dry-run"], whole).await;
    assert!(!looked.complaint.contains("lead nowhere"), "{}", looked.complaint);
}

/// Goal: at 80 columns every row is one line; `--wide` shows all of it.
#[tokio::test(flavor = "multi_thread")]
async fn tables_keep_to_80_columns_and_wide_ones_show_all() {
    let world = Arc::new(World::new().await);
    let call = world.call(1);
    let mut record = Arc::unwrap_or_clone(support::record(1));
    let long =
        Personal::new("sip:+493012345678901@voice.customer.example.org".to_string(), DataSubject::Caller);
    (record.caller, record.cause) = (long.clone(), EndCause::NotRegistered);
    world.store.write_records(&[Arc::new(record)]).await.unwrap();
    world.node.calls.lock().unwrap()[0].caller = long;
    // Far ahead, so that its age is 0:00 whenever this runs.
    world.node.calls.lock().unwrap()[0].started = UtcMillis(NOW.0 * 2);
    world.node.registrations.lock().unwrap().push(RegistrationSummary {
        line: LineId(1),
        tenant: "default".into(),
        name: "101".into(),
        contact: Personal::new(
            "sip:101-0x55d0c8@[2001:db8:1:2:3:4:5:6]:5060;transport=tcp".into(),
            DataSubject::Subscriber,
        ),
        remote: Personal::new("[2001:db8:1:2:3:4:5:6]:40000".into(), DataSubject::Subscriber),
        transport: "tcp".into(),
        user_agent: Some("Linphone Desktop/5.0.2 (Debian GNU/Linux 12)".into()),
        expires: NOW,
        q_millis: 500,
    });
    let mut tables = String::new();
    for command in ["calls", "records", "registrations"] {
        let table = done(&world, &[command]).await;
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        tables.push_str(&table);
        let wide = done(&world, &[command, "--wide"]).await;
        assert!(!wide.contains('…') && wide.lines().count() == 2, "{wide}");
    }
    insta::assert_snapshot!(tables.replace(call.as_str(), "01M8248NEFJ51WEHF6GS2ZYB74"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_says_that_the_node_has_stopped() {
    let world = Arc::new(World::new().await);
    let watching = tokio::spawn({
        let world = Arc::clone(&world);
        async move { offhook(&world, &["trace"], "").await }
    });
    let _sender = loop {
        if let Some((_, sender)) = world.node.traces.lock().unwrap().pop() {
            break sender;
        }
        tokio::task::yield_now().await;
    };
    world.stop();
    let ended = watching.await.unwrap();
    assert_eq!(ended.code, 0);
    assert_eq!(ended.complaint, "Watching; Ctrl-C ends it.\nThe trace ends: the node has stopped.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_printed_masked_and_steers_no_terminal() {
    let world = Arc::new(World::new().await);
    done(&world, &["line", "add", "101"]).await;
    let watching = tokio::spawn({
        let world = Arc::clone(&world);
        async move { done(&world, &["trace", "--line", "101"]).await }
    });
    let sender = loop {
        if let Some((_, sender)) = world.node.traces.lock().unwrap().pop() {
            break sender;
        }
        tokio::task::yield_now().await;
    };
    let text = "OPTIONS sip:anna@example.org SIP/2.0\r\nServer: x\u{1b}[2J\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let message = TracedMessage {
        at: NOW,
        direction: Direction::Received,
        transport: "udp".into(),
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: Personal::new("198.51.100.7:5060".parse().unwrap(), DataSubject::RemoteParty),
        call: None,
        text: Personal::new(text.into(), DataSubject::RemoteParty),
    };
    sender.send(message).await.unwrap();
    drop(sender);
    insta::assert_snapshot!(watching.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_drain_and_tokens_answer() {
    let world = Arc::new(World::new().await);
    insta::assert_snapshot!(done(&world, &["status"]).await);
    done(&world, &["drain"]).await;
    let made = done(&world, &["token", "add", "backup"]).await;
    assert!(made.starts_with("offhook_"));
    assert_eq!(done(&world, &["token", "list"]).await.lines().count(), 3);
    done(&world, &["token", "remove", "backup"]).await;
    done(&world, &["token", "replace"]).await;
    let refused = offhook(&world, &["status"], "").await;
    assert_eq!(refused.code, 5, "{}", refused.complaint);
    insta::assert_snapshot!("a_void_token", refused.complaint);
}

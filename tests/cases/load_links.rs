//! What `offhook load` is linked with: addresses of its own, connections that break, other instances.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use offhook_e2e::{
    load::{Player, program, scenario_arguments},
    ports,
    process::Running,
    wait,
};
use tempfile::TempDir;

/// Starts a player with a scenario.
fn start(directory: &TempDir, player: Player, scenario: &str, more: &[&str]) -> Running {
    let mut command = program(player);
    command.current_dir(directory.path()).args(scenario_arguments(scenario));
    command.args(["-i", "127.0.0.1", "-nostdin", "-timeout", "30s", "-timeout_error"]);
    command.args(["-cp", &ports::free().to_string()]).args(more);
    Running::start(scenario, command, directory.path())
}

fn code(running: &mut Running) -> Option<i32> {
    running.wait(wait::PATIENCE * 3).and_then(|status| status.code())
}

#[test]
fn an_instance_is_told_by_the_one_that_the_scenario_names() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let names = [("m", "several_master"), ("s1", "several_first"), ("s2", "several_second")];
    let listens = names.map(|_| ports::free());
    let lines = names.iter().zip(listens).map(|((name, _), port)| format!("{name};127.0.0.1:{port}\n"));
    fs::write(directory.path().join("all"), lines.collect::<String>()).expect("a file");
    let mut running = Vec::new();
    for ((name, scenario), listens) in names.into_iter().zip(listens).rev() {
        let (phone, own) = (ports::free(), ports::free());
        let answers = ["-p", &phone.to_string(), "-m", "1"];
        let answering = start(&directory, Player::Sipp, "options_callee", &answers);
        wait::until("the phone listens", || ports::is_open(phone).then_some(()));
        let role = if name == "m" { "-master" } else { "-slave" };
        let (remote, log) = (format!("127.0.0.1:{phone}"), format!("{name}.log"));
        let traces = ["-slave_cfg", "all", "-trace_logs", "-log_file", &log, "-p", &own.to_string()];
        let arguments = [&[role, name, "-m", "1", &remote][..], &traces].concat();
        running.extend([start(&directory, Player::Ours, scenario, &arguments), answering]);
        wait::until("it listens", || (name == "m" || ports::is_open(listens)).then_some(()));
    }
    for one in &mut running {
        let found = code(one);
        assert_eq!(found, Some(0), "{one:?} {}", one.output());
    }
    let told = ["m", "s1", "s2"].map(|name| fs::read_to_string(directory.path().join(format!("{name}.log"))));
    let told = told.map(|log| log.expect("there is a log").trim().to_string());
    assert_eq!(told, ["told one more still", "told one", "told one more"]);
}

#[test]
fn calls_leave_from_the_addresses_of_their_lines() {
    use Player::{Ours, Sipp};
    thread::scope(|scope| {
        for (caller, workers) in [(Sipp, None), (Ours, Some("1")), (Ours, Some("2"))] {
            scope.spawn(move || {
                let directory = tempfile::tempdir().expect("a temporary directory");
                let lines = "SEQUENTIAL\nalice;127.0.0.2\nbob;127.0.0.3\n";
                fs::write(directory.path().join("addresses.csv"), lines).expect("a file");
                let (at, from) = (ports::free(), ports::free().to_string());
                let answers = ["-p", &at.to_string(), "-m", "4", "-trace_msg", "-message_file", "messages"];
                let mut callee = start(&directory, Ours, "-sn uas", &answers);
                wait::until("the callee listens", || ports::is_open(at).then_some(()));
                let remote = format!("127.0.0.1:{at}");
                let by_address = [
                    "-t",
                    "ui",
                    "-max_socket",
                    "100",
                    "-inf",
                    "addresses.csv",
                    "-ip_field",
                    "1",
                    "-p",
                    &from,
                ];
                let mut arguments = [&[&*remote, "-m", "4", "-r", "4", "-l", "4"][..], &by_address].concat();
                arguments.extend(workers.iter().flat_map(|count| ["--workers", count]));
                let mut calling = start(&directory, caller, "-sn uac", &arguments);
                assert_eq!(code(&mut calling), Some(0), "{caller:?}: {}", calling.output());
                assert_eq!(code(&mut callee), Some(0), "{}", callee.output());
            });
        }
    });
}

/// Answers one request on each connection and hangs up.
fn forgetful_server(listener: &TcpListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while !text.contains("\r\n\r\n") {
            let count = stream.read(&mut buffer).expect("a request comes");
            assert!(count > 0, "the connection ends after {text:?}");
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
        let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let kept = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        let kept: Vec<&str> = kept.collect();
        let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"));
        stream.write_all(answer.as_bytes()).expect("it is sent");
    }
}

#[test]
fn a_connection_that_breaks_is_opened_again_as_often_as_asked_for() {
    thread::scope(|scope| {
        for (reconnects, calls, wanted) in [("3", "3", 0), ("1", "3", 1)] {
            scope.spawn(move || {
                let directory = tempfile::tempdir().expect("a temporary directory");
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let remote = listener.local_addr().expect("it is bound").to_string();
                let own = ports::free().to_string();
                let again = ["-t", "t1", "-max_reconnect", reconnects, "-reconnect_sleep", "10"];
                let arguments = [&[&*remote, "-m", calls, "-r", "1", "-p", &own][..], &again].concat();
                let mut caller = start(&directory, Player::Ours, "options_caller", &arguments);
                let connections = if wanted == 0 { 3 } else { 2 };
                forgetful_server(&listener, connections);
                drop(listener);
                assert_eq!(code(&mut caller), Some(wanted), "{reconnects}: {}", caller.output());
            });
        }
    });
}

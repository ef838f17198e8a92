//! Media ports of `offhook load`: which ones calls describe, and what becomes of those that somebody else has.

use std::{fs, net::UdpSocket, path::Path, process::Output, thread};

use offhook_e2e::{
    load::{Player, changed, program, scenario_arguments},
    ports,
    process::Running,
    wait,
};

/// Loopback without the callee's options.
const HERE: [&str; 3] = ["-i", "127.0.0.1", "-nostdin"];

/// A callee of ours that sends back what it hears, and where it is.
fn echo(directory: &Path) -> (Running, String, ports::Block) {
    let (port, media) = (ports::free(), ports::phone_media());
    let mut callee = program(Player::Ours);
    callee.args(HERE).args(["-sn", "uas", "-rtp_echo", "-p", &port.to_string()]);
    callee.args(["-mp", &media.first.to_string()]);
    let callee = Running::start("callee", callee, directory);
    wait::until("the callee listens", || ports::is_open(port).then_some(()));
    (callee, format!("127.0.0.1:{port}"), media)
}

/// Calls three times with the media port `media`, all at once. Returns the ports that were described besides.
fn call(player: Player, caller: &str, remote: &str, media: u16, requires: &[&str]) -> (Output, Vec<u16>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("sound.raw"), [0x90; 8000]).expect("a file");
    let mut command = program(player);
    command.current_dir(directory.path()).args(HERE).args(scenario_arguments(caller)).arg(remote);
    command.args(["-m", "3", "-r", "30", "-l", "3", "-mp", &media.to_string()]);
    command.args(["-p", &ports::free().to_string(), "-cp", &ports::free().to_string()]);
    command.args(["-trace_msg", "-message_file", "messages", "-timeout", "30s", "-timeout_error"]);
    command.args(requires.iter().flat_map(|text| ["--require", text]));
    let output = command.output().expect("it runs");
    let messages = fs::read_to_string(directory.path().join("messages")).unwrap_or_default();
    let (mut ports, mut is_ours) = (Vec::new(), false);
    for line in messages.lines() {
        is_ours = line.starts_with("INVITE ") || is_ours && !line.starts_with("SIP/2.0 ");
        let port = line.strip_prefix("m=audio ").and_then(|rest| rest.split(' ').next());
        ports.extend(port.filter(|_| is_ours).map(|port| port.parse::<u16>().expect("a port")));
    }
    ports.sort_unstable();
    (output, ports)
}

/// Goal: `[auto_media_port]` is SIPp's. Where sound leaves from these ports, one that another program has is passed over, the
/// next call's with it, and nobody's sound is lost.
#[test]
fn calls_have_ports_of_their_own_and_pass_over_those_of_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_callee, remote, _media) = echo(directory.path());
    let own = ("[rtpstream_audio_port]", "[auto_media_port]");
    let sound = "<nop><action><exec rtp_stream=\"sound.raw,1,0\"/></action></nop>";
    let silent = changed(directory.path(), "streams_caller", "silent", &[own, (sound, "")]);
    let heard = changed(directory.path(), "streams_caller", "heard", &[own]);
    let check = |player, caller, taken: bool, shifts: [u16; 3], requires: &[&str]| {
        let media = ports::phone_media();
        // That of the second call.
        let _other = taken.then(|| UdpSocket::bind(("127.0.0.1", media.first + 4)).expect("it is free"));
        let (output, described) = call(player, caller, &remote, media.first, requires);
        assert!(output.status.success(), "{player:?} {taken}: {output:?}");
        assert_eq!(described, shifts.map(|shift| media.first + shift), "{player:?} {taken}");
    };
    let all = ["streams == 3", "rtp_sent == 150", "rtp_received == 150"];
    thread::scope(|scope| {
        scope.spawn(|| check(Player::Sipp, silent, false, [0, 4, 8], &[]));
        scope.spawn(|| check(Player::Ours, silent, true, [0, 4, 8], &[]));
        scope.spawn(|| check(Player::Ours, heard, false, [0, 4, 8], &all));
        scope.spawn(|| check(Player::Ours, heard, true, [0, 8, 12], &all));
    });
}

/// Goal: a port given with `-mp` that cannot be had ends the run before the first call, with SIPp's exit code.
#[test]
fn a_media_port_that_somebody_has_is_told_before_the_first_call() {
    for player in [Player::Sipp, Player::Ours] {
        for shift in [0, 2] {
            let media = ports::phone_media();
            let taken = media.first + shift;
            let _other = UdpSocket::bind(("127.0.0.1", taken)).expect("it is free");
            let mut command = program(player);
            command.args(HERE).args(["-sn", "uas", "-rtp_echo", "-mp", &media.first.to_string()]);
            command.args(["-p", &ports::free().to_string(), "-cp", &ports::free().to_string()]);
            let output = command.args(["-timeout", "20"]).output().expect("it runs");
            assert_eq!(output.status.code(), Some(254), "{player:?} {output:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(&taken.to_string()) && said.to_lowercase().contains("in use"), "{said}");
        }
    }
    // Nothing leaves from it, and nothing comes to it: it is a number.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_callee, remote, media) = echo(directory.path());
    let (output, _) = call(Player::Ours, "plain_caller", &remote, media.first, &[]);
    assert!(output.status.success(), "{output:?}");
}

//! `offhook load convert` and `offhook load from-pcap`: scenarios from one form to the other, and from a captured call.

use std::fs;

use super::{Refusal, exit, terminal};
use crate::{
    captured,
    media::capture,
    scenario::{built_in, read::tree, write, xml::Element, yaml},
};

/// The tools by their names.
pub const NAMES: [&str; 2] = ["convert", "from-pcap"];

const CONVERT_USAGE: &str = "\
Write a scenario in the other form, SIPp's XML or YAML

Usage: offhook load convert FROM TO

FROM is a file or the name of a built-in scenario; the form of TO is that of its
name: .xml, .yaml or .yml. Comments are not kept.

Examples:
  offhook load convert register.xml register.yaml
  offhook load convert uac mine.yaml
";
const CAPTURE_USAGE: &str = "\
Make a caller and a callee out of a captured call

Usage: offhook load from-pcap CAPTURE CALLER CALLEE [--call NUMBER]

CAPTURE is a pcap or pcapng file with SIP over UDP; the forms of CALLER and CALLEE
are those of their names: .xml, .yaml or .yml. Numbers, names, addresses, keys and
tones are not taken over, sound is not either; what stays are methods, codes,
codecs, times and the headers that say what phones can do. Headers that were left
out are listed. Without --call it is the first call of the capture.

Examples:
  offhook load from-pcap fault.pcap caller.yaml callee.yaml
  offhook load from-pcap day.pcapng caller.xml callee.xml --call 7
";

/// Does what the tool `name` does with `arguments`.
pub fn run(name: &str, arguments: &[String]) -> Result<u8, Refusal> {
    let usage = if name == "convert" { CONVERT_USAGE } else { CAPTURE_USAGE };
    if arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "-help" | "--help")) {
        return super::print(usage);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match (name, words.as_slice()) {
        ("convert", [from, to]) => convert(from, to),
        ("from-pcap", [capture, caller, callee]) => from_capture(capture, caller, callee, 1),
        ("from-pcap", [capture, caller, callee, "--call", number]) => {
            let number = number.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| Refusal::fatal("--call takes a number, from 1"))?;
            from_capture(capture, caller, callee, number)
        }
        _ => Err(Refusal::fatal(format!(
            "offhook load {name}: these arguments do not fit\nhint: offhook load {name} --help"
        ))),
    }
}

fn convert(from: &str, to: &str) -> Result<u8, Refusal> {
    let text = match built_in::find(from) {
        Some(built_in) => built_in.text.into(),
        None => fs::read(from).map_err(|error| {
            Refusal::fatal(format!("cannot read the scenario {from}: {error}\nhint: check the path"))
        })?,
    };
    let scenario = tree(&text).map_err(|fault| Refusal::fatal(format!("{from}:{fault}")))?;
    save(&scenario, to)
}

fn from_capture(path: &str, caller: &str, callee: &str, number: usize) -> Result<u8, Refusal> {
    let file =
        fs::read(path).map_err(|error| Refusal::fatal(format!("cannot read the capture {path}: {error}")))?;
    let datagrams = capture::read(&file).map_err(|error| Refusal::fatal(format!("{path}: {error}")))?;
    let calls = captured::calls(&datagrams);
    let Some(call) = calls.get(number - 1) else {
        let hint = "calls are found by an INVITE over UDP; those over TCP or TLS cannot be read";
        return Err(Refusal::fatal(format!("{path} has {} calls, not {number}\nhint: {hint}", calls.len())));
    };
    let pair = captured::pair(call).ok_or_else(|| {
        Refusal::fatal(format!("{path}: nobody answers in call {number}\nhint: choose another with --call"))
    })?;
    for (scenario, to) in [(&pair.caller, caller), (&pair.callee, callee)] {
        save(scenario, to)?;
    }
    if !pair.left_out.is_empty() {
        let names: Vec<&str> = pair.left_out.iter().map(String::as_str).collect();
        terminal::note(&format!("left out: {}", names.join(", ")));
    }
    if calls.len() > 1 {
        terminal::note(&format!("this is call {number} of {}; --call chooses another", calls.len()));
    }
    Ok(exit::SUCCESS)
}

/// Writes `scenario` in the form that the name of the file asks for.
fn save(scenario: &Element, path: &str) -> Result<u8, Refusal> {
    let text = match path.rsplit_once('.').map(|(_, form)| form) {
        Some("xml") => write::write(scenario),
        Some("yaml" | "yml") => yaml::write(scenario),
        _ => {
            return Err(Refusal::fatal(format!(
                "the name {path} does not say in which form to write\nhint: end it with .xml or .yaml"
            )));
        }
    };
    fs::write(path, text).map_err(|error| Refusal::fatal(format!("cannot write {path}: {error}")))?;
    Ok(exit::SUCCESS)
}

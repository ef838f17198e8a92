//! Scenarios in YAML: the same elements and attributes as in SIPp's XML, written as a call flows.
//!
//! ```yaml
//! name: A call
//! flow:
//!   - send: |
//!       INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
//!       ...
//!     retrans: 500
//!   - recv: 180
//!     optional: true
//!   - recv: 200
//!     rtd: 1
//!     do:
//!       - log: answered by [last_Contact:]
//!   - pause: 2000
//! ```
//!
//! An item's first key is the element, its value is what the element is about ([`about`]); the other keys are attributes,
//! and `do` lists its actions. Both forms become the same [`Element`]s, so each can be turned into the other and nothing
//! is said in one that the other cannot say.
//!
//! [`Element`]: super::xml::Element

mod form;
mod reader;
mod write;

pub use form::read;
pub use write::write;

/// The attribute that stands behind an element's name; `None`: the element is about no single one.
fn about(element: &str) -> Option<&'static str> {
    Some(match element {
        "pause" | "timewait" => "milliseconds",
        "label" => "id",
        "Global" | "User" | "Reference" => "variables",
        "ResponseTimeRepartition" | "CallLengthRepartition" | "jump" | "rtp_echo" => "value",
        "log" | "warning" | "error" => "message",
        "ereg" => "regexp",
        "assign" | "assignstr" | "add" | "subtract" | "multiply" | "divide" | "todouble" | "sample"
        | "gettimeofday" | "trim" | "verifyauth" | "lookup" => "assign_to",
        "test" | "strcmp" | "urlencode" | "urldecode" => "variable",
        "insert" | "replace" => "file",
        _ => return None,
    })
}

/// Elements whose value is the message they send.
fn is_message(element: &str) -> bool {
    matches!(element, "send" | "sendCmd")
}

/// The key of an item's actions.
const ACTIONS: &str = "do";
/// The key of a scenario's name.
const NAME: &str = "name";
/// The key of what a scenario does.
const FLOW: &str = "flow";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{
        Known, built_in,
        read::{self, tree},
        write,
        xml::{Element, to_text},
    };

    /// What of an element matters: places and blanks around lines do not.
    fn gist(element: &Element, into: &mut Vec<String>) {
        let mut attributes: Vec<String> =
            element.attributes.iter().map(|one| format!("{}={:?}", one.name, one.value)).collect();
        attributes.sort();
        let text = to_text(&element.text);
        let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
        into.push(format!("{} {attributes:?} {lines:?}", element.name));
        element.children.iter().for_each(|child| gist(child, into));
        into.push("end".into());
    }

    fn gist_of(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        gist(&tree(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}\n{text}")), &mut lines);
        lines
    }

    #[test]
    fn every_scenario_becomes_yaml_and_xml_again_and_stays_what_it_was() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scenarios/load");
        let files = std::fs::read_dir(directory).expect("the tests' scenarios");
        let files = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a text"));
        let built_in = built_in::ALL.iter().map(|one| one.text.to_string());
        let mut count = 0;
        for xml in files.chain(built_in) {
            let yaml = write(&tree(xml.as_bytes()).expect("it reads"));
            assert_eq!(gist_of(&yaml), gist_of(&xml), "{yaml}");
            let again = write::write(&tree(yaml.as_bytes()).expect("it reads"));
            assert_eq!(gist_of(&again), gist_of(&xml), "{again}");
            count += 1;
        }
        assert!(count > 25, "{count}");
    }

    #[test]
    fn odd_values_come_back_whole() {
        for value in [
            "",
            " a",
            "a: b",
            "a #b",
            "- x",
            "it's",
            "say \"x\"",
            "a\\d+",
            "x\ny",
            "~",
            "null",
            "[field0]",
            "<sip:a>;b",
            "'",
            "a:",
            "{",
            "^SIP/2.0 (.*)$",
            "\t\"'\\",
        ] {
            let mut scenario = tree(b"<scenario><nop/></scenario>").expect("it reads");
            let mut nop =
                tree(b"<nop><action><log message=''/><exec command=''/></action></nop>").expect("it reads");
            for action in &mut nop.children[0].children {
                action.attributes[0].value = value.into();
            }
            scenario.children = vec![nop];
            let mut wanted = Vec::new();
            gist(&scenario, &mut wanted);
            assert_eq!(gist_of(&write(&scenario)), wanted, "{}", write(&scenario));
            assert_eq!(gist_of(&write::write(&scenario)), wanted, "{}", write::write(&scenario));
        }
    }

    #[test]
    fn faults_are_told_where_they_stand_in_the_yaml() {
        for (text, place, words) in [
            ("flow:\n  - recv: 200\n    optionl: true", (3, 5), "`optional`"),
            ("flow:\n  - snd: x", (2, 5), "`send`"),
            ("flow:\n  - send: |\n      BYE sip:a SIP/2.0\n      Call-ID: [call_it]\n", (4, 16), "`call_id`"),
            ("flow:\n  - nop:\n    do:\n      - log: x [call_it]", (4, 16), "`call_id`"),
            ("flow:\n  - nop:\n    do:\n      - asign: 1", (4, 9), "`assign`"),
            ("flow:\n  - recv: 200\n    response: 100", (3, 5), "twice"),
            ("flow:\n  - nop: 5", (2, 10), "no value"),
            ("flow:\n  nop: 5", (2, 3), "a map, not a list"),
            ("flwo:\n  - nop", (1, 1), "flow"),
            ("name: x", (1, 1), "no `flow:`"),
            ("hello", (1, 1), "no scenario"),
            ("flow:\n  - recv: 200\n    next: 7", (3, 5), "label `7`"),
        ] {
            let fault = read::read(text.as_bytes(), &Known::default()).expect_err(text);
            assert_eq!((fault.place.line, fault.place.column), place, "{text}\n{fault}");
            assert!(fault.to_string().contains(words), "{text}\n{fault}");
        }
    }
}

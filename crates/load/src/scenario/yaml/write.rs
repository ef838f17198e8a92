//! Writes a scenario as YAML.

use super::{ACTIONS, FLOW, NAME, about, is_message};
use crate::scenario::xml::{Attribute, Element, to_text};

/// The YAML of a scenario. Comments are not kept: they are no part of what XML is read to.
pub fn write(scenario: &Element) -> String {
    let mut text = String::new();
    for attribute in &scenario.attributes {
        text += &format!("{NAME}: {}\n", word(&attribute.value));
    }
    text += &format!("{FLOW}:\n");
    items(&scenario.children, 2, &mut text);
    text
}

fn items(elements: &[Element], indent: usize, into: &mut String) {
    for element in elements {
        *into += &format!("{:indent$}- {}", "", element.name);
        item(element, indent + 2, into);
    }
}

/// What follows the name of an element.
fn item(element: &Element, indent: usize, into: &mut String) {
    let main = match element.name.as_str() {
        "recv" => element.attributes.iter().find(|attribute| is_recv_value(attribute)),
        name => element.attributes.iter().find(|attribute| Some(attribute.name.as_str()) == about(name)),
    };
    let others = element
        .attributes
        .iter()
        .filter(|attribute| !main.is_some_and(|main| std::ptr::eq(main, *attribute)))
        .collect::<Vec<_>>();
    if is_message(&element.name) && !element.text.is_empty() {
        *into += ": |\n";
        let text = to_text(&element.text);
        for line in text.trim().lines().map(str::trim) {
            let width = if line.is_empty() { 0 } else { indent + 2 };
            *into += &format!("{:width$}{line}\n", "");
        }
    } else if let Some(main) = main {
        *into += &format!(": {}\n", word(&main.value));
    } else if element.name == "init" {
        *into += ":\n";
        items(&element.children, indent, into);
        return;
    } else if element.children.is_empty() && !others.is_empty() {
        let pairs: Vec<String> =
            others.iter().map(|one| format!("{}: {}", one.name, quoted(&one.value))).collect();
        *into += &format!(": {{{}}}\n", pairs.join(", "));
        return;
    } else if element.children.is_empty() {
        into.push('\n');
        return;
    } else {
        *into += ":\n";
    }
    for attribute in others {
        *into += &format!("{:indent$}{}: {}\n", "", attribute.name, word(&attribute.value));
    }
    // Several <action> are done one after the other, as one would be.
    if !element.children.is_empty() {
        *into += &format!("{:indent$}{ACTIONS}:\n", "");
        for action in &element.children {
            items(&action.children, indent + 2, into);
        }
    }
}

/// What stands behind `recv:`, if the reader will know from it which attribute it is.
fn is_recv_value(attribute: &Attribute) -> bool {
    let is_code = !attribute.value.is_empty() && attribute.value.bytes().all(|octet| octet.is_ascii_digit());
    attribute.name == if is_code { "response" } else { "request" }
}

/// A value as it can stand behind a key.
fn word(value: &str) -> String {
    let starts_badly = value
        .starts_with(|first: char| !first.is_alphanumeric() && !"/[$._\\(<;".contains(first))
        || value.starts_with('[');
    let is_odd = value.is_empty()
        || value != value.trim()
        || starts_badly
        || value.contains(": ")
        || value.contains(" #")
        || value.ends_with(':')
        || value.chars().any(char::is_control)
        || matches!(value, "null" | "~");
    if is_odd { quoted(value) } else { value.into() }
}

fn quoted(value: &str) -> String {
    if !value.contains(['\'', '\n', '\r', '\t']) && value.contains(['"', '\\']) {
        return format!("'{value}'");
    }
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' => text += "\\\"",
            '\\' => text += "\\\\",
            '\n' => text += "\\n",
            '\r' => text += "\\r",
            '\t' => text += "\\t",
            other => text.push(other),
        }
    }
    text + "\""
}

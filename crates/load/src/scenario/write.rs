//! Writes a scenario as SIPp's XML.

use super::xml::{Element, to_text};

/// The XML of a scenario.
pub fn write(scenario: &Element) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n",
    );
    put(scenario, 0, &mut text);
    text
}

fn put(element: &Element, indent: usize, into: &mut String) {
    let name = &element.name;
    *into += &format!("{:indent$}<{name}", "");
    for attribute in &element.attributes {
        *into += &format!(" {}=\"{}\"", attribute.name, escaped(&attribute.value));
    }
    if element.text.is_empty() && element.children.is_empty() {
        *into += "/>\n";
        return;
    }
    *into += ">\n";
    if !element.text.is_empty() {
        *into += &format!("{:indent$}  <![CDATA[\n", "");
        // A section cannot hold its own end: it ends and another begins.
        let text = to_text(&element.text).replace("]]>", "]]]]><![CDATA[>");
        for line in text.trim().lines().map(str::trim) {
            let width = if line.is_empty() { 0 } else { indent + 4 };
            *into += &format!("{:width$}{line}\n", "");
        }
        *into += &format!("{:indent$}  ]]>\n", "");
    }
    for child in &element.children {
        put(child, indent + 2, into);
    }
    *into += &format!("{:indent$}</{name}>\n", "");
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '&' => text += "&amp;",
            '<' => text += "&lt;",
            '>' => text += "&gt;",
            '"' => text += "&quot;",
            '\n' => text += "&#10;",
            '\r' => text += "&#13;",
            '\t' => text += "&#9;",
            other => text.push(other),
        }
    }
    text
}

//! From YAML to the elements that XML is read to.

use super::{
    ACTIONS, FLOW, NAME, about, is_message,
    reader::{self, Key, Node, Value},
};
use crate::scenario::{
    elements,
    fault::{Fault, Place},
    xml::{Attribute, Element},
};

/// Reads a scenario's YAML and returns what its XML would be read to.
///
/// # Errors
/// With the place, if it is no YAML or no scenario.
pub fn read(text: &[u8]) -> Result<Element, Fault> {
    let start = Place { line: 1, column: 1 };
    let text = std::str::from_utf8(text).map_err(|error| {
        Fault::new(Place::of(text, error.valid_up_to()), "this is not UTF-8, which YAML is written in")
    })?;
    let root = reader::read(text)?;
    let Value::Map(rows) = root.value else {
        return Err(Fault::new(root.place, "this is no scenario: neither XML nor a map of YAML")
            .hint("a scenario in YAML has `name:` and `flow:`, one in XML begins with `<`"));
    };
    let mut scenario = element("scenario", start);
    let mut has_flow = false;
    for (key, node) in rows {
        match key.name.as_str() {
            NAME => scenario.attributes.push(attribute(key, node)?),
            FLOW => {
                has_flow = true;
                scenario.children = items(&key, node)?;
            }
            _ => {
                return Err(Fault::unknown(key.place, "key of a scenario", &key.name, &[NAME, FLOW]));
            }
        }
    }
    if has_flow {
        Ok(scenario)
    } else {
        Err(Fault::new(root.place, "the scenario has no `flow:`").hint("flow: lists what happens in a call"))
    }
}

fn element(name: &str, place: Place) -> Element {
    Element {
        name: name.into(),
        place,
        attributes: Vec::new(),
        children: Vec::new(),
        text: Vec::new(),
        text_place: place,
    }
}

/// The elements of a list.
fn items(key: &Key, node: Node) -> Result<Vec<Element>, Fault> {
    match node.value {
        Value::List(items) => items.into_iter().map(item).collect(),
        other => Err(Fault::new(node.place, format!("`{}` is {}, not a list", key.name, other.kind()))
            .hint("each item begins with `- `")),
    }
}

/// One element: `- nop`, `- recv: 200`, or a map whose first key is the element.
fn item(node: Node) -> Result<Element, Fault> {
    let rows = match node.value {
        Value::Word(name) => return Ok(element(&name, node.place)),
        Value::Map(rows) => rows,
        other => {
            let message = format!("an element is expected, not {}", other.kind());
            return Err(Fault::new(node.place, message).hint("such as `- recv: 200`"));
        }
    };
    let mut rows = rows.into_iter();
    let Some((key, node)) = rows.next() else {
        return Err(Fault::new(node.place, "an element is expected"));
    };
    let mut found = element(&key.name, key.place);
    tell(&mut found, key, node)?;
    for (key, node) in rows {
        if key.name == ACTIONS {
            let mut action = element("action", key.place);
            action.children = items(&key, node)?;
            found.children.push(action);
        } else {
            add(&mut found, attribute(key, node)?)?;
        }
    }
    Ok(found)
}

/// Gives an element what stands behind its name.
fn tell(found: &mut Element, key: Key, node: Node) -> Result<(), Fault> {
    let name = key.name.as_str();
    match node.value {
        Value::Null => Ok(()),
        Value::Map(rows) => rows.into_iter().try_for_each(|(key, node)| add(found, attribute(key, node)?)),
        Value::List(_) if name == "init" => {
            found.children = items(&key, node)?;
            Ok(())
        }
        Value::Word(text) | Value::Text(text) if is_message(name) => {
            found.text = text.into_bytes();
            found.text_place = node.place;
            Ok(())
        }
        value => {
            let is_code =
                matches!(&value, Value::Word(word) if word.bytes().all(|octet| octet.is_ascii_digit()));
            let about = match name {
                "recv" if is_code => Some("response"),
                "recv" => Some("request"),
                _ => about(name),
            };
            let Some(about) = about else {
                // If there is no such element, that is what its reader will say.
                return if elements::is_known(name) {
                    Err(Fault::new(node.place, format!("`{name}` takes no value of its own"))
                        .hint("its attributes stand below it"))
                } else {
                    Ok(())
                };
            };
            let key = Key { name: about.into(), place: node.place };
            add(found, attribute(key, Node { value, ..node })?)
        }
    }
}

fn add(found: &mut Element, attribute: Attribute) -> Result<(), Fault> {
    if found.attributes.iter().any(|known| known.name == attribute.name) {
        return Err(Fault::new(attribute.place, format!("`{}` is given twice", attribute.name)));
    }
    found.attributes.push(attribute);
    Ok(())
}

fn attribute(key: Key, node: Node) -> Result<Attribute, Fault> {
    let value_place = node.place;
    let value = match node.value {
        Value::Null => String::new(),
        Value::Word(word) => word,
        Value::Text(text) => text.lines().map(str::trim).collect::<Vec<_>>().join("\n"),
        Value::List(items) => {
            let words = items.into_iter().map(|item| match item.value {
                Value::Word(word) => Ok(word),
                other => Err(Fault::new(item.place, format!("a word is expected, not {}", other.kind()))),
            });
            words.collect::<Result<Vec<_>, _>>()?.join(",")
        }
        Value::Map(_) => {
            return Err(Fault::new(node.place, format!("`{}` takes a text, not a map", key.name)));
        }
    };
    Ok(Attribute { name: key.name, value, place: key.place, value_place })
}

//! Reads a scenario: elements and attributes become steps, names become numbers.

use super::{
    elements,
    fault::{Fault, Place},
    model::Scenario,
    variables::{Scope, VariableId, Variables},
    xml::{self, Attribute, Element},
    yaml,
};

/// What the command line brings that a scenario may name.
#[derive(Clone, Debug)]
pub struct Known {
    /// `-key`: names and values.
    pub keys: Vec<(String, String)>,
    /// `-inf`: the names that scenarios call the files by, without their directories.
    pub files: Vec<String>,
    /// Reads a file that `[file]` names, or says why it cannot.
    pub read: fn(&str) -> Result<Vec<u8>, String>,
    /// Reads a file with media that a scenario of this directory names.
    pub read_media: fn(&str, &str) -> Result<Vec<u8>, String>,
    /// Where the scenario is.
    pub directory: String,
    /// `-rtp_payload`: of streams that do not say theirs.
    pub rtp_payload: u8,
}

impl Default for Known {
    fn default() -> Self {
        let read = |name: &str| Err(format!("{name} cannot be read here"));
        Self {
            keys: Vec::new(),
            files: Vec::new(),
            read,
            read_media: |_, name| Err(format!("{name} cannot be read here")),
            directory: String::new(),
            rtp_payload: 0,
        }
    }
}

/// The names that are known while a scenario is read.
pub struct Names<'a> {
    /// From the command line.
    pub known: &'a Known,
    /// So far.
    pub variables: Variables,
    pub(super) rtds: Vec<String>,
    pub(super) counters: Vec<String>,
    pub(super) transactions: Vec<String>,
    pub(super) methods: Vec<String>,
}

impl<'a> Names<'a> {
    /// Nothing named yet.
    pub fn alone(known: &'a Known) -> Self {
        Self {
            known,
            variables: Variables::default(),
            rtds: Vec::new(),
            counters: Vec::new(),
            transactions: Vec::new(),
            methods: Vec::new(),
        }
    }

    /// The variable `name`, known or new.
    pub(super) fn variable(&mut self, name: &str, place: Place) -> Result<VariableId, Fault> {
        let letters = |letter: char| letter.is_alphanumeric() || "_.-".contains(letter);
        if name.is_empty() || !name.chars().all(letters) {
            return Err(Fault::new(place, format!("`{name}` is no name of a variable"))
                .hint("letters, digits, `_`, `.` and `-`"));
        }
        let id = self.variables.mention(name, place);
        id.ok_or_else(|| Fault::new(place, "there are too many variables"))
    }

    /// A comma-separated list of variables.
    pub(super) fn variables(&mut self, list: &str, place: Place) -> Result<Vec<VariableId>, Fault> {
        list.split(',').map(|name| self.variable(name.trim(), place)).collect()
    }

    /// The number of an injection file; without a name the first.
    pub(super) fn file(&self, name: Option<&str>, place: Place) -> Result<usize, Fault> {
        let files = &self.known.files;
        match name {
            None if files.is_empty() => Err(Fault::new(place, "there is no injection file for this field")
                .hint("give one with -inf FILE")),
            None => Ok(0),
            Some(name) => files.iter().position(|file| file == base_name(name)).ok_or_else(|| {
                let known: Vec<&str> = files.iter().map(String::as_str).collect();
                if known.is_empty() {
                    Fault::new(place, format!("there is no injection file `{name}`"))
                        .hint(format!("give it with -inf {name}"))
                } else {
                    Fault::unknown(place, "injection file", name, &known)
                }
            }),
        }
    }
}

/// Without the directories, as scenarios name the files.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Most distinct names of response times, counters and transactions: each has columns in every report.
const NAMES_MAX: usize = 256;

/// The number of `name` in `list`, where it is put if it is new.
pub(super) fn number(list: &mut Vec<String>, name: &str, place: Place) -> Result<usize, Fault> {
    if let Some(at) = list.iter().position(|known| known == name) {
        return Ok(at);
    }
    if list.len() >= NAMES_MAX {
        return Err(Fault::new(place, "there are too many names of this kind"));
    }
    list.push(name.into());
    Ok(list.len() - 1)
}

/// Reads `text`, XML if it begins as XML does, else YAML, to its elements.
///
/// # Errors
/// With the place, if it is neither.
pub fn tree(text: &[u8]) -> Result<Element, Fault> {
    let first = text.trim_ascii_start();
    if first.is_empty() || first.starts_with(b"<") || first.starts_with(b"\xef\xbb\xbf<") {
        xml::read(text)
    } else {
        yaml::read(text)
    }
}

/// Reads the scenario in `text`.
///
/// # Errors
/// With the place and, for an unknown name, the nearest known one.
pub fn read(text: &[u8], known: &Known) -> Result<(Scenario, Vec<Fault>), Fault> {
    let root = tree(text)?;
    if root.name != "scenario" {
        return Err(Fault::new(root.place, format!("<{}> is no scenario", root.name))
            .hint("a scenario stands in <scenario> ... </scenario>"));
    }
    elements::scenario(&root, Names::alone(known))
}

/// The attributes of an element, taken one by one; what is left over at the end is unknown.
pub(super) struct Attributes<'a> {
    element: &'a Element,
    asked: Vec<&'static str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(element: &'a Element) -> Self {
        Self { element, asked: Vec::new() }
    }

    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Attribute> {
        self.asked.push(name);
        self.element.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.take(name).map(|attribute| attribute.value.as_str())
    }

    pub(super) fn required(&mut self, name: &'static str) -> Result<&'a Attribute, Fault> {
        let message = format!("<{}> needs `{name}`", self.element.name);
        self.take(name).ok_or_else(|| Fault::new(self.element.place, message))
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Fault> {
        match self.take(name) {
            None => Ok(false),
            Some(attribute) => truth(attribute),
        }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Fault> {
        self.take(name).map(number_of).transpose()
    }

    pub(super) fn required_number(&mut self, name: &'static str) -> Result<f64, Fault> {
        number_of(self.required(name)?)
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let unknown =
            self.element.attributes.iter().find(|attribute| !self.asked.contains(&attribute.name.as_str()));
        match unknown {
            None => Ok(()),
            Some(attribute) => {
                let what = format!("attribute of <{}>", self.element.name);
                Err(Fault::unknown(attribute.place, &what, &attribute.name, &self.asked))
            }
        }
    }
}

/// `true` or `false`, as SIPp takes them.
pub(super) fn truth(attribute: &Attribute) -> Result<bool, Fault> {
    match attribute.value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Ok(true),
        "false" | "no" | "0" | "off" | "" => Ok(false),
        other => Err(Fault::new(attribute.place, format!("`{}` is `{other}`", attribute.name))
            .hint("write true or false")),
    }
}

pub(super) fn number_of(attribute: &Attribute) -> Result<f64, Fault> {
    let number = attribute.value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| {
        Fault::new(attribute.place, format!("`{}` of `{}` is no number", attribute.value, attribute.name))
    })
}

/// Declares the variables of `<Global>` and `<User>`; excuses those of `<Reference>`.
pub(super) fn declare(element: &Element, scope: Option<Scope>, names: &mut Names<'_>) -> Result<(), Fault> {
    let mut attributes = Attributes::of(element);
    let list = attributes.required("variables")?;
    for name in list.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match scope {
            Some(scope) => {
                names.variables.declare(name, scope, list.place).ok_or_else(|| {
                    Fault::new(list.place, format!("`{name}` is used before <{}> declares it", element.name))
                        .hint("declare it at the start of the scenario")
                })?;
            }
            None if names.variables.refer(name) => {}
            None => {
                return Err(Fault::new(list.place, format!("there is no variable `{name}`"))
                    .hint("<Reference> excuses variables that are used above it"));
            }
        }
    }
    attributes.finish()
}

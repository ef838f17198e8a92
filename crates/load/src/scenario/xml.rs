//! The XML that scenarios are written in.
//!
//! A reader of our own rather than a library's: each attribute must be told with its line and column, and what SIPp
//! takes although it is not well formed (a bare `&`, `--` in a comment, octets that are not UTF-8) must be taken too.

use std::borrow::Cow;

use super::fault::{Fault, Place};

/// Deepest nesting that is read. Scenarios need four levels; more is no scenario.
const DEPTH_MAX: usize = 32;

/// An element with all that is in it.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its name, as written.
    pub name: String,
    /// Where its `<` stands.
    pub place: Place,
    /// In the order written.
    pub attributes: Vec<Attribute>,
    /// In the order written.
    pub children: Vec<Element>,
    /// Character data and CDATA sections, one after the other, with the place of the first.
    pub text: Vec<u8>,
    /// Where the text starts.
    pub text_place: Place,
}

/// An attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its name, as written.
    pub name: String,
    /// Its value, entities resolved.
    pub value: String,
    /// Where its name stands.
    pub place: Place,
    /// Where its value begins.
    pub value_place: Place,
}

/// Reads a document and returns its outermost element.
///
/// # Errors
/// With the place, if it is not XML.
pub fn read(text: &[u8]) -> Result<Element, Fault> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_outside()?;
    if reader.rest().is_empty() {
        return Err(reader.fault("there is no element"));
    }
    let root = reader.element(0)?;
    reader.skip_outside()?;
    if reader.rest().is_empty() {
        Ok(root)
    } else {
        Err(reader.fault("something follows the end of the scenario"))
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn place(&self) -> Place {
        Place::of(self.text, self.at)
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.place(), message)
    }

    fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|octet| octet.is_ascii_whitespace()).count();
    }

    /// Moves behind the next `end`.
    fn skip_past(&mut self, end: &[u8], what: &str) -> Result<&'a [u8], Fault> {
        let rest = self.rest();
        let Some(length) = memchr::memmem::find(rest, end) else {
            return Err(self.fault(format!("{what} is not ended by `{}`", String::from_utf8_lossy(end))));
        };
        self.at += length + end.len();
        Ok(&rest[..length])
    }

    /// Skips blanks, comments, declarations and processing instructions.
    fn skip_outside(&mut self) -> Result<(), Fault> {
        loop {
            self.skip_space();
            if self.rest().starts_with(b"\xef\xbb\xbf") {
                self.at += 3;
            } else if self.rest().starts_with(b"<!--") {
                self.at += 4;
                self.skip_past(b"-->", "the comment")?;
            } else if self.rest().starts_with(b"<?") {
                self.skip_past(b"?>", "the declaration")?;
            } else if self.rest().starts_with(b"<!DOCTYPE") {
                self.skip_past(b">", "the document type")?;
            } else {
                return Ok(());
            }
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        let is_letter = |octet: &u8| octet.is_ascii_alphanumeric() || b"_-.:".contains(octet);
        let length = self.rest().iter().take_while(|octet| is_letter(octet)).count();
        if length == 0 {
            return Err(self.fault("a name is missing"));
        }
        let name = String::from_utf8_lossy(&self.rest()[..length]).into_owned();
        self.at += length;
        Ok(name)
    }

    fn element(&mut self, depth: usize) -> Result<Element, Fault> {
        let place = self.place();
        if depth > DEPTH_MAX {
            return Err(self.fault("too many elements are in each other"));
        }
        if !self.rest().starts_with(b"<") {
            return Err(self.fault("an element is expected"));
        }
        self.at += 1;
        let name = self.name()?;
        let mut element = Element {
            name,
            place,
            attributes: Vec::new(),
            children: Vec::new(),
            text: Vec::new(),
            text_place: place,
        };
        loop {
            self.skip_space();
            match self.rest() {
                [b'/', b'>', ..] => {
                    self.at += 2;
                    return Ok(element);
                }
                [b'>', ..] => {
                    self.at += 1;
                    break;
                }
                [] => {
                    return Err(Fault::new(place, format!("<{}> is not ended", element.name)));
                }
                _ => {
                    let attribute = self.attribute(&element.name)?;
                    if element.attributes.iter().any(|known| known.name == attribute.name) {
                        let message = format!("`{}` is given twice", attribute.name);
                        return Err(Fault::new(attribute.place, message));
                    }
                    element.attributes.push(attribute);
                }
            }
        }
        self.content(&mut element, depth)?;
        Ok(element)
    }

    fn attribute(&mut self, element: &str) -> Result<Attribute, Fault> {
        let place = self.place();
        let name = self.name().map_err(|fault| Fault {
            message: format!("an attribute of <{element}> or its end is expected"),
            ..fault
        })?;
        self.skip_space();
        if !self.rest().starts_with(b"=") {
            return Err(self.fault(format!("`{name}` has no value")).hint(format!("write {name}=\"...\"")));
        }
        self.at += 1;
        self.skip_space();
        let quote = match self.rest().first() {
            Some(quote @ (b'"' | b'\'')) => *quote,
            _ => return Err(self.fault(format!("the value of `{name}` is not in quotes"))),
        };
        self.at += 1;
        let value_place = self.place();
        let raw = self.skip_past(&[quote], &format!("the value of `{name}`"))?;
        Ok(Attribute { name, value: unescape(&to_text(raw)), place, value_place })
    }

    fn content(&mut self, element: &mut Element, depth: usize) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            if rest.starts_with(b"<!--") {
                self.at += 4;
                self.skip_past(b"-->", "the comment")?;
            } else if rest.starts_with(b"<![CDATA[") {
                self.at += b"<![CDATA[".len();
                if element.text.iter().all(u8::is_ascii_whitespace) {
                    element.text.clear();
                    element.text_place = self.place();
                }
                let data = self.skip_past(b"]]>", "the CDATA section")?;
                element.text.extend_from_slice(data);
            } else if rest.starts_with(b"</") {
                self.at += 2;
                let place = self.place();
                let name = self.name()?;
                if name != element.name {
                    let message = format!("</{name}> ends <{}>, which began in line {}", element.name, {
                        element.place.line
                    });
                    return Err(Fault::new(place, message));
                }
                self.skip_space();
                if !self.rest().starts_with(b">") {
                    return Err(self.fault(format!("</{name} lacks its `>`")));
                }
                self.at += 1;
                return Ok(());
            } else if rest.starts_with(b"<") {
                element.children.push(self.element(depth + 1)?);
            } else if rest.is_empty() {
                let message = format!("<{}> is not ended", element.name);
                return Err(Fault::new(element.place, message)
                    .hint(format!("write </{}>, or /> if it has no content", element.name)));
            } else {
                if element.text.is_empty() {
                    element.text_place = self.place();
                }
                let length = memchr::memchr(b'<', rest).unwrap_or(rest.len());
                let text = unescape(&to_text(&rest[..length]));
                // White space between elements is nobody's text.
                if !text.trim().is_empty() {
                    element.text.extend_from_slice(text.as_bytes());
                }
                self.at += length;
            }
        }
    }
}

/// Octets as text: UTF-8, or ISO-8859-1 where they are not.
pub(super) fn to_text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().map(|&octet| char::from(octet)).collect()),
    }
}

/// Resolves entities; what is none stays as it is, as SIPp leaves it.
fn unescape(text: &str) -> String {
    const NAMED: [(&str, char); 5] = [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"'), ("apos", '\'')];
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        let resolved = rest.find(';').and_then(|end| {
            let name = &rest[1..end];
            let numbered = || {
                let digits = name.strip_prefix('#')?;
                let code = match digits.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => digits.parse(),
                };
                char::from_u32(code.ok()?)
            };
            let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter);
            named.or_else(numbered).map(|letter| (letter, end + 1))
        });
        let (letter, length) = resolved.unwrap_or(('&', 1));
        result.push(letter);
        rest = &rest[length..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_cdata_are_read_with_their_places() {
        let text = b"<?xml version=\"1.0\"?>\n<!-- a -- b -->\n<scenario name='x &lt; &#65; & y'>\n  <send>\n <![CDATA[ a<b ]]></send><nop/></scenario>\n";
        let root = read(text).expect("it is fine");
        assert_eq!(root.attributes[0].value, "x < A & y");
        assert_eq!(root.children.len(), 2);
        assert_eq!(root.children[0].text, b" a<b ");
        assert_eq!(root.children[0].text_place, Place { line: 5, column: 11 });
        assert_eq!(root.children[0].place, Place { line: 4, column: 3 });
    }

    #[test]
    fn what_is_not_xml_is_told_with_its_place() {
        for (text, place, word) in [
            ("<a>\n<b></a>", (2, 6), "</a> ends <b>"),
            ("<a b=1/>", (1, 6), "quotes"),
            ("<a b/>", (1, 5), "no value"),
            ("<a><![CDATA[x</a>", (1, 13), "CDATA"),
            ("<a>", (1, 1), "not ended"),
            ("", (1, 1), "no element"),
            ("<a/><b/>", (1, 5), "follows"),
            ("<a x='1' x='2'/>", (1, 10), "twice"),
        ] {
            let fault = read(text.as_bytes()).expect_err(text);
            assert_eq!((fault.place.line, fault.place.column), place, "{text}: {fault}");
            assert!(fault.message.contains(word), "{text}: {fault}");
        }
    }
}

//! Text with keywords, cut into segments once so that writing a message is copying and a few look-ups.

use super::{
    fault::{Fault, Place},
    keyword::{self, Keyword},
    read::Names,
};

/// A text with keywords.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// In order. Two texts never follow each other.
    pub segments: Vec<Segment>,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Copied as it is.
    Text(Box<[u8]>),
    /// Replaced.
    Keyword(Box<Keyword>),
}

impl Template {
    /// Cuts `text`, which begins at `place`.
    ///
    /// # Errors
    /// An unknown keyword, or one that is not ended.
    pub fn compile(text: &[u8], place: Place, names: &mut Names<'_>) -> Result<Self, Fault> {
        let mut template = Self::default();
        let mut text_so_far = Vec::new();
        let mut at = 0;
        while at < text.len() {
            match text[at] {
                b'\\' if text[at + 1..].starts_with(b"x") => {
                    let digits = text.get(at + 2..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
                    match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                        Some(octet) => {
                            text_so_far.push(octet);
                            at += 4;
                        }
                        None => {
                            text_so_far.push(b'\\');
                            at += 1;
                        }
                    }
                }
                b'[' => {
                    let here = moved(place, &text[..at]);
                    let length = keyword::length(&text[at..]).ok_or_else(|| {
                        Fault::new(here, "`[` begins a keyword that no `]` ends")
                            .hint(r"write \x5b for a bracket that is text")
                    })?;
                    let inside = &text[at + 1..at + length - 1];
                    template.push_text(&mut text_so_far);
                    let keyword = keyword::parse(inside, here, names)?;
                    template.segments.push(Segment::Keyword(Box::new(keyword)));
                    at += length;
                }
                octet => {
                    text_so_far.push(octet);
                    at += 1;
                }
            }
        }
        template.push_text(&mut text_so_far);
        Ok(template)
    }

    fn push_text(&mut self, text: &mut Vec<u8>) {
        if !text.is_empty() {
            self.segments.push(Segment::Text(std::mem::take(text).into()));
        }
    }

    /// A text without keywords.
    pub fn text(text: &[u8]) -> Self {
        let segments = if text.is_empty() { Vec::new() } else { vec![Segment::Text(text.into())] };
        Self { segments }
    }

    /// The text, if there are no keywords in it.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self.segments.as_slice() {
            [] => Some(b""),
            [Segment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether `wanted` holds for a keyword in it, or in what stands in its keywords' parameters.
    pub fn any(&self, wanted: &impl Fn(&Keyword) -> bool) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Text(_) => false,
            Segment::Keyword(keyword) => {
                wanted(keyword) || keyword.parameters().any(|parameter| parameter.any(wanted))
            }
        })
    }
}

/// The place that lies behind `text`, which begins at `place`.
pub fn moved(place: Place, text: &[u8]) -> Place {
    let inside = Place::of(text, text.len());
    if inside.line == 1 {
        Place { line: place.line, column: place.column + inside.column - 1 }
    } else {
        Place { line: place.line + inside.line - 1, column: inside.column }
    }
}

/// A message as it goes on the wire from how it stands in a CDATA section: blanks around lines go, empty lines at both
/// ends go, lines end with CRLF. A message without a body gets the empty line that ends its headers.
///
/// `None`: nothing is left.
pub fn message_text(cdata: &[u8]) -> Option<(Vec<u8>, usize)> {
    let skipped = cdata.iter().take_while(|octet| octet.is_ascii_whitespace()).count();
    let inside = cdata[skipped..].trim_ascii_end();
    if inside.is_empty() {
        return None;
    }
    let mut text = Vec::with_capacity(inside.len() + 64);
    let mut has_body = false;
    for line in inside.split(|&octet| octet == b'\n') {
        let line = line.trim_ascii();
        has_body |= line.is_empty();
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    if !has_body {
        text.extend_from_slice(b"\r\n");
    }
    Some((text, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_loses_its_indentation_and_gains_its_line_ends() {
        let (text, skipped) = message_text(b"\n\n   BYE sip:a SIP/2.0\n   X: 1  \n\n  ").expect("a message");
        assert_eq!(text, b"BYE sip:a SIP/2.0\r\nX: 1\r\n\r\n");
        assert_eq!(skipped, 5);
        let (text, _) = message_text(b"A\n\n v=0\r\n  s=-\n").expect("a message");
        assert_eq!(text, b"A\r\n\r\nv=0\r\ns=-\r\n");
        assert!(message_text(b" \n ").is_none());
    }

    #[test]
    fn a_place_moves_with_the_text() {
        let start = Place { line: 5, column: 10 };
        assert_eq!(moved(start, b"abc"), Place { line: 5, column: 13 });
        assert_eq!(moved(start, b"abc\nde"), Place { line: 6, column: 3 });
    }
}

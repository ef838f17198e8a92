//! YAML, as far as a scenario needs it: maps and lists by indentation or in braces, plain and quoted words, `|` texts,
//! comments. Anchors, tags, folded texts and several documents are refused with their place rather than misread.
//!
//! A reader of our own, as for XML: what is wrong in a scenario is told with line and column of each word.

use crate::scenario::fault::{Fault, Place};

/// Deepest nesting that is read. Scenarios need five levels.
const DEPTH_MAX: usize = 32;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing is there, or `~`.
    Null,
    /// A word.
    Word(String),
    /// A `|` text; its lines still have their indentation, so that places in it stay true.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
}

impl Value {
    /// What it is called in advice.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Word(_) | Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads a document.
///
/// # Errors
/// With the place, if it is no YAML or more of it than is read here.
pub fn read(text: &str) -> Result<Node, Fault> {
    let lines = text.trim_start_matches('\u{feff}').split('\n').map(|line| line.trim_end_matches('\r'));
    let mut reader = Reader { lines: lines.collect(), line: 0, column: 0 };
    if reader.here().is_some_and(|(_, rest)| rest.starts_with("---")) {
        reader.next_line();
    }
    let node = reader.node(0)?;
    match reader.here() {
        None => Ok(node),
        Some(_) => Err(reader.fault("this belongs to nothing above it").hint("check its indentation")),
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    line: usize,
    /// How much of the line is read, octets.
    column: usize,
}

impl<'a> Reader<'a> {
    fn place(&self) -> Place {
        self.place_at(self.column)
    }

    fn place_at(&self, column: usize) -> Place {
        let number = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
        Place { line: number(self.line), column: number(column) }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.place(), message)
    }

    /// Skips what is empty or a comment. The column where the next thing stands, and the rest of its line.
    fn here(&mut self) -> Option<(usize, &'a str)> {
        while let Some(line) = self.lines.get(self.line) {
            let rest = &line[self.column.min(line.len())..];
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            let rest = &rest[blanks..];
            if !rest.trim().is_empty() && !rest.starts_with('#') {
                self.column += blanks;
                return Some((self.column, rest));
            }
            self.next_line();
        }
        None
    }

    fn next_line(&mut self) {
        self.line += 1;
        self.column = 0;
    }

    /// What stands here: a list, a map, or a word.
    fn node(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault("too much is in each other"));
        }
        let Some((column, rest)) = self.here() else {
            let place = self.place();
            return Ok(Node { place, value: Value::Null });
        };
        if is_item(rest) {
            self.list(column, depth)
        } else if key_length(rest).is_some() {
            self.map(column, depth)
        } else {
            self.inline(column, depth)
        }
    }

    fn list(&mut self, column: usize, depth: usize) -> Result<Node, Fault> {
        let place = self.place();
        let mut items = Vec::new();
        while let Some((at, rest)) = self.here() {
            if at < column || !is_item(rest) {
                break;
            }
            self.level(at, column)?;
            self.column += 1;
            items.push(self.value_after(column, column + 1, depth)?);
        }
        Ok(Node { place, value: Value::List(items) })
    }

    fn map(&mut self, column: usize, depth: usize) -> Result<Node, Fault> {
        let place = self.place();
        let mut rows: Vec<(Key, Node)> = Vec::new();
        while let Some((at, rest)) = self.here() {
            if at < column || is_item(rest) && at == column {
                break;
            }
            self.level(at, column)?;
            let Some(length) = key_length(rest) else {
                return Err(self.fault("a key is expected").hint("write name: value"));
            };
            let key = Key { name: unquoted(&rest[..length]), place: self.place() };
            if rows.iter().any(|(known, _)| known.name == key.name) {
                return Err(Fault::new(key.place, format!("`{}` is given twice", key.name)));
            }
            self.column += length + 1;
            // A list may stand right below its key.
            let node = self.value_after(column, column, depth)?;
            rows.push((key, node));
        }
        Ok(Node { place, value: Value::Map(rows) })
    }

    fn level(&self, at: usize, column: usize) -> Result<(), Fault> {
        if at == column {
            return Ok(());
        }
        Err(self.fault("this is indented more than what it stands with").hint("align it"))
    }

    /// The value behind `-` or `key:`: in this line, or in the next ones, where a list must stand at `list_from` or beyond
    /// and everything else beyond `parent`.
    fn value_after(&mut self, parent: usize, list_from: usize, depth: usize) -> Result<Node, Fault> {
        let line = self.line;
        let place = self.place();
        let Some((at, rest)) = self.here() else { return Ok(Node { place, value: Value::Null }) };
        if self.line == line {
            let is_key_of_item = list_from > parent && key_length(rest).is_some();
            return match is_key_of_item || list_from > parent && is_item(rest) {
                true => self.node(depth + 1),
                false => self.inline(parent, depth),
            };
        }
        if rest.starts_with('\t') {
            return Err(self.fault("a tab cannot indent YAML").hint("use blanks"));
        }
        if at > parent || is_item(rest) && at >= list_from {
            self.node(depth + 1)
        } else {
            Ok(Node { place, value: Value::Null })
        }
    }

    /// A value that begins in this line and, but for `|`, ends in it.
    fn inline(&mut self, parent: usize, depth: usize) -> Result<Node, Fault> {
        let place = self.place();
        let rest = &self.lines[self.line][self.column..];
        let value = match rest.as_bytes().first() {
            Some(b'|') => return self.literal(parent),
            Some(b'{' | b'[' | b'"' | b'\'') => {
                let mut flow = Flow { reader: self, depth };
                let node = flow.value(false)?;
                let left = self.lines[self.line][self.column..].trim_start();
                if !left.is_empty() && !left.starts_with('#') {
                    return Err(self.fault("something follows the value in its line"));
                }
                node.value
            }
            _ => {
                let text = without_comment(rest);
                self.check_plain(text)?;
                plain(text)
            }
        };
        self.next_line();
        if let Some((at, _)) = self.here()
            && at > parent
        {
            return Err(self
                .fault("a text cannot go on in the next line")
                .hint("write it in one line, or behind `|` if it has several"));
        }
        Ok(Node { place, value })
    }

    fn check_plain(&self, text: &str) -> Result<(), Fault> {
        let refused = match text.as_bytes().first() {
            Some(b'>') => Some("folded texts are not read: write `|`"),
            Some(b'&' | b'*') => Some("anchors and aliases are not read"),
            Some(b'!') => Some("tags are not read"),
            Some(b'%' | b'@' | b'`' | b'}' | b']' | b',' | b'?') => Some("put the text in quotes"),
            _ if text.contains(": ") || text.ends_with(':') => Some("a text with `: ` goes in quotes"),
            _ => None,
        };
        refused.map_or(Ok(()), |hint| Err(self.fault("this is no plain text").hint(hint)))
    }

    /// `|`: the lines below it that are indented beyond `parent`.
    fn literal(&mut self, parent: usize) -> Result<Node, Fault> {
        let header = without_comment(&self.lines[self.line][self.column + 1..]);
        if !matches!(header, "" | "-" | "+") {
            return Err(self.fault("only `|`, `|-` and `|+` begin a text of several lines"));
        }
        self.next_line();
        let place = self.place();
        let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let rest = &self.lines[self.line..];
        let is_inside = |line: &&&str| line.trim().is_empty() || indent(line) > parent;
        let count = rest.iter().take_while(is_inside).count();
        let text = rest[..count].join("\n");
        self.line += count;
        Ok(Node { place, value: Value::Text(text) })
    }
}

/// Values in braces, brackets and quotes.
struct Flow<'r, 'a> {
    reader: &'r mut Reader<'a>,
    depth: usize,
}

impl Flow<'_, '_> {
    fn rest(&self) -> &str {
        &self.reader.lines[self.reader.line][self.reader.column..]
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest().len() - self.rest().trim_start().len();
        self.reader.column += blanks;
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        self.reader.column += usize::from(found);
        found
    }

    fn value(&mut self, is_within: bool) -> Result<Node, Fault> {
        self.skip_blanks();
        let place = self.reader.place();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.reader.fault("too much is in each other"));
        }
        let value = if self.take('{') {
            self.map()?
        } else if self.take('[') {
            self.list()?
        } else {
            let is_quoted = self.rest().starts_with(['"', '\'']);
            let word = self.word(is_within)?;
            if is_quoted { Value::Word(word) } else { plain(&word) }
        };
        self.depth -= 1;
        Ok(Node { place, value })
    }

    fn map(&mut self) -> Result<Value, Fault> {
        let mut rows: Vec<(Key, Node)> = Vec::new();
        loop {
            self.skip_blanks();
            if self.take('}') {
                return Ok(Value::Map(rows));
            }
            let place = self.reader.place();
            let name = self.word(true)?;
            self.skip_blanks();
            if !self.take(':') {
                return Err(self.reader.fault("a `:` is expected behind the key"));
            }
            if rows.iter().any(|(known, _)| known.name == name) {
                return Err(Fault::new(place, format!("`{name}` is given twice")));
            }
            rows.push((Key { name, place }, self.value(true)?));
            self.skip_blanks();
            if !self.take(',') && !self.rest().starts_with('}') {
                return Err(self.reader.fault("`,` or `}` is expected, in the same line"));
            }
        }
    }

    fn list(&mut self) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.take(']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(true)?);
            self.skip_blanks();
            if !self.take(',') && !self.rest().starts_with(']') {
                return Err(self.reader.fault("`,` or `]` is expected, in the same line"));
            }
        }
    }

    fn word(&mut self, is_within: bool) -> Result<String, Fault> {
        let rest = self.rest();
        if let Some(length) = quoted_length(rest) {
            let word = unquoted(&rest[..length]);
            self.reader.column += length;
            return Ok(word);
        }
        if rest.starts_with(['"', '\'']) {
            return Err(self.reader.fault("the quote is not ended in its line"));
        }
        let ends = |letter: char| is_within && ",{}[]".contains(letter);
        let colon = rest.find(": ").or(rest.find(':').filter(|at| rest[at + 1..].trim().is_empty()));
        let end = rest.find(ends).unwrap_or(rest.len()).min(colon.unwrap_or(rest.len()));
        let word = rest[..end].trim_end().to_string();
        self.reader.column += end;
        Ok(word)
    }
}

fn is_item(rest: &str) -> bool {
    rest == "-" || rest.starts_with("- ")
}

/// The octets of the key that `rest` begins with, its `:` left out.
fn key_length(rest: &str) -> Option<usize> {
    let ends_key = |after: &str| after.is_empty() || after.starts_with([' ', '\t']);
    if let Some(length) = quoted_length(rest) {
        return rest[length..].strip_prefix(':').filter(|after| ends_key(after)).map(|_| length);
    }
    if rest.starts_with(['{', '[', '"', '\'', '|', '#']) {
        return None;
    }
    let text = without_comment(rest);
    let at = text.match_indices(':').map(|(at, _)| at).find(|at| ends_key(&text[at + 1..]))?;
    (at > 0).then_some(at)
}

/// The octets of the quoted word that `text` begins with.
fn quoted_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.first().filter(|octet| matches!(octet, b'"' | b'\''))?;
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            octet if octet == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            octet if octet == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// A word without its quotes.
fn unquoted(word: &str) -> String {
    let word = word.trim_end();
    if let Some(inside) = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        return inside.replace("''", "'");
    }
    let Some(inside) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) else {
        return word.into();
    };
    let mut result = String::with_capacity(inside.len());
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other @ ('"' | '\\' | '/' | ' ')) => other,
                // What YAML has no escape for is meant for the scenario, as in `\d`.
                Some(other) => {
                    result.push('\\');
                    other
                }
                None => '\\',
            },
            other => other,
        };
        result.push(letter);
    }
    result
}

/// Without the comment at its end, and the blanks before that.
fn without_comment(text: &str) -> &str {
    let end = text.match_indices('#').map(|(at, _)| at).find(|at| {
        let before = &text[..*at];
        before.is_empty() || before.ends_with([' ', '\t'])
    });
    text[..end.unwrap_or(text.len())].trim_end()
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        text => Value::Word(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".into(),
            Value::Word(word) => word.clone(),
            Value::Text(text) => format!("|{text}|"),
            Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
            Value::Map(rows) => {
                let rows: Vec<String> =
                    rows.iter().map(|(key, node)| format!("{}={}", key.name, shown(node))).collect();
                format!("{{{}}}", rows.join(","))
            }
        }
    }

    #[test]
    fn maps_lists_words_and_texts_are_read() {
        for (text, wanted) in [
            ("a: 1\nb: two words # no\nc:\n  d: x#y\n", "{a=1,b=two words,c={d=x#y}}"),
            ("a:\n- 1\n- b: 2\n  c: 3\n-\n  - x\nd: ~", "{a=[1,{b=2,c=3},[x]],d=~}"),
            ("---\n# first\n- {a: 1, \"b c\": [x, 'it''s']}\n", "[{a=1,b c=[x,it's]}]"),
            ("a: |\n   X: 1\n\n   y\nb: \"q\\\"\\n\\d\"\n", "{a=|   X: 1\n\n   y|,b=q\"\n\\d}"),
            ("- send: |\n    A\n  next: 5\n- x\n", "[{send=|    A|,next=5},x]"),
            ("url: http://a:5/b\n", "{url=http://a:5/b}"),
            ("", "~"),
        ] {
            assert_eq!(read(text).as_ref().map(shown), Ok(wanted.into()), "{text}");
        }
    }

    #[test]
    fn what_is_not_read_is_told_with_its_place() {
        for (text, place, word) in [
            ("a: 1\n  b: 2", (2, 3), "next line"),
            ("a:\n  b: 2\n c: 3", (3, 2), "align"),
            ("a: 1\na: 2", (2, 1), "twice"),
            ("a: &x 1", (1, 4), "plain"),
            ("a: b: c", (1, 4), "plain"),
            ("a: {b: 1", (1, 9), "`}`"),
            ("a: \"b", (1, 4), "quote"),
            ("a:\n\tb: 1", (2, 1), "tab"),
            ("a: |3\n  x", (1, 4), "several lines"),
            ("- a\n  - b", (2, 3), "next line"),
        ] {
            let fault = read(text).expect_err(text);
            assert_eq!((fault.place.line, fault.place.column), place, "{text}: {fault}");
            assert!(fault.to_string().contains(word), "{text}: {fault}");
        }
    }

    #[test]
    fn no_text_breaks_the_reader() {
        let pieces = ["a", ":", " ", "\n", "- ", "|", "{", "}", "[", "\"", "'", "\\", "#", ",", "\t", "ä"];
        let mut random = offhook_base::Random::from_number(11);
        for _ in 0..20_000 {
            let text: String =
                (0..random.below(14)).map(|_| pieces[random.below(pieces.len() as u64) as usize]).collect();
            let _ = read(&text);
        }
    }
}

//! Injection files: lines of fields that calls take their values from.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use offhook_base::Random;

/// Lines of one file. At 100 bytes a line that is 1.6 GB; more does not fit a tester's host.
const LINES_MAX: usize = 1 << 24;

/// Which line a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// One after the other, from the start again after the last.
    Sequential,
    /// Any.
    Random,
    /// The one of its user.
    User,
}

/// A file, as read.
#[derive(Debug)]
pub struct Injection {
    name: String,
    order: Order,
    lines: Vec<Box<[u8]>>,
    /// Lines that are made of the template lines: `PRINTF=`.
    printed: Option<Printed>,
    /// Which field is indexed, and the lines by its text.
    index: Option<(usize, LinesByText)>,
    /// How many calls have taken a line. Shared, so that shards together take each once.
    taken: AtomicU64,
}

/// Numbers of lines by the text of a field.
type LinesByText = HashMap<Box<[u8]>, u32>;

#[derive(Clone, Copy, Debug)]
struct Printed {
    count: u32,
    multiple: u32,
    offset: u32,
}

impl Injection {
    /// Reads a file's text. `name` is what scenarios call it.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, String> {
        let mut lines =
            text.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (mut order, mut printed) = (None, None::<Printed>);
        for word in first.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let parse = |value: &str| {
                value.trim().parse::<u32>().map_err(|_| format!("{name}:1: `{word}` has no whole number"))
            };
            let fresh = Printed { count: 0, multiple: 1, offset: 0 };
            match word.split_once('=') {
                Some(("PRINTF", value)) => printed.get_or_insert(fresh).count = parse(value)?,
                Some(("PRINTFMULTIPLE", value)) => printed.get_or_insert(fresh).multiple = parse(value)?,
                Some(("PRINTFOFFSET", value)) => printed.get_or_insert(fresh).offset = parse(value)?,
                None if word == "SEQUENTIAL" => order = Some(Order::Sequential),
                None if word == "RANDOM" => order = Some(Order::Random),
                None if word == "USER" || word == "USERS" => order = Some(Order::User),
                _ => {
                    return Err(format!(
                        "{name}:1: `{word}` is no order of lines\nhint: the first line is SEQUENTIAL, RANDOM or USER"
                    ));
                }
            }
        }
        let order = order.ok_or_else(|| {
            format!("{name}:1: the first line does not say in which order\nhint: SEQUENTIAL, RANDOM or USER")
        })?;
        let lines: Vec<Box<[u8]>> =
            lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(Box::from).collect();
        if lines.is_empty() {
            return Err(format!("{name}: there are no lines in it"));
        }
        if lines.len() > LINES_MAX {
            return Err(format!("{name}: it has more than {LINES_MAX} lines"));
        }
        if printed.is_some_and(|printed| printed.count == 0) {
            return Err(format!("{name}:1: PRINTF says how many lines there are, at least 1"));
        }
        Ok(Self { name: name.into(), order, lines, printed, index: None, taken: AtomicU64::new(0) })
    }

    /// Makes an index of `field` (`-infindex`).
    pub fn index(&mut self, field: usize) {
        let rows = self.len();
        let mut lines = HashMap::with_capacity(rows as usize);
        for number in 0..rows {
            let line = self.line(number);
            lines.insert(self::field(&line, field).into(), number);
        }
        self.index = Some((field, lines));
    }

    fn len(&self) -> u32 {
        self.printed.map_or(self.lines.len() as u32, |printed| printed.count)
    }

    fn line(&self, number: u32) -> Cow<'_, [u8]> {
        match self.printed {
            None => self.lines.get(number as usize).map(|line| Cow::Borrowed(&**line)).unwrap_or_default(),
            Some(printed) => {
                let template = &self.lines[number as usize % self.lines.len()];
                let value = u64::from(number) * u64::from(printed.multiple) + u64::from(printed.offset);
                Cow::Owned(print(template, value))
            }
        }
    }

    /// What stands in `field`, line by line.
    pub fn texts(&self, field: usize) -> impl Iterator<Item = String> {
        (0..self.len()).map(move |number| {
            let line = self.line(number);
            String::from_utf8_lossy(self::field(&line, field)).trim().to_string()
        })
    }

    /// Whether calls take lines of it by their user.
    pub fn is_by_user(&self) -> bool {
        self.order == Order::User
    }
}

/// Replaces `%d`, `%03d` and the like.
fn print(template: &[u8], value: u64) -> Vec<u8> {
    let mut result = Vec::with_capacity(template.len() + 8);
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'%', rest) {
        result.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let spec = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
        match rest.get(digits) {
            Some(b'd' | b'u' | b'i') => {
                let width = spec.parse::<usize>().unwrap_or(0).min(64);
                let text = if spec.starts_with('0') {
                    format!("{value:0width$}")
                } else {
                    format!("{value:width$}")
                };
                result.extend_from_slice(text.as_bytes());
                rest = &rest[digits + 1..];
            }
            Some(b'%') if digits == 0 => {
                result.push(b'%');
                rest = &rest[1..];
            }
            _ => result.push(b'%'),
        }
    }
    result.extend_from_slice(rest);
    result
}

/// The field `number` of a line.
pub fn field(line: &[u8], number: usize) -> &[u8] {
    line.split(|octet| *octet == b';').nth(number).unwrap_or_default()
}

/// A file as a shard sees it: with the changes its calls made.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<Injection>,
    /// Lines that calls replaced or added.
    changed: HashMap<u32, Box<[u8]>>,
    added: u32,
    found: HashMap<Box<[u8]>, u32>,
}

impl Cursor {
    /// Unchanged.
    pub fn new(file: &Arc<Injection>) -> Self {
        Self { file: Arc::clone(file), changed: HashMap::new(), added: 0, found: HashMap::new() }
    }

    /// What scenarios call it.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    fn len(&self) -> u32 {
        self.file.len() + self.added
    }

    /// The number of the line that the next call gets.
    pub fn next(&self, random: &mut Random, user: Option<u32>) -> u32 {
        match self.file.order {
            Order::Sequential => {
                let taken = self.file.taken.fetch_add(1, Ordering::Relaxed);
                (taken % u64::from(self.len())) as u32
            }
            Order::Random => random.below(u64::from(self.len())) as u32,
            Order::User => user.unwrap_or(1).saturating_sub(1) % self.len(),
        }
    }

    /// A line by its number, from 0.
    pub fn line(&self, number: u32) -> Option<Cow<'_, [u8]>> {
        if number >= self.len() {
            return None;
        }
        match self.changed.get(&number) {
            Some(line) => Some(Cow::Borrowed(line)),
            None => Some(self.file.line(number)),
        }
    }

    /// The number of the line whose indexed field is `key`.
    pub fn lookup(&self, key: &[u8]) -> Option<u32> {
        let (field, index) = self.file.index.as_ref()?;
        if let Some(number) = self.found.get(key) {
            return Some(*number);
        }
        let number = *index.get(key)?;
        // A replaced line may have lost the key.
        let line = self.line(number)?;
        (self::field(&line, *field) == key).then_some(number)
    }

    /// Adds a line.
    pub fn insert(&mut self, line: &[u8]) {
        if self.len() as usize >= LINES_MAX {
            return;
        }
        let number = self.len();
        self.added += 1;
        self.put(number, line);
    }

    /// Replaces a line.
    pub fn replace(&mut self, number: u32, line: &[u8]) {
        if number < self.len() {
            self.put(number, line);
        }
    }

    fn put(&mut self, number: u32, line: &[u8]) {
        if let Some((field, _)) = &self.file.index {
            self.found.retain(|_, known| *known != number);
            self.found.insert(self::field(line, *field).into(), number);
        }
        self.changed.insert(number, line.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str, index: Option<usize>) -> Cursor {
        let mut file = Injection::parse("users.csv", text.as_bytes()).expect("it is fine");
        if let Some(field) = index {
            file.index(field);
        }
        Cursor::new(&Arc::new(file))
    }

    #[test]
    fn lines_are_taken_in_the_order_the_file_says() {
        let mut random = Random::from_number(1);
        let file = cursor("SEQUENTIAL\n#no\nSarah;1\r\nBob;2\n\nFred;3\n", None);
        let taken: Vec<u32> = (0..4).map(|_| file.next(&mut random, None)).collect();
        assert_eq!(taken, [0, 1, 2, 0]);
        assert_eq!(file.line(1).map(|line| field(&line, 1).to_vec()), Some(b"2".to_vec()));
        let file = cursor("USER\na\nb\n", None);
        assert_eq!(file.next(&mut random, Some(2)), 1);
        let file = cursor("RANDOM\na\nb\n", None);
        assert!((0..50).all(|_| file.next(&mut random, None) < 2));
    }

    #[test]
    fn printed_lines_are_made_when_asked_for() {
        let file = cursor("USERS,PRINTF=4,PRINTFOFFSET=10,PRINTFMULTIPLE=2\nu%03d;Foo%%\nu%d;Bar\n", None);
        let lines: Vec<_> = (0..4).filter_map(|n| file.line(n)).map(|line| line.into_owned()).collect();
        assert_eq!(lines, [&b"u010;Foo%"[..], b"u12;Bar", b"u014;Foo%", b"u16;Bar"]);
        assert!(file.line(4).is_none());
    }

    #[test]
    fn an_index_follows_what_calls_change() {
        let mut file = cursor("SEQUENTIAL\nalice;1\nbob;2\n", Some(0));
        assert_eq!(file.lookup(b"bob"), Some(1));
        file.insert(b"carol;3");
        file.replace(0, b"dave;4");
        assert_eq!(
            (file.lookup(b"carol"), file.lookup(b"dave"), file.lookup(b"alice")),
            (Some(2), Some(0), None)
        );
        assert_eq!(file.line(0).map(Cow::into_owned), Some(b"dave;4".to_vec()));
    }

    #[test]
    fn a_file_without_an_order_is_refused() {
        for text in ["", "alice;1\n", "SEQUENTIAL\n", "RANDOM,PRINTF=x\na\n"] {
            assert!(Injection::parse("f", text.as_bytes()).is_err(), "{text:?}");
        }
    }
}

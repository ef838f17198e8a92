//! The small grammar pieces every header is made of: white space, tokens, quoted strings, top-level separators.
//!
//! Values are scanned as received: a folded line still holds its CRLF, which counts as white space here
//! (RFC 3261 §7.3.1, LWS in §25.1). All functions cut at ASCII octets only, so UTF-8 stays whole.

use std::borrow::Cow;

/// Octets of RFC 3261's `token`.
const TOKEN: [bool; 256] = table(b"-.!%*_+`'~");
/// Octets of RFC 3261's `word` (Call-ID).
const WORD: [bool; 256] = table(b"-.!%*_+`'~()<>:\\\"/[]?{}");

const fn table(extra: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = (octet as u8).is_ascii_alphanumeric();
        octet += 1;
    }
    let mut index = 0;
    while index < extra.len() {
        table[extra[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether `octet` may stand in a token.
pub(crate) const fn is_token_octet(octet: u8) -> bool {
    TOKEN[octet as usize]
}

/// Whether `text` is a token: not empty, only token octets.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

/// Whether `text` is `word ["@" word]`, as a Call-ID must be.
pub(crate) fn is_call_id(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|octet| WORD[usize::from(octet)]);
    match text.split_once('@') {
        Some((local, host)) => is_word(local) && is_word(host),
        None => is_word(text),
    }
}

/// White space within a value: space, tab, and the CRLF of a fold.
pub(crate) const fn is_lws_char(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

/// As [`is_lws_char`], for octets.
pub(crate) const fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// `text` without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    // By octets: white space is ASCII, so the letters need not be decoded. Most values have none.
    if let [first, .., last] = text.as_bytes()
        && !is_lws(*first)
        && !is_lws(*last)
    {
        return text;
    }
    let end = text.bytes().rposition(|octet| !is_lws(octet)).map_or(0, |last| last + 1);
    trim_start(&text[..end])
}

/// `text` without white space at its start.
pub(crate) fn trim_start(text: &str) -> &str {
    let start = text.bytes().position(|octet| !is_lws(octet)).unwrap_or(text.len());
    &text[start..]
}

/// The longest token at the start of `text`, and the rest. The token may be empty.
pub(crate) fn take_token(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|octet| !is_token_octet(octet)).unwrap_or(text.len());
    text.split_at(end)
}

/// The quoted string that `text` begins with: its inside, still escaped, and what follows the closing quote.
pub(crate) fn take_quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let octets = inside.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', octets.get(from..)?)?;
        if octets[at] == b'"' {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        from = at + 2;
    }
}

/// A decimal number that fits; `None` for anything else, signs included.
pub(crate) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    for octet in text.bytes() {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(digit.into())?;
    }
    T::try_from(sum).ok()
}

/// Seconds as RFC 3261 §20.19 wants them read: a number above 2^32-1 counts as 2^32-1; `None` if it is no number.
pub(crate) fn delta_seconds(text: &str) -> Option<u32> {
    let text = trim(text);
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// Resolves the quoted pairs of the inside of a quoted string, and its folds.
pub(crate) fn unescape_quoted(inside: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\\', b'\r', inside.as_bytes()).is_none() {
        return Cow::Borrowed(inside);
    }
    let unfolded = unfold(inside);
    let mut text = String::with_capacity(unfolded.len());
    let mut letters = unfolded.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            _ => text.push(letter),
        }
    }
    Cow::Owned(text)
}

/// `value` with each fold (line end and the white space around it) made one space (RFC 3261 §7.3.1).
pub fn unfold(value: &str) -> Cow<'_, str> {
    let value = trim(value);
    if memchr::memchr(b'\r', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    for (index, line) in value.split("\r\n").enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(if index == 0 { line.trim_end_matches([' ', '\t']) } else { trim(line) });
    }
    Cow::Owned(text)
}

/// Splits a value at a separator that stands outside quotes and angle brackets. Parts are trimmed and may be empty.
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Split<'a> {
    pub(crate) const fn new(value: &'a str, separator: u8) -> Self {
        Self { rest: Some(value), separator }
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let end = top_level(rest, self.separator);
        self.rest = end.map(|end| &rest[end + 1..]);
        Some(trim(&rest[..end.unwrap_or(rest.len())]))
    }
}

/// Where `separator` first stands outside quotes and angle brackets.
///
/// A quote or bracket that is never closed runs to the end: nothing after it is taken for a separator.
pub(crate) fn top_level(text: &str, separator: u8) -> Option<usize> {
    let octets = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr3(separator, b'"', b'<', &octets[from..])?;
        from = match octets[at] {
            b'"' => text.len() - take_quoted(&text[at..])?.1.len(),
            b'<' => at + 1 + memchr::memchr(b'>', &octets[at..])?,
            _ => return Some(at),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let parts: Vec<_> = Split::new(r#""a, \"b" <sip:c,d@e> , f ,, g"#, b',').collect();
        assert_eq!(parts, [r#""a, \"b" <sip:c,d@e>"#, "f", "", "g"]);
    }

    #[test]
    fn a_fold_becomes_one_space() {
        assert_eq!(unfold(" a  \r\n\t b\r\n c "), "a b c");
        assert_eq!(unfold("\r\n a"), "a");
    }

    #[test]
    fn quoted_pairs_are_resolved_and_an_open_quote_is_refused() {
        assert_eq!(unescape_quoted(r#"J \\\" Ä"#), "J \\\" Ä");
        assert_eq!(take_quoted(r#""a\"b" c"#), Some((r#"a\"b"#, " c")));
        assert_eq!(take_quoted(r#""a\""#), None);
        assert_eq!(take_quoted("\"a\\"), None);
    }

    #[test]
    fn numbers_have_no_sign_and_must_fit() {
        assert_eq!(number::<u8>("0068"), Some(68));
        assert_eq!(number::<u8>("256"), None);
        assert_eq!(number::<u32>("-1"), None);
        assert_eq!(number::<u32>("+1"), None);
        assert_eq!(number::<u32>("36893488147419103232"), None);
        assert_eq!(delta_seconds("99999999999999999999999999"), Some(u32::MAX));
    }
}

//! POSIX extended regular expressions, as SIPp's scenarios write them, on the `regex` crate.
//!
//! Translated are the places where the two languages write the same thing differently. One difference stays: where an
//! alternation could match in several ways POSIX takes the longest, `regex` the first (docs/reference/load-sipp.md).

use regex::bytes::{Regex, RegexBuilder};

/// Compiles `pattern` as `regcomp` with REG_EXTENDED does: `.` matches line ends too, `^` and `$` only the ends of all.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .unicode(false)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_string())
}

/// The expression in the words of the `regex` crate.
fn translate(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len() + 8);
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                // What GNU's library adds.
                Some('<') => result.push_str(r"\b{start}"),
                Some('>') => result.push_str(r"\b{end}"),
                Some('`') => result.push_str(r"\A"),
                Some('\'') => result.push_str(r"\z"),
                Some(word @ ('w' | 'W' | 's' | 'S' | 'b' | 'B')) => result.extend(['\\', word]),
                // Any other letter stands for itself: POSIX has no \n or \d.
                Some(other) if other.is_ascii_alphanumeric() => result.push(other),
                Some(other) => result.extend(['\\', other]),
                None => result.push_str(r"\\"),
            },
            '[' => bracket(&mut letters, &mut result),
            other => result.push(other),
        }
    }
    result
}

/// A bracket expression: a backslash in it is a backslash, and `]` right at its start is a member.
fn bracket(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, result: &mut String) {
    result.push('[');
    if letters.next_if_eq(&'^').is_some() {
        result.push('^');
    }
    if letters.next_if_eq(&']').is_some() {
        result.push_str(r"\]");
    }
    while let Some(letter) = letters.next() {
        match letter {
            ']' => {
                result.push(']');
                return;
            }
            '[' if letters.peek() == Some(&':') => {
                // A class: copied to its end.
                result.push('[');
                while let Some(letter) = letters.next() {
                    result.push(letter);
                    if letter == ':' && letters.next_if_eq(&']').is_some() {
                        result.push(']');
                        break;
                    }
                }
            }
            '\\' | '[' | '&' | '~' => result.extend(['\\', letter]),
            other => result.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<String> {
        let regex = compile(pattern).expect("it compiles");
        regex.find(text.as_bytes()).map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned())
    }

    #[test]
    fn posix_expressions_mean_what_they_mean_to_sipp() {
        assert_eq!(found("o=([[:alnum:]]*) ([[:alnum:]]*)", "v=0\r\no=a 12 3").as_deref(), Some("o=a 12"));
        assert_eq!(found("[0-9]{1,3}[.][0-9]{1,3}", "x 10.77 y").as_deref(), Some("10.77"));
        assert_eq!(
            found("Content-Type:.*", "Content-Type: a\r\n\r\nv=0").as_deref(),
            Some("Content-Type: a\r\n\r\nv=0")
        );
        assert_eq!(found(r"[\d]", "d5").as_deref(), Some("d"));
        assert_eq!(found("[]x]+", "a]x]").as_deref(), Some("]x]"));
        assert_eq!(found("[^]]+", "]ab]").as_deref(), Some("ab"));
        assert_eq!(found(r"\<sip\>", "xsip sip").as_deref(), Some("sip"));
        assert_eq!(found("^b", "a\nb"), None);
    }

    #[test]
    fn what_is_no_expression_is_refused_in_one_line() {
        let said = compile("(a").expect_err("it is open");
        assert!(!said.contains('\n') && !said.is_empty(), "{said}");
    }
}

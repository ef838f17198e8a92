//! Tables of prefixes as carriers send them: a line of `prefix,peer or set[,price]` each.

use super::prefixes::{Key, PREFIX_SYMBOLS_MAX};

/// Lines of one table at most: the world's prefixes, from several carriers.
pub const TABLE_LINES_MAX: usize = 4_000_000;

/// Names of peers and sets in one table at most.
pub const TABLE_NAMES_MAX: usize = 1_000;

/// One line: calls to numbers that begin so may be given to this peer or set, at this price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableLine {
    /// The beginning of the numbers.
    pub key: Key,
    /// Millionths of any unit a minute; 0 where none is given.
    pub price: u32,
    /// The place of the name in [`PrefixTable::names`].
    pub name: u16,
}

/// A table that was read: lines by prefix, of one prefix the cheapest first, of one price in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTable {
    /// The lines.
    pub lines: Vec<TableLine>,
    /// The peers and sets that they name.
    pub names: Vec<Box<str>>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadTable {
    /// 1 is the first.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl PrefixTable {
    /// Reads the text. Empty lines and what stands behind `#` are left out, as is a first line of titles.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, BadTable> {
        let mut table = Self::default();
        for (number, line) in text.lines().enumerate() {
            let bad = |why: String| BadTable { line: number + 1, why };
            // A `#` within a prefix has a symbol before it.
            let line =
                if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or(line) }.trim();
            if line.is_empty() || (number == 0 && line.starts_with("prefix")) {
                continue;
            }
            if table.lines.len() == TABLE_LINES_MAX {
                return Err(bad(format!("a table has at most {TABLE_LINES_MAX} lines")));
            }
            table.take(line).map_err(bad)?;
        }
        // Stable, so that the text decides between equal prices; the name is not compared.
        table.lines.sort_by_key(|line| (line.key, line.price));
        Ok(table)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let mut fields = line.split([',', ';']).map(|field| field.trim().trim_matches('"'));
        let (prefix, name) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let price = fields.next().filter(|price| !price.is_empty());
        if name.is_empty() || fields.next().is_some() {
            return Err("write prefix,peer or prefix,peer,price; for example +4930,carrier,0.012".into());
        }
        let key = Key::of_prefix(prefix).ok_or_else(|| {
            format!("a prefix has at most {PREFIX_SYMBOLS_MAX} digits, '+', '*' and '#'; found {prefix:?}")
        })?;
        let price = price.map_or(Some(0), millionths);
        let price =
            price.ok_or("a price is a number from 0 to 4000 with at most 6 decimals, for example 0.012")?;
        let known = self.names.iter().position(|known| **known == *name);
        let name = known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        if name >= TABLE_NAMES_MAX {
            return Err(format!("a table names at most {TABLE_NAMES_MAX} peers and sets"));
        }
        let name = u16::try_from(name).map_err(|error| error.to_string())?;
        self.lines.push(TableLine { key, price, name });
        Ok(())
    }
}

/// `0.012` as 12,000.
fn millionths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let part: u32 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u32>().ok().filter(|whole| *whole <= 4000)?.checked_mul(1_000_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_of_a_prefix_comes_first() {
        let text = "prefix,peer,price\n+49,beta,0.02\n+49,alpha,0.012 # since May\n\n# all others\n+4930;gamma\n+49,delta,0.012\n";
        let table = PrefixTable::parse(text).unwrap();
        let lines = table.lines.iter().map(|line| (&*table.names[usize::from(line.name)], line.price));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines, [("alpha", 12_000), ("delta", 12_000), ("beta", 20_000), ("gamma", 0)]);
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        let told = |text| PrefixTable::parse(text).unwrap_err().to_string();
        assert!(told("+49,alpha\n+49").starts_with("line 2: write prefix,peer"));
        assert!(told("+49 30,alpha").starts_with("line 1: a prefix has at most 16"));
        assert!(told("+49,alpha,1,5").starts_with("line 1: write"));
        assert!(told("+49,alpha,-1").starts_with("line 1: a price is"));
        assert!(told("+49,alpha,0.0000001").starts_with("line 1: a price is"));
    }
}

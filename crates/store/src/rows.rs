//! INSERTs of many rows at once.
//!
//! Each statement is a message to SQLite's thread and back, which costs more than a row. Rows go out in powers of two,
//! so that a group of any size takes a handful of statements and the few texts there are stay prepared.

use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

use sqlx::AssertSqlSafe;

/// Most rows of one statement: a tenth of a millisecond. Longer ones would save little more, and would have a phone wait
/// whose message comes in on the same processor meanwhile.
const ROWS_MAX: usize = 8;

/// How many powers of two there are up to [`ROWS_MAX`].
const SIZES: usize = ROWS_MAX.ilog2() as usize + 1;

/// An INSERT for any number of rows.
pub struct Insert {
    columns: usize,
    /// The statement around the list of values.
    text: fn(values: &str) -> String,
    sizes: [OnceLock<Arc<str>>; SIZES],
}

impl Insert {
    /// Rows of `columns` values; `text` is given `(?,?),(?,?)…` and makes the statement.
    pub const fn new(columns: usize, text: fn(values: &str) -> String) -> Self {
        Self { columns, text, sizes: [const { OnceLock::new() }; SIZES] }
    }

    /// The statement for `rows` rows, one of the sizes that [`groups`] makes.
    pub fn statement(&self, rows: usize) -> AssertSqlSafe<Arc<str>> {
        let text = || (self.text)(&placeholders(rows, self.columns)).into();
        // Always found: `groups` makes no other sizes. Text made for the occasion is slower, not wrong.
        let kept = self.sizes.get(rows.ilog2() as usize).filter(|_| rows.is_power_of_two());
        AssertSqlSafe(kept.map_or_else(text, |kept| Arc::clone(kept.get_or_init(text))))
    }
}

/// `rows` in groups of powers of two, the largest first.
pub fn groups<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = 1 << rows.len().min(ROWS_MAX).checked_ilog2()?;
        let (group, rest) = rows.split_at(size);
        rows = rest;
        Some(group)
    })
}

/// `(?,?),(?,?)…` for `rows` rows of `columns` columns.
fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * (2 * columns + 2));
    for row in 0..rows {
        let _ = write!(text, "{}(?{})", if row == 0 { "" } else { "," }, ",?".repeat(columns - 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_split_into_a_few_powers_of_two() {
        let rows: Vec<u32> = (0..203).collect();
        let sizes: Vec<usize> = groups(&rows).map(<[u32]>::len).collect();
        assert_eq!(sizes, [[8; 25].as_slice(), &[2, 1]].concat());
        assert!(groups(&rows).flatten().eq(&rows));
        assert_eq!(groups::<u32>(&[]).count(), 0);
    }

    #[test]
    fn a_statement_has_a_place_for_every_value() {
        let insert = Insert::new(2, |values| format!("INSERT INTO t VALUES {values}"));
        assert_eq!(&*insert.statement(1).0, "INSERT INTO t VALUES (?,?)");
        assert_eq!(&*insert.statement(4).0, "INSERT INTO t VALUES (?,?),(?,?),(?,?),(?,?)");
        assert_eq!(&*insert.statement(3).0, "INSERT INTO t VALUES (?,?),(?,?),(?,?)");
    }
}

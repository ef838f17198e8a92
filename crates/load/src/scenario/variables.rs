//! Variables of a scenario: names become numbers when it is read.

use std::collections::HashMap;

use super::fault::Place;

/// A variable: its scope, and its number within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VariableId(pub(crate) u16);

/// Who shares a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One call.
    Call,
    /// All calls of one user (`-users`).
    User,
    /// All calls.
    Global,
}

/// Most variables of a scenario; their numbers are 16 bits.
const VARIABLES_MAX: usize = 4096;

/// The variables of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    rows: Vec<Row>,
    numbers: HashMap<String, u16>,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    scope: Scope,
    mentions: u32,
    place: Place,
}

impl Variables {
    /// The variable `name`, which a step mentions. A new name is a variable of the call. `None`: there are too many.
    pub fn mention(&mut self, name: &str, place: Place) -> Option<VariableId> {
        let id = self.number(name, Scope::Call, place)?;
        self.rows[usize::from(id.0)].mentions += 1;
        Some(id)
    }

    /// Declares `name` with a scope of its own. `None`: there are too many, or it has another scope already.
    pub fn declare(&mut self, name: &str, scope: Scope, place: Place) -> Option<VariableId> {
        let id = self.number(name, scope, place)?;
        let row = &mut self.rows[usize::from(id.0)];
        (row.scope == scope).then_some(id)
    }

    /// The author knows that `name` is mentioned once.
    pub fn refer(&mut self, name: &str) -> bool {
        let number = self.numbers.get(name).copied();
        if let Some(number) = number {
            self.rows[usize::from(number)].mentions += 2;
        }
        number.is_some()
    }

    fn number(&mut self, name: &str, scope: Scope, place: Place) -> Option<VariableId> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(VariableId(number));
        }
        if self.rows.len() >= VARIABLES_MAX {
            return None;
        }
        let number = self.rows.len() as u16;
        self.rows.push(Row { name: name.into(), scope, mentions: 0, place });
        self.numbers.insert(name.into(), number);
        Some(VariableId(number))
    }

    /// The variable of that name.
    pub fn find(&self, name: &str) -> Option<VariableId> {
        self.numbers.get(name).copied().map(VariableId)
    }

    /// Names and scopes, in the order in which the scenario names them first.
    pub fn all(&self) -> impl Iterator<Item = (&str, Scope)> {
        self.rows.iter().map(|row| (row.name.as_str(), row.scope))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its name.
    pub fn name(&self, id: VariableId) -> &str {
        &self.rows[usize::from(id.0)].name
    }

    /// Its scope.
    pub fn scope(&self, id: VariableId) -> Scope {
        self.rows[usize::from(id.0)].scope
    }

    /// Whether any has this scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.rows.iter().any(|row| row.scope == scope)
    }

    /// Variables of the call that are mentioned once: a misspelt name, most likely.
    pub fn lonely(&self) -> impl Iterator<Item = (&str, Place)> {
        let lonely = |row: &&Row| row.mentions == 1 && row.scope == Scope::Call;
        self.rows.iter().filter(lonely).map(|row| (row.name.as_str(), row.place))
    }
}

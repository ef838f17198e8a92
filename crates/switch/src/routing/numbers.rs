//! How numbers are written: as they were dialled, in the international form of E.164, and as a carrier wants them.

use serde::{Deserialize, Serialize};

/// How numbers are dialled in a tenant's country.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberPlan {
    /// The country code, for example `49`; 1 to 3 digits.
    pub country: Box<str>,
    /// What stands before a number of the same country, for example `0`; may be empty, as in Italy or Denmark.
    #[serde(default)]
    pub national: Box<str>,
    /// What stands before a number of another country, for example `00` or `011`.
    pub international: Box<str>,
}

/// How a peer wants numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberForm {
    /// As it was dialled: the default.
    #[default]
    AsDialled,
    /// `+4930123456`.
    Plus,
    /// `4930123456`.
    E164,
    /// `004930123456`, with the international prefix of the plan.
    International,
    /// `030123456` for a number of the plan's country, otherwise as [`NumberForm::International`].
    National,
}

impl NumberPlan {
    /// The number with `+` and country code; `None` if it is not one that can be written so: a short code, a name, or what is
    /// dialled without the national prefix.
    pub fn canonical(&self, dialled: &str) -> Option<String> {
        let digits = |text: &str| text.len() >= 2 && text.bytes().all(|symbol| symbol.is_ascii_digit());
        if let Some(number) = dialled.strip_prefix('+') {
            return digits(number).then(|| dialled.to_string());
        }
        if !digits(dialled) {
            return None;
        }
        if let Some(number) = dialled.strip_prefix(&*self.international).filter(|number| digits(number)) {
            return Some(format!("+{number}"));
        }
        // Without a national prefix a short code cannot be told from a number.
        let number = dialled.strip_prefix(&*self.national).filter(|_| !self.national.is_empty())?;
        digits(number).then(|| format!("+{}{number}", self.country))
    }

    /// A canonical number as `form` has it.
    pub fn write(&self, canonical: &str, form: NumberForm) -> String {
        let digits = canonical.trim_start_matches('+');
        match form {
            NumberForm::AsDialled | NumberForm::Plus => canonical.to_string(),
            NumberForm::E164 => digits.to_string(),
            NumberForm::International => format!("{}{digits}", self.international),
            NumberForm::National => match digits.strip_prefix(&*self.country) {
                Some(number) => format!("{}{number}", self.national),
                None => format!("{}{digits}", self.international),
            },
        }
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let digits = |text: &str, most: usize| {
            text.len() <= most && text.bytes().all(|symbol| symbol.is_ascii_digit())
        };
        if self.country.is_empty() || !digits(&self.country, 3) {
            return Some("country: a country code has 1 to 3 digits, for example \"49\"");
        }
        if self.international.is_empty() || !digits(&self.international, 5) || !digits(&self.national, 5) {
            return Some("international and national: up to 5 digits, for example \"00\" and \"0\"");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(country: &str, national: &str, international: &str) -> NumberPlan {
        NumberPlan { country: country.into(), national: national.into(), international: international.into() }
    }

    #[test]
    fn a_number_goes_to_e164_and_back() {
        let berlin = plan("49", "0", "00");
        for dialled in ["+4930123456", "004930123456", "030123456"] {
            assert_eq!(berlin.canonical(dialled).as_deref(), Some("+4930123456"), "{dialled}");
        }
        let written = |number| {
            use NumberForm::{E164, International, National, Plus};
            [Plus, E164, International, National].map(|form| berlin.write(number, form))
        };
        assert_eq!(written("+4930123456"), ["+4930123456", "4930123456", "004930123456", "030123456"]);
        assert_eq!(written("+331234")[3], "00331234");
        let boston = plan("1", "1", "011");
        assert_eq!(boston.canonical("01149301").as_deref(), Some("+49301"));
        assert_eq!(boston.canonical("16175550100").as_deref(), Some("+16175550100"));
    }

    #[test]
    fn what_is_no_public_number_stays_as_it_is() {
        let berlin = plan("49", "0", "00");
        for dialled in ["112", "*43", "anna", "+", "+4x", "0", "00", ""] {
            assert_eq!(berlin.canonical(dialled), None, "{dialled}");
        }
        assert_eq!(plan("45", "", "00").canonical("101"), None, "it may be a line");
    }
}

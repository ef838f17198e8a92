//! The scenarios that are built in, under SIPp's names. They put the same messages on the wire as SIPp's.

/// A scenario that `-sn` runs and `-sd` shows.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// The XML.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(BuiltIn { name: $name, text: include_str!(concat!("built_in/", $name, ".xml")) }),+]
    };
}

/// All of them.
pub const ALL: &[BuiltIn] = built_in![
    "uac",
    "uas",
    "uac_pcap",
    "regexp",
    "branchc",
    "branchs",
    "3pcc-C-A",
    "3pcc-C-B",
    "3pcc-A",
    "3pcc-B",
    "ooc_default",
    "ooc_dummy",
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::read::{Known, read};

    #[test]
    fn every_built_in_scenario_reads_without_a_warning() {
        for built_in in ALL {
            let (scenario, warnings) = read(built_in.text.as_bytes(), &Known::default())
                .unwrap_or_else(|fault| panic!("{}: {fault}", built_in.name));
            assert!(!scenario.steps.is_empty());
            let lonely = matches!(built_in.name, "regexp" | "branchc" | "branchs");
            assert!(warnings.is_empty() || lonely, "{}: {warnings:?}", built_in.name);
        }
    }
}

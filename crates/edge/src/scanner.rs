//! Programs that search the internet for telephone systems, by what they call themselves.
//!
//! Who hides his name is found by what he does: see [`Stray`](crate::Stray).

/// How well-known scanners begin or contain their User-Agent or the caller's name: SIPVicious and its many copies, and
/// tools that nobody calls with.
pub const SCANNERS: [&str; 14] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipsak",
    "siparmyknife",
    "sundayddr",
    "iwar",
    "smap",
    "viproy",
    "vaxsipuseragent",
    "pplsip",
    "zgrab",
];

/// Names of scanners, looked for in what a stranger calls himself.
#[derive(Clone, Debug)]
pub struct Scanners(Vec<Box<str>>);

impl Scanners {
    /// These, whatever their case. Empty ones are left out.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().filter(|name| !name.is_empty());
        Self(names.map(|name| name.to_ascii_lowercase().into()).collect())
    }

    /// Whether `text` names one of them.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|name| {
            text.as_bytes().windows(name.len()).any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
        })
    }
}

impl Default for Scanners {
    fn default() -> Self {
        Self::new(SCANNERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanners_are_known_and_phones_are_not() {
        let scanners = Scanners::default();
        for text in ["friendly-scanner", "SIPVicious 0.3.4", "sipcli/v1.8", "VaxSIPUserAgent/3.1", "x iWar y"]
        {
            assert!(scanners.is_in(text), "{text}");
        }
        for text in
            ["", "Yealink SIP-T46S 66.86.0.15", "Linphone/5.2", "baresip v1.0.0", "SIPp", "snom870/8.7"]
        {
            assert!(!scanners.is_in(text), "{text}");
        }
        assert!(!Scanners::new([""]).is_in("anything"));
    }
}

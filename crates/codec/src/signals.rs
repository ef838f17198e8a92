//! The signals of the telephone network, country by country (ITU-T E.180, Supplement 2).
//!
//! A signal is a row of beats that repeats: what sounds, and how long. An empty beat is silence.

/// A part of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Frequencies that sound together, Hz; none is silence.
    pub sines: &'static [u16],
    /// How long, ms.
    pub ms: u32,
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Dial now.
    Dial,
    /// It rings at the other end.
    Ringback,
    /// The other end is busy.
    Busy,
    /// The network is.
    Congestion,
    /// Another call waits.
    CallWaiting,
    /// Something else is the matter; an announcement follows.
    Information,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Dial, Self::Ringback, Self::Busy, Self::Congestion, Self::CallWaiting, Self::Information];
}

/// A country whose signals are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Country(usize);

/// The signals of a country, in the order of [`Signal::ALL`].
type Signals = [&'static [Beat]; 6];

const fn on(sines: &'static [u16], ms: u32) -> Beat {
    Beat { sines, ms }
}

const fn off(ms: u32) -> Beat {
    Beat { sines: &[], ms }
}

/// A tone without pause is cut into beats like this one; repeated, they join without a seam.
const STEADY_MS: u32 = 1000;

/// Three rising tones. ITU-T E.180 §6.
const INFORMATION: &[Beat] = &[on(&[950], 330), on(&[1400], 330), on(&[1800], 330), off(1000)];

/// What E.180 §2 recommends, and most of Europe has in some form.
const RECOMMENDED: Signals = [
    &[on(&[425], STEADY_MS)],
    &[on(&[425], 1000), off(4000)],
    &[on(&[425], 500), off(500)],
    &[on(&[425], 200), off(200)],
    &[on(&[425], 200), off(600), on(&[425], 200), off(10_000)],
    INFORMATION,
];

/// By ISO 3166 code. The first is taken where none is chosen.
const COUNTRIES: &[(&str, Signals)] = &[
    ("itu", RECOMMENDED),
    (
        "at",
        [
            &[on(&[420], STEADY_MS)],
            &[on(&[420], 1000), off(5000)],
            &[on(&[420], 400), off(400)],
            &[on(&[420], 200), off(200)],
            &[on(&[420], 40), off(1960)],
            &[on(&[950], 330), on(&[1450], 330), on(&[1850], 330), off(1000)],
        ],
    ),
    (
        "au",
        [
            &[on(&[413, 438], STEADY_MS)],
            &[on(&[413, 438], 400), off(200), on(&[413, 438], 400), off(2000)],
            &[on(&[425], 375), off(375)],
            &[on(&[425], 375), off(375)],
            &[on(&[425], 200), off(200), on(&[425], 200), off(4400)],
            INFORMATION,
        ],
    ),
    (
        "be",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(3000)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 167), off(167)],
            &[on(&[1400], 175), off(175), on(&[1400], 175), off(3500)],
            &[on(&[900], 330), on(&[1400], 330), on(&[1800], 330), off(1000)],
        ],
    ),
    (
        "ch",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 200), off(200)],
            &[on(&[425], 200), off(200), on(&[425], 200), off(4000)],
            INFORMATION,
        ],
    ),
    (
        "cn",
        [
            &[on(&[450], STEADY_MS)],
            &[on(&[450], 1000), off(4000)],
            &[on(&[450], 350), off(350)],
            &[on(&[450], 700), off(700)],
            &[on(&[450], 400), off(4000)],
            INFORMATION,
        ],
    ),
    (
        "de",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 480), off(480)],
            &[on(&[425], 240), off(240)],
            &[on(&[425], 200), off(200), on(&[425], 200), off(5000)],
            INFORMATION,
        ],
    ),
    (
        "es",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1500), off(3000)],
            &[on(&[425], 200), off(200)],
            &[on(&[425], 200), off(200), on(&[425], 200), off(200), on(&[425], 200), off(600)],
            &[on(&[425], 175), off(175), on(&[425], 175), off(3500)],
            INFORMATION,
        ],
    ),
    (
        "fi",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 300), off(300)],
            &[on(&[425], 200), off(200)],
            &[on(&[425], 150), off(150), on(&[425], 150), off(8000)],
            INFORMATION,
        ],
    ),
    (
        "fr",
        [
            &[on(&[440], STEADY_MS)],
            &[on(&[440], 1500), off(3500)],
            &[on(&[440], 500), off(500)],
            &[on(&[440], 250), off(250)],
            &[on(&[440], 300), off(10_000)],
            INFORMATION,
        ],
    ),
    (
        "gb",
        [
            &[on(&[350, 440], STEADY_MS)],
            &[on(&[400, 450], 400), off(200), on(&[400, 450], 400), off(2000)],
            &[on(&[400], 375), off(375)],
            &[on(&[400], 400), off(350), on(&[400], 225), off(525)],
            &[on(&[400], 100), off(4000)],
            INFORMATION,
        ],
    ),
    (
        "it",
        [
            &[on(&[425], 200), off(200), on(&[425], 600), off(1000)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 200), off(200)],
            &[on(&[425], 400), off(100), on(&[425], 250), off(100), on(&[425], 150), off(14_000)],
            INFORMATION,
        ],
    ),
    (
        "nl",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 250), off(250)],
            &[on(&[425], 500), off(9500)],
            INFORMATION,
        ],
    ),
    (
        "pl",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(4000)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 500), off(500)],
            &[on(&[425], 150), off(150), on(&[425], 150), off(4000)],
            INFORMATION,
        ],
    ),
    (
        "se",
        [
            &[on(&[425], STEADY_MS)],
            &[on(&[425], 1000), off(5000)],
            &[on(&[425], 250), off(250)],
            &[on(&[425], 250), off(750)],
            &[on(&[425], 200), off(500), on(&[425], 200), off(9100)],
            INFORMATION,
        ],
    ),
    (
        "us",
        [
            &[on(&[350, 440], STEADY_MS)],
            &[on(&[440, 480], 2000), off(4000)],
            &[on(&[480, 620], 500), off(500)],
            &[on(&[480, 620], 250), off(250)],
            &[on(&[440], 300), off(10_000)],
            INFORMATION,
        ],
    ),
];

impl Country {
    /// By its ISO 3166 code in lower case, or `itu` for what E.180 recommends.
    pub fn parse(code: &str) -> Option<Self> {
        COUNTRIES.iter().position(|(known, _)| *known == code).map(Self)
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        COUNTRIES[self.0].0
    }

    /// All codes.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        COUNTRIES.iter().map(|(code, _)| *code)
    }

    /// How it says `signal`: one round of the beats, to be repeated.
    pub fn signal(self, signal: Signal) -> &'static [Beat] {
        COUNTRIES[self.0].1[signal as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_every_signal_within_e180() {
        for code in Country::codes() {
            let country = Country::parse(code).unwrap();
            assert_eq!(country.code(), code);
            for signal in Signal::ALL {
                let beats = country.signal(signal);
                assert!(beats.iter().any(|beat| !beat.sines.is_empty()), "{code} {signal:?}");
                let all = beats.iter().flat_map(|beat| beat.sines);
                assert!(all.copied().all(|hz| (300..2000).contains(&hz)), "{code} {signal:?}");
                assert!(beats.iter().all(|beat| (40..=15_000).contains(&beat.ms)), "{code} {signal:?}");
            }
        }
        assert_eq!(Country::parse("xx"), None);
        assert_eq!(Country::default().code(), "itu");
    }

    #[test]
    fn busy_is_slower_than_congestion_or_told_apart_by_its_pitch() {
        for code in ["de", "fr", "us", "gb", "nl", "it"] {
            let country = Country::parse(code).unwrap();
            assert_ne!(country.signal(Signal::Busy), country.signal(Signal::Congestion), "{code}");
        }
    }
}

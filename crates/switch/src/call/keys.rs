//! SRTP keys in descriptions (SDES, RFC 4568): they pass from end to end, or the encryption of a leg ends with the node.
//!
//! Picture two rooms with a door between them, the node. If both sides speak the same cipher, the door stands open. If
//! only one does, an interpreter stands in the door: towards that side it has a key of its own.
//!
//! A leg whose encryption ends here keeps that for the rest of the call, whatever the other side offers later, so that no
//! phone is asked to change its profile for something that happened elsewhere.

use std::fmt;

use bytes::Bytes;
use offhook_base::{CryptoSuite, Random};
use offhook_sdp::{
    Crypto, MediaDescription, Protocol, SessionDescription,
    anchor::{CryptoPlan, MediaPlan},
};

use crate::{
    directory::Srtp,
    media::{STREAMS_MAX, StreamCrypto},
};

/// The suite that we offer: the one that every SRTP implementation has (RFC 4568 §6.2, RFC 3711 §8.2).
const OUR_SUITE: CryptoSuite = CryptoSuite::AesCm128HmacSha1_80;

/// The tag of the one key that we offer.
const OUR_TAG: u32 = 1;

/// What a leg was told of the protection of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// What the other side wrote, be it keys or none.
    #[default]
    Passed,
    /// Plain RTP, whatever the other side wrote.
    Plain,
    /// SRTP that ends with the node, with this key of ours.
    Ours(Crypto),
}

/// What a leg was told last. `Debug` shows no text: it holds keys and addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// The description as written.
    pub text: Bytes,
    /// Per stream, in order; what is missing was passed.
    pub protection: Vec<Protection>,
}

impl Told {
    /// What it said of stream `index`.
    pub fn protection(&self, index: usize) -> &Protection {
        self.protection.get(index).unwrap_or(&Protection::Passed)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Told({} bytes, {:?})", self.text.len(), self.protection)
    }
}

/// What the reader of a description must know of the leg that wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// It may offer nothing without keys.
    pub needs_keys: bool,
    /// Per stream: what it was told itself.
    pub streams: [Side; STREAMS_MAX],
}

/// [`Protection`] without the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Passed.
    #[default]
    Passed,
    /// Plain.
    Plain,
    /// Ours.
    Ours,
}

impl From<&Protection> for Side {
    fn from(protection: &Protection) -> Self {
        match protection {
            Protection::Passed => Self::Passed,
            Protection::Plain => Self::Plain,
            Protection::Ours(_) => Self::Ours,
        }
    }
}

/// What becomes of the keys of one stream of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// They pass.
    Pass,
    /// They pass, in the profile that belongs to them.
    PassSecured,
    /// They are taken out.
    Plain,
    /// A key of ours takes their place.
    Ours,
}

/// Decides how `offered` is told to a leg that wants `want`. `None`: it cannot be, as its writer could not be answered.
pub fn choose(
    offered: &MediaDescription<'_>,
    needs_keys: bool,
    want: Srtp,
    has_our_key: bool,
) -> Option<Choice> {
    if offered.is_rejected() || !offered.protocol().is_rtp() {
        return Some(Choice::Pass);
    }
    let has_keys = offered.has_crypto();
    if needs_keys && !has_keys {
        return None;
    }
    match want {
        Srtp::Auto => Some(Choice::Pass),
        Srtp::Always if has_keys && !has_our_key => Some(Choice::PassSecured),
        // The writer has to be answered in a secure profile, and with none of its keys can that be done.
        _ if offered.protocol().is_secure() && usable(offered).is_none() => None,
        Srtp::Never if has_keys => Some(Choice::Plain),
        Srtp::Never => Some(Choice::Pass),
        Srtp::Always => Some(Choice::Ours),
    }
}

/// The first key that SRTP can end with here. A key with an MKI cannot: the packets would carry it.
pub fn usable(media: &MediaDescription<'_>) -> Option<Crypto> {
    media.cryptos().filter_map(Result::ok).find(|crypto| crypto.mki.is_none())
}

/// A new key to offer.
pub fn fresh(random: &mut Random) -> Crypto {
    Crypto::generate(OUR_TAG, OUR_SUITE, random)
}

/// Our key in the answer to `offered`: tag and suite of the key that we take (RFC 4568 §5.1.2). The key stays `before` as
/// long as the leg keeps the key that it had `then` (§7.1.4), and is a new one else.
pub fn answer(
    offered: &Crypto,
    before: &Protection,
    then: Option<MediaDescription<'_>>,
    random: &mut Random,
) -> Crypto {
    let same = |known: &Crypto| known.key == offered.key;
    let kept = then.is_some_and(|media| media.cryptos().filter_map(Result::ok).any(|known| same(&known)));
    match before {
        Protection::Ours(ours) if kept && ours.key.suite() == offered.key.suite() => {
            Crypto { tag: offered.tag, ..ours.clone() }
        }
        _ => Crypto::generate(offered.tag, offered.key.suite(), random),
    }
}

/// Whether the keys of `answered` fit what the leg was told when `offered` was passed to it (RFC 4568 §5.1.2, §5.1.3).
/// `needed`: an answer without keys is none.
pub fn fits(
    offered: Option<MediaDescription<'_>>,
    told: &Protection,
    answered: &MediaDescription<'_>,
    needed: bool,
) -> bool {
    if answered.is_rejected() || !answered.protocol().is_rtp() {
        return true;
    }
    match told {
        Protection::Ours(ours) => theirs(answered, ours).is_some(),
        Protection::Plain => true,
        Protection::Passed if answered.has_crypto() => {
            // By the words as written: suites that we do not have pass as well.
            let words = |media: MediaDescription<'_>| -> Vec<String> { media.crypto_names().collect() };
            let known = offered.map(words).unwrap_or_default();
            answered.crypto_names().all(|name| known.contains(&name))
        }
        Protection::Passed => {
            let keyed = offered.is_some_and(|media| media.has_crypto() && media.protocol().is_secure());
            !keyed && !needed
        }
    }
}

/// The leg's key that belongs to `ours`.
fn theirs(media: &MediaDescription<'_>, ours: &Crypto) -> Option<Crypto> {
    let matches = |crypto: &Crypto| {
        crypto.tag == ours.tag && crypto.key.suite() == ours.key.suite() && crypto.mki.is_none()
    };
    media.cryptos().filter_map(Result::ok).find(matches)
}

/// The pair of keys for the media engine. `None`: the leg has said none that belongs to ours.
pub fn pair(media: &MediaDescription<'_>, ours: &Crypto) -> Option<StreamCrypto> {
    theirs(media, ours).map(|theirs| StreamCrypto { ours: ours.key.clone(), theirs: theirs.key })
}

/// Completes `plan` by what was decided. `protocol`: the profile to write, if it is not the writer's own.
pub fn planned(plan: MediaPlan, protection: &Protection, protocol: Option<Protocol>) -> MediaPlan {
    let crypto = match protection {
        Protection::Passed => CryptoPlan::Pass,
        Protection::Plain => CryptoPlan::Plain,
        Protection::Ours(ours) => CryptoPlan::Sdes(vec![ours.clone()]),
    };
    MediaPlan { crypto, protocol, ..plan }
}

/// The profile of stream `index` in `known` for one that a side writes as `written`, where only the encryption differs:
/// an answer repeats the offer's (RFC 3264 §6), even `RTP/AVP` beside keys.
pub fn profile_of(known: Option<&SessionDescription>, index: usize, written: Protocol) -> Option<Protocol> {
    let known = known?.media_at(index)?.protocol();
    (known.plain() == written.plain()).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    /// One audio section in this profile with these `crypto` values.
    fn described(profile: &str, cryptos: &[String]) -> SessionDescription {
        let cryptos: String = cryptos.iter().map(|value| format!("a=crypto:{value}\r\n")).collect();
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 {profile} 8\r\n{cryptos}"
        );
        SessionDescription::parse(text).unwrap()
    }

    fn crypto(tag: u32, suite: &str) -> String {
        format!("{tag} {suite} {KEY}")
    }

    fn known(tag: u32) -> String {
        crypto(tag, "AES_CM_128_HMAC_SHA1_80")
    }

    #[test]
    fn every_offer_finds_its_way_or_is_refused() {
        use Choice::{Ours, Pass, PassSecured, Plain};
        let (plain, best, secured) = (
            described("RTP/AVP", &[]),
            described("RTP/AVP", &[known(1)]),
            described("RTP/SAVP", &[known(1)]),
        );
        let foreign = described("RTP/SAVP", &[crypto(1, "F8_128_HMAC_SHA1_80")]);
        for (offer, auto, never, always) in [
            (&plain, Some(Pass), Some(Pass), Some(Ours)),
            (&best, Some(Pass), Some(Plain), Some(PassSecured)),
            (&secured, Some(Pass), Some(Plain), Some(PassSecured)),
            (&foreign, Some(Pass), None, Some(PassSecured)),
        ] {
            let media = offer.media_at(0).unwrap();
            let chosen = Srtp::ALL.map(|want| choose(&media, false, want, false));
            assert_eq!(chosen, [auto, never, always]);
        }
        let media = |sdp: &SessionDescription| choose(&sdp.media_at(0).unwrap(), true, Srtp::Auto, false);
        assert_eq!((media(&plain), media(&best)), (None, Some(Pass)), "who needs keys brings some");
        let running = choose(&foreign.media_at(0).unwrap(), false, Srtp::Always, true);
        assert_eq!(running, None, "its writer could not be answered");
    }

    #[test]
    fn a_key_with_an_mki_does_not_end_here() {
        let offer = described("RTP/SAVP", &[format!("{}|2^20|1:4", known(1)), known(2)]);
        assert_eq!(usable(&offer.media_at(0).unwrap()).map(|crypto| crypto.tag), Some(2));
    }

    #[test]
    fn an_answer_fits_by_tag_and_suite_even_of_suites_that_we_do_not_have() {
        let foreign = |tag| crypto(tag, "F8_128_HMAC_SHA1_80");
        let offer = described("RTP/SAVP", &[known(1), foreign(2)]);
        let fits_passed = |profile: &str, cryptos: &[String], needed| {
            let answer = described(profile, cryptos);
            fits(offer.media_at(0), &Protection::Passed, &answer.media_at(0).unwrap(), needed)
        };
        assert!(fits_passed("RTP/SAVP", &[known(1)], true) && fits_passed("RTP/SAVP", &[foreign(2)], true));
        assert!(
            !fits_passed("RTP/SAVP", &[foreign(1)], false) && !fits_passed("RTP/SAVP", &[known(3)], false)
        );
        assert!(!fits_passed("RTP/SAVP", &[], false), "SRTP without a key");
        let ours = Protection::Ours(fresh(&mut Random::from_number(1)));
        for (cryptos, fitting) in [(vec![known(1)], true), (vec![known(2)], false), (vec![], false)] {
            let answer = described("RTP/SAVP", &cryptos);
            assert_eq!(fits(None, &ours, &answer.media_at(0).unwrap(), false), fitting);
        }
    }

    #[test]
    fn what_a_leg_was_told_does_not_print() {
        let ours = fresh(&mut Random::from_number(1));
        let text = Bytes::from_static(b"a=crypto:1 secret 192.0.2.1");
        let told = Told { text, protection: vec![Protection::Ours(ours)] };
        let shown = format!("{told:?}");
        assert!(!shown.contains("secret") && !shown.contains("192") && shown.contains("***"), "{shown}");
    }
}

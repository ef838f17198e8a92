//! Keys of a call's media, as its descriptions tell them. RFC 4568.

use offhook_base::{CryptoSuite, Random};
use offhook_sdp::Crypto;

use crate::media::Secrets;

/// Keys that a call has of its own: as many as SIPp has keywords for.
const SLOTS: usize = 2;
/// `a=crypto` lines of one description that are looked at.
const OFFERED_MAX: usize = 8;

/// What is known of the keys of a call.
#[derive(Default)]
pub(super) struct Keys {
    /// Ours, as `inline:` has them; made when first asked for.
    own: [String; SLOTS],
    ours: Vec<Crypto>,
    theirs: Vec<Crypto>,
    agreed: Option<Secrets>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("agreed", &self.agreed.is_some()).finish_non_exhaustive()
    }
}

impl Keys {
    /// The call's key in a slot, 1 or 2, in base64.
    pub(super) fn own(&mut self, slot: u8, random: &mut Random) -> &str {
        let own = &mut self.own[usize::from(slot.saturating_sub(1)).min(SLOTS - 1)];
        if own.is_empty() {
            // Both suites that there are keywords for take keys of this size.
            let crypto = Crypto::generate(u32::from(slot), CryptoSuite::AesCm128HmacSha1_80, random);
            let mut line = String::new();
            if crypto.write_value(&mut line).is_ok() {
                *own = line.rsplit(':').next().unwrap_or_default().into();
            }
        }
        own
    }

    /// Takes what a description of ours says, or of theirs. Returns the keys to use from now on if they are new.
    pub(super) fn described(&mut self, is_ours: bool, body: &[u8]) -> Option<Secrets> {
        let lines = read(body);
        *(if is_ours { &mut self.ours } else { &mut self.theirs }) = lines;
        // An answer has the one line that was chosen, under the tag it was offered with (RFC 4568 §5.1.2).
        let mut pairs =
            self.ours.iter().flat_map(|ours| self.theirs.iter().map(move |theirs| (ours, theirs)));
        let (ours, theirs) = pairs.find(|(ours, theirs)| {
            ours.tag == theirs.tag
                && ours.key.suite() == theirs.key.suite()
                && ours.mki.or(theirs.mki).is_none()
        })?;
        let secrets = Secrets { outgoing: ours.key.clone(), incoming: theirs.key.clone() };
        if self.agreed.as_ref() == Some(&secrets) {
            return None;
        }
        self.agreed = Some(secrets.clone());
        Some(secrets)
    }
}

/// The keys of the first media in a description.
fn read(body: &[u8]) -> Vec<Crypto> {
    let mut media = 0;
    let mut found = Vec::new();
    for line in body.split(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(line).unwrap_or_default().trim();
        media += u32::from(line.starts_with("m="));
        if let Some(value) = line.strip_prefix("a=crypto:")
            && media == 1
            && found.len() < OFFERED_MAX
            && let Ok(crypto) = Crypto::parse(value)
        {
            found.push(crypto);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(lines: &[&str]) -> Vec<u8> {
        let lines = lines.iter().map(|line| format!("a=crypto:{line}\r\n")).collect::<String>();
        format!("v=0\r\nm=audio 4000 RTP/SAVP 0\r\n{lines}m=video 1 RTP/SAVP 9\r\na=crypto:9 x y\r\n").into()
    }

    #[test]
    fn the_answer_chooses_among_the_offered_keys() {
        let mut random = Random::from_number(7);
        let (mut one, mut other) = (Keys::default(), Keys::default());
        let short = one.own(1, &mut random).to_string();
        let long = one.own(2, &mut random).to_string();
        assert_ne!(short, long);
        assert_eq!(one.own(1, &mut random), short, "a call keeps its keys");
        let offer = description(&[
            &format!("1 AES_CM_128_HMAC_SHA1_32 inline:{short}"),
            &format!("2 AES_CM_128_HMAC_SHA1_80 inline:{long}"),
        ]);
        let answer = format!("2 AES_CM_128_HMAC_SHA1_80 inline:{}", other.own(2, &mut random));
        let answer = description(&[&answer]);
        assert_eq!(one.described(true, &offer), None);
        assert_eq!(other.described(false, &offer), None);
        let ours = one.described(false, &answer).expect("they agree");
        let theirs = other.described(true, &answer).expect("they agree");
        assert_eq!((&ours.outgoing, &ours.incoming), (&theirs.incoming, &theirs.outgoing));
        assert_eq!(ours.outgoing.suite(), CryptoSuite::AesCm128HmacSha1_80);
        assert_eq!(one.described(false, &answer), None, "the same again is nothing new");
    }

    #[test]
    fn what_does_not_fit_agrees_on_nothing() {
        let mut random = Random::from_number(8);
        let mut keys = Keys::default();
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", keys.own(1, &mut random));
        assert_eq!(keys.described(true, &description(&[&line])), None);
        let other = line.replacen('1', "3", 1);
        for lines in [&[other.as_str()][..], &["1 AES_CM_128_HMAC_SHA1_80 inline:abc"], &["1"], &[]] {
            assert_eq!(keys.described(false, &description(lines)), None, "{lines:?}");
        }
    }
}

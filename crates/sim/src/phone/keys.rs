//! A phone's SRTP keys (RFC 4568): whether it has any, what it says of them, and what it can open.

use offhook_base::{CryptoSuite, Instant, Random};
use offhook_sdp::{Crypto, MediaDescription};

use super::Phone;
use crate::media::{KEY_BYTES, SoundKey};

/// How a phone protects its media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    /// It knows nothing of SRTP and refuses it.
    #[default]
    Never,
    /// It offers keys beside plain RTP, and is content without.
    Offered,
    /// It refuses everything else.
    Always,
    /// As `Always`, but its answers name a key that nobody has offered.
    Confused,
}

/// One call's keys.
#[derive(Debug)]
pub struct Keys {
    habit: Srtp,
    ours: Crypto,
    theirs: Option<Crypto>,
    /// The profile that the other side has offered: an answer repeats it.
    profile: &'static str,
}

impl Keys {
    /// Keys for a phone of this kind, `None` if it has none.
    pub fn new(habit: Srtp, random: &mut Random) -> Option<Self> {
        (habit != Srtp::Never).then(|| Self {
            habit,
            ours: Crypto::generate(1, CryptoSuite::AesCm128HmacSha1_80, random),
            theirs: None,
            profile: "RTP/SAVP",
        })
    }

    /// Takes the other side's key, if the phone is content with what it says.
    pub fn take(&mut self, audio: &MediaDescription<'_>, is_offer: bool) -> Option<()> {
        self.theirs =
            audio.cryptos().find_map(Result::ok).filter(|crypto| crypto.key.suite() == self.ours.key.suite());
        self.profile = if audio.protocol().is_secure() { "RTP/SAVP" } else { "RTP/AVP" };
        let content = match &self.theirs {
            Some(theirs) if is_offer => {
                self.ours.tag = theirs.tag;
                true
            }
            Some(theirs) => theirs.tag == self.ours.tag,
            None => self.habit == Srtp::Offered && !audio.protocol().is_secure(),
        };
        content.then_some(())
    }

    /// Profile and attributes to write.
    pub fn written(&self, is_offer: bool) -> (&'static str, String) {
        let mut ours = self.ours.clone();
        if !is_offer && self.habit == Srtp::Confused {
            ours.tag += 8;
        }
        let mut line = String::from("a=crypto:");
        ours.write_value(&mut line).expect("writing to a string does not fail");
        line.push_str("\r\n");
        match (is_offer, &self.theirs) {
            (true, _) if self.habit == Srtp::Offered => ("RTP/AVP", line),
            (true, _) => ("RTP/SAVP", line),
            (false, Some(_)) => (self.profile, line),
            (false, None) => (self.profile, String::new()),
        }
    }

    /// What our sound is closed with.
    pub fn closes(&self) -> Option<SoundKey> {
        self.theirs.as_ref().map(|_| bytes(&self.ours))
    }

    /// What the other side's sound must be closed with.
    pub fn opens(&self) -> Option<SoundKey> {
        self.theirs.as_ref().map(bytes)
    }

    fn renew(&mut self, random: &mut Random) {
        self.ours = Crypto::generate(self.ours.tag, self.ours.key.suite(), random);
    }
}

fn bytes(crypto: &Crypto) -> SoundKey {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(crypto.key.key_and_salt());
    key
}

impl Phone {
    /// Takes a new key and offers it.
    pub fn rekey(&mut self, index: usize, now: Instant) {
        let call = &mut self.calls[index];
        if let Some(keys) = &mut call.media.keys {
            keys.renew(&mut self.random);
        }
        let holding = call.media.holding;
        self.offer_again(index, holding, now);
        self.pump(now);
    }
}

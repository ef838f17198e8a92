//! What a phone is like: what it can, and how its user behaves.

use std::time::Duration;

use super::Srtp;

/// What the user, or the phone for him, does with an incoming call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Takes it after a while.
    Answer(Duration),
    /// Refuses it with this status after a while.
    Refuse(u16, Duration),
    /// Sends the caller to another address.
    Redirect(String, Duration),
    /// Lets it ring.
    Never,
    /// Does not say a word, not even 100.
    Mute,
}

/// The habits of one phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Registers by itself from the beginning.
    pub registers: bool,
    /// Lifetime it asks for, seconds.
    pub expires: u32,
    /// Preference of its contact, as written.
    pub q: Option<&'static str>,
    /// When it says 180; `None`: never.
    pub rings_after: Option<Duration>,
    /// When it plays something to the caller with a 183.
    pub early_media_after: Option<Duration>,
    /// Knows PRACK, and uses it for its 183 and 180 where the caller knows it too.
    pub reliable: bool,
    /// As a caller, demands reliable provisional responses.
    pub requires_reliable: bool,
    /// What becomes of a call.
    pub reaction: Reaction,
    /// Calls without an offer: the other side shall make it.
    pub late_offer: bool,
    /// Knows UPDATE, and uses it for hold.
    pub updates: bool,
    /// Session interval it asks for or grants, seconds; `None`: knows no session timers.
    pub session_secs: Option<u32>,
    /// Leaves refreshes to the other side.
    pub leaves_refresh: bool,
    /// Never acknowledges a 2xx: a broken phone.
    pub never_acks: bool,
    /// The push service that can wake it (RFC 8599), as the registrar knows it.
    pub push: Option<&'static str>,
    /// Octets that it adds to its INVITE, in a header that crosses: more than 1000 do not fit a datagram.
    pub padding: usize,
    /// Speaks SIP over TCP instead of UDP.
    pub tcp: bool,
    /// Sends sound while it talks.
    pub speaks: bool,
    /// How it protects its media.
    pub srtp: Srtp,
    /// Its name as a device (RFC 5626), which survives a change of address.
    pub instance: Option<String>,
}

impl Default for Habits {
    /// A plain phone that rings at once and answers after 2 s.
    fn default() -> Self {
        Self {
            registers: true,
            expires: 3600,
            q: None,
            rings_after: Some(Duration::from_millis(10)),
            early_media_after: None,
            reliable: false,
            requires_reliable: false,
            reaction: Reaction::Answer(Duration::from_secs(2)),
            late_offer: false,
            updates: false,
            session_secs: None,
            leaves_refresh: false,
            never_acks: false,
            push: None,
            padding: 0,
            tcp: false,
            speaks: true,
            srtp: Srtp::Never,
            instance: None,
        }
    }
}

impl Habits {
    /// A plain phone with this reaction to calls.
    pub fn reacting(reaction: Reaction) -> Self {
        Self { reaction, ..Self::default() }
    }
}

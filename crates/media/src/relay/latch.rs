//! Whom a port listens to. Like a door that opens for one guest: the one announced, or, where a NAT changed the
//! guest's looks, the first who plausibly is; and from then on for nobody else.
//!
//! RFC 7362 §4 describes latching and §5 its danger: whoever sprays packets over a port range steals the media ("RTP
//! bleed"). So a source that holds the latch keeps it while it is heard, unless a more credible one comes (the exact
//! address of signalling at any time, its host while we still learn). A source that fell silent may move to another
//! address only by going on with its own SSRC and sequence numbers, which who is not on the path cannot know.

use std::{net::SocketAddr, time::Duration};

use offhook_base::Instant;
use offhook_rtp::rtp::{SequenceNumber, Ssrc};

/// How long after an offer, answer or bridge an unannounced source is believed. Long enough for a phone that
/// speaks late; a call in which nobody was heard for so long is dead anyway.
pub const LEARNING_WINDOW: Duration = Duration::from_secs(60);
/// How long the holder must have been silent before another address may go on in its place: longer than jitter and
/// a lost packet or two, shorter than a person's patience when a phone changes networks.
pub const REBIND_SILENCE: Duration = Duration::from_millis(300);
/// How far the sequence numbers may have leapt while the holder was silent: 20 s of 20 ms packets. A guess hits by
/// 1 in 65, its SSRC by 1 in 4 billion.
pub const REBIND_STEPS_MAX: u16 = 1000;

/// How much speaks for an address; the more credible one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Credit {
    /// Somewhere else: a NAT's public address, or a stranger.
    Elsewhere,
    /// The announced host, another port.
    SameHost,
    /// Exactly the announced address.
    Signalled,
}

/// What an RTP packet says of its stream; nothing for other protocols (T.38 over UDPTL).
pub type Trace = Option<(Ssrc, SequenceNumber)>;

#[derive(Clone, Copy, Debug)]
struct Holder {
    address: SocketAddr,
    trace: Trace,
    heard_at: Instant,
}

/// Proof that a packet may be taken; hand it to [`Latch::accept`] once nothing else speaks against the packet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Admission(Holder);

/// Whom one port listens to and talks to.
#[derive(Debug, Default)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    holder: Option<Holder>,
    learn_until: Instant,
}

impl Latch {
    /// Takes the address of an offer or answer. What was learnt survives where it did not change.
    pub fn signal(&mut self, address: Option<SocketAddr>, now: Instant) {
        // RFC 3264 §8.4 of old: "0.0.0.0" is a hold, not an address.
        let address = address.filter(|address| !address.ip().is_unspecified() && address.port() != 0);
        if address != self.signalled {
            self.signalled = address;
            self.holder = None;
        }
        self.learn(now);
    }

    /// Goes on listening to whom another process has listened to. Its SSRC and sequence numbers are not known here: another
    /// address takes over only as it would before anybody was heard.
    pub fn resume(&mut self, source: Option<SocketAddr>, now: Instant) {
        if self.signalled.is_some()
            && let Some(address) = source
        {
            self.holder = Some(Holder { address, trace: None, heard_at: now });
        }
    }

    /// Goes on listening to `source`, of which somebody else heard packets until `heard_at`. Nothing where no address was
    /// announced.
    pub fn go_on(&mut self, source: SocketAddr, trace: (Ssrc, SequenceNumber), heard_at: Instant) {
        if self.signalled.is_some() {
            self.holder = Some(Holder { address: source, trace: Some(trace), heard_at });
        }
    }

    /// Opens the learning window anew.
    pub fn learn(&mut self, now: Instant) {
        self.learn_until = now + LEARNING_WINDOW;
    }

    /// Where to send: to whom we listen, else as announced.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.holder.map(|holder| holder.address).or(self.signalled)
    }

    /// Whom we listen to, once somebody was heard.
    pub fn source(&self) -> Option<SocketAddr> {
        self.holder.map(|holder| holder.address)
    }

    /// The source of the stream we listen to, if it is RTP.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.holder.and_then(|holder| holder.trace).map(|(ssrc, _)| ssrc)
    }

    /// The address that was announced.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// Whether a media packet from `source` may be taken. `plausible`: its content is what was negotiated; without
    /// it only the announced address and the holder are heard. Changes nothing: authentication comes first.
    pub fn admit(
        &self,
        source: SocketAddr,
        trace: Trace,
        plausible: bool,
        now: Instant,
    ) -> Option<Admission> {
        let admission = Some(Admission(Holder { address: source, trace, heard_at: now }));
        let signalled = self.signalled?;
        let credit = credit(source, signalled);
        let Some(holder) = &self.holder else {
            let learns = now < self.learn_until || credit == Credit::SameHost;
            return admission.filter(|_| credit == Credit::Signalled || (plausible && learns));
        };
        if holder.address == source || credit == Credit::Signalled {
            return admission;
        }
        let outranks =
            now < self.learn_until && plausible && credit > self::credit(holder.address, signalled);
        admission.filter(|_| outranks || holder.goes_on_as(trace, now))
    }

    /// Whether something without a trace (RTCP on a shared port, STUN) may be taken: only from whom we listen to, or
    /// the announced address.
    pub fn is_known(&self, source: SocketAddr) -> bool {
        self.source() == Some(source) || self.signalled == Some(source)
    }

    /// The packet was good: its source holds the latch. True if it comes from elsewhere than before, or
    /// than was announced.
    pub fn accept(&mut self, Admission(mut holder): Admission) -> bool {
        let is_new = self.destination() != Some(holder.address);
        if let Some(before) = &self.holder
            && before.address == holder.address
            && let (Some((ssrc, newest)), Some((its_ssrc, sequence_number))) = (before.trace, holder.trace)
            && ssrc == its_ssrc
            && newest.is_newer_than(sequence_number)
        {
            // A packet that was overtaken on its way does not turn the count back.
            holder.trace = before.trace;
        }
        self.holder = Some(holder);
        is_new
    }
}

impl Holder {
    /// True if the holder fell silent and this packet carries its stream on: the NAT gave it another address.
    fn goes_on_as(&self, trace: Trace, now: Instant) -> bool {
        let (Some((ssrc, newest)), Some((its_ssrc, sequence_number))) = (self.trace, trace) else {
            return false;
        };
        now - self.heard_at >= REBIND_SILENCE
            && ssrc == its_ssrc
            && (1..=REBIND_STEPS_MAX).contains(&sequence_number.steps_since(newest))
    }
}

fn credit(source: SocketAddr, signalled: SocketAddr) -> Credit {
    if source == signalled {
        Credit::Signalled
    } else if source.ip() == signalled.ip() {
        Credit::SameHost
    } else {
        Credit::Elsewhere
    }
}

/// Whom an RTCP port of its own listens to. Its packets are rare and predictable, so it learns from RTP's latch.
#[derive(Debug, Default)]
pub struct ControlLatch {
    signalled: Option<SocketAddr>,
    source: Option<SocketAddr>,
}

impl ControlLatch {
    /// Takes the address of an offer or answer, or of `a=rtcp`.
    pub fn signal(&mut self, address: Option<SocketAddr>) {
        let address = address.filter(|address| !address.ip().is_unspecified() && address.port() != 0);
        if address != self.signalled {
            *self = Self { signalled: address, source: None };
        }
    }

    /// Goes on listening to whom another process has listened to.
    pub fn resume(&mut self, source: Option<SocketAddr>) {
        if self.signalled.is_some() {
            self.source = source;
        }
    }

    /// Whether to believe that `source` is the leg whose RTP the latch `media` holds: the announced address, or the
    /// host that RTP comes from. A change of port at that host needs the SSRC of its RTP.
    pub fn admits(&self, source: SocketAddr, ssrc_matches: bool, media: &Latch) -> bool {
        if self.source == Some(source) || self.signalled == Some(source) {
            return true;
        }
        let host = media.source().or(self.signalled).map(|address| address.ip());
        host == Some(source.ip()) && (self.source.is_none() || ssrc_matches)
    }

    /// The packet was good. True if it comes from elsewhere than before, or than was announced.
    pub fn accept(&mut self, source: SocketAddr) -> bool {
        let is_new = self.source.or(self.signalled) != Some(source);
        self.source = Some(source);
        is_new
    }

    /// Where its packets come from, once there were some.
    pub const fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// The address that was announced.
    pub const fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// Where to send: where it came from; else next to RTP where that turned out to come from elsewhere than was
    /// announced (RFC 3550 §11); else as announced.
    pub fn destination(&self, media: &Latch) -> Option<SocketAddr> {
        if self.source.is_some() {
            return self.source;
        }
        match media.source() {
            Some(source) if media.signalled() != Some(source) => {
                source.port().checked_add(1).map(|port| SocketAddr::new(source.ip(), port))
            }
            _ => self.signalled,
        }
    }
}

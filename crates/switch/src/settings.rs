//! What call control may do and for how long: the operator's settings, checked before they get here.

use std::{net::IpAddr, time::Duration};

use offhook_sip::{
    digest::HashFunction,
    session_timer::SessionTimerPolicy,
    transaction::TimerConfig,
    transport::{Listener, ListenerId, Transport},
};

use crate::service::ServiceNumbers;

/// When the node offers codecs of its own, to recode where two sides share none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transcoding {
    /// Never: sides that share no codec cannot talk.
    #[default]
    Never,
    /// Once a phone has refused an offer with 488.
    OnRefusal,
    /// In every offer. Saves the second INVITE, but some phones then pick what they like best, and are recoded without need.
    Always,
}

/// Limits and defaults of one exchange. Every duration is positive.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sockets the node listens on.
    pub listeners: Vec<Listener>,
    /// Media address to write into descriptions instead of the local one, behind a static NAT.
    pub media_advertised: Option<IpAddr>,
    /// Media goes through the node. Default true.
    pub anchor_media: bool,
    /// When codecs of the node are offered. Default: never.
    pub transcoding: Transcoding,
    /// How long one group of devices may ring before the next is tried. Default 30 s, 5..=180.
    pub ring: Duration,
    /// How long a call may stay unanswered in all. Default 120 s, 10..=180 (Timer C of RFC 3261 §16.6 is 180).
    pub unanswered: Duration,
    /// How long an answered call may last. Default 12 h.
    pub call_duration: Duration,
    /// Both directions silent for so long end the call; `None` turns the check off. Default 60 s.
    pub silence: Option<Duration>,
    /// What we want of session timers.
    pub session_timers: SessionTimerPolicy,
    /// The base values of SIP's timers. Default: RFC 3261's.
    pub timers: TimerConfig,
    /// How long a call waits for a device that was woken by push. Default 10 s.
    pub wake: Duration,
    /// Contacts the registrar may hold in all. Default 200,000.
    pub bindings: usize,
    /// Calls the exchange may have at once. Default 10,000.
    pub calls: usize,
    /// Numbers every line may call.
    pub emergency_numbers: Vec<Box<str>>,
    /// The numbers of what the node does itself. Default: none.
    pub services: ServiceNumbers,
    /// Whether calls are kept for another process ([`crate::kept`]). Default true.
    pub keeps_calls: bool,
    /// How long the node may have been down so that calls are gone on with. Default 5 min: phones that hear nothing give up
    /// long before, and nobody should be connected again by surprise.
    pub outage: Duration,
    /// How long a phone whose connection was lost with the earlier process may take to connect again. Default 60 s.
    pub reconnect: Duration,
    /// What the Server and User-Agent headers say; the version is kept to ourselves by default.
    pub product: Box<str>,
    /// The hash functions that lines are challenged with, the most wanted first. Default: SHA-256, MD5 (RFC 8760 §2.3).
    pub digest: Vec<HashFunction>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            media_advertised: None,
            anchor_media: true,
            transcoding: Transcoding::Never,
            ring: Duration::from_secs(30),
            unanswered: Duration::from_secs(120),
            call_duration: Duration::from_secs(12 * 3600),
            silence: Some(Duration::from_secs(60)),
            session_timers: SessionTimerPolicy::default(),
            timers: TimerConfig::RFC3261,
            wake: Duration::from_secs(10),
            bindings: 200_000,
            calls: 10_000,
            emergency_numbers: crate::directory::EMERGENCY_NUMBERS
                .iter()
                .map(|&number| number.into())
                .collect(),
            services: ServiceNumbers::default(),
            keeps_calls: true,
            outage: Duration::from_secs(300),
            reconnect: Duration::from_secs(60),
            product: "Offhook".into(),
            digest: vec![HashFunction::Sha256, HashFunction::Md5],
        }
    }
}

impl Settings {
    /// The listener of this number.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    /// The first listener that can reach `remote` over `transport`. WS has no outbound connections (RFC 7118 §5: the
    /// client connects), so none is found for it.
    pub fn listener_for(&self, transport: Transport, remote: IpAddr) -> Option<&Listener> {
        self.listeners.iter().find(|listener| {
            listener.transport == transport
                && listener.bound.is_ipv4() == remote.is_ipv4()
                && (listener.bound.ip().is_unspecified()
                    || listener.bound.ip().is_loopback() == remote.is_loopback())
        })
    }

    /// Whether `host` (an address literal, brackets allowed, or a name) is how a peer would name this node.
    pub fn is_our_host(&self, host: &str, local: IpAddr) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return address == local
                || address.is_loopback()
                || self
                    .listeners
                    .iter()
                    .any(|listener| listener.bound.ip() == address || advertises(listener, host));
        }
        host.eq_ignore_ascii_case("localhost")
            || self.listeners.iter().any(|listener| advertises(listener, host))
    }
}

fn advertises(listener: &Listener, host: &str) -> bool {
    listener.advertised.as_ref().is_some_and(|advertised| advertised.host.eq_ignore_ascii_case(host))
}

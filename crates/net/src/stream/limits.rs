//! What bounds a stream.

use std::time::Duration;

use crate::{DSCP_SIGNALLING, tls::ClientTls};

/// Bounds of all streams of one worker. One message is bounded by [`MESSAGE_BYTES_MAX`](offhook_sip::message::MESSAGE_BYTES_MAX).
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// Connections open at once, whoever opened them. Default 20,000.
    pub connections_max: usize,
    /// Connections accepted from one source address; an IPv6 source is its /64. Default 256: offices stand behind one
    /// address.
    pub connections_per_source_max: usize,
    /// Messages that wait for one peer to read. Default 256.
    pub queued_messages_max: usize,
    /// Bytes that wait for one peer to read. Default 1 MiB.
    pub queued_bytes_max: usize,
    /// Longest time for TCP's connect. Default 5 s: DNS failover tries the next target within SIP's 32 s.
    pub connect_timeout: Duration,
    /// Longest time for the TLS and WebSocket handshakes together. Default 10 s.
    pub handshake_timeout: Duration,
    /// Longest silence of the peer. Default 3,900 s: a phone that only registers anew each hour stays reachable. Dead
    /// peers are found sooner, by TCP's own keep-alive.
    pub idle_timeout: Duration,
    /// Longest time from the first to the last octet of a message. Default 10 s.
    pub partial_message_timeout: Duration,
    /// Longest time in which a write makes no progress. Default 20 s.
    pub write_timeout: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_source_max: 256,
            queued_messages_max: 256,
            queued_bytes_max: 1 << 20,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3_900),
            partial_message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// How the streams of a worker behave.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Their bounds.
    pub limits: StreamLimits,
    /// How to open TLS and WSS connections; default none, and then opening them fails.
    pub client_tls: Option<ClientTls>,
    /// Differentiated services code point of what we send, 0..=63; default [`DSCP_SIGNALLING`].
    pub dscp: u8,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { limits: StreamLimits::default(), client_tls: None, dscp: DSCP_SIGNALLING }
    }
}

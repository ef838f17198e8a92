//! `-t`: over what calls go, and how many sockets there are.

use std::time::Duration;

/// `-t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportMode {
    /// Over connections, else UDP.
    pub tcp: bool,
    /// In TLS.
    pub tls: bool,
    /// In WebSocket messages.
    pub websocket: bool,
    /// One socket for each call.
    pub per_call: bool,
    /// One socket for each address of the injection file.
    pub per_address: bool,
}

impl TransportMode {
    /// As Via names it.
    pub const fn name(self) -> &'static str {
        match (self.tcp, self.tls, self.websocket) {
            (false, ..) => "UDP",
            (_, false, false) => "TCP",
            (_, true, false) => "TLS",
            (_, false, true) => "WS",
            (_, true, true) => "WSS",
        }
    }

    /// Reads `-t`.
    ///
    /// # Errors
    /// What it may be.
    pub fn parse(value: &str) -> Result<Self, String> {
        const KNOWN: &str = "none of u1, un, ui, t1, tn, l1, ln, w1, wn, s1, sn";
        let (kind, count) = value.split_at_checked(1).ok_or(KNOWN)?;
        let (per_call, per_address) = match (kind, count) {
            (_, "1") => (false, false),
            (_, "n") => (true, false),
            ("u", "i") => (false, true),
            _ => return Err(KNOWN.into()),
        };
        let (tcp, tls, websocket) = match kind {
            "u" => (false, false, false),
            "t" => (true, false, false),
            "l" => (true, true, false),
            "w" => (true, false, true),
            "s" => (true, true, true),
            "c" => return Err("compression is not supported".into()),
            _ => return Err(KNOWN.into()),
        };
        Ok(Self { tcp, tls, websocket, per_call, per_address })
    }
}

/// What becomes of the run when its only connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnecting {
    /// `-max_reconnect`: how often it is opened again.
    pub max: u32,
    /// `-reconnect_close`: whether the calls on it fail; else they go on over the new one.
    pub fails_calls: bool,
    /// `-reconnect_sleep`: how long to wait before.
    pub sleep: Duration,
}

impl Default for Reconnecting {
    fn default() -> Self {
        Self { max: 0, fails_calls: true, sleep: Duration::from_secs(1) }
    }
}

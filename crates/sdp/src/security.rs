//! What a stream says about its security, beside SDES keys: DTLS roles.

/// Role in the DTLS handshake, or in opening a TCP connection. RFC 4145 §4, RFC 5763 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Opens the connection.
    Active,
    /// Waits for it.
    Passive,
    /// Either (offers only).
    ActPass,
    /// Not now.
    HoldConn,
}

impl Setup {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        match value.trim() {
            "active" => Some(Self::Active),
            "passive" => Some(Self::Passive),
            "actpass" => Some(Self::ActPass),
            "holdconn" => Some(Self::HoldConn),
            _ => None,
        }
    }
}

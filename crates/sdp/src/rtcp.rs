//! `a=rtcp`: RTCP on a port of its own (RFC 3605).

use crate::Host;

/// The `rtcp` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RtcpAttribute<'a> {
    /// UDP port, 1 to 65535.
    pub port: u16,
    /// Host, where it is not that of the stream.
    pub host: Option<Host<'a>>,
}

impl<'a> RtcpAttribute<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let mut tokens = value.split_ascii_whitespace();
        let port = tokens.next()?.parse().ok().filter(|port| *port != 0)?;
        Some(Self { port, host: Host::read(&mut tokens) })
    }
}

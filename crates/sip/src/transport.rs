//! What the core knows of transports: kinds, listeners, flows. The sockets themselves live in `offhook-net`.

use std::{fmt, net::SocketAddr, str::FromStr};

use offhook_base::HostPort;

/// A SIP transport, as the Via header names it (RFC 3261 §20.42, RFC 7118 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams; 5060.
    Udp,
    /// A stream; 5060.
    Tcp,
    /// TLS over TCP; 5061.
    Tls,
    /// WebSocket; 80 by default.
    Ws,
    /// Secure WebSocket; 443 by default.
    Wss,
}

impl Transport {
    /// Whether the transport itself repeats what was lost: decides Timers A, E, G, D, I, J, K of RFC 3261 §17.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether TLS protects the hop.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port where none is written (RFC 3261 §19.1.2, RFC 7118 §5.4).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The token in a Via header.
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a `transport` URI parameter. TLS is `tls` where a URI of scheme `sip` must name it, although
    /// RFC 3261 §26.2.2 deprecates it: phones understand nothing else. WSS is `ws` with a secure next hop (RFC 7118 §5.4).
    pub const fn uri_token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        })
    }
}

/// The name is none of `udp`, `tcp`, `tls`, `ws`, `wss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTransport;

impl FromStr for Transport {
    type Err = UnknownTransport;

    /// Case does not matter (RFC 3261 §7.3.1).
    fn from_str(name: &str) -> Result<Self, UnknownTransport> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| transport.via_token().eq_ignore_ascii_case(name))
            .ok_or(UnknownTransport)
    }
}

/// One listening socket of this node, numbered in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// One accepted or opened stream connection; never used again after it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A listener as the core sees it: enough to write Via, Contact and Record-Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its number.
    pub id: ListenerId,
    /// What it speaks.
    pub transport: Transport,
    /// Where it is bound. The address may be unspecified (`0.0.0.0`, `::`); then a [`Flow`] tells the real one.
    pub bound: SocketAddr,
    /// What peers shall see instead of the local address, where a NAT or load balancer stands before the node.
    pub advertised: Option<HostPort>,
}

/// The pair of ends over which a message came or goes: RFC 5626's flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The listener whose socket or configuration it uses.
    pub listener: ListenerId,
    /// What it speaks.
    pub transport: Transport,
    /// Our end, never unspecified.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// The stream connection; `None` for UDP.
    pub connection: Option<ConnectionId>,
}

/// The remote end is personal data: only its family shows.
impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.remote.is_ipv4() { "ipv4" } else { "ipv6" };
        write!(f, "{}/{family}#{}", self.transport, self.listener.0)?;
        self.connection.map_or(Ok(()), |connection| write!(f, ":{}", connection.0))
    }
}

/// Where a message shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Back over an existing flow. If it is a stream that has closed, the send fails.
    Flow(Flow),
    /// To an address: UDP from the listener's socket; a stream over a connection that is open to that address or over a
    /// new one.
    Address {
        /// Whose socket, certificates and limits to use.
        listener: ListenerId,
        /// What to speak.
        transport: Transport,
        /// Our end, as written into Via; the port is that of the listener.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
    },
}

impl Destination {
    /// What it speaks.
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Flow(flow) => flow.transport,
            Self::Address { transport, .. } => *transport,
        }
    }

    /// Their end.
    pub const fn remote(&self) -> SocketAddr {
        match self {
            Self::Flow(flow) => flow.remote,
            Self::Address { remote, .. } => *remote,
        }
    }

    /// Our end.
    pub const fn local(&self) -> SocketAddr {
        match self {
            Self::Flow(flow) => flow.local,
            Self::Address { local, .. } => *local,
        }
    }

    /// The listener it leaves by.
    pub const fn listener(&self) -> ListenerId {
        match self {
            Self::Flow(flow) => flow.listener,
            Self::Address { listener, .. } => *listener,
        }
    }
}

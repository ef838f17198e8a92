//! Where SIP listens: `"udp://0.0.0.0:5060"`, or a table that also says what peers shall see instead.

use std::{fmt, net::SocketAddr, str::FromStr};

use offhook_base::HostPort;
use offhook_sip::transport::Transport;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{section::Describe, value::serde_as_text};

/// A transport and the socket it listens on: `udp://0.0.0.0:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// What is spoken.
    pub transport: Transport,
    /// Where. Port 0 lets the system choose.
    pub socket: SocketAddr,
}

impl FromStr for ListenAddress {
    type Err = BadListenAddress;

    fn from_str(text: &str) -> Result<Self, BadListenAddress> {
        let (transport, socket) = text.split_once("://").ok_or(BadListenAddress::Shape)?;
        let transport = transport.parse().map_err(|_| BadListenAddress::Transport)?;
        let socket = socket.trim_end_matches('/');
        if let Ok(socket) = socket.parse() {
            return Ok(Self { transport, socket });
        }
        // The port may be left out: then it is the transport's own (RFC 3261 §19.1.2, RFC 7118 §5.4).
        let ip = socket
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| BadListenAddress::Socket)?;
        Ok(Self { transport, socket: SocketAddr::new(ip, Transport::default_port(transport)) })
    }
}

/// Why a text is no listen address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadListenAddress {
    /// There is no `://`.
    #[error("not a listen address: allowed is transport://address:port, as in \"udp://0.0.0.0:5060\"")]
    Shape,
    /// The transport has no such name.
    #[error("unknown transport: allowed are udp, tcp, tls, ws, wss")]
    Transport,
    /// The rest is no literal address. A name is not looked up: which of its addresses would it be?
    #[error(
        "not an address and port: allowed are an IPv4 address, or an IPv6 address in brackets, and :port"
    )]
    Socket,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport, self.socket)
    }
}

serde_as_text!(ListenAddress);

/// One SIP listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// What is spoken, and where.
    pub address: ListenAddress,
    /// What peers shall see in Via and Contact where a NAT or load balancer stands before the node.
    pub advertise: Option<HostPort>,
}

impl ListenerConfig {
    /// A listener that is seen as what it is.
    pub const fn plain(transport: Transport, socket: SocketAddr) -> Self {
        Self { address: ListenAddress { transport, socket }, advertise: None }
    }
}

/// The table form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: ListenAddress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advertise: Option<Advertised>,
}

/// `host` or `host:port`.
struct Advertised(HostPort);

impl FromStr for Advertised {
    type Err = BadAdvertised;

    fn from_str(text: &str) -> Result<Self, BadAdvertised> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(address.into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| BadAdvertised)?))
            }
            _ => (text, None),
        };
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let sound = match literal {
            Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host_name(host),
        };
        if sound { Ok(Self(HostPort { host: host.into(), port })) } else { Err(BadAdvertised) }
    }
}

/// Letters, digits, hyphens and dots (RFC 1123 §2.1); an IPv4 literal is one, too.
fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// The text is no host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host: allowed is host or host:port; an IPv6 address stands in brackets")]
struct BadAdvertised;

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(Advertised);

impl Serialize for ListenerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.advertise {
            None => self.address.serialize(serializer),
            Some(advertise) => {
                Table { address: self.address, advertise: Some(Advertised(advertise.clone())) }
                    .serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for ListenerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        // By hand instead of serde's untagged enum, whose one error would be "did not match any variant".
        impl<'de> de::Visitor<'de> for TextOrTable {
            type Value = ListenerConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"transport://address:port\" or { address = \"…\", advertise = \"host:port\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ListenerConfig, E> {
                let address = text.parse().map_err(E::custom)?;
                Ok(ListenerConfig { address, advertise: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ListenerConfig, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ListenerConfig { address: table.address, advertise: table.advertise.map(|host| host.0) })
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

impl Describe for ListenerConfig {
    fn allowed() -> String {
        "`\"transport://address:port\"` with transport `udp`, `tcp`, `tls`, `ws` or `wss`, or \
         `{ address = \"…\", advertise = \"host:port\" }`"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_is_transport_address_and_port() {
        let text = |text: &str| text.parse::<ListenAddress>().map(|address| address.to_string());
        assert_eq!(text("udp://0.0.0.0:5060"), Ok("udp://0.0.0.0:5060".into()));
        assert_eq!(text("TLS://[::]"), Ok("tls://[::]:5061".into()));
        assert_eq!(text("0.0.0.0:5060"), Err(BadListenAddress::Shape));
        assert_eq!(text("sctp://0.0.0.0:5060"), Err(BadListenAddress::Transport));
        assert_eq!(text("udp://example.org:5060"), Err(BadListenAddress::Socket));
        assert_eq!(text("udp://0.0.0.0:99999"), Err(BadListenAddress::Socket));
    }

    #[test]
    fn an_advertised_host_is_a_name_or_a_literal() {
        for good in
            ["sip.example.org", "sip.example.org:5061", "192.0.2.1", "[2001:db8::1]:5060", "[2001:db8::1]"]
        {
            assert_eq!(good.parse::<Advertised>().map(|host| host.to_string()).ok(), Some(good.to_string()));
        }
        for bad in ["", "a b", "host:port", "2001:db8::1", "a..b", "x:70000", "evil\r\nVia: x"] {
            assert!(bad.parse::<Advertised>().is_err(), "{bad}");
        }
    }
}

//! Addresses: names resolved, our own found, strangers refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use super::Refusal;
use crate::reach::is_ours;

const SIP_PORT: u16 = 5060;

/// `HOST[:PORT]`: an address, a name, `[IPv6]:PORT`.
pub fn resolve(text: &str, prefer: Option<IpAddr>) -> Result<SocketAddr, Refusal> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, SIP_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| {
                Refusal::fatal(format!(
                    "`{text}` is no host with a port\nhint: HOST:PORT, such as 10.0.0.1:5060"
                ))
            })?;
            (host, port)
        }
        None => (text, SIP_PORT),
    };
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let fits = |address: &&SocketAddr| prefer.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
    found.iter().find(fits).or(found.first()).copied().ok_or_else(|| {
        Refusal::fatal(format!("cannot find the host {host}\nhint: check the name, or give an address"))
    })
}

/// The host of `HOST[:PORT]`.
pub fn host_of(text: &str) -> String {
    if let Some((host, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host.into();
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) && !host.contains(':') => {
            host.into()
        }
        _ => text.trim_matches(['[', ']']).into(),
    }
}

/// Refuses a target that is not plainly one's own, unless it is allowed.
pub fn guard(target: SocketAddr, allow_public: bool) -> Result<(), Refusal> {
    if allow_public || is_ours(target.ip()) {
        return Ok(());
    }
    Err(Refusal::fatal(
        "the remote host is outside the loopback and private ranges\n\
         hint: a load test of somebody else's exchange is an attack; if it is yours, add --allow-public",
    ))
}

/// The address of ours that packets to `remote` leave from; without a remote the host's primary one.
pub fn local_towards(remote: Option<SocketAddr>) -> IpAddr {
    // Connecting a UDP socket sends nothing; it only asks for the route.
    let somewhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
    let target = remote.unwrap_or(somewhere);
    let any =
        if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let ask = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(target)?;
        socket.local_addr()
    };
    ask().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_ranges_are_called_without_being_asked_for() {
        for ours in ["127.0.0.1:1", "10.1.2.3:1", "192.168.0.1:1", "100.64.0.1:1", "[::1]:1", "[fd00::1]:1"] {
            assert_eq!(guard(ours.parse().expect("an address"), false), Ok(()), "{ours}");
        }
        for other in ["8.8.8.8:1", "100.128.0.1:1", "[2001:db9::1]:1", "[::ffff:8.8.8.8]:1", "224.0.0.1:1"] {
            let other = other.parse().expect("an address");
            assert!(guard(other, false).is_err() && guard(other, true).is_ok(), "{other}");
        }
    }

    #[test]
    fn the_host_is_told_from_its_port() {
        for (text, host) in [
            ("a.example:5070", "a.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:5070", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(host_of(text), host);
        }
    }

    #[test]
    fn hosts_come_with_and_without_a_port() {
        let found = |text: &str| resolve(text, None).map(|address| address.to_string());
        assert_eq!(found("127.0.0.1").as_deref(), Ok("127.0.0.1:5060"));
        assert_eq!(found("127.0.0.1:5070").as_deref(), Ok("127.0.0.1:5070"));
        assert_eq!(found("[::1]:5070").as_deref(), Ok("[::1]:5070"));
        assert_eq!(found("::1").as_deref(), Ok("[::1]:5060"));
        assert!(found("127.0.0.1:x").is_err());
    }
}

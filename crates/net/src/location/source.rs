//! From which of our addresses a target is reached.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// The address of ours that the kernel would send from to `remote`: what belongs into Via, Contact and SDP when a
/// listener is bound to all addresses. Sends nothing. Costs three system calls, so keep the answer for a while.
///
/// # Errors
/// If there is no route; the target cannot be reached from here then.
pub fn local_address(remote: SocketAddr) -> io::Result<IpAddr> {
    let any =
        if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // Connecting a UDP socket only looks up the route.
    let socket = UdpSocket::bind((any, 0))?;
    let mut remote = remote;
    if remote.port() == 0 {
        remote.set_port(DISCARD_PORT);
    }
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// A port to name where none is known: the route does not depend on it.
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        for remote in ["127.0.0.1:5060", "[::1]:0"] {
            let remote: SocketAddr = remote.parse().unwrap();
            assert_eq!(local_address(remote).unwrap(), remote.ip());
        }
    }
}
